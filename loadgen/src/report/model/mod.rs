//! What a load run found, as data: the JSON report of `touchstone load`. Every other report is a
//! rendering of this, and `load merge` adds several of them.
//!
//! The engine fills it; nothing here measures, renders or judges. Times are microseconds unless a
//! name says otherwise, counts are whole numbers, and everything that `merge` must add exactly is
//! kept as a histogram or a count rather than as a percentile. The format is an interface, so changes
//! are additions; its schema is `schema/load-report.schema.json`.

mod audit;
mod generator;
mod measured;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(crate) use self::measured::rate;
pub use self::{
    audit::{Audit, Counts, EXAMPLES, EventReport, Example, Outcome},
    generator::{Connections, Generator, Host},
    measured::{Histograms, Kinds, Pair, Phase, Repeat, Second, Summary},
};

/// The value of `format` in the report.
pub const FORMAT: &str = "touchstone-load";

/// The version of the format.
pub const VERSION: u32 = 1;

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
    /// It could not be measured, so that it is not judged; `errors` says why.
    Assumed,
}

impl Report {
    /// How long its phases lasted, and how long they would have if nobody had ended the run, in
    /// milliseconds.
    pub(crate) fn lasted(&self) -> (u64, u64) {
        self.phases.iter().fold((0, 0), |(lasted, planned), phase| {
            (
                lasted + phase.duration_ms,
                planned + phase.planned_ms.max(phase.duration_ms),
            )
        })
    }

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
        match self.recipients_basis {
            Basis::Set => format!("{recipients} (set)"),
            Basis::Measured => format!("{recipients} (measured)"),
            Basis::Assumed => "not judged (they could not be measured)".to_owned(),
        }
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

impl Scenario {
    /// Its name with the beginning of its digest: scenarios of one name may say different things.
    pub(crate) fn described(&self) -> String {
        let digest = self.digest.get(..8).unwrap_or_default();
        format!("{} ({digest})", self.name)
    }
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

impl SloResult {
    /// Whether deliveries that went wrong are why it was not met. How fast they were planned, and
    /// whether the generator kept that, does not matter then.
    #[must_use]
    pub fn blames_deliveries(&self) -> bool {
        const WRONG: [&str; 4] = ["lost", "duplicated", "reordered", "misrouted"];
        !self.ok
            && self.value.iter().any(|(field, value)| {
                let names = |wrong| {
                    let of = field
                        .strip_suffix(wrong)
                        .and_then(|of| of.strip_suffix('.'));
                    of.is_some_and(|of| of.contains("audit"))
                };
                WRONG.into_iter().any(names) && value.as_u64().is_some_and(|count| count > 0)
            })
    }
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
                machine_share: 0.0,
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
