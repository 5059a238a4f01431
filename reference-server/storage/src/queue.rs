//! What waits to be written.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use touchstone_reference_server::{Record, Storage};

/// Called when something is stored.
pub(crate) type Kept = Box<dyn FnOnce() + Send>;

/// Takes what the server gives until the writer comes for it. How much can wait is bounded by the
/// server, which disconnects whoever causes more than can be kept.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Default)]
pub(crate) struct Waiting {
    pub(crate) records: Vec<Record>,
    pub(crate) kept: Vec<Kept>,
    is_closed: bool,
}

impl Queue {
    /// All that waits, as soon as something does; `None` when nothing does and nothing more is to come.
    pub(crate) async fn take(&self) -> Option<Waiting> {
        loop {
            {
                let mut waiting = self.lock();
                if !waiting.kept.is_empty() {
                    let is_closed = waiting.is_closed;
                    let rest = Waiting {
                        is_closed,
                        ..Waiting::default()
                    };
                    return Some(std::mem::replace(&mut *waiting, rest));
                }
                if waiting.is_closed {
                    return None;
                }
            }
            self.changed.notified().await;
        }
    }

    /// Nothing more is to come.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for Queue {
    fn store(&self, records: Vec<Record>, kept: Kept) {
        let mut waiting = self.lock();
        waiting.records.extend(records);
        waiting.kept.push(kept);
        drop(waiting);
        self.changed.notify_one();
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}
