//! The rows of an account: sessions with their messages, machines, artifacts, access keys, usage.

use std::collections::HashMap;

use serde_json::Value;

use super::Cell;
use crate::builders::{ArtifactRow, MachineRow, MessageRow, SessionRow};

/// A session and its messages.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// Its id.
    pub id: String,
    /// What the client calls it.
    pub tag: String,
    /// Its metadata.
    pub metadata: Cell,
    /// Its agent state.
    pub agent_state: Cell,
    /// The key of its contents, as the client gave it.
    pub data_encryption_key: Option<String>,
    /// Whether it is active.
    pub active: bool,
    /// Ended or archived: heartbeats do not make it active again.
    pub ended: bool,
    /// When it was active last.
    pub active_at: i64,
    /// When it was made.
    pub created_at: i64,
    /// When it was changed last.
    pub updated_at: i64,
    /// Its messages, in their order.
    pub messages: Vec<MessageRow>,
    /// The place of the message of each `localId`.
    pub local_ids: HashMap<String, usize>,
}

impl Session {
    pub(crate) fn row(&self) -> SessionRow {
        SessionRow {
            id: self.id.clone(),
            seq: self.messages.len() as u64,
            metadata: self.metadata.text(),
            metadata_version: self.metadata.version(),
            agent_state: self.agent_state.value().map(str::to_owned),
            agent_state_version: self.agent_state.version(),
            data_encryption_key: self.data_encryption_key.clone(),
            active: self.active,
            active_at: self.active_at,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }

    /// The message that has this localId.
    pub(crate) fn known(&self, local_id: &str) -> Option<&MessageRow> {
        self.messages.get(*self.local_ids.get(local_id)?)
    }

    pub(super) fn post(&mut self, message: MessageRow) {
        if let Some(local_id) = &message.local_id {
            self.local_ids.insert(local_id.clone(), self.messages.len());
        }
        self.updated_at = self.updated_at.max(message.created_at);
        self.messages.push(message);
    }
}

/// A machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    /// Its id, which the client chose.
    pub id: String,
    /// Its metadata.
    pub metadata: Cell,
    /// Its daemon's state.
    pub daemon_state: Cell,
    /// The key of its contents, as the client gave it.
    pub data_encryption_key: Option<String>,
    /// Whether it is active.
    pub active: bool,
    /// When it was active last.
    pub active_at: i64,
    /// When it was made.
    pub created_at: i64,
    /// When it was changed last.
    pub updated_at: i64,
}

impl Machine {
    pub(crate) fn row(&self) -> MachineRow {
        MachineRow {
            id: self.id.clone(),
            seq: 0,
            metadata: self.metadata.text(),
            metadata_version: self.metadata.version(),
            daemon_state: self.daemon_state.value().map(str::to_owned),
            daemon_state_version: self.daemon_state.version(),
            data_encryption_key: self.data_encryption_key.clone(),
            active: self.active,
            active_at: self.active_at,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }
}

/// An artifact; its parts are base64 text.
#[derive(Clone, Debug, PartialEq)]
pub struct Artifact {
    /// Its id, which the client chose.
    pub id: String,
    /// Its header.
    pub header: Cell,
    /// Its body.
    pub body: Cell,
    /// The key of its contents, as the client gave it.
    pub data_encryption_key: String,
    /// How often it was updated.
    pub seq: u64,
    /// When it was made.
    pub created_at: i64,
    /// When it was changed last.
    pub updated_at: i64,
}

impl Artifact {
    pub(crate) fn row(&self) -> ArtifactRow {
        ArtifactRow {
            id: self.id.clone(),
            header: self.header.text(),
            header_version: self.header.version(),
            body: self.body.text(),
            body_version: self.body.version(),
            data_encryption_key: Some(self.data_encryption_key.clone()),
            seq: self.seq,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }
}

/// The key that lets one machine read one session.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessKey {
    /// The key.
    pub data: Cell,
    /// When it was made.
    pub created_at: i64,
    /// When it was changed last.
    pub updated_at: i64,
}

/// What a client reported to have spent, per key and session.
#[derive(Clone, Debug, PartialEq)]
pub struct Usage {
    /// The id of the report.
    pub id: String,
    /// The session that it is about.
    pub session_id: Option<String>,
    /// How many tokens, by kind.
    pub tokens: Value,
    /// What they cost, by kind.
    pub cost: Value,
    /// When the key was reported first.
    pub created_at: i64,
    /// When it was reported last.
    pub updated_at: i64,
}
