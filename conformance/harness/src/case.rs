//! What a case is, and the registry that a run chooses from.
//!
//! A case is data plus one async function. Cases never share accounts, sessions or connections: what a
//! case needs, it asks its [`Ctx`] for. This module must not know how cases are scheduled.

use std::pin::Pin;

use crate::{ctx::Ctx, ledger::Requirement, own, target::Capability};

/// How a case ends before its last line. `Ok(())` means that it reached its end; findings decide the
/// verdict either way.
pub type Flow<T = ()> = Result<T, Stop>;

/// Why a case could not go on.
#[derive(Debug)]
pub enum Stop {
    /// A finding that makes the rest pointless was recorded.
    Judged,
    /// The target does not offer what the case needs.
    Skip(String),
    /// The list of accounts has too few of something. What is needed in all is known when the run is over.
    Short,
    /// The server has no route yet by which what the case needs is made.
    Unprovided(String),
    /// A connection that the case relied on ended. Unless the server is gone, that is a verdict.
    Dropped(String),
    /// A precondition failed; `parent` is the requirement that judges it.
    Blocked {
        /// The requirement under which the cause is judged.
        parent: &'static Requirement,
        /// What went wrong.
        reason: String,
    },
    /// A connection or request failed in a way that says nothing about the requirement at hand: the
    /// server may be gone. The runner finds out.
    Trouble(String),
}

impl Stop {
    /// More events came than are kept, so that neither absence nor an end proves anything.
    pub(crate) fn flooded(who: &str) -> Self {
        Self::Blocked {
            parent: &own::STAYS_OPEN,
            reason: format!("{who} is flooded with events"),
        }
    }
}

/// The future that a case's function returns.
pub type CaseFuture<'a> = Pin<Box<dyn Future<Output = Flow> + Send + 'a>>;

/// One conformance case.
pub struct Case {
    /// Dotted id; the first part is the group that reports show it under.
    pub id: &'static str,
    /// What is sent, what is accepted, and why: the text of `touchstone explain`.
    pub doc: &'static str,
    /// The requirements that it passes a verdict on.
    pub requirements: &'static [&'static Requirement],
    /// What the target has to offer.
    pub needs: &'static [Capability],
    /// Whether it has killed real servers. Hazardous cases run last, one at a time.
    pub hazardous: bool,
    /// Whether it waits for a time-out of the server's own. Slow cases start first, and run beside the
    /// others without taking their places.
    pub slow: bool,
    /// Carries it out.
    pub run: for<'a> fn(&'a mut Ctx) -> CaseFuture<'a>,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Case").field("id", &self.id).finish()
    }
}

impl Case {
    /// The group of the case: the first part of its id.
    pub fn group(&self) -> &'static str {
        self.id.split('.').next().unwrap_or(self.id)
    }

    /// What usually makes it fail, as a sentence without its first words.
    pub fn cause(&self) -> Option<String> {
        let words: Vec<_> = self.doc.split_whitespace().collect();
        let text = words.join(" ");
        let (_, cause) = text
            .split_once("Typical cause of a failure: ")
            .or_else(|| text.split_once("Typical causes of a failure: "))?;
        Some(cause.trim_end_matches('.').to_owned())
    }

    /// The most binding level among its requirements.
    pub fn level(&self) -> crate::ledger::Level {
        self.requirements
            .iter()
            .map(|requirement| requirement.level)
            .max()
            .unwrap_or(crate::ledger::Level::Info)
    }
}

/// The requirements and cases of one subject.
pub struct Module {
    /// What is judged.
    pub requirements: &'static [&'static Requirement],
    /// What judges it.
    pub cases: &'static [Case],
}

/// All that a run can choose from. The harness knows no case: whoever has cases hands them in.
#[derive(Clone, Copy)]
pub struct Registry(pub &'static [Module]);

impl Registry {
    /// Every case, in the order of the modules.
    pub fn cases(self) -> impl Iterator<Item = &'static Case> {
        self.0.iter().flat_map(|module| module.cases)
    }

    /// Every requirement, in the order of the modules.
    pub fn requirements(self) -> impl Iterator<Item = &'static Requirement> {
        self.0
            .iter()
            .flat_map(|module| module.requirements)
            .copied()
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.cases()).finish()
    }
}

/// Declares the table `CASES` of a module. The doc comment of a row is what `explain` shows;
/// `, hazardous` or `, slow` behind the id marks it as that; the function named at its end is an
/// `async fn(&mut Ctx) -> Flow` of the same file.
#[macro_export]
macro_rules! case_table {
    ($(
        $(#[doc = $doc:literal])+
        $id:literal $(needs [$($need:ident),+])? $(, $kind:ident)? judges [$($requirement:expr),+ $(,)?] => $run:path;
    )+) => {
        /// The cases of this module.
        pub static CASES: &[$crate::case::Case] = &[$(
            $crate::case::Case {
                id: $id,
                doc: concat!($($doc, "\n"),+),
                requirements: &[$(&$requirement),+],
                needs: &[$($($crate::Capability::$need),+)?],
                hazardous: $crate::case::case_table!(@hazardous $($kind)?),
                slow: $crate::case::case_table!(@slow $($kind)?),
                run: |cx| Box::pin($run(cx)),
            }
        ),+];
    };
    (@hazardous) => { false };
    (@hazardous hazardous) => { true };
    (@hazardous slow) => { false };
    (@slow) => { false };
    (@slow hazardous) => { false };
    (@slow slow) => { true };
}
pub use case_table;

#[cfg(test)]
pub(crate) mod testing {
    //! A registry for tests.
    #![expect(unreachable_pub, reason = "the tables are for crates of cases")]

    use super::*;
    use crate::ledger::requirement_table;

    requirement_table! {
        MUST = "some.must", Must, Specification, "Something that has to be.";
        SHOULD = "some.should", Should, Decision, "Something that should be.";
    }

    case_table! {
        /// The first.
        "some.must" judges [MUST] => nothing;
        /// The second.
        "some.should" judges [SHOULD] => nothing;
        /// One of another group.
        "other.both" judges [MUST, SHOULD] => nothing;
        /// One that ends servers.
        "other.hazard", hazardous judges [MUST] => nothing;
        /// One that takes its time.
        "other.slow", slow judges [MUST] => nothing;
    }

    async fn nothing(_: &mut Ctx) -> Flow {
        Ok(())
    }

    pub(crate) const REGISTRY: Registry = Registry(&[Module {
        requirements: REQUIREMENTS,
        cases: CASES,
    }]);
}
