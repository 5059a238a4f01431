//! Connections: the handshake, the order of what comes and goes, and the table of events.

use std::future::ready;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::serve::IncomingStream;
use serde_json::{Value, json};
use socketioxide::extract::{Event, Extension, SocketRef, TryData};
use socketioxide::handler::ConnectHandler as _;
use socketioxide::{SendError, SocketError, SocketIo};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::account::{App, Connection, Link, Outgoing, Scope};
use crate::answer::Answer;
use crate::refusal::{Outcome, Refusal};
use crate::{access_key, artifact, cas, machine, message, rpc, session, usage};

/// Events of one connection that may wait to be handled. Who sends faster is disconnected.
const CALLS: usize = 16_384;
/// Events and answers that may wait until a connection takes them.
const OUTBOX: usize = 4_096;

pub(crate) fn attach(io: &SocketIo, app: App) {
    let admitting = app.clone();
    let admit = move |socket: SocketRef, TryData(auth): TryData<Value>| {
        admit(admitting.clone(), socket, auth.unwrap_or_default())
    };
    let live = move |socket: SocketRef, Extension(link): Extension<Arc<Link>>| {
        live(app.clone(), socket, link)
    };
    io.ns("/", live.with(admit));
}

/// The handshake. It runs before CONNECT is answered: when the first event comes, everything that it
/// needs is there, and of what others do from now on nothing is missed.
async fn admit(app: App, socket: SocketRef, auth: Value) -> Result<(), &'static str> {
    let text = |key: &str| auth[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let scope = match auth["clientType"].as_str() {
        Some("session-scoped") => Scope::Session(
            text("sessionId").ok_or("Session ID required for session-scoped clients")?,
        ),
        Some("machine-scoped") => Scope::Machine(
            text("machineId").ok_or("Machine ID required for machine-scoped clients")?,
        ),
        _ => Scope::User,
    };
    if auth["token"].is_null() || auth["token"] == "" {
        return Err("Missing authentication token");
    }
    let token = text("token").ok_or("Invalid authentication token")?;
    let account = app.signed_in(&token).await.map_err(|_| "Internal error")?;
    let account = account.ok_or("Invalid authentication token")?;

    let (queue, calls) = mpsc::channel(CALLS);
    let (outbox, outgoing) = mpsc::channel(OUTBOX);
    let end = CancellationToken::new();
    let (left, gone, flooded) = (queue.clone(), end.clone(), end.clone());
    // The library starts a task for each event, and tasks overtake each other. The closure itself runs
    // in the order of the packets: it queues the event, and leaves nothing for the task to do.
    socket.on_fallback(move |Event(name), TryData::<Value>(data), answer: Answer| {
        if queue.try_send(Some((name, data.unwrap_or_default(), answer))).is_err() {
            flooded.cancel();
        }
        ready(())
    });
    // What was sent before the end is handled before it.
    socket.on_disconnect(async move || {
        gone.cancel();
        left.send(None).await.ok();
    });
    let connection = Connection { scope, outbox, end };
    account.connections().await.all.insert(socket.id, connection.clone());
    let receivers = Mutex::new(Some((calls, outgoing)));
    let link = Link { sid: socket.id, account, connection, receivers };
    socket.extensions.insert(Arc::new(link));
    Ok(())
}

