//! What a load run found, as data: the JSON report of `touchstone load`. Every other report is a
//! rendering of this, and `load merge` adds several of them.
//!
//! The engine fills it; nothing here measures, renders or judges. Times are microseconds unless a
//! name says otherwise, counts are whole numbers, and everything that `merge` must add exactly is
//! kept as a histogram or a count rather than as a percentile. The format is an interface, so changes
//! are additions; its schema is `schema/load-report.schema.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::packed::Packed;

/// The value of `format` in the report.
pub const FORMAT: &str = "touchstone-load";

/// The version of the format.
pub const VERSION: u32 = 1;

/// How many examples of each audit outcome a report keeps.
pub const EXAMPLES: usize = 5;

/// Everything that a load run found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// The version of this program.
    pub touchstone: String,
    /// What was loaded.
    pub target: Target,
    /// When the schedule began, in Unix milliseconds.
    pub started_at: u64,
    /// From then until the last expected delivery was accounted for.
    pub duration_ms: u64,
    /// The seed of the schedule.
    pub seed: u64,
    /// What was asked for.
    pub scenario: Scenario,
    /// What that comes to, before anything is sent.
    pub schedule: Schedule,
    /// Which part of the schedule these figures are of.
    pub shard: Shard,
    /// Whether somebody ended the run early. Its figures are of what ran.
    pub interrupted: bool,
    /// Why the run failed as a whole, such as a server that died; a run with a failure is never green.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub failure: Option<String>,
    /// What became of every delivery that the rules promise.
    pub audit: Audit,
    /// How long things took, from the time they were planned for.
    pub latency_us: Kinds<Summary>,
    /// The same from the time they were really sent: what a tool would say that waits for its turn.
    pub naive_us: Kinds<Summary>,
    /// Deliveries and latency of each type of event.
    pub events: BTreeMap<String, EventReport>,
    /// What the server answered: event, then result or error text, then how often.
    pub answers: BTreeMap<String, BTreeMap<String, u64>>,
    /// What became of the connections.
    pub connections: Connections,
    /// What went wrong on the way, and how often, such as the reasons of refused connections.
    pub errors: BTreeMap<String, u64>,
    /// Whether the generator did what was planned, and at which cost.
    pub generator: Generator,
    /// The objectives, as evaluated at the end.
    pub slo: Vec<SloResult>,
    /// The phases of the scenario, in order.
    pub phases: Vec<Phase>,
    /// The same second by second.
    pub series: Vec<Second>,
    /// The key figures of each repetition, where there were several; the rest of the report is of all.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub repeats: Vec<Repeat>,
    /// All measured times, so that reports can be added without loss.
    pub histograms: Histograms,
}

/// The server under load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// How people call it: its first URL, or the embedded server.
    pub name: String,
    /// Its nodes.
    pub urls: Vec<String>,
    /// Its Socket.IO path.
    pub path: String,
    /// Whom the audit expects events to reach.
    pub recipients: Recipients,
    /// How that came to be known.
    #[serde(default)]
    pub recipients_basis: Basis,
    /// The types of events that were measured to reach connections of their account that do not need
    /// them. Empty where that was not measured.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub wide_events: Vec<String>,
}

/// How it came to be known what a server does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// The user said so.
    #[default]
    Set,
    /// A probe has found it out before the run.
    Measured,
    /// It could not be measured; `errors` says why.
    Assumed,
}

impl Report {
    /// Makes it the report of a failed run, besides what has failed already.
    pub fn add_failure(&mut self, what: &str) {
        self.failure = Some(match self.failure.take() {
            Some(before) => format!("{before}; {what}"),
            None => what.to_owned(),
        });
    }
}

impl Target {
    /// `narrow (measured)`, for people.
    pub fn shown_recipients(&self) -> String {
        let recipients = match self.recipients {
            Recipients::Narrow => "narrow",
            Recipients::Wide => "wide",
        };
        let basis = match self.recipients_basis {
            Basis::Set => "set",
            Basis::Measured => "measured",
            Basis::Assumed => "assumed",
        };
        format!("{recipients} ({basis})")
    }
}

