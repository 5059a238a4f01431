//! Reading rows back, as the changes that made them, in an order in which a server can take them.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::TryStreamExt as _;
use serde_json::Value;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};
use touchstone_reference_server::Record;
use touchstone_reference_server::builders::MessageRow;
use touchstone_reference_server::seams::{
    AccessKey, Artifact, Cell, Change, FeedItem, KvEntry, Machine, NewAccount, Pairing, Part,
    PublicKey, PushToken, Session, Usage,
};

use crate::database::{Database, reason};
use crate::text::unescaped;

/// How far the reading is. Messages are what there are many of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Messages that were read.
    pub read: u64,
    /// Messages that there are.
    pub all: u64,
}

/// A table, what is read of it, and what a row stands for.
type Table = (
    &'static str,
    &'static str,
    fn(&mut Fields<'_>) -> Result<Record, sqlx::Error>,
);

const TABLES: &[Table] = &[
    (
        "accounts",
        "SELECT id, seq, public_key, token, created_at, settings, settings_version FROM accounts",
        |row| {
            let (account, seq) = (row.text()?, row.number()?);
            let created = Change::AccountCreated(NewAccount {
                key: row.public_key()?,
                token: row.text()?,
                created_at: row.integer()?,
            });
            let settings = Change::Written {
                part: Part::Settings,
                value: row.optional()?,
                version: row.number()?,
                at: 0,
            };
            Ok(Record {
                account,
                seq,
                changes: vec![created, settings],
            })
        },
    ),
    (
        "sessions",
        "SELECT account, id, tag, CAST(active AS INTEGER), CAST(ended AS INTEGER), active_at, created_at, \
         updated_at, data_encryption_key, metadata, metadata_version, agent_state, agent_state_version \
         FROM sessions ORDER BY created_at",
        |row| {
            let account = row.text()?;
            let session = Session {
                id: row.text()?,
                tag: row.text()?,
                active: row.flag()?,
                ended: row.flag()?,
                active_at: row.integer()?,
                created_at: row.integer()?,
                updated_at: row.integer()?,
                data_encryption_key: row.optional()?,
                metadata: row.cell()?,
                agent_state: row.cell()?,
                messages: Vec::new(),
                local_ids: HashMap::new(),
            };
            Ok(record(account, Change::SessionCreated(Box::new(session))))
        },
    ),
    (
        MESSAGES,
        "SELECT sessions.account, session, messages.id, seq, content, local_id, messages.created_at, \
         messages.updated_at FROM messages JOIN sessions ON sessions.id = session ORDER BY number",
        |row| {
            let (account, session) = (row.text()?, row.text()?);
            let message = MessageRow {
                id: row.text()?,
                seq: row.number()?,
                content: row.json()?,
                local_id: row.optional()?,
                created_at: row.integer()?,
                updated_at: row.integer()?,
            };
            Ok(record(account, Change::MessagePosted { session, message }))
        },
    ),
    (
        "machines",
        "SELECT account, id, CAST(active AS INTEGER), active_at, created_at, updated_at, \
         data_encryption_key, metadata, metadata_version, daemon_state, daemon_state_version FROM machines",
        |row| {
            let account = row.text()?;
            let machine = Machine {
                id: row.text()?,
                active: row.flag()?,
                active_at: row.integer()?,
                created_at: row.integer()?,
                updated_at: row.integer()?,
                data_encryption_key: row.optional()?,
                metadata: row.cell()?,
                daemon_state: row.cell()?,
            };
            Ok(record(account, Change::MachineCreated(Box::new(machine))))
        },
    ),
    (
        "artifacts",
        "SELECT account, id, seq, created_at, updated_at, data_encryption_key, header, header_version, \
         body, body_version FROM artifacts",
        |row| {
            let account = row.text()?;
            let artifact = Artifact {
                id: row.text()?,
                seq: row.number()?,
                created_at: row.integer()?,
                updated_at: row.integer()?,
                data_encryption_key: row.text()?,
                header: row.cell()?,
                body: row.cell()?,
            };
            Ok(record(account, Change::ArtifactCreated(Box::new(artifact))))
        },
    ),
    (
        "access_keys",
        "SELECT account, session, machine, data, data_version, created_at, updated_at FROM access_keys",
        |row| {
            let account = row.text()?;
            let pair = (row.text()?, row.text()?);
            let key = AccessKey {
                data: row.cell()?,
                created_at: row.integer()?,
                updated_at: row.integer()?,
            };
            Ok(record(account, Change::AccessKeyCreated(pair, key)))
        },
    ),
    (
        "usage_reports",
        "SELECT account, key, id, session, tokens, cost, created_at, updated_at FROM usage_reports \
         ORDER BY updated_at",
        |row| {
            let (account, key) = (row.text()?, row.text()?);
            let usage = Usage {
                id: row.text()?,
                session_id: row.optional()?,
                tokens: row.json()?,
                cost: row.json()?,
                created_at: row.integer()?,
                updated_at: row.integer()?,
            };
            Ok(record(account, Change::UsageReported(key, usage)))
        },
    ),
    (
        "key_values",
        "SELECT account, key, value, version FROM key_values",
        |row| {
            let (account, key) = (row.text()?, row.text()?);
            let entry = KvEntry {
                value: row.optional()?,
                version: row.integer()?,
            };
            Ok(record(account, Change::KvWritten(key, entry)))
        },
    ),
    (
        "relations",
        "SELECT account, other, status FROM relations",
        |row| {
            let (account, other, status) = (row.text()?, row.text()?, row.text()?);
            let status = serde_json::from_value(Value::String(status)).map_err(undecodable)?;
            Ok(record(account, Change::Related(other, status)))
        },
    ),
    (
        "feed",
        "SELECT account, id, number, body, repeat_key, created_at FROM feed ORDER BY number",
        |row| {
            let account = row.text()?;
            let item = FeedItem {
                id: row.text()?,
                number: row.number()?,
                body: row.json()?,
                repeat_key: row.text()?,
                created_at: row.integer()?,
            };
            Ok(record(account, Change::FeedPosted(item)))
        },
    ),
    (
        "push_tokens",
        "SELECT account, id, token, created_at FROM push_tokens ORDER BY number",
        |row| {
            let account = row.text()?;
            let token = PushToken {
                id: row.text()?,
                token: row.text()?,
                created_at: row.integer()?,
            };
            Ok(record(account, Change::PushTokenAdded(token)))
        },
    ),
    (
        "pairings",
        "SELECT public_key, CAST(supports_v2 AS INTEGER), requested_at, response, account FROM pairings \
         ORDER BY requested_at",
        |row| {
            let key = row.public_key()?;
            let pairing = Pairing {
                supports_v2: row.flag()?,
                requested_at: row.integer()?,
                response: row.optional()?.zip(row.optional()?),
            };
            Ok(record(String::new(), Change::PairingChanged(key, pairing)))
        },
    ),
];

const MESSAGES: &str = "messages";

impl Database {
    /// Reads everything back, once, before anything is written.
    ///
    /// # Errors
    /// When a row cannot be read or is not what it should be, with its table.
    pub async fn read(
        &mut self,
        mut each: impl FnMut(Record),
        mut progress: impl FnMut(Progress),
    ) -> Result<(), String> {
        let failed = |table: &str, error: &sqlx::Error| {
            format!(
                "cannot read {table} of {}: {}",
                self.location,
                reason(error)
            )
        };
        let all = sqlx::query_scalar("SELECT COUNT(*) FROM messages")
            .fetch_one(&mut self.connection)
            .await
            .map(|count: i64| u64::try_from(count).unwrap_or(0))
            .map_err(|error| failed(MESSAGES, &error))?;
        let mut read = 0;
        for (table, sql, record) in TABLES {
            let mut each = |row: &AnyRow| {
                each(record(&mut Fields { row, place: 0 })?);
                if *table == MESSAGES {
                    read += 1;
                    progress(Progress { read, all });
                }
                Ok(())
            };
            every_row(&mut self.connection, sql, &mut each)
                .await
                .map_err(|error| failed(table, &error))?;
        }
        Ok(())
    }
}

async fn every_row(
    connection: &mut AnyConnection,
    sql: &'static str,
    each: &mut impl FnMut(&AnyRow) -> Result<(), sqlx::Error>,
) -> Result<(), sqlx::Error> {
    let mut rows = sqlx::query(sql).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        each(&row)?;
    }
    Ok(())
}

