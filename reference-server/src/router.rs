//! The event router: who is connected, and who receives an event.
//!
//! Recipients are a pure function of the connections, the filter and the connection to skip, so that
//! every combination can be tested without a socket. Everything that sends happens under the lock of
//! the account that it concerns: that is what keeps each account's updates in `seq` order on every
//! connection, and ahead of the answer to their cause. The router knows no handlers and no storage.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::app::App;
use crate::builders::{EphemeralPayload, UpdatePayload};
use crate::connection::Connection;
use crate::control::{Decision, Tap};
use crate::faults::{Fault, Faults};
use crate::packet;
use crate::seams::Emission;

/// Tells connections apart; ascending in the order in which they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What a connection is there for (the specification's connection types).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `user-scoped`: sees what concerns the account.
    User,
    /// `session-scoped`: sees what concerns this session.
    Session(String),
    /// `machine-scoped`: sees what concerns this machine.
    Machine(String),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User => f.write_str("user"),
            Self::Session(id) => write!(f, "session {id}"),
            Self::Machine(id) => write!(f, "machine {id}"),
        }
    }
}

/// Which connections of an account an event is for (the specification's `RecipientFilter`).
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
pub enum RecipientFilter {
    /// Every user-scoped connection, and the session-scoped ones of this session.
    AllInterestedInSession {
        /// The session.
        session_id: String,
    },
    /// Every user-scoped connection.
    UserScopedOnly,
    /// Every user-scoped connection, and the machine-scoped ones of this machine.
    MachineScopedOnly {
        /// The machine.
        machine_id: String,
    },
    /// Every connection of the account; what holds when no filter is named.
    #[default]
    AllUserAuthenticatedConnections,
}

impl RecipientFilter {
    /// Whether a connection with this scope is meant.
    #[must_use]
    pub fn accepts(&self, scope: &Scope) -> bool {
        match (self, scope) {
            (Self::AllUserAuthenticatedConnections, _) | (_, Scope::User) => true,
            (Self::AllInterestedInSession { session_id }, Scope::Session(id)) => session_id == id,
            (Self::MachineScopedOnly { machine_id }, Scope::Machine(id)) => machine_id == id,
            _ => false,
        }
    }
}

/// Something that events can be routed to.
pub trait Routed {
    /// Its identity, for skipping a sender.
    fn id(&self) -> ConnectionId;
    /// Its scope.
    fn scope(&self) -> &Scope;
}

impl<T: Routed> Routed for Arc<T> {
    fn id(&self) -> ConnectionId {
        self.as_ref().id()
    }

    fn scope(&self) -> &Scope {
        self.as_ref().scope()
    }
}

/// Those of an account's connections that an event goes to, each once, in the order given.
pub fn recipients<'c, C: Routed + ?Sized + 'c>(
    connections: impl IntoIterator<Item = &'c C>,
    filter: &RecipientFilter,
    skip: Option<ConnectionId>,
) -> impl Iterator<Item = &'c C> {
    connections.into_iter().filter(move |connection| {
        Some(connection.id()) != skip && filter.accepts(connection.scope())
    })
}

/// The connections of one account.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    connections: BTreeMap<ConnectionId, Arc<Connection>>,
    /// Whether a connection has left, for the fault that is deaf from then on.
    has_lost: bool,
}

impl Registry {
    pub(crate) fn add(&mut self, connection: Arc<Connection>) {
        self.connections.insert(connection.id(), connection);
    }

    /// The connection, unless it was removed before.
    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<Arc<Connection>> {
        self.has_lost = true;
        self.connections.remove(&id)
    }

    pub(crate) fn has_lost(&self) -> bool {
        self.has_lost
    }

