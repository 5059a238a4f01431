//! `touchstone replay`: recordings sent to the server that they came from, to one with a fault, and to
//! none; and the failure of a case, mended and not.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::sync_channel;
use std::thread::spawn;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Proxy, Ran, Served, Then, check, run, signal, touchstone};

const CASE: &str = "session.update-metadata.success";
/// A fault that the case above fails with.
const FAULT: &str = "lost-update=2";
/// One that it fails with at once, since nothing is waited for in vain.
const WRONG: &str = "version-plus-two";

/// Records the case against the embedded server, with or without a fault, and gives the trace's path.
fn recorded(folder: &Path, faults: &[&str]) -> String {
    let traces = folder.join("traces").display().to_string();
    let mut arguments = vec!["check", "--only", CASE, "--trace", &traces];
    for fault in faults {
        arguments.extend(["--fault", fault]);
    }
    run(&arguments);
    format!("{traces}/{CASE}.jsonl")
}

/// Replays it as fast as the server allows.
#[track_caller]
fn replayed(trace: &str, arguments: &[&str], code: i32, part: &str) -> Ran {
    let all = [&["replay", trace, "--as-fast"], arguments].concat();
    let ran = check(&all, code, &[]);
    let told = format!("{}{}", ran.stdout, ran.stderr);
    assert!(told.contains(part), "no {part:?} in {told}");
    ran
}

#[track_caller]
fn report(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).expect("stdout is JSON")
}

#[test]
fn the_same_server_does_the_same_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let trace = recorded(folder.path(), &[]);
    let ran = replayed(
        &trace,
        &["--report", "json=-"],
        0,
        " 0 different, 0 missing, 0 extra",
    );
    let report = report(&ran);
    assert_eq!(report["format"], "touchstone-replay");
    // Who receives what while its connection opens is an observation.
    let items = report["traces"][0]["items"].as_array().expect("items");
    assert!(
        items.iter().all(|item| item["outcome"] == "observed"),
        "{report}"
    );
    assert!(report["summary"]["same"].as_u64() > Some(10), "{report}");
}

#[test]
fn a_server_with_a_fault_differs_in_just_that() {
    let folder = tempfile::tempdir().expect("a folder");
    let trace = recorded(folder.path(), &[]);
    let ran = replayed(
        &trace,
        &["--fault", FAULT, "--report", "json=-"],
        10,
        "missing",
    );
    let report = report(&ran);
    let items = report["traces"][0]["items"].as_array().expect("items");
    let settled: Vec<_> = items
        .iter()
        .filter(|item| item["outcome"] != "observed")
        .collect();
    assert!(!settled.is_empty());
    for item in settled {
        assert_eq!(item["outcome"], "missing", "{item}");
        assert!(
            item["what"]
                .as_str()
                .is_some_and(|what| what.starts_with("update ")),
            "{item}"
        );
    }
}

#[test]
fn a_failure_is_mended_or_not_or_cannot_be_judged() {
    let folder = tempfile::tempdir().expect("a folder");
    let trace = recorded(folder.path(), &[WRONG]);
    replayed(&trace, &[], 0, &format!("FIXED: {CASE} passes now"));
    let fault = ["--fault", WRONG];
    replayed(&trace, &fault, 10, &format!("FAILED: {CASE} still fails"));
    let nobody = ["--against", "http://127.0.0.1:1"];
    replayed(
        &trace,
        &nobody,
        3,
        &format!("ERROR: {CASE} could not be judged"),
    );
}

