//! What can change in an account: the words in which decisions say what happens, storages keep it, and
//! a server that starts again is told what there was.

use std::fmt;
use std::sync::Arc;

use super::{
    AccessKey, Artifact, FeedItem, KvEntry, Machine, Pair, Pairing, PublicKey, PushToken, Session,
    Usage,
};
use crate::builders::{MessageRow, RelationshipStatus, Versioned};
use crate::connection::Connection;
use crate::router::ConnectionId;

/// Something that changes: what a decision wants, and what is kept.
#[derive(Clone, Debug)]
pub enum Change {
    /// There is a new account.
    AccountCreated(NewAccount),
    /// A client is connected.
    Entered(Arc<Connection>),
    /// A client has left.
    Left(ConnectionId),
    /// A connection has registered a method.
    Registered {
        /// The method.
        method: String,
        /// The connection.
        connection: Arc<Connection>,
        /// Whether it owns the method now, or only stands by.
        is_owner: bool,
    },
    /// A connection has a method no longer.
    Unregistered {
        /// The method.
        method: String,
        /// The connection.
        connection: ConnectionId,
    },
    /// There is a new session.
    SessionCreated(Box<Session>),
    /// A session is gone, and what hangs off it.
    SessionDeleted(String),
    /// There is a new machine.
    MachineCreated(Box<Machine>),
    /// There is a new artifact, perhaps in the place of an old one.
    ArtifactCreated(Box<Artifact>),
    /// An artifact is gone.
    ArtifactDeleted(String),
    /// A versioned value was written.
    Written {
        /// Which one.
        part: Part,
        /// Its value now.
        value: Option<String>,
        /// Its version now.
        version: u64,
        /// When.
        at: i64,
    },
    /// The seq of an artifact was raised.
    ArtifactRaised {
        /// The artifact.
        id: String,
        /// Its seq now.
        seq: u64,
    },
    /// A message was posted.
    MessagePosted {
        /// The session.
        session: String,
        /// The message.
        message: MessageRow,
    },
    /// A session is active or not.
    SessionPresence {
        /// The session.
        id: String,
        /// Whether it is active.
        active: bool,
        /// Whether it has ended, so that heartbeats do not make it active again.
        ended: bool,
        /// Since when.
        at: i64,
    },
    /// A machine is active or not.
    MachinePresence {
        /// The machine.
        id: String,
        /// Whether it is active.
        active: bool,
        /// Since when.
        at: i64,
    },
    /// There is a new access key.
    AccessKeyCreated(Pair, AccessKey),
    /// A key of usage was reported.
    UsageReported(String, Usage),
    /// A key of the key-value store was written.
    KvWritten(String, KvEntry),
    /// This account stands to another one like this.
    Related(String, RelationshipStatus),
    /// There is a new post in the feed.
    FeedPosted(FeedItem),
    /// A post is no longer in the feed.
    FeedForgotten(String),
    /// There is a new device.
    PushTokenAdded(PushToken),
    /// A device is gone.
    PushTokenRemoved(String),
    /// A terminal waits to be paired, or is. It belongs to no account.
    PairingChanged(PublicKey, Pairing),
    /// A terminal waits no longer.
    PairingForgotten(PublicKey),
}

/// How an account is signed in to.
#[derive(Clone, PartialEq, Eq)]
pub struct NewAccount {
    /// The key that signs for it.
    pub key: PublicKey,
    /// The bearer token that it has for good.
    pub token: String,
    /// When it was made.
    pub created_at: i64,
}

impl fmt::Debug for NewAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewAccount").finish_non_exhaustive()
    }
}

impl Change {
    /// A versioned value is this now.
    pub(crate) fn written(part: Part, now: &Versioned, at: i64) -> Self {
        Self::Written {
            part,
            value: now.value.clone(),
            version: now.version,
            at,
        }
    }

    /// Whether it outlives connections.
    pub(crate) fn is_persistent(&self) -> bool {
        !matches!(
            self,
            Self::Entered(_) | Self::Left(_) | Self::Registered { .. } | Self::Unregistered { .. }
        )
    }
}

/// A value that is written by those who have seen its latest version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The metadata of a session.
    SessionMetadata(String),
    /// The agent state of a session.
    SessionState(String),
    /// The metadata of a machine.
    MachineMetadata(String),
    /// The daemon state of a machine.
    MachineState(String),
    /// The header of an artifact.
    ArtifactHeader(String),
    /// The body of an artifact.
    ArtifactBody(String),
    /// An access key.
    AccessKey(Pair),
    /// The account's settings.
    Settings,
}
