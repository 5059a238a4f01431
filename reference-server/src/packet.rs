//! The Socket.IO packets that travel inside Engine.IO messages, as text in and text out.
//!
//! Arguments stay raw JSON: who needs a field parses it, and what is only passed on (RPC parameters
//! and results) is never rebuilt. The module knows no events, no accounts and no sockets.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use engineioxide::Str;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// Attachments that one binary packet may announce. The specification has no binary events, so this
/// only bounds what a careless client can make us hold.
const MAX_ATTACHMENTS: usize = 64;

/// A packet as it came, without its namespace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    /// CONNECT with its auth payload, if any.
    Connect(Option<String>),
    /// DISCONNECT: the client leaves the namespace.
    Disconnect,
    /// An event: a JSON array whose first element is the name.
    Event { ack: Option<u64>, args: String },
    /// The answer to an event of ours: a JSON array of arguments.
    Ack { id: u64, args: String },
    /// The head of an event or ack whose attachments follow in so many binary messages.
    Binary {
        attachments: usize,
        head: Box<Packet>,
    },
}

/// Why a message is no packet. The connection that sent it is closed, as real servers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PacketError {
    #[error("unknown packet type")]
    Type,
    #[error("ack id missing or too large")]
    AckId,
    #[error("attachment count missing or too large")]
    Attachments,
    #[error("attachment without a packet that announced it, or a packet before its attachments")]
    OutOfOrder,
    #[error("arguments are no JSON array, or an event has no name")]
    Arguments,
}

/// Splits a message into its namespace and packet.
pub(crate) fn decode(text: &str) -> Result<(&str, Packet), PacketError> {
    let kind = *text.as_bytes().first().ok_or(PacketError::Type)?;
    let mut rest = text.get(1..).ok_or(PacketError::Type)?;
    let mut attachments = 0;
    if matches!(kind, b'5' | b'6') {
        let (count, after) = rest.split_once('-').ok_or(PacketError::Attachments)?;
        attachments = digits(count).ok_or(PacketError::Attachments)?;
        if attachments > MAX_ATTACHMENTS {
            return Err(PacketError::Attachments);
        }
        rest = after;
    }
    let mut namespace = "/";
    if rest.starts_with('/') {
        (namespace, rest) = rest.split_once(',').unwrap_or((rest, ""));
    }
    let end = rest
        .bytes()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(rest.len());
    let (number, body) = rest.split_at(end);
    let id = match number {
        "" => None,
        number => Some(digits(number).ok_or(PacketError::AckId)?),
    };
    let packet = match kind {
        b'0' => Packet::Connect((!body.is_empty()).then(|| body.to_owned())),
        b'1' => Packet::Disconnect,
        b'2' | b'5' => Packet::Event {
            ack: id,
            args: body.to_owned(),
        },
        b'3' | b'6' => Packet::Ack {
            id: id.ok_or(PacketError::AckId)?,
            args: body.to_owned(),
        },
        _ => return Err(PacketError::Type),
    };
    Ok((
        namespace,
        if attachments > 0 {
            Packet::Binary {
                attachments,
                head: Box::new(packet),
            }
        } else {
            packet
        },
    ))
}

fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

/// A binary packet whose attachments are still coming.
#[derive(Debug)]
pub(crate) struct Pending {
    head: Packet,
    wanted: usize,
    bytes: Vec<Bytes>,
}

impl Pending {
    pub(crate) fn new(attachments: usize, head: Packet) -> Self {
        Self {
            head,
            wanted: attachments,
            bytes: Vec::new(),
        }
    }

    /// Takes one attachment; the packet once it is whole. Each attachment stands in the arguments as
    /// standard base64 text, which is what real servers store for a binary `message`.
    pub(crate) fn add(mut self, attachment: Bytes) -> Result<Result<Packet, Self>, PacketError> {
        self.bytes.push(attachment);
        if self.bytes.len() < self.wanted {
            return Ok(Err(self));
        }
        let (Packet::Event { args, .. } | Packet::Ack { args, .. }) = &mut self.head else {
            return Err(PacketError::OutOfOrder);
        };
        let mut value: Value = serde_json::from_str(args).map_err(|_| PacketError::Arguments)?;
        fill(&mut value, &self.bytes);
        *args = value.to_string();
        Ok(Ok(self.head))
    }
}

/// Puts attachments in the place of their placeholders. The depth of `value` is bounded by its parser.
fn fill(value: &mut Value, attachments: &[Bytes]) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| fill(item, attachments)),
        Value::Object(fields) if fields.get("_placeholder") == Some(&Value::Bool(true)) => {
            let index = fields
                .get("num")
                .and_then(Value::as_u64)
                .and_then(|n| usize::try_from(n).ok());
            if let Some(bytes) = index.and_then(|index| attachments.get(index)) {
                *value = Value::String(STANDARD.encode(bytes));
            }
        }
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|field| fill(field, attachments)),
        _ => {}
    }
}

/// The name of an event and its first argument as raw JSON. What comes after it is ignored: a client
/// may put anything there.
pub(crate) fn event(args: &str) -> Result<(String, Option<&RawValue>), PacketError> {
    let items: Vec<&RawValue> = serde_json::from_str(args).map_err(|_| PacketError::Arguments)?;
    let name = items.first().ok_or(PacketError::Arguments)?;
    let name = serde_json::from_str(name.get()).map_err(|_| PacketError::Arguments)?;
    Ok((name, items.get(1).copied()))
}

