//! What a failure shows to a person who has to mend it, and how a run is repeated.

use std::fs;

use serde_json::Value;

use crate::support::{Served, check, run};
use crate::terminal::Terminal;

/// The report of a run with this fault, as JSON.
fn report(fault: &str, case: &str) -> Value {
    let ran = check(
        &[
            "check", "--fault", fault, "--only", case, "--report", "json=-",
        ],
        10,
        &[],
    );
    serde_json::from_str(&ran.stdout).expect("a report")
}

fn failure<'r>(report: &'r Value, case: &str) -> &'r Value {
    let cases = report["cases"].as_array().expect("cases");
    let case = cases.iter().find(|it| it["id"] == case).expect("the case");
    &case["failure"]
}

/// The lines of the trace that have this part in the failure.
fn lines<'f>(failure: &'f Value, part: &str) -> Vec<&'f Value> {
    let trace = failure["trace"].as_array().expect("a trace");
    trace.iter().filter(|line| line["part"] == part).collect()
}

#[test]
fn the_lines_that_made_the_verdict_are_marked() {
    let report = report("wrong-session", "message.recipients");
    let failure = failure(&report, "message.recipients");
    let said = |part| {
        let lines = lines(failure, part);
        let said = lines
            .iter()
            .map(|line| (line["conn"].clone(), line["text"].to_string()));
        said.collect::<Vec<_>>()
    };
    let [(conn, text)] = &said("cause")[..] else {
        panic!("not one cause: {failure:#}");
    };
    assert!(conn == "u1" && text.contains("message {"), "{text}");
    let [(conn, text)] = &said("wrong")[..] else {
        panic!("not one wrong line: {failure:#}");
    };
    assert!(conn == "s2" && text.contains("new-message"), "{text}");
    let [(conn, text)] = &said("proof")[..] else {
        panic!("not one proof: {failure:#}");
    };
    assert!(conn == "s2" && text.contains("sentinel"), "{text}");
    let trace = failure["trace"].as_array().expect("a trace");
    let marked: Vec<_> = (0..trace.len())
        .filter(|&at| trace[at].get("part").is_some())
        .collect();
    let focus: Vec<usize> = serde_json::from_value(failure["focus"].clone()).expect("places");
    assert_eq!(focus, marked);
    assert!(
        failure["cause"]
            .as_str()
            .is_some_and(|cause| cause.len() > 20)
    );
}

#[test]
fn what_did_not_come_is_named_and_proved() {
    let report = report("session-deaf-message", "message.recipients");
    let failure = failure(&report, "message.recipients");
    let missing = failure["missing"].as_array().expect("connections");
    assert!(missing.contains(&"s1".into()), "{failure:#}");
    assert!(!lines(failure, "cause").is_empty(), "{failure:#}");
    let proves = |line: &&&Value| line["conn"] == "s1";
    assert_eq!(
        lines(failure, "proof").iter().filter(proves).count(),
        1,
        "{failure:#}"
    );
}

#[test]
fn a_terminal_shows_it_on_twenty_rows() {
    let terminal = Terminal::start(&[
        "check",
        "--fault",
        "wrong-session",
        "--only",
        "message.recipients",
        "--color",
        "never",
    ]);
    let text = terminal.ends(10);
    let trace = text
        .split_once("the lines that made it")
        .and_then(|(_, rest)| rest.split_once("repeat with"))
        .expect("a trace")
        .0;
    let rows: usize = trace
        .lines()
        .map(|line| {
            line.trim_end_matches('\r')
                .chars()
                .count()
                .div_ceil(80)
                .max(1)
        })
        .sum();
    assert!(rows <= 20, "{rows} rows: {trace}");
    for part in ["cause ", "wrong ", "proof "] {
        assert!(trace.contains(part), "{part}: {trace}");
    }
    assert!(text.contains("typical cause: "), "{text}");
    assert!(
        text.contains("touchstone watch --open traces/message.recipients.jsonl"),
        "{text}"
    );
}

