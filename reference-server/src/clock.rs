//! The wall clock of the server, as Unix milliseconds.
//!
//! Everything that dates a row or judges a heartbeat asks this clock, so that a test can stop it and
//! move it. It must not be used to measure durations or to wait; tokio's clock does that.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A source of Unix milliseconds; cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl Clock {
    /// The clock of the machine.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(|| {
            #[expect(
                clippy::disallowed_methods,
                reason = "this is the clock that tests replace"
            )]
            let now = SystemTime::now();
            let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
        }))
    }

    /// A clock that stands still at `start` (Unix milliseconds) until its handle moves it.
    #[must_use]
    pub fn manual(start: i64) -> (Self, ManualClock) {
        let now = Arc::new(AtomicI64::new(start));
        let handle = ManualClock(Arc::clone(&now));
        (Self(Arc::new(move || now.load(Ordering::SeqCst))), handle)
    }

    /// This clock, which shows only whole multiples of so many milliseconds.
    #[must_use]
    pub fn rounded_to(&self, milliseconds: i64) -> Self {
        let exact = self.clone();
        Self(Arc::new(move || exact.now() / milliseconds * milliseconds))
    }

    /// Now, in Unix milliseconds.
    #[must_use]
    pub fn now(&self) -> i64 {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

/// Moves a [`Clock::manual`].
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// Moves the clock forward by so many milliseconds.
    pub fn advance(&self, milliseconds: i64) {
        self.0.fetch_add(milliseconds, Ordering::SeqCst);
    }
}
