//! What heartbeats count for, and what is announced of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use touchstone_reference_server::Config;
use touchstone_reference_server::builders;
use touchstone_reference_server::router::recipients;
use touchstone_reference_server::seams::{
    Call, Cause, Connection, Effects, Emission, Event, Flow, Reply, Routed as _, Rows, Scope,
    Seams, Server,
};

use super::delivery::frame;

/// When the session or machine of a heartbeat was last active.
fn active_at(call: &Call<'_>) -> Option<i64> {
    let account = &*call.account;
    let id = |field: &str| call.data.get(field)?.as_str();
    match call.event {
        "session-alive" | "session-end" => Some(account.session(id("sid")?)?.active_at),
        "machine-alive" => Some(account.machine(id("machineId")?)?.active_at),
        _ => None,
    }
}

/// What becomes of a heartbeat from before the last known activity, if it is not too old to count.
#[derive(Debug)]
pub(super) enum Older {
    /// It is ignored.
    Ignored,
    /// It counts, and the time of the last activity stays.
    KeepsTime,
}

/// Ten minutes in milliseconds: heartbeats that are older do not count, whatever is known.
const OLDEST: f64 = 600_000.0;

impl Seams for Older {
    #[expect(clippy::cast_precision_loss, reason = "times are far below 2^53")]
    fn call(&self, _server: &Server, call: &mut Call<'_>) -> Flow {
        let time = call.data.get("time").and_then(Value::as_f64);
        let (Some(time), Some(known)) = (time, active_at(call)) else {
            return Flow::Handle;
        };
        let known_time = known as f64;
        if time >= known_time || time < known_time - OLDEST {
            return Flow::Handle;
        }
        match self {
            Self::Ignored => Flow::Ignore,
            Self::KeepsTime => {
                call.data.insert("time".to_owned(), known.into());
                Flow::Handle
            }
        }
    }
}

/// The connections of a session come and go like those of a machine.
#[derive(Debug)]
pub(super) struct SessionsAnnounced;

impl Seams for SessionsAnnounced {
    fn outcome(
        &self,
        server: &Arc<Server>,
        cause: &Cause<'_>,
        rows: &Rows,
        effects: &mut Effects,
        _reply: Option<&mut Reply>,
    ) {
        let Some(connection) = cause.connection else {
            return;
        };
        let Scope::Session(id) = connection.scope() else {
            return;
        };
        let is_other = |one: &&Arc<Connection>| {
            one.id() != connection.id() && one.scope() == connection.scope()
        };
        let is_alone = rows.connections().filter(is_other).count() == 0;
        let active = cause.name == "enter";
        if rows.session(id).is_some() && (active || cause.name == "leave" && is_alone) {
            let told = builders::session_activity(id, active, server.now(), Some(false));
            effects.events.push(Event::ephemeral(told));
        }
    }
}

/// Heartbeats of a machine count only from its own connections.
#[derive(Debug)]
pub(super) struct OwnMachineOnly;

impl Seams for OwnMachineOnly {
    fn call(&self, _server: &Server, call: &mut Call<'_>) -> Flow {
        let named = call.data.get("machineId").and_then(Value::as_str);
        let is_own =
            matches!(call.connection.scope(), Scope::Machine(id) if Some(id.as_str()) == named);
        if call.event == "machine-alive" && !is_own {
            return Flow::Ignore;
        }
        Flow::Handle
    }
}

/// A session thinks only if its heartbeat says `true`.
#[derive(Debug)]
pub(super) struct ThinkingTrue;

impl Seams for ThinkingTrue {
    fn call(&self, _server: &Server, call: &mut Call<'_>) -> Flow {
        if let Some(thinking) = call.data.get_mut("thinking") {
            *thinking = Value::Bool(*thinking == Value::Bool(true));
        }
        Flow::Handle
    }
}

/// A new state of its daemon does not make a machine active.
#[derive(Debug)]
pub(super) struct StateKeepsPresence;

impl Seams for StateKeepsPresence {
    fn settings(&self, config: &mut Config) {
        config.policy.state_makes_active = false;
    }
}

/// The account and the id of what an `activity` or `machine-activity` is about.
fn subject(emission: &Emission<'_>) -> Option<(String, String)> {
    let kind = emission.payload["type"].as_str()?;
    let id = emission.payload["id"].as_str()?;
    matches!(kind, "activity" | "machine-activity")
        .then(|| (emission.account.to_owned(), format!("{kind} {id}")))
}

/// A heartbeat that says what the one before it said, time included, is not announced again.
#[derive(Debug, Default)]
pub(super) struct HeartbeatsOnce(Mutex<HashMap<(String, String), Value>>);

impl Seams for HeartbeatsOnce {
    fn route(
        &self,
        _server: &Server,
        emission: &Emission<'_>,
        recipients: &mut Vec<Arc<Connection>>,
    ) {
        let Some(subject) = subject(emission) else {
            return;
        };
        let mut announced = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = announced.insert(subject, emission.payload.clone());
        if before.as_ref() == Some(emission.payload) {
            recipients.clear();
        }
    }
}

/// That a machine is gone is announced when it has not come back for a while.
#[derive(Debug)]
pub(super) struct OfflineGrace(pub(super) Duration);

impl Seams for OfflineGrace {
    fn route(
        &self,
        server: &Server,
        emission: &Emission<'_>,
        listeners: &mut Vec<Arc<Connection>>,
    ) {
        let payload = emission.payload;
        let is_end = payload["type"] == "machine-activity" && payload["active"] == false;
        let account = server.account(emission.account).filter(|_| is_end);
        let (Some(id), Some(account)) = (payload["id"].as_str(), account) else {
            return;
        };
        listeners.clear();
        let id = id.to_owned();
        let (packet, filter) = (frame("ephemeral", payload), emission.filter.clone());
        let grace = self.0;
        tokio::spawn(async move {
            tokio::time::sleep(grace).await;
            // Whoever has come back is active; one that was silent for too long may still be connected.
            if account.machine(&id).is_some_and(|machine| machine.active) {
                return;
            }
            for listener in recipients(account.connections().iter(), &filter, None) {
                listener.push(packet.clone());
            }
        });
    }
}
