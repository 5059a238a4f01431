//! The requirements of the suite's ledger that a history can break.

use touchstone_fixtures::Level;

/// A requirement, as a rule names it. Its text stands in the ledger.
#[derive(Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The id in the ledger.
    pub id: &'static str,
    /// How binding it is, as there.
    pub level: Level,
}

macro_rules! requirements {
    ($($name:ident = $level:ident $id:literal;)*) => {
        $(pub(crate) static $name: Requirement = Requirement { id: $id, level: Level::$level };)*
        /// All of them.
        pub static REQUIREMENTS: &[&Requirement] = &[$(&$name),*];
    };
}

requirements! {
    METADATA_ANSWER = Must "session.update-metadata.answer";
    METADATA_STALE = Must "session.update-metadata.stale";
    METADATA_CURRENT = Must "session.update-metadata.mismatch-returns-current";
    METADATA_WINNER = Must "session.update-metadata.one-winner";
    STATE_ANSWER = Must "session.update-state.answer";
    STATE_STALE = Must "session.update-state.stale";
    STATE_CURRENT = Must "session.update-state.mismatch-returns-current";
    STATE_WINNER = Must "session.update-state.one-winner";
    SESSION_STEP = Should "session.version-step";
    SESSION_LOSERS = Should "session.race-losers";
    SESSION_SILENT = Must "session.silent-mismatch";
    SESSION_BODY = Must "update-session.body";
    SESSION_READ = Should "rest.session.listed";
    MACHINE_METADATA_ANSWER = Must "machine.update-metadata.answer";
    MACHINE_METADATA_STALE = Must "machine.update-metadata.stale";
    MACHINE_METADATA_CURRENT = Must "machine.update-metadata.mismatch-returns-current";
    MACHINE_METADATA_WINNER = Must "machine.update-metadata.one-winner";
    MACHINE_STATE_ANSWER = Must "machine.update-state.answer";
    MACHINE_STATE_STALE = Must "machine.update-state.stale";
    MACHINE_STATE_CURRENT = Must "machine.update-state.mismatch-returns-current";
    MACHINE_STATE_WINNER = Must "machine.update-state.one-winner";
    MACHINE_STEP = Should "machine.version-step";
    MACHINE_LOSERS = Should "machine.race-losers";
    MACHINE_SILENT = Must "machine.silent-mismatch";
    MACHINE_BODY = Must "update-machine.body";
    MACHINE_READ = Should "rest.machine.listed";
    ARTIFACT_ANSWER = Must "artifact.update.answer";
    ARTIFACT_STALE = Must "artifact.update.stale";
    ARTIFACT_CURRENT = Must "artifact.update.mismatch-returns-current";
    ARTIFACT_WINNER = Must "artifact.update.one-winner";
    ARTIFACT_STEP = Should "artifact.update.version-step";
    ARTIFACT_LOSERS = Should "artifact.update.race-losers";
    ARTIFACT_SILENT = Must "artifact.update.all-or-nothing";
    ARTIFACT_BODY = Must "update-artifact.body";
    ARTIFACT_READ = Must "artifact.read.answer";
    SETTINGS_WRITTEN = Should "rest.settings.written";
    SETTINGS_STALE = Should "rest.settings.stale";
    ACCESS_KEY_CHANGED = Should "rest.access-key.changed";
    ACCESS_KEY_STALE = Should "rest.access-key.stale";
    KV_WRITTEN = Should "rest.kv.written";
    KV_ATOMIC = Should "rest.kv.all-or-nothing";
    KV_READ = Should "rest.kv.read";
    ACCOUNT_BODY = Must "update-account.body";
    MESSAGE_SEQ = Must "message.seq";
    MESSAGE_SEQ_ONCE = Must "message.seq-concurrent";
    MESSAGE_LOCAL_ID = Must "message.local-id";
    MESSAGE_BODY = Must "new-message.body";
    MESSAGE_ORDER = Must "message.order";
    MESSAGE_FOREIGN = Must "message.foreign";
    MESSAGE_SENDER = Must "message.skips-sender";
    MESSAGE_SESSION = Must "message.wrong-session";
    MESSAGE_MACHINES = Should "message.not-machines";
    SESSION_NARROW = Should "session.narrow";
    SESSION_MADE_NARROW = Should "session.created-narrow";
    MACHINE_NARROW = Should "machine.narrow";
    ARTIFACT_NARROW = Should "artifact.narrow";
    KV_NARROW = Should "rest.kv.narrow";
    SETTINGS_NARROW = Should "rest.settings.narrow";
    PRESENCE_NARROW = Should "presence.narrow";
    USAGE_NARROW = Should "usage.narrow";
    NO_DUPLICATE = Must "delivery.no-duplicate";
    NO_LOSS = Must "delivery.no-loss";
    ISOLATED = Must "delivery.isolated";
    ID_UNIQUE = Should "update.id-unique";
    RPC_REQUEST = Must "rpc.call.request";
    RPC_PARAMS = Must "rpc.call.params";
    RPC_ITSELF = Must "rpc.call.never-itself";
    RPC_OWN_RESULT = Must "rpc.call.own-result";
    RPC_RESULTS = Must "rpc.call.results";
    RPC_ACCOUNT = Must "rpc.own-account";
    RPC_UNREGISTERED = Must "rpc.unregister.effect";
    RPC_REGISTERED = Must "rpc.register.answer";
    RPC_UNREGISTERED_TOLD = Must "rpc.unregister.answer";
    RPC_PRIVATE = Should "rpc.register.private";
    RPC_NAMES = Should "rpc.method-names";
    RPC_STRANGER = Should "rpc.unregister.stranger";
    RPC_ALONE = Should "rpc.call.request-alone";
    ENVELOPE = Must "update.envelope";
    ENVELOPE_DETAILS = Should "update.envelope-details";
    EPHEMERAL = Must "ephemeral.envelope";
    ABSENT = Should "update.absent-not-null";
    ABSENT_PARTS = Should "handler.absent-parts";
    NEVER_ANSWERED = Must "handler.never-acknowledged";
    MESSAGE_KEYS = Should "new-message.keys";
    NEW_SESSION = Must "new-session.body";
    NEW_SESSION_KEYS = Should "new-session.keys";
    SESSION_KEYS = Should "update-session.keys";
    SESSION_GONE = Should "delete-session.keys";
    ACCOUNT_KEYS = Should "update-account.keys";
    NEW_MACHINE = Must "new-machine.body";
    NEW_MACHINE_PARTS = Should "new-machine.optional";
    MACHINE_PARTS = Should "update-machine.optional";
    NEW_ARTIFACT = Must "new-artifact.body";
    ARTIFACT_GONE = Must "delete-artifact.body";
    KV_NEWS = Should "rest.kv.recipients";
    KV_BODY = Must "kv-batch-update.body";
    FEED_BODY = Must "new-feed-post.body";
    ACTIVITY_BODY = Must "presence.session-alive-body";
    THINKING = Should "presence.thinking";
    MACHINE_ACTIVITY_BODY = Must "presence.machine-alive-body";
    USAGE_BODY = Must "usage.body";
    ARTIFACT_MADE = Must "artifact.create.answer";
    ARTIFACT_DELETED = Must "artifact.delete.answer";
    ACCESS_KEY = Must "access-key.answer";
    USAGE_ANSWER = Must "usage.answer";
    RPC_ANSWER = Must "rpc.call.answer";
    PING = Must "ping.answer";
    UNKNOWN_ANSWERED = Should "session.unknown-is-answered";
    MACHINE_UNKNOWN = Should "machine.unknown";
    MACHINE_TAKEN = Must "machine.taken-id-own";
    MACHINE_SECOND = Should "rest.machine.second-update";
    ARCHIVED = Should "rest.session.archived";
    ACCESS_KEY_NONE = Must "access-key.none";
    ACCESS_KEY_UNKNOWN = Should "access-key.unknown";
    ACCESS_KEY_PAIR = Should "rest.access-key.pair";
    ACCESS_KEY_FOREIGN = Must "access-key.foreign";
    SAME_TAG = Must "isolation.tags";
    USAGE_KEYS = Must "isolation.usage-keys";
    KV_KEYS = Must "isolation.kv-keys";
    USAGE_SAME = Should "usage.same-report";
    USAGE_OTHER = Should "usage.other-report";
    USAGE_ALONE = Must "usage.without-session";
    USAGE_FOREIGN = Must "usage.foreign";
    ARTIFACT_AGAIN = Must "artifact.create.again";
    RPC_SILENT = Should "rpc.call.silent-callee";
    RPC_CALLABLE = Should "rpc.stays-callable";
    SESSION_FOREIGN = Must "session.foreign-is-untouched";
    ANSWERED_ONCE = Should "handler.acknowledged-once";
    SESSION_MADE = Must "session.created";
    SESSION_DELETED = Must "session.deleted";
    MACHINE_MADE = Must "machine.created";
    ARTIFACT_NEWS = Should "artifact.create.recipients";
    ARTIFACT_END = Should "artifact.delete.recipients";
    USAGE_NEWS = Should "usage.recipients";
    ALIVE = Must "presence.session-alive";
    MACHINE_ALIVE = Must "presence.machine-alive";
    RESTART_KEPT = Should "restart.acknowledged-kept";
    RESTART_NUMBERS = Should "restart.numbers";
    RESTART_LOCAL_IDS = Should "restart.local-ids";
    RESTART_TOKENS = Should "restart.tokens";
    SEQ_RISES = Should "update.seq-increases";
}
