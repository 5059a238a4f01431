//! The entries as lines, for scripts and files: aligned text or JSON, through the same filter.
//!
//! Whoever calls this owns the output and the signals. Nothing is dropped here: a slow reader makes
//! the source wait.

mod line;

use std::collections::HashSet;
use std::io::{self, Write};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use self::line::later_line;
pub use self::line::{line, object};
use crate::event::{Entry, Input, Kind, Recording, SourceState};
use crate::filter::Filter;
use crate::source::{Source, recent::Recent};

/// Of how many printed entries later copies are told.
const REMEMBERED: usize = 16_384;

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Aligned columns.
    Text,
    /// One JSON object per line, whose keys are the fields of filters.
    Json,
}

/// What to print, and when to end.
#[derive(Debug)]
pub struct Plan {
    /// How to print.
    pub format: Format,
    /// Which entries are printed.
    pub filter: Filter,
    /// End after so many of them. What the monitor itself has to say, such as that a connection failed,
    /// is printed and does not count.
    pub count: Option<u64>,
    /// End after this time.
    pub time: Option<Duration>,
    /// End at the first entry that this is true for, printed or not.
    pub until: Option<Filter>,
}

/// Why printing came to an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// So many entries were printed as were asked for.
    Count,
    /// The time is over. `awaited` when an entry was awaited that did not come.
    Time {
        /// Whether `until` was asked for.
        awaited: bool,
    },
    /// The time is over, and no connection had come about.
    Unconnected,
    /// The awaited entry came.
    Until,
    /// The source ended.
    Source {
        /// Why; empty at the end of a recording.
        reason: String,
        /// Whether `until` was asked for.
        awaited: bool,
    },
    /// The reader of the output has gone.
    OutputClosed,
    /// The recording cannot be written.
    Recording {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
}

/// Prints what comes from `source` until there is a reason to end.
///
/// # Errors
/// Those of `out`, except for a reader that has gone.
pub async fn run(source: &mut Source, plan: &Plan, out: &mut impl Write) -> io::Result<Ending> {
    match print(source, plan, out).await {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Ending::OutputClosed),
        other => other,
    }
}

async fn print(source: &mut Source, plan: &Plan, out: &mut impl Write) -> io::Result<Ending> {
    let awaited = plan.until.is_some();
    let deadline = plan.time.map(|time| Instant::now() + time);
    let mut printed = 0;
    let mut shown = Recent::new(REMEMBERED);
    let mut reason = String::new();
    // Whether there is something to connect to, and whether that has ever succeeded.
    let (mut tried, mut connected) = (false, false);
    // Connections of which nothing came yet: servers refuse some by an `error` event behind CONNECT.
    let mut fresh = HashSet::new();
    if plan.count == Some(0) {
        return Ok(Ending::Count);
    }
    loop {
        if source.inputs.is_empty() {
            // Whoever waits for a line gets it before we wait for the next.
            out.flush()?;
        }
        let input = tokio::select! {
            biased;
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                out.flush()?;
                return Ok(match tried && !connected {
                    true => Ending::Unconnected,
                    false => Ending::Time { awaited },
                });
            }
            input = source.inputs.recv() => input,
        };
        match input {
            Some(Input::Entry(entry)) => {
                let refusal =
                    is_event(&entry) && fresh.remove(&entry.conn) && &*entry.event == "error";
                if plan.filter.matches(&entry) {
                    writeln!(out, "{}", line(&entry, plan.format))?;
                    shown.put(&entry.number, ());
                    printed += u64::from(is_event(&entry) && !refusal);
                }
                if plan
                    .until
                    .as_ref()
                    .is_some_and(|until| until.matches(&entry))
                {
                    out.flush()?;
                    return Ok(Ending::Until);
                }
                if plan.count.is_some_and(|count| printed >= count) {
                    out.flush()?;
                    return Ok(Ending::Count);
                }
            }
            Some(Input::Amend(amendment)) if shown.get_mut(&amendment.number).is_some() => {
                if let Some(text) = later_line(&amendment, plan.format) {
                    writeln!(out, "{text}")?;
                }
            }
            Some(Input::Source(SourceState::Connecting { .. })) => tried = true,
            Some(Input::Source(SourceState::Connected { conn, .. })) => {
                connected = true;
                fresh.insert(conn);
            }
            // A player waits for a seek; here nobody will send one.
            Some(Input::Source(SourceState::Ended { reason: why })) => {
                reason = why;
                break;
            }
            Some(Input::Recording(Recording::Failed { path, reason })) => {
                out.flush()?;
                return Ok(Ending::Recording { path, reason });
            }
            Some(_) => {}
            None => break,
        }
    }
    out.flush()?;
    Ok(Ending::Source { reason, awaited })
}

