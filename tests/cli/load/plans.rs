//! What is said before a run: plans, built-in scenarios, and scenarios that are none.

use serde_json::Value;
use touchstone_fixtures::SCENARIOS;

use super::desk::{Desk, SMALL, shown};
use crate::support::{Served, check};

fn plan(scenario: &str, more: &[&str]) -> Value {
    let all = [&["load", "plan", "--json", "--scenario", scenario], more].concat();
    serde_json::from_str(&check(&all, 0, &[]).stdout).expect("JSON")
}

#[test]
fn a_plan_is_the_same_each_time_and_needs_no_server() {
    let desk = Desk::new();
    let small = desk.scenario(SMALL);
    let one = plan(&small, &["--seed", "7"]);
    assert_eq!(one, plan(&small, &["--seed", "7"]));
    assert_ne!(one["digest"], plan(&small, &["--seed", "8"])["digest"]);
    assert_eq!(one["connections"], 20);
    assert!(one["deliveries"].as_u64() > one["emits"].as_u64(), "{one}");

    let told = check(
        &["load", "plan", "--scenario", &small, "--seed", "7"],
        0,
        &[],
    )
    .stdout;
    for part in [
        one["digest"].as_str().expect("a digest"),
        "20 connections",
        "deliveries/s",
    ] {
        assert!(told.contains(part), "no {part} in\n{told}");
    }
}

#[test]
fn every_built_in_scenario_is_listed_and_has_a_plan() {
    let listed = check(&["load", "--list"], 0, &[]).stdout;
    assert_eq!(listed.lines().count(), SCENARIOS.len(), "{listed}");
    for line in listed.lines() {
        let name = line.split_whitespace().next().expect("a name");
        assert!(
            plan(name, &["--scale", "0.01"])["emits"].as_u64() > Some(0),
            "{name}"
        );
    }
}

#[test]
fn scenarios_that_are_none_are_told_before_the_run() {
    let desk = Desk::new();
    let misspelt = desk.scenario(&SMALL.replace("lag-p99", "lag-p98"));
    check(
        &["load", "--scenario", &misspelt],
        2,
        &["lag-p98", "lag-p99"],
    );
    check(
        &["load", "--scenario", "prodction"],
        2,
        &["did you mean production?"],
    );
    check(
        &["load", "--scenario", "none.toml"],
        2,
        &["cannot read the scenario none.toml"],
    );
    check(
        &["load", "plan", "--scale", "-1"],
        2,
        &["\"-1\" is no scale"],
    );
    check(&["load", "--report", "pdf=x"], 2, &["formats are json"]);
    check(
        &["load", "--start-at", "2020-01-01T00:00:00Z"],
        2,
        &["is over"],
    );
}

#[test]
fn a_recording_becomes_a_scenario() {
    let desk = Desk::new();
    let served = Served::start(&[]);
    let (small, trace) = (desk.scenario(SMALL), shown(&desk.path("trace.jsonl")));
    let run = ["load", &served.url, "--scenario", &small, "--trace", &trace];
    check(&[&run[..], &["--trace-accounts", "5"]].concat(), 0, &[]);
    let made = check(&["load", "plan", "--from", &trace], 0, &[]).stdout;
    let written = desk.scenario(&made);
    let planned = plan(&written, &[]);
    assert_eq!(planned["connections"], 20, "{made}");
    assert!(planned["emits"].as_u64() > Some(20), "{planned}");
    for part in [
        "event = \"message\"",
        "event = \"machine-update-state\"",
        "sessions = 10",
    ] {
        assert!(made.contains(part), "no {part} in\n{made}");
    }
    let none = ["load", "plan", "--from", &small];
    check(&none, 2, &["cannot use", "not a touchstone-trace file"]);
    let both = [&none[..], &["--seed", "3"]].concat();
    check(&both, 2, &["cannot be used with"]);
}
