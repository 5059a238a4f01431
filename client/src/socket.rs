//! The sending side of a connection.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{
    codec::{
        Args, Frame,
        packet::{Body, Packet, encode_message},
    },
    error::{CallError, End, SendError, UpgradeError},
    handshake::Handshake,
    link::{Link, Switch},
    received::Reply,
};

/// How long a server may take for what is still to be written when this side leaves.
const FAREWELL: Duration = Duration::from_secs(10);

/// What the handles ask of the connection's task, in order. It is queued in a box, because a queue
/// has room for 32 of them from the beginning.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Frame(Frame),
    /// Frames that must not be torn apart: a binary packet and its attachments.
    Frames(Vec<Frame>),
    /// Tell when all that was queued before is written.
    Flush(oneshot::Sender<()>),
    /// Write what was queued before, then leave; first with a DISCONNECT packet if `true`.
    Close(bool),
    /// Write what was queued before, then end the stream in this direction only.
    HalfClose,
}

/// A handle to a connection, cheap to clone. The connection closes when all its handles and its
/// [`Events`](crate::Events) are gone.
///
/// Whatever is sent through one handle is written in that order. Senders wait when
/// `ConnectOptions::send_queue` messages are queued.
#[derive(Clone)]
pub struct Socket {
    outgoing: mpsc::Sender<Box<Outgoing>>,
    link: Arc<Link>,
}

impl Socket {
    pub(crate) fn new(outgoing: mpsc::Sender<Box<Outgoing>>, link: Arc<Link>) -> Self {
        Self { outgoing, link }
    }

    /// Sends an event that asks for no ack. Returns when it is queued.
    ///
    /// # Errors
    /// How the connection ended, if it has.
    pub async fn emit(&self, event: &str, args: impl Into<Args>) -> Result<(), End> {
        self.send_event(event, &args.into(), None, Vec::new()).await
    }

    /// Sends an event with binary attachments; `args` holds their placeholders.
    ///
    /// # Errors
    /// How the connection ended, if it has.
    pub async fn emit_binary(
        &self,
        event: &str,
        args: impl Into<Args>,
        attachments: Vec<Bytes>,
    ) -> Result<(), End> {
        self.send_event(event, &args.into(), None, attachments)
            .await
    }

    /// Sends an event that asks for an ack and returns as soon as it is queued, with a future
    /// for the reply. So calls can be pipelined in order: send now, await later.
    ///
    /// # Errors
    /// How the connection ended, if it has.
    pub async fn request(&self, event: &str, args: impl Into<Args>) -> Result<PendingReply, End> {
        let slot = self.slot().await?;
        let (id, receiver) = self.link.expect_ack();
        let reply = PendingReply {
            event: event.into(),
            id,
            receiver,
            link: Arc::clone(&self.link),
            answered: false,
        };
        let frame = event_frame(event, &args.into(), Some(id), 0);
        slot.send(Box::new(Outgoing::Frame(frame)));
        Ok(reply)
    }

    /// Sends an event and waits for its ack for at most `after`.
    ///
    /// # Errors
    /// No ack in time, or how the connection ended.
    pub async fn call(
        &self,
        event: &str,
        args: impl Into<Args>,
        after: Duration,
    ) -> Result<Reply, CallError> {
        let args = args.into();
        let called = timeout(after, async {
            let pending = self.request(event, args).await;
            pending
                .map_err(|source| CallError::Ended {
                    event: event.to_owned(),
                    source,
                })?
                .await
        });
        let late = || CallError::Timeout {
            event: event.to_owned(),
            after,
        };
        called.await.map_err(|_| late())?
    }

    /// Answers an event that asked for an ack, see [`Event::ack`](crate::Event::ack).
    ///
    /// # Errors
    /// How the connection ended, if it has.
    pub async fn answer(&self, id: u64, args: impl Into<Args>) -> Result<(), End> {
        let args = args.into();
        let body = Body::Ack {
            id,
            args: args.as_str(),
            attachments: 0,
        };
        self.send_raw(Frame::text(encode_message(&Packet::new(body))))
            .await
    }