fn record(account: String, change: Change) -> Record {
    Record {
        account,
        seq: 0,
        changes: vec![change],
    }
}

fn undecodable(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

/// The values of a row, from the first to the last.
struct Fields<'r> {
    row: &'r AnyRow,
    place: usize,
}

impl<'r> Fields<'r> {
    fn next<T: sqlx::Decode<'r, sqlx::Any> + sqlx::Type<sqlx::Any>>(
        &mut self,
    ) -> Result<T, sqlx::Error> {
        self.place += 1;
        self.row.try_get(self.place - 1)
    }

    fn text(&mut self) -> Result<String, sqlx::Error> {
        self.next().map(unescaped)
    }

    fn optional(&mut self) -> Result<Option<String>, sqlx::Error> {
        let text: Option<String> = self.next()?;
        Ok(text.map(unescaped))
    }

    fn integer(&mut self) -> Result<i64, sqlx::Error> {
        self.next()
    }

    fn number(&mut self) -> Result<u64, sqlx::Error> {
        u64::try_from(self.integer()?).map_err(undecodable)
    }

    fn flag(&mut self) -> Result<bool, sqlx::Error> {
        Ok(self.integer()? != 0)
    }

    fn json(&mut self) -> Result<Value, sqlx::Error> {
        serde_json::from_str(&self.text()?).map_err(undecodable)
    }

    fn cell(&mut self) -> Result<Cell, sqlx::Error> {
        Ok(Cell::new(self.optional()?, self.number()?))
    }

    fn public_key(&mut self) -> Result<PublicKey, sqlx::Error> {
        let key = STANDARD.decode(self.text()?).map_err(undecodable)?;
        <[u8; 32]>::try_from(key.as_slice()).map_err(undecodable)
    }
}
