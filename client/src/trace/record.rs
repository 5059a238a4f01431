//! The things that a trace holds.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::Value;

use crate::{
    codec::{
        Args, Frame, engine,
        packet::{self, Body},
    },
    tap::{Conduct, Direction},
};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Microseconds since the trace began.
    pub t_us: u64,
    /// The connection's name, `-` where there is none.
    pub conn: String,
    /// What happened.
    pub kind: Kind,
    /// The connections that an emission was routed to, where that is known.
    pub recipients: Option<Vec<String>>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A packet went over the wire.
    Packet(Direction, Traced),
    /// An HTTP exchange took place.
    Http(Exchange),
    /// Somebody left a note: a phase began, a connection ended, records were dropped.
    Mark(String),
}

/// The mark of a moment at which everything that was caused before has arrived.
pub const QUIET: &str = "quiet point";
/// The mark of a moment at which the server was ended and started again.
pub const RESTARTED: &str = "server restarted";
/// The same, if it says that it keeps what it acknowledged.
pub const RESTARTED_DURABLE: &str = "server restarted, and keeps what it acknowledged";
/// The mark that stands before events which nothing but a test makes the server send, through its control
/// extension: from then on they tell nothing about it.
pub const CONTRIVED: &str = "events are emitted through the control extension";
/// How the mark begins that tells of records which are not kept.
pub const DROPPED: &str = "earlier records dropped";

/// What stands before the words of a [`Conduct`] in a mark.
const CONDUCT: &str = "client ";

impl Kind {
    /// The mark that a client's conduct leaves.
    pub fn conduct(conduct: Conduct) -> Self {
        Self::Mark(format!("{CONDUCT}{conduct}"))
    }

    /// The conduct that this is the mark of.
    pub fn as_conduct(&self) -> Option<Conduct> {
        match self {
            Self::Mark(text) => Conduct::of(text.strip_prefix(CONDUCT)?),
            _ => None,
        }
    }
}

/// An HTTP exchange.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    /// The method.
    pub method: String,
    /// The URL or its path.
    pub url: String,
    /// The status, nothing where no answer came.
    pub status: Option<u16>,
    /// The request's body, if any.
    pub request: Option<Value>,
    /// The answer's body, if any.
    pub response: Option<Value>,
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// The same in microseconds, where it was measured: whoever sends the exchange again has to know
    /// what was there before it began.
    pub us: Option<u64>,
}

/// What stands in a trace in place of a secret that has no name.
pub const HIDDEN: &str = "…";

/// Hides the signatures and challenges of a body: whoever has them can sign in to the account. What is
/// no bytes at all signs nothing, and tells what was wrong with it.
pub(crate) fn hide_proofs(body: &mut Value) {
    match body {
        Value::Array(items) => items.iter_mut().for_each(hide_proofs),
        Value::Object(map) => {
            for (key, value) in map {
                let is_proof = ["signature", "challenge"].contains(&key.as_str());
                match value {
                    Value::String(text) if is_proof => {
                        if STANDARD.decode(&text).is_ok_and(|bytes| !bytes.is_empty()) {
                            HIDDEN.clone_into(text);
                        }
                    }
                    other => hide_proofs(other),
                }
            }
        }
        _ => {}
    }
}

/// A packet as a trace holds it.
#[derive(Debug, Clone, PartialEq)]
pub enum Traced {
    /// Engine.IO open, with the handshake.
    Open(Value),
    /// Engine.IO close.
    Close,
    /// Engine.IO ping, with its data.
    Ping(String),
    /// Engine.IO pong, with its data.
    Pong(String),
    /// Engine.IO upgrade.
    Upgrade,
    /// Engine.IO noop.
    Noop,
    /// Socket.IO CONNECT: the auth object or the server's answer, `null` where there is none.
    Connect(Value),
    /// Socket.IO CONNECT_ERROR.
    ConnectError(Value),
    /// Socket.IO DISCONNECT.
    Disconnect,
    /// Socket.IO EVENT or BINARY_EVENT.
    Event {
        /// Its name.
        name: String,
        /// Its arguments.
        args: Args,
        /// The ack id, where one is asked for.
        ack: Option<u64>,
        /// How many binary packets follow.
        attachments: usize,
    },
    /// Socket.IO ACK or BINARY_ACK.
    Ack {
        /// The id that it answers.
        id: u64,
        /// Its arguments.
        args: Args,
        /// How many binary packets follow.
        attachments: usize,
    },
    /// A binary attachment.
    Binary {
        /// How many bytes it has.
        size: usize,
        /// The bytes, where they were kept.
        bytes: Option<Bytes>,
    },
    /// A text that is no packet.
    Raw(String),
}

impl Traced {
    /// What a frame is. Other namespaces than `/` are kept raw, since nothing here uses them.
    pub fn of(frame: &Frame) -> Self {
        let text = match frame {
            Frame::Binary(bytes) => {
                return Self::Binary {
                    size: bytes.len(),
                    bytes: Some(bytes.clone()),
                };
            }
            Frame::Text(text) => text,
        };
        let raw = || Self::Raw(text.to_string());
        match engine::decode(text) {
            Ok(engine::Packet::Open(json)) => parsed(json).map_or_else(raw, Self::Open),
            Ok(engine::Packet::Close) => Self::Close,
            Ok(engine::Packet::Ping(data)) => Self::Ping(data.to_owned()),
            Ok(engine::Packet::Pong(data)) => Self::Pong(data.to_owned()),
            Ok(engine::Packet::Upgrade) => Self::Upgrade,
            Ok(engine::Packet::Noop) => Self::Noop,
            Ok(engine::Packet::Message(message)) => match packet::decode(message) {
                Ok(packet) if packet.namespace == "/" => {
                    Self::of_body(packet.body).unwrap_or_else(raw)
                }
                _ => raw(),
            },
            Err(_) => raw(),
        }
    }

    /// Nothing where a payload is valid JSON that cannot be held, such as too deep an object.
    fn of_body(body: Body<'_>) -> Option<Self> {
        Some(match body {
            Body::Connect("") => Self::Connect(Value::Null),
            Body::Connect(payload) => Self::Connect(parsed(payload)?),
            Body::ConnectError(payload) => Self::ConnectError(parsed(payload)?),
            Body::Disconnect => Self::Disconnect,
            Body::Event {
                name,
                args,
                ack,
                attachments,
            } => {
                let name = name.into_owned();
                Self::Event {
                    name,
                    args: Args::raw(args),
                    ack,
                    attachments,
                }
            }
            Body::Ack {
                id,
                args,
                attachments,
            } => Self::Ack {
                id,
                args: Args::raw(args),
                attachments,
            },
        })
    }
}

fn parsed(json: &str) -> Option<Value> {
    serde_json::from_str(json).ok()
}
