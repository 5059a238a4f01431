//! One connection of a replayed client: what it sent and waits for, and what came that no step has
//! asked for yet.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
};

use serde_json::Value;
use tokio::time::{Duration, timeout};
use touchstone_client::{ConnectOptions, Event, Events, PendingReply, Socket, connect};

use super::values::shown;

/// What the sentinels of this test are called, so that nobody takes them for recorded events.
pub(crate) const SENTINEL: &str = "sentinel";
/// Ephemerals that only repeat a state are compared by its changes.
const HEARTBEATS: [&str; 2] = ["activity", "machine-activity"];

/// An event that came.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) class: Class,
    pub(crate) args: Vec<Value>,
    pub(crate) ack: Option<u64>,
}

/// What an event is, apart from its values: its name, and the kind of update or ephemeral. Events
/// of one class come in the recorded order; the order across classes is the server's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Class {
    event: String,
    kind: String,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = if self.kind.is_empty() { "" } else { " " };
        write!(f, "{}{space}{}", self.event, self.kind)
    }
}

impl Class {
    /// The class of an event with this name and these arguments.
    pub(crate) fn of(event: &str, args: &[Value]) -> Self {
        let data = args.first().unwrap_or(&Value::Null);
        let kind = match event {
            "update" => &data["body"]["t"],
            "ephemeral" => &data["type"],
            _ => &Value::Null,
        };
        let kind = kind.as_str().unwrap_or_default().to_owned();
        Self {
            event: event.to_owned(),
            kind,
        }
    }
}

/// A connection of a replayed client.
pub(crate) struct Connection {
    pub(crate) name: String,
    pub(crate) socket: Socket,
    /// Whether updates of every kind come here.
    pub(crate) user_scoped: bool,
    /// Where it was opened or left, for messages.
    pub(crate) place: String,
    /// Acks that are awaited, by their recorded id.
    pub(crate) pending: HashMap<u64, PendingReply>,
    /// The ids under which the server waits for acks, by their recorded id.
    pub(crate) asked: HashMap<u64, u64>,
    /// The methods of the last burst of registrations.
    pub(crate) registering: Vec<Value>,
    events: Events,
    inbox: VecDeque<Arrived>,
    /// Sentinels that came, by event and name, with the id under which an ack is wanted.
    sentinels: HashMap<(String, String), Option<u64>>,
    /// The last state that was announced, by kind of ephemeral and id.
    announced: HashMap<(String, String), (Value, Value)>,
    last_seq: i64,
    deadline: Duration,
}

impl Connection {
    /// Opens a WebSocket and awaits the answer to CONNECT.
    pub(crate) async fn open(
        name: &str,
        place: &str,
        options: ConnectOptions,
        deadline: Duration,
    ) -> Result<Self, String> {
        let client_type = options.auth.as_ref().map(|auth| auth["clientType"].clone());
        let opened = connect(&options.timeout(deadline)).await;
        let (socket, events) = opened.map_err(|error| format!("cannot connect {name}: {error}"))?;
        Ok(Self {
            name: name.to_owned(),
            socket,
            user_scoped: client_type == Some(Value::from("user-scoped")),
            place: place.to_owned(),
            pending: HashMap::new(),
            asked: HashMap::new(),
            registering: Vec::new(),
            events,
            inbox: VecDeque::new(),
            sentinels: HashMap::new(),
            announced: HashMap::new(),
            last_seq: i64::MIN,
            deadline,
        })
    }

    /// The oldest event of a class that no step has taken yet; waits for it.
    pub(crate) async fn take(&mut self, class: &Class) -> Result<Arrived, String> {
        loop {
            let found = self
                .inbox
                .iter()
                .position(|arrived| arrived.class == *class);
            if let Some(arrived) = found.and_then(|index| self.inbox.remove(index)) {
                return Ok(arrived);
            }
            self.receive().await.map_err(|why| {
                let rest = self
                    .leftover()
                    .unwrap_or_else(|| "nothing else came".to_owned());
                format!("{} waits for {class}: {why}; {rest}", self.name)
            })?;
        }
    }

