-- The rows of the reference server, one table for each kind. Times are Unix milliseconds. What clients
-- sent is kept as they sent it, except that a NUL is written as U+F8FE and 0, and U+F8FE twice.

CREATE TABLE accounts (
    id TEXT NOT NULL PRIMARY KEY,
    public_key TEXT NOT NULL,           -- Ed25519, base64
    token TEXT NOT NULL,                -- the bearer token, for good
    seq INTEGER NOT NULL,               -- of the latest update
    settings TEXT,
    settings_version INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE sessions (
    id TEXT NOT NULL PRIMARY KEY,
    account TEXT NOT NULL,
    tag TEXT NOT NULL,
    active INTEGER NOT NULL,
    ended INTEGER NOT NULL,             -- ended or archived: heartbeats do not make it active again
    active_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,        -- when a value was written; messages have times of their own
    data_encryption_key TEXT,
    metadata TEXT,
    metadata_version INTEGER NOT NULL,
    agent_state TEXT,
    agent_state_version INTEGER NOT NULL
) STRICT;

CREATE TABLE messages (
    number INTEGER PRIMARY KEY,         -- in the order in which they came
    session TEXT NOT NULL,
    seq INTEGER NOT NULL,
    id TEXT NOT NULL,
    local_id TEXT,
    content TEXT NOT NULL,              -- JSON
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX messages_of_session ON messages (session, seq);

CREATE TABLE machines (
    account TEXT NOT NULL,
    id TEXT NOT NULL,
    active INTEGER NOT NULL,            -- as of the latest change; after a start no machine is
    active_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    data_encryption_key TEXT,
    metadata TEXT,
    metadata_version INTEGER NOT NULL,
    daemon_state TEXT,
    daemon_state_version INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX machines_key ON machines (account, id);

CREATE TABLE artifacts (
    account TEXT NOT NULL,
    id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    data_encryption_key TEXT NOT NULL,
    header TEXT,
    header_version INTEGER NOT NULL,
    body TEXT,
    body_version INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX artifacts_key ON artifacts (account, id);

CREATE TABLE access_keys (
    session TEXT NOT NULL,
    account TEXT NOT NULL,
    machine TEXT NOT NULL,
    data TEXT,
    data_version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX access_keys_key ON access_keys (session, account, machine);

CREATE TABLE usage_reports (
    id TEXT NOT NULL PRIMARY KEY,
    account TEXT NOT NULL,
    session TEXT,
    key TEXT NOT NULL,
    tokens TEXT NOT NULL,               -- JSON, as cost
    cost TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX usage_reports_of_session ON usage_reports (session);

CREATE TABLE key_values (
    account TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT,                         -- NULL is a deleted key, whose version goes on
    version INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX key_values_key ON key_values (account, key);

CREATE TABLE relations (
    account TEXT NOT NULL,
    other TEXT NOT NULL,
    status TEXT NOT NULL,
    PRIMARY KEY (account, other)
) STRICT;

CREATE TABLE feed (
    id TEXT NOT NULL PRIMARY KEY,
    account TEXT NOT NULL,
    number INTEGER NOT NULL,
    body TEXT NOT NULL,                 -- JSON
    repeat_key TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE push_tokens (
    number INTEGER PRIMARY KEY,         -- in the order in which they came
    account TEXT NOT NULL,
    id TEXT NOT NULL,
    token TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX push_tokens_of_account ON push_tokens (account);

CREATE TABLE pairings (
    public_key TEXT NOT NULL PRIMARY KEY,
    supports_v2 INTEGER NOT NULL,
    requested_at INTEGER NOT NULL,
    response TEXT,                      -- and the account that has answered
    account TEXT
) STRICT;
