//! Verdicts and findings: what a case says about a requirement, and how findings add up.
//!
//! Pure values; nothing here runs a case or renders one.

use anstyle::{AnsiColor, Style as Ansi};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    focus::{Clue, Focus},
    ledger::{Level, Requirement},
};

/// What came of a case or a requirement.
///
/// The order is from best to worst as far as the server under test is concerned: the worst of several
/// verdicts is their maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything that was judged held.
    Pass,
    /// Nothing binding was broken, and a trait differs from the reference.
    Info,
    /// The target lacks a capability that the case needs.
    Skip,
    /// A precondition did not hold, so nothing was judged; its own requirement has the verdict.
    Blocked,
    /// A SHOULD was broken, or a failure did not repeat.
    Warn,
    /// The case could not be carried out: the suite's own fault, or the server went away.
    Error,
    /// A MUST was broken.
    Fail,
}

impl Verdict {
    /// Every verdict, in the order in which summaries count them.
    pub const ALL: [Self; 7] = [
        Self::Pass,
        Self::Fail,
        Self::Warn,
        Self::Info,
        Self::Skip,
        Self::Blocked,
        Self::Error,
    ];

    /// The colour of its word, where text is coloured.
    pub fn colour(self) -> Ansi {
        match self {
            Self::Pass => AnsiColor::Green.on_default(),
            Self::Fail | Self::Error => AnsiColor::Red.on_default().bold(),
            Self::Warn => AnsiColor::Yellow.on_default().bold(),
            Self::Info => AnsiColor::Cyan.on_default(),
            Self::Skip | Self::Blocked => Ansi::new().dimmed(),
        }
    }

    /// The word that reports use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Info => "info",
            Self::Skip => "skip",
            Self::Blocked => "blocked",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fail => "fail",
        }
    }

    /// The verdict for breaking a requirement of `level`.
    pub(crate) fn of_broken(level: Level) -> Self {
        match level {
            Level::Must => Self::Fail,
            Level::Should => Self::Warn,
            Level::Info => Self::Info,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One statement of a case about one requirement.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The requirement that was judged.
    pub requirement: &'static Requirement,
    /// What was found; `None` when the requirement held.
    pub broken: Option<Mismatch>,
    /// The kind of call whose answer is missing, where that is what was found.
    pub unanswered: Option<String>,
    /// The case that tells this one's finding as well, where several cases saw the same trait.
    pub told_by: Option<&'static str>,
    /// The other cases that saw the same, where this one tells it for all of them.
    pub also_in: Vec<&'static str>,
    /// What its judge knew of the packets.
    pub(crate) clue: Clue,
    /// The lines of the case's trace that made it, in their order.
    pub focus: Vec<Focus>,
    /// The connections to which something did not come that should have.
    pub missing: Vec<String>,
}

/// What was expected and what came instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// What a correct server does, as a fragment.
    pub expected: String,
    /// What this server did, as a fragment.
    pub actual: String,
}

impl Finding {
    /// `requirement` held.
    pub fn held(requirement: &'static Requirement) -> Self {
        Self {
            requirement,
            broken: None,
            unanswered: None,
            told_by: None,
            also_in: Vec::new(),
            clue: Clue::default(),
            focus: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// `requirement` was broken.
    pub fn broken(requirement: &'static Requirement, expected: String, actual: String) -> Self {
        Self {
            broken: Some(Mismatch { expected, actual }),
            ..Self::held(requirement)
        }
    }

    /// The verdict of this finding alone.
    pub fn verdict(&self) -> Verdict {
        match self.broken {
            None => Verdict::Pass,
            Some(_) => Verdict::of_broken(self.requirement.level),
        }
    }
}

/// The findings with those that say the same folded into the first of them: a case that looks at the
/// same thing many times has one thing to say about it.
pub(crate) fn folded(findings: Vec<Finding>) -> Vec<Finding> {
    let mut folded: Vec<(Finding, usize)> = Vec::new();
    for finding in findings {
        let same = folded.iter_mut().find(|(first, _)| {
            std::ptr::eq(first.requirement, finding.requirement) && first.broken == finding.broken
        });
        match same {
            Some((_, times)) => *times += 1,
            None => folded.push((finding, 1)),
        }
    }
    let counted = |(mut finding, times): (Finding, usize)| {
        if let Some(mismatch) = finding.broken.as_mut().filter(|_| times > 1) {
            mismatch.actual += &format!(" ({times} times)");
        }
        finding
    };
    folded.into_iter().map(counted).collect()
}

/// The verdict of a case from its findings: the worst of them, and pass without any.
pub(crate) fn worst(findings: &[Finding]) -> Verdict {
    worst_of(findings)
}

/// As [`worst`], of some findings.
pub(crate) fn worst_of<'f>(findings: impl IntoIterator<Item = &'f Finding>) -> Verdict {
    findings
        .into_iter()
        .map(Finding::verdict)
        .max()
        .unwrap_or(Verdict::Pass)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Basis;

    fn requirement(level: Level) -> &'static Requirement {
        match level {
            Level::Must => &REQUIREMENTS[0],
            Level::Should => &REQUIREMENTS[1],
            Level::Info => &REQUIREMENTS[2],
        }
    }

    static REQUIREMENTS: [Requirement; 3] = [
        sample(Level::Must),
        sample(Level::Should),
        sample(Level::Info),
    ];

    const fn sample(level: Level) -> Requirement {
        Requirement {
            id: "sample.requirement",
            level,
            basis: Basis::Decision,
            text: "A sample.",
        }
    }

    #[track_caller]
    fn check(findings: &[(Level, bool)], expected: Verdict) {
        let findings: Vec<_> = findings
            .iter()
            .map(|&(level, held)| match held {
                true => Finding::held(requirement(level)),
                false => Finding::broken(requirement(level), "x".into(), "y".into()),
            })
            .collect();
        assert_eq!(worst(&findings), expected);
    }

    #[test]
    fn what_is_found_again_is_told_once() {
        let found = |level, actual: Option<&str>| match actual {
            None => Finding::held(requirement(level)),
            Some(actual) => Finding::broken(requirement(level), "x".into(), actual.into()),
        };
        let told: Vec<_> = folded(vec![
            found(Level::Must, None),
            found(Level::Must, Some("y")),
            found(Level::Should, Some("y")),
            found(Level::Must, None),
            found(Level::Must, Some("z")),
            found(Level::Must, Some("y")),
        ])
        .into_iter()
        .map(|finding| (finding.requirement.level, finding.broken.map(|b| b.actual)))
        .collect();
        let expected = [
            (Level::Must, None),
            (Level::Must, Some("y (2 times)".to_owned())),
            (Level::Should, Some("y".to_owned())),
            (Level::Must, Some("z".to_owned())),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn the_worst_finding_decides() {
        use Level::{Info, Must, Should};
        check(&[], Verdict::Pass);
        check(&[(Must, true), (Should, true)], Verdict::Pass);
        check(&[(Must, false)], Verdict::Fail);
        check(&[(Should, false)], Verdict::Warn);
        check(&[(Info, false)], Verdict::Info);
        check(&[(Must, true), (Should, false)], Verdict::Warn);
        check(&[(Should, false), (Must, false)], Verdict::Fail);
        check(&[(Info, false), (Should, false)], Verdict::Warn);
    }
}
