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
    /// Keeps what changed. `kept` is called when it is kept, never from within this call, which must
    /// not wait: the account is locked.
    fn store(&self, record: Record, kept: Box<dyn FnOnce() + Send>);
}

/// What changed at once in an account.
#[derive(Clone, Debug)]
pub struct Record {
    /// The account.
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

impl Outbox {
    /// Lets everything out when `record` is kept and what is before it has left. The account is locked.
    pub(crate) fn push(
        &self,
        storage: Option<&dyn Storage>,
        record: Option<Record>,
        deliveries: Vec<Delivery>,
    ) {
        let Some(storage) = storage else {
            deliveries.into_iter().for_each(Delivery::deliver);
            return;
        };
        let mut queue = self.queue();
        let number = queue.left + queue.waiting.len() as u64;
        queue.waiting.push_back(Parcel {
            is_kept: record.is_none(),
            deliveries,
        });
        queue.flow();
        drop(queue);
        if let Some(record) = record {
            let outbox = self.clone();
            storage.store(record, Box::new(move || outbox.kept(number)));
        }
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
