//! The ways in which a connection does not come about, and the ways in which it ends.
//!
//! They are told apart because a verdict rests on the difference: a refusal with a message, a
//! bare drop and a server that is not there are three different things.

use std::{fmt, io, net::SocketAddr, time::Duration};

use serde_json::Value;

use touchstone_output::text::is_control;

use crate::{codec::DecodeError, tls::TlsError};

/// How far a connection had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Resolving the name and opening the TCP connection.
    Dialing,
    /// The TLS handshake.
    Tls,
    /// The HTTP request: the WebSocket upgrade, or the first poll.
    Upgrading,
    /// Waiting for the Engine.IO open packet.
    EngineHandshake,
    /// Waiting for the answer to CONNECT.
    ConnectAnswer,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dialing => "dialing",
            Self::Tls => "waiting for the TLS handshake",
            Self::Upgrading => "waiting for the HTTP answer",
            Self::EngineHandshake => "waiting for the Engine.IO handshake",
            Self::ConnectAnswer => "waiting for the answer to CONNECT",
        })
    }
}

/// Why a connection did not come about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL or an option cannot be used.
    #[error("cannot use {url}: {reason}")]
    Unusable {
        /// The URL as given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No TCP connection: the name does not resolve, or no address of it accepts.
    #[error("cannot reach {address}")]
    Dial {
        /// Host and port.
        address: String,
        /// What each address answered.
        source: DialFailure,
    },
    /// TLS failed: configuration, certificate or handshake.
    #[error("cannot speak TLS with {address}")]
    Tls {
        /// Host and port.
        address: String,
        /// Why.
        source: TlsError,
    },
    /// The server answered with an HTTP status that is not the expected one.
    #[error("{url} answered HTTP {status}{}", shown_body(body))]
    Http {
        /// What was asked for.
        url: String,
        /// The status.
        status: u16,
        /// The beginning of the body, at most 512 bytes.
        body: String,
    },
    /// Something answered, but it speaks no WebSocket or no Engine.IO 4.
    #[error("{url} is not an Engine.IO 4 endpoint: {reason}")]
    NotEngineIo {
        /// What was asked for.
        url: String,
        /// What came instead.
        reason: String,
    },
    /// The connection failed while the HTTP answer was awaited.
    #[error("connection to {url} failed while {stage}: {reason}")]
    Broken {
        /// What was asked for.
        url: String,
        /// How far it came.
        stage: Stage,
        /// What happened.
        reason: String,
    },
    /// The time for all stages together is over.
    #[error("{url} kept silent: gave up after {after:?}, while {stage}")]
    Timeout {
        /// The server.
        url: String,
        /// How far it came.
        stage: Stage,
        /// The time allowed.
        after: Duration,
    },
    /// CONNECT was answered with CONNECT_ERROR.
    #[error("refused: {message}")]
    Refused {
        /// The server's `message`, empty where it has none.
        message: String,
        /// The server's `data`, if any.
        data: Option<Value>,
    },
    /// The connection ended before CONNECT was answered.
    #[error("connection ended before CONNECT was answered")]
    Ended(#[source] End),
}

/// A body at the end of a message, if there is one.
pub(crate) fn shown_body(body: &str) -> String {
    if body.is_empty() {
        String::new()
    } else {
        format!(": {body}")
    }
}

/// What happened at each address of a host.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.shown())]
pub struct DialFailure {
    /// Each address that was tried, with its error; `None` is the resolution of the name.
    pub attempts: Vec<(Option<SocketAddr>, io::Error)>,
}

impl DialFailure {
    fn shown(&self) -> String {
        let one = |(address, error): &(Option<SocketAddr>, io::Error)| match address {
            Some(address) => format!("{address}: {error}"),
            None => error.to_string(),
        };
        self.attempts.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

/// How a connection ended. Each connection has exactly one.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum End {
    /// The server sent a namespace DISCONNECT packet (`io server disconnect`).
    #[error("server disconnected the namespace")]
    ServerDisconnect,
    /// The server answered CONNECT with CONNECT_ERROR.
    #[error("refused: {message}")]
    Refused {
        /// The server's `message`, empty where it has none.
        message: String,
        /// The server's `data`, if any.
        data: Option<Value>,
    },
    /// The server closed the transport: a WebSocket close frame, the end of the TCP stream
    /// (without code), or an Engine.IO close packet.
    #[error("transport closed by the server ({}{reason})", shown_code(*code))]
    TransportClose {
        /// The WebSocket close code, if there was one.
        code: Option<u16>,
        /// The close frame's reason, or what else closed it.
        reason: String,
    },
    /// Reading or writing failed, or the server broke the HTTP protocol.
    #[error("transport failed: {reason}")]
    TransportError {
        /// What happened.
        reason: String,
    },
    /// The server broke the WebSocket protocol.
    #[error("broken WebSocket frame: {reason}")]
    BrokenFrame {
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing came for `pingInterval + pingTimeout`.
    #[error("ping timeout: nothing received for {after:?}")]
    PingTimeout {
        /// The time without any packet.
        after: Duration,
    },
    /// The server sent what is no Engine.IO or Socket.IO packet.
    #[error("cannot parse packet {packet:?}")]
    ParseError {
        /// The beginning of the packet, at most 120 characters.
        packet: String,
        /// What is wrong with it, and where.
        #[source]
        source: DecodeError,
    },
    /// The server sent a message above the limit of the options.
    #[error("message of {size} bytes is larger than the limit of {limit} bytes")]
    TooLarge {
        /// Its size, or what had been received of it.
        size: usize,
        /// `ConnectOptions::max_message`.
        limit: usize,
    },
    /// This side closed: `disconnect`, `close`, `abort`, or all handles were dropped.
    #[error("closed by this client")]
    ClientClosed,
}

fn shown_code(code: Option<u16>) -> String {
    match code {
        Some(code) => format!("code {code} "),
        None => String::new(),
    }
}

/// Why a frame could not be queued at once.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SendError {
    /// As many messages are queued as `ConnectOptions::send_queue` allows.
    #[error("the send queue is full")]
    Full,
    /// The connection is over.
    #[error("connection ended")]
    Ended(#[source] End),
}

/// Why a call has no reply.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CallError {
    /// The connection ended before the ack came.
    #[error("connection ended before {event} was acknowledged")]
    Ended {
        /// The event that was sent.
        event: String,
        /// How the connection ended.
        #[source]
        source: End,
    },
    /// No ack within the time allowed.
    #[error("{event} was not acknowledged within {after:?}")]
    Timeout {
        /// The event that was sent.
        event: String,
        /// The time allowed.
        after: Duration,
    },
}

/// Why a connection that began with long-polling has not become a WebSocket. It is none for the
/// connection itself, which goes on with polling.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no upgrade to a WebSocket: {reason}")]
pub struct UpgradeError {
    /// What stood against it.
    pub reason: String,
}

/// The beginning of a text for an error message, on one line.
pub(crate) fn excerpt(text: &str, characters: usize) -> String {
    let mut shown: String = text
        .chars()
        .take(characters)
        .map(|c| if is_control(c) { ' ' } else { c })
        .collect();
    if text.chars().nth(characters).is_some() {
        shown.push('…');
    }
    shown.trim().to_owned()
}
