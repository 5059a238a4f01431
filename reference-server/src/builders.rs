//! The 17 event builders of the specification, as pure functions: row and stamp in, payload out.
//!
//! The keys of the bodies are those on the wire (the specification's decisions, section 2). Optional
//! parts that do not apply are absent. No builder reads a clock, a counter or a random source.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// What makes an update unique and orders it.
#[derive(Clone, Copy, Debug)]
pub struct Stamp<'a> {
    /// The account's update sequence number.
    pub seq: u64,
    /// A random id.
    pub id: &'a str,
    /// When it was made, in Unix milliseconds.
    pub at: i64,
}

/// The payload of an `update` event: `{id, seq, body: {t, ...}, createdAt}`.
#[derive(Clone, Debug, PartialEq)]
pub struct UpdatePayload(pub(crate) Value);

/// The payload of an `ephemeral` event: `{type, ...}`.
#[derive(Clone, Debug, PartialEq)]
pub struct EphemeralPayload(pub(crate) Value);

impl UpdatePayload {
    /// As it travels.
    #[must_use]
    pub fn as_json(&self) -> &Value {
        &self.0
    }
}

impl EphemeralPayload {
    /// As it travels.
    #[must_use]
    pub fn as_json(&self) -> &Value {
        &self.0
    }
}

/// A value with its version, as bodies carry it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versioned {
    /// The value; null where the interface allows it to be cleared.
    pub value: Option<String>,
    /// How often it was written.
    pub version: u64,
}

/// A session as `new-session` and the REST surface show it. Times are Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(
    missing_docs,
    reason = "the fields are those of the specification's new-session event"
)]
pub struct SessionRow {
    pub id: String,
    pub seq: u64,
    pub metadata: String,
    pub metadata_version: u64,
    pub agent_state: Option<String>,
    pub agent_state_version: u64,
    pub data_encryption_key: Option<String>,
    pub active: bool,
    pub active_at: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

/// A message as `new-message` and the REST surface show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(
    missing_docs,
    reason = "the fields are those of the specification's new-message event"
)]
pub struct MessageRow {
    pub id: String,
    pub seq: u64,
    pub content: Value,
    pub local_id: Option<String>,
    pub created_at: i64,
    pub updated_at: i64,
}

/// A machine as `new-machine` and the REST surface show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(
    missing_docs,
    reason = "the fields are those of the specification's new-machine event"
)]
pub struct MachineRow {
    pub id: String,
    pub seq: u64,
    pub metadata: String,
    pub metadata_version: u64,
    pub daemon_state: Option<String>,
    pub daemon_state_version: u64,
    pub data_encryption_key: Option<String>,
    pub active: bool,
    pub active_at: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

/// An artifact as `new-artifact` and the REST surface show it; the byte parts are base64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(
    missing_docs,
    reason = "the fields are those of the specification's new-artifact event"
)]
pub struct ArtifactRow {
    pub id: String,
    pub header: String,
    pub header_version: u64,
    pub body: String,
    pub body_version: u64,
    pub data_encryption_key: Option<String>,
    pub seq: u64,
    pub created_at: i64,
    pub updated_at: i64,
}

/// How one account stands to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RelationshipStatus {
    /// Nothing between them.
    None,
    /// This side asked.
    Requested,
    /// The other side asked.
    Pending,
    /// Both agreed.
    Friend,
    /// One side declined.
    Rejected,
}

/// One changed key of the key-value store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvChange {
    /// The key.
    pub key: String,
    /// The new value; null when the key was deleted.
    pub value: Option<String>,
    /// The new version; the first one is 0.
    pub version: i64,
}

fn update(stamp: Stamp<'_>, t: &str, fields: Value) -> UpdatePayload {
    let mut body = Map::new();
    body.insert("t".to_owned(), t.into());
    if let Value::Object(fields) = fields {
        body.extend(fields);
    }
    UpdatePayload(json!({ "id": stamp.id, "seq": stamp.seq, "body": body, "createdAt": stamp.at }))
}

fn parts<const N: usize>(first: (&str, &str), parts: [(&str, Option<&Versioned>); N]) -> Value {
    let mut fields = Map::new();
    fields.insert(first.0.to_owned(), first.1.into());
    for (name, part) in parts {
        if let Some(part) = part {
            fields.insert(name.to_owned(), json!(part));
        }
    }
    Value::Object(fields)
}

/// `buildNewSessionUpdate`: `new-session`.
#[must_use]
pub fn new_session(session: &SessionRow, stamp: Stamp<'_>) -> UpdatePayload {
    update(stamp, "new-session", json!(session))
}

/// `buildNewMessageUpdate`: `new-message`.
#[must_use]
pub fn new_message(message: &MessageRow, session_id: &str, stamp: Stamp<'_>) -> UpdatePayload {
    update(
        stamp,
        "new-message",
        json!({ "sid": session_id, "message": message }),
    )
}

/// `buildUpdateSessionUpdate`: `update-session`, with the parts that changed.
#[must_use]
pub fn update_session(
    session_id: &str,
    metadata: Option<&Versioned>,
    agent_state: Option<&Versioned>,
    stamp: Stamp<'_>,
) -> UpdatePayload {
    let fields = parts(
        ("id", session_id),
        [("metadata", metadata), ("agentState", agent_state)],
    );
    update(stamp, "update-session", fields)
}

/// `buildDeleteSessionUpdate`: `delete-session`.
#[must_use]
pub fn delete_session(session_id: &str, stamp: Stamp<'_>) -> UpdatePayload {
    update(stamp, "delete-session", json!({ "sid": session_id }))
}