    /// Sends a frame as it is, whatever it holds.
    ///
    /// # Errors
    /// How the connection ended, if it has.
    pub async fn send_raw(&self, frame: Frame) -> Result<(), End> {
        self.queue(Outgoing::Frame(frame)).await
    }

    /// Queues a frame as it is, or fails where that would mean to wait.
    ///
    /// # Errors
    /// The queue is full, or the connection is over.
    pub fn try_send_raw(&self, frame: Frame) -> Result<(), SendError> {
        match self.outgoing.try_send(Box::new(Outgoing::Frame(frame))) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(SendError::Full),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(SendError::Ended(self.ended())),
        }
    }

    /// Waits until all that was queued before is written to the operating system (WebSocket) or
    /// taken by the server (polling).
    ///
    /// # Errors
    /// How the connection ended, if it did before that.
    pub async fn flush(&self) -> Result<(), End> {
        let (done, flushed) = oneshot::channel();
        self.queue(Outgoing::Flush(done)).await?;
        flushed.await.map_err(|_| self.ended())
    }

    /// Waits until CONNECT is answered, and returns the Socket.IO id. Only needed after
    /// [`Engine::begin`](crate::Engine::begin); [`connect`](crate::connect) has waited already.
    ///
    /// # Errors
    /// The refusal, or any other end that came before an answer.
    pub async fn connected(&self) -> Result<String, End> {
        self.wait_for(|link| link.sid().map(Ok).or_else(|| link.end().map(Err)))
            .await
    }

    /// Waits until the transport is a WebSocket. Immediate where it was one from the start; with
    /// [`Transport::Upgrade`](crate::Transport::Upgrade) the upgrade goes on in the background.
    ///
    /// # Errors
    /// Why it is not going to be one; the connection goes on with polling.
    pub async fn upgraded(&self) -> Result<(), UpgradeError> {
        let outcome = self.wait_for(Link::upgrade).await;
        outcome.map_err(|reason| UpgradeError { reason })
    }

    /// Waits until the connection is over. Events may still wait to be received.
    pub async fn closed(&self) -> End {
        self.wait_for(Link::end).await
    }

    /// How the connection ended, if it has.
    pub fn end(&self) -> Option<End> {
        self.link.end()
    }

    /// Leaves as official clients do: what was queued, a DISCONNECT packet, then the transport's
    /// goodbye. Returns when that is written; a server that does not take it within ten seconds
    /// gets a reset.
    pub async fn disconnect(&self) {
        self.leave(true).await;
    }

    /// Closes the transport without a DISCONNECT packet, after what was queued. Returns when
    /// that is written; a server that does not take it within ten seconds gets a reset.
    pub async fn close(&self) {
        self.leave(false).await;
    }

    /// Ends the TCP stream in this direction only, after what was queued and without a goodbye,
    /// to play a client that half-closes. Events go on to be received, but nothing can be sent
    /// any more, not even answers to pings. Over polling this does nothing.
    ///
    /// # Errors
    /// How the connection ended, if it has.
    pub async fn half_close(&self) -> Result<(), End> {
        self.queue(Outgoing::HalfClose).await
    }

    /// Drops the connection at once, with a TCP reset where the transport can: no DISCONNECT, no
    /// close frame, and whatever was queued is lost.
    pub fn abort(&self) {
        self.link.set(Switch::Abort, true);
    }

    /// Stops or resumes reading from the network, to play a client that stalls. While it is
    /// stopped, no pings are answered and no ping timeout is declared.
    pub fn stop_reading(&self, stop: bool) {
        self.link.set(Switch::StopReading, stop);
    }

    /// Stops or resumes answering the server's pings.
    pub fn ignore_pings(&self, ignore: bool) {
        self.link.set(Switch::IgnorePings, ignore);
    }

    /// The server's Engine.IO handshake.
    pub fn handshake(&self) -> &Handshake {
        &self.link.handshake
    }

    /// The Socket.IO id, once CONNECT is answered.
    pub fn id(&self) -> Option<String> {
        self.link.sid()
    }

    /// How many acks came that nobody waited for: for an id that was never sent, for one that
    /// was answered before, or for a [`PendingReply`] that was dropped.
    pub fn stray_acks(&self) -> u64 {
        self.link.stray_acks()
    }

    async fn send_event(
        &self,
        event: &str,
        args: &Args,
        ack: Option<u64>,
        attachments: Vec<Bytes>,
    ) -> Result<(), End> {
        let frame = event_frame(event, args, ack, attachments.len());
        let outgoing = if attachments.is_empty() {
            Outgoing::Frame(frame)
        } else {
            let attached = attachments.into_iter().map(Frame::Binary);
            Outgoing::Frames(std::iter::once(frame).chain(attached).collect())
        };
        self.queue(outgoing).await
    }

    async fn queue(&self, outgoing: Outgoing) -> Result<(), End> {
        self.slot().await?.send(Box::new(outgoing));
        Ok(())
    }

    async fn slot(&self) -> Result<mpsc::Permit<'_, Box<Outgoing>>, End> {
        self.outgoing.reserve().await.map_err(|_| self.ended())
    }

    async fn leave(&self, goodbye: bool) {
        let left = timeout(FAREWELL, async {
            if self.queue(Outgoing::Close(goodbye)).await.is_ok() {
                self.closed().await;
            }
        });
        if left.await.is_err() {
            self.abort();
            self.closed().await;
        }
    }

    /// The connection's task sets the end before it lets go of its queue.
    fn ended(&self) -> End {
        self.link.end().unwrap_or(End::ClientClosed)
    }

    async fn wait_for<T>(&self, mut done: impl FnMut(&Link) -> Option<T>) -> T {
        loop {
            let changed = self.link.changed.notified();
            tokio::pin!(changed);
            // Registered before the look, so that no change falls between the two.
            changed.as_mut().enable();
            if let Some(value) = done(&self.link) {
                return value;
            }
            changed.await;
        }
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("id", &self.id())
            .field("end", &self.end())
            .finish_non_exhaustive()
    }
}

