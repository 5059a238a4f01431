//! The Socket.IO packets that travel inside Engine.IO messages, as text in and text out.
//!
//! Arguments stay raw JSON: who needs a field parses it, and what is only passed on (RPC parameters
//! and results) is never rebuilt. The module knows no events, no accounts and no sockets.

use std::collections::HashMap;

use bytes::Bytes;
use engineioxide::Str;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// Attachments that one binary packet may announce. Only RPC passes binary values on, so this bounds
/// what a careless client can make us hold.
const MAX_ATTACHMENTS: usize = 64;

/// A packet as it came, without its namespace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    /// CONNECT with its auth payload, if any.
    Connect(Option<String>),
    /// DISCONNECT: the client leaves the namespace.
    Disconnect,
    /// An event: a JSON array whose first element is the name.
    Event {
        ack: Option<u64>,
        args: String,
        attachments: Vec<Bytes>,
    },
    /// The answer to an event of ours: a JSON array of arguments.
    Ack {
        id: u64,
        args: String,
        attachments: Vec<Bytes>,
    },
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
    #[error("an event before CONNECT")]
    Early,
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
            attachments: Vec::new(),
        },
        b'3' | b'6' => Packet::Ack {
            id: id.ok_or(PacketError::AckId)?,
            args: body.to_owned(),
            attachments: Vec::new(),
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

    /// Takes one attachment; the packet once it is whole.
    pub(crate) fn add(mut self, attachment: Bytes) -> Result<Result<Packet, Self>, PacketError> {
        self.bytes.push(attachment);
        if self.bytes.len() < self.wanted {
            return Ok(Err(self));
        }
        let (Packet::Event { attachments, .. } | Packet::Ack { attachments, .. }) = &mut self.head
        else {
            return Err(PacketError::OutOfOrder);
        };
        *attachments = self.bytes;
        Ok(Ok(self.head))
    }
}

/// A value that one client sends another: as it came, with the binary values in it.
#[derive(Clone, Debug)]
pub(crate) struct Passed {
    pub(crate) json: Box<RawValue>,
    /// What the placeholders in it stand for, by their numbers.
    pub(crate) attachments: Vec<Bytes>,
}

impl Passed {
    /// A part of a packet that had these attachments.
    fn new(part: &RawValue, attachments: &[Bytes]) -> Self {
        let mut passed = Self {
            json: part.to_owned(),
            attachments: Vec::new(),
        };
        if !attachments.is_empty()
            && let Ok(mut value) = serde_json::from_str(part.get())
        {
            number_anew(&mut value, attachments, &mut passed.attachments);
            passed.json = serde_json::value::to_raw_value(&value).unwrap_or(passed.json);
        }
        passed
    }
}

/// Collects the attachments that a value names, and gives them the numbers in which they stand. A
/// placeholder of nothing becomes null: receivers close a connection that names what is not there.
/// The depth of `value` is bounded by its parser.
fn number_anew(value: &mut Value, all: &[Bytes], named: &mut Vec<Bytes>) {
    match value {
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| number_anew(item, all, named)),
        Value::Object(fields) if fields.get("_placeholder") == Some(&Value::Bool(true)) => {
            let number = fields.get("num").and_then(Value::as_u64);
            let index = number.and_then(|number| usize::try_from(number).ok());
            match index.and_then(|index| all.get(index)) {
                Some(bytes) => {
                    fields.insert("num".to_owned(), named.len().into());
                    named.push(bytes.clone());
                }
                None => *value = Value::Null,
            }
        }
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|field| number_anew(field, all, named)),
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
pub(crate) fn first_argument(
    args: &str,
    attachments: &[Bytes],
) -> Result<Option<Passed>, PacketError> {
    if args.is_empty() {
        return Ok(None);
    }
    let items: Vec<&RawValue> = serde_json::from_str(args).map_err(|_| PacketError::Arguments)?;
    Ok(items.first().map(|item| Passed::new(item, attachments)))
}

/// A field of an event's data that is only passed on.
pub(crate) fn passed(
    fields: &HashMap<String, &RawValue>,
    name: &str,
    attachments: &[Bytes],
) -> Option<Passed> {
    fields.get(name).map(|part| Passed::new(part, attachments))
}