/// Two writers race in this case, so that its answers are not compared: the judge finds what is wrong.
#[test]
fn what_no_right_server_does_is_fixed_or_failed() {
    const RACE: &str = "session.update-metadata.race";
    let folder = tempfile::tempdir().expect("a folder");
    let record = |name: &str, fault: &[&str]| {
        let traces = folder.path().join(name).display().to_string();
        run(&[&["check", "--only", RACE, "--trace", &traces], fault].concat());
        // Its verdict is the case's; without it only the histories are judged.
        let path = folder.path().join(name).join(format!("{RACE}.jsonl"));
        let text = std::fs::read_to_string(&path).expect("a trace");
        let unjudged = text.lines().filter(|line| !line.contains("verdict: "));
        std::fs::write(&path, unjudged.collect::<Vec<_>>().join("\n")).expect("a trace");
        path.display().to_string()
    };
    let wrong = ["--fault", "stale-accept"];
    let (right, broken) = (record("right", &[]), record("broken", &wrong));
    let step = "SHOULD session.version-step";
    let ran = replayed(
        &right,
        &wrong,
        10,
        &format!("  {step}, not in the recording"),
    );
    assert!(ran.stdout.contains("\nFAILED "), "{}", ran.stdout);
    let (again, mended) = (
        run(&["replay", &broken, "--as-fast", "--fault", "stale-accept"]),
        run(&["replay", &broken, "--as-fast"]),
    );
    let both = format!("  {step}, as in the recording");
    assert!(again.stdout.contains(&both), "{}", again.stdout);
    let fixed = format!("  {step}, in the recording only (lines ");
    assert!(mended.stdout.contains(&fixed), "{}", mended.stdout);
    assert!(mended.stdout.contains("\nFIXED "), "{}", mended.stdout);
    // What the recording shows to be wrong is not asked of a right server.
    assert_eq!(mended.code, 0, "{}", mended.stdout);
}

#[test]
fn a_token_that_was_not_to_be_given_is_in_no_report() {
    const CASE: &str = "rest.bad-signature";
    let folder = tempfile::tempdir().expect("a folder");
    let traces = folder.path().display().to_string();
    check(&["check", "--only", CASE, "--trace", &traces], 0, &[]);
    let fault = ["--fault", "signature-unchecked"];
    for format in ["pretty", "json=-", "markdown=-", "html=-"] {
        let replay = ["replay", &traces, "--as-fast", "--report", format];
        let ran = run(&[&replay[..], &fault].concat());
        assert_eq!(ran.code, 10, "{}", ran.stderr);
        let (_, told) = ran.stdout.split_once("/body/token").expect(&ran.stdout);
        let told: String = told.chars().take(400).collect();
        assert!(told.contains('…'), "{told}");
        let has_token = told
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(|word| word.len() > 30);
        assert!(!has_token, "{told}");
    }
}

#[test]
fn what_is_no_recording_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("x.jsonl");
    let name = file.display().to_string();
    replayed(&name, &[], 2, "cannot read the trace");
    std::fs::write(&file, "{}\n").expect("a file");
    replayed(&name, &[], 2, "not a touchstone-trace file");
    let head = r#"{"format":"touchstone-trace","version":1,"tool":"t","target":"x","startedAt":1}"#;
    std::fs::write(&file, head).expect("a file");
    let ran = replayed(&name, &[], 2, "nothing to replay");
    assert!(
        ran.stderr.contains("hint: `touchstone check --trace DIR`"),
        "{}",
        ran.stderr
    );
    // Its recorder was killed, or its disk was full.
    std::fs::write(&file, format!("{head}\n{{\"tUs\":1,\"co")).expect("a file");
    replayed(&name, &[], 2, "line 2: EOF");
}

/// Cases of every kind: races, refusals, raw frames, attachments, half-closed and silent connections.
const KINDS: &[&str] = &[
    "artifact.*",
    "handshake.*",
    "hazard.binary",
    "hazard.numbers",
    "machine.*",
    "message.*",
    "order.*",
    "rest.*",
    "router.*",
    "server.half-close",
    "session.*",
    "transport.bad-connect",
    "transport.before-connect",
    "transport.garbage",
    "transport.second-connect",
    "usage.*",
    "values.*",
];

