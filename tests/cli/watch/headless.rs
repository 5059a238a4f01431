//! `touchstone watch --headless` without a server: the demonstration as lines.

use std::io::{BufRead as _, BufReader};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::lines::Lines;
use super::open::{file, minute};
use crate::support::{Served, check, free_address, signal, touchstone};

#[test]
fn as_many_events_as_were_asked_for() {
    let ran = check(
        &["watch", "--headless", "--format", "json", "--count", "20"],
        0,
        &[],
    );
    let lines = ran.stdout.lines();
    let lines: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    // What is found out later has lines of its own, which are no events.
    let is_event = |line: &&Value| {
        let own = ["connection", "gap", "note"];
        line["number"].is_u64() && !own.iter().any(|kind| line["kind"] == *kind)
    };
    assert_eq!(lines.iter().filter(is_event).count(), 20, "{}", ran.stdout);
}

#[test]
fn a_server_that_does_not_let_it_in_is_never_a_success() {
    let server = Served::start(&[]);
    let nobody = format!("http://{}", free_address());
    let ends: [&[&str]; 4] = [
        &["--count", "1"],
        &["--count", "2"],
        &["--for", "60s"],
        &["--until", "type == \"new-message\""],
    ];
    for end in ends {
        for url in [&server.url, &nobody] {
            let watch = ["watch", url, "--token", "not-a-token", "--headless"];
            let ran = check(&[&watch[..], end].concat(), 3, &["cannot watch: "]);
            assert!(!ran.stderr.contains("not-a-token"), "{}", ran.stderr);
        }
        for url in [&server.url, &nobody] {
            check(
                &[&["watch", url, "--tap", "--headless"][..], end].concat(),
                3,
                &[],
            );
        }
    }
    // Who waits for the refusal itself has got what was asked for.
    let refused = ["--until", "type == \"refused\"", "--headless"];
    let watch = ["watch", &server.url, "--token", "not-a-token"];
    check(&[&watch[..], &refused].concat(), 0, &[]);
}

#[test]
fn the_router_s_decisions_are_told_of_what_the_connections_got() {
    let mut lines = Lines::start(&[]);
    let message = lines.wait_for(&[("type", "new-message"), ("kind", "update")]);
    let decision = lines.wait("its decision", |line| {
        line["decisionOn"] == message["number"]
    });
    assert_eq!(decision["filter"], "all-interested-in-session");
    // Who is meant has the label that it has in the list; the sender was left out.
    let meant = decision["receivers"].as_array().expect("receivers");
    assert!(meant.contains(&message["conn"]), "{decision}");
    assert!(decision["skipped"].is_string(), "{decision}");
}

#[test]
fn what_was_awaited_and_did_not_come_is_incomplete() {
    // A recording that is hardly moving: nothing has to come about in time.
    let folder = TempDir::new().expect("a folder");
    let path = file(&folder, "minute.jsonl", &minute());
    let slow = [
        "watch",
        "--headless",
        "--open",
        &path,
        "--speed",
        "0.01",
        "--for",
        "100ms",
    ];
    check(
        &[&slow[..], &["--until", "type == \"never\""]].concat(),
        12,
        &["the time was over before", "never"],
    );
    check(&slow, 0, &[]);
    check(&["watch", "--headless", "--count", "0"], 0, &[]);
    check(
        &["watch", "--headless", "--until", "size >"],
        2,
        &["--until", "size >"],
    );
    check(
        &["watch", "--headless", "--filter", "sise > 3"],
        2,
        &["--filter", "did you mean size?"],
    );
}

#[test]
fn a_reader_that_leaves_ends_it_in_peace() {
    let mut child = touchstone(&["watch", "--headless"])
        .spawn()
        .expect("it starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    stdout.read_line(&mut String::new()).expect("a line");
    drop(stdout);
    let ended = child.wait_with_output().expect("its end");
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}

/// Waits for an event of which this is true.
#[track_caller]
fn shows(what: &str) {
    check(
        &["watch", "--headless", "--for", "60s", "--until", what],
        0,
        &[],
    );
}

#[test]
fn there_is_something_of_everything() {
    shows(r#"type == "new-message" && latency > 0.0 && seq > 0"#);
    shows(r#"kind == "ephemeral" && scope == "user""#);
    shows(r#"type == "rpc-call" && direction == "sent" && scope == "user""#);
    shows(r#"type == "rpc-request" && direction == "received" && link > 0"#);
    shows(r#"type == "rpc-call" && direction == "received" && latency > 0.0 && body.ok"#);
}

#[test]
fn a_signal_ends_it() {
    for sent in [Signal::INT, Signal::TERM] {
        let mut child = touchstone(&["watch", "--headless"])
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        assert!(lines.next().is_some_and(|line| line.is_ok()));
        signal(&child, sent);
        // Read to the end, so that the pipe is never full.
        assert!(lines.all(|line| line.is_ok()));
        assert_eq!(child.wait().expect("its end").code(), Some(130));
    }
}
