//! What a run is asked to do, and which cases that selects.

use std::{collections::BTreeSet, sync::Arc};
use touchstone_client::{Clock, SpawnCommand};

use globset::{Glob, GlobMatcher};

use crate::{
    baseline::Baseline,
    case::{Case, Registry},
    ledger::Level,
    target::Target,
};

/// Everything a run needs to know.
#[derive(Debug)]
pub struct Plan {
    /// The server under test.
    pub target: Arc<Target>,
    /// Starts the server, when it is this run's to start.
    pub spawn: Option<SpawnCommand>,
    /// Which cases run.
    pub selection: Selection,
    /// How many cases run at the same time, at least 1.
    pub jobs: usize,
    /// How many times each selected case runs, at least 1; the worst verdict counts.
    pub repeat: u32,
    /// Whether what failed beside other cases is repeated alone before it stands.
    pub confirm: bool,
    /// Whether the run ends at the first failure that stands and that no baseline lists.
    pub fail_fast: bool,
    /// Where all random choices come from.
    pub seed: u64,
    /// Makes the names that a server keeps (account keys, ids, tags) differ from those of an earlier run
    /// against the same server, so that what it remembers cannot change verdicts.
    pub salt: u64,
    /// The wall clock.
    pub clock: Clock,
    /// Failures that are known.
    pub baseline: Baseline,
    /// The folder that the wire traces of all cases go to as files; without one, there are none.
    pub traces: Option<String>,
    /// The command line that a reproduce command begins with, such as
    /// `touchstone check http://127.0.0.1:3006`; the case and the seed are appended.
    pub reproduce: String,
}

impl Plan {
    /// A plan with the defaults: all cases once, 16 at a time.
    pub fn new(registry: Registry, target: Target, seed: u64, salt: u64) -> Self {
        let reproduce = format!("touchstone check {}", target.addresses().join(" "));
        Self {
            target: Arc::new(target),
            spawn: None,
            selection: Selection::of(registry),
            jobs: 16,
            repeat: 1,
            confirm: true,
            fail_fast: false,
            seed,
            salt,
            clock: Clock::System,
            baseline: Baseline::default(),
            traces: None,
            reproduce,
        }
    }
}

/// Which cases run.
#[derive(Debug, Clone)]
pub struct Selection {
    registry: Registry,
    only: Vec<GlobMatcher>,
    skip: Vec<GlobMatcher>,
    level: Level,
    hazards: bool,
    slow: bool,
    among: Option<BTreeSet<String>>,
}

impl Selection {
    /// All of a registry.
    pub fn of(registry: Registry) -> Self {
        Self {
            registry,
            only: Vec::new(),
            skip: Vec::new(),
            level: Level::Info,
            hazards: true,
            slow: true,
            among: None,
        }
    }
}

/// A pattern that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the pattern {pattern:?}")]
pub struct PatternError {
    pattern: String,
    source: globset::Error,
}

impl Selection {
    /// Adds a glob over case ids (`session.*`, `*.recipients`). With any, only what one of them matches
    /// is selected.
    ///
    /// # Errors
    /// The glob cannot be read.
    pub fn only(&mut self, pattern: &str) -> Result<&mut Self, PatternError> {
        self.only.push(matcher(pattern)?);
        Ok(self)
    }

    /// Adds a glob of cases that are left out.
    ///
    /// # Errors
    /// The glob cannot be read.
    pub fn skip(&mut self, pattern: &str) -> Result<&mut Self, PatternError> {
        self.skip.push(matcher(pattern)?);
        Ok(self)
    }

    /// Leaves out all but the cases with these ids.
    pub fn among<'a>(&mut self, ids: impl IntoIterator<Item = &'a str>) -> &mut Self {
        self.among = Some(ids.into_iter().map(str::to_owned).collect());
        self
    }

    /// Leaves out cases that judge nothing as binding as `level`.
    pub fn level(&mut self, level: Level) -> &mut Self {
        self.level = level;
        self
    }

    /// Whether cases that have killed real servers are selected.
    pub fn hazards(&mut self, hazards: bool) -> &mut Self {
        self.hazards = hazards;
        self
    }

    /// Whether cases that wait for a time-out of the server's own are selected.
    pub fn slow(&mut self, slow: bool) -> &mut Self {
        self.slow = slow;
        self
    }

    /// Whether `case` is selected.
    pub fn selects(&self, case: &Case) -> bool {
        let matches = |globs: &[GlobMatcher]| globs.iter().any(|glob| glob.is_match(case.id));
        (self.only.is_empty() || matches(&self.only))
            && !matches(&self.skip)
            && self.among.as_ref().is_none_or(|ids| ids.contains(case.id))
            && case.level() >= self.level
            && (self.hazards || !case.hazardous)
            && (self.slow || !case.slow)
    }

    /// What it selects from.
    pub(crate) fn registry(&self) -> Registry {
        self.registry
    }

    /// The selected cases, in the order of the registry.
    pub fn cases(&self) -> Vec<&'static Case> {
        let cases = self.registry.cases();
        cases.filter(|case| self.selects(case)).collect()
    }
}

fn matcher(pattern: &str) -> Result<GlobMatcher, PatternError> {
    Glob::new(pattern)
        .map(|glob| glob.compile_matcher())
        .map_err(|source| PatternError {
            pattern: pattern.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::testing::REGISTRY;

    #[track_caller]
    fn check(build: impl FnOnce(&mut Selection) -> &mut Selection, wanted: impl Fn(&Case) -> bool) {
        let mut selection = Selection::of(REGISTRY);
        build(&mut selection);
        let selected: Vec<_> = selection.cases().iter().map(|case| case.id).collect();
        let expected: Vec<_> = REGISTRY
            .cases()
            .filter(|case| wanted(case))
            .map(|case| case.id)
            .collect();
        assert_eq!(selected, expected);
    }

    #[test]
    fn globs_levels_and_hazards_select() {
        check(|s| s, |_| true);
        check(|s| s.only("some.*").unwrap(), |case| case.group() == "some");
        check(
            |s| s.only("some.*").unwrap().only("other.*").unwrap(),
            |case| matches!(case.group(), "some" | "other"),
        );
        check(|s| s.skip("*").unwrap(), |_| false);
        check(|s| s.level(Level::Must), |case| case.level() == Level::Must);
        check(|s| s.hazards(false), |case| !case.hazardous);
        check(|s| s.slow(false), |case| !case.slow);
        check(
            |s| s.among(["some.must", "no.such"]).only("some.*").unwrap(),
            |case| case.id == "some.must",
        );
    }

    #[test]
    fn an_unreadable_pattern_is_named() {
        let error = Selection::of(REGISTRY).only("a[").unwrap_err();
        assert_eq!(error.to_string(), r#"cannot read the pattern "a[""#);
    }
}