    pub(crate) fn get(&self, id: ConnectionId) -> Option<&Arc<Connection>> {
        self.connections.get(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Connection>> {
        self.connections.values()
    }

    /// Whether a machine has a connection of its own.
    pub(crate) fn has_machine(&self, machine_id: &str) -> bool {
        self.iter()
            .any(|connection| matches!(connection.scope(), Scope::Machine(id) if id == machine_id))
    }
}

/// Sends events to the connections of an account.
#[derive(Debug)]
pub(crate) struct Router {
    faults: Faults,
    tap: Tap,
    /// Strangers for the faults that leak.
    everyone: crate::connection::Everyone,
}

/// Who got an event, by socket id.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Routing {
    pub(crate) recipients: Vec<String>,
    pub(crate) skipped: Option<String>,
}

/// The account that an event concerns, as far as routing cares.
pub(crate) struct Audience<'a> {
    pub(crate) account: &'a str,
    pub(crate) registry: &'a Registry,
    /// An update that the fault `late-update` holds back.
    pub(crate) held: &'a mut Option<HeldUpdate>,
}

/// An update that waits for the next one of its account to overtake it.
#[derive(Debug)]
pub(crate) struct HeldUpdate {
    payload: UpdatePayload,
    filter: RecipientFilter,
    skip: Option<ConnectionId>,
}

impl Router {
    pub(crate) fn new(faults: Faults, tap: Tap, everyone: crate::connection::Everyone) -> Self {
        Self {
            faults,
            tap,
            everyone,
        }
    }

    /// Puts an update into the queue of every connection that the filter means, except the skipped.
    pub(crate) fn emit_update(
        &self,
        app: &App,
        audience: &mut Audience<'_>,
        payload: UpdatePayload,
        filter: RecipientFilter,
        skip: Option<ConnectionId>,
    ) -> Routing {
        let overtaken = audience.held.take();
        let event_type = payload.as_json()["body"]["t"].as_str().unwrap_or_default();
        let numbered = |place: &str, fault| {
            let number = payload.as_json().pointer(place).and_then(Value::as_u64);
            number.is_some_and(|number| self.faults.strikes_at(fault, number))
        };
        let is_held = numbered("/seq", Fault::LateUpdate)
            || numbered("/body/message/seq", Fault::LateMessage);
        if is_held && overtaken.is_none() {
            *audience.held = Some(HeldUpdate {
                payload,
                filter,
                skip,
            });
            return Routing::default();
        }
        let copies = match () {
            () if numbered("/seq", Fault::LostUpdate) => 0,
            () if numbered("/seq", Fault::DupUpdate) => 2,
            () if self.faults.on(Fault::ChangeTwice)
                && matches!(event_type, "update-session" | "update-machine") =>
            {
                2
            }
            () => 1,
        };
        let account = audience.account;
        let routing = self.send(
            app,
            account,
            audience.registry,
            "update",
            payload.as_json(),
            &filter,
            skip,
            copies,
        );
        if let Some(late) = overtaken {
            let json = late.payload.as_json();
            self.send(
                app,
                account,
                audience.registry,
                "update",
                json,
                &late.filter,
                late.skip,
                1,
            );
        }
        routing
    }

