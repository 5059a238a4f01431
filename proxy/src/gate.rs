//! What may be done to messages on their way, by somebody who looks at each of them first.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::oneshot;
use touchstone_client::codec::packet::{self, Body, Packet};
use touchstone_client::trace::{Kind, Record, Traced};

use crate::hold::{Held, Verdict};

/// Looks at the messages of one connection, before they go on.
pub trait Gate: Send {
    /// What is done to this packet or request; nothing where it goes on as it is. The record's connection
    /// has no name yet, and its token is a label.
    fn decide(&mut self, record: Record) -> Option<Action>;

    /// Takes the message that [`decide`](Self::decide) has just held.
    fn hold(&mut self, held: Held) {
        held.release();
    }
}

/// Makes a gate for each new connection.
pub type Gates = Arc<dyn Fn() -> Box<dyn Gate> + Send + Sync>;

/// Whether somebody looks at the messages of the next connection. It is asked once for each: one that was
/// opened without gates has none until it ends.
pub type Choose = Arc<dyn Fn() -> Option<Gates> + Send + Sync>;

/// What is done to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It does not go on.
    Drop,
    /// It goes on later, and what follows in its direction behind it.
    Delay(Duration),
    /// It goes on twice.
    Duplicate,
    /// It goes on behind the next message of its direction.
    Reorder,
    /// It goes on with a payload that is not as its schema says: all values of its object are `null`.
    Corrupt,
    /// An event that asks for an ack does not go on, and is answered with this JSON.
    Answer(String),
    /// CONNECT does not go on, and is answered with CONNECT_ERROR.
    Refuse,
    /// Both sides are sent a close frame, and the connection ends.
    Close,
    /// The connection is reset on both sides.
    CloseAbruptly,
    /// Its direction is ended; the other one goes on.
    CloseHalf,
    /// Neither it nor anything behind it in its direction goes on, and nobody is told.
    Freeze,
    /// A request does not go on, and is answered with this status.
    Http(u16),
    /// It goes on when somebody says so, as it is or changed. Heartbeats go on meanwhile, and what follows
    /// in its direction behind it.
    Hold,
}

impl Action {
    /// What a mark says of it, before the message's name.
    fn verb(&self) -> String {
        match self {
            Self::Drop => "drops".to_owned(),
            Self::Delay(time) => format!("delays by {time:?}"),
            Self::Duplicate => "duplicates".to_owned(),
            Self::Reorder => "reorders".to_owned(),
            Self::Corrupt => "corrupts".to_owned(),
            Self::Answer(_) => "answers".to_owned(),
            Self::Refuse => "refuses".to_owned(),
            Self::Close => "closes the connection at".to_owned(),
            Self::CloseAbruptly => "resets the connection at".to_owned(),
            Self::CloseHalf => "ends the direction at".to_owned(),
            Self::Freeze => "freezes the direction at".to_owned(),
            Self::Http(status) => format!("answers with {status}"),
            Self::Hold => "holds".to_owned(),
        }
    }

    /// The mark that stands in the record for it.
    pub(crate) fn mark(&self, name: &str) -> String {
        mark(&self.verb(), name)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drop => f.write_str("drop"),
            Self::Delay(time) => write!(f, "delay={}ms", time.as_millis()),
            Self::Duplicate => f.write_str("duplicate"),
            Self::Reorder => f.write_str("reorder"),
            Self::Corrupt => f.write_str("corrupt"),
            Self::Answer(json) => write!(f, "answer={json}"),
            Self::Refuse => f.write_str("refuse"),
            Self::Close => f.write_str("close"),
            Self::CloseAbruptly => f.write_str("close=abrupt"),
            Self::CloseHalf => f.write_str("close=half"),
            Self::Freeze => f.write_str("freeze"),
            Self::Http(status) => write!(f, "http={status}"),
            Self::Hold => f.write_str("hold"),
        }
    }
}

/// The mark for something that the proxy does.
pub(crate) fn mark(verb: &str, name: &str) -> String {
    format!("the proxy {verb} {name}")
}

/// The gate of a connection, for both of its directions.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<Box<dyn Gate>>>);

impl Shared {
    pub(crate) fn new(gate: Box<dyn Gate>) -> Self {
        Self(Arc::new(Mutex::new(gate)))
    }

    pub(crate) fn decide(&self, record: &Record) -> Option<Decision> {
        let mut gate = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let action = gate.decide(record.clone())?;
        if action != Action::Hold {
            return Some(Decision::Act(action));
        }
        let (held, verdict) = Held::new(record.clone());
        gate.hold(held);
        Some(Decision::Held(verdict))
    }
}

