//! The wall clock, behind a face that a test can replace.

use std::time::{SystemTime, UNIX_EPOCH};

/// Where Unix time comes from. Durations never come from here but from `tokio::time::Instant`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Clock {
    /// The system's clock.
    #[default]
    System,
    /// Always this time, in Unix milliseconds.
    Fixed(u64),
}

impl Clock {
    /// The time in Unix milliseconds.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that all others ask"
    )]
    pub fn unix_ms(self) -> u64 {
        match self {
            Self::Fixed(at) => at,
            Self::System => {
                let since = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default();
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            }
        }
    }
}
