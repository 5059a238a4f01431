//! What a run says while it runs, and what is left of it: events, case reports, the summary.
//!
//! The runner makes these values and formats nothing; every report is a renderer of them
//! ([`crate::report`]) and runs nothing.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use touchstone_client::Secret;

use crate::target::Capability;
use crate::{
    ledger::{Level, Requirement},
    verdict::{Finding, Mismatch, Verdict},
};

/// How the reason begins when the server stopped answering while a case ran. It is nobody's verdict, and
/// reports tell all of them in one place.
pub(crate) const GONE_DURING: &str = "the server stopped answering while this case ran";

/// The reason of a case that never began, since the server had stopped answering.
pub(crate) const GONE_BEFORE: &str = "the server stopped answering before this case began";

/// The reason of a case that the user ended, or that never began because of that.
pub(crate) const INTERRUPTED: &str = "the run was interrupted before this case ended";

/// The reason of a case that never began, since another one had failed before.
pub(crate) const FAILED_FAST: &str = "the run ended at its first failure (--fail-fast)";

/// The reason of a case for which too little was listed, until the run knows how much is needed.
pub(crate) const SHORT: &str = "too few accounts, sessions or machines are listed";

/// One thing that happened in a run, in order. `Started` is the first and `Finished` the last.
#[derive(Debug)]
pub enum RunEvent {
    /// The server under test was started by `--spawn` and answers.
    Spawned {
        /// The command that was run.
        command: String,
    },
    /// The target is ready; the cases begin.
    Started {
        /// What was found out about the target.
        doctor: DoctorReport,
        /// How many cases are going to run.
        selected: usize,
        /// How long those of them take at most that wait for a time-out of the server.
        slow: Duration,
    },
    /// A case begins; `alone` while nothing else runs.
    CaseStarted {
        /// The case.
        id: &'static str,
        /// Whether it is repeated, or hazardous, and so has the server for itself.
        alone: bool,
    },
    /// A case has its verdict. A case that is repeated alone finishes twice; the second one counts.
    CaseFinished(Box<CaseReport>),
    /// The server under test stopped answering.
    ServerDied {
        /// The cases that were running then.
        during: Vec<&'static str>,
        /// What was sent last, and by which case.
        suspect: Option<String>,
        /// What it printed last, if this run started it.
        output: Vec<String>,
        /// Whether it is going to be started again.
        restarting: bool,
    },
    /// The run is over, whichever way.
    Finished(Box<RunReport>),
}

/// Consumes the events of a run.
pub trait Reporter: Send {
    /// Takes the next event.
    ///
    /// # Errors
    /// Writing failed; the run ends with it.
    fn event(&mut self, event: &RunEvent) -> std::io::Result<()> {
        match event {
            RunEvent::Finished(run) => self.finished(run),
            _ => Ok(()),
        }
    }

    /// Takes the report of the whole run, which is all that most of them write about.
    ///
    /// # Errors
    /// Writing failed.
    fn finished(&mut self, _: &RunReport) -> std::io::Result<()> {
        Ok(())
    }
}

/// The outcome of one case.
#[derive(Debug, Clone)]
pub struct CaseReport {
    /// The case.
    pub id: &'static str,
    /// The most binding level among its requirements.
    pub level: Level,
    /// Its verdict.
    pub verdict: Verdict,
    /// What it judges.
    pub requirements: Vec<&'static Requirement>,
    /// What it found, in order.
    pub findings: Vec<Finding>,
    /// Why it was skipped, blocked or could not be carried out.
    pub reason: Option<String>,
    /// What a reader of the verdict should know, such as that silence rests on a settle window.
    pub notes: Vec<String>,
    /// How long it took.
    pub duration: Duration,
    /// The longest time for which this machine was too busy to go on with it.
    pub stalled: Duration,
    /// Whether it failed beside other cases and passed when it was repeated alone.
    pub flaky: bool,
    /// Why its failure is expected, when a baseline lists all that it breaks. The verdict stays.
    pub known: Option<String>,
    /// How to run this case alone.
    pub reproduce: String,
    /// What was sent and received, oldest first; empty for a case that passed.
    pub trace: Vec<TraceLine>,
    /// The same as a file of the format `touchstone-trace`, where the plan asks for it.
    pub recording: Option<String>,
    /// What usually makes the case fail.
    pub typical_cause: Option<String>,
    /// The requirement that it builds on and that is broken, where that kept it from judging.
    pub blocked_by: Option<&'static Requirement>,
    /// The file that its recording goes to, where it goes to one.
    pub trace_file: Option<String>,
    /// Which of its connections went to which node, where the target has several.
    pub nodes: Vec<(String, String)>,
}

/// The verdict with its reason and what was broken, for whoever has no report: a line for each.
impl fmt::Display for CaseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = self.reason.as_deref().unwrap_or_default();
        write!(f, "{}: {} {reason}", self.id, self.verdict)?;
        for (requirement, Mismatch { expected, actual }) in self.broken() {
            write!(
                f,
                "\n  {}: expected {expected}, got {actual}",
                requirement.id
            )?;
        }
        Ok(())
    }
}