/// Who is entitled to an event beyond those who need it (`docs/load.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recipients {
    /// Exactly the connections of the event's recipient filter.
    Narrow,
    /// All connections of the account.
    Wide,
}

/// The scenario of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// SHA-256 of what it says, in hexadecimal digits; comments and layout do not count.
    pub digest: String,
    /// The factor on its population.
    pub scale: f64,
}

/// The schedule of a run, known before it begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// 64 hexadecimal digits: the exclusive or of the SHA-256 of each account's actions. Shards of a
    /// schedule therefore combine to the digest of the whole.
    pub digest: String,
    /// Accounts that take part.
    pub accounts: u64,
    /// Connections at most at the same time.
    pub connections: u64,
    /// Events to be sent.
    pub emits: u64,
    /// Deliveries that these promise, if every connection lives as planned.
    pub deliveries: u64,
    /// How long it is planned to last, without the wait for the last deliveries.
    pub duration_ms: u64,
}

/// Which of how many parts of a schedule a report is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// How many parts there are.
    pub of: u32,
    /// Those that the report is of, counted from 1, in ascending order.
    pub parts: Vec<u32>,
}

impl Shard {
    /// The whole schedule in one run.
    #[must_use]
    pub fn whole() -> Self {
        Self {
            of: 1,
            parts: vec![1],
        }
    }

    /// Whether every part is there.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.parts.len() == self.of as usize
    }
}

/// One value for each kind of measured time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kinds<T> {
    /// From an emit until it arrived at one recipient.
    pub fanout: T,
    /// From an emit until the server acknowledged it.
    pub ack: T,
    /// From an RPC call until its result, through the callee and back.
    pub rpc: T,
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

/// What became of deliveries. One delivery is one event at one recipient.
///
/// `expected` is `delivered` and `lost` together. `late` and `reordered` are among the delivered;
/// `duplicated`, `misrouted` and `uncertain` are beside what is expected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Promised by the rules, for connections that surely lived.
    pub expected: u64,
    /// Of these, those that arrived, each counted once.
    pub delivered: u64,
    /// Of the delivered, those that took longer than the bound.
    pub late: u64,
    /// Expected, and did not arrive.
    pub lost: u64,
    /// Arrived once more.
    pub duplicated: u64,
    /// Arrived after an event that the same sender had sent later.
    pub reordered: u64,
    /// Arrived at a connection that must not see it.
    pub misrouted: u64,
    /// Sent while a recipient came or went, so that the rules promise nothing.
    pub uncertain: u64,
}

impl Counts {
    /// Adds those of others.
    pub(crate) fn add(&mut self, other: &Self) {
        self.expected += other.expected;
        self.delivered += other.delivered;
        self.late += other.late;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.misrouted += other.misrouted;
        self.uncertain += other.uncertain;
    }

    /// Whether nothing was lost, duplicated, reordered or misrouted. Late deliveries are a matter of
    /// objectives.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.duplicated == 0 && self.reordered == 0 && self.misrouted == 0
    }
}

/// The audit of a run. Its own counts are of all events that a server must deliver; heartbeats, which
/// the protocol sends as volatile, are a class of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// What became of them.
    #[serde(flatten)]
    pub counts: Counts,
    /// From when on a delivery is late.
    pub late_bound_us: u64,
    /// What became of volatile heartbeats.
    pub volatile: Counts,
    /// The first of each kind that went wrong, at most [`EXAMPLES`] per outcome.
    pub examples: Vec<Example>,
}

/// How a delivery went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It took longer than the bound.
    Late,
    /// It did not arrive.
    Lost,
    /// It arrived again.
    Duplicated,
    /// It arrived after a later one of the same sender.
    Reordered,
    /// It arrived where it must not.
    Misrouted,
}

impl Outcome {
    /// Its name in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Lost => "lost",
            Self::Duplicated => "duplicated",
            Self::Reordered => "reordered",
            Self::Misrouted => "misrouted",
        }
    }
}

/// One delivery that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Example {
    /// How.
    pub outcome: Outcome,
    /// The type of the event, such as `new-message`.
    pub event: String,
    /// Who sent it, such as `account 3, session 12`.
    pub sender: String,
    /// Whom it reached or should have reached.
    pub recipient: String,
    /// Which one of its sender's events it is, counted from 0.
    pub sequence: u64,
    /// When it was planned, from the start of the schedule.
    pub planned_us: u64,
}