fn event_frame(event: &str, args: &Args, ack: Option<u64>, attachments: usize) -> Frame {
    let body = Body::Event {
        name: event.into(),
        args: args.as_str(),
        ack,
        attachments,
    };
    Frame::text(encode_message(&Packet::new(body)))
}

/// The reply to a [`request`](Socket::request): a future that resolves when the ack arrives, or
/// fails when the connection ends. Dropping it forgets the ack.
#[derive(Debug)]
pub struct PendingReply {
    event: Box<str>,
    id: u64,
    receiver: oneshot::Receiver<Reply>,
    link: Arc<Link>,
    answered: bool,
}

impl PendingReply {
    /// The ack id that went over the wire.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Waits for the reply for at most `after`.
    ///
    /// # Errors
    /// No ack in time, or how the connection ended.
    pub async fn within(self, after: Duration) -> Result<Reply, CallError> {
        let event = self.event.to_string();
        timeout(after, self)
            .await
            .map_err(|_| CallError::Timeout { event, after })?
    }
}

impl Future for PendingReply {
    type Output = Result<Reply, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver).poll(cx).map(|received| {
            self.answered = true;
            received.map_err(|_| CallError::Ended {
                event: self.event.to_string(),
                source: self.link.end().unwrap_or(End::ClientClosed),
            })
        })
    }
}

impl Drop for PendingReply {
    fn drop(&mut self) {
        if !self.answered {
            self.link.forget_ack(self.id);
        }
    }
}
