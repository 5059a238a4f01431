//! The receiving end of a connection.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use crate::{error::End, link::Link, received::Event};

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
            None => self.link.queue().wait(cx.waker()),
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
        self.link.queue().len()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.link.queue().discard();
        self.link.wake_driver();
    }
}
