//! `touchstone watch --open`: recordings of the monitor and of the suite, and files that are none.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{check, run};
use crate::terminal::Terminal;

/// A recording of one minute, with an event in each of its seconds.
pub(super) fn minute() -> String {
    let header = json!({"format": "touchstone-trace", "version": 1, "tool": "a test",
        "target": "http://127.0.0.1:1", "startedAt": 1_800_000_000_000_u64});
    let mut text = format!("{header}\n");
    for second in 0..=60_u64 {
        let at = 1_800_000_000_000 + second * 1_000;
        let args = json!([{"type": "activity", "id": format!("s{second}"), "active": true,
            "activeAt": at, "thinking": false}]);
        let record = json!({"tUs": second * 1_000_000, "conn": "a1/user", "dir": "s2c",
            "packet": "event", "event": "ephemeral", "args": args});
        text.push_str(&format!("{record}\n"));
    }
    text
}

/// Writes a file and returns its path.
pub(super) fn file(folder: &TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    fs::write(&path, text).expect("a file");
    path.to_str().expect("a path").to_owned()
}

/// The events of a file as JSON lines.
#[track_caller]
fn events(path: &str) -> Vec<Value> {
    let arguments = ["watch", "--open", path, "--headless", "--format", "json"];
    let ran = check(&arguments, 0, &[]);
    let lines = ran.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

#[test]
fn the_screen_plays_holds_speeds_up_and_seeks() {
    let folder = TempDir::new().expect("a folder");
    let path = file(&folder, "minute.jsonl", &minute());
    let terminal = Terminal::start(&["watch", "--open", &path]);
    terminal.wait_for("of 1:00, x1");
    // Held: from here on nothing but keys moves it.
    terminal.send("P");
    terminal.wait("a recording that is held", |_, screen| {
        screen.contents().contains('⏸')
    });
    let shows = |id: &str, there: bool| {
        terminal.wait(id, |_, screen| {
            screen.contents().split_whitespace().any(|word| word == id) == there
        })
    };
    terminal.send(&"<".repeat(21));
    shows("s1", false);
    // A twentieth is three seconds. What came is there before the next key counts from it.
    for id in ["s3", "s6", "s9", "s12"] {
        terminal.send(">");
        shows(id, true);
    }
    let screen = terminal.wait_for("0:12 of 1:00");
    assert!(screen.contains("13 seen"), "{screen}");
    terminal.send("<");
    shows("s10", false);
    let screen = terminal.wait_for("0:09 of 1:00");
    assert!(screen.contains("10 seen"), "{screen}");
    terminal.send("++++++++");
    terminal.wait_for("x256");
    terminal.send("P");
    let screen = terminal.wait_for("ended");
    assert!(screen.contains("1:00 of 1:00"), "{screen}");
    assert!(screen.contains("61 seen"), "{screen}");
    // It can be played again from where one seeks to.
    terminal.send("<");
    terminal.wait_for("0:57 of 1:00");
    terminal.send("q");
    terminal.ends(0);
}

#[test]
fn a_whole_recording() {
    let folder = TempDir::new().expect("a folder");
    let events = events(&file(&folder, "minute.jsonl", &minute()));
    assert_eq!(events.len(), 61);
    assert_eq!(events[60]["at"], 1_800_000_060_000_u64);
    assert!(events.iter().all(|event| event["lints"] == json!([])));
}

#[test]
fn a_recording_that_was_cut_or_damaged_is_shown_as_far_as_it_goes() {
    let folder = TempDir::new().expect("a folder");
    let whole = minute();
    let cut = events(&file(&folder, "cut.jsonl", &whole[..whole.len() - 20]));
    assert_eq!(cut.len(), 61);
    let note = cut[60]["text"].as_str().unwrap_or_default();
    assert!(
        note.starts_with("the recording is damaged: line 62:"),
        "{note}"
    );
    // It stands where the last record was.
    assert_eq!(cut[60]["at"], cut[59]["at"]);
    let damaged = whole.replacen("\"s30\"", "\u{0}\u{1b}[2J", 1);
    let damaged = events(&file(&folder, "damaged.jsonl", &damaged));
    assert_eq!(damaged.len(), 61);
    assert_eq!(damaged[30]["kind"], "note");
    assert_eq!(damaged[31]["entity"], "s31");
}

#[test]
fn what_is_no_recording_is_refused() {
    let folder = TempDir::new().expect("a folder");
    let refused = |path: &str, why: &[&str]| {
        let ran = check(&["watch", "--open", path, "--headless"], 2, why);
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    };
    refused("nowhere.jsonl", &["nowhere.jsonl", "No such file"]);
    refused(
        &file(&folder, "empty.jsonl", ""),
        &["empty.jsonl", "not a touchstone-trace"],
    );
    refused(
        &file(&folder, "other.jsonl", "{\"a\":1}\n"),
        &["not a touchstone-trace"],
    );
    let newer = minute().replacen("\"version\":1", "\"version\":2", 1);
    refused(
        &file(&folder, "newer.jsonl", &newer),
        &["version 2 is newer than 1"],
    );
    let folder = folder.path().to_str().expect("a path");
    refused(folder, &["cannot read line 1"]);
}

#[test]
fn a_trace_of_the_suite_can_be_opened() {
    let folder = TempDir::new().expect("a folder");
    let traces = folder.path().to_str().expect("a path");
    let cases = ["--only", "message.recipients", "--only", "rest.settings"];
    let ran = run(&[&["check", "--trace", traces], cases.as_slice()].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let trace: &Path = &folder.path().join("message.recipients.jsonl");
    let seen = events(trace.to_str().expect("a path"));
    let told = |kind: &str, name: &str| {
        seen.iter()
            .any(|event| event["kind"] == kind && event["type"] == name)
    };
    assert!(told("call", "message"));
    assert!(told("update", "new-message"));
    let linked = |event: &&Value| event["type"] == "new-message" && event["link"].is_u64();
    assert!(seen.iter().any(|event| linked(&event)));
    assert!(!fs::read_to_string(trace).expect("a file").contains("eyJ"));

    // Over HTTP, too, a change belongs to its update, whichever of them the client saw first.
    let seen = events(&format!("{traces}/rest.settings.jsonl"));
    let request = |event: &Value| event["type"] == "POST /v1/account/settings";
    let changed = |event: &Value| request(event) && event["body"]["status"] == 200;
    let change = seen.iter().find(|event| changed(event)).expect("a change");
    let update = seen.iter().find(|event| event["type"] == "update-account");
    let update = update.expect("its update");
    let later = |event: &Value| event["causeOf"] == update["number"];
    let mut links = seen.iter().filter(|event| later(event)).chain([update]);
    assert!(
        links.any(|event| event["link"] == change["number"]),
        "{seen:#?}"
    );
}
