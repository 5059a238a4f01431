//! What a change writes: the operations on tables, one after the other.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use touchstone_reference_server::builders::RelationshipStatus;
use touchstone_reference_server::seams::{Cell, Change, Part, PublicKey};

use crate::table::{Act, Operation};
use crate::text::escaped;

/// A value of a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Value {
    Text(Option<String>),
    Integer(i64),
    Flag(bool),
}

/// An operation on one row: the values of its keys and columns.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) operation: &'static Operation,
    pub(crate) values: Vec<Value>,
}

macro_rules! operations {
    ($($name:ident = $act:ident $table:literal [$($key:literal),*] [$($column:literal),*];)+) => {$(
        static $name: Operation = Operation {
            table: $table,
            act: Act::$act,
            keys: &[$($key),*],
            columns: &[$($column),*],
        };
    )+};
}

operations! {
    ACCOUNT = Put "accounts" ["id"] ["public_key", "token", "seq", "settings_version", "created_at"];
    ACCOUNT_SEQ = Set "accounts" ["id"] ["seq"];
    SETTINGS = Set "accounts" ["id"] ["settings", "settings_version"];
    SESSION = Put "sessions" ["id"] [
        "account", "tag", "active", "ended", "active_at", "created_at", "updated_at",
        "data_encryption_key", "metadata", "metadata_version", "agent_state", "agent_state_version"
    ];
    SESSION_GONE = Remove "sessions" ["id"] [];
    SESSION_METADATA = Set "sessions" ["id"] ["metadata", "metadata_version", "updated_at"];
    SESSION_STATE = Set "sessions" ["id"] ["agent_state", "agent_state_version", "updated_at"];
    SESSION_PRESENCE = Set "sessions" ["id"] ["active", "ended", "active_at"];
    MESSAGE = Add "messages" ["session"] [
        "seq", "id", "local_id", "content", "created_at", "updated_at"
    ];
    MESSAGES_GONE = Remove "messages" ["session"] [];
    MACHINE = Put "machines" ["account", "#id"] [
        "active", "active_at", "created_at", "updated_at", "data_encryption_key",
        "metadata", "metadata_version", "daemon_state", "daemon_state_version"
    ];
    MACHINE_METADATA = Set "machines" ["account", "#id"] ["metadata", "metadata_version", "updated_at"];
    MACHINE_STATE = Set "machines" ["account", "#id"] [
        "daemon_state", "daemon_state_version", "updated_at"
    ];
    MACHINE_PRESENCE = Set "machines" ["account", "#id"] ["active", "active_at"];
    ARTIFACT = Put "artifacts" ["account", "#id"] [
        "seq", "created_at", "updated_at", "data_encryption_key",
        "header", "header_version", "body", "body_version"
    ];
    ARTIFACT_GONE = Remove "artifacts" ["account", "#id"] [];
    ARTIFACT_HEADER = Set "artifacts" ["account", "#id"] ["header", "header_version", "updated_at"];
    ARTIFACT_BODY = Set "artifacts" ["account", "#id"] ["body", "body_version", "updated_at"];
    ARTIFACT_SEQ = Set "artifacts" ["account", "#id"] ["seq"];
    ACCESS_KEY = Put "access_keys" ["session", "account", "#machine"] [
        "data", "data_version", "created_at", "updated_at"
    ];
    ACCESS_KEY_DATA = Set "access_keys" ["session", "account", "#machine"] [
        "data", "data_version", "updated_at"
    ];
    ACCESS_KEYS_GONE = Remove "access_keys" ["session", "account"] [];
    USAGE = Put "usage_reports" ["id"] [
        "account", "session", "key", "tokens", "cost", "created_at", "updated_at"
    ];
    USAGE_GONE = Remove "usage_reports" ["session"] [];
    KEY_VALUE = Put "key_values" ["account", "#key"] ["value", "version"];
    RELATION = Put "relations" ["account", "other"] ["status"];
    FEED_ITEM = Put "feed" ["id"] ["account", "number", "body", "repeat_key", "created_at"];
    FEED_ITEM_GONE = Remove "feed" ["id"] [];
    PUSH_TOKEN = Add "push_tokens" ["account"] ["id", "token", "created_at"];
    PUSH_TOKEN_GONE = Remove "push_tokens" ["account", "token"] [];
    PAIRING = Put "pairings" ["public_key"] ["supports_v2", "requested_at", "response", "account"];
    PAIRING_GONE = Remove "pairings" ["public_key"] [];
}

/// Says that the latest update of an account has this seq.
pub(crate) fn seq(account: &str, seq: u64) -> Step {
    step(&ACCOUNT_SEQ, [text(account), number(seq)])
}