/// Whether an entry is about what was sent or received, and not the monitor's own word.
fn is_event(entry: &Entry) -> bool {
    !matches!(entry.kind, Kind::Connection | Kind::Gap | Kind::Note)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Map, Value};

    use touchstone_fixtures::Level;

    use super::*;
    use crate::event::{
        Amendment, Cause, Direction, Entity, Lint, Receipt, Recipients, Routed, Scope,
    };

    fn entries() -> Vec<Entry> {
        let update = Entry {
            number: 1,
            at_ms: 1_800_000_012_345,
            t_us: 12,
            account: "a1".into(),
            conn: "a1/user".into(),
            scope: Scope::User,
            kind: Kind::Update,
            direction: Direction::Received,
            event: "new-message".into(),
            entity: Some(Entity::Session("cmf1session0000".into())),
            seq: Some(7),
            id: Some("u7".into()),
            ack: None,
            size: 40,
            raw: "{\"id\":\"u7\",\n \"seq\":7.0,\"body\":{\"t\":\"new-message\"}}".into(),
            recipients: Recipients::Ours(vec![Receipt {
                conn: "a1/user".into(),
                scope: Scope::User,
                t_us: 12,
            }]),
            latency_us: Some(1_250),
            link: Some(1),
            lints: vec![Lint {
                rule: "update.envelope",
                level: Some(Level::Must),
                text: "/body/sid: missing key `sid`".into(),
            }],
        };
        let lost = Entry {
            number: 2,
            kind: Kind::Connection,
            direction: Direction::Inside,
            event: "lost".into(),
            entity: None,
            seq: None,
            id: None,
            raw: "transport closed\u{1b}[2J".into(),
            recipients: Recipients::Unknown,
            latency_us: None,
            link: None,
            lints: Vec::new(),
            ..update.clone()
        };
        let routed = Entry {
            number: 3,
            conn: "".into(),
            scope: Scope::None,
            raw: "{}".into(),
            recipients: Recipients::Routed(Box::new(Routed {
                filter: r#"{"type":"user-scoped-only"}"#.into(),
                recipients: vec!["AAE".into(), "AAI".into()],
                skipped: Some("AAM".into()),
                receipts: Vec::new(),
            })),
            ..update.clone()
        };
        vec![update, lost, routed]
    }

    #[test]
    fn lines() {
        let all: Vec<_> = [Format::Text, Format::Json]
            .into_iter()
            .flat_map(|format| entries().into_iter().map(move |one| line(&one, format)))
            .collect();
        assert!(all.iter().all(|line| !line.contains(['\n', '\u{1b}'])));
        insta::assert_snapshot!(all.join("\n"));
    }

    #[test]
    fn later_lines() {
        let nothing = Amendment {
            number: 7,
            receipt: None,
            routed: None,
            cause: None,
            lints: Vec::new(),
        };
        let receipt = Receipt {
            conn: "a1/session:cmf1".into(),
            scope: Scope::Session("cmf1".into()),
            t_us: 20,
        };
        let routed = Routed {
            filter: r#"{"type":"user-scoped-only"}"#.into(),
            recipients: vec!["u1".into(), "u2".into()],
            skipped: Some("u3".into()),
            receipts: Vec::new(),
        };
        let cause = Cause {
            link: 9,
            latency_us: 1_340,
        };
        let all = [
            Amendment {
                receipt: Some(receipt),
                ..nothing.clone()
            },
            Amendment {
                routed: Some(Box::new(routed)),
                ..nothing.clone()
            },
            Amendment {
                cause: Some(cause),
                ..nothing.clone()
            },
            nothing,
        ];
        let told: Vec<_> = [Format::Text, Format::Json]
            .into_iter()
            .flat_map(|format| all.iter().filter_map(move |one| later_line(one, format)))
            .collect();
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn json_has_the_fields_of_filters() {
        let mut names: Vec<_> = crate::filter::FIELDS
            .iter()
            .map(|field| field.name)
            .collect();
        names.extend(["findings", "text"]);
        for entry in entries() {
            let object: Map<String, Value> = serde_json::from_str(&object(&entry)).unwrap();
            for key in object.keys() {
                assert!(names.contains(&key.as_str()), "{key} is no field");
            }
        }
    }

    fn plan(filter: &str) -> Plan {
        Plan {
            format: Format::Text,
            filter: Filter::parse(filter).unwrap(),
            count: None,
            time: None,
            until: None,
        }
    }

    /// Runs the plan over the entries of above, a copy of the first, and the end.
    async fn play(plan: &Plan) -> (Ending, usize) {
        let (mut source, feed) = Source::fed(16);
        for entry in entries() {
            feed.send(Input::Entry(Box::new(entry))).await.unwrap();
        }
        let copy = Amendment {
            routed: None,
            cause: None,
            number: 1,
            receipt: Some(Receipt {
                conn: Arc::from("a1/s:x"),
                scope: Scope::Session("x".into()),
                t_us: 20,
            }),
            lints: Vec::new(),
        };
        feed.send(Input::Amend(copy)).await.unwrap();
        let reason = "over".to_owned();
        feed.send(Input::Source(SourceState::Ended { reason }))
            .await
            .unwrap();
        let mut out = Vec::new();
        let ending = run(&mut source, plan, &mut out).await.unwrap();
        (ending, out.iter().filter(|&&byte| byte == b'\n').count())
    }

    #[tokio::test]
    async fn reasons_to_end() {
        let reason = "over".to_owned();
        let over = |awaited| Ending::Source {
            reason: reason.clone(),
            awaited,
        };
        assert_eq!(play(&plan("")).await, (over(false), 4));
        assert_eq!(play(&plan("lost")).await, (over(false), 1));
        let counted = Plan {
            count: Some(2),
            ..plan("")
        };
        // What the monitor says of a connection stands between two events and is none.
        assert_eq!(play(&counted).await, (Ending::Count, 3));
        let until = |text: &str| Plan {
            until: Some(Filter::parse(text).unwrap()),
            ..plan("kind == \"update\"")
        };
        assert_eq!(play(&until("type == \"lost\"")).await, (Ending::Until, 1));
        assert_eq!(play(&until("nothing")).await, (over(true), 3));
    }

    #[tokio::test(start_paused = true)]
    async fn time_ends_what_nothing_else_does() {
        let (mut source, _feed) = Source::fed(1);
        let plan = Plan {
            time: Some(Duration::from_secs(5)),
            until: Some(Filter::parse("never").unwrap()),
            ..plan("")
        };
        let ending = run(&mut source, &plan, &mut Vec::new()).await.unwrap();
        assert_eq!(ending, Ending::Time { awaited: true });
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_without_a_connection_is_no_silence() {
        let (mut source, feed) = Source::fed(2);
        let plan = Plan {
            time: Some(Duration::from_secs(5)),
            ..plan("")
        };
        let (conn, scope): (Arc<str>, _) = ("a1/user".into(), Scope::User);
        let connecting = SourceState::Connecting {
            conn: Arc::clone(&conn),
            scope: scope.clone(),
        };
        feed.send(Input::Source(connecting)).await.unwrap();
        let ending = run(&mut source, &plan, &mut Vec::new()).await.unwrap();
        assert_eq!(ending, Ending::Unconnected);
        let connected = SourceState::Connected { conn, scope };
        feed.send(Input::Source(connected)).await.unwrap();
        let ending = run(&mut source, &plan, &mut Vec::new()).await.unwrap();
        assert_eq!(ending, Ending::Time { awaited: false });
    }

    #[tokio::test]
    async fn a_reader_that_has_gone_is_no_error() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (mut source, feed) = Source::fed(4);
        let first = entries().remove(0);
        feed.send(Input::Entry(Box::new(first))).await.unwrap();
        let ending = run(&mut source, &plan(""), &mut Closed).await.unwrap();
        assert_eq!(ending, Ending::OutputClosed);
    }
}
