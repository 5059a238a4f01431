//! `touchstone load`: plans, runs, objectives, reports, shards, and how runs end early.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::ChildStderr;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Ran, Served, check, free_address, signal, touchstone};

/// A short run whose generator may be as slow as the machine of the tests is.
pub(crate) const SMALL: &str = r#"
description = "a few of each, for a second"
[population]
accounts = 5
users = 5
sessions = 10
machines = 5
[connect]
ramp = "200ms"
[bounds]
lag-p99 = "30s"
cpu = 1
unsent = 1
[audit]
late-after = "10s"
[[phases]]
name = "connect"
duration = "500ms"
load = 0
counted = false
[[phases]]
name = "work"
duration = "1s"
[[traffic]]
from = "session"
event = "message"
every = "100ms"
[[traffic]]
from = "machine"
event = "machine-update-state"
every = "200ms"
"#;

/// A folder with scenarios, and places for reports.
pub(crate) struct Desk(TempDir);

impl Desk {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a scenario and returns its path.
    pub(crate) fn scenario(&self, text: &str) -> String {
        let path = self.path("small.toml");
        fs::write(&path, text).expect("a file");
        shown(&path)
    }

    /// `json=PATH`.
    pub(crate) fn json(&self, name: &str) -> String {
        format!("json={}", shown(&self.path(name)))
    }

