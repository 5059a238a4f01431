//! The suite is tried on servers that are wrong in one known way each: the case that has to notice does,
//! and blames the one requirement that is at fault.

use std::sync::Mutex;
use std::thread;

use serde_json::Value;

use crate::support::run;

/// A fault of the reference server, a case that catches it, and the requirement that it breaks.
const CAUGHT: &[(&str, &str, &str)] = &[
    (
        "ack-twice",
        "handler.acknowledged-once",
        "handler.acknowledged-once",
    ),
    ("artifact-to-sessions", "artifact.create", "artifact.narrow"),
    ("cross-user", "rpc.accounts", "rpc.own-account"),
    ("dedupe-off", "message.local-id", "message.local-id"),
    ("dup-update", "message.burst", "delivery.no-duplicate"),
    (
        "echo-to-sender",
        "message.recipients",
        "message.skips-sender",
    ),
    ("kv-partial", "rest.kv", "rest.kv.all-or-nothing"),
    ("leak-update", "delivery.isolated", "delivery.isolated"),
    ("lost-update", "message.burst", "delivery.no-loss"),
    (
        "machine-deaf",
        "machine.update-state.success",
        "machine.update-state.recipients",
    ),
    (
        "machine-once",
        "rest.machine.create",
        "rest.machine.second-update-recipients",
    ),
    ("message-seq-stuck", "message.seq", "message.seq"),
    ("mismatch-seq", "delivery.seq-unused", "update.seq-unused"),
    (
        "no-mismatch-data",
        "session.update-metadata.stale",
        "session.update-metadata.mismatch-returns-current",
    ),
    (
        "offline-early",
        "presence.machine-stays",
        "presence.machine-stays",
    ),
    (
        "refusal-drop",
        "handshake.missing-token",
        "handshake.refusal-tells-why",
    ),
    (
        "refusal-text",
        "handshake.missing-token",
        "handshake.refusal-text",
    ),
    ("rpc-self-call", "rpc.same-socket", "rpc.call.same-socket"),
    (
        "rpc-stranger",
        "rpc.unregister-stranger",
        "rpc.unregister.stranger",
    ),
    ("seq-stuck", "delivery.seq", "update.seq-increases"),
    (
        "sid-key",
        "session.update-metadata.success",
        "update-session.keys",
    ),
    (
        "stale-accept",
        "session.update-metadata.stale",
        "session.update-metadata.stale",
    ),
    ("usage-to-sessions", "usage.report", "usage.narrow"),
    (
        "version-plus-two",
        "session.update-metadata.success",
        "session.version-step",
    ),
    (
        "wrong-session",
        "message.recipients",
        "message.wrong-session",
    ),
];

/// Cases that none of these faults concerns.
const UNCONCERNED: [&str; 2] = ["ping.answer", "ping.with-data"];

/// What the suite says about a server with this fault, other than expected; `None` when all is well.
fn disagreement(fault: &str, case: &str, requirement: &str) -> Option<String> {
    let [other, another] = UNCONCERNED;
    let selected = ["--only", case, "--only", other, "--only", another];
    let ran = run(&[
        &["check", "--fault", fault, "--report", "json=-"][..],
        &selected,
    ]
    .concat());
    let Ok(report) = serde_json::from_str::<Value>(&ran.stdout) else {
        return Some(format!("{fault}: no report: {}", ran.stderr));
    };
    let broken = |entry: &&Value| entry["verdict"] == "fail" || entry["verdict"] == "warn";
    let ids = |list: &str| -> Vec<String> {
        let entries = report[list].as_array().into_iter().flatten();
        entries
            .filter(broken)
            .filter_map(|entry| entry["id"].as_str())
            .map(str::to_owned)
            .collect()
    };
    let found = (ids("cases"), ids("requirements"));
    let expected = (vec![case.to_owned()], vec![requirement.to_owned()]);
    (found != expected).then(|| format!("{fault}: found {found:?}, expected {expected:?}"))
}

#[test]
fn each_fault_is_charged_to_the_requirement_that_it_breaks() {
    let problems = Mutex::new(Vec::new());
    // Most of the time goes by waiting for what never comes.
    for rows in CAUGHT.chunks(8) {
        thread::scope(|scope| {
            for (fault, case, requirement) in rows {
                let problems = &problems;
                scope.spawn(move || {
                    let problem = disagreement(fault, case, requirement);
                    problems.lock().expect("no panic").extend(problem);
                });
            }
        });
    }
    let problems = problems.into_inner().expect("no panic");
    assert!(problems.is_empty(), "{problems:#?}");
}
