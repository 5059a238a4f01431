//! An Engine.IO session: how far its client has come, what waits for it, and how it ends.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use engineioxide::{DisconnectReason, Socket, Str, TransportType};
use serde_json::Value;
use tokio::task::AbortHandle;

use crate::connection::{Connection, Link, PushError, Way};
use crate::first_ping::FirstPing;
use crate::listener::KillSwitch;
use crate::packet::{Packet, Pending};
use crate::seams::Cause;
use crate::store::Account;

/// An Engine.IO session.
pub(crate) type Transport = Socket<TransportState>;

/// What the gateway keeps per Engine.IO session.
#[derive(Default)]
pub(crate) struct TransportState {
    state: Mutex<State>,
    pub(crate) first_ping: FirstPing,
    queue: Queue,
}

/// The bytes that wait for a client: what was queued for it, without what it has been sent.
#[derive(Default)]
struct Queue {
    queued: AtomicU64,
    /// What it has fetched by polling.
    polled: AtomicU64,
    /// How many may be queued before it is looked whether they wait.
    unchecked: AtomicU64,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) stage: Stage,
    /// A binary packet whose attachments are still coming.
    pub(crate) pending: Option<Pending>,
    /// Ends the TCP connection that packets are written to.
    switch: Option<Arc<KillSwitch>>,
    /// What had been written to it when it became that.
    written_before: u64,
    /// Why this side has ended the transport: what still comes is not looked at.
    pub(crate) ended: Option<&'static str>,
    pub(crate) connect_timeout: Option<AbortHandle>,
    /// Packets that wait until it is decided whether their sender is let in.
    pub(crate) undecided: Option<VecDeque<Packet>>,
}

#[derive(Clone, Default)]
pub(crate) enum Stage {
    /// No CONNECT yet, or only refused ones, or the client has left the namespace.
    #[default]
    Outside,
    Inside(Client),
    /// The transport has ended.
    Over,
}

/// Who is connected, and whose rows it sees.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) account: Arc<Account>,
    pub(crate) connection: Arc<Connection>,
}

impl TransportState {
    /// The client has fetched so many bytes by polling.
    pub(crate) fn has_polled(&self, bytes: u64) {
        self.queue.polled.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(crate) fn moves_to(&mut self, switch: &Arc<KillSwitch>) {
        self.written_before = switch.written();
        self.switch = Some(Arc::clone(switch));
    }
}

impl Client {
    /// It comes or goes.
    pub(crate) fn cause<'a>(&'a self, name: &'a str) -> Cause<'a> {
        Cause {
            name,
            account: &self.account,
            connection: Some(&self.connection),
            ack: None,
            data: &Value::Null,
        }
    }
}

/// Ends a transport as official servers do: a WebSocket by its close frame alone. A client that is
/// sent an Engine.IO close packet takes its end for wanted, and some never come back.
pub(crate) fn end(transport: &Transport, reason: &'static str) {
    let websocket = {
        let mut state = transport.data.lock();
        state.ended = Some(reason);
        let is_websocket = transport.transport_type() == TransportType::Websocket;
        state.switch.clone().filter(|_| is_websocket)
    };
    match websocket {
        // engineioxide closes a WebSocket that it cannot read, after it has sent what was queued.
        Some(switch) => switch.stop_reading(),
        None => transport.close(DisconnectReason::ClosingServer),
    }
}

/// The way from a connection to its transport.
pub(crate) struct TransportLink {
    transport: Arc<Transport>,
    /// Bytes that may wait.
    max_queued: u64,
    /// Whether the client connected by polling.
    has_polled: bool,
}

impl TransportLink {
    /// The way over a transport on which at most so many bytes may wait.
    pub(crate) fn new(transport: &Arc<Transport>, max_queued: u64) -> Self {
        Self {
            transport: Arc::clone(transport),
            max_queued,
            has_polled: transport.transport_type() == TransportType::Polling,
        }
    }

    /// Whether these bytes may wait as well. What waits is counted anew only after so much was queued
    /// that it might be too much.
    fn has_room(&self, bytes: u64) -> bool {
        let data = &self.transport.data;
        let queue = &data.queue;
        let queued = queue.queued.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let spend = |left: u64| left.checked_sub(bytes);
        let spent = queue
            .unchecked
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend);
        if spent.is_ok() {
            return true;
        }
        let mut sent = queue.polled.load(Ordering::Relaxed);
        if self.transport.transport_type() == TransportType::Websocket {
            let state = data.lock();
            let switch = state.switch.as_ref();
            sent += switch.map_or(0, |switch| switch.written() - state.written_before);
        }
        match self.max_queued.checked_sub(queued.saturating_sub(sent)) {
            Some(room) => {
                queue.unchecked.store(room, Ordering::Relaxed);
                true
            }
            None => false,
        }
    }
}

impl Link for TransportLink {
    fn push(&self, packet: Str, attachments: &[Bytes]) -> Result<(), PushError> {
        use tokio::sync::mpsc::error::TrySendError;
        let transport = self.transport.transport_type();
        if !self.has_room(on_the_way(transport, &packet, attachments)) {
            return Err(PushError::Full);
        }
        match self.transport.reserve() {
            Ok(place) => {
                if attachments.is_empty() {
                    place.emit(packet);
                } else {
                    place.emit_many(packet, attachments.iter().cloned().collect());
                }
                Ok(())
            }
            Err(TrySendError::Full(())) => Err(PushError::Full),
            Err(TrySendError::Closed(())) => Err(PushError::Closed),
        }
    }

    fn abort(&self) {
        // Without the switch, the writer would go on waiting for a peer that reads nothing.
        if let Some(switch) = &self.transport.data.lock().switch {
            switch.trip();
        }
        self.transport.close(DisconnectReason::TransportError);
    }

    fn way(&self) -> Way {
        match self.transport.transport_type() {
            TransportType::Polling => Way::Polling,
            TransportType::Websocket if self.has_polled => Way::Upgraded,
            TransportType::Websocket => Way::WebSocket,
        }
    }
}

/// The bytes that a packet and its attachments take on their way: with the headers of their frames, or
/// with what stands between the packets of a polling payload.
fn on_the_way(transport: TransportType, packet: &str, attachments: &[Bytes]) -> u64 {
    let framed = |length: usize| match length {
        0..126 => length + 2,
        126..65_536 => length + 4,
        _ => length + 10,
    };
    let bytes: usize = match transport {
        TransportType::Websocket => {
            let attached = attachments.iter().map(|bytes| framed(bytes.len()));
            framed(packet.len() + 1) + attached.sum::<usize>()
        }
        TransportType::Polling => {
            let attached = attachments
                .iter()
                .map(|bytes| bytes.len().div_ceil(3) * 4 + 2);
            packet.len() + 2 + attached.sum::<usize>()
        }
    };
    bytes as u64
}
