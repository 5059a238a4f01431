//! Who receives an event besides those that need it, when, and in which order.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use touchstone_reference_server::Config;
use touchstone_reference_server::router::RecipientFilter;
use touchstone_reference_server::router::recipients;
use touchstone_reference_server::seams::{
    Account, Call, Connection, ConnectionId, Emission, Flow, Frame, Routed as _, Seams, Server,
};

use crate::routing::event_type;

/// An event as it is queued.
pub(super) fn frame(event: &str, payload: &Value) -> Frame {
    Frame::from(format!("2{}", json!([event, payload])))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_update(frame: &Frame) -> bool {
    frame.starts_with(r#"2["update""#)
}

/// What servers without narrow filters send to all of an account's connections.
const WIDE: &[&str] = &[
    "new-session",
    "update-session",
    "delete-session",
    "new-machine",
    "update-machine",
    "new-artifact",
    "update-artifact",
    "delete-artifact",
    "update-account",
    "new-feed-post",
    "activity",
    "machine-activity",
    "usage",
];

/// All connections of an account receive what only wastes their time.
#[derive(Debug)]
pub(super) struct Wide;

impl Seams for Wide {
    /// Such servers have no control extension, whose router does as it is told.
    fn settings(&self, config: &mut Config) {
        config.control = false;
    }

    fn route(
        &self,
        _server: &Server,
        emission: &Emission<'_>,
        recipients: &mut Vec<Arc<Connection>>,
    ) {
        if !WIDE.contains(&event_type(emission.payload)) {
            return;
        }
        for other in emission.connections {
            let is_there = recipients.iter().any(|one| one.id() == other.id());
            if !is_there && emission.skip != Some(other.id()) {
                recipients.push(Arc::clone(other));
            }
        }
    }
}

/// Nobody is told that a relation has changed.
#[derive(Debug)]
pub(super) struct RelationsSilent;

impl Seams for RelationsSilent {
    /// Such servers have no control extension, which can have any event sent.
    fn settings(&self, config: &mut Config) {
        config.control = false;
    }

    fn route(
        &self,
        _server: &Server,
        emission: &Emission<'_>,
        recipients: &mut Vec<Arc<Connection>>,
    ) {
        if event_type(emission.payload) == "relationship-updated" {
            recipients.clear();
        }
    }
}

/// Events that always have an answer, and an effect that is announced.
const ANNOUNCED: &[&str] = &[
    "update-metadata",
    "update-state",
    "machine-update-metadata",
    "machine-update-state",
    "artifact-create",
    "artifact-update",
    "artifact-delete",
    "usage-report",
];

/// Who causes an update is answered before it receives that.
#[derive(Debug, Default)]
pub(super) struct AckFirst(Mutex<HashMap<ConnectionId, Unanswered>>);

/// The answers that a connection waits for, and what is kept back until then.
#[derive(Debug, Default)]
struct Unanswered {
    acks: HashSet<u64>,
    held: Vec<Frame>,
}

impl Seams for AckFirst {
    fn call(&self, _server: &Server, call: &mut Call<'_>) -> Flow {
        if let Some(ack) = call.ack.filter(|_| ANNOUNCED.contains(&call.event)) {
            let mut connections = lock(&self.0);
            let unanswered = connections.entry(call.connection.id()).or_default();
            unanswered.acks.insert(ack);
        }
        Flow::Handle
    }

    fn send(&self, connection: &Arc<Connection>, frame: &Frame) -> bool {
        let mut connections = lock(&self.0);
        let Some(unanswered) = connections.get_mut(&connection.id()) else {
            return true;
        };
        if frame.starts_with(r#"2["update""#) || frame.starts_with(r#"2["ephemeral""#) {
            unanswered.held.push(frame.clone());
            return false;
        }
        let digits = frame
            .strip_prefix('3')
            .and_then(|rest| rest.split('[').next());
        let Some(ack) = digits.and_then(|digits| digits.parse().ok()) else {
            return true;
        };
        if !unanswered.acks.remove(&ack) {
            return true;
        }
        connection.push(frame.clone());
        if unanswered.acks.is_empty()
            && let Some(unanswered) = connections.remove(&connection.id())
        {
            unanswered
                .held
                .into_iter()
                .for_each(|held| connection.push(held));
        }
        false
    }
}

/// Events reach their recipients some time later, in their order, and whoever qualifies then.
#[derive(Debug)]
pub(super) struct BrokerDelay {
    time: Duration,
    /// What is under way, by account; an account without anything has no queue.
    queues: Arc<Mutex<HashMap<String, VecDeque<Underway>>>>,
}

#[derive(Debug)]
struct Underway {
    due: Instant,
    packet: Frame,
    filter: RecipientFilter,
    skip: Option<ConnectionId>,
    /// The connections that there were, and those that were to receive it.
    known: Vec<ConnectionId>,
    meant: Vec<Arc<Connection>>,
}

impl BrokerDelay {
    pub(super) fn new(milliseconds: u64) -> Self {
        Self {
            time: Duration::from_millis(milliseconds),
            queues: Arc::default(),
        }
    }
}

impl Underway {
    fn deliver(&self, account: &Account) {
        let connections = account.connections();
        let now = recipients(connections.iter(), &self.filter, self.skip);
        let newcomers = now.filter(|one| !self.known.contains(&one.id()));
        for one in self.meant.iter().chain(newcomers) {
            one.push(self.packet.clone());
        }
    }
}

impl Seams for BrokerDelay {
    fn route(
        &self,
        server: &Server,
        emission: &Emission<'_>,
        recipients: &mut Vec<Arc<Connection>>,
    ) {
        let Some(account) = server.account(emission.account) else {
            return;
        };
        let known = emission.connections.iter().map(|one| one.id());
        let underway = Underway {
            due: Instant::now() + self.time,
            packet: frame(emission.event, emission.payload),
            filter: emission.filter.clone(),
            skip: emission.skip,
            known: known.collect(),
            meant: recipients.clone(),
        };
        let mut queues = lock(&self.queues);
        if let Some(queue) = queues.get_mut(emission.account) {
            return queue.push_back(underway);
        }
        queues.insert(emission.account.to_owned(), VecDeque::from([underway]));
        let queues = Arc::clone(&self.queues);
        tokio::spawn(async move {
            loop {
                let due = lock(&queues)
                    .get(account.id())
                    .and_then(|queue| Some(queue.front()?.due));
                let Some(due) = due else {
                    return;
                };
                tokio::time::sleep_until(due).await;
                let next = lock(&queues)
                    .get_mut(account.id())
                    .and_then(VecDeque::pop_front);
                if let Some(next) = next {
                    next.deliver(&account);
                }
                let mut queues = lock(&queues);
                if queues.get(account.id()).is_some_and(VecDeque::is_empty) {
                    queues.remove(account.id());
                }
            }
        });
    }

    /// The broker delivers what the router has counted.
    fn send(&self, _connection: &Arc<Connection>, frame: &Frame) -> bool {
        !is_update(frame) && !frame.starts_with(r#"2["ephemeral""#)
    }
}

/// A message of one sender is overtaken by up to two of others that come within a moment.
#[derive(Debug, Default)]
pub(super) struct Interleaved(Arc<Mutex<HashMap<String, Overtaken>>>);

/// How long a message waits for others to overtake it.
const MOMENT: Duration = Duration::from_millis(5);

/// A message that waits.
#[derive(Debug)]
struct Overtaken {
    number: u64,
    sender: ConnectionId,
    packets: Vec<(Arc<Connection>, Frame)>,
    passed: u8,
    /// Whether what is sent now belongs to it.
    is_filling: bool,
}

impl Overtaken {
    fn release(self) {
        for (connection, packet) in self.packets {
            connection.push(packet);
        }
    }
}

impl Seams for Interleaved {
    fn route(
        &self,
        _server: &Server,
        emission: &Emission<'_>,
        _recipients: &mut Vec<Arc<Connection>>,
    ) {
        let mut waiting = lock(&self.0);
        let sender = emission
            .skip
            .filter(|_| event_type(emission.payload) == "new-message");
        if let Some(overtaken) = waiting.get_mut(emission.account) {
            overtaken.is_filling = false;
            if sender.is_some_and(|sender| sender != overtaken.sender) && overtaken.passed < 2 {
                overtaken.passed += 1;
                return;
            }
        }
        if let Some(overtaken) = waiting.remove(emission.account) {
            overtaken.release();
        }
        let Some(sender) = sender else {
            return;
        };
        let number = emission.payload["seq"].as_u64().unwrap_or_default();
        let overtaken = Overtaken {
            number,
            sender,
            packets: Vec::new(),
            passed: 0,
            is_filling: true,
        };
        waiting.insert(emission.account.to_owned(), overtaken);
        let (account, waiting) = (emission.account.to_owned(), Arc::clone(&self.0));
        tokio::spawn(async move {
            tokio::time::sleep(MOMENT).await;
            let mut waiting = lock(&waiting);
            if waiting
                .get(&account)
                .is_some_and(|overtaken| overtaken.number == number)
                && let Some(overtaken) = waiting.remove(&account)
            {
                overtaken.release();
            }
        });
    }

    fn send(&self, connection: &Arc<Connection>, frame: &Frame) -> bool {
        if !is_update(frame) {
            return true;
        }
        let mut waiting = lock(&self.0);
        let overtaken = waiting.get_mut(connection.account_id());
        let Some(overtaken) = overtaken.filter(|overtaken| overtaken.is_filling) else {
            return true;
        };
        overtaken
            .packets
            .push((Arc::clone(connection), frame.clone()));
        false
    }
}
