//! Socket.IO 5 packets: `type [attachments -] [namespace ,] [ack id] [payload]`.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{
    Deserializer,
    de::{self, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{DecodeError, Problem};

/// A decoded Socket.IO packet. Everything is a slice of the text that it came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The namespace, `/` unless named.
    pub namespace: &'a str,
    /// What it carries.
    pub body: Body<'a>,
}

/// What a packet carries, by type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body<'a> {
    /// `0`: the client's auth object, or the server's `{sid}`; empty where there is none.
    Connect(&'a str),
    /// `1`: the sender leaves the namespace.
    Disconnect,
    /// `2`, and `5` with binary attachments: an event.
    Event {
        /// The event's name.
        name: Cow<'a, str>,
        /// The other elements of the array, raw and without brackets.
        args: &'a str,
        /// Set when the sender asks for an ack.
        ack: Option<u64>,
        /// How many binary frames follow.
        attachments: usize,
    },
    /// `3`, and `6` with binary attachments: the answer to an event.
    Ack {
        /// The id of the event that it answers.
        id: u64,
        /// The elements of the array, raw and without brackets.
        args: &'a str,
        /// How many binary frames follow.
        attachments: usize,
    },
    /// `4`: CONNECT is refused; a JSON object with `message` and perhaps `data`.
    ConnectError(&'a str),
}

impl<'a> Packet<'a> {
    /// A packet of the default namespace.
    pub fn new(body: Body<'a>) -> Self {
        Self {
            namespace: "/",
            body,
        }
    }
}

/// Decodes a packet; `text` is what follows the Engine.IO message type.
///
/// # Errors
/// Everything that the protocol does not allow, with its position. JSON is checked for syntax
/// only; its nesting and its numbers are not.
pub fn decode(text: &str) -> Result<Packet<'_>, DecodeError> {
    let mut rest = Rest { text, at: 0 };
    let kind = rest.kind()?;
    let attachments = match kind {
        '5' | '6' => rest.attachments()?,
        _ => 0,
    };
    let namespace = rest.namespace();
    let id = rest.number()?;
    let start = rest.at;
    let payload = rest.take();
    let at = |error: DecodeError| error.shifted(start);
    if id.is_some() && !matches!(kind, '2' | '3' | '5' | '6') {
        return Err(DecodeError::new(start, Problem::Unexpected));
    }
    let body = match kind {
        '0' => Body::Connect(object(payload, true).map_err(at)?),
        '1' if payload.is_empty() => Body::Disconnect,
        '1' => return Err(DecodeError::new(start, Problem::Unexpected)),
        '4' => Body::ConnectError(object(payload, false).map_err(at)?),
        '2' | '5' => {
            let (name, args) = event(payload).map_err(at)?;
            Body::Event {
                name,
                args,
                ack: id,
                attachments,
            }
        }
        _ => {
            let id = id.ok_or_else(|| DecodeError::new(start, Problem::AckId))?;
            Body::Ack {
                id,
                args: elements(payload).map_err(at)?,
                attachments,
            }
        }
    };
    Ok(Packet { namespace, body })
}

/// Encodes a packet, without the Engine.IO message type. Payloads are written as they are.
pub fn encode(packet: &Packet<'_>) -> String {
    let mut text = String::new();
    write_packet(&mut text, packet);
    text
}

/// Encodes a packet as the Engine.IO message that carries it (`42["event"]`).
pub fn encode_message(packet: &Packet<'_>) -> String {
    let size = match &packet.body {
        Body::Event { name, args, .. } => name.len() + args.len(),
        Body::Ack { args, .. } => args.len(),
        Body::Connect(payload) | Body::ConnectError(payload) => payload.len(),
        Body::Disconnect => 0,
    };
    // Room for the types, an ack id, quotes and brackets.
    let mut text = String::with_capacity(size + 32);
    text.push('4');
    write_packet(&mut text, packet);
    text
}

fn write_packet(text: &mut String, packet: &Packet<'_>) {
    let (kind, attachments) = match &packet.body {
        Body::Connect(_) => ('0', 0),
        Body::Disconnect => ('1', 0),
        Body::Event { attachments: 0, .. } => ('2', 0),
        Body::Ack { attachments: 0, .. } => ('3', 0),
        Body::ConnectError(_) => ('4', 0),
        Body::Event { attachments, .. } => ('5', *attachments),
        Body::Ack { attachments, .. } => ('6', *attachments),
    };
    text.push(kind);
    if attachments > 0 {
        text.push_str(&attachments.to_string());
        text.push('-');
    }
    if packet.namespace != "/" {
        text.push_str(packet.namespace);
        text.push(',');
    }
    match &packet.body {
        Body::Connect(payload) | Body::ConnectError(payload) => text.push_str(payload),
        Body::Disconnect => {}
        Body::Event {
            name, args, ack, ..
        } => {
            if let Some(id) = ack {
                text.push_str(&id.to_string());
            }
            text.push('[');
            push_json_string(text, name);
            if !args.is_empty() {
                text.push(',');
                text.push_str(args);
            }
            text.push(']');
        }
        Body::Ack { id, args, .. } => {
            text.push_str(&id.to_string());
            text.push('[');
            text.push_str(args);
            text.push(']');
        }
    }
}

