//! One line for one entry: aligned columns or JSON.

use serde_json::{Map, Value, json, value::RawValue};

use super::Format;
use crate::event::{Amendment, Cause, Direction, Entity, Entry, Recipients, Scope};
use crate::text;

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
    put("latency", json!(entry.latency_us.map(milliseconds)));
    put("link", json!(entry.link));
    let rules: Vec<&str> = entry.lints.iter().map(|lint| lint.rule).collect();
    put("lints", json!(rules));
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

#[expect(
    clippy::cast_precision_loss,
    reason = "microseconds of a latency fit a double for centuries"
)]
fn milliseconds(us: u64) -> f64 {
    us as f64 / 1e3
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
        add(format!("{:.1} ms", milliseconds(us)));
    }
    if serde_json::from_str::<&RawValue>(&entry.raw).is_err() {
        add(text::shown(&entry.raw, 120));
    }
    for lint in &entry.lints {
        add(format!(
            "!{}: {}",
            lint.title(),
            text::shown(&lint.text, 120)
        ));
    }
    line.truncate(line.trim_end().len());
    line
}

/// What was found out later about a printed entry: one more connection got it, whom the router meant,
/// or what caused it.
pub(super) fn later_line(amendment: &Amendment, format: Format) -> Option<String> {
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
    if let Some(Cause { link, latency_us }) = amendment.cause {
        let latency = milliseconds(latency_us);
        return Some(match format {
            Format::Text => format!(
                "{:12}  {:12} #{number} belongs to #{link}, {latency:.1} ms",
                "", ""
            ),
            Format::Json => {
                json!({"causeOf": number, "link": link, "latency": latency}).to_string()
            }
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
