//! The task of a connection: it alone reads and writes the wire, and it owns the order.
//!
//! One hand-written poll does everything, so that a stalled write never keeps it from reading
//! and a stalled consumer never keeps it from writing. It must not judge what the server sends:
//! it parses, delivers and, when something cannot go on, says how the connection ended.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, Sleep, sleep_until, timeout},
};

use crate::{
    codec::{
        Args, DecodeError, Frame, Problem, Text, engine,
        packet::{self, Body, Packet},
    },
    error::{End, excerpt},
    link::{Link, Switch},
    listener::Listener,
    received::{Event, Reply, name_of},
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
    /// A binary packet whose attachments have not all come.
    partial: Option<Box<Partial>>,
    arrivals: u64,
    /// How many of them were events.
    events: u64,
    max_message: usize,
    heard: Instant,
    patience: Duration,
    alarm: Pin<Box<Sleep>>,
}

/// Whether this side has ended its direction of the stream.
#[derive(PartialEq)]
enum HalfClose {
    No,
    /// When all that was given to the wire is written.
    Due,
    Done,
}

/// Why the poll loop stopped.
enum Finish {
    Ended(End),
    Leave,
    Abort,
}

struct Partial {
    message: Message,
    missing: usize,
    bytes: usize,
}

enum Message {
    Event(Event),
    Ack(u64, Reply),
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
            partial: None,
            arrivals: 0,
            events: 0,
            max_message,
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

