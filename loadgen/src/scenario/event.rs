//! The events that a scenario can emit, and what the protocol does with each.

use serde::Deserialize;

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
        match self {
            Self::Message => Some("new-message"),
            Self::UpdateMetadata | Self::UpdateState => Some("update-session"),
            Self::SessionAlive | Self::SessionEnd => Some("activity"),
            Self::UsageReport => Some("usage"),
            Self::MachineUpdateMetadata | Self::MachineUpdateState => Some("update-machine"),
            Self::MachineAlive => Some("machine-activity"),
            Self::ArtifactCreate => Some("new-artifact"),
            Self::ArtifactUpdate => Some("update-artifact"),
            Self::RpcCall => Some("rpc-request"),
            Self::ArtifactRead | Self::AccessKeyGet | Self::Ping => None,
        }
    }

    /// Who must receive what it causes.
    pub fn scope(self) -> Scope {
        match self {
            Self::Message => Scope::SessionWithoutSender,
            Self::UpdateMetadata | Self::UpdateState => Scope::Session,
            Self::MachineUpdateMetadata | Self::MachineUpdateState => Scope::Machine,
            Self::SessionAlive
            | Self::SessionEnd
            | Self::UsageReport
            | Self::MachineAlive
            | Self::ArtifactCreate
            | Self::ArtifactUpdate => Scope::Users,
            Self::RpcCall => Scope::Callee,
            Self::ArtifactRead | Self::AccessKeyGet | Self::Ping => Scope::Nobody,
        }
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
        match self {
            Self::Message
            | Self::UpdateMetadata
            | Self::UpdateState
            | Self::SessionAlive
            | Self::SessionEnd
            | Self::UsageReport
            | Self::AccessKeyGet => Some(Role::Session),
            Self::MachineUpdateMetadata | Self::MachineUpdateState | Self::MachineAlive => {
                Some(Role::Machine)
            }
            Self::ArtifactCreate
            | Self::ArtifactUpdate
            | Self::ArtifactRead
            | Self::RpcCall
            | Self::Ping => None,
        }
    }
}
