//! `touchstone replay`: a recording sent to the server that it came from, to one with a fault, and to
//! none; and the failure of a case, mended and not.

use std::path::Path;

use serde_json::Value;

use crate::support::{Ran, check, run};

const CASE: &str = "session.update-metadata.success";
/// A fault that the case above fails with.
const FAULT: &str = "lost-update=2";
/// One that it fails with at once, since nothing is waited for in vain.
const WRONG: &str = "version-plus-two";

/// Records the case against the embedded server, with or without a fault, and gives the trace's path.
fn recorded(folder: &Path, faults: &[&str]) -> String {
    let traces = folder.join("traces").display().to_string();
    let mut arguments = vec!["check", "--only", CASE, "--trace", &traces];
    for fault in faults {
        arguments.extend(["--fault", fault]);
    }
    run(&arguments);
    format!("{traces}/{CASE}.jsonl")
}

/// Replays it as fast as the server allows.
#[track_caller]
fn replayed(trace: &str, arguments: &[&str], code: i32, part: &str) -> Ran {
    let all = [&["replay", trace, "--as-fast"], arguments].concat();
    let ran = check(&all, code, &[]);
    let told = format!("{}{}", ran.stdout, ran.stderr);
    assert!(told.contains(part), "no {part:?} in {told}");
    ran
}

#[track_caller]
fn report(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).expect("stdout is JSON")
}

#[test]
fn the_same_server_does_the_same_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let trace = recorded(folder.path(), &[]);
    let ran = replayed(
        &trace,
        &["--report", "json=-"],
        0,
        " 0 different, 0 missing, 0 extra",
    );
    let report = report(&ran);
    assert_eq!(report["format"], "touchstone-replay");
    // Who hears of a connection that opens at the same time is left to chance.
    let items = report["items"].as_array().expect("items");
    assert!(
        items.iter().all(|item| item["outcome"] == "unsettled"),
        "{report}"
    );
    assert!(report["summary"]["same"].as_u64() > Some(10), "{report}");
}

#[test]
fn a_server_with_a_fault_differs_in_just_that() {
    let folder = tempfile::tempdir().expect("a folder");
    let trace = recorded(folder.path(), &[]);
    let ran = replayed(
        &trace,
        &["--fault", FAULT, "--report", "json=-"],
        10,
        "missing",
    );
    let report = report(&ran);
    let items = report["items"].as_array().expect("items");
    let settled: Vec<_> = items
        .iter()
        .filter(|item| item["outcome"] != "unsettled")
        .collect();
    assert!(!settled.is_empty());
    for item in settled {
        assert_eq!(item["outcome"], "missing", "{item}");
        assert!(
            item["what"]
                .as_str()
                .is_some_and(|what| what.starts_with("update ")),
            "{item}"
        );
    }
}

#[test]
fn a_failure_is_mended_or_not_or_cannot_be_judged() {
    let folder = tempfile::tempdir().expect("a folder");
    let trace = recorded(folder.path(), &[WRONG]);
    replayed(&trace, &[], 0, &format!("FIXED: {CASE} passes now"));
    let fault = ["--fault", WRONG];
    replayed(&trace, &fault, 10, &format!("FAILED: {CASE} still fails"));
    let nobody = ["--against", "http://127.0.0.1:1"];
    replayed(
        &trace,
        &nobody,
        3,
        &format!("ERROR: {CASE} could not be judged"),
    );
}

#[test]
fn what_is_no_recording_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("x.jsonl");
    let name = file.display().to_string();
    replayed(&name, &[], 2, "cannot read the trace");
    std::fs::write(&file, "{}\n").expect("a file");
    replayed(&name, &[], 2, "not a touchstone-trace file");
    let head = r#"{"format":"touchstone-trace","version":1,"tool":"t","target":"x","startedAt":1}"#;
    std::fs::write(&file, head).expect("a file");
    replayed(&name, &[], 2, "nothing to replay");
}