/// The fields of a JSON object, each still raw; empty for anything else.
pub(crate) fn raw_fields(data: Option<&RawValue>) -> HashMap<String, &RawValue> {
    data.and_then(|data| serde_json::from_str(data.get()).ok())
        .unwrap_or_default()
}

/// `42["name",payload]`, or with an ack id `42<id>["name",payload]` (the leading 4 is Engine.IO's).
pub(crate) fn encode_event(name: &str, payload: &impl Serialize, ack: Option<u64>) -> Str {
    encode_binary_event(name, payload, ack, 0)
}

/// The same with so many attachments that follow: `45<count>-…`.
pub(crate) fn encode_binary_event(
    name: &str,
    payload: &impl Serialize,
    ack: Option<u64>,
    attachments: usize,
) -> Str {
    let id = ack.map(|id| id.to_string()).unwrap_or_default();
    let kind = kind("2", "5", attachments);
    Str::from(format!("{kind}{id}{}", json(&(name, payload))))
}

/// `43<id>[payload]`, or with attachments that follow `46<count>-…`.
pub(crate) fn encode_binary_ack(id: u64, payload: &impl Serialize, attachments: usize) -> Str {
    let kind = kind("3", "6", attachments);
    Str::from(format!("{kind}{id}{}", json(&(payload,))))
}

fn kind(plain: &str, binary: &str, attachments: usize) -> String {
    match attachments {
        0 => plain.to_owned(),
        count => format!("{binary}{count}-"),
    }
}

/// The answer to an accepted CONNECT.
pub(crate) fn encode_connected(socket_id: &str) -> Str {
    Str::from(format!(
        "0{}",
        json(&serde_json::json!({ "sid": socket_id }))
    ))
}

/// DISCONNECT: the server has a client leave the namespace.
pub(crate) fn encode_disconnect() -> Str {
    Str::from("1")
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
            attachments: Vec::new(),
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
                    attachments: Vec::new(),
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
    fn attachments_are_passed_on_with_numbers_of_their_own() {
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        let all = [bytes("zero"), bytes("one"), bytes("two")];
        let part = r#"{"b":{"_placeholder":true,"num":2},"a":[{"_placeholder":true,"num":0},1.10],"c":{"_placeholder":true,"num":9}}"#;
        let data = format!(r#"{{"method":{{"_placeholder":true,"num":1}},"params":{part}}}"#);
        let data: Box<RawValue> = serde_json::from_str(&data).unwrap();
        let fields = raw_fields(Some(&data));
        let found = passed(&fields, "params", &all).unwrap();
        assert_eq!(
            found.json.get(),
            r#"{"b":{"_placeholder":true,"num":0},"a":[{"_placeholder":true,"num":1},1.1],"c":null}"#
        );
        assert_eq!(found.attachments, [bytes("two"), bytes("zero")]);
        // What came without attachments stays as it is, even if it looks like a placeholder.
        let found = passed(&fields, "params", &[]).unwrap();
        assert_eq!((found.json.get(), found.attachments.len()), (part, 0));
    }

    #[test]
    fn packets_say_how_many_attachments_follow() {
        assert_eq!(&*encode_binary_event("a", &1, Some(7), 2), r#"52-7["a",1]"#);
        assert_eq!(&*encode_binary_ack(7, &1, 1), "61-7[1]");
        assert_eq!(&*encode_event("a", &1, None), r#"2["a",1]"#);
        assert_eq!(&*encode_binary_ack(7, &1, 0), "37[1]");
    }

    #[test]
    fn nothing_is_rebuilt_that_is_only_passed_on() {
        let (name, data) =
            event(r#"["rpc-call",{"method":"m","params":1e400,"x":{"deep":[1.10]}}]"#).unwrap();
        assert_eq!(name, "rpc-call");
        assert_eq!(raw_fields(data)["params"].get(), "1e400");
        assert_eq!(raw_fields(data)["x"].get(), r#"{"deep":[1.10]}"#);
        assert_eq!(
            first_argument("[1.10,2]", &[]).unwrap().unwrap().json.get(),
            "1.10"
        );
        assert!(first_argument("[]", &[]).unwrap().is_none());
        for wrong in ["", "{}", "[]", "[1]", "[null]", "[\"a\""] {
            assert!(event(wrong).is_err(), "{wrong}");
        }
    }
}
