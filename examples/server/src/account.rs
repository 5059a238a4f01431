//! Accounts: who is connected, who receives what, and the order of changes and events.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use rand::RngExt as _;
use serde_json::{Value, json};
use socketioxide::AckError;
use socketioxide::socket::Sid;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Sqlite, SqlitePool, Transaction};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::Options;
use crate::answer::Answer;
use crate::sql::{int, sql};

/// What the whole server shares.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) pool: SqlitePool,
    pub(crate) options: Arc<Options>,
    accounts: Arc<Mutex<HashMap<String, Account>>>,
}

/// An account and its connections. Whoever holds their lock may change rows and send events.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) id: Arc<str>,
    connections: Arc<AsyncMutex<Connections>>,
}

#[derive(Default)]
pub(crate) struct Connections {
    pub(crate) all: HashMap<Sid, Connection>,
    /// Who has registered an RPC method; the last one owns it.
    pub(crate) methods: HashMap<String, Vec<Sid>>,
}

/// What a connection is allowed to see.
#[derive(Clone, PartialEq)]
pub(crate) enum Scope {
    User,
    Session(String),
    Machine(String),
}

/// How others reach a connection.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) scope: Scope,
    pub(crate) outbox: mpsc::Sender<Outgoing>,
    /// Ends the connection, and is cancelled when it has ended.
    pub(crate) end: CancellationToken,
}

/// A connection, as its own events see it.
pub(crate) struct Link {
    pub(crate) sid: Sid,
    pub(crate) account: Account,
    pub(crate) connection: Connection,
    /// Taken when CONNECT has been answered.
    pub(crate) receivers: Mutex<Option<(mpsc::Receiver<Call>, mpsc::Receiver<Outgoing>)>>,
}

/// An event, its data and where it is answered; nothing when the client has left.
pub(crate) type Call = Option<(String, Value, Answer)>;

/// What waits to be sent to a connection, in this order.
pub(crate) enum Outgoing {
    Event(&'static str, Arc<Value>),
    Answer(Answer, Value),
    Request(Value, oneshot::Sender<Result<Value, AckError>>),
}

/// Who receives an event.
pub(crate) enum Audience {
    Users,
    /// All that are interested in a session, except the sender of the event.
    Session(String, Option<Sid>),
    Machine(String),
}

impl Audience {
    fn includes(&self, sid: Sid, scope: &Scope) -> bool {
        match (self, scope) {
            (Self::Session(_, Some(sender)), _) if *sender == sid => false,
            (_, Scope::User) => true,
            (Self::Session(id, _), Scope::Session(own)) => own == id,
            (Self::Machine(id), Scope::Machine(own)) => own == id,
            _ => false,
        }
    }
}

impl Connections {
    /// Queues an event for all that are to receive it. A connection whose queue is full is ended: it
    /// misses this event, and must not believe that it has seen everything.
    fn send(&mut self, audience: &Audience, event: &'static str, data: Value) {
        let data = Arc::new(data);
        self.all.retain(|sid, connection| {
            if !audience.includes(*sid, &connection.scope) {
                return true;
            }
            let queued = connection.outbox.try_send(Outgoing::Event(event, Arc::clone(&data)));
            if queued.is_err() {
                connection.end.cancel();
            }
            queued.is_ok()
        });
    }
}

impl App {
    pub(crate) fn new(pool: SqlitePool, options: Options) -> Self {
        Self { pool, options: Arc::new(options), accounts: Arc::default() }
    }

    pub(crate) fn account(&self, id: &str) -> Account {
        let mut accounts = self.accounts.lock().expect("nobody panics with it");
        let new = || Account { id: id.into(), connections: Arc::default() };
        accounts.entry(id.to_owned()).or_insert_with(new).clone()
    }

    /// The account that a token belongs to.
    pub(crate) async fn signed_in(&self, token: &str) -> sqlx::Result<Option<Account>> {
        let found = sql!(&self.pool, "SELECT account FROM tokens WHERE token = ?", token).await?;
        Ok(found.first().and_then(|row| row["account"].as_str()).map(|id| self.account(id)))
    }

    /// Begins a change. Until it is committed or dropped, nobody else changes this account or sends
    /// events in it.
    pub(crate) async fn change(&self, account: &Account) -> sqlx::Result<Change> {
        let connections = account.connections().await;
        let db = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let (account, events) = (Arc::clone(&account.id), Vec::new());
        Ok(Change { db, connections, account, events, now: now() })
    }
}

impl Account {
    pub(crate) async fn connections(&self) -> OwnedMutexGuard<Connections> {
        Arc::clone(&self.connections).lock_owned().await
    }
}

/// A transaction, and the events that are sent when it is committed.
pub(crate) struct Change {
    db: Transaction<'static, Sqlite>,
    connections: OwnedMutexGuard<Connections>,
    account: Arc<str>,
    events: Vec<(Audience, &'static str, Value)>,
    pub(crate) now: i64,
}

impl Change {
    pub(crate) fn db(&mut self) -> &mut SqliteConnection {
        &mut self.db
    }

    /// An event that has a number, and tells a change of a row.
    pub(crate) async fn update(
        &mut self,
        audience: Audience,
        kind: &str,
        mut body: Value,
    ) -> sqlx::Result<()> {
        let next = "UPDATE accounts SET seq = seq + 1 WHERE id = ? RETURNING seq";
        let row = sql!(&mut *self.db, next, &*self.account).await?.pop().unwrap_or_default();
        body["t"] = json!(kind);
        let seq = int(&row["seq"]);
        let update = json!({"id": id(), "seq": seq, "body": body, "createdAt": self.now});
        self.events.push((audience, "update", update));
        Ok(())
    }

    /// An event for those who are connected now.
    pub(crate) fn ephemeral(&mut self, audience: Audience, data: Value) {
        self.events.push((audience, "ephemeral", data));
    }

    /// Stores the change, and sends its events before anybody else can change something.
    pub(crate) async fn commit(mut self) -> sqlx::Result<()> {
        self.db.commit().await?;
        for (audience, event, data) in self.events {
            self.connections.send(&audience, event, data);
        }
        Ok(())
    }
}

pub(crate) fn id() -> String {
    format!("{:032x}", rand::rng().random::<u128>())
}

/// Unix milliseconds.
pub(crate) fn now() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
