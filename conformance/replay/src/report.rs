//! What came of replays, counted.

use std::{path::PathBuf, time::Duration};

use super::{
    judged::Judged,
    outcome::{Item, Outcome},
    script::RecordedCase,
};

/// What came of replaying one trace or several.
#[derive(Debug)]
pub struct ReplayRun {
    /// When it began, in Unix milliseconds.
    pub started_at: u64,
    /// How long it took.
    pub duration: Duration,
    /// The server that the traces were sent to.
    pub target: String,
    /// Where new names came from.
    pub seed: u64,
    /// The pace; as fast as possible where none.
    pub speed: Option<f64>,
    /// Each trace, in the order in which they were named.
    pub traces: Vec<Replayed>,
}

/// A trace, and what came of it.
#[derive(Debug)]
pub struct Replayed {
    /// The file.
    pub path: PathBuf,
    /// The report, or why there is none.
    pub outcome: Result<ReplayReport, String>,
}

/// What came of the replay of one trace.
#[derive(Debug)]
pub struct ReplayReport {
    /// When it began, in Unix milliseconds.
    pub started_at: u64,
    /// How long it took.
    pub duration: Duration,
    /// The recording.
    pub trace: PathBuf,
    /// What wrote it.
    pub recorded_by: String,
    /// The server that it was recorded from.
    pub recorded_from: String,
    /// The case that it is the evidence of, if it is.
    pub case: Option<RecordedCase>,
    /// Everything that the server did then or now, in order.
    pub items: Vec<Item>,
    /// What no right server does, then or now.
    pub judged: Vec<Judged>,
    /// What could not be replayed.
    pub unsent: Vec<Unsent>,
    /// Routing decisions that the recording has besides. No client receives them, so that a replay has
    /// none to compare with.
    pub decisions: usize,
    /// Whether it was ended before all was sent and waited for; only what was is compared.
    pub interrupted: bool,
    /// Whether the failure of the case is mended, where one was recorded and its case ran again.
    pub repair: Option<Repair>,
}

/// A step that could not be replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsent {
    /// The connection.
    pub conn: String,
    /// What was to be sent.
    pub what: String,
    /// Why it could not be, or why it means nothing to this server.
    pub why: String,
    /// The place of its step in the recording, where it is one.
    pub step: Option<usize>,
}

/// What became of a failure that was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// The case passes now.
    Fixed,
    /// It still fails.
    Failed,
    /// It could not be judged.
    Error,
}

impl Repair {
    /// The word of reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fixed => "FIXED",
            Self::Failed => "FAILED",
            Self::Error => "ERROR",
        }
    }
}

/// How many things had which outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// The same as recorded.
    pub same: usize,
    /// Different in some place.
    pub different: usize,
    /// Recorded, and not seen again.
    pub missing: usize,
    /// Seen, and not recorded.
    pub extra: usize,
    /// Otherwise, and not settled by the recording and the contract.
    pub observed: usize,
    /// Otherwise, and resting on what could not be replayed.
    pub blocked: usize,
    /// Steps that could not be replayed.
    pub not_replayable: usize,
    /// Requirements that the recording breaks and the repetition does not.
    pub fixed: usize,
    /// Requirements that the repetition breaks, as far as they count against the server.
    pub failed: usize,
}

impl Counts {
    /// Whether the server did what was recorded, as far as it could be asked to, and nothing that is
    /// wrong.
    pub fn is_same(&self) -> bool {
        self.different + self.missing + self.extra + self.failed == 0
    }

    fn add(&mut self, other: Self) {
        self.same += other.same;
        self.different += other.different;
        self.missing += other.missing;
        self.extra += other.extra;
        self.observed += other.observed;
        self.blocked += other.blocked;
        self.not_replayable += other.not_replayable;
        self.fixed += other.fixed;
        self.failed += other.failed;
    }
}

impl ReplayReport {
    /// Counts the outcomes.
    pub fn counts(&self) -> Counts {
        let judged =
            |counts: &dyn Fn(&Judged) -> bool| self.judged.iter().filter(|one| counts(one)).count();
        let mut counts = Counts {
            not_replayable: self.unsent.len(),
            fixed: judged(&|one| one.repair == Repair::Fixed),
            failed: judged(&Judged::is_held),
            ..Counts::default()
        };
        for item in &self.items {
            let count = match item.outcome {
                Outcome::Same => &mut counts.same,
                Outcome::Different(_) => &mut counts.different,
                Outcome::Missing(_) => &mut counts.missing,
                Outcome::Extra(_) => &mut counts.extra,
                Outcome::Observed { .. } => &mut counts.observed,
                Outcome::Blocked { .. } => &mut counts.blocked,
            };
            *count += 1;
        }
        counts
    }
}

impl ReplayRun {
    /// The outcomes of all traces.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for report in self.reports() {
            counts.add(report.counts());
        }
        counts
    }

    /// The traces that could be replayed.
    pub fn reports(&self) -> impl Iterator<Item = &ReplayReport> {
        let outcomes = self.traces.iter().map(|trace| trace.outcome.as_ref());
        outcomes.filter_map(Result::ok)
    }
}