/// Event names are nearly always plain, and then need no escaping.
fn push_json_string(text: &mut String, value: &str) {
    if value.bytes().all(|b| b >= b' ' && b != b'"' && b != b'\\') {
        text.push('"');
        text.push_str(value);
        text.push('"');
    } else {
        text.push_str(&serde_json::Value::from(value).to_string());
    }
}

/// The part of a packet that is not decoded yet.
struct Rest<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Rest<'a> {
    fn ahead(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn take(&mut self) -> &'a str {
        let rest = self.ahead();
        self.at = self.text.len();
        rest
    }

    fn kind(&mut self) -> Result<char, DecodeError> {
        let Some(kind) = self.text.chars().next() else {
            return Err(DecodeError::new(0, Problem::Empty));
        };
        if !matches!(kind, '0'..='6') {
            return Err(DecodeError::new(0, Problem::SocketType(kind)));
        }
        self.at = 1;
        Ok(kind)
    }

    fn attachments(&mut self) -> Result<usize, DecodeError> {
        let start = self.at;
        let count = self.number::<usize>()?;
        match (count, self.ahead().strip_prefix('-')) {
            (Some(count), Some(_)) => {
                self.at += 1;
                Ok(count)
            }
            _ => Err(DecodeError::new(start, Problem::Attachments)),
        }
    }

    fn namespace(&mut self) -> &'a str {
        let ahead = self.ahead();
        if !ahead.starts_with('/') {
            return "/";
        }
        let end = ahead.find(',').unwrap_or(ahead.len());
        self.at += (end + 1).min(ahead.len());
        &ahead[..end]
    }

    fn number<T: FromStr>(&mut self) -> Result<Option<T>, DecodeError> {
        let ahead = self.ahead();
        let end = ahead
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(ahead.len());
        if end == 0 {
            return Ok(None);
        }
        let number = ahead[..end]
            .parse()
            .map_err(|_| DecodeError::new(self.at, Problem::Number))?;
        self.at += end;
        Ok(Some(number))
    }
}

/// Byte offset of a JSON error; serde_json counts columns of bytes, from 1.
pub(crate) fn json_error(
    payload: &str,
    expected: &'static str,
    error: &serde_json::Error,
) -> DecodeError {
    let lines = payload
        .split_inclusive('\n')
        .take(error.line().saturating_sub(1));
    let before: usize = lines.map(str::len).sum();
    let at = (before + error.column().saturating_sub(1)).min(payload.len());
    // The position is told by `at`; serde_json's own would count from another beginning.
    let mut reason = error.to_string();
    if let Some(end) = reason.rfind(" at line ") {
        reason.truncate(end);
    }
    DecodeError::new(at, Problem::Json { expected, reason })
}

fn object(payload: &str, may_be_empty: bool) -> Result<&str, DecodeError> {
    const EXPECTED: &str = "a JSON object";
    if payload.is_empty() && may_be_empty {
        return Ok(payload);
    }
    let raw: &RawValue =
        serde_json::from_str(payload).map_err(|e| json_error(payload, EXPECTED, &e))?;
    if !raw.get().starts_with('{') {
        let reason = "found another JSON value".to_owned();
        return Err(DecodeError::new(
            0,
            Problem::Json {
                expected: EXPECTED,
                reason,
            },
        ));
    }
    Ok(payload)
}

fn event(payload: &str) -> Result<(Cow<'_, str>, &str), DecodeError> {
    const EXPECTED: &str = "a JSON array that begins with the event's name";
    let mut json = serde_json::Deserializer::from_str(payload);
    let (name, args) = json
        .deserialize_seq(EventVisitor)
        .and_then(|parts| json.end().map(|()| parts))
        .map_err(|e| json_error(payload, EXPECTED, &e))?;
    Ok((name, spanned(payload, args)))
}

fn elements(payload: &str) -> Result<&str, DecodeError> {
    const EXPECTED: &str = "a JSON array";
    let mut json = serde_json::Deserializer::from_str(payload);
    let args = json
        .deserialize_seq(ElementsVisitor)
        .and_then(|args| json.end().map(|()| args))
        .map_err(|e| json_error(payload, EXPECTED, &e))?;
    Ok(spanned(payload, args))
}

/// The first and the last element of a list, as slices of the payload.
type Span<'a> = Option<(&'a str, &'a str)>;

/// The text from the first element to the end of the last.
fn spanned<'a>(payload: &'a str, span: Span<'a>) -> &'a str {
    let Some((first, last)) = span else { return "" };
    let offset = |part: &str| part.as_ptr().addr() - payload.as_ptr().addr();
    &payload[offset(first)..offset(last) + last.len()]
}

fn rest_of<'de, A: SeqAccess<'de>>(seq: &mut A) -> Result<Span<'de>, A::Error> {
    let Some(first) = seq.next_element::<&RawValue>()? else {
        return Ok(None);
    };
    let mut last = first;
    while let Some(next) = seq.next_element()? {
        last = next;
    }
    Ok(Some((first.get(), last.get())))
}

struct ElementsVisitor;

impl<'de> Visitor<'de> for ElementsVisitor {
    type Value = Span<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        rest_of(&mut seq)
    }
}

struct EventVisitor;

impl<'de> Visitor<'de> for EventVisitor {
    type Value = (Cow<'de, str>, Span<'de>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let name: Option<Name<'de>> = seq.next_element()?;
        let Name(name) = name.ok_or_else(|| de::Error::invalid_length(0, &"an event name"))?;
        Ok((name, rest_of(&mut seq)?))
    }
}

/// An event name: borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