impl CaseReport {
    /// The first part of the id, under which reports show the case.
    pub fn group(&self) -> &'static str {
        self.id.split('.').next().unwrap_or(self.id)
    }

    /// What usually makes it fail, unless it is another case that tells what was found.
    pub fn cause(&self) -> Option<String> {
        self.told().next()?;
        self.typical_cause.clone()
    }

    /// How to look at the whole of its trace.
    pub fn look(&self) -> String {
        match &self.trace_file {
            Some(file) => format!("touchstone watch --open {}", quoted(file)),
            None => format!(
                "{} --trace traces; touchstone watch --open traces/{}.jsonl",
                self.reproduce, self.id
            ),
        }
    }

    /// Whether it could not be judged because the server stopped answering.
    pub(crate) fn lost_its_server(&self) -> bool {
        matches!(self.verdict, Verdict::Error | Verdict::Blocked)
            && self.reason.as_deref().is_some_and(|reason| {
                reason.starts_with(GONE_DURING) || reason.starts_with(GONE_BEFORE)
            })
    }

    /// The findings that broke a requirement and that this case tells, worst first: what several cases
    /// saw of one trait, one of them tells for all.
    pub fn told(&self) -> impl Iterator<Item = (&Finding, &Mismatch)> {
        let mut told: Vec<_> = self
            .findings
            .iter()
            .filter(|finding| finding.told_by.is_none())
            .filter_map(|finding| Some((finding, finding.broken.as_ref()?)))
            .collect();
        told.sort_by_key(|(finding, _)| std::cmp::Reverse(finding.requirement.level));
        told.into_iter()
    }

    /// The findings that broke a requirement, worst first.
    pub fn broken(&self) -> impl Iterator<Item = (&'static Requirement, &Mismatch)> {
        let mut broken: Vec<_> = self
            .findings
            .iter()
            .filter_map(|finding| Some((finding.requirement, finding.broken.as_ref()?)))
            .collect();
        broken.sort_by_key(|(requirement, _)| std::cmp::Reverse(requirement.level));
        broken.into_iter()
    }
}

/// A path as a shell takes it.
fn quoted(path: &str) -> String {
    match path
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
    {
        true => path.to_owned(),
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}

/// One line of the wire trace of a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TraceLine {
    /// Microseconds since the case began.
    pub at_us: u64,
    /// The connection, by the name that the case gave it (`u1`, `s2`).
    pub conn: String,
    /// Who speaks.
    pub dir: Direction,
    /// The packet or request, shortened and without secrets.
    pub text: String,
}

/// Who speaks on a trace line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The suite to the server.
    C2s,
    /// The server to the suite.
    S2c,
    /// An HTTP exchange.
    Http,
    /// The suite about itself: a step of the case, a connection that ended.
    Mark,
}

/// What a run leaves behind.
#[derive(Debug, Clone)]
pub struct RunReport {
    /// The server under test.
    pub target: TargetSummary,
    /// When the run began, in Unix milliseconds.
    pub started_at: u64,
    /// How long it took.
    pub duration: Duration,
    /// The seed that all random choices came from.
    pub seed: u64,
    /// The counts, and whether the run is complete.
    pub summary: Summary,
    /// Every selected case, ordered as the registry is.
    pub cases: Vec<CaseReport>,
    /// Every requirement that a selected case judges, ordered as the ledger is.
    pub requirements: Vec<RequirementReport>,
    /// What was learnt about legitimate differences.
    pub dialect: Dialect,
    /// What was sent last when the server stopped answering for good, and by which case.
    pub suspect: Option<String>,
    /// Baseline entries that no longer fail, or that match nothing.
    pub stale: Vec<StaleEntry>,
}

/// The server under test, as reports name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetSummary {
    /// The name that the user gave it, or its first address.
    pub name: String,
    /// Its addresses, without credentials.
    pub urls: Vec<String>,
    /// The Socket.IO path.
    pub path: String,
    /// How accounts came to exist (`rest`, `file`, `command`).
    pub provision: String,
    /// What the target does not offer, with the reason; cases that need it are skipped.
    pub missing: Vec<String>,
}

/// One requirement, with what all its cases together say.
#[derive(Debug, Clone)]
pub struct RequirementReport {
    /// The requirement.
    pub requirement: &'static Requirement,
    /// The worst of what was found; skip, blocked or error when nothing could be found.
    pub verdict: Verdict,
    /// The selected cases that judge it.
    pub cases: Vec<&'static str>,
}

/// The counts of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// Selected cases.
    pub total: usize,
    /// Cases that passed.
    pub pass: usize,
    /// Cases that broke a MUST.
    pub fail: usize,
    /// Cases that broke a SHOULD only, or did not repeat their failure.
    pub warn: usize,
    /// Cases that differ in a legitimate trait only.
    pub info: usize,
    /// Cases whose capability the target lacks.
    pub skip: usize,
    /// Cases whose precondition failed, or that never began.
    pub blocked: usize,
    /// Cases that could not be carried out.
    pub error: usize,
    /// Cases among the above that failed at first and passed alone.
    pub flaky: usize,
    /// Failed cases whose failure a baseline lists; they are among `fail`.
    pub known: usize,
    /// Baseline entries that no longer fail, or that match nothing.
    pub stale: usize,
    /// Whether the user ended the run early.
    pub interrupted: bool,
}

