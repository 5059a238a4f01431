//! A record of a trace, as far as the lines that made a finding are looked for in it.

use std::borrow::Cow;

use serde_json::Value;
use touchstone_client::{
    Args, Direction as Way,
    trace::{Kind, Record, Traced},
};

/// What markers of the suite's own events begin with: they cause nothing that is judged.
const HELPERS: [&str; 3] = ["sentinel", "probe", "series"];

/// A record, as far as it is searched.
pub(super) struct Look<'r> {
    pub(super) conn: &'r str,
    pub(super) what: What,
    /// What is said beside the JSON: the URL of a request, or a note.
    pub(super) head: Cow<'r, str>,
    /// The JSON in it, its values separated by commas. A server may send much: it is not copied.
    pub(super) json: Cow<'r, str>,
}

#[derive(PartialEq, Eq)]
pub(super) enum What {
    /// The suite sends an event, asking for the answer of this id.
    Sends(String, Option<u64>),
    Connects,
    Receives,
    IsAnswered(u64),
    /// CONNECT is answered, in either way.
    IsAdmittedOrRefused,
    Http,
    Note,
    Other,
}

impl<'r> Look<'r> {
    pub(super) fn at(record: &'r Record) -> Self {
        let args = |args: &'r Args| Cow::from(args.as_str());
        let whole = |data: &Value| Cow::from(data.to_string());
        let mut head = Cow::default();
        let (what, json) = match &record.kind {
            Kind::Packet(
                Way::Sent,
                Traced::Event {
                    name, args: a, ack, ..
                },
            ) => (What::Sends(name.clone(), *ack), args(a)),
            Kind::Packet(Way::Sent, Traced::Connect(data)) => (What::Connects, whole(data)),
            Kind::Packet(Way::Received, Traced::Event { args: a, .. }) => (What::Receives, args(a)),
            Kind::Packet(Way::Received, Traced::Ack { id, args: a, .. }) => {
                (What::IsAnswered(*id), args(a))
            }
            Kind::Packet(Way::Received, Traced::Connect(data) | Traced::ConnectError(data)) => {
                (What::IsAdmittedOrRefused, whole(data))
            }
            Kind::Http(exchange) => {
                head = Cow::from(&exchange.url);
                let bodies = [&exchange.request, &exchange.response];
                let bodies: Vec<_> = bodies.into_iter().flatten().map(Value::to_string).collect();
                (What::Http, bodies.join(",").into())
            }
            Kind::Mark(text) => {
                head = Cow::from(text);
                (What::Note, Cow::default())
            }
            Kind::Packet(..) => (What::Other, Cow::default()),
        };
        Self {
            conn: &record.conn,
            what,
            head,
            json,
        }
    }

    /// Whether this is something that a case does to see what comes of it.
    pub(super) fn acts(&self, salt: &str) -> bool {
        match &self.what {
            What::Sends(name, _) => name != "ping" && !self.helps(salt),
            What::Connects | What::Http => true,
            _ => false,
        }
    }

    /// Whether it is an event of the suite's own, such as a sentinel.
    pub(super) fn helps(&self, salt: &str) -> bool {
        self.markers(salt).any(is_helper)
    }

    /// The values of the suite in it.
    pub(super) fn markers<'l>(&'l self, salt: &'l str) -> impl Iterator<Item = &'l str> {
        let texts = [self.head.as_ref(), self.json.as_ref()];
        texts
            .into_iter()
            .flat_map(move |text| markers_in(text, salt))
    }

    pub(super) fn mentions(&self, markers: &[String]) -> bool {
        markers.iter().any(|marker| {
            self.head.contains(marker.as_str()) || self.json.contains(marker.as_str())
        })
    }

    /// Whether it is `name` or a later connection of that name.
    pub(super) fn is_of(&self, name: &str) -> bool {
        let rest = self.conn.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('#'))
    }

    pub(super) fn is_of_any(&self, names: &[String]) -> bool {
        names.iter().any(|name| self.is_of(name))
    }

    /// Whether the server sent it, or a part of it.
    pub(super) fn came(&self) -> bool {
        matches!(
            self.what,
            What::Receives | What::IsAnswered(_) | What::Http | What::IsAdmittedOrRefused
        )
    }

    /// Whether what came holds `value` somewhere.
    pub(super) fn holds(&self, value: &Value) -> bool {
        let values = || -> Vec<Value> {
            serde_json::from_str(&format!("[{}]", self.json)).unwrap_or_default()
        };
        self.came() && values().iter().any(|all| contains(all, value))
    }
}

/// The values of the suite in `text`: texts of letters and digits that contain `salt`.
pub(crate) fn markers_in<'t>(text: &'t str, salt: &'t str) -> impl Iterator<Item = &'t str> {
    let is_part = |c: char| c.is_ascii_alphanumeric();
    text.match_indices(salt).map(move |(at, _)| {
        let head = text[..at].trim_end_matches(is_part).len();
        let tail = text[at..].trim_start_matches(is_part).len();
        &text[head..text.len() - tail]
    })
}

/// Whether a marker is of an event of the suite's own.
pub(super) fn is_helper(marker: &str) -> bool {
    HELPERS.iter().any(|it| marker.starts_with(it))
}

fn contains(all: &Value, part: &Value) -> bool {
    all == part
        || match all {
            Value::Array(items) => items.iter().any(|item| contains(item, part)),
            Value::Object(fields) => fields.values().any(|field| contains(field, part)),
            _ => false,
        }
}
