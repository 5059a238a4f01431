//! One account with many connections: a sender, and receivers that prove what they received.
//!
//! A burst counts as delivered only when every receiver has every event of it, in the order in
//! which they were sent. Receivers look at the message number and at the update's `seq`; anything
//! missing, doubled or out of order ends the measurement, because it would measure nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;
use touchstone_client::provision::{NewSession, Rest};
use touchstone_client::{Args, ConnectOptions, Events, Secret, Socket, connect};
use url::Url;

/// How many connections are opened at a time.
const DIALS: usize = 64;
/// The longest that a burst may take to reach everyone.
const PATIENCE: Duration = Duration::from_secs(60);

/// An account of a server and a session of it.
#[derive(Debug, Clone)]
pub struct Account {
    url: Url,
    token: Secret,
    session: String,
}

/// A sender and its receivers, all user-scoped.
#[derive(Debug)]
pub struct Fleet {
    sender: Socket,
    session: String,
    filler: String,
    sent: u64,
    receivers: u64,
    progress: Arc<Progress>,
    /// The receiving tasks; they end with the fleet.
    _tasks: JoinSet<()>,
}

/// What the receivers tell the sender.
#[derive(Debug, Default)]
struct Progress {
    /// Events that all receivers have received in right order, together.
    delivered: AtomicU64,
    /// How many make the sender look again.
    wanted: AtomicU64,
    changed: Notify,
    /// The first thing that went wrong.
    fault: Mutex<Option<String>>,
}

impl Account {
    /// Signs in to the server at `url` and makes a session, over the REST surface. The same
    /// `number` gives the same account again.
    ///
    /// # Errors
    /// The server has no such surface, or refused.
    pub async fn provision(url: &Url, number: u8) -> anyhow::Result<Self> {
        let rest = Rest::new(&ConnectOptions::new(url.clone()))?;
        let account = rest.account([number; 32]).await?;
        let new = NewSession {
            tag: "bench".to_owned(),
            ..NewSession::default()
        };
        let session = rest.session(&account, &new).await?;
        Ok(Self {
            url: url.clone(),
            token: account.token,
            session: session.id,
        })
    }

    /// Where its server is.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// What lets a connection in.
    #[must_use]
    pub fn token(&self) -> &Secret {
        &self.token
    }

    /// The id of its session.
    #[must_use]
    pub fn session(&self) -> &str {
        &self.session
    }

    /// One more user-scoped connection of this account, with what it receives.
    ///
    /// # Errors
    /// The server did not let it in.
    pub async fn connect(&self) -> anyhow::Result<(Socket, Events)> {
        self.connect_with(json!({ "token": self.token.expose(), "clientType": "user-scoped" }))
            .await
    }

    /// A connection of this account's session, as an agent has it.
    ///
    /// # Errors
    /// The server did not let it in.
    pub async fn connect_session(&self) -> anyhow::Result<(Socket, Events)> {
        self.connect_with(json!({
            "token": self.token.expose(),
            "clientType": "session-scoped",
            "sessionId": self.session,
        }))
        .await
    }

    async fn connect_with(&self, auth: Value) -> anyhow::Result<(Socket, Events)> {
        let options = ConnectOptions::new(self.url.clone()).auth(auth);
        connect(&options)
            .await
            .with_context(|| format!("cannot connect to {}", self.url))
    }
}

impl Fleet {
    /// Opens a sender and `receivers` connections, each with a task that receives. Messages are
    /// filled up to `message_bytes`.
    ///
    /// # Errors
    /// One of them could not connect.
    pub async fn connect(
        account: &Account,
        receivers: usize,
        message_bytes: usize,
    ) -> anyhow::Result<Self> {
        let (sender, _) = account.connect().await?;
        let progress = Arc::new(Progress::default());
        let mut dials = stream::iter(0..receivers)
            .map(|_| account.connect())
            .buffer_unordered(DIALS);
        let mut tasks = JoinSet::new();
        while let Some((socket, events)) = dials.try_next().await? {
            tasks.spawn(receive(socket, events, Arc::clone(&progress)));
        }
        Ok(Self {
            sender,
            session: account.session.clone(),
            filler: "x".repeat(message_bytes),
            sent: 0,
            receivers: receivers as u64,
            progress,
            _tasks: tasks,
        })
    }

    /// How many connections receive.
    #[must_use]
    pub fn receivers(&self) -> u64 {
        self.receivers
    }

    /// Sends `count` messages back to back and waits until every receiver has them all, in order.
    ///
    /// # Errors
    /// One was lost, doubled or out of order, a connection ended, or a minute was not enough.
    pub async fn burst(&mut self, count: u64) -> anyhow::Result<()> {
        let wanted = (self.sent + count) * self.receivers;
        self.progress.wanted.store(wanted, Ordering::Release);
        for _ in 0..count {
            let message = self.message();
            self.sender.emit("message", message).await?;
        }
        let arrived = timeout(PATIENCE, self.progress.reached(wanted)).await;
        arrived.with_context(|| {
            let missing = wanted - self.progress.delivered.load(Ordering::Acquire);
            format!(
                "{missing} of {} events had not arrived after {PATIENCE:?}",
                count * self.receivers
            )
        })?
    }

    /// The next message: its number, then what fills it up.
    fn message(&mut self) -> Args {
        let number = format!("{} ", self.sent);
        self.sent += 1;
        let filler = &self.filler[..self.filler.len().saturating_sub(number.len())];
        // Neither ids nor what we fill up with need escaping.
        Args::raw(format!(
            r#"{{"sid":"{}","message":"{number}{filler}"}}"#,
            self.session
        ))
    }
}

