-- Columns have the names that the protocol gives them, so that a row is what a client is sent.
-- What begins with an underscore is not sent.
CREATE TABLE IF NOT EXISTS accounts (
    id TEXT PRIMARY KEY, _publicKey TEXT UNIQUE NOT NULL, seq INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS tokens (token TEXT PRIMARY KEY, account TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY, _account TEXT NOT NULL, _tag TEXT NOT NULL, seq INTEGER NOT NULL DEFAULT 0,
    metadata TEXT NOT NULL, metadataVersion INTEGER NOT NULL DEFAULT 0,
    agentState TEXT, agentStateVersion INTEGER NOT NULL, dataEncryptionKey TEXT,
    active BOOLEAN NOT NULL DEFAULT TRUE, _ended BOOLEAN NOT NULL DEFAULT FALSE,
    activeAt INTEGER NOT NULL, createdAt INTEGER NOT NULL, updatedAt INTEGER NOT NULL,
    UNIQUE (_account, _tag)
);
CREATE TABLE IF NOT EXISTS messages (
    id TEXT PRIMARY KEY, _session TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL, content TEXT NOT NULL, localId TEXT,
    createdAt INTEGER NOT NULL, updatedAt INTEGER NOT NULL,
    UNIQUE (_session, seq), UNIQUE (_session, localId)
);
CREATE TABLE IF NOT EXISTS machines (
    _account TEXT NOT NULL, id TEXT NOT NULL, seq INTEGER NOT NULL DEFAULT 0,
    metadata TEXT NOT NULL, metadataVersion INTEGER NOT NULL DEFAULT 1,
    daemonState TEXT, daemonStateVersion INTEGER NOT NULL, dataEncryptionKey TEXT,
    active BOOLEAN NOT NULL DEFAULT TRUE, activeAt INTEGER NOT NULL,
    createdAt INTEGER NOT NULL, updatedAt INTEGER NOT NULL, PRIMARY KEY (_account, id)
);
CREATE TABLE IF NOT EXISTS artifacts (
    id TEXT PRIMARY KEY, _account TEXT NOT NULL, seq INTEGER NOT NULL DEFAULT 0,
    header TEXT NOT NULL, headerVersion INTEGER NOT NULL DEFAULT 1,
    body TEXT NOT NULL, bodyVersion INTEGER NOT NULL DEFAULT 1,
    dataEncryptionKey TEXT NOT NULL, createdAt INTEGER NOT NULL, updatedAt INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS accessKeys (
    _account TEXT NOT NULL, _session TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    _machine TEXT NOT NULL, data TEXT NOT NULL, dataVersion INTEGER NOT NULL DEFAULT 1,
    createdAt INTEGER NOT NULL, updatedAt INTEGER NOT NULL, PRIMARY KEY (_session, _machine)
);
CREATE TABLE IF NOT EXISTS usageReports (
    id TEXT PRIMARY KEY, _account TEXT NOT NULL, _session TEXT NOT NULL, key TEXT NOT NULL,
    tokens TEXT NOT NULL, cost TEXT NOT NULL, createdAt INTEGER NOT NULL, updatedAt INTEGER NOT NULL,
    UNIQUE (_account, _session, key)
);
