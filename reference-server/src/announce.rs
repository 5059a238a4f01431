//! What events say, before they have a number: the 17 builders as values that can be compared.

use serde_json::{Map, Value};

use crate::builders::{
    self, ArtifactRow, EphemeralPayload, KvChange, MachineRow, MessageRow, RelationshipStatus,
    SessionRow, Stamp, UpdatePayload, Versioned,
};
use crate::router::{ConnectionId, RecipientFilter};

/// Something that connections are told.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What it says.
    pub what: Announcement,
    /// Which connections it is for.
    pub filter: RecipientFilter,
    /// A connection that is left out.
    pub skip: Option<ConnectionId>,
}

impl Event {
    /// An update for these connections.
    #[must_use]
    pub fn update(what: Update, filter: RecipientFilter) -> Self {
        Self {
            what: Announcement::Update(what),
            filter,
            skip: None,
        }
    }

    /// An ephemeral for user-scoped connections, as nearly all causes have it.
    #[must_use]
    pub fn ephemeral(payload: EphemeralPayload) -> Self {
        Self {
            what: Announcement::Ephemeral(payload),
            filter: RecipientFilter::UserScopedOnly,
            skip: None,
        }
    }
}

/// What an event says.
#[derive(Clone, Debug, PartialEq)]
pub enum Announcement {
    /// An `update`, which takes a seq.
    Update(Update),
    /// An `ephemeral`.
    Ephemeral(EphemeralPayload),
    /// A payload that is ready, under the name of its event.
    Ready(&'static str, Value),
}

/// The parameters of the builders of updates.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "they are those of the builders")]
pub enum Update {
    NewSession(SessionRow),
    NewMessage {
        session_id: String,
        message: MessageRow,
    },
    UpdateSession {
        session_id: String,
        metadata: Option<Versioned>,
        agent_state: Option<Versioned>,
    },
    DeleteSession(String),
    UpdateAccount {
        user_id: String,
        profile: Map<String, Value>,
    },
    NewMachine(MachineRow),
    UpdateMachine {
        machine_id: String,
        metadata: Option<Versioned>,
        daemon_state: Option<Versioned>,
    },
    NewArtifact(ArtifactRow),
    UpdateArtifact {
        artifact_id: String,
        header: Option<Versioned>,
        body: Option<Versioned>,
    },
    DeleteArtifact(String),
    RelationshipUpdated {
        uid: String,
        status: RelationshipStatus,
        timestamp: i64,
    },
    NewFeedPost {
        id: String,
        body: Value,
        cursor: String,
        created_at: i64,
    },
    KvBatchUpdate(Vec<KvChange>),
}

impl Update {
    /// Its payload.
    #[must_use]
    pub fn build(&self, stamp: Stamp<'_>) -> UpdatePayload {
        match self {
            Self::NewSession(row) => builders::new_session(row, stamp),
            Self::NewMessage {
                session_id,
                message,
            } => builders::new_message(message, session_id, stamp),
            Self::UpdateSession {
                session_id,
                metadata,
                agent_state,
            } => {
                builders::update_session(session_id, metadata.as_ref(), agent_state.as_ref(), stamp)
            }
            Self::DeleteSession(id) => builders::delete_session(id, stamp),
            Self::UpdateAccount { user_id, profile } => {
                builders::update_account(user_id, profile, stamp)
            }
            Self::NewMachine(row) => builders::new_machine(row, stamp),
            Self::UpdateMachine {
                machine_id,
                metadata,
                daemon_state,
            } => builders::update_machine(
                machine_id,
                metadata.as_ref(),
                daemon_state.as_ref(),
                stamp,
            ),
            Self::NewArtifact(row) => builders::new_artifact(row, stamp),
            Self::UpdateArtifact {
                artifact_id,
                header,
                body,
            } => builders::update_artifact(artifact_id, header.as_ref(), body.as_ref(), stamp),
            Self::DeleteArtifact(id) => builders::delete_artifact(id, stamp),
            Self::RelationshipUpdated {
                uid,
                status,
                timestamp,
            } => builders::relationship_updated(uid, *status, *timestamp, stamp),
            Self::NewFeedPost {
                id,
                body,
                cursor,
                created_at,
            } => builders::new_feed_post(id, body, cursor, *created_at, stamp),
            Self::KvBatchUpdate(changes) => builders::kv_batch_update(changes, stamp),
        }
    }
}
