//! Received events on their way to whoever consumes them: an ordered queue with two bounds.

use std::{collections::VecDeque, task::Waker};

use crate::received::Event;

/// The queue between a connection's task and its [`Events`](crate::Events).
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

    /// Wakes the consumer at the next event.
    pub(crate) fn wait(&mut self, consumer: &Waker) {
        self.consumer = Some(consumer.clone());
    }

    pub(crate) fn len(&self) -> usize {
        self.events.len()
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
    pub(crate) fn pop(&mut self) -> Option<(Event, bool)> {
        let event = self.events.pop_front()?;
        self.bytes -= event.cost();
        if self.events.is_empty() && self.events.capacity() > KEPT_CAPACITY {
            self.events = VecDeque::new();
        }
        Some((event, std::mem::take(&mut self.refused)))
    }

    pub(crate) fn discard(&mut self) {
        self.discarding = true;
        self.events = VecDeque::new();
        self.bytes = 0;
    }
}
