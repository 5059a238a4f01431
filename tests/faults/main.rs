//! Who tests the tests: the suite against the reference server with each of its faults.
//!
//! `table.toml` says of each fault which requirements break and which cases catch it. Of the cases that
//! it names some have to fail, for these reasons and no other, and a sample of all others has to pass:
//! the same in every run, and enough that each requirement is seen broken.
//! `cargo test --test faults -- --ignored` measures with all cases the faults whose row is missing or
//! empty, and rewrites the table and `docs/faults.md`: what it changed there is for a person to read.
//! After new cases, take out the rows that they may concern.

mod document;
#[path = "../../src/embedded.rs"]
mod embedded;
mod table;
mod trial;
#[path = "../trials/mod.rs"]
mod trials;

use std::collections::{BTreeMap, BTreeSet};

use touchstone_cases::{cases, requirements};
use touchstone_harness::{Case, Level, Selection};
use touchstone_reference_faults::{FaultInfo, faults};

use table::{Row, Table};
use trial::{Outcome, try_all};
use trials::{mixed, runtime};

/// How many of the cases that catch a fault are run against it, unless there is a requirement that no
/// trial before it has seen broken.
const CATCHING: usize = 2;

/// How many cases that should not mind a fault are run against it.
const SAMPLE: usize = 2;

/// Cases that take as long as a hundred others: they are run where nothing else catches a fault.
const HEAVY: [&str; 4] = [
    "router.matrix",
    "server.stalled-reader",
    "server.flood",
    "values.large",
];

/// How many faults are measured before the table is written.
const BATCH: usize = 8;

#[test]
fn each_fault_is_caught_by_its_cases_and_by_no_other() {
    let table = Table::read();
    let trials = chosen(&table);
    let report = runtime().block_on(async {
        let mut report = String::new();
        let outcomes = try_all(&table, &trials).await;
        for (trial, (name, outcome)) in trials.iter().zip(outcomes) {
            let disagreement = |outcome| table.rows[name].disagreement(&trial.1, outcome);
            let Some(first) = disagreement(&outcome) else {
                continue;
            };
            // Alone, so that no other trial takes its time. What does not come out again is shown.
            match disagreement(&try_all(&table, std::slice::from_ref(trial)).await[0].1) {
                Some(problem) => report += &format!("\n{name}:\n{problem}"),
                None => eprintln!("not again when tried alone: {name}:\n{first}"),
            }
        }
        report
    });
    assert!(report.is_empty(), "the table says something else:{report}");
}

#[test]
fn the_right_server_passes_the_same_trial() {
    let outcome = runtime().block_on(trial::judge(
        None,
        Selection::of(touchstone_cases::REGISTRY),
        trial::JOBS,
    ));
    let judged = Outcome {
        traits: BTreeMap::new(),
        ..outcome
    };
    assert_eq!(judged, Outcome::default());
}

#[test]
fn the_table_and_the_server_have_the_same_faults() {
    let table = Table::read();
    let rows: BTreeSet<&str> = table.rows.keys().map(String::as_str).collect();
    let known: BTreeSet<&str> = tried().map(|fault| fault.name).collect();
    assert_eq!(rows, known);
    for (name, row) in &table.rows {
        assert!(!row.is_empty(), "no case catches {name}");
    }
}

#[test]
fn every_judged_requirement_is_broken_by_some_fault() {
    let table = Table::read();
    let unproved: BTreeSet<&str> = table.unproved_of(judged());
    let excused: BTreeSet<&str> = table.unproved.keys().map(String::as_str).collect();
    assert_eq!(
        unproved, excused,
        "requirements that no fault breaks, and those that say why"
    );
}

/// `UPDATE=1 cargo test --test faults the_document` writes the page anew from the table.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test asks whether to write the page"
)]
fn the_document_is_current() {
    let told = document::render(&Table::read());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(document::PATH, &told).expect("a page");
    }
    let kept = std::fs::read_to_string(document::PATH).unwrap_or_default();
    assert!(told == kept, "{} is stale: {REMEASURE}", document::PATH);
}

