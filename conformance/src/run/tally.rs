//! Adding up: verdicts of repeated cases, and of requirements from the cases that judge them. Pure.

use crate::{
    event::{CaseReport, RequirementReport},
    ledger::requirements as ledger,
    verdict::Verdict,
};

/// What stands after a case was repeated alone. A failure that then passes is neither a verdict on the
/// server nor nothing: it stays as a warning that is marked flaky, with its first evidence. One whose
/// repetition could not be judged has not been refuted, and stays as it is. What
/// could not be judged in company, and can be alone, was never held against the server.
pub(super) fn repeated(mut first: CaseReport, mut again: CaseReport) -> CaseReport {
    if first.verdict == Verdict::Error {
        let reason = first.reason.unwrap_or_default();
        again.notes.push(format!(
            "repeated alone; it could not be judged at first: {reason}"
        ));
        return again;
    }
    if again.verdict >= first.verdict && again.verdict != Verdict::Error {
        return again;
    }
    let unjudged = [Verdict::Skip, Verdict::Blocked, Verdict::Error];
    if !unjudged.contains(&again.verdict) {
        first.flaky = true;
        first.verdict = Verdict::Warn;
    }
    first.notes.push(match again.verdict {
        Verdict::Pass | Verdict::Info => "it passed when it was repeated alone".into(),
        other => format!("repeated alone, the verdict was {other}"),
    });
    first
}

/// The worse of two runs of one case under `--repeat`.
pub(super) fn worse(earlier: CaseReport, later: CaseReport) -> CaseReport {
    if later.verdict > earlier.verdict {
        later
    } else {
        earlier
    }
}

/// What the cases together say about each requirement, in the order of the ledger.
pub(super) fn requirements(cases: &[CaseReport]) -> Vec<RequirementReport> {
    ledger()
        .filter_map(|requirement| {
            let concerned: Vec<_> = cases
                .iter()
                .filter(|case| {
                    let judges = case
                        .requirements
                        .iter()
                        .any(|&r| std::ptr::eq(r, requirement));
                    judges || case.broken().any(|(r, _)| std::ptr::eq(r, requirement))
                })
                .collect();
            let found = concerned.iter().flat_map(|case| {
                let own = case
                    .findings
                    .iter()
                    .filter(|f| std::ptr::eq(f.requirement, requirement));
                own.map(|finding| match finding.verdict() {
                    Verdict::Fail if case.flaky => Verdict::Warn,
                    verdict => verdict,
                })
            });
            let verdict = found.max().or_else(|| {
                // Nobody got so far as to judge it; the reason is with the cases.
                let unjudged = [Verdict::Skip, Verdict::Blocked, Verdict::Error];
                let of = concerned.iter().map(|case| case.verdict);
                of.filter(|verdict| unjudged.contains(verdict))
                    .max()
                    .or(Some(Verdict::Blocked))
            })?;
            (!concerned.is_empty()).then(|| RequirementReport {
                requirement,
                verdict,
                cases: concerned.iter().map(|case| case.id).collect(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        case::cases,
        verdict::{Finding, Mismatch},
    };

    fn report(verdict: Verdict) -> CaseReport {
        let case = cases().next().unwrap();
        let broken = (verdict == Verdict::Fail).then(|| Mismatch {
            expected: "a".into(),
            actual: "b".into(),
        });
        let findings = match verdict {
            Verdict::Pass | Verdict::Fail => {
                vec![Finding {
                    requirement: case.requirements[0],
                    broken,
                }]
            }
            _ => Vec::new(),
        };
        CaseReport {
            id: case.id,
            level: case.level(),
            verdict,
            requirements: case.requirements.to_vec(),
            findings,
            reason: None,
            notes: Vec::new(),
            duration: Duration::ZERO,
            flaky: false,
            known: None,
            reproduce: String::new(),
            trace: Vec::new(),
            recording: None,
        }
    }

    #[test]
    fn a_failure_that_does_not_repeat_is_never_silently_green() {
        #[track_caller]
        fn check(first: Verdict, again: Verdict, expected: (Verdict, bool)) {
            let report = repeated(report(first), report(again));
            assert_eq!((report.verdict, report.flaky), expected);
        }
        check(Verdict::Fail, Verdict::Fail, (Verdict::Fail, false));
        check(Verdict::Fail, Verdict::Pass, (Verdict::Warn, true));
        check(Verdict::Fail, Verdict::Warn, (Verdict::Warn, true));
        check(Verdict::Warn, Verdict::Warn, (Verdict::Warn, false));
        check(Verdict::Warn, Verdict::Fail, (Verdict::Fail, false));
        check(Verdict::Warn, Verdict::Pass, (Verdict::Warn, true));
        check(Verdict::Fail, Verdict::Error, (Verdict::Fail, false));
        check(Verdict::Fail, Verdict::Blocked, (Verdict::Fail, false));
        check(Verdict::Error, Verdict::Pass, (Verdict::Pass, false));
        check(Verdict::Error, Verdict::Fail, (Verdict::Fail, false));
        check(Verdict::Error, Verdict::Error, (Verdict::Error, false));
    }

    #[test]
    fn requirements_take_the_worst_of_their_findings() {
        #[track_caller]
        fn check(case: CaseReport, expected: Verdict) {
            let requirement = case.requirements[0];
            let reports = requirements(&[case]);
            let found = reports
                .iter()
                .find(|r| r.requirement == requirement)
                .unwrap();
            assert_eq!(found.verdict, expected);
        }
        check(report(Verdict::Pass), Verdict::Pass);
        check(report(Verdict::Fail), Verdict::Fail);
        check(report(Verdict::Skip), Verdict::Skip);
        check(report(Verdict::Blocked), Verdict::Blocked);
        check(
            CaseReport {
                flaky: true,
                ..report(Verdict::Fail)
            },
            Verdict::Warn,
        );
    }
}