/// What is to be done.
pub(crate) enum Decision {
    Act(Action),
    /// Wait for this.
    Held(oneshot::Receiver<Verdict>),
}

/// What a record is called in a mark.
pub(crate) fn name_of(kind: &Kind) -> String {
    match kind {
        Kind::Http(exchange) => format!("{} {}", exchange.method, exchange.url),
        Kind::Packet(_, packet) => match packet {
            Traced::Event { name, args, .. } => {
                let data = args.data().unwrap_or(Value::Null);
                let inner = match name.as_str() {
                    "update" => data["body"]["t"].as_str(),
                    "ephemeral" => data["type"].as_str(),
                    _ => None,
                };
                inner.unwrap_or(name).to_owned()
            }
            Traced::Ack { id, .. } => format!("answer {id}"),
            Traced::Connect(_) => "CONNECT".to_owned(),
            Traced::ConnectError(_) => "CONNECT_ERROR".to_owned(),
            Traced::Disconnect => "DISCONNECT".to_owned(),
            Traced::Open(_) => "open".to_owned(),
            Traced::Close => "close".to_owned(),
            Traced::Ping(_) => "ping".to_owned(),
            Traced::Pong(_) => "pong".to_owned(),
            Traced::Upgrade => "upgrade".to_owned(),
            Traced::Noop => "noop".to_owned(),
            Traced::Binary { .. } => "binary".to_owned(),
            Traced::Raw(_) => "a text that is no packet".to_owned(),
        },
        Kind::Mark(text) => text.clone(),
    }
}

/// The same packet with a payload that no schema has. Nothing where it has no object.
pub(crate) fn corrupted(packet: &Traced) -> Option<String> {
    let args = match packet {
        Traced::Event { args, .. } | Traced::Ack { args, .. } => args,
        _ => return None,
    };
    let mut values = args.values().ok()?;
    let object = values.first_mut()?.as_object_mut()?;
    let object = match object.get("body") {
        Some(Value::Object(_)) => object.get_mut("body")?.as_object_mut()?,
        _ => object,
    };
    for (key, value) in object.iter_mut() {
        // What tells its type stays, so that it is still about something.
        if key != "t" && key != "type" {
            *value = Value::Null;
        }
    }
    let array = Value::Array(values).to_string();
    let args = array.strip_prefix('[')?.strip_suffix(']')?;
    let body = match packet {
        Traced::Event { name, ack, .. } => Body::Event {
            name: name.as_str().into(),
            args,
            ack: *ack,
            attachments: 0,
        },
        Traced::Ack { id, .. } => Body::Ack {
            id: *id,
            args,
            attachments: 0,
        },
        _ => return None,
    };
    Some(packet::encode_message(&Packet::new(body)))
}

/// The answer to an event, and what refuses a CONNECT.
pub(crate) fn answer(id: u64, json: &str) -> String {
    packet::encode_message(&Packet::new(Body::Ack {
        id,
        args: json,
        attachments: 0,
    }))
}

pub(crate) fn refusal() -> String {
    let payload = r#"{"message":"refused by touchstone proxy"}"#;
    packet::encode_message(&Packet::new(Body::ConnectError(payload)))
}

/// An answer that no server gave.
pub(crate) fn http_answer(status: u16) -> Bytes {
    let body = format!(r#"{{"error":"status {status} by touchstone proxy"}}"#);
    http(status, "application/json", &body)
}

/// What a server answers to packets that it takes.
pub(crate) fn packets_taken() -> Bytes {
    http(200, "text/html", "ok")
}

fn http(status: u16, kind: &str, body: &str) -> Bytes {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} By touchstone proxy\r\nContent-Type: {kind}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .into()
}

#[cfg(test)]
mod tests {
    use touchstone_client::Frame;

    use super::*;

    #[test]
    fn what_is_corrupted_still_tells_what_it_is() {
        #[track_caller]
        fn check(packet: &str, expected: Option<&str>) {
            let packet = Traced::of(&Frame::text(packet.to_owned()));
            assert_eq!(corrupted(&packet).as_deref(), expected);
        }
        check(
            r#"42["update",{"id":"u","seq":1,"body":{"t":"new-session","id":"s"}}]"#,
            Some(r#"42["update",{"id":"u","seq":1,"body":{"t":"new-session","id":null}}]"#),
        );
        check(
            r#"4212["ping",{"a":[1]},2]"#,
            Some(r#"4212["ping",{"a":null},2]"#),
        );
        check(
            r#"437[{"result":"success"}]"#,
            Some(r#"437[{"result":null}]"#),
        );
        check(r#"42["ping"]"#, None);
        check("2", None);
    }
}
