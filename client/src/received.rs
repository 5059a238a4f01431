//! What a connection receives: events, and the answers to its own.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;
use serde_json::Value;
use tokio::time::Instant;

use crate::codec::{Args, Text, range_in};

/// One event from the server.
#[derive(Debug, Clone)]
pub struct Event {
    /// When its frame was read.
    pub at: Instant,
    /// Its place among all events and acks of this connection, from 0, in the order in which
    /// they came. Comparing it with [`Reply::arrival`](crate::Reply::arrival) tells whether the
    /// server acknowledged before or after it sent an update.
    pub arrival: u64,
    /// Set when the server asks for an ack: give it to [`Socket::answer`](crate::Socket::answer).
    pub ack: Option<u64>,
    /// The arguments, as raw JSON. Binary parts are placeholders in it.
    pub args: Args,
    /// The binary attachments, nearly always none.
    pub attachments: Vec<Bytes>,
    pub(crate) name: Name,
}

/// An event's name: a piece of the frame, or a copy where it had JSON escapes.
#[derive(Debug, Clone)]
pub(crate) enum Name {
    /// Where in the frame of the event's arguments it stands.
    Slice(Range<usize>),
    Owned(Box<str>),
}

impl Event {
    /// The event's name, such as `update` or `ephemeral`.
    pub fn name(&self) -> &str {
        match &self.name {
            Name::Slice(range) => &self.args.frame()[range.clone()],
            Name::Owned(name) => name,
        }
    }

    /// The first argument, `null` where there is none.
    ///
    /// # Errors
    /// As [`Args::values`].
    pub fn data(&self) -> serde_json::Result<Value> {
        self.args.data()
    }

    /// What it costs to keep this event queued, for the queue's bound in bytes.
    pub(crate) fn cost(&self) -> usize {
        let attached: usize = self.attachments.iter().map(Bytes::len).sum();
        size_of::<Self>() + self.args.as_str().len() + attached
    }
}

/// A name as a slice of its frame where the codec borrowed it.
pub(crate) fn name_of(frame: &Text, name: Cow<'_, str>) -> Name {
    match name {
        Cow::Borrowed(part) => Name::Slice(range_in(frame, part)),
        Cow::Owned(name) => Name::Owned(name.into_boxed_str()),
    }
}

/// The answer to an event.
#[derive(Debug, Clone)]
pub struct Reply {
    /// When its frame was read.
    pub at: Instant,
    /// Its place among all events and acks of this connection, see
    /// [`Event::arrival`](crate::Event::arrival).
    pub arrival: u64,
    /// How many events of this connection came before it: once so many have been received, all that
    /// the server had sent when it answered is known.
    pub events: u64,
    /// The arguments, as raw JSON.
    pub args: Args,
    /// The binary attachments, nearly always none.
    pub attachments: Vec<Bytes>,
}

impl Reply {
    /// The first argument, `null` where there is none.
    ///
    /// # Errors
    /// As [`Args::values`].
    pub fn data(&self) -> serde_json::Result<Value> {
        self.args.data()
    }
}
