//! How the list tells when something happened.
//!
//! The zone is the caller's: this crate does not read the environment, which names it.

use crate::event::Entry;
use crate::text;

/// The ways to tell a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// The time of day, UTC.
    Utc,
    /// The time of day where the user is.
    Local,
    /// Since the monitor or the recording began.
    Start,
    /// Since the listed entry before.
    Before,
}

/// Tells how many seconds the local time is ahead of UTC, at a time in Unix milliseconds.
pub type Offset = fn(unix_ms: u64) -> i32;

impl Times {
    /// The way after this one.
    pub const fn next(self) -> Self {
        match self {
            Self::Utc => Self::Local,
            Self::Local => Self::Start,
            Self::Start => Self::Before,
            Self::Before => Self::Utc,
        }
    }

    /// What it tells, in words.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Utc => "UTC",
            Self::Local => "local time",
            Self::Start => "since the beginning",
            Self::Before => "since the row before",
        }
    }

    /// The title of the column, at most 12 columns wide.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Utc => "time UTC",
            Self::Local => "time local",
            Self::Start => "since start",
            Self::Before => "since before",
        }
    }

    /// The time of `entry`, at most 12 columns wide. `before` is when the listed entry before it
    /// happened, in microseconds.
    pub(crate) fn show(self, entry: &Entry, before: Option<u64>, offset: Offset) -> String {
        match self {
            Self::Utc => text::time(entry.at_ms),
            Self::Local => text::time(
                entry
                    .at_ms
                    .saturating_add_signed(i64::from(offset(entry.at_ms)).saturating_mul(1_000)),
            ),
            Self::Start => seconds(entry.t_us),
            Self::Before => match before {
                Some(before) if before <= entry.t_us => {
                    format!("+{}", seconds(entry.t_us - before))
                }
                // Entries of several connections may change places by a moment.
                Some(before) => format!("-{}", seconds(before - entry.t_us)),
                None => String::new(),
            },
        }
    }
}

/// `12.034` seconds, right-aligned by whoever reads them.
fn seconds(us: u64) -> String {
    format!("{}.{:03}", us / 1_000_000, us / 1_000 % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::entry;

    #[test]
    fn each_way_tells_its_time() {
        let entry = entry(9, "activity");
        let show = |times: Times, before| times.show(&entry, before, |_| -3 * 3_600);
        assert_eq!(show(Times::Utc, None), "08:00:02.250");
        assert_eq!(show(Times::Local, None), "05:00:02.250");
        assert_eq!(show(Times::Start, None), "2.250");
        assert_eq!(show(Times::Before, None), "");
        assert_eq!(show(Times::Before, Some(2_000_000)), "+0.250");
        assert_eq!(show(Times::Before, Some(2_300_000)), "-0.050");
        let mut times = Times::Utc;
        for _ in 0..4 {
            assert!(times.title().len() <= 12);
            times = times.next();
        }
        assert_eq!(times, Times::Utc);
    }
}
