//! What a change writes: the operations on tables, one after the other.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use touchstone_reference_server::builders::{MessageRow, RelationshipStatus};
use touchstone_reference_server::seams::{
    AccessKey, Artifact, Cell, Change, FeedItem, Machine, NewAccount, Pair, Pairing, Part,
    PublicKey, PushToken, Session, Usage,
};

use crate::operations::{
    ACCESS_KEY, ACCESS_KEY_DATA, ACCESS_KEYS_GONE, ACCOUNT, ACCOUNT_SEQ, ARTIFACT, ARTIFACT_BODY,
    ARTIFACT_GONE, ARTIFACT_HEADER, ARTIFACT_SEQ, FEED_ITEM, FEED_ITEM_GONE, KEY_VALUE, MACHINE,
    MACHINE_METADATA, MACHINE_PRESENCE, MACHINE_STATE, MESSAGE, MESSAGES_GONE, PAIRING,
    PAIRING_GONE, PUSH_TOKEN, PUSH_TOKEN_GONE, RELATION, SESSION, SESSION_GONE, SESSION_METADATA,
    SESSION_PRESENCE, SESSION_STATE, SETTINGS, USAGE, USAGE_GONE,
};
use crate::table::Operation;
use crate::text::escaped;

/// A value of a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Value {
    Text(Option<String>),
    Integer(i64),
    Flag(bool),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Flag(value)
    }
}

/// An operation on one row: the values of its keys and columns.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) operation: &'static Operation,
    pub(crate) values: Vec<Value>,
}

/// Says that the latest update of an account has this seq.
pub(crate) fn seq(account: &str, seq: u64) -> Step {
    step(&ACCOUNT_SEQ, [text(account), number(seq)])
}

/// What a change of an account writes.
pub(crate) fn steps(account: &str, change: Change) -> Vec<Step> {
    let owner = || text(account);
    let written = match change {
        // They last as long as connections.
        Change::Entered(_)
        | Change::Left(_)
        | Change::Registered { .. }
        | Change::Unregistered { .. } => return Vec::new(),
        Change::SessionDeleted(id) => return session_deleted(account, &id),
        Change::AccountCreated(new) => account_created(account, &new),
        Change::SessionCreated(session) => session_created(account, &session),
        Change::SessionPresence {
            id,
            active,
            ended,
            at,
        } => step(
            &SESSION_PRESENCE,
            [text(&id), active.into(), ended.into(), at.into()],
        ),
        Change::MessagePosted { session, message } => message_posted(&session, &message),
        Change::MachineCreated(machine) => machine_created(account, &machine),
        Change::MachinePresence { id, active, at } => step(
            &MACHINE_PRESENCE,
            [owner(), text(&id), active.into(), at.into()],
        ),
        Change::ArtifactCreated(artifact) => artifact_created(account, &artifact),
        Change::ArtifactDeleted(id) => step(&ARTIFACT_GONE, [owner(), text(&id)]),
        Change::ArtifactRaised { id, seq } => {
            step(&ARTIFACT_SEQ, [owner(), text(&id), number(seq)])
        }
        Change::Written {
            part,
            value,
            version,
            at,
        } => value_written(account, &part, value.as_deref(), version, at),
        Change::AccessKeyCreated(of, key) => access_key_created(account, &of, &key),
        Change::UsageReported(key, usage) => usage_reported(account, &key, &usage),
        Change::KvWritten(key, entry) => step(
            &KEY_VALUE,
            [
                owner(),
                text(&key),
                optional(entry.value.as_deref()),
                entry.version.into(),
            ],
        ),
        Change::Related(other, status) => step(
            &RELATION,
            [owner(), text(&other), text(&status_name(status))],
        ),
        Change::FeedPosted(item) => feed_posted(account, &item),
        Change::FeedForgotten(id) => step(&FEED_ITEM_GONE, [text(&id)]),
        Change::PushTokenAdded(token) => push_token_added(account, &token),
        Change::PushTokenRemoved(token) => step(&PUSH_TOKEN_GONE, [owner(), text(&token)]),
        Change::PairingChanged(key, pairing) => pairing_changed(&key, &pairing),
        Change::PairingForgotten(key) => step(&PAIRING_GONE, [public_key(&key)]),
    };
    vec![written]
}

fn account_created(account: &str, new: &NewAccount) -> Step {
    let columns = [
        text(account),
        public_key(&new.key),
        text(&new.token),
        number(0),
        number(0),
        new.created_at.into(),
    ];
    step(&ACCOUNT, columns)
}

fn session_created(account: &str, session: &Session) -> Step {
    let [metadata, metadata_version] = versioned(&session.metadata);
    let [state, state_version] = versioned(&session.agent_state);
    let columns = [
        text(&session.id),
        text(account),
        text(&session.tag),
        session.active.into(),
        session.ended.into(),
        session.active_at.into(),
        session.created_at.into(),
        session.updated_at.into(),
        optional(session.data_encryption_key.as_deref()),
        metadata,
        metadata_version,
        state,
        state_version,
    ];
    step(&SESSION, columns)
}

