//! A record's form in the file: one flat object, whose keys are in the module's table.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use super::record::{Exchange, Kind, Record, Traced, hide_proofs};
use crate::{
    codec::Args,
    secret::{is_secret_key, redact},
    tap::Direction,
};

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Line {
    t_us: u64,
    conn: String,
    dir: Dir,
    #[serde(skip_serializing_if = "Option::is_none")]
    packet: Option<Packet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ack_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attachments: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recipients: Option<Vec<String>>,
}

#[derive(Default, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Dir {
    C2s,
    S2c,
    Http,
    #[default]
    Mark,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Packet {
    Open,
    Close,
    Ping,
    Pong,
    Upgrade,
    Noop,
    Connect,
    ConnectError,
    Disconnect,
    Event,
    Ack,
    Binary,
    Raw,
}

impl Line {
    /// The line of a record, without its tokens.
    pub(super) fn of(record: &Record) -> serde_json::Result<Self> {
        let base = Self {
            t_us: record.t_us,
            conn: record.conn.clone(),
            recipients: record.recipients.clone(),
            ..Self::default()
        };
        Ok(match &record.kind {
            Kind::Mark(text) => Self {
                text: Some(text.clone()),
                ..base
            },
            Kind::Http(exchange) => Self {
                dir: Dir::Http,
                method: Some(exchange.method.clone()),
                url: Some(exchange.url.clone()),
                status: exchange.status,
                request: exchange.request.as_ref().map(without_tokens).map(hidden),
                response: exchange.response.as_ref().map(without_tokens),
                ms: Some(exchange.ms),
                us: exchange.us,
                ..base
            },
            Kind::Packet(direction, packet) => {
                let dir = match direction {
                    Direction::Sent => Dir::C2s,
                    Direction::Received => Dir::S2c,
                };
                Self { dir, ..base }.with_packet(packet)?
            }
        })
    }

    fn with_packet(self, packet: &Traced) -> serde_json::Result<Self> {
        let kind = |packet| Some(packet);
        Ok(match packet {
            Traced::Open(data) => Self {
                packet: kind(Packet::Open),
                data: Some(data.clone()),
                ..self
            },
            Traced::Close => Self {
                packet: kind(Packet::Close),
                ..self
            },
            Traced::Ping(text) => Self {
                packet: kind(Packet::Ping),
                text: not_empty(text),
                ..self
            },
            Traced::Pong(text) => Self {
                packet: kind(Packet::Pong),
                text: not_empty(text),
                ..self
            },
            Traced::Upgrade => Self {
                packet: kind(Packet::Upgrade),
                ..self
            },
            Traced::Noop => Self {
                packet: kind(Packet::Noop),
                ..self
            },
            Traced::Connect(data) => Self {
                packet: kind(Packet::Connect),
                data: Some(without_tokens(data)).filter(|data| !data.is_null()),
                ..self
            },
            Traced::ConnectError(data) => Self {
                packet: kind(Packet::ConnectError),
                data: Some(without_tokens(data)),
                ..self
            },
            Traced::Disconnect => Self {
                packet: kind(Packet::Disconnect),
                ..self
            },
            Traced::Event {
                name,
                args,
                ack,
                attachments,
            } => Self {
                packet: kind(Packet::Event),
                event: Some(name.clone()),
                args: Some(RawValue::from_string(args.to_array())?),
                ack_id: *ack,
                attachments: Some(*attachments).filter(|n| *n > 0),
                ..self
            },
            Traced::Ack {
                id,
                args,
                attachments,
            } => Self {
                packet: kind(Packet::Ack),
                args: Some(RawValue::from_string(args.to_array())?),
                ack_id: Some(*id),
                attachments: Some(*attachments).filter(|n| *n > 0),
                ..self
            },
            Traced::Binary { size, bytes } => Self {
                packet: kind(Packet::Binary),
                bytes: Some(*size),
                base64: bytes.as_ref().map(|bytes| STANDARD.encode(bytes)),
                ..self
            },
            Traced::Raw(text) => Self {
                packet: kind(Packet::Raw),
                text: Some(redact_raw(text)),
                ..self
            },
        })
    }

