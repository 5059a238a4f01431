//! Failures that belong together: those of one requirement, or of one mistake in several events.
//!
//! The requirements of one kind of thing end in the same word, whatever event they are about: the `stale`
//! of sessions, machines and artifacts is one mistake in the code most of the time.

use std::cmp::Reverse;

use super::first_to_mend;
use crate::{
    event::{CaseReport, RunReport},
    ledger::Requirement,
    verdict::{Finding, Mismatch, Verdict},
};

/// What a reader has to look at, in the order in which reports tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Failures,
    Warnings,
    Flaky,
    Known,
    Errors,
}

impl Section {
    pub(crate) const ALL: [Self; 5] = [
        Self::Failures,
        Self::Warnings,
        Self::Flaky,
        Self::Known,
        Self::Errors,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Failures => "Failures",
            Self::Warnings => "Warnings",
            Self::Flaky => "Flaky",
            Self::Known => "Known failures",
            Self::Errors => "Errors",
        }
    }

    /// Where a case belongs, if a reader has to look at it.
    pub(super) fn of(case: &CaseReport) -> Option<Self> {
        match case.verdict {
            Verdict::Fail if case.known.is_some() => Some(Self::Known),
            Verdict::Fail => Some(Self::Failures),
            Verdict::Warn if case.flaky => Some(Self::Flaky),
            Verdict::Warn => Some(Self::Warnings),
            Verdict::Error if !case.lost_its_server() => Some(Self::Errors),
            _ => None,
        }
    }
}

/// What is broken as soon as something else is: how the requirements end, the other one first.
const FOLLOWS: [(&str, &str); 5] = [
    ("stale", "one-winner"),
    ("stale", "all-or-nothing"),
    ("stale", "contention"),
    ("stale", "odd-version"),
    ("one-winner", "contention"),
];

/// What many findings have in common when their one cause is evident: nothing of its kind is recognised at
/// all. What it is called, and whether it is what a case tells first.
const EVIDENT: [(&str, Tells); 2] = [
    ("nothing for anyone", |_, broken| {
        broken.actual.starts_with("nothing for anyone")
    }),
    ("no answer", |finding, broken| {
        let begins = |words: &&str| broken.actual.starts_with(words);
        finding.unanswered.is_some()
            || ["none within", "no answer", "no such event"]
                .iter()
                .any(begins)
    }),
];

/// How many cases have to tell the same before their one cause is evident.
const MANY: usize = 6;

/// Cases that broke the same kind of requirement, first the one to begin with: what kept most others from
/// judging, and of equal ones that with the shortest trace.
#[derive(Debug)]
pub(super) struct Group<'a> {
    /// The last word of the requirements, or an evident cause.
    pub(crate) aspect: &'a str,
    pub(crate) cases: Vec<&'a CaseReport>,
}

/// Whether a finding tells an evident cause.
type Tells = fn(&Finding, &Mismatch) -> bool;

impl<'a> Group<'a> {
    /// Whether its cases have an evident cause in common, whatever their requirements are.
    pub(super) fn is_evident(&self) -> bool {
        EVIDENT.iter().any(|(name, _)| *name == self.aspect)
    }

    /// The case that tells most in least, and the others.
    pub(super) fn split(&self) -> Option<(&'a CaseReport, &[&'a CaseReport])> {
        let (first, others) = self.cases.split_first()?;
        Some((first, others))
    }
}

/// The requirement of the worst of what a case tells.
pub(crate) fn worst_requirement(case: &CaseReport) -> Option<&'static Requirement> {
    case.told().next().map(|(finding, _)| finding.requirement)
}

fn aspect(case: &CaseReport) -> &'static str {
    worst_requirement(case)
        .and_then(|requirement| requirement.id.rsplit('.').next())
        .unwrap_or(case.id)
}

/// The causes that are evident in what a case tells first.
fn evident(case: &CaseReport) -> impl Iterator<Item = &'static str> {
    let first = case.told().next();
    let told = move |(name, tells): &(&'static str, Tells)| {
        let (finding, broken) = first?;
        tells(finding, broken).then_some(*name)
    };
    EVIDENT.iter().filter_map(told)
}

/// All groups, in the order of the sections.
pub(super) fn all_groups(run: &RunReport) -> impl Iterator<Item = (Section, Group<'_>)> {
    let of_section = |section| {
        let groups = groups(run, section).into_iter();
        groups.map(move |group| (section, group))
    };
    Section::ALL.into_iter().flat_map(of_section)
}