    // Reading

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        for _ in 0..BUDGET {
            if !self.may_read() {
                // Silence that we asked for is not the server's.
                self.heard = Instant::now();
                return match &self.write_failure {
                    Some(end) if self.held.is_none() => Poll::Ready(end.clone()),
                    _ => Poll::Pending,
                };
            }
            match self.wire.poll_next(cx) {
                Poll::Ready(Ok((at, frame))) => {
                    self.heard = at;
                    if let Err(end) = self.handle(at, frame) {
                        return Poll::Ready(end);
                    }
                }
                Poll::Ready(Err(end)) => return Poll::Ready(self.why(end)),
                Poll::Pending => {
                    return match &self.write_failure {
                        Some(end) => Poll::Ready(end.clone()),
                        None => Poll::Pending,
                    };
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Both directions of a broken connection fail; what the server said counts more than that
    /// it could not be written to.
    fn why(&mut self, read: End) -> End {
        match (self.write_failure.take(), read) {
            (Some(write), End::TransportError { .. }) => write,
            (_, read) => read,
        }
    }

    /// Finds a place for the event in hand, and tells whether there is room for another.
    fn may_read(&mut self) -> bool {
        if let Some(held) = self.held.take() {
            self.held = self.link.queue().push(held).err();
        }
        self.held.is_none() && !self.link.is_set(Switch::StopReading)
    }

    fn handle(&mut self, at: Instant, frame: Frame) -> Result<(), End> {
        if self.raw {
            if let Frame::Text(text) = &frame
                && let Ok(engine::Packet::Ping(data)) = engine::decode(text)
            {
                self.answer_ping(data);
            }
            return Ok(());
        }
        let text = match frame {
            Frame::Binary(bytes) => return self.attach(bytes),
            Frame::Text(text) => text,
        };
        let broken = |source| parse_error(&text, source);
        match engine::decode(&text).map_err(broken)? {
            engine::Packet::Ping(data) => {
                self.answer_ping(data);
                Ok(())
            }
            engine::Packet::Message(message) => {
                if self.partial.is_some() {
                    let problem = Problem::OutOfTurn("text frame where an attachment is due");
                    return Err(broken(DecodeError::new(0, problem)));
                }
                if let Some(listener) = &mut self.listener
                    && message.starts_with(['2', '3'])
                {
                    listener.packet(at, message);
                    return Ok(());
                }
                // One byte, the Engine.IO type, comes before the packet.
                let packet = packet::decode(message).map_err(|e| broken(e.shifted(1)))?;
                self.receive(at, &text, packet)
            }
            engine::Packet::Close => Err(End::TransportClose {
                code: None,
                reason: "Engine.IO close packet".to_owned(),
            }),
            engine::Packet::Open(_) => {
                let problem = Problem::OutOfTurn("a second handshake");
                Err(broken(DecodeError::new(0, problem)))
            }
            engine::Packet::Pong(_) | engine::Packet::Upgrade | engine::Packet::Noop => Ok(()),
        }
    }

    fn answer_ping(&mut self, data: &str) {
        // One answer is enough for pings that came while none could be written.
        if !self.link.is_set(Switch::IgnorePings) && self.urgent.len() < BUDGET {
            let pong = engine::encode(engine::Packet::Pong(data));
            self.urgent.push(Frame::text(pong));
        }
    }

    fn receive(&mut self, at: Instant, text: &Text, packet: Packet<'_>) -> Result<(), End> {
        // Nothing was connected there, so nothing can be meant for us.
        if packet.namespace != "/" {
            return Ok(());
        }
        match packet.body {
            Body::Connect(payload) => {
                let answer: Connected = serde_json::from_str(payload).map_err(|error| {
                    let expected = "an object with the Socket.IO id as sid";
                    // Two bytes, the types, come before the payload in the default namespace.
                    let error = packet::json_error(payload, expected, &error).shifted(2);
                    parse_error(text, error)
                })?;
                self.link.connected(answer.sid);
                if let Some(listener) = &mut self.listener {
                    listener.connected(at);
                }
                Ok(())
            }
            Body::ConnectError(payload) => {
                let refusal: Refusal = serde_json::from_str(payload).unwrap_or_default();
                Err(End::Refused {
                    message: refusal.message,
                    data: refusal.data,
                })
            }
            Body::Disconnect => Err(End::ServerDisconnect),
            Body::Event {
                name,
                args,
                ack,
                attachments,
            } => {
                let event = Event {
                    at,
                    arrival: self.next_arrival(),
                    ack,
                    args: Args::slice(text, args),
                    attachments: Vec::new(),
                    name: name_of(text, name),
                };
                self.events += 1;
                self.complete(Message::Event(event), attachments);
                Ok(())
            }
            Body::Ack {
                id,
                args,
                attachments,
            } => {
                let args = Args::slice(text, args);
                let arrival = self.next_arrival();
                let reply = Reply {
                    at,
                    arrival,
                    events: self.events,
                    args,
                    attachments: Vec::new(),
                };
                self.complete(Message::Ack(id, reply), attachments);
                Ok(())
            }
        }
    }

    fn next_arrival(&mut self) -> u64 {
        let arrival = self.arrivals;
        self.arrivals += 1;
        arrival
    }

    fn attach(&mut self, bytes: Bytes) -> Result<(), End> {
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
        self.complete_partial(*partial);
        Ok(())
    }

    fn complete(&mut self, message: Message, attachments: usize) {
        self.complete_partial(Partial {
            message,
            missing: attachments,
            bytes: 0,
        });
    }

    /// Delivers a message, or puts it aside until its attachments have come.
    fn complete_partial(&mut self, partial: Partial) {
        if partial.missing > 0 {
            self.partial = Some(Box::new(partial));
            return;
        }
        match partial.message {
            Message::Ack(id, reply) => self.link.resolve_ack(id, reply),
            Message::Event(event) => self.held = self.link.queue().push(event).err(),
        }
    }

    // Writing

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Finish> {
        if self.write_failure.is_some() || self.half_close == HalfClose::Done {
            return Poll::Pending;
        }
        match self.poll_write_all(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Finish::Leave),
            Poll::Ready(Err(end)) => {
                self.write_failure = Some(end);
                // What the server sent before is to be read first.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// Gives all that is queued to the wire and flushes once. Ready when it is time to leave.
    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        if self.half_close == HalfClose::Due {
            return self.poll_flush(cx);
        }
        for _ in 0..BUDGET {
            if self.wire.poll_ready(cx)?.is_pending() {
                return Poll::Pending;
            }
            if !self.urgent.is_empty() {
                let frame = self.urgent.remove(0);
                self.give(frame)?;
                continue;
            }
            let command = match self.commands.poll_recv(cx) {
                Poll::Ready(Some(command)) => *command,
                Poll::Ready(None) if self.link.queue().is_discarding() => {
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(None) | Poll::Pending => return self.poll_flush(cx),
            };
            match command {
                Outgoing::Frame(frame) => self.give(frame)?,
                Outgoing::Frames(frames) => self.urgent = frames,
                Outgoing::HalfClose => {
                    self.half_close = HalfClose::Due;
                    self.commands.close();
                    return self.poll_flush(cx);
                }
                Outgoing::Flush(done) => self.flush_waiters.push(done),
                Outgoing::Close(goodbye) => {
                    if goodbye && self.link.sid().is_some() {
                        self.give(Frame::text("41"))?;
                    }
                    return Poll::Ready(Ok(()));
                }
            }
        }
        cx.waker().wake_by_ref();
        self.poll_flush(cx)
    }

    fn give(&mut self, frame: Frame) -> Result<(), End> {
        self.dirty = true;
        self.wire.start_send(frame)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        if self.dirty {
            if self.wire.poll_flush(cx)?.is_pending() {
                return Poll::Pending;
            }
            self.dirty = false;
        }
        if self.half_close == HalfClose::Due {
            self.half_close = HalfClose::Done;
            self.wire.half_close();
        }
        for waiter in self.flush_waiters.drain(..) {
            // Whoever does not wait any more need not be told.
            let _ = waiter.send(());
        }
        Poll::Pending
    }

    // Heartbeat

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

fn parse_error(text: &Text, source: DecodeError) -> End {
    End::ParseError {
        packet: excerpt(text, 120),
        source,
    }
}

#[derive(Deserialize)]
struct Connected {
    sid: String,
}

#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    message: String,
    data: Option<Value>,
}
