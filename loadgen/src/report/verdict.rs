//! What a report says in one word. Exit codes, summaries and pages all ask here, so that they cannot
//! disagree.

use super::model::Report;
use super::text::{one_line, plural};

/// How a run ended, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The server died or was never there.
    Failed,
    /// The generator was the limit, so that the figures say nothing about the server.
    Invalid,
    /// An objective was not met.
    Missed,
    /// Somebody ended it early; what ran is in order.
    Interrupted,
    /// Everything that was asked for holds.
    Passed,
}

impl Report {
    /// How the run ended.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if self.failure.is_some() {
            Verdict::Failed
        } else if !self.generator.valid {
            Verdict::Invalid
        } else if self.slo.iter().any(|slo| !slo.ok) {
            Verdict::Missed
        } else if self.interrupted {
            Verdict::Interrupted
        } else {
            Verdict::Passed
        }
    }

    /// The verdict as a word, and what there is to say about it.
    #[must_use]
    pub fn conclusion(&self) -> (&'static str, String) {
        match self.verdict() {
            Verdict::Failed => (
                "FAILED",
                one_line(self.failure.as_deref().unwrap_or_default()).into_owned(),
            ),
            Verdict::Invalid => {
                let reason = self.generator.reason.as_deref().unwrap_or_default();
                (
                    "INVALID",
                    format!("the generator was the limit: {}", one_line(reason)),
                )
            }
            Verdict::Missed => {
                let missed = self.slo.iter().filter(|slo| !slo.ok).count();
                (
                    "MISSED",
                    format!("{} not met", plural(missed as u64, "objective")),
                )
            }
            Verdict::Interrupted => ("INTERRUPTED", "the figures are of what ran".to_owned()),
            Verdict::Passed => (
                "PASSED",
                match self.slo.len() {
                    0 => "no objectives were asked for".to_owned(),
                    count => format!("{} met", plural(count as u64, "objective")),
                },
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::sample;
    use super::*;

    #[track_caller]
    fn check(change: impl FnOnce(&mut Report), expected: Verdict, says: &str) {
        let mut report = sample();
        change(&mut report);
        assert_eq!(report.verdict(), expected);
        let (word, why) = report.conclusion();
        assert!(format!("{word}: {why}").contains(says), "{word}: {why}");
    }

    #[test]
    fn the_worst_counts() {
        check(|_| {}, Verdict::Passed, "PASSED: 2 objectives met");
        check(|r| r.slo.clear(), Verdict::Passed, "no objectives");
        check(
            |r| r.interrupted = true,
            Verdict::Interrupted,
            "of what ran",
        );
        check(
            |r| r.slo[0].ok = false,
            Verdict::Missed,
            "1 objective not met",
        );
        check(
            |r| {
                r.slo[0].ok = false;
                r.generator.valid = false;
                r.generator.reason = Some("scheduling lag".to_owned());
            },
            Verdict::Invalid,
            "scheduling lag",
        );
        check(
            |r| {
                r.generator.valid = false;
                r.failure = Some("the server is gone".to_owned());
            },
            Verdict::Failed,
            "FAILED: the server is gone",
        );
    }
}
