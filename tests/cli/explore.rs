//! `touchstone explore`: a right server, a wrong one, and what is told of it.

use serde_json::Value;

use crate::support::check;

#[test]
fn nothing_is_found_of_a_right_server() {
    let ran = check(&["explore", "--rounds", "3", "--seed", "1"], 0, &[]);
    for words in [
        "3 rounds",
        "nothing that a right server could not have done",
    ] {
        assert!(ran.stdout.contains(words), "{}", ran.stdout);
    }
}

#[test]
fn a_violation_is_told_as_steps_that_show_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let traces = folder.path().display().to_string();
    let exploring = [
        "explore",
        "--rounds",
        "20",
        "--seed",
        "1",
        "--fault",
        "dup-update=3",
        "--fail-fast",
        "--shrink-for",
        "10s",
        "--trace",
        &traces,
        "--report",
        "json=-",
    ];
    let ran = check(&exploring, 10, &[]);
    let report: Value = serde_json::from_str(&ran.stdout).expect("stdout is JSON");
    let schema = include_str!("../../conformance/explore/schema/explore-report.schema.json");
    let schema: Value = serde_json::from_str(schema).expect("the schema is JSON");
    let has_all = |value: &Value, schema: &Value| {
        for key in schema["required"].as_array().expect("a list") {
            assert!(value.get(key.as_str().expect("a key")).is_some(), "{key}");
        }
    };
    has_all(&report, &schema);
    let violations = report["violations"].as_array().expect("a list");
    for violation in violations {
        has_all(violation, &schema["properties"]["violations"]["items"]);
    }
    let twice = violations
        .iter()
        .find(|one| one["requirement"] == "delivery.no-duplicate");
    let twice = twice.unwrap_or_else(|| panic!("{report:#}"));
    assert!(twice["shrunkTo"].as_u64() <= Some(8), "{report:#}");
    // The trace shows it to the judge, too, and the command runs the round again.
    let trace = twice["trace"].as_str().expect("a trace");
    let judged = check(&["judge", trace], 10, &[]);
    assert!(
        judged.stdout.contains("delivery.no-duplicate"),
        "{}",
        judged.stdout
    );
    let again = twice["reproduce"].as_str().expect("a command");
    assert!(again.contains("dup-update=3"), "{again}");
    assert!(again.ends_with("--rounds 1"), "{again}");
}

#[test]
fn seeds_that_are_none_are_told_with_their_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("seeds");
    std::fs::write(&file, "1\nx\n").expect("written");
    let file = file.display().to_string();
    check(&["explore", "--seeds", &file], 2, &[]);
}