/// The faults that a case can catch. Those of histories need an interleaving or a sequence that no case
/// stages, and what a storage does wrong shows when the server is ended, which only `--spawn` allows:
/// `tests/explore` and `tests/cli` try them.
fn tried() -> impl Iterator<Item = &'static FaultInfo> {
    let is_explored = |fault: &&FaultInfo| ["Histories", "Storage"].contains(&fault.layer);
    faults().iter().filter(move |fault| !is_explored(fault))
}

/// The requirements that can be broken; traits cannot.
fn judged() -> impl Iterator<Item = &'static str> {
    let binding = requirements().filter(|requirement| requirement.level > Level::Info);
    binding.map(|requirement| requirement.id)
}

/// What to do about a stale table.
const REMEASURE: &str = "run cargo test --test faults -- --ignored, and read what it changes";

#[test]
#[ignore = "rewrites tests/faults/table.toml and docs/faults.md from what it measures"]
fn measure() {
    let mut table = Table::read();
    table.adopt_new_faults();
    let unknown: Vec<&'static str> = tried()
        .map(|fault| fault.name)
        .filter(|name| table.rows[*name].is_empty())
        .collect();
    runtime().block_on(async {
        // A few at a time, so that little is lost when somebody stops it.
        for names in unknown.chunks(BATCH) {
            let all: Vec<_> = names
                .iter()
                .map(|name| (*name, Selection::of(touchstone_cases::REGISTRY)))
                .collect();
            for (name, outcome) in try_all(&table, &all).await {
                table
                    .rows
                    .entry(name.to_owned())
                    .or_default()
                    .measured(outcome);
            }
            table.write();
        }
    });
    table.account_for(judged());
    table.write();
    std::fs::write(document::PATH, document::render(&table)).expect("docs can be written");
}

/// What is tried with each fault: some of the cases that catch it, and a sample of those that should not
/// mind it. The same in every run.
fn chosen(table: &Table) -> Vec<(&'static str, Selection)> {
    let mut seen_broken = BTreeSet::new();
    let mut trials = Vec::new();
    for fault in tried() {
        let row = &table.rows[fault.name];
        let mut selection = Selection::of(touchstone_cases::REGISTRY);
        for case in catching(fault.name, row, &mut seen_broken) {
            selection.only(case).expect("ids are no globs");
        }
        for case in unconcerned(fault.name, row)
            .into_iter()
            .chain(row.traits.keys().map(String::as_str))
        {
            selection.only(case).expect("ids are no globs");
        }
        trials.push((fault.name, selection));
    }
    trials
}

/// Cases that catch a fault: a few, the quick ones first, and those that see a requirement broken that
/// is not `seen` to be broken before.
fn catching<'t>(name: &str, row: &'t Row, seen: &mut BTreeSet<&'t str>) -> Vec<&'t str> {
    let mut all: Vec<_> = row
        .cases
        .keys()
        .map(|case| (HEAVY.contains(&case.as_str()), mixed(name, case), case))
        .collect();
    all.sort_unstable();
    let mut chosen = Vec::new();
    for (is_heavy, _, case) in all {
        let is_wanted = chosen.is_empty() || chosen.len() < CATCHING && !is_heavy;
        let breaks = || row.cases[case].iter().map(String::as_str);
        if is_wanted || breaks().any(|id| !seen.contains(id)) {
            seen.extend(breaks());
            chosen.push(case.as_str());
        }
    }
    chosen
}

/// Cases that should not mind a fault.
fn unconcerned(name: &str, row: &Row) -> Vec<&'static str> {
    let is_eligible = |case: &Case| {
        let is_named = row.cases.contains_key(case.id) || row.traits.contains_key(case.id);
        !is_named && !case.hazardous && !case.slow && !HEAVY.contains(&case.id)
    };
    let mut all: Vec<_> = cases()
        .filter(|case| is_eligible(case))
        .map(|case| (mixed(name, case.id), case.id))
        .collect();
    all.sort_unstable();
    all.into_iter().take(SAMPLE).map(|(_, id)| id).collect()
}
