//! `touchstone judge`: recordings of a right server and of wrong ones, and files that are none.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{check, run};

/// Records cases against the embedded server, and gives the folder of the traces.
fn recorded(folder: &Path, cases: &[&str], faults: &[&str]) -> String {
    let traces = folder.join("traces").display().to_string();
    let mut arguments = vec!["check", "--seed", "1", "--trace", &traces];
    arguments.extend(cases.iter().flat_map(|case| ["--only", case]));
    arguments.extend(faults.iter().flat_map(|fault| ["--fault", fault]));
    run(&arguments);
    traces
}

#[test]
fn nothing_is_found_of_a_right_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let traces = recorded(folder.path(), &["session.*", "message.*", "rpc.call"], &[]);
    let ran = check(&["judge", &traces], 0, &[]);
    assert!(
        ran.stdout
            .contains("nothing that a right server could not have done"),
        "{}",
        ran.stdout
    );
    assert!(!ran.stdout.contains('\u{1b}'), "{}", ran.stdout);
}

#[test]
fn each_rule_finds_its_fault() {
    let rows = [
        (
            "stale-accept",
            "session.update-metadata.stale",
            "session.update-metadata.stale",
        ),
        (
            "echo-to-sender",
            "message.recipients",
            "message.skips-sender",
        ),
        ("rpc-result-wrapped", "rpc.results", "rpc.call.results"),
        ("dup-update", "message.burst", "delivery.no-duplicate"),
        ("dedupe-off", "message.local-id", "message.local-id"),
        (
            "answer-ok",
            "session.update-metadata.success",
            "session.update-metadata.answer",
        ),
    ];
    for (fault, case, requirement) in rows {
        let folder = tempfile::tempdir().expect("a folder");
        let traces = recorded(folder.path(), &[case], &[fault]);
        let ran = check(&["judge", &traces, "--report", "json=-"], 10, &[]);
        let report: Value = serde_json::from_str(&ran.stdout).expect("stdout is JSON");
        let schema = include_str!("../../conformance/history/schema/judge-report.schema.json");
        let schema: Value = serde_json::from_str(schema).expect("the schema is JSON");
        for key in schema["required"].as_array().expect("a list") {
            assert!(report.get(key.as_str().expect("a key")).is_some(), "{key}");
        }
        let violations = report["violations"].as_array().expect("a list");
        assert!(
            violations
                .iter()
                .any(|one| one["requirement"] == requirement),
            "{fault}: {report:#}"
        );
        for text in ["junit", "markdown", "html"] {
            check(
                &["judge", &traces, "--report", &format!("{text}=-")],
                10,
                &[requirement],
            );
        }
    }
}

/// A recording that begins in the middle shows no connection, and is no praise of the server.
#[test]
fn what_began_before_is_not_judged_in_green() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = recorded(folder.path(), &["ping.answer"], &[]);
    let path = Path::new(&whole).join("ping.answer.jsonl");
    let text = fs::read_to_string(&path).expect("a trace");
    let is_beginning =
        |line: &&str| !line.contains("\"40") && !line.contains("\"0{") && !line.contains("connect");
    let middle: Vec<_> = text.lines().filter(is_beginning).collect();
    let middle = middle.join("\n") + "\n";
    assert!(middle.len() < text.len(), "{text}");
    fs::write(&path, middle).expect("a trace");
    let ran = check(&["judge", &whole], 12, &[]);
    assert!(
        ran.stdout
            .contains("0 connections: nothing could be judged"),
        "{}",
        ran.stdout
    );
}

#[test]
fn what_is_no_trace_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a.jsonl").display().to_string();
    check(&["judge", &file], 2, &["cannot judge", "a.jsonl"]);
    fs::write(&file, "{}\n").expect("writes");
    check(&["judge", &file], 2, &["not a touchstone-trace file"]);
    // What can be read of a trace that was cut is judged, and nobody is accused for the rest.
    let header =
        r#"{"format":"touchstone-trace","version":1,"tool":"x","target":"y","startedAt":1}"#;
    fs::write(&file, format!("{header}\n{{\"tUs\": 1,\n")).expect("writes");
    check(&["judge", &file], 12, &["line 2"]);
    check(&["judge"], 2, &["TRACE"]);
    let ran = check(&["explain", "history.versions"], 0, &[]);
    assert!(ran.stdout.contains("touchstone judge"), "{}", ran.stdout);
}
