//! Faults of what keeps the rows. They show only where the server has a database, and is ended.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::sleep;
use touchstone_reference_server::seams::Change;
use touchstone_reference_server::{Record, Storage};

use crate::{Fault, Faults};

/// How much later something is stored that was acknowledged before.
const LATER: Duration = Duration::from_millis(20);

type Kept = Box<dyn FnOnce() + Send>;

/// A storage in the place of the right one.
pub(crate) struct Wrong {
    faults: Faults,
    right: Arc<dyn Storage>,
    /// What was acknowledged and is not stored yet.
    held: Arc<Mutex<Vec<Record>>>,
}

impl Wrong {
    pub(crate) fn new(faults: Faults, right: Arc<dyn Storage>) -> Self {
        Self {
            faults,
            right,
            held: Arc::default(),
        }
    }

    /// What is stored in the place of this.
    fn changed(&self, mut record: Record) -> Record {
        if self.faults.on(Fault::StorageSeqless) {
            record.seq = 0;
        }
        for change in &mut record.changes {
            if let Change::MessagePosted { message, .. } = change
                && self.faults.on(Fault::StorageLocalIdless)
            {
                message.local_id = None;
            }
        }
        record
    }
}

impl Storage for Wrong {
    fn store(&self, records: Vec<Record>, kept: Kept) {
        let records: Vec<Record> = records
            .into_iter()
            .map(|record| self.changed(record))
            .collect();
        let take = |held: &Mutex<Vec<Record>>, next: Vec<Record>| {
            let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *held, next)
        };
        if records.is_empty() {
            return self.right.store(records, kept);
        }
        if self.faults.on(Fault::StorageBehind) {
            return self.right.store(take(&self.held, records), kept);
        }
        if !self.faults.on(Fault::StorageLate) {
            return self.right.store(records, kept);
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.extend(records);
        drop(held);
        let (right, held) = (Arc::clone(&self.right), Arc::clone(&self.held));
        tokio::spawn(async move {
            kept();
            sleep(LATER).await;
            let late = take(&held, Vec::new());
            if !late.is_empty() {
                right.store(late, Box::new(|| {}));
            }
        });
    }
}

impl fmt::Debug for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wrong").finish_non_exhaustive()
    }
}
