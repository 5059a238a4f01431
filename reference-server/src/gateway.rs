//! The Socket.IO side of a transport: CONNECT, events, answers, the end. It sits on Engine.IO, which
//! brings WebSocket, long-polling, the upgrade between them and heartbeats.
//!
//! CONNECT is decided in the task that reads the transport, before the next packet is looked at, and a
//! client is put where events reach it under the lock of its account. The Socket.IO layer of the same
//! project registers a connection after it has announced it, so that an update in between is lost, and
//! runs the events of one connection out of order where their handlers await.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use engineioxide::handler::EngineIoHandler;
use engineioxide::socket::Sid;
use engineioxide::{DisconnectReason, Str};
use serde_json::Value;
use tokio::sync::watch;

use crate::app::App;
use crate::commit::Commit;
use crate::connection::{Connection, Gate};
use crate::decide;
use crate::dispatch::dispatch;
use crate::first_ping::FirstPing;
use crate::handshake;
use crate::listener::RequestKillSwitch;
use crate::outbox::Delivery;
use crate::packet::{self, Packet, PacketError, Pending};
use crate::router::{Routed as _, Scope};
use crate::seams::{self, Admission, Flow, Unconnected, Wait};
use crate::store::Account;
use crate::transport::{Client, Stage, Transport, TransportLink, TransportState, end};

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
            transport.data.has_polled(bytes);
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
            (Packet::Disconnect, Stage::Inside(client)) => {
                transport.data.lock().stage = Stage::Outside;
                self.leave(&client, "left the namespace");
                Ok(())
            }
            (
                Packet::Event {
                    ack,
                    args,
                    attachments,
                },
                Stage::Inside(client),
            ) => {
                let (name, data) = packet::event(&args)?;
                let Client {
                    account,
                    connection,
                } = client;
                dispatch(
                    &self.app,
                    account,
                    &connection,
                    &name,
                    data,
                    &attachments,
                    ack,
                );
                Ok(())
            }
            (
                Packet::Ack {
                    id,
                    args,
                    attachments,
                },
                Stage::Inside(client),
            ) => {
                client
                    .connection
                    .answered(id, packet::first_argument(&args, &attachments)?);
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
        match seams.and_then(|seams| seams.before_admission(&*self.app, &auth)) {
            Some(wait) => self.decide_later(transport, auth, wait),
            None => self.decide(transport, &auth),
        }
        Ok(())
    }

    /// CONNECT with a payload that is not JSON.
    fn connect_unreadable(&self, transport: &Arc<Transport>) -> Result<(), PacketError> {
        let seams = self.app.seams();
        let admission = seams.map(|seams| seams.admit(&*self.app, &Value::Null, Admission::Closed));
        match admission {
            Some(Admission::Admitted { account, scope }) => {
                self.enter(transport, account, scope);
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
            admission = seams.admit(&*self.app, auth, admission);
            if !matches!(admission, Admission::Admitted { .. }) {
                seams.refused(&*self.app, &seams::Client(&self.outside(transport)), auth);
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
                self.enter(transport, account, scope);
            }
        }
    }

    fn outside<'a>(&'a self, transport: &'a Arc<Transport>) -> Outside<'a> {
        Outside {
            app: &self.app,
            transport,
        }
    }

    /// Answers CONNECT and puts the connection where events reach it, in this order: no client
    /// receives an event before it knows that it is connected. The account's lock is held all the
    /// while, so that a transport that ends in this moment is taken out after it was put in.
    fn enter(&self, transport: &Arc<Transport>, account: Arc<Account>, scope: Scope) {
        let connection = connection(&self.app, transport, &account, scope);
        let client = Client {
            account,
            connection,
        };
        let (account, connection) = (&client.account, &client.connection);
        let mut commit = Commit::new(&self.app, account);
        {
            let mut state = transport.data.lock();
            if matches!(state.stage, Stage::Over) {
                return;
            }
            state.stage = Stage::Inside(client.clone());
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
        commit.deliver(Delivery::Packet(Arc::clone(connection), answer, Vec::new()));
        let outcome = decide::connection::enter(&commit.context(), connection);
        commit.happen(&client.cause("enter"), outcome.effects, None);
        commit.finish();
    }

    /// Takes a connection out of everything that knows it.
    fn leave(&self, client: &Client, reason: &str) {
        let connection = &client.connection;
        tracing::info!(socket = connection.socket_id(), reason, "disconnected");
        connection.leave();
        let mut commit = Commit::new(&self.app, &client.account);
        let outcome = decide::connection::leave(&commit.context(), connection);
        commit.happen(&client.cause("leave"), outcome.effects, None);
        commit.finish();
    }

    /// Whether a packet that ends its transport is ignored instead.
    fn is_ignored(&self, transport: &Arc<Transport>, ack: Option<u64>) -> bool {
        self.app.seams().is_some_and(|seams| {
            let outside = self.outside(transport);
            seams.misplaced(&*self.app, &seams::Client(&outside), ack) == Flow::Ignore
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
        if let Stage::Inside(client) = stage {
            let reason = ended.map_or_else(|| format!("{reason:?}"), str::to_owned);
            self.leave(&client, &reason);
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

/// The connection that a client becomes.
fn connection(
    app: &App,
    transport: &Arc<Transport>,
    account: &Account,
    scope: Scope,
) -> Arc<Connection> {
    let link = Box::new(TransportLink::new(transport, app.config.max_queued));
    let gate = app.seams().map(|seams| {
        let seams = Arc::clone(seams);
        Arc::new(move |to: &Arc<Connection>, packet: &Str| seams.send(to, packet)) as Gate
    });
    let (id, name) = (app.connections.next_id(), transport.id.to_string());
    let account = account.id().to_owned();
    Arc::new(Connection::new(id, name, scope, account, link, gate))
}

/// A client that is not connected, for the seams.
struct Outside<'a> {
    app: &'a App,
    transport: &'a Arc<Transport>,
}

impl Unconnected for Outside<'_> {
    fn connection(&self, account: &Account, scope: Scope) -> Arc<Connection> {
        connection(self.app, self.transport, account, scope)
    }

    fn push(&self, frame: Str) {
        // A full queue ends the transport soon enough.
        let _ = self.transport.emit(frame);
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").finish_non_exhaustive()
    }
}