/// The cases of a section, those that belong together side by side.
pub(super) fn groups(run: &RunReport, section: Section) -> Vec<Group<'_>> {
    let cases = run
        .cases
        .iter()
        .filter(|case| Section::of(case) == Some(section));
    // Of accidents nobody knows that they have one cause.
    let is_of_cause = matches!(section, Section::Failures | Section::Warnings);
    let is_common = |cause: &&str| {
        let tell = |case: &&CaseReport| evident(case).any(|told| told == *cause);
        run.cases.iter().filter(tell).count() >= MANY
    };
    let common: Vec<_> = EVIDENT
        .iter()
        .map(|(cause, _)| *cause)
        .filter(is_common)
        .collect();
    let mut groups: Vec<Group<'_>> = Vec::new();
    for case in cases {
        let aspect = match is_of_cause {
            true => evident(case)
                .find(|cause| common.contains(cause))
                .unwrap_or_else(|| aspect(case)),
            false => case.id,
        };
        match groups.iter_mut().find(|group| group.aspect == aspect) {
            Some(group) => group.cases.push(case),
            None => groups.push(Group {
                aspect,
                cases: vec![case],
            }),
        }
    }
    for (cause, effect) in FOLLOWS {
        let place = |aspect| groups.iter().position(|group| group.aspect == aspect);
        if let (Some(of_cause), Some(of_effect)) = (place(cause), place(effect)) {
            let moved = std::mem::take(&mut groups[of_effect].cases);
            groups[of_cause].cases.extend(moved);
            groups.remove(of_effect);
        }
    }
    let first = first_to_mend(run);
    for group in &mut groups {
        let aspect_of_group = group.aspect;
        group.cases.sort_by_key(|case| {
            let is_other = aspect(case) != aspect_of_group;
            let worst = worst_requirement(case).map(|requirement| requirement.id);
            let in_the_way = first.iter().find(|(known, _)| Some(known.id) == worst);
            let kept = in_the_way.map_or(0, |(_, count)| *count);
            (is_other, Reverse(kept), case.trace.len())
        });
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ledger::{Basis, Level},
        report::testing,
        verdict::Finding,
    };

    const fn requirement(id: &'static str) -> Requirement {
        Requirement {
            id,
            level: Level::Must,
            basis: Basis::Decision,
            text: "A sample.",
        }
    }

    static SESSION: Requirement = requirement("session.stale");
    static MACHINE: Requirement = requirement("machine.stale");
    static WINNER: Requirement = requirement("session.one-winner");
    static BODY: Requirement = requirement("session.body");

    fn case(id: &'static str, of: &'static Requirement, lines: usize) -> CaseReport {
        let line = testing::report().cases[1].trace[0].clone();
        CaseReport {
            findings: vec![Finding::broken(of, "a".into(), "b".into())],
            trace: vec![line; lines],
            ..testing::case(id, Verdict::Fail, of)
        }
    }

    fn told(cases: Vec<CaseReport>) -> Vec<Vec<&'static str>> {
        let run = RunReport {
            cases,
            ..testing::report()
        };
        let groups = groups(&run, Section::Failures);
        let ids = |group: &Group<'_>| group.cases.iter().map(|case| case.id).collect();
        groups.iter().map(ids).collect()
    }

    #[test]
    fn one_mistake_is_one_group_and_the_shortest_tells_it() {
        let cases = vec![
            case("a.long", &SESSION, 40),
            case("b.body", &BODY, 2),
            case("c.winner", &WINNER, 1),
            case("d.short", &MACHINE, 3),
        ];
        assert_eq!(
            told(cases),
            [vec!["d.short", "a.long", "c.winner"], vec!["b.body"]]
        );
        // Who begins with what most others build on sees the rest of its group go with it.
        let blocked = CaseReport {
            blocked_by: Some(&SESSION),
            ..testing::case("e.blocked", Verdict::Blocked, &BODY)
        };
        let cases = vec![
            case("a.long", &SESSION, 40),
            case("d.short", &MACHINE, 3),
            blocked,
        ];
        assert_eq!(told(cases), [["a.long", "d.short"]]);
        // Where nothing reaches anybody, it is one mistake whatever the events are.
        let deaf = |id, of| {
            let mut case = case(id, of, 1);
            case.findings = vec![Finding::broken(of, "a".into(), "nothing for anyone".into())];
            case
        };
        let many = ["1", "2", "3", "4", "5", "6"].map(|id| deaf(id, &SESSION));
        let mut cases: Vec<_> = many.into_iter().chain([deaf("7", &BODY)]).collect();
        assert_eq!(told(cases.clone()).len(), 1);
        cases.drain(..4);
        assert_eq!(told(cases).len(), 2);
        // Nor does it matter which events are never answered.
        let silent = |id, of| {
            let mut case = deaf(id, of);
            case.findings[0].broken.as_mut().expect("broken").actual = "none within 5.0 s".into();
            case
        };
        let many = ["1", "2", "3", "4", "5"].map(|id| silent(id, &SESSION));
        let cases: Vec<_> = many
            .into_iter()
            .chain([silent("6", &BODY), case("7", &BODY, 1)])
            .collect();
        assert_eq!(told(cases), [vec!["1", "2", "3", "4", "5", "6"], vec!["7"]]);
        // What follows from nothing stands for itself.
        let cases = vec![case("c.winner", &WINNER, 1), case("b.body", &BODY, 2)];
        assert_eq!(told(cases), [vec!["c.winner"], vec!["b.body"]]);
    }
}