impl Progress {
    async fn reached(&self, wanted: u64) -> anyhow::Result<()> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before the look, so that no change falls between the two.
            changed.as_mut().enable();
            if let Some(fault) = self
                .fault
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take()
            {
                bail!("a receiver {fault}");
            }
            if self.delivered.load(Ordering::Acquire) >= wanted {
                return Ok(());
            }
            changed.await;
        }
    }

    fn deliver(&self) {
        let delivered = self.delivered.fetch_add(1, Ordering::AcqRel) + 1;
        if delivered == self.wanted.load(Ordering::Acquire) {
            self.changed.notify_one();
        }
    }

    fn fail(&self, fault: String) {
        self.fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(fault);
        self.changed.notify_one();
    }
}

/// Receives until the fleet is dropped; the socket is kept so that the connection stays.
async fn receive(_socket: Socket, mut events: Events, progress: Arc<Progress>) {
    let mut order = Order::default();
    loop {
        let event = match events.recv().await {
            Ok(event) => event,
            Err(end) => return progress.fail(format!("was disconnected: {end}")),
        };
        match order.check(event.name(), &event.args) {
            Ok(true) => progress.deliver(),
            Ok(false) => {}
            Err(error) => return progress.fail(format!("{error:#}")),
        }
    }
}

/// What a receiver has seen so far.
#[derive(Debug, Default)]
struct Order {
    messages: u64,
    seq: u64,
}

/// The parts of an `update` that are looked at.
#[derive(Deserialize)]
struct Update<'a> {
    seq: u64,
    #[serde(borrow)]
    body: Body<'a>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    message: Option<Message<'a>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Content<'a>,
}

#[derive(Deserialize)]
struct Content<'a> {
    c: &'a str,
}

impl Order {
    /// Whether the event is the next message. Other events are not counted.
    fn check(&mut self, event: &str, args: &Args) -> anyhow::Result<bool> {
        if event != "update" {
            return Ok(false);
        }
        let update: Update<'_> = args.first().context("received a malformed update")?;
        ensure!(
            update.seq > self.seq,
            "received seq {} after {}",
            update.seq,
            self.seq
        );
        self.seq = update.seq;
        let Some(message) = update.body.message else {
            return Ok(false);
        };
        let number = message.content.c.split(' ').next().unwrap_or_default();
        let expected = self.messages;
        ensure!(
            number.parse() == Ok(expected),
            "received message {number:?} where {expected} was due"
        );
        self.messages += 1;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use touchstone_reference_faults::Faults;
    use touchstone_reference_server::Config;

    use super::*;
    use crate::embedded;

    fn update(seq: u64, message: &str) -> (&'static str, Args) {
        let body = json!({ "t": "new-message", "message": { "content": { "c": message } } });
        ("update", json!({ "seq": seq, "body": body }).into())
    }

    /// Feeds a receiver, which must count so many messages or find this fault.
    #[track_caller]
    fn check(events: &[(&str, Args)], expected: Result<usize, &str>) {
        let mut order = Order::default();
        let seen: anyhow::Result<Vec<bool>> = events
            .iter()
            .map(|(name, args)| order.check(name, args))
            .collect();
        match (seen, expected) {
            (Ok(seen), Ok(count)) => assert_eq!(seen.iter().filter(|&&is| is).count(), count),
            (Err(error), Err(part)) => assert!(format!("{error:#}").contains(part), "{error:#}"),
            (seen, expected) => panic!("got {seen:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn a_receiver_minds_number_and_seq() {
        let other = || {
            (
                "update",
                json!({ "seq": 2, "body": { "t": "new-machine" } }).into(),
            )
        };
        let ephemeral = || ("ephemeral", json!({ "type": "activity" }).into());
        check(&[], Ok(0));
        check(&[update(1, "0 xx"), update(2, "1 xx")], Ok(2));
        check(&[update(4, "0"), update(9, "1")], Ok(2));
        check(
            &[update(1, "0 xx"), other(), ephemeral(), update(3, "1 xx")],
            Ok(2),
        );
        check(
            &[update(1, "0 xx"), update(1, "0 xx")],
            Err("seq 1 after 1"),
        );
        check(
            &[update(2, "0 xx"), update(1, "1 xx")],
            Err("seq 1 after 2"),
        );
        check(
            &[update(1, "0 xx"), update(2, "0 xx")],
            Err("message \"0\" where 1 was due"),
        );
        check(&[update(1, "1 xx")], Err("message \"1\" where 0 was due"));
        check(&[update(1, "xx")], Err("message \"xx\" where 0 was due"));
        check(
            &[("update", json!({ "seq": "one" }).into())],
            Err("malformed update"),
        );
        check(&[("update", ().into())], Err("malformed update"));
    }

    /// Sends two bursts through a server with these faults.
    async fn bursts(faults: &[&str]) -> anyhow::Result<()> {
        let faults = Faults::parse(faults.iter().copied())?;
        let url = embedded::start(faults.applied_to(Config::default())).await?;
        let account = Account::provision(&url, 0).await?;
        let mut fleet = Fleet::connect(&account, 5, 100).await?;
        fleet.burst(1).await?;
        fleet.burst(20).await
    }

    #[tokio::test]
    async fn everything_arrives_in_order() {
        bursts(&[]).await.unwrap();
    }

    #[tokio::test]
    async fn a_server_that_loses_doubles_or_reorders_is_found_out() {
        for fault in ["lost-update=7", "dup-update=7", "late-update=7"] {
            let error = bursts(&[fault]).await.expect_err(fault);
            assert!(
                format!("{error:#}").contains("a receiver received"),
                "{fault}: {error:#}"
            );
        }
    }
}
