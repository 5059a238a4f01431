//! `touchstone check` against servers that are fine, absent, something else, or fail in the middle.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::{fs, thread};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{
    Proxy, Served, Then, answer, check, free_address, listen, signal, touchstone,
};
use crate::values;

#[track_caller]
fn assert_all_passed(report: &str) {
    let last = report.lines().last().expect("a summary");
    // A server that was not started by `--spawn` is not killed.
    let all = last.strip_suffix(", 2 skipped");
    assert!(all.is_none() || report.contains("restart.keeps, restart.machines-offline"));
    let last = all.unwrap_or(last);
    assert!(
        last.ends_with(" passed") && !last.contains(", "),
        "{report}"
    );
}

#[test]
fn the_embedded_server_passes() {
    let traces = tempfile::tempdir().expect("a folder");
    let folder = traces.path().to_str().expect("UTF-8");
    let ran = check(&["check", "--trace", folder], 0, &[]);
    assert_all_passed(&ran.stdout);
    let unusual = values::unusual(traces.path());
    assert!(unusual.is_empty(), "{}", unusual.join("\n"));
    for text in [&ran.stdout, &ran.stderr] {
        assert!(!text.contains('\u{1b}'), "escape codes in a pipe: {text}");
    }
}

#[test]
fn another_process_passes_and_is_named() {
    let served = Served::start(&[]);
    let ran = check(&["check", &served.url, "--only", "rpc.*"], 0, &[]);
    assert!(ran.stdout.contains(&served.url), "{}", ran.stdout);
}

#[test]
fn a_fault_is_found_and_explained() {
    let ran = check(
        &["check", "--fault", "echo-to-sender", "--only", "message.*"],
        10,
        &[],
    );
    for part in [
        "expected",
        "got",
        "touchstone check --fault echo-to-sender --only",
    ] {
        assert!(ran.stdout.contains(part), "no {part:?} in\n{}", ran.stdout);
    }
}

#[test]
fn colours_when_asked_for() {
    let ran = check(&["check", "--only", "ping.*", "--color", "always"], 0, &[]);
    assert!(ran.stdout.contains('\u{1b}'), "{}", ran.stdout);
}

#[test]
fn a_server_that_cannot_be_judged_is_said_in_one_message() {
    let gone = format!("http://{}", free_address());
    check(&["check", &gone], 3, &[&gone, "cannot connect", "hint:"]);

    let html = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi";
    let web = listen(move |stream| answer(&stream, html));
    check(&["check", &web], 3, &[&web, "Socket.IO"]);

    let missing = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let web = listen(move |stream| answer(&stream, missing));
    check(&["check", &web], 3, &[&web, "404"]);

    let silent = listen(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    check(&["check", &silent], 3, &[&silent, "says nothing"]);

    let closing = listen(drop);
    check(&["check", &closing], 3, &[&closing]);

    let served = Served::start(&[]);
    let ran = check(
        &["check", &served.url, "--path", "/wrong"],
        3,
        &["/wrong", "/v1/updates"],
    );
    assert_eq!(ran.stdout, "");
}

#[test]
fn what_cannot_be_used_is_named() {
    check(&["check", "ftp://host"], 2, &["ftp", "http"]);
    check(&["check", "--only", "a["], 2, &["a["]);
    check(&["check", "--only", "nothing.at.all"], 4, &["--list"]);
    check(
        &["check", "--provision", "magic"],
        2,
        &["magic", "command:CMD"],
    );
    check(
        &["check", "--provision", "file:/no/such/file"],
        2,
        &["/no/such/file"],
    );
    check(&["check", "--report", "pdf=x"], 2, &["pdf=x", "json"]);
    check(
        &["check", "--report", "json=/no/such/folder/r.json"],
        2,
        &["/no/such/folder/r.json"],
    );
    check(
        &["check", "--fault", "no-such-fault"],
        2,
        &["no-such-fault"],
    );
    check(
        &["check", "http://127.0.0.1:1", "--fault", "lost-update"],
        2,
        &["--fault"],
    );
    check(
        &["check", "http://127.0.0.1:1", "--spawn", "'unclosed"],
        2,
        &["unclosed"],
    );
    check(&["check", "--jobs", "0"], 2, &["--jobs"]);
}

#[test]
fn a_spawned_server_is_started_and_ended() {
    let address = free_address();
    let program = env!("CARGO_BIN_EXE_touchstone");
    let command = format!("{program} serve --listen {address}");
    let url = format!("http://{address}");
    check(
        &["check", &url, "--spawn", &command, "--only", "ping.*"],
        0,
        &[],
    );
    assert!(
        std::net::TcpStream::connect(&address).is_err(),
        "the server still runs"
    );

    check(
        &["check", &url, "--spawn", "sh -c 'echo no luck; exit 7'"],
        3,
        &["no luck"],
    );
    let other = Served::start(&[]);
    let taken = ["check", &other.url, "--spawn", "sh -c 'exit 7'"];
    check(&taken, 2, &[&other.url, "already", "hint:"]);
    check(
        &["check", &url, "--spawn", "/no/such/program"],
        2,
        &["/no/such/program"],
    );
}

#[test]
fn a_server_that_dies_in_the_middle_makes_the_run_incomplete() {
    let served = Served::start(&[]);
    let proxy = Proxy::start(served.address(), 40, Then::Die);
    let ran = check(&["check", &proxy.url], 12, &[]);
    let accused = ran.stdout.lines().find(|line| line.starts_with("FAIL"));
    assert_eq!(accused, None, "it is nobody's fault: {}", ran.stdout);
    let blocks = ran
        .stdout
        .matches("ERROR the server stopped answering")
        .count();
    assert_eq!(blocks, 1, "one message for all: {}", ran.stdout);
    assert!(ran.stdout.contains("stopped answering"), "{}", ran.stdout);
}

#[test]
fn an_interrupted_run_still_reports() {
    let served = Served::start(&[]);
    let proxy = Proxy::start(served.address(), 40, Then::Freeze);
    let folder = tempfile::tempdir().expect("a folder");
    let report = folder.path().join("report.json");
    let to = format!("json={}", report.display());
    let mut child = touchstone(&["check", &proxy.url, "--report", &to])
        .spawn()
        .expect("the program starts");
    while !proxy.failed.load(Ordering::SeqCst) {
        assert!(
            child.try_wait().expect("a child").is_none(),
            "it ended by itself"
        );
        thread::yield_now();
    }
    signal(&child, Signal::INT);
    let mut said = String::new();
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    stderr.read_line(&mut said).expect("a notice");
    assert!(said.contains("again to stop at once"), "{said}");
    signal(&child, Signal::INT);
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(130));
    let report: Value = serde_json::from_slice(&fs::read(report).expect("a report")).expect("JSON");
    assert_eq!(report["format"], "touchstone-check");
    let summary = &report["summary"];
    assert_eq!(summary["interrupted"], true, "{summary}");
    assert!(summary["blocked"].as_u64() > Some(0), "{summary}");
}

