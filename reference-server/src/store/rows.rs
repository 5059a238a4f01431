//! The rows of an account: sessions with their messages, machines, artifacts, access keys, usage.

use std::collections::HashMap;

use serde_json::Value;

use super::Cell;
use crate::builders::{ArtifactRow, MachineRow, MessageRow, SessionRow};
use crate::clock::Clock;
use crate::faults::{Fault, Faults};
use crate::ids::Ids;

/// A session and its messages.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) tag: String,
    pub(crate) metadata: Cell,
    pub(crate) agent_state: Cell,
    pub(crate) data_encryption_key: Option<String>,
    pub(crate) active: bool,
    /// Ended or archived: heartbeats do not make it active again.
    pub(crate) ended: bool,
    pub(crate) active_at: i64,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) messages: Vec<MessageRow>,
    pub(super) local_ids: HashMap<String, usize>,
}

/// What became of a message that was posted: its place among the session's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Posted {
    /// It was stored.
    New(usize),
    /// A message with this localId was there before.
    Known(usize),
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

    /// Stores a message, unless one with the same localId is there. Its seq is its place, from 1.
    pub(crate) fn post(
        &mut self,
        content: Value,
        local_id: Option<String>,
        clock: &Clock,
        ids: &Ids,
        faults: &Faults,
    ) -> Posted {
        let known = local_id
            .as_ref()
            .and_then(|local_id| self.local_ids.get(local_id));
        let is_forgotten = |index: usize| {
            faults.on(Fault::DedupeOff)
                || faults.on(Fault::DedupeLast) && index + 1 != self.messages.len()
        };
        if let Some(&index) = known.filter(|&&index| !is_forgotten(index)) {
            return Posted::Known(index);
        }
        if faults.on(Fault::DedupeText)
            && let Some(index) = self.messages.iter().position(|message| {
                local_id.is_none() && message.local_id.is_none() && message.content == content
            })
        {
            return Posted::Known(index);
        }
        let index = self.messages.len();
        if let Some(local_id) = &local_id {
            self.local_ids.insert(local_id.clone(), index);
        }
        let now = clock.now();
        let seq = if faults.on(Fault::MessageSeqStuck) {
            1
        } else if faults.on(Fault::MessageSeqZero) {
            index as u64
        } else {
            index as u64 + 1
        };
        self.messages.push(MessageRow {
            id: ids.record(),
            seq,
            content,
            local_id,
            created_at: now,
            updated_at: now,
        });
        self.updated_at = now;
        Posted::New(index)
    }
}

/// A machine.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) id: String,
    pub(crate) metadata: Cell,
    pub(crate) daemon_state: Cell,
    pub(crate) data_encryption_key: Option<String>,
    pub(crate) active: bool,
    pub(crate) active_at: i64,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
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
#[derive(Clone, Debug)]
pub(crate) struct Artifact {
    pub(crate) id: String,
    pub(crate) header: Cell,
    pub(crate) body: Cell,
    pub(crate) data_encryption_key: String,
    pub(crate) seq: u64,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
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
#[derive(Clone, Debug)]
pub(crate) struct AccessKey {
    pub(crate) data: Cell,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
}

/// What a client reported to have spent, per key and session.
#[derive(Clone, Debug)]
pub(crate) struct Usage {
    pub(crate) id: String,
    pub(crate) session_id: Option<String>,
    pub(crate) tokens: Value,
    pub(crate) cost: Value,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
}
