//! What became of deliveries.

use serde::{Deserialize, Serialize};

use super::Summary;

/// How many examples of each audit outcome a report keeps.
pub const EXAMPLES: usize = 5;

/// What became of deliveries. One delivery is one event at one recipient.
///
/// `expected` is `delivered` and `lost` together. `late` and `reordered` are among the delivered;
/// `duplicated`, `misrouted`, `uncertain` and `untraced` are beside what is expected.
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
    /// Something of their type arrived that does not say which event it is, so that nobody knows
    /// whether it was this one.
    #[serde(default)]
    pub untraced: u64,
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
        self.untraced += other.untraced;
    }

    /// Whether nothing was lost, duplicated, reordered or misrouted. Late deliveries are a matter of
    /// objectives.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.duplicated == 0 && self.reordered == 0 && self.misrouted == 0
    }
}

/// The audit of a run. Its own counts are of all events that a server must deliver; heartbeats, which
/// the protocol sends as volatile, are a class of their own, together with the ends of sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// What became of them.
    #[serde(flatten)]
    pub counts: Counts,
    /// From when on a delivery is late.
    pub late_bound_us: u64,
    /// What became of volatile heartbeats, and of the ends of sessions.
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
    /// Whether it is of the class of heartbeats.
    pub volatile: bool,
    /// What became of its deliveries.
    pub audit: Counts,
    /// From the planned time.
    pub latency_us: Summary,
    /// From the time it was sent.
    pub naive_us: Summary,
}
