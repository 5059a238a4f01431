//! What a run leaves: reports, sums of shards, comparisons, traces.

use std::fs;

use serde_json::Value;

use super::desk::{Desk, SMALL, shown};
use crate::support::{Served, check, touchstone};

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
            "; the report to /dev/full: No space left",
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
