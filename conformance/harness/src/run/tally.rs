//! Adding up: verdicts of repeated cases, and of requirements from the cases that judge them. Pure.

use std::time::Duration;

use crate::{
    case::Registry,
    event::{CaseReport, RequirementReport},
    ledger::{Level, Requirement},
    verdict::Verdict,
};

/// Whether a case that failed has to be repeated beside others, since it does not fail alone.
pub(super) fn needs_load(first: &CaseReport, again: &CaseReport) -> bool {
    let failed = matches!(first.verdict, Verdict::Fail | Verdict::Warn);
    failed && again.verdict < first.verdict && !UNJUDGED.contains(&again.verdict)
}

/// Verdicts of cases that judged nothing.
const UNJUDGED: [Verdict; 3] = [Verdict::Skip, Verdict::Blocked, Verdict::Error];

/// For how long a machine has to keep a case from going on, so that this explains what does not show again.
const STALLED: Duration = Duration::from_millis(500);

/// What stands after a case was repeated alone, and, where it passed then, several times beside others
/// (`loaded`). A failure that shows again stands: there are faults that need load. One that shows only
/// once is neither a verdict on the server nor nothing: it stays as a warning that is marked flaky, with
/// its first evidence, except where data of another account was seen, which no accident explains, and where
/// this machine was too busy to go on with the case, which explains it better than the server does. One
/// whose repetition could not be judged has not been refuted, and stays as it is. What could not be
/// judged in company, and can be alone, was never held against the server.
pub(super) fn repeated(
    mut first: CaseReport,
    mut again: CaseReport,
    loaded: &[CaseReport],
) -> CaseReport {
    if matches!(first.verdict, Verdict::Error | Verdict::Blocked) {
        let reason = first.reason.unwrap_or_default();
        again.notes.push(format!(
            "repeated alone; it could not be judged at first: {reason}"
        ));
        return again;
    }
    if again.verdict >= first.verdict && again.verdict != Verdict::Error {
        return again;
    }
    let alone = match again.verdict {
        Verdict::Pass | Verdict::Info => "it passed when it was repeated alone".to_owned(),
        other => format!("repeated alone, the verdict was {other}"),
    };
    if UNJUDGED.contains(&again.verdict) {
        first.notes.push(alone);
        return first;
    }
    let same = |report: &&CaseReport| shows_again(&first, report);
    let shown = loaded.iter().filter(same).count();
    let times = loaded.len();
    if shown > 0 {
        first.notes.push(format!(
            "{alone}, and failed again {shown} of {times} times beside others: it needs load"
        ));
    } else if first.broken().any(|(requirement, _)| is_leak(requirement)) {
        first.notes.push(format!(
            "{alone}; what reaches another account does so by no accident"
        ));
    } else if first.stalled >= STALLED && times > 0 && again.verdict <= Verdict::Info {
        let stalled = first.stalled.as_secs_f64();
        let broken: Vec<_> = first.broken().map(|(one, _)| one.id).collect();
        again.notes.push(format!(
            "{} looked broken while this machine was too busy to go on with the case for {stalled:.1} s; \
             {alone}, and {times} times beside others",
            broken.join(", ")
        ));
        return again;
    } else {
        first.flaky = true;
        first.verdict = Verdict::Warn;
        first.notes.push(match times {
            0 => alone,
            _ => format!("{alone}, and {times} times beside others"),
        });
    }
    first
}

/// Whether `report` breaks one of the requirements that made the verdict of `first`.
fn shows_again(first: &CaseReport, report: &CaseReport) -> bool {
    let worst = |requirement: &Requirement| Verdict::of_broken(requirement.level) == first.verdict;
    first
        .broken()
        .filter(|(requirement, _)| worst(requirement))
        .any(|(requirement, _)| report.broken().any(|(other, _)| other.id == requirement.id))
}