/// `buildUpdateAccountUpdate`: `update-account`, with the parts of the profile that changed.
#[must_use]
pub fn update_account(
    user_id: &str,
    profile: &Map<String, Value>,
    stamp: Stamp<'_>,
) -> UpdatePayload {
    let mut fields = Map::new();
    fields.insert("id".to_owned(), user_id.into());
    fields.extend(profile.clone());
    update(stamp, "update-account", Value::Object(fields))
}

/// `buildNewMachineUpdate`: `new-machine`.
#[must_use]
pub fn new_machine(machine: &MachineRow, stamp: Stamp<'_>) -> UpdatePayload {
    update(stamp, "new-machine", renamed(json!(machine), "machineId"))
}

/// `buildUpdateMachineUpdate`: `update-machine`, with the parts that changed.
#[must_use]
pub fn update_machine(
    machine_id: &str,
    metadata: Option<&Versioned>,
    daemon_state: Option<&Versioned>,
    stamp: Stamp<'_>,
) -> UpdatePayload {
    let fields = parts(
        ("machineId", machine_id),
        [("metadata", metadata), ("daemonState", daemon_state)],
    );
    update(stamp, "update-machine", fields)
}

/// `buildNewArtifactUpdate`: `new-artifact`.
#[must_use]
pub fn new_artifact(artifact: &ArtifactRow, stamp: Stamp<'_>) -> UpdatePayload {
    update(
        stamp,
        "new-artifact",
        renamed(json!(artifact), "artifactId"),
    )
}

/// `buildUpdateArtifactUpdate`: `update-artifact`, with the parts that changed.
#[must_use]
pub fn update_artifact(
    artifact_id: &str,
    header: Option<&Versioned>,
    body: Option<&Versioned>,
    stamp: Stamp<'_>,
) -> UpdatePayload {
    let fields = parts(
        ("artifactId", artifact_id),
        [("header", header), ("body", body)],
    );
    update(stamp, "update-artifact", fields)
}

/// `buildDeleteArtifactUpdate`: `delete-artifact`.
#[must_use]
pub fn delete_artifact(artifact_id: &str, stamp: Stamp<'_>) -> UpdatePayload {
    update(
        stamp,
        "delete-artifact",
        json!({ "artifactId": artifact_id }),
    )
}

/// `buildRelationshipUpdatedEvent`: `relationship-updated`. `uid` is the other account, `timestamp`
/// Unix milliseconds.
#[must_use]
pub fn relationship_updated(
    uid: &str,
    status: RelationshipStatus,
    timestamp: i64,
    stamp: Stamp<'_>,
) -> UpdatePayload {
    let fields = json!({ "uid": uid, "status": status, "timestamp": timestamp });
    update(stamp, "relationship-updated", fields)
}

/// `buildNewFeedPostUpdate`: `new-feed-post`.
#[must_use]
pub fn new_feed_post(
    id: &str,
    body: &Value,
    cursor: &str,
    created_at: i64,
    stamp: Stamp<'_>,
) -> UpdatePayload {
    let fields = json!({ "id": id, "body": body, "cursor": cursor, "createdAt": created_at });
    update(stamp, "new-feed-post", fields)
}

/// `buildKVBatchUpdateUpdate`: `kv-batch-update`.
#[must_use]
pub fn kv_batch_update(changes: &[KvChange], stamp: Stamp<'_>) -> UpdatePayload {
    update(stamp, "kv-batch-update", json!({ "changes": changes }))
}

/// `buildSessionActivityEphemeral`: `activity`. Without `thinking`, the session is not thinking.
#[must_use]
pub fn session_activity(
    session_id: &str,
    active: bool,
    active_at: i64,
    thinking: Option<bool>,
) -> EphemeralPayload {
    EphemeralPayload(json!({
        "type": "activity",
        "id": session_id,
        "active": active,
        "activeAt": active_at,
        "thinking": thinking.unwrap_or(false),
    }))
}

/// `buildMachineActivityEphemeral`: `machine-activity`.
#[must_use]
pub fn machine_activity(machine_id: &str, active: bool, active_at: i64) -> EphemeralPayload {
    EphemeralPayload(json!({
        "type": "machine-activity",
        "id": machine_id,
        "active": active,
        "activeAt": active_at,
    }))
}

/// `buildUsageEphemeral`: `usage`; `at` becomes its timestamp.
#[must_use]
pub fn usage(
    session_id: &str,
    key: &str,
    tokens: &Value,
    cost: &Value,
    at: i64,
) -> EphemeralPayload {
    EphemeralPayload(json!({
        "type": "usage",
        "id": session_id,
        "key": key,
        "tokens": tokens,
        "cost": cost,
        "timestamp": at,
    }))
}

/// `buildMachineStatusEphemeral`: `machine-status`; `at` becomes its timestamp.
#[must_use]
pub fn machine_status(machine_id: &str, online: bool, at: i64) -> EphemeralPayload {
    EphemeralPayload(json!({
        "type": "machine-status",
        "machineId": machine_id,
        "online": online,
        "timestamp": at,
    }))
}

/// `session-event`, which the specification does not have and newer servers send: something happened
/// in a session that its owner is to be told of.
#[must_use]
pub fn session_event(
    session_id: &str,
    kind: &str,
    title: &str,
    body: &str,
    at: i64,
) -> EphemeralPayload {
    EphemeralPayload(json!({
        "type": "session-event",
        "sessionId": session_id,
        "kind": kind,
        "title": title,
        "body": body,
        "timestamp": at,
    }))
}

/// The same object with its leading `id` under another name.
fn renamed(row: Value, name: &str) -> Value {
    let Value::Object(row) = row else { return row };
    row.into_iter()
        .map(|(key, value)| {
            if key == "id" {
                (name.to_owned(), value)
            } else {
                (key, value)
            }
        })
        .collect()
}
