//! What the generator did: its connections, its cost, and where it ran.

use serde::{Deserialize, Serialize};

use super::Summary;

/// What became of the connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connections {
    /// Times that the scenario wanted to connect.
    pub planned: u64,
    /// Times that it did.
    pub opened: u64,
    /// Times that it could not.
    pub failed: u64,
    /// Closed because the scenario says so.
    pub closed: u64,
    /// Lost though the scenario does not say so.
    pub dropped: u64,
    /// Open at most at the same time.
    pub peak: u64,
    /// RPC methods that the server has registered.
    #[serde(default)]
    pub registered: u64,
    /// When the last connection of the first fleet was open, with its methods registered, from the
    /// start of the schedule; 0 where there was none.
    #[serde(default)]
    pub ready_ms: u64,
}

impl Connections {
    /// Adds those of others. When all were open at once is another question, so `peak` stays.
    pub(crate) fn add(&mut self, other: &Self) {
        self.planned += other.planned;
        self.opened += other.opened;
        self.failed += other.failed;
        self.closed += other.closed;
        self.dropped += other.dropped;
        self.registered += other.registered;
        self.ready_ms = self.ready_ms.max(other.ready_ms);
    }
}

/// Whether the generator did what was planned, and at which cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Generator {
    /// Events that the schedule wanted to be sent until the run ended.
    pub planned: u64,
    /// Those that were sent.
    pub sent: u64,
    /// Those that were not, for want of a connection for instance.
    pub unsent: u64,
    /// How late 99 % of them at most were sent.
    #[serde(rename = "lagP99Us")]
    pub lag_p99_us: u64,
    /// How late they were sent.
    pub lag_us: Summary,
    /// Processor time of this process during the run, of the embedded server too where there is one.
    pub cpu_seconds: f64,
    /// The processor time in parts of what was there to use; 1 is all of it.
    pub cpu_share: f64,
    /// What all programs together used of this machine's cores; 1 is all of it.
    #[serde(default)]
    pub machine_share: f64,
    /// Threads that drove connections.
    pub workers: u32,
    /// The most memory that this process held.
    pub max_rss_bytes: u64,
    /// File descriptors open at most.
    pub open_files: u64,
    /// How many could be.
    pub open_files_limit: u64,
    /// Where it ran: one for a run, several after a merge.
    pub hosts: Vec<Host>,
    /// Whether the load was what the scenario wants.
    pub valid: bool,
    /// What was the limit, and why.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

/// A machine that a generator ran on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Operating system and version.
    pub system: String,
    /// What its processor calls itself.
    pub processor: String,
    /// Cores that this process may use.
    pub cores: u32,
    /// Which clock latencies were measured with.
    pub clock: String,
}