/// The life of a connection, from the answer to CONNECT to its end.
async fn live(app: App, socket: SocketRef, link: Arc<Link>) {
    let receivers = link.receivers.lock().expect("nobody panics with it").take();
    let Some((mut calls, outgoing)) = receivers else { return };
    let Connection { scope, outbox, end } = &link.connection;
    tokio::spawn(deliver(app.options.rpc_timeout, socket, outgoing, end.clone()));
    machine::online(&app, &link, true).await.ok();
    while let Some(Some((event, data, answer))) = calls.recv().await {
        if event == "rpc-call" {
            // A callee may take its time, and other events do not wait for it.
            tokio::spawn(rpc::call(Arc::clone(&link), data, answer));
        } else if let Some(answered) = handle(&app, &link, &event, &data).await {
            outbox.send(Outgoing::Answer(answer, answered)).await.ok();
        }
    }
    let mut connections = link.account.connections().await;
    connections.all.remove(&link.sid);
    connections.methods.retain(|_, owners| {
        owners.retain(|sid| *sid != link.sid);
        !owners.is_empty()
    });
    let last = !connections.all.values().any(|other| other.scope == *scope);
    drop(connections);
    if last {
        machine::online(&app, &link, false).await.ok();
    }
}

/// The table of events. Some have no answer.
async fn handle(app: &App, link: &Link, event: &str, data: &Value) -> Option<Value> {
    let outcome: Outcome = match event {
        "ping" => Ok(json!({})),
        "update-metadata" | "update-state" | "machine-update-metadata" | "machine-update-state" => {
            cas::update(app, link, event, data).await
        }
        "session-alive" => return silent(session::alive(app, link, data).await),
        "session-end" => return silent(session::end(app, link, data).await),
        "message" => return silent(message::receive(app, link, data).await),
        "machine-alive" => return silent(machine::alive(app, link, data).await),
        "rpc-register" | "rpc-unregister" => return rpc::register(link, event, data).await,
        "artifact-create" => artifact::create(app, link, data).await,
        "artifact-read" => artifact::read(app, link, data).await,
        "artifact-update" => artifact::update(app, link, data).await,
        "artifact-delete" => artifact::delete(app, link, data).await,
        "access-key-get" => access_key::get(app, link, data).await,
        "usage-report" => usage::report(app, link, data).await,
        _ => return None,
    };
    Some(outcome.unwrap_or_else(|refusal| refusal.answer(event)))
}

/// These events have no answer, not even when they are refused.
fn silent(_: Result<(), Refusal>) -> Option<Value> {
    None
}

/// Sends what is in a connection's outbox, until one side ends the connection.
async fn deliver(
    rpc_timeout: Duration,
    socket: SocketRef,
    mut outbox: mpsc::Receiver<Outgoing>,
    end: CancellationToken,
) {
    let sending = async {
        while let Some(outgoing) = outbox.recv().await {
            match outgoing {
                Outgoing::Event(event, data) => patient(|| socket.emit(event, &*data)).await,
                Outgoing::Answer(answer, data) => patient(|| answer.send(&data)).await,
                Outgoing::Request(data, answered) => {
                    let timed = || socket.timeout(rpc_timeout);
                    let ack = patient(|| timed().emit_with_ack("rpc-request", &data)).await;
                    ack.map(|ack| drop(tokio::spawn(async { answered.send(ack.await) })))
                }
            };
        }
    };
    tokio::select! {
        () = sending => {}
        () = end.cancelled() => {}
    }
    if socket.connected() {
        // A client that does not read never comes to see a DISCONNECT.
        let peer = socket.req_parts().extensions.get::<ConnectInfo<Peer>>().cloned();
        socket.disconnect().ok();
        if let Some(ConnectInfo(Peer(Some(stream)))) = peer {
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}

/// Tries until the library's own queue has room, for which one cannot wait in another way.
async fn patient<T>(send: impl Fn() -> Result<T, SendError>) -> Option<T> {
    loop {
        match send() {
            Err(SendError::Socket(SocketError::InternalChannelFull)) => {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            sent => return sent.ok(),
        }
    }
}

/// A second handle of a client's TCP connection, to end it with.
#[derive(Clone)]
pub(crate) struct Peer(Option<Arc<TcpStream>>);

impl Connected<IncomingStream<'_, TcpListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
        let handle = stream.io().as_fd().try_clone_to_owned();
        Self(handle.ok().map(|handle| Arc::new(TcpStream::from(handle))))
    }
}
