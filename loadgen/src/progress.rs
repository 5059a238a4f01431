//! What a run looks like while it runs: one [`Snapshot`] per second, which live views, progress lines
//! and metrics are made of. Nothing here draws, and nothing here is part of the result.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::report::model::{Connections, Counts, Kinds, Second, Summary};

/// The state of a run at the end of a second.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// What the run is doing.
    pub stage: Stage,
    /// The name of the phase, empty outside of [`Stage::Running`].
    pub phase: String,
    /// Whether the figures of the phase count.
    pub counted: bool,
    /// How long the schedule has been running.
    pub elapsed: Duration,
    /// How long it will.
    pub total: Duration,
    /// Events that were planned until now.
    pub planned: u64,
    /// Of these, those that were sent.
    pub sent: u64,
    /// Of these, those that never will be.
    pub unsent: u64,
    /// Latency from the planned time, of all counted phases until now.
    pub latency_us: Kinds<Summary>,
    /// What became of deliveries that must arrive; what is under way is not lost.
    pub audit: Counts,
    /// What became of volatile heartbeats, and of the ends of sessions.
    pub volatile: Counts,
    /// The same by what recipients see: the type of an update or ephemeral, or `rpc-request`.
    pub types: BTreeMap<&'static str, OfType>,
    /// Connections wanted now.
    pub wanted: u64,
    /// Connections open now.
    pub open: u64,
    /// What became of the connections until now.
    pub connections: Connections,
    /// How the generator is.
    pub health: Health,
    /// The second that has just ended; nothing before the first one has.
    pub second: Option<Second>,
}

/// What became of one type of event until now.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct OfType {
    /// Whether a server may drop it, as heartbeats and the ends of sessions.
    pub volatile: bool,
    /// What became of its deliveries.
    pub audit: Counts,
    /// From the planned time to one recipient.
    pub latency_us: Summary,
}

/// What a run is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stage {
    /// Accounts, sessions and machines are being made.
    #[default]
    Preparing,
    /// The start that was asked for has not come yet.
    Waiting,
    /// The schedule runs.
    Running,
    /// Everything is sent; the last deliveries are under way.
    Draining,
    /// The report is being made.
    Finished,
}

impl Stage {
    /// A word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Finished => "finished",
        }
    }
}

/// How the generator is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Health {
    /// How late 99 % of the events were sent in the last second, at most, in microseconds.
    pub lag_p99_us: u64,
    /// Processor time of the last second, in parts of what is there to use; 1 is all of it.
    pub cpu_share: f64,
    /// Memory now, in bytes.
    pub rss_bytes: u64,
    /// File descriptors open now.
    pub open_files: u64,
    /// Which bound is passed, if any; the run would be invalid.
    pub exceeded: Option<&'static str>,
    /// What it lacked in the last second, if anything, whatever the whole run is like.
    pub strained: Option<&'static str>,
}
