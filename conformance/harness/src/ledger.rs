//! The ledger: every requirement that the suite can pass a verdict on, as data.
//!
//! Requirements stand beside the cases that judge them (`cases/`), so that adding one touches one
//! file; this module defines their form. It must not know how anything is judged.

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

/// Declares requirements as statics, and `REQUIREMENTS` with all of them.
#[macro_export]
macro_rules! requirement_table {
    ($($name:ident = $id:literal, $level:ident, $basis:ident, $text:expr;)+) => {
        $(
            #[doc = $text]
            pub static $name: $crate::ledger::Requirement = $crate::ledger::Requirement {
                id: $id,
                level: $crate::ledger::Level::$level,
                basis: $crate::ledger::Basis::$basis,
                text: $text,
            };
        )+

        /// The requirements of this module.
        pub static REQUIREMENTS: &[&$crate::ledger::Requirement] = &[$(&$name),+];
    };
}
pub use requirement_table;
