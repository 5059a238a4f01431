//! What was measured: distributions, in short and in full, of the whole run and of its parts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Counts;
use crate::report::packed::Packed;

/// One value for each kind of measured time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kinds<T> {
    /// From an emit until it arrived at one recipient.
    pub fanout: T,
    /// From an emit until the server acknowledged it.
    pub ack: T,
    /// From an RPC call until its result, through the callee and back, without the time that the
    /// callee worked.
    pub rpc: T,
    /// How long simulated callees worked: no part of what the server did.
    #[serde(default)]
    pub callee: T,
    /// From dialling until CONNECT was answered.
    pub connect: T,
}

impl<T> Kinds<T> {
    /// Each kind with its name in reports.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &T)> {
        [
            ("fanout", &self.fanout),
            ("ack", &self.ack),
            ("rpc", &self.rpc),
            ("callee", &self.callee),
            ("connect", &self.connect),
        ]
        .into_iter()
    }

    /// The same kinds with other values.
    pub fn map<U>(&self, mut to: impl FnMut(&T) -> U) -> Kinds<U> {
        Kinds {
            fanout: to(&self.fanout),
            ack: to(&self.ack),
            rpc: to(&self.rpc),
            callee: to(&self.callee),
            connect: to(&self.connect),
        }
    }
}

/// A distribution in short, in microseconds. All are 0 where nothing was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How many values.
    pub count: u64,
    /// The smallest.
    pub min: u64,
    /// The mean.
    pub mean: f64,
    /// The median.
    pub p50: u64,
    /// 90 % are no larger.
    pub p90: u64,
    /// 99 % are no larger.
    pub p99: u64,
    /// 99.9 % are no larger.
    pub p999: u64,
    /// The largest.
    pub max: u64,
}

/// One phase of the scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// When it began, from the start of the schedule.
    pub start_ms: u64,
    /// How long it lasted: all rates are of this time.
    pub duration_ms: u64,
    /// How long it would have lasted if nobody had ended the run.
    #[serde(default)]
    pub planned_ms: u64,
    /// Whether its figures are part of those of the run; those of a warm-up are not.
    pub counted: bool,
    /// Connections open at its end.
    pub connections: u64,
    /// Events planned for it.
    pub planned: u64,
    /// Of these, those that were sent.
    pub sent: u64,
    /// Deliveries of them.
    pub delivered: u64,
    /// Deliveries of them that did not arrive.
    pub lost: u64,
    /// `planned` per second.
    pub planned_per_second: f64,
    /// `sent` per second.
    pub sent_per_second: f64,
    /// `delivered` per second.
    pub delivered_per_second: f64,
    /// Fan-out latency of the events that were planned in it.
    pub latency_us: Summary,
    /// The same in full.
    pub histogram: Packed,
}

/// One second of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Second {
    /// Which one, from the start of the schedule, counted from 0.
    pub second: u32,
    /// Connections open at its end.
    pub connections: u64,
    /// Events that were planned for it.
    pub planned: u64,
    /// Events that were sent in it.
    pub sent: u64,
    /// Of the deliveries that the audit counts as delivered, those that arrived in it.
    pub delivered: u64,
    /// Latency of what arrived in it, of all events, but not where connections were slow on purpose.
    pub latency_us: Summary,
    /// The same in full.
    pub histogram: Packed,
}

/// The key figures of one repetition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Repeat {
    /// When it began, in Unix milliseconds.
    pub started_at: u64,
    /// What became of its deliveries.
    pub audit: Counts,
    /// How long things took.
    pub latency_us: Kinds<Summary>,
    /// Deliveries per second of its counted phases.
    pub delivered_per_second: f64,
    /// How late 99 % of the events at most were sent.
    #[serde(rename = "lagP99Us")]
    pub lag_p99_us: u64,
    /// Processor time of the generator.
    pub cpu_seconds: f64,
    /// The most memory that it held.
    pub max_rss_bytes: u64,
    /// Whether its figures can be trusted.
    pub valid: bool,
}

/// All measured times of the counted phases.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histograms {
    /// By kind.
    #[serde(flatten)]
    pub kinds: Kinds<Pair>,
    /// Fan-out by type of event.
    pub events: BTreeMap<String, Pair>,
    /// How late events were sent.
    pub lag: Packed,
}

/// The same times from two starting points.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// From the planned time.
    pub latency: Packed,
    /// From the time of sending.
    pub naive: Packed,
}

/// Per second, to a hundredth, so that reports stay readable.
pub(crate) fn rate(count: u64, duration_ms: u64) -> f64 {
    if duration_ms == 0 {
        return 0.0;
    }
    let exact = count as f64 * 1000.0 / duration_ms as f64;
    (exact * 100.0).round() / 100.0
}
