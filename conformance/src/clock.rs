//! The wall clock, behind a type so that a test can replace it.

use std::time::UNIX_EPOCH;

/// Where wall-clock time comes from. Durations are measured with tokio's clock instead.
#[derive(Debug, Clone, Copy, Default)]
pub enum Clock {
    /// The system's clock.
    #[default]
    System,
    /// A clock that stands still, at a time in Unix milliseconds.
    Fixed(u64),
}

impl Clock {
    /// Now, in Unix milliseconds.
    pub fn unix_ms(self) -> u64 {
        match self {
            Self::Fixed(ms) => ms,
            Self::System => {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "the one place that reads the clock"
                )]
                let now = std::time::SystemTime::now();
                let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            }
        }
    }
}
