//! The other half of the proof: the suite blames no server that is right in another way.
//!
//! Faults show that wrong servers are caught (`tests/faults`). Here the reference server takes each of
//! its liberties, and no case may fail, be blocked or end in an error; none may warn, except about the
//! recommendations that `table.toml` lists as given up, each with its reason. A part of the cases is run
//! under each liberty; `cargo test --test liberties -- --ignored` runs every case under every liberty, a
//! sample of pairs, and all of them at once.

mod document;
#[path = "../../src/embedded.rs"]
mod embedded;
mod trial;
#[path = "../trials/mod.rs"]
mod trials;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use touchstone_cases::{cases, requirements};
use touchstone_harness::{Level, Selection};
use touchstone_reference_faults::{LibertyInfo, liberties};

use trial::{Blamed, judge, try_all};
use trials::{mixed, runtime, side_by_side};

/// By liberty, names, each with its reason.
pub(crate) type Reasons = BTreeMap<String, BTreeMap<String, String>>;

/// What the suite may have against liberties.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Table {
    /// Recommendations that a liberty does not keep.
    pub(crate) given_up: Reasons,
    /// Cases that blame a liberty although it is right.
    unmended: Reasons,
}

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/liberties/table.toml");

/// One of so many cases is run under a liberty, another part of them under each.
const PART: u64 = 24;

/// One of so many pairs is tried.
const PAIRS: u64 = 40;

fn table() -> Table {
    let text = std::fs::read_to_string(TABLE).expect("the table stands beside this test");
    toml::from_str(&text).expect("the table is TOML of this form")
}

#[test]
fn a_part_of_the_cases_blames_no_liberty() {
    let trials = liberties()
        .iter()
        .map(|one| (vec![one.name], part_for(one)));
    check(trials.collect());
}

#[test]
#[ignore = "every case under every liberty takes about ten minutes"]
fn no_case_blames_a_liberty() {
    let trials = liberties()
        .iter()
        .map(|one| (vec![one.name], Selection::of(touchstone_cases::REGISTRY)));
    check(trials.collect());
}

#[test]
#[ignore = "every case for a sample of pairs takes about ten minutes"]
fn no_case_blames_two_liberties() {
    let names = || liberties().iter().map(|one| one.name);
    let pairs = names().flat_map(|one| names().map(move |other| (one, other)));
    let sample =
        pairs.filter(|(one, other)| one < other && mixed(one, other).is_multiple_of(PAIRS));
    check(
        sample
            .map(|(one, other)| (vec![one, other], Selection::of(touchstone_cases::REGISTRY)))
            .collect(),
    );
}

#[test]
#[ignore = "every case with answers that are late for many reasons"]
fn no_case_blames_all_liberties_at_once() {
    // Those of a generation are made of others, and a broker that delays twice delivers twice.
    let names = liberties().iter().map(|one| one.name);
    let names = names.filter(|name| !name.ends_with("-generation"));
    check(vec![(
        names.collect(),
        Selection::of(touchstone_cases::REGISTRY),
    )]);
}

/// Each of them keeps packets back, and none may send what another one has kept.
#[test]
fn what_several_keep_back_is_delivered_once() {
    let keepers = ["broker-delay", "ack-first", "seq-interleaved"];
    let pairs = [[0, 1], [0, 2], [1, 2]].map(|pair| pair.map(|place| keepers[place]));
    let only = |names: [&'static str; 2]| {
        let mut selection = Selection::of(touchstone_cases::REGISTRY);
        for case in ["session.contention", "message.local-id"] {
            selection.only(case).expect("ids are no globs");
        }
        (Vec::from(names), selection)
    };
    check(pairs.map(only).into());
}

/// What reaches the wrong ones late, and is handled beside what was sent after it, is found all the same.
#[test]
fn a_slow_broker_hides_no_leak() {
    let liberties = ["broker-delay", "async-handlers"];
    let rows = [
        ("surplus-twice", "handshake.surplus-ids"),
        ("surplus-foreign", "handshake.surplus-ids"),
        ("foreign-id-hears", "handshake.surplus-ids"),
        ("foreign-rows", "isolation.foreign-ids"),
        ("foreign-ends", "isolation.foreign-ids"),
        ("conditions-match", "isolation.ids-as-conditions"),
    ];
    let trials = rows.map(|(fault, case)| async move {
        let mut selection = Selection::of(touchstone_cases::REGISTRY);
        selection.only(case).expect("ids are no globs");
        let blamed = judge(Some(fault), &liberties, selection).await;
        (fault, blamed.contains_key(case))
    });
    let caught = runtime().block_on(side_by_side(rows.len(), trials));
    assert_eq!(caught, rows.map(|(fault, _)| (fault, true)));
}

#[test]
fn only_recommendations_of_liberties_are_given_up() {
    let known: BTreeSet<&str> = liberties().iter().map(|one| one.name).collect();
    for (name, given_up) in table().given_up {
        assert!(known.contains(name.as_str()), "no liberty {name}");
        for id in given_up.keys() {
            let requirement = requirements().find(|one| one.id == id.as_str());
            let level = requirement.map(|one| one.level);
            assert_eq!(level, Some(Level::Should), "{name}: {id}");
        }
    }
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "whoever runs this test asks for the page to be written"
)]
fn the_document_is_current() {
    let rendered = document::render(&table());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(document::PATH, &rendered).expect("docs can be written");
    }
    let kept = std::fs::read_to_string(document::PATH).unwrap_or_default();
    let command = "run UPDATE=1 cargo test --test liberties document";
    assert!(rendered == kept, "{} is stale: {command}", document::PATH);
}

/// Tries servers with these liberties, and says what the suite has against them.
#[track_caller]
fn check(trials: Vec<(Vec<&'static str>, Selection)>) {
    let table = table();
    let names: Vec<_> = trials.iter().map(|(names, _)| names.clone()).collect();
    let all = runtime().block_on(try_all(trials));
    let mut report = String::new();
    for (names, blamed) in names.iter().zip(all) {
        report += &against(&table, names, blamed);
    }
    assert!(report.is_empty(), "right servers are blamed:\n{report}");
}

/// What the suite has against a server, except what its liberties give up.
fn against(table: &Table, names: &[&str], blamed: Blamed) -> String {
    let listed = |all: &Reasons| -> BTreeSet<String> {
        let rows = names.iter().filter_map(|name| all.get(*name));
        rows.flat_map(|row| row.keys().cloned()).collect()
    };
    let (given_up, unmended) = (listed(&table.given_up), listed(&table.unmended));
    let mut report = String::new();
    for (case, mut reasons) in blamed {
        if unmended.contains(&case) {
            continue;
        }
        reasons.retain(|reason| !given_up.contains(reason.as_str()));
        if !reasons.is_empty() {
            let reasons: Vec<_> = reasons.into_iter().collect();
            report += &format!("{}: {case}: {}\n", names.join(", "), reasons.join(", "));
        }
    }
    report
}

/// Cases to try a liberty with: quick ones, and of these others than for the next liberty.
fn part_for(liberty: &LibertyInfo) -> Selection {
    let mut selection = Selection::of(touchstone_cases::REGISTRY);
    for case in cases().filter(|case| !case.hazardous && !case.slow) {
        if mixed(liberty.name, case.id).is_multiple_of(PART) {
            selection.only(case.id).expect("ids are no globs");
        }
    }
    selection
}
