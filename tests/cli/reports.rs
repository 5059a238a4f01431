//! What a run leaves behind: reports in every format, baselines, traces, and comparisons of them.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{check, touchstone};

/// A run with one known failure, quick and the same each time.
const FAULTY: &[&str] = &[
    "check",
    "--fault",
    "echo-to-sender",
    "--only",
    "message.recipients",
    "--only",
    "ping.*",
];

/// A run without failures of the same cases.
const RIGHT: &[&str] = &["check", "--only", "message.recipients", "--only", "ping.*"];

fn with<'a>(arguments: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [arguments, more].concat()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn every_format_reaches_its_file_and_stdout() {
    let folder = tempfile::tempdir().expect("a folder");
    for (format, part) in [
        ("json", r#""format": "touchstone-check""#),
        ("junit", r#"<testcase name="message.recipients""#),
        ("markdown", "## fail: `message.recipients`"),
        ("html", "<!DOCTYPE html>"),
        ("github", "::error title=message.recipients failed::MUST"),
    ] {
        let path = folder.path().join(format);
        let to = format!("{format}={}", path.display());
        check(&with(FAULTY, &["--report", &to]), 10, &[]);
        let written = fs::read_to_string(&path).expect("a report");
        assert!(written.contains(part), "{format}: {written}");

        let to = format!("{format}=-");
        let ran = check(&with(FAULTY, &["--report", &to]), 10, &["1 failed"]);
        assert!(ran.stdout.contains(part), "{format}: {}", ran.stdout);
    }
    check(
        &with(RIGHT, &["--report", "json=-", "--report", "github"]),
        2,
        &["both go to stdout"],
    );
}

#[test]
fn a_baseline_forgives_what_it_lists_and_goes_stale() {
    let folder = tempfile::tempdir().expect("a folder");
    let (known, empty) = (
        folder.path().join("known.toml"),
        folder.path().join("none.toml"),
    );
    let (known, empty) = (shown(&known), shown(&empty));
    check(&with(FAULTY, &["--write-baseline", &known]), 10, &[]);
    let ran = check(&with(FAULTY, &["--baseline", &known]), 0, &[]);
    assert!(
        ran.stdout.contains("KNOWN message.recipients"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.ends_with("1 failed (1 known)\n"),
        "{}",
        ran.stdout
    );

    let ran = check(&with(RIGHT, &["--baseline", &known]), 11, &[]);
    let line = format!("{known}:9: message.recipients: it no longer fails");
    assert!(ran.stdout.contains(&line), "{}", ran.stdout);
    // What is not selected is neither known to fail nor to pass.
    check(&["check", "--only", "ping.*", "--baseline", &known], 0, &[]);

    // Files combine, and an entry for nothing is told.
    check(&with(RIGHT, &["--write-baseline", &empty]), 0, &[]);
    check(&with(FAULTY, &["--baseline", &empty]), 10, &[]);
    check(
        &with(FAULTY, &["--baseline", &empty, "--baseline", &known]),
        0,
        &[],
    );
    let text = fs::read_to_string(&known).expect("a baseline");
    let renamed = text.replace("message.recipients", "message.no-such-case");
    fs::write(&empty, renamed).expect("a file");
    let ran = check(
        &with(FAULTY, &["--baseline", &known, "--baseline", &empty]),
        11,
        &[],
    );
    assert!(ran.stdout.contains("matches no case"), "{}", ran.stdout);

    // Writing keeps reasons, and drops what is stale.
    fs::write(&known, text.replace("not explained yet", "we know")).expect("a file");
    let more = [
        "--baseline",
        &known,
        "--baseline",
        &empty,
        "--write-baseline",
        &known,
    ];
    check(&with(FAULTY, &more), 11, &[]);
    let text = fs::read_to_string(&known).expect("a baseline");
    assert!(
        text.contains("we know") && !text.contains("no-such-case"),
        "{text}"
    );
}

#[test]
fn a_baseline_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = shown(&folder.path().join("known.toml"));
    check(&["check", "--baseline", &path], 2, &[&path, "cannot read"]);
    fs::write(&path, "format = \"touchstone-baseline\"\nversion = 9").expect("a file");
    check(&["check", "--baseline", &path], 2, &[&path, "version 9"]);
    check(
        &["check", "--write-baseline", "/no/such/folder/b.toml"],
        2,
        &["/no/such/folder"],
    );
}

#[test]
fn traces_are_one_file_for_each_case() {
    let folder = tempfile::tempdir().expect("a folder");
    let traces = folder.path().join("traces");
    check(&with(FAULTY, &["--trace", &shown(&traces)]), 10, &[]);
    let trace = fs::read_to_string(traces.join("message.recipients.jsonl")).expect("a trace");
    let mut lines = trace
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect(line));
    assert_eq!(
        lines.next().expect("a header")["format"],
        "touchstone-trace"
    );
    let mut tokens = 0;
    for line in lines {
        if let Some(token) = line["data"]["token"].as_str() {
            tokens += 1;
            assert!(
                token.ends_with('…') && token.chars().count() <= 7,
                "{token}"
            );
        }
    }
    assert!(tokens > 0, "nobody connected: {trace}");
    assert!(traces.join("ping.answer.jsonl").exists());
}

#[test]
fn two_runs_are_compared() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| shown(&folder.path().join(name));
    let (right, faulty, page) = (file("right.json"), file("faulty.json"), file("page.html"));
    check(
        &with(RIGHT, &["--report", &format!("json={right}")]),
        0,
        &[],
    );
    check(
        &with(FAULTY, &["--report", &format!("json={faulty}")]),
        10,
        &[],
    );

    let to = format!("html={page}");
    let ran = check(&["compare", &right, &faulty, "--report", &to], 10, &[]);
    assert!(
        ran.stdout
            .contains("newly fails: 1 case\n  message.recipients"),
        "{}",
        ran.stdout
    );
    let written = fs::read_to_string(&page).expect("a page");
    assert!(written.contains("2 reports side by side"), "{written}");

    let ran = check(&["compare", &faulty, &right], 0, &[]);
    assert!(
        ran.stdout.contains("no longer fails: 1 case"),
        "{}",
        ran.stdout
    );
    let ran = check(&["compare", &right, &right, &faulty], 10, &[]);
    assert!(
        ran.stdout.contains("pass     pass     fail"),
        "{}",
        ran.stdout
    );

    check(&["compare", &right], 2, &["2"]);
    check(
        &["compare", &right, "/no/such/report"],
        2,
        &["/no/such/report"],
    );
    check(
        &["compare", &right, &page],
        2,
        &[&page, "no touchstone-check report"],
    );
    check(
        &["compare", &right, &faulty, "--report", "pdf=x"],
        2,
        &["pdf=x", "html=PATH"],
    );
    let text = fs::read_to_string(&right).expect("a report");
    fs::write(&faulty, text.replace(r#""version": 1"#, r#""version": 2"#)).expect("a file");
    check(&["compare", &right, &faulty], 2, &[&faulty, "version 2"]);
}

#[test]
fn cases_are_listed_for_machines() {
    let list = |more: &[&str]| {
        let output = touchstone(&with(&["check", "--list", "--only", "ping.*"], more))
            .output()
            .expect("it starts");
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stdout).expect("text")
    };
    let listed: Value = serde_json::from_str(&list(&["--report", "json=-"])).expect("JSON");
    assert_eq!(listed["format"], "touchstone-cases");
    let cases = listed["cases"].as_array().expect("cases");
    assert_eq!(cases.len(), list(&[]).lines().count());
    check(&["check", "--list", "--report", "html=x"], 2, &["json=-"]);
}
