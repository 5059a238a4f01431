//! What no right server does, with its time: of a recording, or of its repetition.

use touchstone_history::Violation;

/// A violation, and when it shows.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) violation: Violation,
    pub(super) t_us: u64,
}

impl Found {
    /// All that is found at this time.
    pub(super) fn at(t_us: u64, found: Vec<Violation>) -> impl Iterator<Item = Self> {
        let found = found.into_iter();
        found.map(move |violation| Self { violation, t_us })
    }
}
