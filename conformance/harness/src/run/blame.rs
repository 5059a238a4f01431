//! Who is told for what: each broken requirement once, by a case that judges it. Pure.
//!
//! Cases build on what other cases judge: a session has to change before anybody can be told of it. A
//! case that meets such a fault has found it, and has nothing to say about its own subject. So when all
//! cases are done, what several of them saw is told by one, and the others name it: one that could not
//! go on is blocked, one that judged the rest keeps that verdict.

use std::collections::HashMap;

use crate::{
    event::CaseReport,
    ledger::{Level, Requirement},
    verdict::{Finding, Verdict, worst_of},
};

/// What findings have in common that are one and the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Trait {
    /// They break this requirement, which another case than theirs judges.
    Requirement(&'static str),
    /// More connections receive an event than need it.
    Wide,
    /// This kind of call is never answered.
    Unanswered(String),
}

/// The traits of a server that cases judge under a requirement of each event.
fn family(requirement: &Requirement) -> Option<Trait> {
    let is_wide = requirement.level == Level::Should
        && (requirement.id.ends_with("narrow") || requirement.id.ends_with(".not-machines"));
    is_wide.then_some(Trait::Wide)
}

fn judges(case: &CaseReport, requirement: &Requirement) -> bool {
    case.requirements.iter().any(|own| own.id == requirement.id)
}

/// The trait that a finding shows, where others may show the same.
fn shown_trait(case: &CaseReport, finding: &Finding) -> Option<Trait> {
    let requirement = finding.requirement;
    if finding.broken.is_none() || requirement.level == Level::Info {
        return None;
    }
    if let Some(kind) = &finding.unanswered {
        return Some(Trait::Unanswered(kind.clone()));
    }
    family(requirement)
        .or_else(|| (!judges(case, requirement)).then_some(Trait::Requirement(requirement.id)))
}

/// Lets each trait be told by one case, and gives the others the verdict that is left to them.
pub(super) fn attribute(cases: &mut [CaseReport]) {
    let tellers = tellers(cases);
    // What did not repeat here is no accident where another case tells it.
    for case in cases.iter_mut().filter(|case| case.flaky) {
        let told = |finding: &Finding| {
            let shown = Trait::Requirement(finding.requirement.id);
            !judges(case, finding.requirement) && tellers.contains_key(&shown)
        };
        let mut broken = case
            .findings
            .iter()
            .filter(|it| it.verdict() > Verdict::Info);
        if broken.all(told) {
            case.flaky = false;
        }
    }
    let mut also: HashMap<(&'static str, Trait), Vec<&'static str>> = HashMap::new();
    for case in cases.iter_mut().filter(|case| counts(case)) {
        let mut blocked_by = None;
        let stopped_by = case.blocked_by;
        for at in 0..case.findings.len() {
            let Some(shown) = shown_trait(case, &case.findings[at]) else {
                continue;
            };
            let Some(&teller) = tellers.get(&shown) else {
                continue;
            };
            if teller == case.id {
                continue;
            }
            let requirement = case.findings[at].requirement;
            case.findings[at].told_by = Some(teller);
            let seen = also.entry((teller, shown)).or_default();
            if !seen.contains(&case.id) {
                seen.push(case.id);
            }
            if stopped_by.is_some_and(|stop| stop.id == requirement.id) {
                blocked_by = Some((requirement, teller));
            }
        }
        settle(case, blocked_by);
    }
    for ((teller, shown), mut seen) in also {
        let Some(case) = cases.iter_mut().find(|case| case.id == teller) else {
            continue;
        };
        let at = case.findings.iter().position(|finding| {
            finding.told_by.is_none()
                && (shown_trait(case, finding).as_ref() == Some(&shown)
                    || shown == Trait::Requirement(finding.requirement.id)
                        && finding.broken.is_some())
        });
        if let Some(at) = at {
            seen.sort_unstable();
            case.findings[at].also_in.extend(seen);
        }
    }
}

/// Whether what a case found is a verdict on the server.
fn counts(case: &CaseReport) -> bool {
    !case.flaky && matches!(case.verdict, Verdict::Fail | Verdict::Warn)
}

/// The case that tells each trait: the first that judges the requirement itself, or else the first that
/// met it.
fn tellers(cases: &[CaseReport]) -> HashMap<Trait, &'static str> {
    let mut tellers = HashMap::new();
    for own in [true, false] {
        for case in cases.iter().filter(|case| counts(case)) {
            for finding in &case.findings {
                let requirement = finding.requirement;
                if finding.broken.is_none() || judges(case, requirement) != own {
                    continue;
                }
                if let Some(shown) = shown_trait(case, finding) {
                    tellers.entry(shown).or_insert(case.id);
                }
                if own {
                    let shown = Trait::Requirement(requirement.id);
                    tellers.entry(shown).or_insert(case.id);
                }
            }
        }
    }
    tellers
}

