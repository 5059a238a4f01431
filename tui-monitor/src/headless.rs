//! The entries as lines, for scripts and files: aligned text or JSON, through the same filter.
//!
//! Whoever calls this owns the output and the signals. Nothing is dropped here: a slow reader makes
//! the source wait.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Map, Value, json, value::RawValue};
use tokio::time::{Instant, sleep_until};

use crate::event::{
    Amendment, Direction, Entity, Entry, Input, Recipients, Recording, Scope, SourceState,
};
use crate::filter::Filter;
use crate::source::{Source, recent::Recent};
use crate::text;

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
    /// End after so many of them.
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
                if plan.filter.matches(&entry) {
                    writeln!(out, "{}", line(&entry, plan.format))?;
                    shown.put(entry.number, ());
                    printed += 1;
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
            Some(Input::Source(SourceState::Connected { .. })) => connected = true,
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

/// An entry as a line without its end.
pub fn line(entry: &Entry, format: Format) -> String {
    match format {
        Format::Text => columns(entry),
        Format::Json => object(entry),
    }
}

/// An entry as JSON, with the fields of filters as keys; what an entry does not have is left out.
/// `findings` says what is wrong in words.
pub fn object(entry: &Entry) -> String {
    let mut keys = Map::new();
    let mut put = |key: &str, value: Value| {
        if !value.is_null() {
            keys.insert(key.to_owned(), value);
        }
    };
    let word = |text: &str| match text {
        "" => Value::Null,
        text => json!(text),
    };
    put("number", json!(entry.number));
    put("at", json!(entry.at_ms));
    put("account", word(&entry.account));
    put("conn", word(&entry.conn));
    put("scope", word(entry.scope.as_str()));
    put("kind", json!(entry.kind.as_str()));
    put(
        "direction",
        json!(match entry.direction {
            Direction::Sent => "sent",
            Direction::Received => "received",
            Direction::Inside => "inside",
        }),
    );
    put("type", json!(&*entry.event));
    if let Some(entity) = &entry.entity {
        put("entity", json!(entity.id()));
        let kind = match entity {
            Entity::Session(_) => "session",
            Entity::Machine(_) => "machine",
            Entity::Artifact(_) => "artifact",
            Entity::Method(_) => "method",
            Entity::Other(_) => "",
        };
        if !kind.is_empty() {
            put(kind, json!(entity.id()));
        }
    } else if let Scope::Session(id) = &entry.scope {
        put("session", json!(&**id));
    } else if let Scope::Machine(id) = &entry.scope {
        put("machine", json!(&**id));
    }
    put("seq", json!(entry.seq));
    put("id", json!(entry.id.as_deref()));
    put("ack", json!(entry.ack));
    put("size", json!(entry.size));
    put("recipients", json!(entry.recipients.count()));
    match &entry.recipients {
        Recipients::Unknown => {}
        Recipients::Ours(receipts) => {
            let labels: Vec<&str> = receipts.iter().map(|receipt| &*receipt.conn).collect();
            put("receivers", json!(labels));
        }
        Recipients::Routed(routed) => {
            let ids: Vec<&str> = routed.recipients.iter().map(|id| &**id).collect();
            put("receivers", json!(ids));
            put("skipped", json!(routed.skipped.as_deref()));
            let filter: Value = serde_json::from_str(&routed.filter).unwrap_or_default();
            put("filter", filter["type"].clone());
        }
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "microseconds of a latency fit a double for centuries"
    )]
    put("latency", json!(entry.latency_us.map(|us| us as f64 / 1e3)));
    put("link", json!(entry.link));
    let kinds: Vec<&str> = entry.lints.iter().map(|lint| lint.kind.as_str()).collect();
    put("lints", json!(kinds));
    if !entry.lints.is_empty() {
        let texts: Vec<&str> = entry.lints.iter().map(|lint| &*lint.text).collect();
        put("findings", json!(texts));
    }
    // The payload stays as it came, to the last digit of its numbers; it ends the line.
    let rest = Value::Object(keys).to_string();
    let head = rest.strip_suffix('}').unwrap_or(&rest);
    match serde_json::from_str::<&RawValue>(&entry.raw) {
        Ok(body) => format!("{head},\"body\":{}}}", on_one_line(body.get())),
        Err(_) => format!("{head},\"text\":{}}}", json!(&*entry.raw)),
    }
}

/// JSON may hold line breaks between its parts; inside of strings it cannot.
fn on_one_line(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}

fn columns(entry: &Entry) -> String {
    use std::fmt::Write as _;
    // The tap is one for all accounts.
    let whose = match entry.scope {
        Scope::None if !entry.account.is_empty() => &entry.account,
        _ => &entry.conn,
    };
    let mut line = format!(
        "{}  {:12} {:10} {:22} {:14}",
        text::time(entry.at_ms),
        text::shown(whose, 12),
        entry.kind,
        text::shown(&entry.event, 22),
        text::shown(entry.entity.as_ref().map_or("", Entity::id), 14),
    );
    let mut add = |part: String| {
        // Writing to a string does not fail.
        let _ = write!(line, " {part}");
    };
    if let Some(seq) = entry.seq {
        add(format!("seq {seq}"));
    }
    add(format!("{} B", entry.size));
    if let Some(count) = entry.recipients.count() {
        add(format!("-> {count}"));
    }
    if let Some(us) = entry.latency_us {
        #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
        add(format!("{:.1} ms", us as f64 / 1e3));
    }
    if serde_json::from_str::<&RawValue>(&entry.raw).is_err() {
        add(text::shown(&entry.raw, 120));
    }
    for lint in &entry.lints {
        add(format!(
            "!{}: {}",
            lint.kind.as_str(),
            text::shown(&lint.text, 120)
        ));
    }
    line.truncate(line.trim_end().len());
    line
}

/// What was found out later about a printed entry: one more connection got it, or whom the router
/// meant.
fn later_line(amendment: &Amendment, format: Format) -> Option<String> {
    let number = amendment.number;
    if let Some(routed) = &amendment.routed {
        let filter: Value = serde_json::from_str(&routed.filter).unwrap_or_default();
        let filter = filter["type"].as_str();
        let meant: Vec<&str> = routed.recipients.iter().map(|id| &**id).collect();
        return Some(match format {
            Format::Text => format!(
                "{:12}  {:12} decision on #{number}: {} -> {}",
                "",
                "",
                text::shown(filter.unwrap_or("no filter"), 40),
                meant.len()
            ),
            Format::Json => json!({
                "decisionOn": number,
                "filter": filter,
                "receivers": meant,
                "skipped": routed.skipped.as_deref(),
            })
            .to_string(),
        });
    }
    let receipt = amendment.receipt.as_ref()?;
    Some(match format {
        Format::Text => format!(
            "{:12}  {:12} copy of #{number}",
            "",
            text::shown(&receipt.conn, 12),
        ),
        Format::Json => json!({
            "copyOf": number,
            "conn": &*receipt.conn,
            "scope": receipt.scope.as_str(),
        })
        .to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::{Kind, Lint, LintKind, Receipt, Routed};

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
                kind: LintKind::Schema,
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
        assert_eq!(play(&counted).await, (Ending::Count, 2));
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