    /// The record of a line, or which key is missing.
    pub(super) fn into_record(mut self) -> Result<Record, &'static str> {
        let recipients = self.recipients.take();
        let (t_us, conn) = (self.t_us, std::mem::take(&mut self.conn));
        let kind = match self.dir {
            Dir::Mark => Kind::Mark(self.text.ok_or("text")?),
            // Older traces hold what nobody is to see.
            Dir::Http => Kind::Http(Exchange {
                method: self.method.ok_or("method")?,
                url: self.url.ok_or("url")?,
                status: self.status,
                request: self.request.map(hidden),
                response: self.response,
                ms: self.ms.unwrap_or_default(),
                us: self.us,
            }),
            Dir::C2s => Kind::Packet(Direction::Sent, self.into_packet()?),
            Dir::S2c => Kind::Packet(Direction::Received, self.into_packet()?),
        };
        Ok(Record {
            t_us,
            conn,
            kind,
            recipients,
        })
    }

    fn into_packet(self) -> Result<Traced, &'static str> {
        let attachments = self.attachments.unwrap_or_default();
        Ok(match self.packet.ok_or("packet")? {
            Packet::Open => Traced::Open(self.data.ok_or("data")?),
            Packet::Close => Traced::Close,
            Packet::Ping => Traced::Ping(self.text.unwrap_or_default()),
            Packet::Pong => Traced::Pong(self.text.unwrap_or_default()),
            Packet::Upgrade => Traced::Upgrade,
            Packet::Noop => Traced::Noop,
            Packet::Connect => Traced::Connect(self.data.unwrap_or_default()),
            Packet::ConnectError => Traced::ConnectError(self.data.ok_or("data")?),
            Packet::Disconnect => Traced::Disconnect,
            Packet::Event => Traced::Event {
                name: self.event.ok_or("event")?,
                args: elements(self.args.as_deref())?,
                ack: self.ack_id,
                attachments,
            },
            Packet::Ack => Traced::Ack {
                id: self.ack_id.ok_or("ackId")?,
                args: elements(self.args.as_deref())?,
                attachments,
            },
            Packet::Binary => {
                let bytes = self.base64.map(|text| STANDARD.decode(text)).transpose();
                Traced::Binary {
                    size: self.bytes.ok_or("bytes")?,
                    bytes: bytes
                        .map_err(|_| "base64, in its standard form")?
                        .map(Into::into),
                }
            }
            Packet::Raw => Traced::Raw(self.text.ok_or("text")?),
        })
    }
}

fn not_empty(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

/// The elements of an array, which is what `args` has to be.
fn elements(array: Option<&RawValue>) -> Result<Args, &'static str> {
    let inner = array.and_then(|array| array.get().strip_prefix('[')?.strip_suffix(']'));
    inner.map(Args::raw).ok_or("args, an array")
}

fn hidden(mut body: Value) -> Value {
    hide_proofs(&mut body);
    body
}

/// A copy in which the strings under secret keys, at any depth, are redacted, as a trace has it.
pub fn without_tokens(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(without_tokens).collect(),
        Value::Object(map) => {
            let redacted = map.iter().map(|(key, value)| {
                let value = match value {
                    // That there was none has to be seen.
                    Value::String(text) if is_secret_key(key) && !text.is_empty() => {
                        Value::String(redact(text))
                    }
                    other => without_tokens(other),
                };
                (key.clone(), value)
            });
            Value::Object(redacted.collect())
        }
        other => other.clone(),
    }
}

/// A text that is no packet may still be a broken CONNECT. What stands under `"token"` is redacted;
/// where it cannot be told what that is, nothing behind it is kept.
pub(super) fn redact_raw(text: &str) -> String {
    const KEY: &str = "token";
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(KEY) {
        let (head, tail) = rest.split_at(at + KEY.len());
        kept.push_str(head);
        rest = tail;
        if rest.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            continue;
        }
        if rest.trim_end() == "\":" {
            continue;
        }
        let Some((before, value)) = quoted_value(rest) else {
            kept.push('…');
            return kept;
        };
        kept.push_str(before);
        kept.push_str(&redact(value));
        rest = &rest[before.len() + value.len()..];
    }
    kept.push_str(rest);
    kept
}

/// What stands behind a key up to the beginning of its value, and the value, where that is a string
/// without escapes.
fn quoted_value(behind: &str) -> Option<(&str, &str)> {
    let value = behind.strip_prefix('"')?.trim_start();
    let value = value.strip_prefix(':')?.trim_start().strip_prefix('"')?;
    let end = value
        .find(['"', '\\'])
        .filter(|end| value[*end..].starts_with('"'))?;
    Some((&behind[..behind.len() - value.len()], &value[..end]))
}

#[cfg(test)]
mod tests {
    use super::redact_raw;

    #[test]
    fn broken_packets_show_no_token() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            assert_eq!(redact_raw(text), expected);
        }
        check("42[nonsense", "42[nonsense");
        check(
            r#"40/admin,{"token":"abcdefghijklmnop","x":1}"#,
            r#"40/admin,{"token":"abcde…","x":1}"#,
        );
        check(
            r#"40[{"token" : "a1…"},{"token":"a2…"}]"#,
            r#"40[{"token" : "a1…"},{"token":"a2…"}]"#,
        );
        check(r#"40{"tokens":{"total":1}"#, r#"40{"tokens":{"total":1}"#);
        check(r#"40{"token":["secret"]"#, r#"40{"token…"#);
        check(r#"40{"token":"secr\"et"#, r#"40{"token…"#);
        check(r#"40{"token":"secret"#, r#"40{"token…"#);
        check(r#"40{"token":"#, r#"40{"token":"#);
        check("token secret", "token…");
    }
}
