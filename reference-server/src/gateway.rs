//! The Socket.IO side of a transport: CONNECT, events, answers, the end. It sits on Engine.IO, which
//! brings WebSocket, long-polling, the upgrade between them and heartbeats.
//!
//! CONNECT is decided in the task that reads the transport, before the next packet is looked at, and a
//! client is put where events reach it under the lock of its account. The Socket.IO layer of the same
//! project registers a connection after it has announced it, so that an update in between is lost, and
//! runs the events of one connection out of order where their handlers await.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use engineioxide::handler::EngineIoHandler;
use engineioxide::socket::Sid;
use engineioxide::{DisconnectReason, Socket, Str, TransportType};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::app::App;
use crate::commit::Commit;
use crate::connection::{Connection, Link, PushError, Way};
use crate::decide;
use crate::dispatch::dispatch;
use crate::first_ping::FirstPing;
use crate::handshake;
use crate::listener::{KillSwitch, RequestKillSwitch};
use crate::outbox::Delivery;
use crate::packet::{self, Packet, PacketError, Pending};
use crate::router::{Routed as _, Scope};
use crate::seams::{Admission, Cause, Client, Flow, Wait};
use crate::store::Account;

/// Takes clients in and hands their events to the handlers.
#[derive(Clone)]
pub(crate) struct Gateway {
    app: Arc<App>,
    /// All transports, for upgrades and for the end of the server.
    transports: Arc<Mutex<HashMap<Sid, Arc<Transport>>>>,
    count: watch::Sender<usize>,
}

/// Packets that may wait for a decision about their sender; with more the transport ends.
const MAX_UNDECIDED: usize = 1_000;

/// An Engine.IO session.
pub(crate) type Transport = Socket<TransportState>;

/// What the gateway keeps per Engine.IO session.
#[derive(Default)]
pub(crate) struct TransportState {
    state: Mutex<State>,
    first_ping: FirstPing,
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
struct State {
    stage: Stage,
    /// A binary packet whose attachments are still coming.
    pending: Option<Pending>,
    /// Ends the TCP connection that packets are written to.
    switch: Option<Arc<KillSwitch>>,
    /// What had been written to it when it became that.
    written_before: u64,
    /// Why this side has ended the transport: what still comes is not looked at.
    ended: Option<&'static str>,
    connect_timeout: Option<AbortHandle>,
    /// Packets that wait until it is decided whether their sender is let in.
    undecided: Option<VecDeque<Packet>>,
}

#[derive(Clone, Default)]
enum Stage {
    /// No CONNECT yet, or only refused ones, or the client has left the namespace.
    #[default]
    Outside,
    Inside(Arc<Connection>),
    /// The transport has ended.
    Over,
}

impl TransportState {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn moves_to(&mut self, switch: &Arc<KillSwitch>) {
        self.written_before = switch.written();
        self.switch = Some(Arc::clone(switch));
    }
}

impl Gateway {
    pub(crate) fn new(app: Arc<App>) -> Self {
        Self {
            app,
            transports: Arc::default(),
            count: watch::Sender::new(0),
        }
    }

    /// A transport moves to a WebSocket on another TCP connection.
    pub(crate) fn moves_to(&self, sid: Sid, switch: &RequestKillSwitch) {
        let transport = self.transports().get(&sid).cloned();
        if let Some(transport) = transport {
            transport.data.lock().moves_to(&switch.0);
        }
    }

    /// Why no further session is begun, if none is.
    pub(crate) fn full(&self) -> Option<String> {
        let most = self.app.config.max_connections;
        let is_full = self.transports().len() >= most;
        is_full.then(|| format!("no more sessions are begun: the limit is {most}"))
    }