/// The first argument of an ack, if it has one.
pub(crate) fn first_argument(args: &str) -> Result<Option<Box<RawValue>>, PacketError> {
    if args.is_empty() {
        return Ok(None);
    }
    let items: Vec<&RawValue> = serde_json::from_str(args).map_err(|_| PacketError::Arguments)?;
    Ok(items.first().map(|&item| item.to_owned()))
}

/// The fields of a JSON object, each still raw; empty for anything else.
pub(crate) fn raw_fields(data: Option<&RawValue>) -> HashMap<String, &RawValue> {
    data.and_then(|data| serde_json::from_str(data.get()).ok())
        .unwrap_or_default()
}

/// `42["name",payload]`, or with an ack id `42<id>["name",payload]` (the leading 4 is Engine.IO's).
pub(crate) fn encode_event(name: &str, payload: &impl Serialize, ack: Option<u64>) -> Str {
    let id = ack.map(|id| id.to_string()).unwrap_or_default();
    Str::from(format!("2{id}{}", json(&(name, payload))))
}

/// `43<id>[payload]`.
pub(crate) fn encode_ack(id: u64, payload: &impl Serialize) -> Str {
    Str::from(format!("3{id}{}", json(&(payload,))))
}

/// `43<id>[]`: an answer without arguments.
pub(crate) fn encode_empty_ack(id: u64) -> Str {
    Str::from(format!("3{id}[]"))
}

/// The answer to an accepted CONNECT.
pub(crate) fn encode_connected(socket_id: &str) -> Str {
    Str::from(format!(
        "0{}",
        json(&serde_json::json!({ "sid": socket_id }))
    ))
}

/// CONNECT_ERROR, for the main namespace or another one.
pub(crate) fn encode_refusal(namespace: &str, message: &str) -> Str {
    let prefix = if namespace == "/" {
        String::new()
    } else {
        format!("{namespace},")
    };
    Str::from(format!(
        "4{prefix}{}",
        json(&serde_json::json!({ "message": message }))
    ))
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("every payload is a tree of JSON values with text keys")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "rows read better without borrows"
    )]
    fn check(text: &str, expected: Result<(&str, Packet), PacketError>) {
        assert_eq!(decode(text), expected, "{text}");
    }

    fn event_of(ack: Option<u64>, args: &str) -> Packet {
        Packet::Event {
            ack,
            args: args.to_owned(),
        }
    }

    #[test]
    fn packets_are_told_apart() {
        check("0", Ok(("/", Packet::Connect(None))));
        check(
            "0{\"token\":1}",
            Ok(("/", Packet::Connect(Some("{\"token\":1}".to_owned())))),
        );
        check("0/admin,", Ok(("/admin", Packet::Connect(None))));
        check("0/admin", Ok(("/admin", Packet::Connect(None))));
        check("1", Ok(("/", Packet::Disconnect)));
        check("2[\"a\"]", Ok(("/", event_of(None, "[\"a\"]"))));
        check("217[\"a\"]", Ok(("/", event_of(Some(17), "[\"a\"]"))));
        check("2/é,17[\"a\"]", Ok(("/é", event_of(Some(17), "[\"a\"]"))));
        check(
            "35[]",
            Ok((
                "/",
                Packet::Ack {
                    id: 5,
                    args: "[]".to_owned(),
                },
            )),
        );
        let head = Box::new(event_of(Some(1), "[\"a\"]"));
        check(
            "52-1[\"a\"]",
            Ok((
                "/",
                Packet::Binary {
                    attachments: 2,
                    head,
                },
            )),
        );
        check("50-[\"a\"]", Ok(("/", event_of(None, "[\"a\"]"))));
        check("", Err(PacketError::Type));
        check("é", Err(PacketError::Type));
        check("4{}", Err(PacketError::Type));
        check("9", Err(PacketError::Type));
        check("3[]", Err(PacketError::AckId));
        check("299999999999999999999[\"a\"]", Err(PacketError::AckId));
        check("5[\"a\"]", Err(PacketError::Attachments));
        check("5x-[\"a\"]", Err(PacketError::Attachments));
        check("565-[\"a\"]", Err(PacketError::Attachments));
    }

    #[test]
    fn attachments_become_base64_text() {
        let args = r#"["message",{"message":{"_placeholder":true,"num":0}},{"_placeholder":true,"num":9}]"#;
        let pending = Pending::new(1, event_of(None, args));
        let packet = pending.add(Bytes::from_static(b"hi")).unwrap().unwrap();
        let filled = r#"["message",{"message":"aGk="},{"_placeholder":true,"num":9}]"#;
        assert_eq!(packet, event_of(None, filled));
    }

    #[test]
    fn nothing_is_rebuilt_that_is_only_passed_on() {
        let (name, data) =
            event(r#"["rpc-call",{"method":"m","params":1e400,"x":{"deep":[1.10]}}]"#).unwrap();
        assert_eq!(name, "rpc-call");
        assert_eq!(raw_fields(data)["params"].get(), "1e400");
        assert_eq!(raw_fields(data)["x"].get(), r#"{"deep":[1.10]}"#);
        assert_eq!(first_argument("[1.10,2]").unwrap().unwrap().get(), "1.10");
        assert!(first_argument("[]").unwrap().is_none());
        for wrong in ["", "{}", "[]", "[1]", "[null]", "[\"a\""] {
            assert!(event(wrong).is_err(), "{wrong}");
        }
    }
}