#[test]
fn one_mistake_is_told_once_and_in_full_on_demand() {
    let arguments = ["check", "--fault", "stale-accept", "--only", "session.*"];
    let ran = run(&arguments);
    let full = run(&[&arguments[..], &["--full"]].concat());
    let told = |text: &str| text.matches("typical cause: ").count();
    assert_eq!(told(&ran.stdout), 1, "{}", ran.stdout);
    assert!(told(&full.stdout) > 3, "{}", full.stdout);
    let end = ran
        .stdout
        .lines()
        .rev()
        .take(12)
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        end.contains("fail   session.update-metadata.race "),
        "{end}"
    );
    assert!(!ran.stdout.contains("\ndialect\n"));
    let card = run(&["check", "--only", "handshake.numbers", "--dialect"]);
    assert!(card.stdout.contains("\ndialect\n"), "{}", card.stdout);
}

#[test]
fn a_run_ends_at_its_first_failure_and_what_failed_runs_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("first.json");
    let to = format!("json={}", file.display());
    let arguments = [
        "check",
        "--fault",
        "stale-accept",
        "--only",
        "session.*",
        "--jobs",
        "1",
    ];
    check(
        &[&arguments[..], &["--fail-fast", "--report", &to]].concat(),
        10,
        &[],
    );
    let first: Value =
        serde_json::from_str(&fs::read_to_string(&file).expect("a report")).expect("JSON");
    assert_eq!(first["summary"]["fail"], 1, "{:#}", first["summary"]);
    let cases = first["cases"].as_array().expect("cases");
    let never = cases.iter().filter(|case| {
        let reason = case["reason"].as_str().unwrap_or_default();
        case["verdict"] == "blocked" && reason.contains("--fail-fast")
    });
    assert!(never.count() > 3, "{:#}", first["summary"]);

    let passed = ["check", "--only", "session.unknown", "--report", &to];
    check(&passed, 0, &[]);
    let named = file.display().to_string();
    check(&["check", "--rerun", &named], 4, &["no case failed in"]);

    let failed = [
        "check",
        "--fault",
        "stale-accept",
        "--only",
        "session.u*",
        "--report",
        &to,
    ];
    check(&failed, 10, &[]);
    let ran = check(&["check", "--rerun", &named, "--list"], 0, &[]);
    assert!(
        ran.stdout.contains("session.update-metadata.race"),
        "{}",
        ran.stdout
    );
    assert!(!ran.stdout.contains("session.unknown"), "{}", ran.stdout);
}

#[test]
fn with_several_nodes_a_failure_says_which_connection_was_where() {
    let served = Served::start(&["--fault", "wrong-session"]);
    let port = served.address().port();
    let nodes = ["127.0.0.1", "localhost"].map(|host| format!("http://{host}:{port}"));
    let ran = run(&[
        "check",
        &nodes[0],
        &nodes[1],
        "--only",
        "message.recipients",
        "--report",
        "json=-",
    ]);
    let report: Value = serde_json::from_str(&ran.stdout).expect("a report");
    let case = &report["cases"][0];
    let of = |conn: &str| case["nodes"][conn].as_str().unwrap_or_default().to_owned();
    let all: std::collections::BTreeSet<_> = ["u1", "u2", "s1", "s2"].map(of).into();
    assert_eq!(all, nodes.into(), "{case:#}");
    assert!(ran.stderr.contains("nodes: "), "{}", ran.stderr);
}

#[test]
fn the_reason_that_a_server_gives_with_an_event_is_told() {
    let served = Served::start(&["--liberty", "refusal-by-event"]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("accounts.toml");
    fs::write(&file, "[[accounts]]\ntoken = \"unknown\"\n").expect("a file");
    let url = format!("http://{}", served.address());
    let provision = format!("file:{}", file.display());
    check(
        &["check", &url, "--provision", &provision],
        3,
        &["Invalid authentication token"],
    );
}
