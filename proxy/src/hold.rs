//! A message that somebody holds: what it is, and what becomes of it.

use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use touchstone_client::codec::packet::{self, Body, Packet};
use touchstone_client::is_secret_key;
use touchstone_client::trace::{Kind, Record, Traced};

/// A message that does not go on before its verdict. When this is dropped, it goes on as it is.
#[derive(Debug)]
pub struct Held {
    /// What it is, as whoever decided to hold it was shown it.
    pub record: Record,
    /// What of it can be changed: an event as an array that begins with its name, an answer as the array of
    /// its values. Nothing for a request, for CONNECT, and for what has binary attachments or holds a secret.
    pub text: Option<String>,
    verdict: oneshot::Sender<Verdict>,
}

/// What becomes of a held message.
#[derive(Debug)]
pub(crate) enum Verdict {
    Pass,
    Drop,
    /// This packet goes on in its place.
    Replace(String),
}

impl Held {
    /// A message, and where its verdict arrives.
    pub(crate) fn new(record: Record) -> (Self, oneshot::Receiver<Verdict>) {
        let (verdict, decided) = oneshot::channel();
        let text = packet_of(&record).and_then(text);
        let text =
            text.filter(|text| !serde_json::from_str(text).is_ok_and(|json| has_secret(&json)));
        let held = Self {
            record,
            text,
            verdict,
        };
        (held, decided)
    }

    /// Lets it go on as it is.
    pub fn release(self) {
        // Its connection may have ended meanwhile.
        let _ = self.verdict.send(Verdict::Pass);
    }

    /// Lets it not go on.
    pub fn discard(self) {
        let _ = self.verdict.send(Verdict::Drop);
    }

    /// Lets it go on with this in the place of [`text`](Self::text).
    ///
    /// # Errors
    /// The text is not such an array; the message is still held.
    pub fn replace(self, text: &str) -> Result<(), (Box<Self>, &'static str)> {
        let packet = packet_of(&self.record);
        match packet.and_then(|packet| changed(packet, text)) {
            Some(packet) => {
                let _ = self.verdict.send(Verdict::Replace(packet));
                Ok(())
            }
            None => {
                let why = match packet {
                    _ if self.text.is_none() => "this message cannot be changed",
                    Some(Traced::Event { .. }) => {
                        "not a JSON array that begins with the event's name"
                    }
                    _ => "not a JSON array",
                };
                Err((Box::new(self), why))
            }
        }
    }

    /// Whether nobody wants the verdict any more, since the connection has ended.
    pub fn is_over(&self) -> bool {
        self.verdict.is_closed()
    }
}

fn packet_of(record: &Record) -> Option<&Traced> {
    match &record.kind {
        Kind::Packet(_, packet) => Some(packet),
        _ => None,
    }
}

fn text(packet: &Traced) -> Option<String> {
    match packet {
        Traced::Event {
            name,
            args,
            attachments: 0,
            ..
        } => {
            let name = Value::from(name.as_str());
            Some(match args.is_empty() {
                true => format!("[{name}]"),
                false => format!("[{name},{}]", args.as_str()),
            })
        }
        Traced::Ack {
            args,
            attachments: 0,
            ..
        } => Some(args.to_array()),
        _ => None,
    }
}

fn has_secret(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_secret),
        Value::Object(map) => map
            .iter()
            .any(|(key, value)| value.is_string() && is_secret_key(key) || has_secret(value)),
        _ => false,
    }
}

/// The packet with what `text` says.
fn changed(packet: &Traced, text: &str) -> Option<String> {
    let values: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    let joined = |values: &[&RawValue]| {
        let values: Vec<_> = values.iter().map(|value| value.get()).collect();
        values.join(",")
    };
    let encoded = |body| packet::encode_message(&Packet::new(body));
    match packet {
        Traced::Event {
            ack,
            attachments: 0,
            ..
        } => {
            let (name, args) = values.split_first()?;
            let name: String = serde_json::from_str(name.get()).ok()?;
            Some(encoded(Body::Event {
                name: name.as_str().into(),
                args: &joined(args),
                ack: *ack,
                attachments: 0,
            }))
        }
        Traced::Ack {
            id, attachments: 0, ..
        } => Some(encoded(Body::Ack {
            id: *id,
            args: &joined(&values),
            attachments: 0,
        })),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use touchstone_client::Direction;
    use touchstone_client::Frame;

    use super::*;

    #[tokio::test]
    async fn what_can_be_changed_and_how() {
        #[track_caller]
        fn check(packet: &str, shown: Option<&str>, changed: &str, expected: Result<&str, &str>) {
            let packet = Traced::of(&Frame::text(packet.to_owned()));
            let record = Record {
                t_us: 0,
                conn: "link".to_owned(),
                kind: Kind::Packet(Direction::Sent, packet),
                recipients: None,
            };
            let (held, mut decided) = Held::new(record);
            assert_eq!(held.text.as_deref(), shown);
            let told = held.replace(changed).map_err(|(_, why)| why);
            let got = match decided.try_recv() {
                Ok(Verdict::Replace(text)) => text,
                other => format!("{other:?}"),
            };
            match expected {
                Ok(expected) => assert_eq!((told, got.as_str()), (Ok(()), expected)),
                Err(why) => assert_eq!(told, Err(why), "{got}"),
            }
        }
        let event = r#"427["x",{"a":1}]"#;
        let shown = Some(r#"["x",{"a":1}]"#);
        check(
            event,
            shown,
            r#"["x", {"a": 2.50}, 3]"#,
            Ok(r#"427["x",{"a": 2.50},3]"#),
        );
        check(event, shown, r#"["\"y"]"#, Ok(r#"427["\"y"]"#));
        check(
            event,
            shown,
            "[1]",
            Err("not a JSON array that begins with the event's name"),
        );
        check(
            event,
            shown,
            r#"["x""#,
            Err("not a JSON array that begins with the event's name"),
        );
        check(
            r#"42["x"]"#,
            Some(r#"["x"]"#),
            r#"["x",null]"#,
            Ok(r#"42["x",null]"#),
        );
        check(r#"433[{"a":1}]"#, Some(r#"[{"a":1}]"#), "[]", Ok("433[]"));
        check(
            r#"433[{"a":1}]"#,
            Some(r#"[{"a":1}]"#),
            "{}",
            Err("not a JSON array"),
        );
        check(
            r#"40{"token":"t"}"#,
            None,
            "[]",
            Err("this message cannot be changed"),
        );
        let secret = r#"42["x",{"a":[{"pushToken":"t"}]}]"#;
        check(secret, None, "[]", Err("this message cannot be changed"));
        let binary = r#"451-["x",{"_placeholder":true,"num":0}]"#;
        check(binary, None, "[]", Err("this message cannot be changed"));
    }
}
