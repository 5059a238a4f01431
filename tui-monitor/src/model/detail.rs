//! The detail of one entry as lines of text: what is known about it, the schema's verdict, who got
//! it, and the payload.
//!
//! Made once per entry and width rather than per frame, since a payload may hold megabytes. Lines
//! have tones instead of colours, so that a theme can change. This module must not draw.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use serde_json::Value;
use touchstone_client::is_secret_key;
use touchstone_fixtures::{
    EventKind, Violation, schema, validate_ack, validate_ephemeral, validate_update,
};
use unicode_width::UnicodeWidthChar as _;

use crate::event::{Direction, Entity, Entry, Kind, Recipients};
use crate::model::search::find;
use crate::text;
use crate::theme::Tone;

/// Lines that are made at most; copying and saving give the rest.
const LONGEST: usize = 20_000;

/// Connections that are listed at most.
const LISTED: usize = 200;

/// A line: pieces of text with their tones.
pub(crate) type Line = Vec<(Tone, String)>;

/// A line of the detail.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) line: Line,
    /// Behind so many columns goes on what was too long for the row before.
    goes_on: Option<usize>,
}

/// The detail of an entry.
#[derive(Debug)]
pub(crate) struct Detail {
    entry: Arc<Entry>,
    width: usize,
    related: Vec<Arc<Entry>>,
    rows: Vec<Row>,
    scroll: usize,
}

impl Detail {
    pub(crate) fn new(entry: Arc<Entry>, related: Vec<Arc<Entry>>, width: usize) -> Self {
        let mut page = Page {
            rows: Vec::new(),
            width: width.max(10),
        };
        page.facts(&entry);
        page.verdicts(&entry);
        page.recipients(&entry);
        page.related(&entry, &related);
        page.payload(&entry);
        Self {
            entry,
            width,
            related,
            rows: page.rows,
            scroll: 0,
        }
    }

    /// Whether this is the detail of just that.
    pub(crate) fn shows(&self, entry: &Arc<Entry>, related: &[Arc<Entry>], width: usize) -> bool {
        self.width == width
            && Arc::ptr_eq(&self.entry, entry)
            && self.related.len() == related.len()
            && self
                .related
                .iter()
                .zip(related)
                .all(|(a, b)| Arc::ptr_eq(a, b))
    }

    /// Whether it was just opened, before the layout gave it a width.
    pub(crate) fn is_new(&self) -> bool {
        self.width == 0
    }

    pub(crate) fn number(&self) -> u64 {
        self.entry.number
    }

    pub(crate) fn scroll(&self) -> usize {
        self.scroll
    }

    /// How many lines there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The lines that fit into `height`.
    pub(crate) fn window(&self, height: usize) -> &[Row] {
        let first = self.scroll.min(self.rows.len());
        let last = (first + height).min(self.rows.len());
        &self.rows[first..last]
    }

    /// The first line that holds a text, which is in lower case.
    pub(crate) fn line_with(&self, wanted: &str) -> Option<usize> {
        Some(self.hits(0..self.rows.len(), wanted).first()?.0)
    }

    /// Where a text, which is in lower case, stands in the lines that fit into `height`: row and
    /// column of each of its characters.
    pub(crate) fn hits_in_window(&self, wanted: &str, height: usize) -> Vec<(usize, usize)> {
        let first = self.scroll.min(self.rows.len());
        let last = (first + height).min(self.rows.len());
        // A hit may begin above the window or end below it.
        let beyond = wanted.len();
        let goes_on = |row: &usize| self.rows[*row].goes_on.is_some();
        let above = (1..=first).rev().take(beyond).take_while(goes_on).count();
        let below = (last..self.rows.len()).take(beyond).take_while(goes_on);
        let below = below.count();
        let hits = self.hits(first - above..last + below, wanted).into_iter();
        hits.filter(|(row, _)| (first..last).contains(row))
            .map(|(row, column)| (row - first, column))
            .collect()
    }

