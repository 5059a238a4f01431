//! Runs while they last: metrics, and what ends them early.

use std::fs;
use std::io::{BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStderr};

use rustix::process::Signal;

use super::desk::{Desk, await_line, long, shown};
use crate::support::{Served, check, free_address, signal, touchstone};

/// A run of which all connections are there and work.
fn working(arguments: &[&str]) -> (Child, BufReader<ChildStderr>) {
    let mut child = touchstone(arguments).spawn().expect("the program starts");
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    await_line(&mut stderr, "work: 20 of 20");
    (child, stderr)
}

/// Whoever reads on keeps the program from waiting for room in the pipe.
#[track_caller]
fn ends(child: Child, mut stderr: BufReader<ChildStderr>, code: i32, told: &str) -> String {
    std::io::copy(&mut stderr, &mut std::io::sink()).expect("the rest");
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(code));
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(stdout.contains(told), "{stdout}");
    stdout
}

#[test]
fn metrics_are_served_while_the_run_lasts() {
    let desk = Desk::new();
    let long = long(&desk);
    let all = [
        "load",
        "--scenario",
        &long,
        "--duration",
        "20s",
        "--prometheus",
        "127.0.0.1:0",
    ];
    let mut child = touchstone(&all).spawn().expect("the program starts");
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    let told = await_line(&mut stderr, "metrics on http://");
    let address = told
        .trim()
        .trim_start_matches("metrics on http://")
        .trim_end_matches("/metrics");
    await_line(&mut stderr, "work: 20 of 20");
    let mut stream = TcpStream::connect(address).expect("a server of metrics");
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .expect("a request");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("an answer");
    for part in [
        "HTTP/1.1 200 OK",
        "openmetrics-text",
        "touchstone_load_connections_open 20",
        "# EOF",
    ] {
        assert!(page.contains(part), "no {part} in\n{page}");
    }
    check(
        &["load", "--prometheus", address],
        2,
        &["cannot serve metrics on", address, "in use"],
    );
    signal(&child, Signal::INT);
    std::io::copy(&mut stderr, &mut std::io::sink()).expect("the rest");
    assert_eq!(child.wait().expect("an end").code(), Some(130));
}

#[test]
fn ctrl_c_ends_a_run_with_its_report() {
    let desk = Desk::new();
    let (long, to) = (long(&desk), desk.json("report.json"));
    let [html, markdown] =
        ["html", "markdown"].map(|format| format!("{format}={}", shown(&desk.path(format))));
    let all = [
        "load",
        "--scenario",
        &long,
        "--duration",
        "20s",
        "--report",
        &to,
        "--report",
        &html,
        "--report",
        &markdown,
    ];
    let (child, mut stderr) = working(&all);
    signal(&child, Signal::INT);
    await_line(&mut stderr, "the report follows");
    let stdout = ends(child, stderr, 130, "INTERRUPTED");
    let report = desk.read("report.json");
    assert_eq!(report["interrupted"], true);
    // All rates are of the time that was.
    let phase = &report["phases"][1];
    let [lasted, planned, sent] =
        ["durationMs", "plannedMs", "sent"].map(|key| phase[key].as_f64().expect("a number"));
    assert_eq!(planned, 19_500.0);
    assert!(lasted < planned, "{phase}");
    let rate = phase["sentPerSecond"].as_f64().expect("a number");
    assert!((rate - sent * 1_000.0 / lasted).abs() < 0.01, "{phase}");
    let lasted = (lasted + 500.0) / 1_000.0;
    for (format, text) in [
        ("stdout", &stdout),
        (
            "html",
            &fs::read_to_string(desk.path("html")).expect("a page"),
        ),
        (
            "markdown",
            &fs::read_to_string(desk.path("markdown")).expect("a text"),
        ),
    ] {
        let told =
            format!("ended early, after {lasted:.1} s of 20.0 s, and all rates are of that time");
        assert!(text.contains(&told), "{format}: no {told:?} in\n{text}");
    }
    assert_eq!(report["audit"]["lost"], 0);
    assert!(
        report["audit"]["delivered"].as_u64() > Some(0),
        "{}",
        report["audit"]
    );
}

#[test]
fn a_server_that_is_not_there_or_dies_is_no_success() {
    let desk = Desk::new();
    let nowhere = format!("http://{}", free_address());
    check(&["load", &nowhere], 3, &["cannot prepare", &nowhere]);

    let server = Served::start(&[]);
    check(
        &["load", &server.url, "--path", "/elsewhere"],
        3,
        &[
            "no connection to",
            &format!("touchstone check {} --path /elsewhere says", server.url),
        ],
    );

    let mut server = Served::start(&[]);
    let (long, to) = (long(&desk), desk.json("report.json"));
    let all = [
        "load",
        &server.url,
        "--scenario",
        &long,
        "--duration",
        "25s",
        "--report",
        &to,
    ];
    let (child, stderr) = working(&all);
    server.child.kill().expect("it runs");
    ends(child, stderr, 3, "FAILED");
    assert!(desk.read("report.json")["failure"].is_string());
}