    /// A session has fetched so many bytes by polling.
    pub(crate) fn has_polled(&self, sid: Sid, bytes: u64) {
        if let Some(transport) = self.transports().get(&sid) {
            transport
                .data
                .queue
                .polled
                .fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// The first ping of a session.
    pub(crate) fn first_ping(&self, sid: Sid) -> Option<FirstPing> {
        let transports = self.transports();
        transports
            .get(&sid)
            .map(|transport| transport.data.first_ping.clone())
    }

    /// Whether a path is that of the Socket.IO clients.
    pub(crate) fn is_path(&self, path: &str) -> bool {
        path.trim_end_matches('/') == self.app.config.path.trim_end_matches('/')
    }

    /// Ends all transports.
    pub(crate) fn close_all(&self) {
        let all: Vec<_> = self.transports().values().cloned().collect();
        for transport in all {
            end(&transport, "the server ends");
        }
    }

    /// Resolves when no transport is left.
    pub(crate) async fn emptied(&self) {
        let mut count = self.count.subscribe();
        // It fails only without a gateway, which `self` is.
        let _ = count.wait_for(|count| *count == 0).await;
    }

    fn transports(&self) -> MutexGuard<'_, HashMap<Sid, Arc<Transport>>> {
        self.transports
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn change_transports<T>(&self, change: impl FnOnce(&mut HashMap<Sid, Arc<Transport>>) -> T) {
        let mut transports = self.transports();
        change(&mut transports);
        self.count.send_replace(transports.len());
    }

    fn receive(&self, transport: &Arc<Transport>, text: &str) -> Result<(), PacketError> {
        {
            let state = transport.data.lock();
            if state.ended.is_some() {
                return Ok(());
            }
            if state.pending.is_some() {
                return Err(PacketError::OutOfOrder);
            }
        }
        let (namespace, packet) = packet::decode(text)?;
        if namespace != "/" {
            if matches!(packet, Packet::Connect(_)) {
                // A full queue ends the transport soon enough; nothing else depends on this answer.
                let _ = transport.emit(packet::encode_refusal(namespace, "Invalid namespace"));
            }
            return Ok(());
        }
        match packet {
            Packet::Binary { attachments, head } => {
                transport.data.lock().pending = Some(Pending::new(attachments, *head));
                Ok(())
            }
            packet => self.handle(transport, packet),
        }
    }

    fn receive_binary(&self, transport: &Arc<Transport>, bytes: Bytes) -> Result<(), PacketError> {
        let pending = {
            let mut state = transport.data.lock();
            if state.ended.is_some() {
                return Ok(());
            }
            state.pending.take().ok_or(PacketError::OutOfOrder)?
        };
        match pending.add(bytes)? {
            Ok(packet) => self.handle(transport, packet),
            Err(pending) => {
                transport.data.lock().pending = Some(pending);
                Ok(())
            }
        }
    }

    fn handle(&self, transport: &Arc<Transport>, packet: Packet) -> Result<(), PacketError> {
        let stage = {
            let mut state = transport.data.lock();
            if let Some(undecided) = &mut state.undecided {
                if undecided.len() >= MAX_UNDECIDED {
                    return Err(PacketError::OutOfOrder);
                }
                undecided.push_back(packet);
                return Ok(());
            }
            state.stage.clone()
        };
        self.act(transport, packet, stage)
    }

    fn act(
        &self,
        transport: &Arc<Transport>,
        packet: Packet,
        stage: Stage,
    ) -> Result<(), PacketError> {
        match (packet, stage) {
            (Packet::Connect(auth), Stage::Outside) => self.connect(transport, auth.as_deref()),
            // A second CONNECT changes nothing: the client is inside.
            (Packet::Connect(_), _) | (_, Stage::Over) => Ok(()),
            (Packet::Disconnect, Stage::Inside(connection)) => {
                transport.data.lock().stage = Stage::Outside;
                self.leave(&connection, "left the namespace");
                Ok(())
            }
            (
                Packet::Event {
                    ack,
                    args,
                    attachments,
                },
                Stage::Inside(connection),
            ) => {
                let (name, data) = packet::event(&args)?;
                dispatch(&self.app, &connection, &name, data, &attachments, ack);
                Ok(())
            }
            (
                Packet::Ack {
                    id,
                    args,
                    attachments,
                },
                Stage::Inside(connection),
            ) => {
                connection.answered(id, packet::first_argument(&args, &attachments)?);
                Ok(())
            }
            // Speaking before CONNECT, or after a refusal: the transport ends, as with real servers.
            (Packet::Event { ack, .. }, Stage::Outside) => {
                if self.is_ignored(transport, ack) {
                    Ok(())
                } else {
                    Err(PacketError::Early)
                }
            }
            (_, Stage::Outside) => Err(PacketError::OutOfOrder),
            (Packet::Binary { .. }, Stage::Inside(_)) => Err(PacketError::OutOfOrder),
        }
    }

    fn connect(&self, transport: &Arc<Transport>, auth: Option<&str>) -> Result<(), PacketError> {
        let auth = match auth.map(serde_json::from_str) {
            None => Value::Null,
            Some(Ok(auth)) => auth,
            Some(Err(_)) => return self.connect_unreadable(transport),
        };
        let seams = self.app.seams();
        match seams.and_then(|seams| seams.before_admission(&self.app, &auth)) {
            Some(wait) => self.decide_later(transport, auth, wait),
            None => self.decide(transport, &auth),
        }
        Ok(())
    }

    /// CONNECT with a payload that is not JSON.
    fn connect_unreadable(&self, transport: &Arc<Transport>) -> Result<(), PacketError> {
        let seams = self.app.seams();
        let admission = seams.map(|seams| seams.admit(&self.app, &Value::Null, Admission::Closed));
        match admission {
            Some(Admission::Admitted { account, scope }) => {
                self.enter(transport, connection(&self.app, transport, account, scope));
                Ok(())
            }
            _ => Err(PacketError::Arguments),
        }
    }

    /// Decides when something else is done, and looks then at what the client has sent meanwhile.
    fn decide_later(&self, transport: &Arc<Transport>, auth: Value, wait: Wait) {
        transport.data.lock().undecided = Some(VecDeque::new());
        let (gateway, transport) = (self.clone(), Arc::clone(transport));
        tokio::spawn(async move {
            let _turn = wait.await;
            gateway.decide(&transport, &auth);
            loop {
                let (packet, stage) = {
                    let mut state = transport.data.lock();
                    let Some(packet) = state.undecided.as_mut().and_then(VecDeque::pop_front)
                    else {
                        state.undecided = None;
                        return;
                    };
                    (packet, state.stage.clone())
                };
                let result = gateway.act(&transport, packet, stage);
                if result.is_err() {
                    transport.data.lock().undecided = None;
                    return gateway.close_if_wrong(&transport, result);
                }
            }
        });
    }

    fn decide(&self, transport: &Arc<Transport>, auth: &Value) {
        let mut admission = match handshake::admit(&self.app, auth) {
            Ok((account, scope)) => Admission::Admitted { account, scope },
            Err(refusal) => Admission::Refused(refusal.to_string()),
        };
        if let Some(seams) = self.app.seams() {
            admission = seams.admit(&self.app, auth, admission);
            if !matches!(admission, Admission::Admitted { .. }) {
                seams.refused(&self.app, &self.client(transport), auth);
            }
        }
        match admission {
            Admission::Closed => end(transport, "refused"),
            Admission::Refused(message) => {
                tracing::info!(socket = %transport.id, reason = message, "connection refused");
                // The transport stays, so that the client reads why; the connect timeout ends it.
                let _ = transport.emit(packet::encode_refusal("/", &message));
            }
            Admission::Expelled(message) => {
                tracing::info!(socket = %transport.id, reason = message, "connection refused");
                let _ = transport.emit(packet::encode_refusal("/", &message));
                end(transport, "refused");
            }
            Admission::Dismissed(message) => {
                tracing::info!(socket = %transport.id, reason = message, "connection refused");
                let error = serde_json::json!({ "message": message });
                // If the queue is full, the transport ends soon, which says the same.
                let _ = transport.emit(packet::encode_connected(&transport.id.to_string()));
                let _ = transport.emit(packet::encode_event("error", &error, None));
                let _ = transport.emit(packet::encode_disconnect());
            }
            Admission::Admitted { account, scope } => {
                self.enter(transport, connection(&self.app, transport, account, scope));
            }
        }
    }

    fn client<'a>(&'a self, transport: &'a Arc<Transport>) -> Client<'a> {
        Client {
            app: &self.app,
            transport,
        }
    }

    /// Answers CONNECT and puts the connection where events reach it, in this order: no client
    /// receives an event before it knows that it is connected. The account's lock is held all the
    /// while, so that a transport that ends in this moment is taken out after it was put in.
    fn enter(&self, transport: &Arc<Transport>, connection: Connection) {
        let connection = Arc::new(connection);
        let account = connection.account();
        let mut commit = Commit::new(&self.app, account);
        {
            let mut state = transport.data.lock();
            if matches!(state.stage, Stage::Over) {
                return;
            }
            state.stage = Stage::Inside(Arc::clone(&connection));
            if let Some(timeout) = state.connect_timeout.take() {
                timeout.abort();
            }
        }
        tracing::info!(
            socket = connection.socket_id(),
            scope = %connection.scope(),
            account = account.id(),
            "connected"
        );
        let answer = packet::encode_connected(connection.socket_id());
        commit.deliver(Delivery::Packet(
            Arc::clone(&connection),
            answer,
            Vec::new(),
        ));
        let outcome = decide::connection::enter(&commit.context(), &connection);
        commit.happen(&cause("enter", &connection), outcome.effects, None);
        commit.finish();
    }

    /// Takes a connection out of everything that knows it.
    fn leave(&self, connection: &Arc<Connection>, reason: &str) {
        tracing::info!(socket = connection.socket_id(), reason, "disconnected");
        connection.leave();
        let mut commit = Commit::new(&self.app, connection.account());
        let outcome = decide::connection::leave(&commit.context(), connection);
        commit.happen(&cause("leave", connection), outcome.effects, None);
        commit.finish();
    }

    /// Whether a packet that ends its transport is ignored instead.
    fn is_ignored(&self, transport: &Arc<Transport>, ack: Option<u64>) -> bool {
        self.app.seams().is_some_and(|seams| {
            let client = self.client(transport);
            seams.misplaced(&self.app, &client, ack) == Flow::Ignore
        })
    }

    fn close_if_wrong(&self, transport: &Arc<Transport>, result: Result<(), PacketError>) {
        if let Err(error) = result {
            if error != PacketError::Early && self.is_ignored(transport, None) {
                return;
            }
            tracing::info!(socket = %transport.id, reason = %error, "closing a transport that spoke nonsense");
            end(transport, "spoke nonsense");
        }
    }
}

impl EngineIoHandler for Gateway {
    type Data = TransportState;

    fn on_connect(self: Arc<Self>, transport: Arc<Transport>) {
        self.change_transports(|all| all.insert(transport.id, Arc::clone(&transport)));
        let switch = transport
            .req_parts
            .extensions
            .get::<axum::extract::ConnectInfo<RequestKillSwitch>>();
        let timeout = tokio::time::sleep(self.app.config.connect_timeout);
        let silent = Arc::clone(&transport);
        let task = tokio::spawn(async move {
            timeout.await;
            tracing::info!(socket = %silent.id, reason = "no accepted CONNECT in time", "closing a transport");
            end(&silent, "did not connect");
        });
        let mut state = transport.data.lock();
        if let Some(info) = switch {
            state.moves_to(&info.0.0);
        }
        state.connect_timeout = Some(task.abort_handle());
    }

    fn on_disconnect(&self, transport: Arc<Transport>, reason: DisconnectReason) {
        self.change_transports(|all| all.remove(&transport.id));
        let (stage, ended) = {
            let mut state = transport.data.lock();
            if let Some(timeout) = state.connect_timeout.take() {
                timeout.abort();
            }
            (
                std::mem::replace(&mut state.stage, Stage::Over),
                state.ended,
            )
        };
        if let Stage::Inside(connection) = stage {
            let reason = ended.map_or_else(|| format!("{reason:?}"), str::to_owned);
            self.leave(&connection, &reason);
        }
    }

    fn on_message(self: &Arc<Self>, text: Str, transport: Arc<Transport>) {
        let result = self.receive(&transport, &text);
        self.close_if_wrong(&transport, result);
    }

    fn on_binary(self: &Arc<Self>, bytes: Bytes, transport: Arc<Transport>) {
        let result = self.receive_binary(&transport, bytes);
        self.close_if_wrong(&transport, result);
    }
}

/// A connection comes or goes.
fn cause<'a>(name: &'a str, connection: &'a Arc<Connection>) -> Cause<'a> {
    Cause {
        name,
        account: connection.account(),
        connection: Some(connection),
        ack: None,
        data: &Value::Null,
    }
}

/// The connection that a client becomes.
pub(crate) fn connection(
    app: &App,
    transport: &Arc<Transport>,
    account: Arc<Account>,
    scope: Scope,
) -> Connection {
    let link = Box::new(TransportLink {
        transport: Arc::clone(transport),
        max_queued: app.config.max_queued,
        has_polled: transport.transport_type() == TransportType::Polling,
    });
    let (id, seams) = (app.connections.next_id(), app.seams().cloned());
    Connection::new(id, transport.id.to_string(), scope, account, link, seams)
}

/// Ends a transport as official servers do: a WebSocket by its close frame alone. A client that is
/// sent an Engine.IO close packet takes its end for wanted, and some never come back.
fn end(transport: &Transport, reason: &'static str) {
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

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").finish_non_exhaustive()
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

/// The way from a connection to its transport.
struct TransportLink {
    transport: Arc<Transport>,
    /// Bytes that may wait.
    max_queued: u64,
    /// Whether the client connected by polling.
    has_polled: bool,
}

impl TransportLink {
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