    fn hits(&self, rows: Range<usize>, wanted: &str) -> Vec<(usize, usize)> {
        let mut hits = Vec::new();
        // What goes on in the next row is one text, whose bytes stand in these places.
        let (mut text, mut places) = (String::new(), Vec::new());
        for at in rows.clone() {
            let row = &self.rows[at];
            let indent = row.goes_on.unwrap_or(0);
            let pieces = row.line.iter().flat_map(|(_, piece)| piece.chars());
            let mut column = 0;
            for character in pieces {
                if column >= indent {
                    text.push(character);
                    places.resize(text.len(), (at, column));
                }
                column += character.width().unwrap_or(0);
            }
            let next = self.rows.get(at + 1).filter(|_| at + 1 < rows.end);
            if next.is_some_and(|next| next.goes_on.is_some()) {
                continue;
            }
            let mut from = 0;
            while let Some(hit) = text.get(from..).and_then(|rest| find(rest, wanted)) {
                let end = from + hit + wanted.len();
                hits.extend_from_slice(&places[from + hit..end]);
                from = end;
            }
            text.clear();
            places.clear();
        }
        hits
    }

    /// Scrolls by lines; the last page stays full.
    pub(crate) fn scroll_by(&mut self, lines: isize, height: usize) {
        let lowest = self.rows.len().saturating_sub(height);
        self.scroll = self.scroll.saturating_add_signed(lines).min(lowest);
    }

    /// Keeps the place when the same entry is shown anew.
    pub(crate) fn scroll_to(&mut self, line: usize, height: usize) {
        self.scroll = line.min(self.rows.len().saturating_sub(height));
    }
}

struct Page {
    rows: Vec<Row>,
    width: usize,
}

impl Page {
    fn push(&mut self, line: Line) {
        self.push_row(line, None);
    }

    fn push_row(&mut self, line: Line, goes_on: Option<usize>) {
        if self.rows.len() < LONGEST {
            self.rows.push(Row { line, goes_on });
        }
    }

    /// A line `label  text`, wrapped under itself.
    fn row(&mut self, label: &str, tone: Tone, content: &str) {
        let indent = 11.min(self.width / 2);
        let lead = (Tone::Faint, format!("{label:indent$}"));
        self.wrapped(vec![lead], indent, &[(tone, content.to_owned())], indent);
    }

    /// `lead`, then the pieces, which go on at `indent` in the next lines where they are too long.
    fn wrapped(&mut self, lead: Line, used: usize, pieces: &[(Tone, String)], indent: usize) {
        let mut line = lead;
        let mut column = used;
        let mut goes_on = None;
        for (tone, piece) in pieces {
            let mut part = String::new();
            for character in piece.chars() {
                let wide = character.width().unwrap_or(0);
                if column + wide > self.width && column > indent {
                    line.push((*tone, std::mem::take(&mut part)));
                    self.push_row(std::mem::take(&mut line), goes_on);
                    if self.rows.len() >= LONGEST {
                        return;
                    }
                    goes_on = Some(indent);
                    line.push((Tone::Plain, " ".repeat(indent)));
                    column = indent;
                }
                part.push(character);
                column += wide;
            }
            if !part.is_empty() {
                line.push((*tone, part));
            }
        }
        self.push_row(line, goes_on);
    }

    fn facts(&mut self, entry: &Entry) {
        let title = format!(
            "#{} {} {}",
            entry.number,
            entry.kind,
            text::clean(&entry.event)
        );
        self.row("event", Tone::Title, &title);
        self.row("time", Tone::Plain, &text::date_time(entry.at_ms));
        if !entry.conn.is_empty() {
            let way = match entry.direction {
                Direction::Sent => "sent by ",
                Direction::Received => "received by ",
                Direction::Inside => "",
            };
            let scope = match entry.scope.as_str() {
                "" => String::new(),
                scope => format!(" ({scope}-scoped)"),
            };
            self.row(
                "connection",
                Tone::Plain,
                &format!("{way}{}{scope}", text::clean(&entry.conn)),
            );
        }
        if !entry.account.is_empty() {
            self.row("account", Tone::Plain, &text::clean(&entry.account));
        }
        if let Some(entity) = &entry.entity {
            let label = match entity {
                Entity::Session(_) => "session",
                Entity::Machine(_) => "machine",
                Entity::Artifact(_) => "artifact",
                Entity::Method(_) => "method",
                Entity::Other(_) => "about",
            };
            self.row(label, Tone::Plain, &text::clean(entity.id()));
        }
        let mut numbers = String::new();
        let mut add = |name: &str, value: Option<u64>| {
            if let Some(value) = value {
                let _ = write!(numbers, "{name} {value}  ");
            }
        };
        add("seq", entry.seq);
        add("ack", entry.ack);
        let _ = write!(numbers, "{}", text::bytes(entry.size as usize));
        if let Some(latency) = entry.latency_us {
            let _ = write!(numbers, "  after {}", text::latency(latency));
        }
        if let Some(id) = &entry.id {
            let _ = write!(numbers, "  id {}", text::clean(id));
        }
        self.row("numbers", Tone::Plain, &numbers);
    }

