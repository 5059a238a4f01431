//! Events and acks as they come: numbered, and whole only with all their attachments.

use bytes::Bytes;
use tokio::time::Instant;

use crate::{
    codec::{Args, DecodeError, Problem},
    error::End,
    received::{Event, Name, Reply},
};

/// Numbers what comes, and keeps the one packet whose attachments have not all come.
pub(super) struct Incoming {
    partial: Option<Box<Partial>>,
    arrivals: u64,
    /// How many of them were events.
    events: u64,
    max_message: usize,
}

struct Partial {
    message: Message,
    missing: usize,
    bytes: usize,
}

pub(super) enum Message {
    Event(Event),
    Ack(u64, Reply),
}

impl Incoming {
    pub(super) fn new(max_message: usize) -> Self {
        Self {
            partial: None,
            arrivals: 0,
            events: 0,
            max_message,
        }
    }

    /// Whether an attachment has to come next.
    pub(super) fn is_incomplete(&self) -> bool {
        self.partial.is_some()
    }

    /// The event, if it is complete.
    pub(super) fn event(
        &mut self,
        at: Instant,
        name: Name,
        args: Args,
        ack: Option<u64>,
        attachments: usize,
    ) -> Option<Message> {
        let event = Event {
            at,
            arrival: self.next_arrival(),
            ack,
            args,
            attachments: Vec::new(),
            name,
        };
        self.events += 1;
        self.begin(Message::Event(event), attachments)
    }

    /// The ack, if it is complete.
    pub(super) fn ack(
        &mut self,
        at: Instant,
        id: u64,
        args: Args,
        attachments: usize,
    ) -> Option<Message> {
        let reply = Reply {
            at,
            arrival: self.next_arrival(),
            events: self.events,
            args,
            attachments: Vec::new(),
        };
        self.begin(Message::Ack(id, reply), attachments)
    }

    fn next_arrival(&mut self) -> u64 {
        let arrival = self.arrivals;
        self.arrivals += 1;
        arrival
    }

    fn begin(&mut self, message: Message, missing: usize) -> Option<Message> {
        self.completed(Partial {
            message,
            missing,
            bytes: 0,
        })
    }

    /// The message that this attachment completes, if it does.
    pub(super) fn attach(&mut self, bytes: Bytes) -> Result<Option<Message>, End> {
        let Some(mut partial) = self.partial.take() else {
            let problem = Problem::OutOfTurn("binary frame that no packet announced");
            return Err(End::ParseError {
                packet: format!("{} bytes of binary", bytes.len()),
                source: DecodeError::new(0, problem),
            });
        };
        partial.bytes += bytes.len();
        partial.missing -= 1;
        if partial.bytes > self.max_message {
            return Err(End::TooLarge {
                size: partial.bytes,
                limit: self.max_message,
            });
        }
        match &mut partial.message {
            Message::Event(event) => event.attachments.push(bytes),
            Message::Ack(_, reply) => reply.attachments.push(bytes),
        }
        Ok(self.completed(*partial))
    }

    /// The message, or nothing while attachments are missing.
    fn completed(&mut self, partial: Partial) -> Option<Message> {
        if partial.missing == 0 {
            return Some(partial.message);
        }
        self.partial = Some(Box::new(partial));
        None
    }
}