/// Deliveries and latency of one type of event.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventReport {
    /// Whether it is among the volatile heartbeats.
    pub volatile: bool,
    /// What became of its deliveries.
    pub audit: Counts,
    /// From the planned time.
    pub latency_us: Summary,
    /// From the time it was sent.
    pub naive_us: Summary,
}

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
    /// Whether the figures can be trusted.
    pub valid: bool,
    /// Why they cannot.
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

/// An objective, and whether it was met.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SloResult {
    /// The expression, in CEL.
    pub expression: String,
    /// The values of the fields that it names.
    pub value: BTreeMap<String, serde_json::Value>,
    /// Whether it was met.
    pub ok: bool,
}

/// One phase of the scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// When it began, from the start of the schedule.
    pub start_ms: u64,
    /// How long it lasted.
    pub duration_ms: u64,
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
    /// Events that arrived in it.
    pub delivered: u64,
    /// Latency of what arrived in it, of all events.
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

impl Report {
    /// The report of a run in which nothing happened, to be filled.
    #[must_use]
    pub fn blank() -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            touchstone: env!("CARGO_PKG_VERSION").to_owned(),
            target: Target {
                name: String::new(),
                urls: Vec::new(),
                path: String::new(),
                recipients: Recipients::Narrow,
                recipients_basis: Basis::Set,
                wide_events: Vec::new(),
            },
            started_at: 0,
            duration_ms: 0,
            seed: 0,
            scenario: Scenario {
                name: String::new(),
                digest: String::new(),
                scale: 1.0,
            },
            schedule: Schedule {
                digest: String::new(),
                accounts: 0,
                connections: 0,
                emits: 0,
                deliveries: 0,
                duration_ms: 0,
            },
            shard: Shard::whole(),
            interrupted: false,
            failure: None,
            audit: Audit::default(),
            latency_us: Kinds::default(),
            naive_us: Kinds::default(),
            events: BTreeMap::new(),
            answers: BTreeMap::new(),
            connections: Connections::default(),
            errors: BTreeMap::new(),
            generator: Generator {
                planned: 0,
                sent: 0,
                unsent: 0,
                lag_p99_us: 0,
                lag_us: Summary::default(),
                cpu_seconds: 0.0,
                cpu_share: 0.0,
                workers: 0,
                max_rss_bytes: 0,
                open_files: 0,
                open_files_limit: 0,
                hosts: Vec::new(),
                valid: true,
                reason: None,
            },
            slo: Vec::new(),
            phases: Vec::new(),
            series: Vec::new(),
            repeats: Vec::new(),
            histograms: Histograms::default(),
        }
    }

    /// Computes every summary from the histogram that it is of. The engine and `merge` fill in only
    /// histograms, so that the two cannot disagree.
    pub fn summarize(&mut self) {
        self.latency_us = self.histograms.kinds.map(|pair| pair.latency.summary());
        self.naive_us = self.histograms.kinds.map(|pair| pair.naive.summary());
        for (name, pair) in &self.histograms.events {
            let event = self.events.entry(name.clone()).or_default();
            event.latency_us = pair.latency.summary();
            event.naive_us = pair.naive.summary();
        }
        self.generator.lag_us = self.histograms.lag.summary();
        self.generator.lag_p99_us = self.generator.lag_us.p99;
        for phase in &mut self.phases {
            phase.latency_us = phase.histogram.summary();
            let per_second = |count: u64| rate(count, phase.duration_ms);
            phase.planned_per_second = per_second(phase.planned);
            phase.sent_per_second = per_second(phase.sent);
            phase.delivered_per_second = per_second(phase.delivered);
        }
        for second in &mut self.series {
            second.latency_us = second.histogram.summary();
        }
    }
}

/// Per second, to a hundredth, so that reports stay readable.
pub(crate) fn rate(count: u64, duration_ms: u64) -> f64 {
    if duration_ms == 0 {
        return 0.0;
    }
    let exact = count as f64 * 1000.0 / duration_ms as f64;
    (exact * 100.0).round() / 100.0
}
