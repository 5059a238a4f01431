//! The event router: who is connected, and who receives an event.
//!
//! Recipients are a pure function of the connections, the filter and the connection to skip, so that
//! every combination can be tested without a socket. The router sends nothing; the commit does.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

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

/// Who got an event, by socket id.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Routing {
    pub(crate) recipients: Vec<String>,
    pub(crate) skipped: Option<String>,
}
