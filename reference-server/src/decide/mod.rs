//! What is right: one decision per event, a pure function of an account's rows and the call. It says
//! what changes, who is told, and what is answered; [`crate::commit`] lets it happen. REST routes that
//! mean what an event means share its decision.
//!
//! Nothing here locks, waits, sends, or reads a clock.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::announce::Event;
use crate::config::Config;
use crate::connection::Connection;
use crate::policy::Policy;
use crate::seams::{Effects, Reply};
use crate::store::{Cell, Change, Rows};

pub(crate) mod access_key;
mod access_key_get;
pub(crate) mod artifact_create;
pub(crate) mod artifact_delete;
mod artifact_read;
pub(crate) mod artifact_update;
pub(crate) mod connection;
pub(crate) mod friends;
pub(crate) mod kv;
mod machine_alive;
pub(crate) mod machine_create;
mod machine_update;
pub(crate) mod message;
pub(crate) mod pairing;
mod ping;
pub(crate) mod presence;
pub(crate) mod push;
mod rpc_call;
mod rpc_register;
mod rpc_unregister;
mod session_alive;
pub(crate) mod session_create;
pub(crate) mod session_delete;
pub(crate) mod session_end;
mod session_update;
pub(crate) mod settings;
mod usage_report;
pub(crate) mod versioned;

/// What is decided about each event.
pub(crate) const DECISIONS: [(&str, Decide, Failure); 18] = [
    (
        "access-key-get",
        access_key_get::decide,
        Failure::Ack(not_ok),
    ),
    ("artifact-read", artifact_read::decide, Failure::Ack(error)),
    (
        "artifact-update",
        artifact_update::on_event,
        Failure::Ack(error),
    ),
    (
        "artifact-create",
        artifact_create::on_event,
        Failure::Ack(error),
    ),
    (
        "artifact-delete",
        artifact_delete::on_event,
        Failure::Ack(error),
    ),
    ("machine-alive", machine_alive::decide, Failure::Silent),
    (
        "machine-update-metadata",
        machine_update::metadata,
        Failure::Ack(error),
    ),
    (
        "machine-update-state",
        machine_update::state,
        Failure::Ack(error),
    ),
    ("ping", ping::decide, Failure::Silent),
    (
        "rpc-register",
        rpc_register::decide,
        Failure::RpcError("register"),
    ),
    (
        "rpc-unregister",
        rpc_unregister::decide,
        Failure::RpcError("unregister"),
    ),
    ("rpc-call", rpc_call::decide, Failure::Ack(not_ok)),
    (
        "update-metadata",
        session_update::metadata,
        Failure::Ack(session_update::error),
    ),
    (
        "update-state",
        session_update::state,
        Failure::Ack(session_update::error),
    ),
    ("session-alive", session_alive::decide, Failure::Silent),
    ("message", message::on_event, Failure::Silent),
    ("session-end", session_end::on_event, Failure::Silent),
    (
        "usage-report",
        usage_report::decide,
        Failure::Ack(usage_report::internal_error),
    ),
];

/// A decision about an event.
pub(crate) type Decide = fn(&Context<'_>, &Call<'_>) -> Outcome<Reply>;

/// What a failure of the server looks like to the sender of an event.
#[derive(Clone, Copy)]
pub(crate) enum Failure {
    Silent,
    Ack(fn() -> Value),
    RpcError(&'static str),
}

pub(crate) const INTERNAL_ERROR: &str = "Internal error";

fn error() -> Value {
    json!({ "result": "error", "message": INTERNAL_ERROR })
}

fn not_ok() -> Value {
    json!({ "ok": false, "error": INTERNAL_ERROR })
}

/// The error answer of the machine and artifact events.
fn failed(message: &str) -> Outcome<Reply> {
    Outcome::of(Reply::Ack(json!({ "result": "error", "message": message })))
}

/// What decisions are made from, besides the call.
pub(crate) struct Context<'a> {
    /// The account's rows.
    pub(crate) rows: &'a Rows,
    /// What was chosen about the server.
    pub(crate) config: &'a Config,
    /// When this happens.
    pub(crate) now: i64,
}

impl<'a> Context<'a> {
    pub(crate) fn new(rows: &'a Rows, config: &'a Config) -> Self {
        let now = config.clock.now();
        Self { rows, config, now }
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.config.policy
    }

    /// The id of a new row.
    pub(crate) fn new_id(&self) -> String {
        self.config.ids.record()
    }

    /// A part of something new, which counts from one if it has a value from the beginning.
    fn new_cell(&self, value: Option<String>) -> Cell {
        let version = self.policy().first_versions_above + u64::from(value.is_some());
        Cell::new(value, version)
    }
}

/// An event as decisions see it.
pub(crate) struct Call<'a> {
    /// Where it came from.
    pub(crate) connection: &'a Arc<Connection>,
    /// The fields of its first argument.
    pub(crate) data: &'a Data,
    /// Its first argument as it came.
    pub(crate) raw: Option<&'a RawValue>,
    /// Whether another account has an artifact of the id that it is to create.
    pub(crate) is_foreign: bool,
    /// The binary values of the packet. Their placeholders are objects, which no decision takes for a
    /// text.
    pub(crate) attachments: &'a [Bytes],
}

/// The fields of an event's data. What is not an object has none; a field of another type than asked
/// for counts as missing.
#[derive(Default)]
pub(crate) struct Data(pub(crate) Map<String, Value>);

impl Data {
    pub(crate) fn parse(raw: Option<&RawValue>) -> Self {
        let fields = raw.and_then(|raw| serde_json::from_str(raw.get()).ok());
        Self(fields.unwrap_or_default())
    }

    fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field)
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.get(field)?.as_str()
    }

    /// A text that is not empty, as ids and names must be.
    fn name(&self, field: &str) -> Option<&str> {
        self.text(field).filter(|text| !text.is_empty())
    }

    fn number(&self, field: &str) -> Option<f64> {
        self.get(field)?.as_f64()
    }
}

/// What was decided.
#[derive(Debug)]
pub(crate) struct Outcome<A, E = Effects> {
    /// What happens.
    pub(crate) effects: E,
    /// What is answered when it has happened.
    pub(crate) answer: A,
}

impl<A> Outcome<A> {
    /// Only an answer.
    pub(crate) fn of(answer: A) -> Self {
        let effects = Effects::default();
        Self { effects, answer }
    }

    fn change(mut self, change: Change) -> Self {
        self.effects.changes.push(change);
        self
    }

    fn event(mut self, event: Event) -> Self {
        self.effects.events.push(event);
        self
    }

    /// The same with another form of the answer.
    fn map<B>(self, form: impl FnOnce(A) -> B) -> Outcome<B> {
        Outcome {
            effects: self.effects,
            answer: form(self.answer),
        }
    }
}

#[cfg(test)]
mod tests;
