//! What is on its way out of an account: events, and then the answer to what caused them. It leaves in
//! the order in which it was put here, and never before the changes that it comes from are kept.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use engineioxide::Str;
use tokio::sync::oneshot;

use crate::connection::Connection;
use crate::store::Change;

/// Keeps changes longer than the memory does.
pub trait Storage: fmt::Debug + Send + Sync {
    /// Keeps what changed at once: all of it or nothing, and not before what it was given earlier.
    /// `kept` is called when it is kept, never from within this call, which must not wait: accounts are
    /// locked. Without records, `kept` is called when what was given earlier is kept.
    fn store(&self, records: Vec<Record>, kept: Box<dyn FnOnce() + Send>);
}

/// What changed in an account.
#[derive(Clone, Debug)]
pub struct Record {
    /// The account; empty for what belongs to none.
    pub account: String,
    /// The seq of its latest update.
    pub seq: u64,
    /// The changes, in their order.
    pub changes: Vec<Change>,
}

/// Something that leaves.
pub(crate) enum Delivery {
    /// A packet for several connections.
    Event(Str, Vec<Arc<Connection>>),
    /// A packet for one connection, with the attachments that it announces.
    Packet(Arc<Connection>, Str, Vec<Bytes>),
    /// Somebody waits for this moment.
    Notice(oneshot::Sender<()>),
}

impl Delivery {
    fn deliver(self) {
        match self {
            Self::Event(packet, recipients) => {
                for connection in recipients {
                    connection.send(packet.clone());
                }
            }
            Self::Packet(connection, packet, attachments) => {
                connection.send_with(packet, &attachments);
            }
            // Whoever waited may have gone.
            Self::Notice(notice) => drop(notice.send(())),
        }
    }
}

/// The queue of one account.
#[derive(Clone, Default)]
pub(crate) struct Outbox(Arc<Mutex<Queue>>);

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Parcel>,
    /// How many have left.
    left: u64,
}

struct Parcel {
    is_kept: bool,
    deliveries: Vec<Delivery>,
}

/// What leaves an account when what it comes from is kept. The account is locked.
pub(crate) struct Leaving<'a> {
    pub(crate) outbox: &'a Outbox,
    pub(crate) record: Option<Record>,
    pub(crate) deliveries: Vec<Delivery>,
}

/// Lets out what happened at once in several accounts: from each of them when the records of all are
/// kept, and what is before it has left. With `is_barrier`, what other accounts have put out before
/// must be kept too.
pub(crate) fn release<'a>(
    storage: Option<&dyn Storage>,
    is_barrier: bool,
    leaving: impl IntoIterator<Item = Leaving<'a>>,
) {
    let Some(storage) = storage else {
        let all = leaving.into_iter().flat_map(|one| one.deliveries);
        return all.for_each(Delivery::deliver);
    };
    let mut leaving: Vec<_> = leaving.into_iter().collect();
    let records = leaving.iter_mut().filter_map(|one| one.record.take());
    let records: Vec<_> = records.collect();
    let is_kept = records.is_empty() && !is_barrier;
    let places = leaving.into_iter();
    let places = places.map(|one| (one.outbox.clone(), one.outbox.put(is_kept, one.deliveries)));
    let places: Vec<_> = places.collect();
    if !is_kept {
        let kept = move || {
            for (outbox, place) in places {
                outbox.kept(place);
            }
        };
        storage.store(records, Box::new(kept));
    }
}

impl Outbox {
    /// Whether more than so many parcels wait.
    pub(crate) fn has_more_than(&self, limit: usize) -> bool {
        self.queue().waiting.len() > limit
    }

    fn put(&self, is_kept: bool, deliveries: Vec<Delivery>) -> u64 {
        let mut queue = self.queue();
        let number = queue.left + queue.waiting.len() as u64;
        queue.waiting.push_back(Parcel {
            is_kept,
            deliveries,
        });
        queue.flow();
        number
    }

    fn kept(&self, number: u64) {
        let mut queue = self.queue();
        let place = usize::try_from(number - queue.left).unwrap_or(usize::MAX);
        if let Some(parcel) = queue.waiting.get_mut(place) {
            parcel.is_kept = true;
        }
        queue.flow();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn flow(&mut self) {
        while let Some(parcel) = self.waiting.pop_front_if(|parcel| parcel.is_kept) {
            self.left += 1;
            parcel.deliveries.into_iter().for_each(Delivery::deliver);
        }
    }
}