    pub(crate) fn read(&self, name: &str) -> Value {
        let text = fs::read(self.path(name)).expect("a report");
        serde_json::from_slice(&text).expect("JSON")
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn plan(scenario: &str, more: &[&str]) -> Value {
    let all = [&["load", "plan", "--json", "--scenario", scenario], more].concat();
    serde_json::from_str(&check(&all, 0, &[]).stdout).expect("JSON")
}

#[test]
fn a_plan_is_the_same_each_time_and_needs_no_server() {
    let desk = Desk::new();
    let small = desk.scenario(SMALL);
    let one = plan(&small, &["--seed", "7"]);
    assert_eq!(one, plan(&small, &["--seed", "7"]));
    assert_ne!(one["digest"], plan(&small, &["--seed", "8"])["digest"]);
    assert_eq!(one["connections"], 20);
    assert!(one["deliveries"].as_u64() > one["emits"].as_u64(), "{one}");

    let told = check(
        &["load", "plan", "--scenario", &small, "--seed", "7"],
        0,
        &[],
    )
    .stdout;
    for part in [
        one["digest"].as_str().expect("a digest"),
        "20 connections",
        "deliveries/s",
    ] {
        assert!(told.contains(part), "no {part} in\n{told}");
    }
}

#[test]
fn every_built_in_scenario_is_listed_and_has_a_plan() {
    let listed = check(&["load", "--list"], 0, &[]).stdout;
    assert_eq!(listed.lines().count(), 7, "{listed}");
    for line in listed.lines() {
        let name = line.split_whitespace().next().expect("a name");
        assert!(
            plan(name, &["--scale", "0.01"])["emits"].as_u64() > Some(0),
            "{name}"
        );
    }
}

#[test]
fn shards_of_a_run_merge_to_the_whole() {
    let desk = Desk::new();
    let small = desk.scenario(SMALL);
    let server = Served::start(&[]);
    let load = |name: &str, more: &[&str]| {
        let to = desk.json(name);
        let base = ["load", &server.url, "--scenario", &small, "--report", &to];
        check(&[&base[..], more].concat(), 0, &[]);
    };
    load("whole.json", &[]);
    let mut files = Vec::new();
    for part in 1..=4 {
        let name = format!("{part}.json");
        load(&name, &["--shard", &format!("{part}/4")]);
        files.push(shown(&desk.path(&name)));
    }
    let merge = |files: &[String], code, parts: &[&str]| {
        let to = desk.json("sum.json");
        let mut all = vec!["load", "merge", "--report", &to];
        all.extend(files.iter().map(String::as_str));
        check(&all, code, parts)
    };
    merge(&files, 0, &[]);
    let (whole, sum) = (desk.read("whole.json"), desk.read("sum.json"));
    assert_eq!(sum["schedule"], whole["schedule"]);
    assert_eq!(sum["shard"]["parts"], serde_json::json!([1, 2, 3, 4]));
    for key in ["planned", "sent", "unsent"] {
        assert_eq!(sum["generator"][key], whole["generator"][key], "{key}");
    }
    assert_eq!(sum["connections"]["opened"], whole["connections"]["opened"]);
    assert_eq!(sum["audit"]["lost"], 0);

    merge(&files[..3], 2, &["no file has shard 4 of 4"]);
    // A shard that could not begin leaves an empty file where its output was sent to one.
    fs::write(desk.path("empty.json"), "").expect("a file");
    let with_empty = [&files[..3], &[shown(&desk.path("empty.json"))]].concat();
    merge(&with_empty, 2, &["empty.json is no touchstone-load report"]);
    let twice = [files[0].clone(), files[0].clone()];
    merge(&twice, 2, &["shard 1 of 4", "would count twice"]);
    let other = [files[0].clone(), shown(&desk.path("whole.json"))];
    merge(&other, 2, &["the number of shards is"]);
}

#[test]
fn every_format_reaches_its_file() {
    let desk = Desk::new();
    let small = desk.scenario(SMALL);
    let formats = [
        ("json", r#""format": "touchstone-load""#),
        ("html", "<!DOCTYPE html>"),
        ("markdown", "**PASSED**"),
        ("csv", "second,connections,"),
        ("svg", "<svg xmlns"),
        ("hgrm", "1/(1-Percentile)"),
        ("hlog", "#[StartTime:"),
    ];
    let mut all = vec!["load".to_owned(), "--scenario".to_owned(), small];
    for (format, _) in formats {
        let to = format!("{format}={}", shown(&desk.path(format)));
        all.extend(["--report".to_owned(), to]);
    }
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    let ran = check(&all, 0, &["finished"]);
    assert!(
        ran.stdout.contains("PASSED: 1 objective met"),
        "{}",
        ran.stdout
    );
    for (format, part) in formats {
        let written = fs::read_to_string(desk.path(format)).expect("a report");
        assert!(written.contains(part), "{format}: {written}");
    }
    let ran = check(
        &[&all[..3], &["--report", "csv=-"]].concat(),
        0,
        &["PASSED"],
    );
    assert!(ran.stdout.starts_with("second,"), "{}", ran.stdout);
}

#[test]
fn a_report_that_cannot_be_written_takes_no_other_with_it() {
    let desk = Desk::new();
    let small = desk.scenario(SMALL);
    let load = |reports: &[&str], code, parts: &[&str]| {
        let mut all = vec!["load", "--scenario", &small];
        for report in reports {
            all.extend(["--report", report]);
        }
        check(&all, code, parts)
    };
    let csv = format!("csv={}", shown(&desk.path("seconds.csv")));
    let ran = load(
        &[
            "json=/dev/full",
            &csv,
            "html=/dev/full",
            &desk.json("report.json"),
        ],
        12,
        &[
            "cannot write the report to /dev/full: No space left",
            "; /dev/full: No space left",
        ],
    );
    assert!(ran.stdout.contains("PASSED"), "{}", ran.stdout);
    assert_eq!(desk.read("report.json")["audit"]["lost"], 0);
    let seconds = fs::read_to_string(desk.path("seconds.csv")).expect("a report");
    assert!(seconds.starts_with("second,"), "{seconds}");

    // What cannot be written at all is known before the run.
    let nowhere = format!("json={}", shown(&desk.path("no/such/folder.json")));
    let ran = load(
        &[&nowhere],
        2,
        &["cannot write the report to", "no/such/folder.json"],
    );
    assert!(!ran.stderr.contains("preparing"), "{}", ran.stderr);
    let twice = format!("html={}", shown(&desk.path("./seconds.csv")));
    load(
        &[&csv, &twice],
        2,
        &["two reports cannot both go to", "seconds.csv"],
    );
    load(
        &["json", "csv=-"],
        2,
        &["two reports cannot both go to stdout"],
    );
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let desk = Desk::new();
    let small = desk.scenario(SMALL);
    let arguments = ["load", "--scenario", &small, "--report", "csv=-", "--quiet"];
    let mut child = touchstone(&arguments).spawn().expect("the program starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(0));
    // Nobody wanted progress; the summary follows what stdout was for.
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        !told.contains("preparing") && !told.contains("work:"),
        "{told}"
    );
    assert!(told.contains("PASSED"), "{told}");
}

#[test]
fn objectives_decide_the_exit_code() {
    let desk = Desk::new();
    let small = desk.scenario(SMALL);
    let with = |slo: &str, code, part: &str| {
        let ran = check(&["load", "--scenario", &small, "--slo", slo], code, &[]);
        assert!(ran.stdout.contains(part), "{}", ran.stdout);
    };
    with(
        "audit.delivered > 10 && latencyUs.connect.count == 20",
        0,
        "PASSED",
    );
    with("audit.delivered < 10", 20, "audit.delivered = ");
    let wrong = |slo: &str, part: &str| {
        check(&["load", "--scenario", &small, "--slo", slo], 2, &[part]);
    };
    wrong("audit.losst == 0", "did you mean audit.lost?");
    wrong("audit.lost = 0", "cannot read the objective");
    wrong("audit.lost", "gives a number, not true or false");
    let slo = "slo = [\"audit.lots == 0\"]\n";
    let stated = desk.scenario(&format!("{slo}{SMALL}"));
    check(
        &["load", "plan", "--scenario", &stated],
        2,
        &["small.toml: the objective", "did you mean audit.lost?"],
    );
    let met = desk.scenario(&format!("{}{SMALL}", slo.replace("lots", "misrouted")));
    let ran = check(&["load", "--scenario", &met], 0, &[]);
    assert!(
        ran.stdout.contains("slo met     audit.misrouted == 0"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_generator_beyond_its_bounds_makes_a_run_invalid() {
    let desk = Desk::new();
    let tight = desk.scenario(&SMALL.replace(r#"lag-p99 = "30s""#, r#"lag-p99 = "1us""#));
    let ran = check(&["load", "--scenario", &tight], 21, &[]);
    assert!(
        ran.stdout.contains("INVALID: the generator was the limit"),
        "{}",
        ran.stdout
    );
}

#[test]
fn scenarios_that_are_none_are_told_before_the_run() {
    let desk = Desk::new();
    let misspelt = desk.scenario(&SMALL.replace("lag-p99", "lag-p98"));
    check(
        &["load", "--scenario", &misspelt],
        2,
        &["lag-p98", "lag-p99"],
    );
    check(
        &["load", "--scenario", "prodction"],
        2,
        &["did you mean production?"],
    );
    check(
        &["load", "--scenario", "none.toml"],
        2,
        &["cannot read the scenario none.toml"],
    );
    check(&["load", "--report", "pdf=x"], 2, &["formats are json"]);
    check(
        &["load", "--start-at", "2020-01-01T00:00:00Z"],
        2,
        &["is over"],
    );
}

/// Reads progress until a line has this in it.
#[track_caller]
fn await_line(stderr: &mut BufReader<ChildStderr>, part: &str) -> String {
    let mut line = String::new();
    loop {
        line.clear();
        let length = stderr.read_line(&mut line).expect("text");
        assert!(length > 0, "the run ended before it said {part:?}");
        if line.contains(part) {
            return line;
        }
    }
}

/// A run that lasts until somebody ends it.
pub(crate) fn long(desk: &Desk) -> String {
    let text = SMALL.replace(r#"duration = "1s""#, r#"duration = "10m""#);
    desk.scenario(&text)
}

#[test]
fn ctrl_c_ends_a_run_with_its_report() {
    let desk = Desk::new();
    let (long, to) = (long(&desk), desk.json("report.json"));
    let all = [
        "load",
        "--scenario",
        &long,
        "--duration",
        "20s",
        "--report",
        &to,
    ];
    let mut child = touchstone(&all).spawn().expect("the program starts");
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    await_line(&mut stderr, "work: 20 of 20");
    signal(&child, Signal::INT);
    await_line(&mut stderr, "the report follows");
    // Whoever reads on keeps the program from waiting for room in the pipe.
    std::io::copy(&mut stderr, &mut std::io::sink()).expect("the rest");
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(130));
    assert!(String::from_utf8_lossy(&output.stdout).contains("INTERRUPTED"));
    let report = desk.read("report.json");
    assert_eq!(report["interrupted"], true);
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
        &["no connection to"],
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
    let mut child = touchstone(&all).spawn().expect("the program starts");
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    await_line(&mut stderr, "work: 20 of 20");
    server.child.kill().expect("it runs");
    std::io::copy(&mut stderr, &mut std::io::sink()).expect("the rest");
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stdout).contains("FAILED"));
    assert!(desk.read("report.json")["failure"].is_string());
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
fn repetitions_give_noise_bands_to_a_comparison() {
    let desk = Desk::new();
    let small = desk.scenario(SMALL);
    for name in ["a.json", "b.json"] {
        let to = desk.json(name);
        let all = [
            "load",
            "--scenario",
            &small,
            "--repeat",
            "2",
            "--report",
            &to,
        ];
        check(&all, 0, &[]);
    }
    let report = desk.read("a.json");
    assert_eq!(report["repeats"].as_array().map(Vec::len), Some(2));
    let (a, b) = (shown(&desk.path("a.json")), shown(&desk.path("b.json")));
    let told = check(&["compare", &a, &b], 0, &[]).stdout;
    for part in ["fanout p99 ms", "..", "lost"] {
        assert!(told.contains(part), "no {part} in\n{told}");
    }
    // Two runs each are few, and the comparison says so.
    assert!(told.contains("by chance for 33 of 100"), "{told}");
    let page = shown(&desk.path("page.html"));
    check(
        &["compare", &a, &b, "--report", &format!("html={page}")],
        0,
        &[],
    );
    let page = fs::read_to_string(page).expect("a page");
    assert!(page.contains("2 reports side by side"), "{page}");
    check(
        &["compare", &a, &b, "--report", "html=/dev/full"],
        12,
        &["No space left"],
    );

    let other = desk.path("other.json");
    fs::write(&other, r#"{"format": "touchstone-check", "version": 1}"#).expect("a file");
    check(
        &["compare", &a, &shown(&other)],
        2,
        &["not a touchstone-load report"],
    );
}

#[test]
fn a_trace_of_a_run_is_shown_and_sent_again() {
    let desk = Desk::new();
    let small = desk.scenario(SMALL);
    let (trace, replayed) = (shown(&desk.path("load.jsonl")), desk.json("replayed.json"));
    let all = ["load", "--scenario", &small, "--trace", &trace];
    check(&all, 0, &["trace: ", " records in "]);
    let text = fs::read_to_string(&trace).expect("a trace");
    let mut lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let header = lines.next().expect("a header");
    assert_eq!(header["format"], "touchstone-trace");
    let first = lines.next().expect("a record");
    assert_eq!(
        first["text"],
        "recorded: 4 of 20 connections, those of 1 of 5 accounts"
    );
    for line in lines {
        // In CONNECT, and in the answer that gave it.
        for place in ["/data/token", "/response/token"] {
            let token = line.pointer(place);
            assert!(token.is_none_or(|token| token == "a1…"), "{line}");
        }
    }
    let ran = check(&["watch", "--headless", "--open", &trace], 0, &[]);
    assert!(ran.stdout.contains("new-message"), "{}", ran.stdout);
    check(
        &["replay", &trace, "--as-fast", "--report", &replayed],
        0,
        &[],
    );
    let replayed = desk.read("replayed.json");
    let summary = &replayed["summary"];
    assert!(summary["same"].as_u64() > Some(20), "{replayed}");
    for count in ["different", "missing", "extra", "blocked", "notReplayable"] {
        assert_eq!(summary[count], 0, "{replayed}");
    }

    check(
        &["load", "--trace", "/nonexistent/t"],
        2,
        &["/nonexistent/t"],
    );
}

#[test]
fn a_spawned_server_is_loaded_and_ended() {
    let desk = Desk::new();
    let small = desk.scenario(SMALL);
    let address = free_address();
    let url = format!("http://{address}");
    let program = env!("CARGO_BIN_EXE_touchstone");
    let command = format!("{program} serve --listen {address}");
    let spawn = |command: &str, code, parts: &[&str]| {
        let all = ["load", &url, "--scenario", &small, "--spawn", command];
        check(&all, code, parts)
    };
    spawn(&command, 0, &[]);
    assert!(
        TcpStream::connect(&address).is_err(),
        "the server still runs"
    );
    spawn("sh -c 'echo no luck; exit 7'", 3, &["no luck"]);
    spawn("/no/such/program", 2, &["/no/such/program"]);
    check(&["load", "--spawn", &command], 2, &["<URL>"]);
    let other = Served::start(&[]);
    let taken = ["load", &other.url, "--spawn", "sh -c 'exit 7'"];
    check(&taken, 2, &[&other.url, "already", "hint:"]);
}

#[test]
fn a_spawned_server_that_dies_is_told_with_its_last_words() {
    let desk = Desk::new();
    let (long, to) = (long(&desk), desk.json("report.json"));
    let (address, sign) = (free_address(), desk.path("sign"));
    let program = env!("CARGO_BIN_EXE_touchstone");
    let command = format!(
        "sh -c '{program} serve --listen {address} & while [ ! -e {} ]; do sleep 0.1; done; \
         kill $!; echo out of fuel; exit 9'",
        sign.display()
    );
    let all = [
        "load",
        &address,
        "--spawn",
        &command,
        "--scenario",
        &long,
        "--report",
        &to,
    ];
    let mut child = touchstone(&all).spawn().expect("the program starts");
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    await_line(&mut stderr, "work: 20 of 20");
    fs::write(sign, "").expect("a file");
    std::io::copy(&mut stderr, &mut std::io::sink()).expect("the rest");
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(3));
    let failure = desk.read("report.json")["failure"].to_string();
    for part in ["no connection was open", "exit status: 9", "out of fuel"] {
        assert!(failure.contains(part), "no {part} in {failure}");
    }
}

/// A run that needs more open files than the system lets it have says so before it begins.
#[test]
fn too_few_open_files_are_told_with_the_number_that_is_needed() {
    let desk = Desk::new();
    let many = SMALL.replace("users = 5", "users = 300");
    let many = desk.scenario(&many);
    let limited = |script: &str| {
        let all = ["-c", script, "sh", env!("CARGO_BIN_EXE_touchstone"), &many];
        let output = std::process::Command::new("sh").args(all).output();
        Ran::from(output.expect("a shell"))
    };
    let ran = limited(r#"ulimit -n 200; exec "$1" load --scenario "$2""#);
    // The privileged raise any limit, and then there is nothing to be told.
    if limited("ulimit -n 200; ulimit -Hn 1000").code == 0 {
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        return;
    }
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    // 315 connections, of which each takes one file here and one in the embedded server, and spare.
    for part in [
        "needs 694 open files",
        "is 200",
        "ulimit -Hn 694",
        "--shard",
    ] {
        assert!(ran.stderr.contains(part), "no {part} in\n{}", ran.stderr);
    }
}