#[test]
fn waiting_for_a_spawned_server_can_be_interrupted() {
    let folder = tempfile::tempdir().expect("a folder");
    let started = folder.path().join("started");
    let command = format!(
        "sh -c 'echo compiling; touch {}; sleep 600'",
        started.display()
    );
    let url = format!("http://{}", free_address());
    let mut child = touchstone(&["check", &url, "--spawn", &command])
        .spawn()
        .expect("the program starts");
    while !started.exists() {
        let ended = child.try_wait().expect("a child");
        assert!(ended.is_none(), "it ended by itself");
        thread::yield_now();
    }
    signal(&child, Signal::INT);
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(130));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("interrupted before"), "{said}");
    assert!(said.contains("compiling"), "{said}");
}

#[test]
fn reports_reach_files_and_pipes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("report.json");
    let to = format!("json={}", path.display());
    check(&["check", "--only", "ping.*", "--report", &to], 0, &[]);
    let report: Value = serde_json::from_slice(&fs::read(&path).expect("a report")).expect("JSON");
    assert_eq!(report["summary"]["fail"], 0);

    let ran = check(
        &["check", "--only", "ping.*", "--report", "json=-"],
        0,
        &[" passed"],
    );
    let report: Value = serde_json::from_str(&ran.stdout).expect("nothing but JSON on stdout");
    assert_eq!(report["format"], "touchstone-check");
}

#[test]
fn a_full_disk_loses_no_verdict() {
    let ran = check(
        &["check", "--only", "ping.*", "--report", "json=/dev/full"],
        12,
        &["/dev/full"],
    );
    assert_all_passed(&ran.stdout);
}

#[test]
fn what_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let traces = folder.path().to_str().expect("a path");
    // Where a trace has to be stands something else.
    fs::create_dir(folder.path().join("ping.answer.jsonl")).expect("a folder");
    let expected = format!("cannot write the traces to {traces}: ping.answer.jsonl: ");
    let ping = ["check", "--only", "ping.*"];
    let ran = check(
        &[&ping[..], &["--trace", traces]].concat(),
        12,
        &[&expected],
    );
    assert_all_passed(&ran.stdout);
    let baseline = [&ping[..], &["--write-baseline", "/dev/full"]].concat();
    check(&baseline, 12, &["cannot write the baseline to /dev/full"]);
    check(
        &[&ping[..], &["--report", "jsn=x"]].concat(),
        2,
        &["did you mean json?"],
    );
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let mut child = touchstone(&["check", "--list"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