    fn verdicts(&mut self, entry: &Entry) {
        let verdict = judge(entry);
        for lint in &entry.lints {
            let label = lint
                .level
                .map_or("hint".to_owned(), |level| level.to_string());
            let told = format!("{}: {}", lint.rule, lint.text);
            self.row(&label, Tone::Bad, &text::clean(&told));
        }
        match verdict {
            None => {}
            Some((name, violations)) if violations.is_empty() => {
                self.row("schema", Tone::Good, &format!("valid: {name}"));
            }
            Some((name, violations)) => {
                self.row("schema", Tone::Bad, &format!("not valid: {name}"));
                for violation in &violations {
                    let told = format!("{} {violation}", violation.level);
                    self.row("", Tone::Warning, &text::clean(&told));
                }
            }
        }
    }

    fn recipients(&mut self, entry: &Entry) {
        if let Recipients::Routed(routed) = &entry.recipients {
            self.row("filter", Tone::Plain, &text::clean(&routed.filter));
            let count = text::count(routed.recipients.len(), "connection");
            self.row("routed to", Tone::Plain, &count);
            // Where our own connections are known to have got it, they are listed with the times.
            for conn in routed.recipients.iter().take(LISTED) {
                if !routed.receipts.iter().any(|receipt| receipt.conn == *conn) {
                    self.row("", Tone::Plain, &text::clean(conn));
                }
            }
            self.more(routed.recipients.len());
            if let Some(skipped) = &routed.skipped {
                self.row("skipped", Tone::Warning, &text::clean(skipped));
            }
        }
        let receipts = entry.recipients.receipts();
        let Some(first) = receipts.iter().map(|receipt| receipt.t_us).min() else {
            return;
        };
        let count = text::count(receipts.len(), "connection");
        self.row("got by", Tone::Plain, &count);
        for receipt in receipts.iter().take(LISTED) {
            let after = text::latency(receipt.t_us - first);
            let told = format!("{} +{after}", text::clean(&receipt.conn));
            self.row("", Tone::Plain, &told);
        }
        self.more(receipts.len());
    }

    /// Says how many of a list were left out.
    fn more(&mut self, count: usize) {
        if count > LISTED {
            self.row("", Tone::Faint, &format!("and {} more", count - LISTED));
        }
    }

    fn related(&mut self, entry: &Entry, related: &[Arc<Entry>]) {
        for (at, other) in related
            .iter()
            .filter(|other| other.number != entry.number)
            .enumerate()
        {
            let label = if at == 0 { "belongs to" } else { "" };
            let way = match other.direction {
                Direction::Sent => "sent",
                Direction::Received => "received",
                Direction::Inside => "",
            };
            let event = text::clean(&other.event);
            let mut told = format!("#{} {} {event} {way}", other.number, other.kind);
            if let Some(latency) = other.latency_us {
                let _ = write!(told, " after {}", text::latency(latency));
            }
            self.row(label, Tone::Plain, told.trim_end());
        }
    }

    fn payload(&mut self, entry: &Entry) {
        self.push(Vec::new());
        match serde_json::from_str::<Value>(&entry.raw) {
            Ok(value) => self.json(0, Vec::new(), &value, ""),
            Err(_) => {
                for line in entry.raw.lines() {
                    self.wrapped(
                        Vec::new(),
                        0,
                        &[(Tone::Plain, text::clean(line).into_owned())],
                        0,
                    );
                }
            }
        }
    }

