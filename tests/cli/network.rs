//! `--network`: a worse network between the program and a server changes no verdict.

use serde_json::{Value, json};

use crate::support::check;

#[test]
fn a_right_server_is_right_through_every_network() {
    for network in ["slow", "far", "flaky", "mobile", "delay=5ms,rate=2M"] {
        let only = ["--only", "message.*", "--only", "transport.*", "--no-slow"];
        let judged = [&["check", "--network", network][..], &only].concat();
        let ran = check(&judged, 0, &[]);
        let name = format!("through --network {network}");
        assert!(
            ran.stdout.contains(&name) || network.contains('='),
            "{}",
            ran.stdout
        );
    }
}

#[test]
fn explored_connections_may_be_cut() {
    let explored = [
        "explore",
        "--network",
        "delay=10ms,cut=5s",
        "--rounds",
        "4",
        "--seed",
        "1",
    ];
    let ran = check(&[&explored[..], &["--report", "json=-"]].concat(), 0, &[]);
    let report: Value = serde_json::from_str(&ran.stdout).expect("a report");
    let name = report["target"]["name"].as_str().expect("a name");
    assert!(name.ends_with("delay=10ms,jitter=0s,cut=5s"), "{name}");
    assert_eq!(report["violations"], json!([]), "{report:#}");
}

#[test]
fn a_load_has_the_network_in_its_times() {
    let load = [
        "load",
        "--network",
        "delay=40ms",
        "--report",
        "json=-",
        "--scale",
        "0.1",
    ];
    let ran = check(&load, 0, &[]);
    let report: Value = serde_json::from_str(&ran.stdout).expect("a report");
    let least = report["latencyUs"]["ack"]["min"].as_u64().expect("a time");
    assert!(least >= 79_000, "{least}");
}

#[test]
fn what_is_no_network_is_told() {
    check(
        &["explore", "--network", "fast"],
        2,
        &["slow, far, flaky, mobile"],
    );
    check(
        &["check", "--network", "mobile,cut=5s"],
        2,
        &["cut", "explore and load take it"],
    );
    let named = [
        "check",
        "http://a.example",
        "http://b.example",
        "--network",
        "far",
    ];
    check(
        &named,
        2,
        &["--network cannot stand before http://a.example"],
    );
}