/// Whether breaking this requirement shows data of one account to another one.
fn is_leak(requirement: &Requirement) -> bool {
    let id = requirement.id;
    requirement.level == Level::Must
        && (id.starts_with("isolation.") || id.contains("foreign") || id.contains("isolated"))
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
pub(super) fn requirements(registry: Registry, cases: &[CaseReport]) -> Vec<RequirementReport> {
    registry
        .requirements()
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
                let of = concerned.iter().map(|case| case.verdict);
                of.filter(|verdict| UNJUDGED.contains(verdict))
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
    use super::*;
    use crate::{case::testing::REGISTRY, verdict::Finding};

    fn report(verdict: Verdict) -> CaseReport {
        let case = REGISTRY.cases().next().unwrap();
        let requirement = case.requirements[0];
        let findings = match verdict {
            Verdict::Pass => vec![Finding::held(requirement)],
            Verdict::Fail => vec![Finding::broken(requirement, "a".into(), "b".into())],
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
            stalled: Duration::ZERO,
            flaky: false,
            known: None,
            reproduce: String::new(),
            trace: Vec::new(),
            recording: None,
            typical_cause: None,
            blocked_by: None,
            trace_file: None,
            nodes: Vec::new(),
        }
    }

    #[test]
    fn a_failure_that_does_not_repeat_is_never_silently_green() {
        #[track_caller]
        fn check(first: Verdict, again: Verdict, expected: (Verdict, bool)) {
            let loaded = [report(Verdict::Pass), report(Verdict::Error)];
            let report = repeated(report(first), report(again), &loaded);
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
        check(Verdict::Blocked, Verdict::Pass, (Verdict::Pass, false));
        check(
            Verdict::Blocked,
            Verdict::Blocked,
            (Verdict::Blocked, false),
        );
    }

    #[test]
    fn a_failure_that_needs_load_stands() {
        #[track_caller]
        fn check(loaded: &[Verdict], expected: (Verdict, bool), told: &str) {
            let loaded: Vec<_> = loaded.iter().map(|&verdict| report(verdict)).collect();
            let (first, again) = (report(Verdict::Fail), report(Verdict::Pass));
            assert!(needs_load(&first, &again));
            let report = repeated(first, again, &loaded);
            assert_eq!((report.verdict, report.flaky), expected);
            assert!(report.notes[0].contains(told), "{}", report.notes[0]);
        }
        use Verdict::{Fail, Pass, Warn};
        check(&[Pass, Fail, Pass], (Fail, false), "1 of 3 times");
        check(&[Fail, Fail, Fail], (Fail, false), "3 of 3 times");
        check(&[Pass, Pass], (Warn, true), "2 times beside others");
        check(&[], (Warn, true), "alone");
        // What fails alone, or cannot be judged there, is not repeated beside others.
        for again in [Fail, Verdict::Error, Verdict::Blocked] {
            assert!(!needs_load(&report(Fail), &report(again)));
        }
    }

    #[test]
    fn a_busy_machine_explains_what_does_not_show_again() {
        #[track_caller]
        fn check(stalled: u64, again: Verdict, loaded: &[Verdict], expected: (Verdict, bool)) {
            let mut first = report(Verdict::Fail);
            first.stalled = Duration::from_millis(stalled);
            let loaded: Vec<_> = loaded.iter().map(|&verdict| report(verdict)).collect();
            let report = repeated(first, report(again), &loaded);
            assert_eq!((report.verdict, report.flaky), expected);
        }
        use Verdict::{Fail, Pass, Warn};
        check(900, Pass, &[Pass, Pass], (Pass, false));
        check(100, Pass, &[Pass, Pass], (Warn, true));
        check(900, Pass, &[Pass, Fail], (Fail, false));
        check(900, Warn, &[Pass, Pass], (Warn, true));
        // What was not tried again beside others may need load.
        check(900, Pass, &[], (Warn, true));
    }

    #[test]
    fn a_leak_is_never_called_flaky() {
        let leak = |verdict| {
            let finding =
                Finding::broken(&crate::own::ISOLATED, "nothing".into(), "a message".into());
            CaseReport {
                findings: match verdict {
                    Verdict::Fail => vec![finding],
                    _ => Vec::new(),
                },
                ..report(verdict)
            }
        };
        let passed = leak(Verdict::Pass);
        let report = repeated(leak(Verdict::Fail), passed.clone(), &[passed]);
        assert_eq!((report.verdict, report.flaky), (Verdict::Fail, false));
    }

    #[test]
    fn requirements_take_the_worst_of_their_findings() {
        #[track_caller]
        fn check(case: CaseReport, expected: Verdict) {
            let requirement = case.requirements[0];
            let reports = requirements(REGISTRY, &[case]);
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
