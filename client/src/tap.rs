//! The wire tap: a way to see every Engine.IO packet of a connection, in both directions, and what a
//! client does to its connection that no packet shows.

use std::fmt;

use tokio::time::Instant;

use crate::{codec::Frame, error::End};

/// Which way a packet went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From this client to the server.
    Sent,
    /// From the server to this client.
    Received,
}

/// What a client does to its connection without a packet that would show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Conduct {
    /// It ends its own direction of the stream, and goes on to read.
    HalfClose,
    /// It reads no more.
    StopReading,
    /// It reads again.
    ResumeReading,
    /// It answers no more pings.
    IgnorePings,
    /// It answers pings again.
    AnswerPings,
    /// It drops the connection without a goodbye.
    Drop,
}

impl Conduct {
    const ALL: [Self; 6] = [
        Self::HalfClose,
        Self::StopReading,
        Self::ResumeReading,
        Self::IgnorePings,
        Self::AnswerPings,
        Self::Drop,
    ];

    /// The words of traces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HalfClose => "half-closes",
            Self::StopReading => "stops reading",
            Self::ResumeReading => "reads again",
            Self::IgnorePings => "ignores pings",
            Self::AnswerPings => "answers pings again",
            Self::Drop => "drops the connection",
        }
    }

    /// What these words of a trace mean.
    pub fn of(words: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == words)
    }
}

impl fmt::Display for Conduct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Sees every Engine.IO packet of a connection, on all transports in the same form: the text or
/// bytes that a WebSocket message would carry (`0{…}`, `2`, `42["event"]`).
///
/// It is called from the connection's task between two packets, so it must be quick and must not
/// block. Packets are shown in the order in which they are read and queued for writing; CONNECT
/// carries the account's token, so whoever stores frames has to redact them
/// (`touchstone_client::trace` does).
pub trait Tap: Send + Sync {
    /// One packet went by at `at`.
    fn frame(&self, at: Instant, direction: Direction, frame: &Frame);

    /// The client did this at `at`, behind all frames that were shown before.
    fn conduct(&self, _at: Instant, _conduct: Conduct) {}

    /// The connection is over since `at`. Called at most once, after the last received packet;
    /// goodbyes may still be sent after it.
    fn ended(&self, _at: Instant, _end: &End) {}
}
