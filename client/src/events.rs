//! Received events on their way to whoever consumes them: an ordered queue with two bounds.

use std::{
    borrow::Cow,
    collections::VecDeque,
    future::poll_fn,
    ops::Range,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    codec::{Args, Text, range_in},
    error::End,
    link::Link,
};

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
    fn cost(&self) -> usize {
        let attached: usize = self.attachments.iter().map(Bytes::len).sum();
        size_of::<Self>() + self.args.as_str().len() + attached
    }
}

/// The receiving end of a connection: its events in order, then exactly one [`End`].
///
/// Nothing is dropped. When the queue's bounds are reached (`ConnectOptions::event_queue` and
/// `event_queue_bytes`), the connection stops reading until this side has caught up, and TCP
/// makes the server wait. While that lasts the client still writes, but acks, heartbeats and the
/// end of the connection lie unread behind the events: it answers no pings, and so a server may
/// well end it after its ping timeout. The client's own ping timeout does not count that time.
/// Hence never await a reply, without a timeout, from the task that alone consumes the events.
///
/// Dropping this discards all further events without stopping the connection.
#[derive(Debug)]
pub struct Events {
    link: Arc<Link>,
}

impl Events {
    pub(crate) fn new(link: Arc<Link>) -> Self {
        Self { link }
    }

    /// The next event, or how the connection ended. After the end it answers the same again.
    /// Cancel safe.
    ///
    /// # Errors
    /// The connection's [`End`], once all events have been received.
    pub async fn recv(&mut self) -> Result<Event, End> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// As [`recv`](Self::recv), for hand-written futures.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, End>> {
        match self.try_recv() {
            Some(received) => return Poll::Ready(received),
            None => self.link.queue().consumer = Some(cx.waker().clone()),
        }
        // Between the look and the registration something may have come.
        self.try_recv().map_or(Poll::Pending, Poll::Ready)
    }

    /// The next event or the end if either is already here.
    pub fn try_recv(&mut self) -> Option<Result<Event, End>> {
        let popped = self.link.queue().pop();
        if let Some((event, was_full)) = popped {
            if was_full {
                self.link.wake_driver();
            }
            return Some(Ok(event));
        }
        // The end is set after the last event was queued, so it must be looked at first.
        let end = self.link.end()?;
        match self.link.queue().pop() {
            Some((event, _)) => Some(Ok(event)),
            None => Some(Err(end)),
        }
    }

    /// How many events are waiting to be received.
    pub fn queued(&self) -> usize {
        self.link.queue().events.len()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.link.queue().discard();
        self.link.wake_driver();
    }
}

/// The queue between a connection's task and its [`Events`].
#[derive(Debug)]
pub(crate) struct Queue {
    events: VecDeque<Event>,
    bytes: usize,
    bounds: Bounds,
    consumer: Option<Waker>,
    discarding: bool,
    /// The producer was refused and waits for room.
    refused: bool,
}

/// How much may wait in a queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
}

/// A drained queue that was long gives its memory back, so that a burst does not weigh on an
/// idle connection for ever.
const KEPT_CAPACITY: usize = 64;

impl Queue {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            events: VecDeque::new(),
            bytes: 0,
            bounds,
            consumer: None,
            discarding: false,
            refused: false,
        }
    }

    /// Takes an event, or gives it back when there is no room for it. An empty queue takes an
    /// event of any size: the size of a message has its own limit.
    #[expect(
        clippy::result_large_err,
        reason = "a refused event goes back to where it was"
    )]
    pub(crate) fn push(&mut self, event: Event) -> Result<(), Event> {
        let full = self.events.len() >= self.bounds.events.max(1)
            || (self.bytes + event.cost() > self.bounds.bytes && !self.events.is_empty());
        if full && !self.discarding {
            self.refused = true;
            return Err(event);
        }
        self.push_anyway(event);
        Ok(())
    }

    /// Takes an event beyond the bounds: the one that its producer still held at the end.
    pub(crate) fn push_anyway(&mut self, event: Event) {
        if self.discarding {
            return;
        }
        self.bytes += event.cost();
        self.events.push_back(event);
        self.wake_consumer();
    }

    pub(crate) fn wake_consumer(&mut self) {
        if let Some(consumer) = self.consumer.take() {
            consumer.wake();
        }
    }

    /// Whether nobody will ever receive from here.
    pub(crate) fn is_discarding(&self) -> bool {
        self.discarding
    }

    /// The oldest event, and whether the producer is waiting for the room it left.
    fn pop(&mut self) -> Option<(Event, bool)> {
        let event = self.events.pop_front()?;
        self.bytes -= event.cost();
        if self.events.is_empty() && self.events.capacity() > KEPT_CAPACITY {
            self.events = VecDeque::new();
        }
        Some((event, std::mem::take(&mut self.refused)))
    }

    fn discard(&mut self) {
        self.discarding = true;
        self.events = VecDeque::new();
        self.bytes = 0;
    }
}

/// A name as a slice of its frame where the codec borrowed it.
pub(crate) fn name_of(frame: &Text, name: Cow<'_, str>) -> Name {
    match name {
        Cow::Borrowed(part) => Name::Slice(range_in(frame, part)),
        Cow::Owned(name) => Name::Owned(name.into_boxed_str()),
    }
}
