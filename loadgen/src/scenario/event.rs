//! The events that a scenario can emit, and what the protocol does with each.

use std::sync::LazyLock;

use serde::Deserialize;
use touchstone_fixtures::{Filter, Subject, caused_by, subject_of};

use super::Role;

/// An event that a client emits. Its name in a scenario is its name on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A message in a session.
    Message,
    /// A compare-and-set of a session's metadata.
    UpdateMetadata,
    /// A compare-and-set of a session's agent state.
    UpdateState,
    /// A session's heartbeat.
    SessionAlive,
    /// What a session has used.
    UsageReport,
    /// A compare-and-set of a machine's metadata.
    MachineUpdateMetadata,
    /// A compare-and-set of a machine's daemon state.
    MachineUpdateState,
    /// A machine's heartbeat.
    MachineAlive,
    /// A new artifact each time.
    ArtifactCreate,
    /// A compare-and-set of the header of the connection's own artifact, which is created first.
    ArtifactUpdate,
    /// Reading the connection's own artifact, which is created first.
    ArtifactRead,
    /// Reading the access key of a session and a machine.
    AccessKeyGet,
    /// A call of a method that another connection of the account has registered.
    RpcCall,
    /// A ping of the application.
    Ping,
    /// The end of a session. No traffic of its own: a session does not come back, so that only
    /// those say it that leave for good.
    #[serde(skip_deserializing)]
    SessionEnd,
}

/// Which connections of the sender's account must receive what an event causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Nobody: it is only answered.
    Nobody,
    /// User-scoped connections.
    Users,
    /// User-scoped connections and those of the session.
    Session,
    /// As `Session`, without the sending connection.
    SessionWithoutSender,
    /// User-scoped connections and those of the machine.
    Machine,
    /// The one that registered the method.
    Callee,
}

impl EventKind {
    /// Each kind.
    pub const ALL: [Self; 15] = [
        Self::Message,
        Self::UpdateMetadata,
        Self::UpdateState,
        Self::SessionAlive,
        Self::UsageReport,
        Self::MachineUpdateMetadata,
        Self::MachineUpdateState,
        Self::MachineAlive,
        Self::ArtifactCreate,
        Self::ArtifactUpdate,
        Self::ArtifactRead,
        Self::AccessKeyGet,
        Self::RpcCall,
        Self::Ping,
        Self::SessionEnd,
    ];

    /// Its place in [`ALL`](Self::ALL), for tables with a row per kind.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The client's event on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::UpdateMetadata => "update-metadata",
            Self::UpdateState => "update-state",
            Self::SessionAlive => "session-alive",
            Self::UsageReport => "usage-report",
            Self::MachineUpdateMetadata => "machine-update-metadata",
            Self::MachineUpdateState => "machine-update-state",
            Self::MachineAlive => "machine-alive",
            Self::ArtifactCreate => "artifact-create",
            Self::ArtifactUpdate => "artifact-update",
            Self::ArtifactRead => "artifact-read",
            Self::AccessKeyGet => "access-key-get",
            Self::RpcCall => "rpc-call",
            Self::Ping => "ping",
            Self::SessionEnd => "session-end",
        }
    }

    /// What recipients see of it: the type of the update or ephemeral, or `rpc-request`.
    pub fn delivered_as(self) -> Option<&'static str> {
        // Asked for everything that arrives, so it is looked up once.
        static NAMES: LazyLock<[Option<&str>; EventKind::ALL.len()]> = LazyLock::new(|| {
            EventKind::ALL.map(|kind| match kind {
                EventKind::RpcCall => Some("rpc-request"),
                kind => caused_by(kind.name()).map(|caused| caused.name),
            })
        });
        NAMES[self.index()]
    }

    /// Who must receive what it causes.
    pub fn scope(self) -> Scope {
        static SCOPES: LazyLock<[Scope; EventKind::ALL.len()]> =
            LazyLock::new(|| EventKind::ALL.map(scope_of));
        SCOPES[self.index()]
    }

    /// Whether the sender asks for an ack. Real clients send usage reports without one.
    pub fn is_acked(self) -> bool {
        !matches!(
            self,
            Self::Message
                | Self::SessionAlive
                | Self::SessionEnd
                | Self::MachineAlive
                | Self::UsageReport
        )
    }

    /// Whether it is a heartbeat, which clients leave out while they have no connection.
    pub fn is_heartbeat(self) -> bool {
        matches!(self, Self::SessionAlive | Self::MachineAlive)
    }

    /// Whether all that others see of it is who is active, which a server may thin out. It has no
    /// content to be recognised by but its time.
    pub fn is_presence(self) -> bool {
        self.is_heartbeat() || self == Self::SessionEnd
    }

    /// Whether what one connection sends of it about one thing must arrive in that order. Calls are
    /// independent of each other, and no order is promised to ephemerals.
    pub fn is_ordered(self) -> bool {
        let is_update = !self.is_presence() && self != Self::UsageReport && self != Self::RpcCall;
        is_update && self.delivered_as().is_some()
    }

    /// What it concerns, besides the account: a session, a machine, or neither.
    pub fn subject(self) -> Option<Role> {
        match subject_of(self.name())?.0 {
            Subject::Session => Some(Role::Session),
            Subject::Machine => Some(Role::Machine),
            Subject::Artifact | Subject::Method | Subject::Other => None,
        }
    }
}

fn scope_of(kind: EventKind) -> Scope {
    if kind == EventKind::RpcCall {
        return Scope::Callee;
    }
    match caused_by(kind.name()) {
        None => Scope::Nobody,
        Some(caused) => match caused.filter {
            Filter::AllInterestedInSession if caused.skips_sender => Scope::SessionWithoutSender,
            Filter::AllInterestedInSession => Scope::Session,
            Filter::MachineScopedOnly => Scope::Machine,
            // No client's event goes to all connections.
            Filter::UserScopedOnly | Filter::AllUserAuthenticatedConnections => Scope::Users,
        },
    }
}
