//! Recordings in a few words, for tests of the rules. A recording is a list of lines: the time in
//! milliseconds, the connection, and what happened on it.
//!
//! | line | meaning |
//! |---|---|
//! | `0 u > CONNECT {"token":"a1…"}`, `1 u < CONNECT` | CONNECT is sent, and answered |
//! | `2 u > ping#7`, `3 u < #7 {}` | an event that asks for an answer is sent, and answered |
//! | `4 u < update {"seq":1}` | an event is received |
//! | `5 u closes`, `5 u ended` | the client leaves; the server ends the connection |

use std::path::Path;

use serde_json::{Value, json};
use touchstone_client::{
    Args, Direction, End,
    trace::{Header, Kind, Record, Traced},
};

use super::{
    compare::compare, drive::Played, names::Names, outcome::Outcome, script::Recording,
    settled::Settled,
};

/// Reads the lines of a recording.
pub(super) fn recording(lines: &[String]) -> Recording {
    let records = lines.iter().map(|line| Ok(record(line)));
    Recording::of(Path::new("t"), Header::new("t", "u", 0), records).expect("a recording")
}

/// What a comparison tells of two recordings, one of which is taken for the replay of the other:
/// connection, thing and outcome of whatever is not the same.
pub(super) fn otherwise(then: &[String], now: &[String]) -> Vec<String> {
    let (mut then, now) = (recording(then), recording(now));
    let mut played = Played {
        heard: now.heard,
        names: Names::new(1_800_000_000_000, 1_900_000_000_000),
        violations: now.violations,
        unsent: Vec::new(),
        interrupted: false,
        sent_us: now.steps.iter().map(|step| step.t_us).collect(),
    };
    // Payloads are shortened here, and break many requirements.
    then.broken_us.clear();
    let settled = Settled::new(&then);
    let verdicts = compare(&mut then, &mut played, &settled);
    let told = verdicts.items.into_iter().filter_map(|item| {
        let outcome = match item.outcome {
            Outcome::Same => return None,
            Outcome::Different(differences) => {
                let paths = differences.into_iter().map(|one| one.path);
                format!("different {}", paths.collect::<Vec<_>>().join(" "))
            }
            Outcome::Missing(_) => "missing".to_owned(),
            Outcome::Extra(_) => "extra".to_owned(),
            Outcome::Observed { why, .. } => why.to_owned(),
            Outcome::Blocked { why, .. } => why,
        };
        Some(format!("{} {}: {outcome}", item.conn, item.what))
    });
    told.collect()
}

/// The lines of a text, without indentation and empty ones.
pub(super) fn lines(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(str::to_owned).collect()
}

fn record(line: &str) -> Record {
    let mut words = line.splitn(5, ' ');
    let mut word = || words.next();
    let at: u64 = word().and_then(|at| at.parse().ok()).expect(line);
    let conn = word().expect(line).to_owned();
    let (verb, name, data) = (word().expect(line), word(), word());
    let direction = match verb {
        ">" => Direction::Sent,
        "<" => Direction::Received,
        _ => {
            let end = match verb {
                "closes" => End::ClientClosed,
                "ended" => End::ServerDisconnect,
                other => panic!("{other:?} in {line}"),
            };
            return noted(at, conn, Kind::Mark(format!("ended: {end}")));
        }
    };
    let data: Option<Value> = data.map(|data| serde_json::from_str(data).expect(line));
    let args = Args::from(Vec::from_iter(data.clone()));
    let name = name.expect(line);
    let packet = match name.split_once('#') {
        None if name == "CONNECT" => Traced::Connect(data.unwrap_or_else(|| json!({"sid": at}))),
        None => event(name, args, None),
        Some(("", id)) => Traced::Ack {
            id: id.parse().expect(line),
            args,
            attachments: 0,
        },
        Some((name, id)) => event(name, args, Some(id.parse().expect(line))),
    };
    noted(at, conn, Kind::Packet(direction, packet))
}

fn noted(at_ms: u64, conn: String, kind: Kind) -> Record {
    Record {
        t_us: at_ms * 1_000,
        conn,
        kind,
        recipients: None,
    }
}

fn event(name: &str, args: Args, ack: Option<u64>) -> Traced {
    Traced::Event {
        name: name.to_owned(),
        args,
        ack,
        attachments: 0,
    }
}
