//! The ledger: every requirement that the suite can pass a verdict on, as data.
//!
//! Requirements stand beside the cases that judge them (`cases/*.rs`), so that adding one touches one
//! file; this module defines their form and gathers them. It must not know how anything is judged.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How binding a requirement is. The order is the order of severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// A legitimate trait: recorded, never judged.
    Info,
    /// Real clients break or lose data without it.
    Should,
    /// The specification states it, or it follows from the specification.
    Must,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Info => "INFO",
            Self::Should => "SHOULD",
            Self::Must => "MUST",
        })
    }
}

/// Where a requirement comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Basis {
    /// The handler and event router documents.
    Specification,
    /// What was decided where those documents are silent, from real servers and real clients.
    Decision,
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Specification => "specification",
            Self::Decision => "decision",
        })
    }
}

/// One thing that a server has to do, should do, or may do either way.
#[derive(Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Dotted id, stable across versions: reports and baselines refer to it.
    pub id: &'static str,
    /// How binding it is.
    pub level: Level,
    /// Where it comes from.
    pub basis: Basis,
    /// The requirement as one sentence in our own words.
    pub text: &'static str,
}

/// Every requirement, ordered as the case modules are.
pub fn requirements() -> impl Iterator<Item = &'static Requirement> {
    crate::cases::MODULES
        .iter()
        .flat_map(|module| module.requirements)
        .copied()
}

/// Declares requirements as statics, and `REQUIREMENTS` with all of them.
macro_rules! requirement_table {
    ($($name:ident = $id:literal, $level:ident, $basis:ident, $text:expr;)+) => {
        $(
            #[doc = $text]
            pub(crate) static $name: $crate::ledger::Requirement = $crate::ledger::Requirement {
                id: $id,
                level: $crate::ledger::Level::$level,
                basis: $crate::ledger::Basis::$basis,
                text: $text,
            };
        )+

        /// The requirements of this module.
        pub(crate) static REQUIREMENTS: &[&$crate::ledger::Requirement] = &[$(&$name),+];
    };
}
pub(crate) use requirement_table;

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;
    use crate::case::cases;

    #[test]
    fn ids_are_unique_and_well_formed() {
        let mut seen = HashSet::new();
        for requirement in requirements() {
            assert!(seen.insert(requirement.id), "{} twice", requirement.id);
            assert!(
                requirement.id.split('.').count() >= 2
                    && requirement
                        .id
                        .chars()
                        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c)),
                "{} is not a dotted lowercase id",
                requirement.id
            );
            assert!(
                requirement.text.ends_with('.') && requirement.text.len() > 20,
                "{} needs a whole sentence",
                requirement.id
            );
        }
    }

    #[test]
    fn every_must_and_should_has_a_case() {
        let mut judged: HashMap<&str, usize> = HashMap::new();
        for case in cases() {
            for requirement in case.requirements {
                *judged.entry(requirement.id).or_default() += 1;
            }
        }
        let orphans: Vec<_> = requirements()
            .filter(|requirement| requirement.level > Level::Info)
            .filter(|requirement| !judged.contains_key(requirement.id))
            .map(|requirement| requirement.id)
            .collect();
        assert!(orphans.is_empty(), "without a case: {orphans:?}");
    }

    #[test]
    fn every_case_judges_requirements_of_the_ledger() {
        let known: HashSet<_> = requirements().map(|requirement| requirement.id).collect();
        for case in cases() {
            assert!(!case.requirements.is_empty(), "{} judges nothing", case.id);
            for requirement in case.requirements {
                assert!(
                    known.contains(requirement.id),
                    "{} judges {}, which no module lists",
                    case.id,
                    requirement.id
                );
            }
        }
    }
}
