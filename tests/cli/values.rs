//! What the cases store and send, as their traces show it: values that no server has a reason to change,
//! and heartbeats of now. Whatever differs from that belongs to the case that is about it; a right server
//! may answer anything else to it, and must not be blamed by the others.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Map, Value};

/// The keys of opaque values, in events and requests.
const OPAQUE: [&str; 11] = [
    "metadata",
    "agentState",
    "daemonState",
    "message",
    "header",
    "body",
    "dataEncryptionKey",
    "data",
    "settings",
    "content",
    "value",
];

/// What is sent on purpose because it has ended servers.
const HAZARDS: &str = "hazard.";

/// The cases about odd values.
const ODD_VALUES: [&str; 5] = [
    "values.exact",
    "values.nul",
    "rest.session.values",
    "artifact.base64",
    "transport.garbage",
];

/// The cases about heartbeats that are old, or ahead, or have no time.
const ODD_TIMES: [&str; 5] = [
    "presence.future",
    "presence.stale",
    "presence.recent",
    "presence.swept",
    "rest.session.archive",
];

/// Whether a server that stores bytes gives back this very text.
fn survives(text: &str) -> bool {
    BASE64_STANDARD
        .decode(text)
        .is_ok_and(|bytes| BASE64_STANDARD.encode(bytes) == text)
}

/// The opaque values of `data` that some server would change.
fn changeable<'a>(data: &'a Value, found: &mut Vec<&'a str>) {
    match data {
        Value::Array(elements) => elements.iter().for_each(|value| changeable(value, found)),
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(text) if OPAQUE.contains(&key.as_str()) && !survives(text) => {
                        found.push(text);
                    }
                    _ => changeable(value, found),
                }
            }
        }
        _ => {}
    }
}

/// Notes when the rows of an answer were made.
fn rows<'a>(answer: &'a Value, made: &mut HashMap<&'a str, u64>) {
    if let (Some(id), Some(at)) = (answer["id"].as_str(), answer["createdAt"].as_u64()) {
        made.entry(id).or_insert(at);
    }
    for value in answer.as_object().into_iter().flat_map(Map::values) {
        rows(value, made);
    }
}

/// Collects what is wrong with the traces of all cases in `folder`.
pub(crate) fn unusual(folder: &Path) -> Vec<String> {
    let mut problems = Vec::new();
    let mut traces: Vec<_> = fs::read_dir(folder)
        .expect("a folder of traces")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    traces.sort();
    assert!(traces.len() > 100, "only {} traces", traces.len());
    for path in traces {
        let case = path.file_stem().expect("a name").to_string_lossy();
        if case.starts_with(HAZARDS) {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a trace");
        let lines: Vec<Value> = text
            .lines()
            // Data that is nested deeper than a parser goes holds no value of these.
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        problems.extend(of_values(&case, &lines));
        // Each trace is written when its case has ended.
        let written = fs::metadata(&path).and_then(|about| about.modified());
        let since = written.expect("a time").duration_since(UNIX_EPOCH);
        let ended = since.expect("a time of now").as_millis();
        problems.extend(of_times(&case, &lines, ended));
    }
    problems
}

fn of_values(case: &str, lines: &[Value]) -> Vec<String> {
    let is_odd = ODD_VALUES.contains(&case);
    let mut found = Vec::new();
    for line in lines {
        if line["dir"] == "c2s" && line["packet"] == "event" {
            changeable(&line["args"], &mut found);
        }
        changeable(&line["request"], &mut found);
    }
    match is_odd {
        // A list that is longer than it has to be hides what it should not.
        true if found.is_empty() => vec![format!("{case} is listed, and sends usual values only")],
        true => Vec::new(),
        false => {
            let first = found.first();
            let problem = first.map(|text| format!("{case}: {} as {text:.60}", found.len()));
            problem.into_iter().collect()
        }
    }
}

/// Each heartbeat has a time that is not before that of its session or machine, nor before an earlier
/// one, and not ahead.
fn of_times(case: &str, lines: &[Value], ended: u128) -> Vec<String> {
    let mut problems = Vec::new();
    let mut latest = HashMap::new();
    for line in lines {
        rows(&line["response"], &mut latest);
        let event = line["event"].as_str().unwrap_or_default();
        let is_heartbeat = matches!(event, "session-alive" | "session-end" | "machine-alive");
        if line["dir"] != "c2s" || !is_heartbeat {
            continue;
        }
        let data = &line["args"][0];
        let id = data["sid"].as_str().or(data["machineId"].as_str());
        let Some(latest) = id.and_then(|id| latest.get_mut(id)) else {
            continue;
        };
        match data["time"].as_u64() {
            Some(time) if time >= *latest && u128::from(time) <= ended => *latest = time,
            _ => problems.push(format!("{case} sends {event} {data}")),
        }
    }
    if ODD_TIMES.contains(&case) {
        problems.clear();
    }
    problems
}
