//! Opening a connection, stage by stage: the transport, the Engine.IO handshake, CONNECT.

use std::{future::poll_fn, sync::Arc};

use serde_json::Value;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use crate::{
    codec::{
        Frame, engine as codec,
        packet::{Body, Packet, encode_message},
    },
    driver::Driver,
    error::{ConnectError, End, Stage, excerpt},
    events::Events,
    handshake::Handshake,
    link::Link,
    listener::Listener,
    options::ConnectOptions,
    queue::Bounds,
    socket::Socket,
    wire::{StageCell, Wire},
};

/// Opens a connection and returns when CONNECT has been answered.
///
/// # Errors
/// Every way in which that can fail is a [`ConnectError`] of its own. A server that accepts a
/// connection only to send an `error` event and to disconnect is not an error here: that refusal
/// is seen in the events.
pub async fn connect(options: &ConnectOptions) -> Result<(Socket, Events), ConnectError> {
    let deadline = Instant::now() + options.timeout;
    let engine = Box::pin(Engine::open_until(options, deadline)).await?;
    let (socket, events) = engine.begin();
    let answer = timeout_at(deadline, socket.connected()).await;
    match answer {
        Ok(Ok(_)) => Ok((socket, events)),
        Ok(Err(End::Refused { message, data })) => Err(ConnectError::Refused { message, data }),
        Ok(Err(end)) => Err(ConnectError::Ended(end)),
        Err(_) => Err(timed_out(options, Stage::ConnectAnswer)),
    }
}

fn timed_out(options: &ConnectOptions, stage: Stage) -> ConnectError {
    ConnectError::Timeout {
        url: options.url.to_string(),
        stage,
        after: options.timeout,
    }
}

/// An open Engine.IO transport on which CONNECT has not been sent: raw access for those who must
/// misbehave before it. It answers no pings.
pub struct Engine {
    wire: Wire,
    handshake: Handshake,
    auth: Option<Value>,
    bounds: Bounds,
    send_queue: usize,
    max_message: usize,
}

impl Engine {
    /// Opens the transport and waits for the Engine.IO handshake, within the options' timeout.
    ///
    /// # Errors
    /// As [`connect`], except for those of CONNECT.
    pub async fn open(options: &ConnectOptions) -> Result<Self, ConnectError> {
        Self::open_until(options, Instant::now() + options.timeout).await
    }

    async fn open_until(options: &ConnectOptions, deadline: Instant) -> Result<Self, ConnectError> {
        let stage = StageCell::default();
        match timeout_at(deadline, Box::pin(Self::open_stages(options, &stage))).await {
            Ok(opened) => opened,
            Err(_) => Err(timed_out(options, stage.get())),
        }
    }

    async fn open_stages(
        options: &ConnectOptions,
        stage: &StageCell,
    ) -> Result<Self, ConnectError> {
        let mut wire = Wire::open(options, stage).await?;
        stage.enter(Stage::EngineHandshake);
        let first = poll_fn(|cx| wire.poll_next(cx)).await;
        let (_, first) = first.map_err(ConnectError::Ended)?;
        let handshake = opening(&first).map_err(|reason| ConnectError::NotEngineIo {
            url: options.url.to_string(),
            reason,
        })?;
        wire.handshaken(&handshake);
        Ok(Self {
            wire,
            handshake,
            auth: options.auth.clone(),
            bounds: Bounds {
                events: options.event_queue,
                bytes: options.event_queue_bytes,
            },
            send_queue: options.send_queue.max(1),
            max_message: options.max_message,
        })
    }

    /// The server's handshake.
    pub fn handshake(&self) -> &Handshake {
        &self.handshake
    }

    /// Writes a frame as it is.
    ///
    /// # Errors
    /// How the transport ended.
    pub async fn send(&mut self, frame: Frame) -> Result<(), End> {
        poll_fn(|cx| self.wire.poll_ready(cx)).await?;
        self.wire.start_send(frame)?;
        poll_fn(|cx| self.wire.poll_flush(cx)).await
    }

    /// The next packet, whatever it is. Cancel safe.
    ///
    /// # Errors
    /// How the transport ended.
    pub async fn recv(&mut self) -> Result<Frame, End> {
        poll_fn(|cx| self.wire.poll_next(cx))
            .await
            .map(|(_, frame)| frame)
    }

    /// Queues CONNECT with the options' auth and goes on as a connection, without waiting for
    /// the answer: events may be sent right behind CONNECT. See [`Socket::connected`].
    pub fn begin(self) -> (Socket, Events) {
        let connect = self.connect_packet();
        self.run(Some(connect), None, false)
    }

    /// As [`begin`](Self::begin), with a listener that takes what the connection brings. Its
    /// replies are packets too: requests have to be made of raw frames.
    pub fn begin_with(self, listener: Box<dyn Listener>) -> Socket {
        let connect = self.connect_packet();
        let (socket, _) = self.run(Some(connect), Some(listener), false);
        socket
    }

    /// Goes on as a connection that never sends CONNECT by itself.
    pub fn attach(self) -> (Socket, Events) {
        self.run(None, None, false)
    }

    /// Goes on as a connection of which only the tap knows what comes: pings are answered, and
    /// nothing else that the server sends has any effect, neither a refusal nor a frame that is no
    /// packet. It lasts as long as its transport does.
    pub fn attach_raw(self) -> Socket {
        self.run(None, None, true).0
    }

    fn connect_packet(&self) -> Frame {
        let auth = self.auth.as_ref().map(Value::to_string).unwrap_or_default();
        Frame::text(encode_message(&Packet::new(Body::Connect(&auth))))
    }

    /// Spawns the connection's task.
    fn run(
        self,
        first: Option<Frame>,
        listener: Option<Box<dyn Listener>>,
        raw: bool,
    ) -> (Socket, Events) {
        let (outgoing, commands) = mpsc::channel(self.send_queue);
        let link = Arc::new(Link::new(self.handshake, self.bounds));
        let driver = Driver::new(
            self.wire,
            Arc::clone(&link),
            commands,
            first,
            listener,
            self.max_message,
        );
        let driver = if raw { driver.raw() } else { driver };
        tokio::spawn(Box::new(driver).run());
        (Socket::new(outgoing, Arc::clone(&link)), Events::new(link))
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("handshake", &self.handshake)
            .finish_non_exhaustive()
    }
}

/// The handshake in a transport's first packet, or why it is none.
fn opening(frame: &Frame) -> Result<Handshake, String> {
    let Frame::Text(text) = frame else {
        return Err("the first packet is binary".to_owned());
    };
    match codec::decode(text) {
        Ok(codec::Packet::Open(json)) => Handshake::parse(json)
            .map_err(|reason| format!("its handshake {:?}: {reason}", excerpt(json, 120))),
        _ => Err(format!(
            "its first packet is {:?}, no handshake",
            excerpt(text, 60)
        )),
    }
}