#[test]
fn whatever_a_case_does_can_be_done_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let traces = folder.path().join("traces").display().to_string();
    let mut arguments = vec!["check", "--trace", &traces];
    for kind in KINDS {
        arguments.extend(["--only", kind]);
    }
    run(&arguments);
    // What is otherwise is told by the terminal's report; the JSON has everything that is the same.
    let file = folder.path().join("report.json");
    let json = format!("json={}", file.display());
    let ran = replayed(&traces, &["--jobs", "8", "--report", &json], 0, " traces: ");
    let report = std::fs::read_to_string(file).expect("a report");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let replayed = report["traces"].as_array().expect("traces");
    assert!(replayed.len() > 80, "{} traces", replayed.len());
    let paths = replayed.iter().filter_map(|trace| trace["path"].as_str());
    assert!(
        paths
            .into_iter()
            .any(|path| path.ends_with("session.contention.jsonl"))
    );
    let outcomes = [
        "different",
        "missing",
        "extra",
        "blocked",
        "notReplayable",
        "fixed",
        "failed",
    ];
    for outcome in outcomes {
        assert_eq!(report["summary"][outcome], 0, "{}", ran.stderr);
    }
}

#[test]
fn of_several_traces_one_that_is_none_does_not_hide_the_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = recorded(folder.path(), &[]);
    let bad = folder.path().join("traces/zzz.jsonl");
    let newer =
        r#"{"format":"touchstone-trace","version":2,"tool":"t","target":"x","startedAt":1}"#;
    std::fs::write(&bad, newer).expect("a file");
    let traces = Path::new(&good)
        .parent()
        .expect("a folder")
        .display()
        .to_string();
    let ran = replayed(&traces, &["--report", "json=-"], 2, "not replayed: ");
    let report = report(&ran);
    assert_eq!(report["traces"][0]["summary"]["different"], 0);
    let why = report["traces"][1]["error"].as_str().expect("an error");
    assert!(why.contains("version 2 is newer than 1"), "{why}");
}

#[test]
fn no_trace_holds_a_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let traces = folder.path().join("traces").display().to_string();
    run(&[
        "check",
        "--only",
        "transport.bad-connect",
        "--trace",
        &traces,
    ]);
    let trace = format!("{traces}/transport.bad-connect.jsonl");
    let text = std::fs::read_to_string(trace).expect("a trace");
    // A CONNECT whose auth is the token itself, outside of any object.
    assert!(text.contains(r#""text":"40\"a1…\"""#), "{text}");
}

#[test]
fn reports_go_where_they_are_asked_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let trace = recorded(folder.path(), &[]);
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (json, markdown) = (path("r.json"), path("r.md"));
    let asked = [format!("json={json}"), format!("markdown={markdown}")];
    let both = [
        "--report", &asked[0], "--report", &asked[1], "--fault", FAULT,
    ];
    replayed(&trace, &both, 10, "missing");
    let text = std::fs::read_to_string(json).expect("a report");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(report["target"]["name"], "the embedded reference server");
    let page = std::fs::read_to_string(markdown).expect("a report");
    assert!(
        page.starts_with("# touchstone replay: `the embedded reference server`"),
        "{page}"
    );
    assert!(page.contains("\n- **missing** at "), "{page}");

    let full = replayed(&trace, &["--report", "json=/dev/full"], 12, "No space left");
    assert!(
        full.stdout.contains(" 0 different, 0 missing, 0 extra"),
        "{}",
        full.stdout
    );
    // Nobody waits for a replay whose report then cannot be written.
    let nowhere = format!("json={}", path("no/such/r.json"));
    let ran = replayed(
        &trace,
        &["--report", &nowhere],
        2,
        "cannot write the report to",
    );
    assert_eq!(ran.stdout, "");
    let twice = ["--report", "json=-", "--report", "markdown"];
    replayed(&trace, &twice, 2, "both go to stdout");
    replayed(
        &trace,
        &["--report", "junit=x"],
        2,
        "formats are json, markdown, html and pretty",
    );
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let trace = recorded(folder.path(), &[]);
    for report in [&[][..], &["--report", "json"]] {
        let all = [&["replay", &trace, "--as-fast"], report].concat();
        let mut child = touchstone(&all).spawn().expect("the program starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("an end");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(!said.contains("error"), "{said}");
    }
}

#[test]
fn an_interrupted_replay_still_reports() {
    let folder = tempfile::tempdir().expect("a folder");
    let trace = recorded(folder.path(), &[]);
    let served = Served::start(&[]);
    // The first connection finds out whether anybody is there, and the next ones are steps.
    let proxy = Proxy::start(served.address(), 1, Then::Freeze);
    let all = [
        "replay",
        &trace,
        "--as-fast",
        "--against",
        &proxy.url,
        "--report",
        "json",
    ];
    let mut child = touchstone(&all).spawn().expect("the program starts");
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut line = || {
        let mut line = String::new();
        stderr.read_line(&mut line).expect("a line");
        line
    };
    let progress = line();
    assert!(
        progress.starts_with("0 of 1 trace, 0 with differences; "),
        "{progress}"
    );
    signal(&child, Signal::INT);
    let notice = loop {
        let line = line();
        if !line.contains(" with differences; ") {
            break line;
        }
    };
    assert!(
        notice.contains("ending the run, the report follows"),
        "{notice}"
    );
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(130));
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!(report["traces"][0]["interrupted"], true, "{report}");
    // Nothing is held against the server that it was not asked for.
    assert_eq!(report["summary"]["missing"], 0, "{report}");
}

