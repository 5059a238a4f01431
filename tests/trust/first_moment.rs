//! Servers that lose what comes in the first moment of a connection: one case says so, and no other one
//! stumbles over it.

use std::collections::BTreeMap;

use serde_json::Value;
use touchstone_reference_faults::Faults;

use crate::embedded::{Embedded, quick};
use crate::program::run;

/// Judges a server with this fault; gives what each case has instead of a pass.
async fn found(fault: &str) -> BTreeMap<String, String> {
    let faults = Faults::parse([fault]).expect("a fault");
    let config = faults.applied_to(quick());
    let server = Embedded::start(config).await.expect("a server");
    let url = server.url().to_string();
    let arguments = ["--no-slow", "--rpc-timeout", "2s", "--report", "json=-"];
    let ran = run("check", &url, &arguments).await.expect("a run");
    server.stop().await.expect("the server ends");
    let report: Value = serde_json::from_str(&ran.stdout).expect("a report");
    let cases = report["cases"].as_array().expect("cases");
    let named = |case: &Value| Some((case["id"].as_str()?.to_owned(), case["verdict"].to_string()));
    cases
        .iter()
        .filter(|case| case["verdict"] != "pass" && case["verdict"] != "skip")
        .filter_map(named)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_that_come_late_are_one_warning() {
    let only = BTreeMap::from([("handshake.early-events".into(), "\"warn\"".into())]);
    assert_eq!(found("late-handlers").await, only);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_that_come_late_are_one_warning() {
    let only = BTreeMap::from([("handshake.receives-at-once".into(), "\"warn\"".into())]);
    assert_eq!(found("late-rooms").await, only);
}
