//! One client in the namespace: who it is, its way out, and the RPC answers that it owes.
//!
//! A connection is only ever written to without waiting. If its queue is full it is disconnected,
//! and nothing more is sent to it, so that it never misses a single update in the middle.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use engineioxide::Str;
use tokio::sync::oneshot;

use crate::packet::Passed;
use crate::router::{ConnectionId, Routed, Scope};

/// Why a packet could not be queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PushError {
    /// The client does not keep up.
    Full,
    /// The transport has ended.
    Closed,
}

/// How packets reach a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By long-polling.
    Polling,
    /// By a WebSocket, after it had connected by long-polling.
    Upgraded,
    /// By a WebSocket from the beginning.
    WebSocket,
}

/// The way to a client, as far as a connection needs it.
pub(crate) trait Link: Send + Sync {
    /// Queues a packet, and the attachments that it announces, without waiting.
    fn push(&self, packet: Str, attachments: &[Bytes]) -> Result<(), PushError>;
    /// Ends the transport at once, also if its peer reads nothing.
    fn abort(&self);
    /// How packets get there now.
    fn way(&self) -> Way;
}

/// Whether a packet is queued for a connection, where something takes part in that.
pub(crate) type Gate = Arc<dyn Fn(&Arc<Connection>, &Str) -> bool + Send + Sync>;

/// What a called socket acknowledged: its first argument, if it gave one.
pub(crate) type CallAnswer = Option<Passed>;

/// A client that was admitted.
pub struct Connection {
    id: ConnectionId,
    socket_id: String,
    scope: Scope,
    account_id: String,
    link: Box<dyn Link>,
    gate: Option<Gate>,
    is_gone: AtomicBool,
    /// Requests of ours that the client has not answered yet. `None` once it has left.
    calls: Mutex<Option<Calls>>,
}

#[derive(Default)]
struct Calls {
    last_id: u64,
    waiting: HashMap<u64, oneshot::Sender<CallAnswer>>,
}

impl Connection {
    pub(crate) fn new(
        id: ConnectionId,
        socket_id: String,
        scope: Scope,
        account_id: String,
        link: Box<dyn Link>,
        gate: Option<Gate>,
    ) -> Self {
        Self {
            id,
            socket_id,
            scope,
            account_id,
            link,
            gate,
            is_gone: AtomicBool::new(false),
            calls: Mutex::new(Some(Calls::default())),
        }
    }

    /// The id that the client knows its connection by.
    #[must_use]
    pub fn socket_id(&self) -> &str {
        &self.socket_id
    }

    /// The account that it belongs to.
    #[must_use]
    pub fn account_id(&self) -> &str {
        &self.account_id
    }

    /// Queues a packet. Whoever falls so far behind that its queue is full is disconnected here.
    pub fn send(self: &Arc<Self>, packet: Str) {
        if self.gate.as_ref().is_none_or(|gate| gate(self, &packet)) {
            self.push(packet);
        }
    }

    /// Queues a packet and the attachments that it announces. Such a packet passes the gate.
    pub(crate) fn send_with(self: &Arc<Self>, packet: Str, attachments: &[Bytes]) {
        if attachments.is_empty() {
            self.send(packet);
        } else {
            self.queue(packet, attachments);
        }
    }

    /// How packets get to it.
    #[must_use]
    pub fn way(&self) -> Way {
        self.link.way()
    }

    /// Queues a packet, past the gate.
    pub fn push(&self, packet: Str) {
        self.queue(packet, &[]);
    }

    fn queue(&self, packet: Str, attachments: &[Bytes]) {
        if self.is_gone.load(Ordering::Relaxed) {
            return;
        }
        match self.link.push(packet, attachments) {
            Ok(()) => {}
            Err(PushError::Closed) => self.is_gone.store(true, Ordering::Relaxed),
            Err(PushError::Full) => {
                if !self.is_gone.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        socket = %self.socket_id,
                        reason = "send queue full",
                        "disconnecting a client that does not keep up"
                    );
                    self.link.abort();
                }
            }
        }
    }

    /// Ends the transport at once.
    pub fn end(&self) {
        self.link.abort();
    }

    /// An id for a request to the client, and what resolves when it is answered. The receiver fails
    /// at once when the client leaves or has left.
    pub(crate) fn expect_answer(&self) -> (u64, oneshot::Receiver<CallAnswer>) {
        let (sender, receiver) = oneshot::channel();
        let mut id = 0;
        if let Some(calls) = self.calls().as_mut() {
            calls.last_id += 1;
            id = calls.last_id;
            calls.waiting.insert(id, sender);
        }
        (id, receiver)
    }

    /// The client has answered a request of ours. Answers that nobody waits for are ignored.
    pub(crate) fn answered(&self, id: u64, answer: CallAnswer) {
        let waiting = self
            .calls()
            .as_mut()
            .and_then(|calls| calls.waiting.remove(&id));
        if let Some(waiting) = waiting {
            // The caller may have given up in this very moment.
            let _ = waiting.send(answer);
        }
    }

    /// Nobody waits for this answer any more.
    pub(crate) fn forget_answer(&self, id: u64) {
        if let Some(calls) = self.calls().as_mut() {
            calls.waiting.remove(&id);
        }
    }

    /// The client has left: whoever waits for an answer of it learns so now.
    pub(crate) fn leave(&self) {
        self.is_gone.store(true, Ordering::Relaxed);
        drop(self.calls().take());
    }

    fn calls(&self) -> MutexGuard<'_, Option<Calls>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Routed for Connection {
    fn id(&self) -> ConnectionId {
        self.id
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("socket_id", &self.socket_id)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// All connections of the server, of every account. Routing never looks here: accounts do not
/// contend, except when clients come and go.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllConnections {
    connections: Arc<Mutex<BTreeMap<ConnectionId, Arc<Connection>>>>,
    last_id: Arc<AtomicU64>,
}

impl AllConnections {
    pub(crate) fn next_id(&self) -> ConnectionId {
        ConnectionId(self.last_id.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub(crate) fn add(&self, connection: Arc<Connection>) {
        self.lock().insert(connection.id, connection);
    }

    pub(crate) fn remove(&self, id: ConnectionId) {
        self.lock().remove(&id);
    }

    pub(crate) fn all(&self) -> Vec<Arc<Connection>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ConnectionId, Arc<Connection>>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
