//! What the connections of a worker share.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use tokio::{sync::Notify, time::Instant};
use tokio_util::task::TaskTracker;
use touchstone_client::{Clock, ConnectOptions, trace::Recorder};
use url::Url;

use super::{provision::Directory, stats::Stats};
use crate::{audit::Rules, schedule::Schedule};

/// What the connections of a worker share.
pub(super) struct Common {
    pub(super) schedule: Arc<Schedule>,
    pub(super) rules: Rules,
    pub(super) options: ConnectOptions,
    /// Records the connections of accounts before this one.
    pub(super) trace: Option<(Recorder, u32)>,
    pub(super) urls: Vec<Url>,
    pub(super) directory: Arc<Directory>,
    /// Which run stamps are of.
    pub(super) run: u32,
    pub(super) start: Instant,
    /// Where the times of heartbeats come from.
    pub(super) clock: Clock,
    pub(super) stats: Arc<Mutex<Stats>>,
    /// Connections from one source address.
    pub(super) ports: u64,
    /// When something that was awaited arrived last.
    pub(super) progress: AtomicU64,
    /// Told when something has arrived, or a connection came or went.
    pub(super) changed: Notify,
    /// The accounts that may have open connections.
    pub(super) cells: TaskTracker,
}

impl Common {
    /// Nothing that holds this lock can panic half-way, so a poisoned one is still sound.
    pub(super) fn stats(&self) -> MutexGuard<'_, Stats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Microseconds from the start of the schedule.
    pub(super) fn since_start(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.start).as_micros();
        u64::try_from(since).unwrap_or(u64::MAX)
    }

    pub(super) fn now(&self) -> u64 {
        self.since_start(Instant::now())
    }

    /// Something that was awaited has arrived.
    pub(super) fn progressed(&self, at: u64) {
        self.progress.fetch_max(at, Ordering::Relaxed);
    }
}