#[test]
fn nobody_has_to_wait_until_a_trace_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("endless.jsonl");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.is_ok_and(|made| made.success()));
    let name = pipe.display().to_string();
    let child = touchstone(&["replay", &name]).spawn();
    let child = child.expect("the program starts");
    // Whoever opens a pipe for writing waits until somebody reads it.
    let (opened, reader) = sync_channel(1);
    spawn(move || opened.send(File::options().write(true).open(pipe)));
    let writer = reader.recv_timeout(Duration::from_secs(60));
    let writer = writer.expect("a reader").expect("the pipe");
    signal(&child, Signal::INT);
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(130));
    drop(writer);
}

#[test]
fn what_a_watch_records_is_not_compared_and_says_what_to_record_instead() {
    let folder = tempfile::tempdir().expect("a folder");
    let trace = folder.path().join("watched.jsonl");
    let lines = [
        r#"{"format":"touchstone-trace","version":1,"tool":"touchstone watch","target":"x","startedAt":1}"#,
        r#"{"tUs":1,"conn":"a1","dir":"c2s","packet":"connect","data":{"token":"a1…"}}"#,
        r#"{"tUs":2,"conn":"a1","dir":"s2c","packet":"connect","data":{"sid":"x"}}"#,
        r#"{"tUs":3,"conn":"a1","dir":"s2c","packet":"event","event":"update","args":[{"seq":1}]}"#,
    ];
    std::fs::write(&trace, lines.join("\n")).expect("a file");
    let name = trace.display().to_string();
    let ran = replayed(
        &name,
        &[],
        12,
        "1 same, 0 different, 0 missing, 0 extra, 1 not compared",
    );
    assert!(
        ran.stdout
            .contains("`load --trace FILE` record what is sent, too"),
        "{}",
        ran.stdout
    );
}

/// What a recording of the demonstration becomes that is begun while its connections are open, as with
/// `R` on the screen, or paused.
#[test]
fn a_recording_of_a_part_is_not_compared() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let whole = path("whole.jsonl");
    check(
        &["watch", "--headless", "--record", &whole, "--count", "400"],
        0,
        &[],
    );
    let text = std::fs::read_to_string(&whole).expect("a recording");
    let lines: Vec<&str> = text.lines().collect();
    let (third, middle) = (lines.len() / 3, lines.len() / 2);
    let resumed: Value = serde_json::from_str(lines[middle]).expect("a record");
    let text = "gap: the recording was off for 2.0 s";
    let mark = json!({"tUs": resumed["tUs"], "conn": "-", "dir": "mark", "text": text});
    let pause = mark.to_string();
    let parts = [
        ("part.jsonl", [&lines[..1], &lines[middle..]].concat()),
        (
            "paused.jsonl",
            [&lines[..third], &[&*pause][..], &lines[middle..]].concat(),
        ),
    ];
    for (name, lines) in parts {
        let part = path(name);
        std::fs::write(&part, lines.join("\n") + "\n").expect("a file");
        let ran = check(&["replay", &part, "--as-fast"], 12, &[]);
        let last = ran.stdout.lines().last().unwrap_or_default();
        for nothing in ["0 different", "0 missing", "0 extra"] {
            assert!(last.contains(nothing), "{name}: {}", ran.stdout);
        }
        assert!(!last.contains(" 0 not compared"), "{name}: {last}");
        assert!(
            !ran.stdout.contains("breaks the protocol"),
            "{}",
            ran.stdout
        );
    }
}

