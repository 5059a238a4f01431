//! `load`, `watch` and `replay` on servers that are right in another way: none of them is blamed.
//! `tests/liberties` shows the same for `check`.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::thread;

use serde_json::Value;

use crate::support::{Served, check, run};

/// What is recorded and sent again: reads, writes, refusals, messages and calls.
const CASES: [&str; 4] = [
    "session.update-metadata.stale",
    "message.recipients",
    "artifact.update-stale",
    "rpc.call",
];

/// One of so many liberties is tried.
const SAMPLE: usize = 10;

/// How many servers are tried at the same time: most of a trial is waiting.
const AT_ONCE: usize = 3;

#[test]
fn no_tool_blames_some_liberties() {
    try_all(liberties().into_iter().step_by(SAMPLE).collect());
}

#[test]
#[ignore = "every liberty takes minutes"]
fn no_tool_blames_a_liberty() {
    try_all(liberties());
}

/// The names of all liberties, as the program lists them.
fn liberties() -> Vec<String> {
    let listed = run(&["serve", "--list-liberties"]).stdout;
    let name = |line: &str| {
        let end = line.find(|letter: char| letter.is_whitespace() || "[=".contains(letter));
        line[..end.unwrap_or(line.len())].to_owned()
    };
    let names: Vec<_> = listed.lines().map(name).collect();
    assert!(names.len() > 40, "{listed}");
    names
}

fn try_all(names: Vec<String>) {
    let waiting = Mutex::new(names);
    let next = || waiting.lock().expect("nobody panics with it").pop();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(name) = next() {
                    judge(&name);
                }
            });
        }
    });
}

fn judge(name: &str) {
    let server = Served::start(&["--liberty", name]);
    let folder = tempfile::tempdir().expect("a folder");
    let path = |file: &str| folder.path().join(file).display().to_string();
    load(name, &server.url, &path("load.jsonl"));
    watch(name, &path("load.jsonl"));
    let traces = path("traces");
    let mut recorded = vec!["check", &server.url, "--quiet", "--trace", &traces];
    for case in CASES {
        recorded.extend(["--only", case]);
    }
    check(&recorded, 0, &[]);
    let again = ["replay", &traces, "--against", &server.url, "--as-fast"];
    check(&again, 0, &[]);
}

/// Loads the server, and leaves a recording of it.
fn load(name: &str, url: &str, trace: &str) {
    let ran = run(&[
        "load",
        url,
        "--quiet",
        "--plain",
        "--duration",
        "6s",
        "--trace",
        trace,
        "--report",
        "json=-",
    ]);
    // A machine that is busy with something else makes a run invalid, and nobody wrong.
    assert!(
        [0, 21].contains(&ran.code),
        "{name}: {}{}",
        ran.stdout,
        ran.stderr
    );
    let report: Value = serde_json::from_str(&ran.stdout).expect("stdout is JSON");
    let audit = &report["audit"];
    assert!(audit["delivered"].as_u64() > Some(0), "{name}: {audit}");
    for wrong in ["lost", "duplicated", "reordered", "misrouted"] {
        assert_eq!(audit[wrong], 0, "{name}: {audit}");
    }
}

/// Watches the recording. Traits are told once for each type, and nothing else is.
fn watch(name: &str, trace: &str) {
    let ran = check(
        &["watch", "--open", trace, "--headless", "--format", "json"],
        0,
        &[],
    );
    let mut traits = BTreeSet::new();
    for line in ran.stdout.lines() {
        let entry: Value = serde_json::from_str(line).expect(line);
        for lint in entry["lints"].as_array().into_iter().flatten() {
            let lint = lint.as_str().expect("lints are words");
            let is_trait = lint.ends_with("narrow")
                || ["message.not-machines", "unknown-type"].contains(&lint);
            assert!(is_trait, "{name}: {line}");
            let told = format!("{lint} {} {}", entry["type"], entry["scope"]);
            assert!(traits.insert(told), "{name}: {line}");
        }
    }
}