    /// Writes a value that stands after `lead`, followed by `tail` (a comma or nothing).
    fn json(&mut self, depth: usize, lead: Line, value: &Value, tail: &str) {
        if self.rows.len() >= LONGEST {
            return;
        }
        // Deep JSON would leave no room for itself.
        let indent = (depth * 2).min(self.width / 2);
        let used = lead
            .iter()
            .map(|(_, piece)| text::width(piece))
            .sum::<usize>();
        let (used, lead) = match lead.is_empty() {
            true => (indent, vec![(Tone::Plain, " ".repeat(indent))]),
            false => (used, lead),
        };
        let plain = |text: &str| (Tone::Plain, text.to_owned());
        match value {
            Value::Object(map) if !map.is_empty() => {
                self.wrapped(lead, used, &[plain("{")], indent);
                let last = map.len() - 1;
                for (at, (key, value)) in map.iter().enumerate() {
                    let inner = (depth * 2 + 2).min(self.width / 2);
                    let key_text = text::clean(&Value::from(key.as_str()).to_string()).into_owned();
                    let lead = vec![
                        plain(&" ".repeat(inner)),
                        (Tone::JsonKey, text::cut(&key_text, self.width / 2)),
                        plain(": "),
                    ];
                    let tail = if at == last { "" } else { "," };
                    // Sources redact; this is the second door, for recordings that somebody else wrote.
                    if is_secret_key(key) && value.is_string() {
                        self.json(depth + 1, lead, &Value::from("…"), tail);
                    } else {
                        self.json(depth + 1, lead, value, tail);
                    }
                }
                let close = vec![plain(&" ".repeat(indent)), plain("}"), plain(tail)];
                self.push(close);
            }
            Value::Array(items) if !items.is_empty() => {
                self.wrapped(lead, used, &[plain("[")], indent);
                let last = items.len() - 1;
                for (at, value) in items.iter().enumerate() {
                    let tail = if at == last { "" } else { "," };
                    self.json(depth + 1, Vec::new(), value, tail);
                }
                let close = vec![plain(&" ".repeat(indent)), plain("]"), plain(tail)];
                self.push(close);
            }
            other => {
                let tone = match other {
                    Value::String(_) => Tone::JsonString,
                    Value::Number(_) => Tone::JsonNumber,
                    Value::Null | Value::Bool(_) => Tone::JsonLiteral,
                    Value::Array(_) | Value::Object(_) => Tone::Plain,
                };
                let shown = text::clean(&other.to_string()).into_owned();
                let indent = (indent + 2).min(self.width / 2);
                self.wrapped(lead, used, &[(tone, shown), plain(tail)], indent);
            }
        }
    }
}

/// The schema that an entry is judged by, and what it violates; nothing where there is none.
fn judge(entry: &Entry) -> Option<(String, Vec<Violation>)> {
    let value: Value = serde_json::from_str(&entry.raw).ok()?;
    // A trace keeps the arguments of an event as they are, in an array.
    let payload = match (&value, entry.kind) {
        (Value::Array(arguments), Kind::Ack | Kind::Call | Kind::Rpc) => arguments.first()?,
        _ => &value,
    };
    let named = |folder: &str, kind: &EventKind| match kind {
        EventKind::Known(name) => format!("{folder}/{name}"),
        EventKind::Unknown(_) | EventKind::Missing => format!("envelope/{folder}"),
    };
    match (entry.kind, entry.direction) {
        (Kind::Update, _) => {
            let report = validate_update(payload);
            Some((named("update", &report.kind), report.violations))
        }
        (Kind::Ephemeral, _) => {
            let report = validate_ephemeral(payload);
            Some((named("ephemeral", &report.kind), report.violations))
        }
        (Kind::Ack, _) | (Kind::Rpc, Direction::Received)
            if entry.kind == Kind::Ack || &*entry.event == "rpc-call" =>
        {
            let report = validate_ack(&entry.event, payload)?;
            let variant = report
                .variant
                .map_or("no variant", |variant| variant.as_str());
            Some((format!("ack/{}, {variant}", entry.event), report.violations))
        }
        (Kind::Call | Kind::Rpc, Direction::Sent) => {
            by_name(&format!("event/{}", entry.event), payload)
        }
        (Kind::Rpc, Direction::Received) => by_name(&format!("rpc/{}", entry.event), payload),
        _ => None,
    }
}

fn by_name(name: &str, payload: &Value) -> Option<(String, Vec<Violation>)> {
    let violations = schema(name)?.validate(payload).err().unwrap_or_default();
    Some((name.to_owned(), violations))
}