    /// Puts an ephemeral into the queue of every connection that the filter means, except the skipped.
    pub(crate) fn emit_ephemeral(
        &self,
        app: &App,
        account: &str,
        registry: &Registry,
        payload: &EphemeralPayload,
        filter: &RecipientFilter,
        skip: Option<ConnectionId>,
    ) -> Routing {
        self.send(
            app,
            account,
            registry,
            "ephemeral",
            payload.as_json(),
            filter,
            skip,
            1,
        )
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the one place where an event meets its connections"
    )]
    fn send(
        &self,
        app: &App,
        account: &str,
        registry: &Registry,
        event: &'static str,
        payload: &serde_json::Value,
        filter: &RecipientFilter,
        skip: Option<ConnectionId>,
        copies: usize,
    ) -> Routing {
        let widened = self.widened(event, filter);
        let filter = widened.as_ref().unwrap_or(filter);
        // Encoded once: a queued packet is a reference to the same bytes for every recipient.
        let frame = packet::encode_event(event, payload, None);
        let mut receivers: Vec<&Arc<Connection>> =
            recipients(registry.iter(), filter, skip).collect();
        if self.faults.any() {
            let event_type = event_type(payload);
            receivers.retain(|other| !self.is_other_kind(other.scope(), event_type));
        }
        let rerouted = app.seams().map(|seams| {
            let connections: Vec<_> = registry.iter().cloned().collect();
            let emission = Emission {
                account,
                event,
                payload,
                filter,
                skip,
                connections: &connections,
            };
            let mut recipients = receivers.iter().copied().cloned().collect();
            seams.route(app, &emission, &mut recipients);
            recipients
        });
        if let Some(rerouted) = &rerouted {
            receivers = rerouted.iter().collect();
        }
        let strangers = self.strangers(account, event, filter);
        receivers.extend(&strangers);
        for _ in 0..copies {
            for connection in &receivers {
                connection.send(frame.clone());
            }
        }
        let skipped = skip
            .and_then(|id| registry.get(id))
            .filter(|c| filter.accepts(c.scope()));
        if !self.tap.is_offered() {
            // Socket ids are only copied for control/emit and the tap.
            return Routing::default();
        }
        let routing = Routing {
            recipients: receivers
                .iter()
                .map(|connection| connection.socket_id().to_owned())
                .collect(),
            skipped: skipped.map(|connection| connection.socket_id().to_owned()),
        };
        self.tap.publish(|| Decision {
            account,
            event,
            payload,
            filter,
            routing: &routing,
        });
        routing
    }

    /// The wrong filter that a fault puts in the place of the right one.
    fn widened(&self, event: &str, filter: &RecipientFilter) -> Option<RecipientFilter> {
        let all = || Some(RecipientFilter::AllUserAuthenticatedConnections);
        match filter {
            _ if event == "ephemeral" && self.faults.on(Fault::WideEphemerals) => all(),
            RecipientFilter::UserScopedOnly
                if self.faults.on(Fault::WideArtifacts) && event == "update" =>
            {
                all()
            }
            RecipientFilter::AllInterestedInSession { .. }
                if self.faults.on(Fault::WrongSession) =>
            {
                all()
            }
            RecipientFilter::MachineScopedOnly { .. } if self.faults.on(Fault::WrongMachine) => {
                all()
            }
            _ => None,
        }
    }

    /// `wrong-session` is about sessions and `wrong-machine` about machines: whom they leave out.
    fn is_other_kind(&self, scope: &Scope, event_type: &str) -> bool {
        match scope {
            Scope::User => false,
            Scope::Session(_) => {
                self.faults.on(Fault::WrongMachine) && event_type == "update-machine"
            }
            Scope::Machine(_) => {
                self.faults.on(Fault::WrongSession)
                    && matches!(event_type, "new-message" | "update-session")
            }
        }
    }

    /// Connections of other accounts, for the faults that leak.
    fn strangers(
        &self,
        account: &str,
        event: &str,
        filter: &RecipientFilter,
    ) -> Vec<Arc<Connection>> {
        let leak = if event == "update" {
            Fault::LeakUpdate
        } else {
            Fault::LeakEphemeral
        };
        let leaks_to = |scope: &Scope| match scope {
            Scope::User => self.faults.on(leak),
            scope => self.faults.on(Fault::ForeignIdHears) && filter.accepts(scope),
        };
        if !self.faults.any() {
            return Vec::new();
        }
        let mut strangers = self.everyone.all();
        strangers.retain(|other| other.account().id() != account && leaks_to(other.scope()));
        strangers
    }
}

/// `body.t` of an update, or `type` of an ephemeral.
fn event_type(payload: &serde_json::Value) -> &str {
    let body = &payload["body"]["t"];
    body.as_str()
        .or(payload["type"].as_str())
        .unwrap_or_default()
}
