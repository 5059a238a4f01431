//! How long to wait, learnt from the server under test.
//!
//! Deadlines only bound how long a failing case takes, so they are generous, and grow with the slowest
//! delivery that was seen: a slow network or a busy machine must never look like a fault. The settle
//! window is the last resort where no sentinel exists.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// The least time that is waited for something that must come, unless the target says otherwise.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// The most time that is waited for something that must come.
const PATIENCE_LIMIT: Duration = Duration::from_secs(30);

/// How much slower than the slowest delivery so far something may be before it counts as missing.
const PATIENCE_FACTOR: u32 = 20;

/// The least settle window: brokers deliver up to 180 ms after the ack.
const SETTLE: Duration = Duration::from_millis(250);

/// The settle window as a multiple of the slowest delivery.
const SETTLE_FACTOR: u32 = 4;

/// What is known about the pace of the server; shared by all cases of a run.
#[derive(Debug)]
pub(crate) struct Pace {
    slowest_us: AtomicU64,
    patience: Duration,
    settle: Option<Duration>,
}

impl Pace {
    /// Starts knowing nothing. `patience` is the least that is waited for what must come; `settle`
    /// overrides the adaptive window.
    pub(crate) fn new(patience: Duration, settle: Option<Duration>) -> Self {
        Self {
            slowest_us: AtomicU64::new(0),
            patience: patience.min(PATIENCE_LIMIT),
            settle,
        }
    }

    /// Something that was waited for came after `took`.
    pub(crate) fn saw(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.slowest_us.fetch_max(us, Ordering::Relaxed);
    }

    fn slowest(&self) -> Duration {
        Duration::from_micros(self.slowest_us.load(Ordering::Relaxed))
    }

    /// How long to wait for something that must come.
    pub(crate) fn patience(&self) -> Duration {
        (self.slowest() * PATIENCE_FACTOR).clamp(self.patience, PATIENCE_LIMIT)
    }

    /// How long to wait for a sentinel before another one is tried: less than the patience, since
    /// trying again costs nothing.
    pub(crate) fn sentinel(&self) -> Duration {
        (self.slowest() * PATIENCE_FACTOR / 2).clamp(self.patience / 4, PATIENCE_LIMIT)
    }

    /// How long silence must last where no sentinel can prove it.
    pub(crate) fn settle(&self) -> Duration {
        self.settle
            .unwrap_or_else(|| (self.slowest() * SETTLE_FACTOR).max(SETTLE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(slowest_ms: u64, patience_ms: u64, settle_ms: u64) {
        let pace = Pace::new(PATIENCE, None);
        pace.saw(Duration::from_millis(slowest_ms));
        pace.saw(Duration::from_millis(slowest_ms / 2));
        assert_eq!(pace.patience(), Duration::from_millis(patience_ms));
        assert_eq!(pace.settle(), Duration::from_millis(settle_ms));
    }

    #[test]
    fn grows_with_the_slowest_delivery() {
        check(0, 5_000, 250);
        check(1, 5_000, 250);
        check(200, 5_000, 800);
        check(400, 8_000, 1_600);
        check(5_000, 30_000, 20_000);
    }

    #[test]
    fn a_lower_patience_grows_all_the_same() {
        let pace = Pace::new(Duration::from_secs(1), None);
        assert_eq!(pace.patience(), Duration::from_secs(1));
        assert_eq!(pace.sentinel(), Duration::from_millis(250));
        pace.saw(Duration::from_millis(200));
        assert_eq!(pace.patience(), Duration::from_secs(4));
    }

    #[test]
    fn an_explicit_settle_window_wins() {
        let pace = Pace::new(PATIENCE, Some(Duration::from_millis(40)));
        pace.saw(Duration::from_secs(3));
        assert_eq!(pace.settle(), Duration::from_millis(40));
    }
}
