//! What a rule says of a history that breaks it.

use touchstone_fixtures::Level;

use crate::requirement::Requirement;

/// A place of a history that no right server could have made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule that found it, one of [`RULES`](crate::RULES).
    pub rule: &'static str,
    /// The requirement's id.
    pub requirement: &'static str,
    /// How binding that is.
    pub level: Level,
    /// What is wrong, as sentences for people.
    pub text: String,
    /// The records that show it, in their order, counted from 1: the first line of a trace file is its
    /// header, so record 1 stands in line 2.
    pub records: Vec<u64>,
}

/// Gathers what the rules find of one record.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    found: Vec<Violation>,
}

impl Findings {
    /// States a violation, shown by `records`. Those that are not known are left out.
    pub(crate) fn add(
        &mut self,
        rule: &'static str,
        requirement: &'static Requirement,
        records: impl IntoIterator<Item = u64>,
        text: String,
    ) {
        let mut records: Vec<u64> = records.into_iter().filter(|record| *record > 0).collect();
        records.sort_unstable();
        records.dedup();
        self.found.push(Violation {
            rule,
            requirement: requirement.id,
            level: requirement.level,
            text,
            records,
        });
    }

    /// States what was found before.
    pub(crate) fn extend(&mut self, found: Vec<Violation>) {
        self.found.extend(found);
    }

    pub(crate) fn take(&mut self) -> Vec<Violation> {
        std::mem::take(&mut self.found)
    }
}
