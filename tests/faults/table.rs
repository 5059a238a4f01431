//! What is known of each fault: `table.toml`, read and written.

use std::collections::{BTreeMap, BTreeSet};

use crate::tried;
use serde::{Deserialize, Serialize};
use touchstone_harness::Selection;

use crate::trial::Outcome;

/// Requirements that are found broken, by the case that finds them.
pub(crate) type Findings = BTreeMap<String, BTreeSet<String>>;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/table.toml");

const PREAMBLE: &str = "\
# What each fault of the reference server breaks, and which cases catch it: tests/faults/main.rs.
# Written by `cargo test --test faults -- --ignored`. By hand come only `argument` and `alone`,
# which say how the fault is tried, `traits`, which says what it changes that is not judged, `sometimes`,
# which says what it breaks besides where the machine is slow, and the reasons in `unproved`.
";

/// All that is known.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    /// Requirements that no fault breaks, each with the reason.
    #[serde(default)]
    pub(crate) unproved: BTreeMap<String, String>,
    /// By the name of the fault.
    #[serde(default)]
    pub(crate) rows: BTreeMap<String, Row>,
}

/// What is known of one fault.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Row {
    /// The argument with which it is tried, where another than its default makes it act each time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) argument: Option<u64>,
    /// Whether its cases have to run one by one, because it disturbs whoever else is connected.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) alone: bool,
    /// Whether the doctor refuses to judge such a server at all.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) not_ready: bool,
    /// What it changes of the server's traits, which nobody judges: those that a case notes, by the case.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) traits: Findings,
    /// The requirements that may be found broken besides, as by a fault that does something later.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) sometimes: BTreeSet<String>,
    /// The cases that catch it, with the requirements that they find broken.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) cases: Findings,
}

impl Table {
    pub(crate) fn read() -> Self {
        let text = std::fs::read_to_string(PATH).expect("the table stands beside this test");
        toml::from_str(&text).expect("the table is TOML of this form")
    }

    pub(crate) fn write(&self) {
        let text = toml::to_string_pretty(self).expect("the table is TOML");
        std::fs::write(PATH, format!("{PREAMBLE}\n{text}")).expect("the table can be written");
    }

    /// Gives new faults a row, and drops the rows of those that are gone.
    pub(crate) fn adopt_new_faults(&mut self) {
        self.rows
            .retain(|name, _| tried().any(|fault| fault.name == name));
        for fault in tried() {
            self.rows.entry(fault.name.to_owned()).or_default();
        }
    }

    /// Those of the given requirements that no fault breaks.
    pub(crate) fn unproved_of<'a>(&self, ids: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
        let broken: BTreeSet<&str> = self.rows.values().flat_map(Row::touches).collect();
        ids.filter(|id| !broken.contains(id)).collect()
    }

    /// Lists the requirements that no fault breaks; those that are listed already keep their reason.
    pub(crate) fn account_for(&mut self, ids: impl Iterator<Item = &'static str>) {
        let unproved = self.unproved_of(ids);
        self.unproved.retain(|id, _| unproved.contains(id.as_str()));
        for id in unproved {
            let reason = || "No fault for it yet.".to_owned();
            self.unproved.entry(id.to_owned()).or_insert_with(reason);
        }
    }

    /// Whether its cases have to run one by one.
    pub(crate) fn is_alone(&self, name: &str) -> bool {
        self.rows.get(name).is_some_and(|row| row.alone)
    }

    /// The fault as `--fault` takes it.
    pub(crate) fn spelled(&self, name: &str) -> String {
        match self.rows.get(name).and_then(|row| row.argument) {
            Some(argument) => format!("{name}={argument}"),
            None => name.to_owned(),
        }
    }
}

impl Row {
    /// Whether nothing is known yet.
    pub(crate) fn is_empty(&self) -> bool {
        !self.not_ready && self.traits.is_empty() && self.cases.is_empty()
    }

    /// The requirements that are found broken.
    pub(crate) fn touches(&self) -> BTreeSet<&str> {
        self.cases.values().flatten().map(String::as_str).collect()
    }

    /// Takes what a run of all cases has shown.
    pub(crate) fn measured(&mut self, outcome: Outcome) {
        self.not_ready = outcome.not_ready.is_some();
        self.cases = outcome.broken;
    }

    /// How the outcome of a trial by `selection` differs from what is known; `None` if it does not.
    pub(crate) fn disagreement(&self, selection: &Selection, outcome: &Outcome) -> Option<String> {
        let mut problem = String::new();
        if self.not_ready != outcome.not_ready.is_some() {
            problem += &format!("  the doctor: {:?}\n", outcome.not_ready);
        }
        for (case, reason) in &outcome.unjudged {
            problem += &format!("  {case} could not be judged: {reason}\n");
        }
        let ran: BTreeSet<&str> = selection.cases().iter().map(|case| case.id).collect();
        let tried = self
            .cases
            .iter()
            .filter(|(case, _)| ran.contains(case.as_str()));
        let mut missing: BTreeSet<&str> = BTreeSet::new();
        for (case, breaks) in tried {
            if !outcome.broken.contains_key(case) {
                problem += &format!("  {case} should catch it, and does not\n");
            }
            missing.extend(breaks.iter().map(String::as_str));
        }
        for (case, changed) in self
            .traits
            .iter()
            .filter(|(case, _)| ran.contains(case.as_str()))
        {
            if outcome.traits.get(case) != Some(changed) {
                problem += &format!("  {case} should note it, and does not\n");
            }
        }
        let known = self.touches();
        for (case, broken) in &outcome.broken {
            if !self.cases.contains_key(case) {
                problem += &format!("  {case} fails: {broken:?}\n");
            }
            let is_new =
                |id: &&String| !known.contains(id.as_str()) && !self.sometimes.contains(*id);
            for id in broken.iter().filter(is_new) {
                problem += &format!("  {case} finds {id} broken, which is sound\n");
            }
        }
        let found: BTreeSet<&str> = outcome
            .broken
            .values()
            .flatten()
            .map(String::as_str)
            .collect();
        for id in missing.difference(&found) {
            problem += &format!("  nobody finds {id} broken\n");
        }
        (!problem.is_empty()).then_some(problem)
    }
}
