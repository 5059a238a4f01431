//! Every operation on a table that a change may need.

use crate::table::{Act, Operation};

macro_rules! operations {
    ($($name:ident = $act:ident $table:literal [$($key:literal),*] [$($column:literal),*];)+) => {$(
        pub(crate) static $name: Operation = Operation {
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
