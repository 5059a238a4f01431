//! What is found in a direction of a connection.

use bytes::Bytes;
use touchstone_client::{Direction, Secret};

use super::Frame;

/// Which end of a connection sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    Client,
    Server,
}

impl Side {
    /// The other end.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    /// What it sends, as its client has it.
    pub(crate) fn direction(self) -> Direction {
        match self {
            Self::Client => Direction::Sent,
            Self::Server => Direction::Received,
        }
    }
}

/// A piece of what goes on, and the message that it completes.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) wire: Bytes,
    pub(crate) seen: Option<Seen>,
    /// Whether it belongs to a message that somebody may hold until it is whole.
    pub(crate) may_wait: bool,
}

impl Piece {
    /// A part of a message that may be held.
    pub(super) fn part(wire: Bytes) -> Self {
        Self {
            wire,
            seen: None,
            may_wait: true,
        }
    }

    /// A part of what nobody holds.
    pub(super) fn passing(wire: Bytes) -> Self {
        Self {
            wire,
            seen: None,
            may_wait: false,
        }
    }

    /// The end of a message.
    pub(super) fn last(wire: Bytes, seen: Seen) -> Self {
        Self {
            wire,
            seen: Some(seen),
            may_wait: true,
        }
    }
}

/// A message.
#[derive(Debug)]
pub(crate) enum Seen {
    Request(Box<Request>),
    Response(Box<Response>),
    Frame(Frame),
    /// Nothing that follows can be read, for this reason.
    Unreadable(&'static str),
}

/// A request as far as it matters here. Its number counts those of the connection.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) number: u64,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) token: Option<Secret>,
    pub(crate) content: Content,
}

/// The final answer to the request of the same number.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) number: u64,
    pub(crate) status: u16,
    /// The value of `Sec-WebSocket-Extensions`.
    pub(crate) extensions: Option<String>,
    pub(crate) content: Content,
}

/// The body of a request or response.
#[derive(Debug, Default)]
pub(crate) struct Content {
    /// The value of `Content-Encoding`.
    pub(crate) encoding: Option<String>,
    /// Nothing where it was too large to be kept.
    pub(crate) bytes: Option<Bytes>,
}

impl Seen {
    /// The frame that it is.
    pub(crate) fn frame(&self) -> Option<Frame> {
        match self {
            Self::Frame(frame) => Some(frame.clone()),
            _ => None,
        }
    }

    /// How many bytes it keeps, roughly.
    pub(crate) fn weight(&self) -> usize {
        let kept = |content: &Content| content.bytes.as_ref().map_or(0, Bytes::len);
        256 + match self {
            Self::Request(request) => request.target.len() + kept(&request.content),
            Self::Response(response) => kept(&response.content),
            Self::Frame(frame) => frame.payload.as_ref().map_or(0, Bytes::len),
            Self::Unreadable(_) => 0,
        }
    }
}
