//! The task of a connection: it alone reads and writes the wire, and it owns the order.
//!
//! One hand-written poll does everything, so that a stalled write never keeps it from reading
//! and a stalled consumer never keeps it from writing. It must not judge what the server sends:
//! it parses, delivers and, when something cannot go on, says how the connection ended.

mod incoming;
mod read;
mod write;

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, Sleep, sleep_until, timeout},
};

use self::{incoming::Incoming, write::HalfClose};
use crate::{
    codec::Frame,
    error::End,
    link::{Link, Switch},
    listener::Listener,
    received::Event,
    socket::Outgoing,
    tap::Conduct,
    wire::Wire,
};

/// How many packets are read, and how many are taken to be written, before other tasks get
/// their turn.
const BUDGET: usize = 128;
/// How long the goodbyes of a closing connection may take.
const LINGER: Duration = Duration::from_secs(2);

pub(crate) struct Driver {
    wire: Wire,
    link: Arc<Link>,
    commands: mpsc::Receiver<Box<Outgoing>>,
    /// Takes events and acks in place of the queue.
    listener: Option<Box<dyn Listener>>,
    /// Nothing that comes is looked at, except for pings.
    raw: bool,
    /// The switches that the tap knows of.
    switches: u8,
    /// Frames that come before the next command: CONNECT, answers to pings, attachments.
    urgent: Vec<Frame>,
    /// Something was given to the wire since it was last flushed.
    dirty: bool,
    half_close: HalfClose,
    flush_waiters: Vec<oneshot::Sender<()>>,
    /// A write failed; what the server sent before that is still read, since it may say why.
    write_failure: Option<End>,
    /// The event that found the queue full. Reading stops until it has its place.
    held: Option<Event>,
    incoming: Incoming,
    heard: Instant,
    patience: Duration,
    alarm: Pin<Box<Sleep>>,
}

/// Why the poll loop stopped.
enum Finish {
    Ended(End),
    Leave,
    Abort,
}

impl Driver {
    pub(crate) fn new(
        wire: Wire,
        link: Arc<Link>,
        commands: mpsc::Receiver<Box<Outgoing>>,
        first: Option<Frame>,
        listener: Option<Box<dyn Listener>>,
        max_message: usize,
    ) -> Self {
        let heard = Instant::now();
        let patience = link
            .handshake
            .ping_interval
            .saturating_add(link.handshake.ping_timeout);
        Self {
            wire,
            commands,
            listener,
            raw: false,
            switches: 0,
            urgent: first.into_iter().collect(),
            dirty: false,
            half_close: HalfClose::No,
            flush_waiters: Vec::new(),
            write_failure: None,
            held: None,
            incoming: Incoming::new(max_message),
            heard,
            patience,
            alarm: Box::pin(sleep_until(later(heard, patience))),
            link,
        }
    }

    /// Looks at nothing that comes, except for pings: whatever the server sends, the connection goes
    /// on until its transport ends.
    pub(crate) fn raw(self) -> Self {
        Self { raw: true, ..self }
    }

    /// In a box, as its ends are, because the task would otherwise keep room for several of it.
    pub(crate) async fn run(mut self: Box<Self>) {
        let _settled = Settled(Arc::clone(&self.link));
        let finish = poll_fn(|cx| self.poll(cx)).await;
        if let Some(held) = self.held.take() {
            self.link.queue().push_anyway(held);
        }
        match finish {
            Finish::Abort => {
                self.wire.tell_conduct(Conduct::Drop);
                self.wire.tell_end(&End::ClientClosed);
                let (mut listener, link) = (self.listener.take(), Arc::clone(&self.link));
                self.wire.abort();
                settle(&mut listener, &link, End::ClientClosed);
            }
            Finish::Ended(end) => {
                self.wire.tell_end(&end);
                settle(&mut self.listener, &self.link, end);
                Box::pin(self.let_go()).await;
            }
            Finish::Leave => Box::pin(self.leave()).await,
        }
    }

    /// Says goodbye, and tells everyone that the connection is over when that is written.
    async fn leave(mut self: Box<Self>) {
        self.wire.tell_end(&End::ClientClosed);
        let goodbye = poll_fn(|cx| self.wire.poll_close(cx));
        // A server that does not take the goodbye has had its time.
        let _ = timeout(LINGER, goodbye).await;
        settle(&mut self.listener, &self.link, End::ClientClosed);
        self.let_go().await;
    }

    /// Closes the wire orderly, as far as the server plays along.
    async fn let_go(self: Box<Self>) {
        let Self {
            mut wire,
            commands,
            flush_waiters,
            ..
        } = *self;
        // Senders and flushes that still wait must fail now, not after the linger.
        drop((commands, flush_waiters));
        let _ = timeout(LINGER, async {
            poll_fn(|cx| wire.poll_close(cx)).await;
            poll_fn(|cx| wire.poll_drain(cx)).await;
        })
        .await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Finish> {
        self.link.register_driver(cx.waker());
        if self.link.is_set(Switch::Abort) {
            return Poll::Ready(Finish::Abort);
        }
        self.tell_switches();
        let read = self.poll_read(cx);
        if let Some(outcome) = self.wire.take_upgrade() {
            self.link.set_upgrade(outcome);
        }
        if let Poll::Ready(end) = read {
            return Poll::Ready(Finish::Ended(end));
        }
        if let Poll::Ready(finish) = self.poll_write(cx) {
            return Poll::Ready(finish);
        }
        self.poll_alarm(cx).map(Finish::Ended)
    }

    /// Shows the tap which switches were turned.
    fn tell_switches(&mut self) {
        let now = self.link.switches();
        let turned = now ^ std::mem::replace(&mut self.switches, now);
        if turned == 0 {
            return;
        }
        let stop = Switch::StopReading as u8;
        let ignore = Switch::IgnorePings as u8;
        let told = [
            (stop, Conduct::StopReading, Conduct::ResumeReading),
            (ignore, Conduct::IgnorePings, Conduct::AnswerPings),
        ];
        for (switch, on, off) in told {
            if turned & switch != 0 {
                let is_on = now & switch != 0;
                self.wire.tell_conduct(if is_on { on } else { off });
            }
        }
    }

    /// Any packet shows that the server lives, so only silence counts. The alarm is not moved at
    /// each packet but looks, when it goes off, at when the last one came.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        while self.alarm.as_mut().poll(cx).is_ready() {
            let due = later(self.heard, self.patience);
            if due <= Instant::now() {
                return Poll::Ready(End::PingTimeout {
                    after: self.patience,
                });
            }
            self.alarm.as_mut().reset(due);
        }
        Poll::Pending
    }
}

/// Tells everyone that the connection is over.
fn settle(listener: &mut Option<Box<dyn Listener>>, link: &Link, end: End) {
    if let Some(listener) = listener {
        listener.ended(&end);
    }
    link.settle(end);
}

/// Whoever waits is told the end even if the task panics or its runtime shuts down.
struct Settled(Arc<Link>);

impl Drop for Settled {
    fn drop(&mut self) {
        let reason = "the connection's task was stopped".to_owned();
        self.0.settle(End::TransportError { reason });
    }
}

/// `at + by`, or a day later where a server announces intervals beyond any clock.
fn later(at: Instant, by: Duration) -> Instant {
    at.checked_add(by)
        .unwrap_or(at + Duration::from_secs(86_400))
}