/// What a change of an account writes.
pub(crate) fn steps(account: &str, change: Change) -> Vec<Step> {
    let owner = || text(account);
    let one = |operation, values: Vec<Value>| vec![Step { operation, values }];
    match change {
        Change::AccountCreated(new) => one(
            &ACCOUNT,
            vec![
                owner(),
                public_key(&new.key),
                text(&new.token),
                number(0),
                number(0),
                Value::Integer(new.created_at),
            ],
        ),
        // They last as long as connections.
        Change::Entered(_)
        | Change::Left(_)
        | Change::Registered { .. }
        | Change::Unregistered { .. } => Vec::new(),
        Change::SessionCreated(session) => {
            let [metadata, metadata_version] = versioned(&session.metadata);
            let [state, state_version] = versioned(&session.agent_state);
            one(
                &SESSION,
                vec![
                    text(&session.id),
                    owner(),
                    text(&session.tag),
                    Value::Flag(session.active),
                    Value::Flag(session.ended),
                    Value::Integer(session.active_at),
                    Value::Integer(session.created_at),
                    Value::Integer(session.updated_at),
                    optional(session.data_encryption_key.as_deref()),
                    metadata,
                    metadata_version,
                    state,
                    state_version,
                ],
            )
        }
        Change::SessionDeleted(id) => vec![
            step(&SESSION_GONE, [text(&id)]),
            step(&MESSAGES_GONE, [text(&id)]),
            step(&ACCESS_KEYS_GONE, [text(&id), owner()]),
            step(&USAGE_GONE, [text(&id)]),
        ],
        Change::MachineCreated(machine) => {
            let [metadata, metadata_version] = versioned(&machine.metadata);
            let [state, state_version] = versioned(&machine.daemon_state);
            one(
                &MACHINE,
                vec![
                    owner(),
                    text(&machine.id),
                    Value::Flag(machine.active),
                    Value::Integer(machine.active_at),
                    Value::Integer(machine.created_at),
                    Value::Integer(machine.updated_at),
                    optional(machine.data_encryption_key.as_deref()),
                    metadata,
                    metadata_version,
                    state,
                    state_version,
                ],
            )
        }
        Change::ArtifactCreated(artifact) => {
            let [header, header_version] = versioned(&artifact.header);
            let [body, body_version] = versioned(&artifact.body);
            one(
                &ARTIFACT,
                vec![
                    owner(),
                    text(&artifact.id),
                    number(artifact.seq),
                    Value::Integer(artifact.created_at),
                    Value::Integer(artifact.updated_at),
                    text(&artifact.data_encryption_key),
                    header,
                    header_version,
                    body,
                    body_version,
                ],
            )
        }
        Change::ArtifactDeleted(id) => one(&ARTIFACT_GONE, vec![owner(), text(&id)]),
        Change::Written {
            part,
            value,
            version,
            at,
        } => vec![written(account, &part, value.as_deref(), version, at)],
        Change::ArtifactRaised { id, seq } => {
            one(&ARTIFACT_SEQ, vec![owner(), text(&id), number(seq)])
        }
        Change::MessagePosted { session, message } => one(
            &MESSAGE,
            vec![
                text(&session),
                number(message.seq),
                text(&message.id),
                optional(message.local_id.as_deref()),
                text(&message.content.to_string()),
                Value::Integer(message.created_at),
                Value::Integer(message.updated_at),
            ],
        ),
        Change::SessionPresence {
            id,
            active,
            ended,
            at,
        } => one(
            &SESSION_PRESENCE,
            vec![
                text(&id),
                Value::Flag(active),
                Value::Flag(ended),
                Value::Integer(at),
            ],
        ),
        Change::MachinePresence { id, active, at } => one(
            &MACHINE_PRESENCE,
            vec![owner(), text(&id), Value::Flag(active), Value::Integer(at)],
        ),
        Change::AccessKeyCreated((session, machine), key) => {
            let [data, version] = versioned(&key.data);
            one(
                &ACCESS_KEY,
                vec![
                    text(&session),
                    owner(),
                    text(&machine),
                    data,
                    version,
                    Value::Integer(key.created_at),
                    Value::Integer(key.updated_at),
                ],
            )
        }
        Change::UsageReported(key, usage) => one(
            &USAGE,
            vec![
                text(&usage.id),
                owner(),
                optional(usage.session_id.as_deref()),
                text(&key),
                text(&usage.tokens.to_string()),
                text(&usage.cost.to_string()),
                Value::Integer(usage.created_at),
                Value::Integer(usage.updated_at),
            ],
        ),
        Change::KvWritten(key, entry) => one(
            &KEY_VALUE,
            vec![
                owner(),
                text(&key),
                optional(entry.value.as_deref()),
                Value::Integer(entry.version),
            ],
        ),
        Change::Related(other, status) => one(
            &RELATION,
            vec![owner(), text(&other), text(&status_name(status))],
        ),
        Change::FeedPosted(item) => one(
            &FEED_ITEM,
            vec![
                text(&item.id),
                owner(),
                number(item.number),
                text(&item.body.to_string()),
                text(&item.repeat_key),
                Value::Integer(item.created_at),
            ],
        ),
        Change::FeedForgotten(id) => one(&FEED_ITEM_GONE, vec![text(&id)]),
        Change::PushTokenAdded(token) => one(
            &PUSH_TOKEN,
            vec![
                owner(),
                text(&token.id),
                text(&token.token),
                Value::Integer(token.created_at),
            ],
        ),
        Change::PushTokenRemoved(token) => one(&PUSH_TOKEN_GONE, vec![owner(), text(&token)]),
        Change::PairingChanged(key, pairing) => {
            let (response, by) = pairing.response.unzip();
            one(
                &PAIRING,
                vec![
                    public_key(&key),
                    Value::Flag(pairing.supports_v2),
                    Value::Integer(pairing.requested_at),
                    optional(response.as_deref()),
                    optional(by.as_deref()),
                ],
            )
        }
        Change::PairingForgotten(key) => one(&PAIRING_GONE, vec![public_key(&key)]),
    }
}

/// A versioned value was written.
fn written(account: &str, part: &Part, value: Option<&str>, version: u64, at: i64) -> Step {
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
        values.push(Value::Integer(at));
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