/// Gives a case the verdict of what it tells itself.
fn settle(case: &mut CaseReport, blocked_by: Option<(&'static Requirement, &'static str)>) {
    if case
        .findings
        .iter()
        .all(|finding| finding.told_by.is_none())
    {
        case.blocked_by = None;
        return;
    }
    let rest = worst_of(
        case.findings
            .iter()
            .filter(|finding| finding.told_by.is_none()),
    );
    match blocked_by {
        Some((requirement, teller)) if rest < Verdict::Warn => {
            // Nobody's run is incomplete for what is only recommended.
            case.verdict = match requirement.level {
                Level::Must => Verdict::Blocked,
                Level::Should | Level::Info => Verdict::Skip,
            };
            case.blocked_by = Some(requirement);
            case.reason = Some(format!(
                "{} is broken, on which this case builds (judged by {teller})",
                requirement.id
            ));
        }
        _ => {
            case.verdict = rest;
            case.blocked_by = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ledger::Basis, report::testing};

    const fn requirement(id: &'static str, level: Level) -> Requirement {
        Requirement {
            id,
            level,
            basis: Basis::Decision,
            text: "A sample.",
        }
    }

    static WRITE: Requirement = requirement("session.write", Level::Must);
    static READ: Requirement = requirement("session.read", Level::Must);
    static NARROW: Requirement = requirement("session.narrow", Level::Should);
    static MACHINES: Requirement = requirement("message.not-machines", Level::Should);
    static POLITE: Requirement = requirement("session.polite", Level::Should);

    /// A case that judges `own`, with what it found; the last broken one stopped it where `stopped`.
    fn case(
        id: &'static str,
        own: &'static Requirement,
        found: Vec<Finding>,
        stopped: bool,
    ) -> CaseReport {
        let verdict = worst_of(&found);
        let blocked_by = found
            .last()
            .filter(|_| stopped)
            .map(|last| last.requirement);
        CaseReport {
            findings: found,
            blocked_by,
            ..testing::case(id, verdict, own)
        }
    }

    fn broken(requirement: &'static Requirement) -> Finding {
        Finding::broken(requirement, "a".into(), "b".into())
    }

    fn unanswered(requirement: &'static Requirement) -> Finding {
        Finding {
            unanswered: Some("update-metadata {}".into()),
            ..broken(requirement)
        }
    }

    #[track_caller]
    fn check(mut cases: Vec<CaseReport>, expected: &[(Verdict, &[&str])]) -> Vec<CaseReport> {
        attribute(&mut cases);
        let told: Vec<_> = cases
            .iter()
            .map(|case| {
                let also = case.findings.iter().flat_map(|finding| &finding.also_in);
                (case.verdict, also.copied().collect::<Vec<_>>())
            })
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(verdict, also)| (*verdict, also.to_vec()))
            .collect();
        assert_eq!(told, expected);
        cases
    }

    #[test]
    fn what_a_case_builds_on_blocks_it() {
        let cases = check(
            vec![
                case("a.reader", &READ, vec![broken(&WRITE)], true),
                case("b.writer", &WRITE, vec![broken(&WRITE)], true),
                case(
                    "c.reader",
                    &READ,
                    vec![Finding::held(&READ), broken(&WRITE)],
                    false,
                ),
                case("d.reader", &READ, vec![broken(&READ), broken(&WRITE)], true),
            ],
            &[
                (Verdict::Blocked, &[]),
                (Verdict::Fail, &["a.reader", "c.reader", "d.reader"]),
                // It judged its own subject all the same.
                (Verdict::Pass, &[]),
                (Verdict::Fail, &[]),
            ],
        );
        assert_eq!(cases[0].blocked_by, Some(&WRITE));
        let reason = cases[0].reason.as_deref().unwrap_or_default();
        assert!(
            reason.contains("session.write") && reason.contains("b.writer"),
            "{reason}"
        );
        assert_eq!(cases[3].told().count(), 1);
    }

    #[test]
    fn what_nobody_else_judges_is_told_by_who_met_it_first() {
        check(
            vec![
                case("a.reader", &READ, vec![broken(&WRITE)], true),
                case("b.reader", &READ, vec![broken(&WRITE)], true),
            ],
            &[(Verdict::Fail, &["b.reader"]), (Verdict::Blocked, &[])],
        );
    }

    #[test]
    fn two_cases_of_one_requirement_speak_for_themselves() {
        check(
            vec![
                case("a.writer", &WRITE, vec![broken(&WRITE)], false),
                case("b.writer", &WRITE, vec![broken(&WRITE)], false),
            ],
            &[(Verdict::Fail, &[]), (Verdict::Fail, &[])],
        );
    }

    #[test]
    fn one_trait_is_one_warning() {
        check(
            vec![
                case(
                    "a.first",
                    &NARROW,
                    vec![broken(&NARROW), broken(&NARROW)],
                    false,
                ),
                case("b.other", &MACHINES, vec![broken(&MACHINES)], false),
                case(
                    "c.more",
                    &MACHINES,
                    vec![broken(&MACHINES), broken(&READ)],
                    false,
                ),
            ],
            &[
                (Verdict::Warn, &["b.other", "c.more"]),
                (Verdict::Pass, &[]),
                (Verdict::Fail, &[]),
            ],
        );
    }

    #[test]
    fn an_answer_that_never_comes_is_told_once() {
        check(
            vec![
                case("a.reader", &READ, vec![unanswered(&READ)], true),
                case("b.writer", &WRITE, vec![unanswered(&WRITE)], true),
                case("c.polite", &POLITE, vec![unanswered(&POLITE)], true),
            ],
            &[
                (Verdict::Fail, &["b.writer", "c.polite"]),
                (Verdict::Blocked, &[]),
                (Verdict::Skip, &[]),
            ],
        );
    }

    #[test]
    fn what_did_not_repeat_neither_tells_nor_is_told() {
        let mut cases = vec![
            case("a.writer", &WRITE, vec![broken(&WRITE)], false),
            case("b.reader", &READ, vec![broken(&WRITE)], true),
        ];
        cases[0].flaky = true;
        cases[0].verdict = Verdict::Warn;
        check(cases, &[(Verdict::Warn, &[]), (Verdict::Fail, &[])]);
    }
}