    /// Waits until a sentinel has come, and returns the id under which an ack is wanted.
    pub(crate) async fn sentinel(
        &mut self,
        event: &str,
        sentinel: &str,
    ) -> Result<Option<u64>, String> {
        let key = (event.to_owned(), sentinel.to_owned());
        loop {
            if let Some(ack) = self.sentinels.remove(&key) {
                return Ok(ack);
            }
            let waiting = self.receive().await;
            waiting.map_err(|why| format!("{} waits for its sentinel: {why}", self.name))?;
        }
    }

    /// Takes in everything that still comes until the connection has ended.
    pub(crate) async fn drain(&mut self) -> Result<(), String> {
        loop {
            match timeout(self.deadline, self.events.recv()).await {
                Ok(Ok(event)) => self.keep(&event)?,
                Ok(Err(_)) => return Ok(()),
                Err(_) => return Err(format!("{} does not end", self.name)),
            }
        }
    }

    /// What came that nobody has taken, if anything.
    pub(crate) fn leftover(&self) -> Option<String> {
        let arrived = self.inbox.front()?;
        let args = shown(&Value::from(arrived.args.clone()));
        let name = &self.name;
        Some(format!(
            "{name} got {} nobody recorded: {args}",
            arrived.class
        ))
    }

    /// Takes an event of a class if it has come already.
    pub(crate) fn take_if_here(&mut self, class: &Class) -> Option<Arrived> {
        let index = self
            .inbox
            .iter()
            .position(|arrived| arrived.class == *class)?;
        self.inbox.remove(index)
    }

    async fn receive(&mut self) -> Result<(), String> {
        match timeout(self.deadline, self.events.recv()).await {
            Ok(Ok(event)) => self.keep(&event),
            Ok(Err(end)) => Err(format!("the connection ended: {end}")),
            Err(_) => Err(format!("nothing within {:?}", self.deadline)),
        }
    }

    fn keep(&mut self, event: &Event) -> Result<(), String> {
        let args = event
            .args
            .values()
            .map_err(|error| format!("{}: {error}", event.name()))?;
        let data = args.first().unwrap_or(&Value::Null);
        if event.name() == "update" {
            self.check_seq(data)?;
        }
        if let Some(sentinel) = sentinel_of(data) {
            let key = (event.name().to_owned(), sentinel.to_owned());
            self.sentinels.insert(key, event.ack);
            return Ok(());
        }
        if event.name() == "ephemeral" && self.repeats(data) {
            return Ok(());
        }
        let class = Class::of(event.name(), &args);
        self.inbox.push_back(Arrived {
            class,
            args,
            ack: event.ack,
        });
        Ok(())
    }

    /// The account's updates must come in the order of their `seq`.
    fn check_seq(&mut self, update: &Value) -> Result<(), String> {
        match update["seq"].as_i64() {
            Some(seq) if seq > self.last_seq => {
                self.last_seq = seq;
                Ok(())
            }
            _ => Err(format!(
                "{} got an update out of order after seq {}: {}",
                self.name,
                self.last_seq,
                shown(update)
            )),
        }
    }

    /// Whether a heartbeat only says again what the last one of its kind and id said.
    fn repeats(&mut self, data: &Value) -> bool {
        let text = |key: &str| data[key].as_str().unwrap_or_default().to_owned();
        if !HEARTBEATS.contains(&text("type").as_str()) {
            return false;
        }
        let state = (data["active"].clone(), data["thinking"].clone());
        let before = self
            .announced
            .insert((text("type"), text("id")), state.clone());
        before == Some(state)
    }
}

fn sentinel_of(data: &Value) -> Option<&str> {
    let named = data["method"]
        .as_str()
        .or_else(|| data["body"]["artifactId"].as_str());
    named.filter(|name| name.starts_with(SENTINEL))
}