impl Summary {
    /// Counts `cases`, of which a baseline has `stale` entries too many.
    pub(crate) fn of(cases: &[CaseReport], stale: usize, interrupted: bool) -> Self {
        let mut summary = Self {
            total: cases.len(),
            stale,
            interrupted,
            ..Self::default()
        };
        for case in cases {
            *match case.verdict {
                Verdict::Pass => &mut summary.pass,
                Verdict::Fail => &mut summary.fail,
                Verdict::Warn => &mut summary.warn,
                Verdict::Info => &mut summary.info,
                Verdict::Skip => &mut summary.skip,
                Verdict::Blocked => &mut summary.blocked,
                Verdict::Error => &mut summary.error,
            } += 1;
            summary.flaky += usize::from(case.flaky);
            summary.known += usize::from(case.known.is_some());
        }
        summary
    }

    /// How many cases have `verdict`.
    pub fn count(&self, verdict: Verdict) -> usize {
        match verdict {
            Verdict::Pass => self.pass,
            Verdict::Fail => self.fail,
            Verdict::Warn => self.warn,
            Verdict::Info => self.info,
            Verdict::Skip => self.skip,
            Verdict::Blocked => self.blocked,
            Verdict::Error => self.error,
        }
    }

    /// Failed cases that no baseline lists.
    pub fn unexpected(&self) -> usize {
        self.fail - self.known.min(self.fail)
    }

    /// Whether something could not be carried out, or next to nothing was judged: a green run with this
    /// set proves less than it says.
    pub fn incomplete(&self) -> bool {
        self.error > 0 || self.blocked > 0 || self.hardly_judged().is_some()
    }

    /// What to say of a run that judged less than a tenth of what was selected, since the server lacks
    /// what the rest needs.
    pub(crate) fn hardly_judged(&self) -> Option<String> {
        let judged = self.pass + self.fail + self.warn + self.info;
        (self.total > 0 && judged * 10 < self.total).then(|| {
            let of = touchstone_output::text::plural(self.total, "case");
            format!(
                "{judged} of {of} could be judged, which is too little for a verdict on the server"
            )
        })
    }
}

/// The dialect card: legitimate traits of a server, by dotted name.
///
/// Cases contribute what they happen to see; several different observations of one trait are all kept,
/// since "sometimes this, sometimes that" is a trait as well.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dialect(BTreeMap<String, Vec<Value>>);

impl Dialect {
    /// Notes an observation.
    pub(crate) fn note(&mut self, name: &str, value: Value) {
        let seen = self.0.entry(name.to_owned()).or_default();
        if !seen.contains(&value) {
            seen.push(value);
            // The order of arrival depends on the schedule; a report must not.
            seen.sort_by_key(Value::to_string);
        }
    }

    /// Takes over the observations of `other`.
    pub(crate) fn merge(&mut self, other: Self) {
        for (name, values) in other.0 {
            for value in values {
                self.note(&name, value);
            }
        }
    }

    /// The traits by name: one value, or an array where observations differed.
    pub fn traits(&self) -> impl Iterator<Item = (&str, Value)> {
        self.0.iter().map(|(name, values)| {
            let value = match values.as_slice() {
                [one] => one.clone(),
                several => Value::Array(several.to_vec()),
            };
            (name.as_str(), value)
        })
    }
}

impl Serialize for Dialect {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.traits())
    }
}

/// A baseline entry that has to go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaleEntry {
    /// The file that holds it.
    pub file: String,
    /// Its line there, counted from 1.
    pub line: usize,
    /// The case or pattern that it names.
    pub case: String,
    /// Why it has to go.
    pub why: String,
}

/// What the doctor found out about a target that is ready.
#[derive(Debug, Clone)]
pub struct DoctorReport {
    /// The target, as reports name it.
    pub target: TargetSummary,
    /// What it lacks, with the reason.
    pub missing: Vec<(Capability, String)>,
    /// How long it took to answer a ping; nothing where it answers none, which is judged like anything
    /// else.
    pub ping: Option<Duration>,
    /// How long a client may be silent, as the handshake says.
    pub heartbeat: Duration,
    /// The token of the account that pinged.
    pub(crate) token: Secret,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_trait_keeps_every_different_observation() {
        let mut card = Dialect::default();
        card.note("ack.order", json!("broadcast-first"));
        card.note("ack.order", json!("ack-first"));
        card.note("ack.order", json!("broadcast-first"));
        card.note("refusal", json!("connect-error"));
        assert_eq!(
            serde_json::to_value(&card).unwrap(),
            json!({"ack.order": ["ack-first", "broadcast-first"], "refusal": "connect-error"})
        );
    }
}
