//! What no right server does, by the rules of histories: of the recording, and of its repetition.

use touchstone_history::Level;

use super::{found::Found, report::Repair};

/// A requirement that the recording breaks, or its repetition, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The requirement's id.
    pub requirement: &'static str,
    /// How binding it is.
    pub level: Level,
    /// What is wrong, as sentences for people: in the repetition, or else in the recording.
    pub text: String,
    /// When it shows, in microseconds of the repetition, or else of the recording.
    pub t_us: u64,
    /// The lines of the trace that show it, where it is the recording alone that breaks it.
    pub lines: Vec<u64>,
    /// Whether the recording breaks it.
    pub is_recorded: bool,
    /// Whether the repetition breaks it; an error where that was not whole.
    pub repair: Repair,
}

impl Judged {
    /// Whether it counts against the server. One that does what the recorded one did may do what is
    /// only advised against.
    pub fn is_held(&self) -> bool {
        self.repair == Repair::Failed && (self.level == Level::Must || !self.is_recorded)
    }
}

/// Each requirement once. Of a repetition that was not whole (`is_whole`) nothing is said to be mended.
pub(super) fn judged(then: &[Found], now: &[Found], is_whole: bool) -> Vec<Judged> {
    let mut all: Vec<Judged> = Vec::new();
    let absent = if is_whole {
        Repair::Fixed
    } else {
        Repair::Error
    };
    let both = now.iter().map(|found| (found, Repair::Failed));
    for (found, repair) in both.chain(then.iter().map(|found| (found, absent))) {
        let one = &found.violation;
        let is_it = |then: &Found| then.violation.requirement == one.requirement;
        // The header of a trace is its first line.
        let lines = one.records.iter().map(|record| record + 1);
        if all.iter().all(|known| known.requirement != one.requirement) {
            all.push(Judged {
                requirement: one.requirement,
                level: one.level,
                text: one.text.clone(),
                t_us: found.t_us,
                lines: match repair {
                    Repair::Failed => Vec::new(),
                    _ => lines.collect(),
                },
                is_recorded: then.iter().any(is_it),
                repair,
            });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use touchstone_history::Violation;

    use super::*;

    fn violation(requirement: &'static str, level: Level) -> Violation {
        Violation {
            rule: "a.rule",
            requirement,
            level,
            text: requirement.to_owned(),
            records: vec![1],
        }
    }

    #[test]
    fn what_the_repetition_does_not_show_is_fixed() {
        #[track_caller]
        fn check(then: &[Level], now: &[Level], is_whole: bool, expected: Option<(Repair, bool)>) {
            let [then, now] = [then, now].map(|levels| {
                let levels = levels.iter();
                let all = levels.map(|level| violation("a", *level)).collect();
                Found::at(1, all).collect::<Vec<_>>()
            });
            let found = judged(&then, &now, is_whole);
            let found: Vec<_> = found
                .iter()
                .map(|one| (one.repair, one.is_held()))
                .collect();
            assert_eq!(found, Vec::from_iter(expected));
        }
        use Level::{Must, Should};
        check(&[], &[], true, None);
        check(&[Must, Must], &[], true, Some((Repair::Fixed, false)));
        check(&[Must], &[], false, Some((Repair::Error, false)));
        check(&[Must], &[Must], true, Some((Repair::Failed, true)));
        check(&[], &[Must, Must], false, Some((Repair::Failed, true)));
        check(&[], &[Should], true, Some((Repair::Failed, true)));
        check(&[Should], &[Should], true, Some((Repair::Failed, false)));
    }
}
