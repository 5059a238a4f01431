//! A connection that takes part: it notes sentinels, and answers the calls that reach it.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    sync::Notify,
    task::AbortHandle,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use touchstone_client::{ConnectError, ConnectOptions, Event, Events, Socket, connect};

use crate::{plan::Actor, values, world::lock};

/// How the text of a sentinel begins. A number follows.
pub(crate) const SENTINEL: &str = "sentinel-";

/// How long a callee takes that answers later, and one that answers late.
const LATER: Duration = Duration::from_millis(20);
const LATE: Duration = Duration::from_millis(500);

/// An actor, with its connection while it has one.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) actor: Actor,
    pub(crate) name: String,
    /// Whether it came back after it had been away.
    pub(crate) returned: bool,
    pub(crate) link: Option<Link>,
}

/// A connection of an actor.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) socket: Socket,
    /// Whether it can still be relied on to receive.
    pub(crate) reads: bool,
    /// Cancelled once it stops reading: no answer reaches it from then on.
    pub(crate) deaf: CancellationToken,
    /// The sessions that it sent messages to.
    pub(crate) wrote: HashSet<u8>,
    /// The sessions and machines that it sent heartbeats of.
    pub(crate) beat: HashSet<String>,
    /// The methods that it has ever registered, and those that it has unregistered.
    pub(crate) registered: BTreeSet<u8>,
    pub(crate) unregistered: BTreeSet<u8>,
    /// Those that it has now.
    pub(crate) has: BTreeSet<u8>,
    seen: Arc<Seen>,
    listener: AbortHandle,
}

/// The sentinels that a connection received, and whose activity it was told of.
#[derive(Debug, Default)]
struct Seen {
    signs: Mutex<HashSet<String>>,
    changed: Notify,
    /// When anything arrived last.
    last: Mutex<Option<Instant>>,
}

/// How many times as long something is waited for as long as other things still arrive.
const RENEWED: u32 = 10;

impl Link {
    /// Opens a connection that listens.
    pub(crate) async fn open(options: &ConnectOptions) -> Result<Self, ConnectError> {
        let (socket, events) = Box::pin(connect(options)).await?;
        let seen = Arc::new(Seen::default());
        let listener = tokio::spawn(listen(socket.clone(), events, Arc::clone(&seen)));
        Ok(Self {
            socket,
            reads: true,
            deaf: CancellationToken::new(),
            wrote: HashSet::new(),
            beat: HashSet::new(),
            registered: BTreeSet::new(),
            unregistered: BTreeSet::new(),
            has: BTreeSet::new(),
            seen,
            listener: listener.abort_handle(),
        })
    }

    /// Whether it is there, and reads what it is sent.
    pub(crate) fn is_live(&self) -> bool {
        self.reads && self.socket.end().is_none()
    }

    /// Waits for a sign anew.
    pub(crate) fn forget(&self, sign: &str) {
        lock(&self.seen.signs).remove(sign);
    }

    /// Waits until a sentinel or an activity has arrived here, and says whether it has: who has left is sent
    /// nothing any more. A slow server is given more time while it still sends.
    pub(crate) async fn sees(&self, sign: &str, patience: Duration) -> bool {
        let began = Instant::now();
        loop {
            let changed = self.seen.changed.notified();
            tokio::pin!(changed);
            // Registered before the look, so that no sentinel falls between the two.
            changed.as_mut().enable();
            if lock(&self.seen.signs).contains(sign) {
                return true;
            }
            let last = lock(&self.seen.last).map_or(began, |last| last.max(began));
            let until = (last + patience).min(began + patience * RENEWED);
            if Instant::now() >= until {
                return false;
            }
            tokio::select! {
                () = changed => {}
                () = sleep_until(until) => {}
                _ = self.socket.closed() => return true,
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.listener.abort();
        self.socket.abort();
    }
}

async fn listen(socket: Socket, mut events: Events, seen: Arc<Seen>) {
    while let Ok(event) = events.recv().await {
        *lock(&seen.last) = Some(Instant::now());
        if event.name() == "rpc-request" {
            serve(&socket, &event).await;
        } else if let Some(sign) = sign(&event) {
            lock(&seen.signs).insert(sign);
            seen.changed.notify_waiters();
        }
    }
}

/// The notice that a connection waits for after it asked for a method.
pub(crate) fn notice(event: &str, method: &str) -> String {
    format!("{event} {method}")
}

/// The sentinel in an event, the session or machine whose activity it tells, or the method of a notice.
fn sign(event: &Event) -> Option<String> {
    let args = event.args.as_str();
    if let name @ ("rpc-registered" | "rpc-unregistered") = event.name() {
        return event.data().ok()?["method"]
            .as_str()
            .map(|method| notice(name, method));
    }
    if event.name() == "ephemeral" {
        let data = event.data().ok()?;
        // Reports of usage have the id of a session, too.
        let is_activity = matches!(data["type"].as_str(), Some("activity" | "machine-activity"));
        return data["id"]
            .as_str()
            .filter(|_| is_activity)
            .map(str::to_owned);
    }
    let text = &args[args.find(SENTINEL)?..];
    let digits = text[SENTINEL.len()..]
        .bytes()
        .take_while(u8::is_ascii_digit);
    Some(text[..SENTINEL.len() + digits.count()].to_owned())
}

/// Does with a request what its params ask for.
async fn serve(socket: &Socket, event: &Event) {
    let (Some(id), Ok(data)) = (event.ack, event.data()) else {
        return;
    };
    let params = match &data["params"] {
        Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
        params => params.clone(),
    };
    let echo = || json!([{"of": params["n"], "value": params["value"]}]);
    let orders = params["do"].as_str().unwrap_or("echo");
    let answer = match orders {
        "stay silent" => return,
        "drop" => return socket.abort(),
        "answer nothing" => json!([]),
        "echo later" | "echo late" => {
            let (socket, answer) = (socket.clone(), echo());
            let takes = if orders == "echo late" { LATE } else { LATER };
            tokio::spawn(async move {
                sleep(takes).await;
                answered(&socket, id, &answer).await;
            });
            return;
        }
        orders => match orders.strip_prefix("answer value ") {
            Some(index) => json!([values::value(index.parse().unwrap_or(0))]),
            None => echo(),
        },
    };
    answered(socket, id, &answer).await;
}

async fn answered(socket: &Socket, id: u64, answer: &Value) {
    let arguments = answer.as_array().map_or(&[][..], Vec::as_slice);
    // Who has left in the meantime answers nothing.
    socket.answer(id, arguments).await.ok();
}