fn session_deleted(account: &str, id: &str) -> Vec<Step> {
    vec![
        step(&SESSION_GONE, [text(id)]),
        step(&MESSAGES_GONE, [text(id)]),
        step(&ACCESS_KEYS_GONE, [text(id), text(account)]),
        step(&USAGE_GONE, [text(id)]),
    ]
}

fn message_posted(session: &str, message: &MessageRow) -> Step {
    let columns = [
        text(session),
        number(message.seq),
        text(&message.id),
        optional(message.local_id.as_deref()),
        text(&message.content.to_string()),
        message.created_at.into(),
        message.updated_at.into(),
    ];
    step(&MESSAGE, columns)
}

fn machine_created(account: &str, machine: &Machine) -> Step {
    let [metadata, metadata_version] = versioned(&machine.metadata);
    let [state, state_version] = versioned(&machine.daemon_state);
    let columns = [
        text(account),
        text(&machine.id),
        machine.active.into(),
        machine.active_at.into(),
        machine.created_at.into(),
        machine.updated_at.into(),
        optional(machine.data_encryption_key.as_deref()),
        metadata,
        metadata_version,
        state,
        state_version,
    ];
    step(&MACHINE, columns)
}

fn artifact_created(account: &str, artifact: &Artifact) -> Step {
    let [header, header_version] = versioned(&artifact.header);
    let [body, body_version] = versioned(&artifact.body);
    let columns = [
        text(account),
        text(&artifact.id),
        number(artifact.seq),
        artifact.created_at.into(),
        artifact.updated_at.into(),
        text(&artifact.data_encryption_key),
        header,
        header_version,
        body,
        body_version,
    ];
    step(&ARTIFACT, columns)
}

fn access_key_created(account: &str, (session, machine): &Pair, key: &AccessKey) -> Step {
    let [data, version] = versioned(&key.data);
    let columns = [
        text(session),
        text(account),
        text(machine),
        data,
        version,
        key.created_at.into(),
        key.updated_at.into(),
    ];
    step(&ACCESS_KEY, columns)
}

fn usage_reported(account: &str, key: &str, usage: &Usage) -> Step {
    let columns = [
        text(&usage.id),
        text(account),
        optional(usage.session_id.as_deref()),
        text(key),
        text(&usage.tokens.to_string()),
        text(&usage.cost.to_string()),
        usage.created_at.into(),
        usage.updated_at.into(),
    ];
    step(&USAGE, columns)
}

fn feed_posted(account: &str, item: &FeedItem) -> Step {
    let columns = [
        text(&item.id),
        text(account),
        number(item.number),
        text(&item.body.to_string()),
        text(&item.repeat_key),
        item.created_at.into(),
    ];
    step(&FEED_ITEM, columns)
}

fn push_token_added(account: &str, token: &PushToken) -> Step {
    let columns = [
        text(account),
        text(&token.id),
        text(&token.token),
        token.created_at.into(),
    ];
    step(&PUSH_TOKEN, columns)
}

fn pairing_changed(key: &PublicKey, pairing: &Pairing) -> Step {
    let response = pairing.response.as_ref();
    let columns = [
        public_key(key),
        pairing.supports_v2.into(),
        pairing.requested_at.into(),
        optional(response.map(|(response, _)| response.as_str())),
        optional(response.map(|(_, by)| by.as_str())),
    ];
    step(&PAIRING, columns)
}

/// A versioned value was written.
fn value_written(account: &str, part: &Part, value: Option<&str>, version: u64, at: i64) -> Step {
    let owner = || text(account);
    let (operation, mut values) = match part {
        Part::SessionMetadata(id) => (&SESSION_METADATA, vec![text(id)]),
        Part::SessionState(id) => (&SESSION_STATE, vec![text(id)]),
        Part::MachineMetadata(id) => (&MACHINE_METADATA, vec![owner(), text(id)]),
        Part::MachineState(id) => (&MACHINE_STATE, vec![owner(), text(id)]),
        Part::ArtifactHeader(id) => (&ARTIFACT_HEADER, vec![owner(), text(id)]),
        Part::ArtifactBody(id) => (&ARTIFACT_BODY, vec![owner(), text(id)]),
        Part::AccessKey((session, machine)) => (
            &ACCESS_KEY_DATA,
            vec![text(session), owner(), text(machine)],
        ),
        Part::Settings => (&SETTINGS, vec![owner()]),
    };
    values.extend([optional(value), number(version)]);
    // Settings have no time.
    if !matches!(part, Part::Settings) {
        values.push(at.into());
    }
    Step { operation, values }
}

fn step<const N: usize>(operation: &'static Operation, values: [Value; N]) -> Step {
    let values = values.into();
    Step { operation, values }
}

fn text(text: &str) -> Value {
    optional(Some(text))
}

fn optional(text: Option<&str>) -> Value {
    Value::Text(text.map(|text| escaped(text).into_owned()))
}

fn number(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

fn public_key(key: &PublicKey) -> Value {
    text(&STANDARD.encode(key))
}

fn versioned(cell: &Cell) -> [Value; 2] {
    [optional(cell.value()), number(cell.version())]
}

/// The name of a status on the wire.
fn status_name(status: RelationshipStatus) -> String {
    let name = json!(status);
    name.as_str().unwrap_or_default().to_owned()
}
