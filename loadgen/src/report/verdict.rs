//! What a report says in one word. Exit codes, summaries and pages all ask here, so that they cannot
//! disagree.

use super::model::{Report, SloResult};
use touchstone_output::number::seconds;
use touchstone_output::text::{grouped, one_line, plural};

/// How a run ended, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The server died or was never there.
    Failed,
    /// Deliveries were lost, doubled, reordered or misrouted against an objective. That does not depend
    /// on who was the limit, so that it holds for an invalid run, too.
    Misdelivered,
    /// The load was not what the scenario wants, so that the other figures are of another load.
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
        } else if self.slo.iter().any(SloResult::blames_deliveries) {
            Verdict::Misdelivered
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
        let verdict = self.verdict();
        let reason = self.generator.reason.as_deref().unwrap_or_default();
        let missed = self.slo.iter().filter(|slo| !slo.ok).count() as u64;
        let missed = format!("{} not met", plural(missed, "objective"));
        let (word, mut why) = match verdict {
            Verdict::Failed => (
                "FAILED",
                one_line(self.failure.as_deref().unwrap_or_default()).into_owned(),
            ),
            Verdict::Misdelivered => ("MISSED", format!("{missed}: {}", self.misdelivered())),
            Verdict::Invalid => ("INVALID", one_line(reason).into_owned()),
            Verdict::Missed => ("MISSED", missed),
            Verdict::Interrupted => ("INTERRUPTED", String::new()),
            Verdict::Passed => (
                "PASSED",
                match self.slo.len() {
                    0 => "no objectives were asked for".to_owned(),
                    count => format!("{} met", plural(count, "objective")),
                },
            ),
        };
        let mut add = |more: String| {
            if !why.is_empty() {
                why.push_str("; ");
            }
            why.push_str(&more);
        };
        if verdict < Verdict::Invalid && !self.generator.valid {
            add(format!(
                "the run is also INVALID, so that its latencies and rates say little: {}",
                one_line(reason)
            ));
        }
        if self.interrupted {
            let (lasted, planned) = self.lasted();
            add(format!(
                "ended early, after {} of {}, and all rates are of that time",
                seconds(lasted),
                seconds(planned)
            ));
        }
        (word, why)
    }

    /// What went wrong with deliveries, in words.
    fn misdelivered(&self) -> String {
        let mut sum = self.audit.counts;
        sum.duplicated += self.audit.volatile.duplicated;
        sum.misrouted += self.audit.volatile.misrouted;
        let all = [
            (sum.lost, "lost"),
            (sum.duplicated, "duplicated"),
            (sum.reordered, "reordered"),
            (sum.misrouted, "misrouted"),
        ];
        let all = all.into_iter().filter(|(count, _)| *count > 0);
        let all = all.map(|(count, how)| format!("{} {how}", grouped(count)));
        all.collect::<Vec<_>>().join(", ")
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
            "INTERRUPTED: ended early, after 6.0 s of 6.0 s, and all rates are of that time",
        );
        check(
            |r| {
                r.interrupted = true;
                r.phases[1].planned_ms = 20_000;
            },
            Verdict::Interrupted,
            "after 6.0 s of 21.0 s",
        );
        check(
            |r| r.slo[0].ok = false,
            Verdict::Missed,
            "1 objective not met",
        );
        let invalid = |r: &mut Report| {
            r.generator.valid = false;
            r.generator.reason = Some("the machine was the limit: its cores".to_owned());
        };
        check(
            |r| {
                r.slo[0].ok = false;
                invalid(r);
            },
            Verdict::Invalid,
            "INVALID: the machine was the limit: its cores",
        );
        check(
            |r| {
                invalid(r);
                r.failure = Some("the server is gone".to_owned());
                r.interrupted = true;
            },
            Verdict::Failed,
            "FAILED: the server is gone; the run is also INVALID, so that its latencies and rates say \
             little: the machine was the limit: its cores; ended early",
        );
    }

    /// What the server did with deliveries is told in every run, whoever was the limit.
    #[test]
    fn an_invalid_run_does_not_hide_the_servers_fault() {
        let wrong = |r: &mut Report| {
            r.audit.counts.misrouted = 39;
            r.slo[0].ok = false;
            r.slo[0].value = [("audit.misrouted".to_owned(), 39.into())].into();
        };
        check(
            wrong,
            Verdict::Misdelivered,
            "MISSED: 1 objective not met: 39 misrouted",
        );
        let both = |r: &mut Report| {
            wrong(r);
            r.generator.valid = false;
            r.generator.reason = Some("the generator was the limit".to_owned());
        };
        check(
            both,
            Verdict::Misdelivered,
            "39 misrouted; the run is also INVALID",
        );
        // An objective that allows it, or that says something about latency.
        for field in ["audit.delivered", "latencyUs.lost", "audit.misrouted"] {
            let other = |r: &mut Report| {
                both(r);
                let count = u64::from(field != "audit.misrouted");
                r.slo[0].value = [(field.to_owned(), count.into())].into();
            };
            check(other, Verdict::Invalid, "INVALID: the generator");
        }
    }
}