/// Whoever has a signature and what was signed can sign in to the account, so neither is in any trace, of
/// whatever writer; and a replay signs anew.
#[test]
fn no_trace_holds_what_signs_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (cases, load, watch) = (path("cases"), path("load.jsonl"), path("watch.jsonl"));
    let scenario = crate::load::Desk::new();
    let small = scenario.scenario(crate::load::SMALL);
    let only = [
        "--only",
        "rest.bad-signature",
        "--only",
        "rest.same-account",
        "--only",
        "rest.pairing",
        "--only",
        "rpc.call",
    ];
    let writers: [&[&str]; 3] = [
        &[&["check", "--trace", &cases][..], &only].concat(),
        &["load", "--trace", &load, "--scenario", &small],
        &["watch", "--record", &watch, "--headless", "--count", "40"],
    ];
    for arguments in writers {
        check(arguments, 0, &[]);
    }
    let mut traces: Vec<_> = std::fs::read_dir(&cases)
        .expect("traces")
        .map(|entry| entry.expect("a trace").path())
        .collect();
    traces.extend([load.clone().into(), watch.clone().into()]);
    assert!(traces.len() == 6, "{traces:?}");
    let mut hidden = 0;
    for trace in &traces {
        let text = std::fs::read_to_string(trace).expect("a trace");
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).expect("a record");
            for key in ["signature", "challenge"] {
                if let Some(proof) = line["request"].get(key) {
                    assert_eq!(proof, "…", "{}: {line}", trace.display());
                    hidden += 1;
                }
            }
        }
    }
    assert!(hidden > 10, "{hidden}");
    // Pairing, signing in twice and being refused are the same on a server that remembers them.
    let server = Served::start(&[]);
    let arguments = [
        "replay",
        &cases,
        &load,
        "--as-fast",
        "--against",
        &server.url,
    ];
    for _ in 0..2 {
        let ran = check(&arguments, 0, &[]);
        let last = ran.stdout.lines().last().unwrap_or_default();
        assert!(
            last.contains(" 0 different, 0 missing, 0 extra"),
            "{}",
            ran.stdout
        );
    }
    let same_seed = [&arguments[..], &["--seed", "7"]].concat();
    check(&same_seed, 0, &[]);
}

#[test]
fn a_trace_of_a_skipped_case_is_left_out_and_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let trace = recorded(folder.path(), &[]);
    let traces = folder.path().join("traces");
    let text = std::fs::read_to_string(&trace).expect("a trace");
    let head = text.lines().next().expect("a header");
    let mark = |text: &str| json!({"tUs": 1, "conn": "suite", "dir": "mark", "text": text});
    let skipped = format!(
        "{head}\n{}\n{}\n",
        mark("case: a.case"),
        mark("verdict: skip")
    );
    std::fs::write(traces.join("a.case.jsonl"), &skipped).expect("a trace");
    let all = traces.display().to_string();
    let ran = check(
        &["replay", &all, "--as-fast"],
        0,
        &["left out: ", "a.case.jsonl"],
    );
    assert!(ran.stdout.contains(" 0 different"), "{}", ran.stdout);
    // Where there is nothing else, nothing was replayed.
    std::fs::remove_file(&trace).expect("it was there");
    std::fs::write(traces.join("b.case.jsonl"), &skipped).expect("a trace");
    check(
        &["replay", &all],
        2,
        &["nothing to replay in any of 2 traces", "hint: "],
    );
}
