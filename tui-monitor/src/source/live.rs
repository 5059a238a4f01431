//! Live connections to a server, as a user and, on request, as sessions and machines.
//!
//! Each connection has a task that connects, reads and, after a loss, connects again; what was
//! missed meanwhile is shown as a gap. Nothing is sent but CONNECT.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use touchstone_client::{
    ConnectError, ConnectOptions, End, Secret, connect,
    provision::{ProvisionError, Rest},
};
use touchstone_output::text::{display_url, error_chain};

use super::{
    Backoff, Options, Origin, Post, SIGHTINGS, Sighting, Source, TOOL, What, channel, gap,
};
use crate::event::{Direction, Scope, SourceState};

/// How many characters of an id a label shows.
const LABEL: usize = 8;

/// Whom to watch.
#[derive(Debug, Clone)]
pub struct Live {
    /// The server; auth and tap are set here.
    pub server: ConnectOptions,
    /// The accounts.
    pub accounts: Vec<Watched>,
    /// What whoever watches has to know of this, each a sentence: it stands before everything else.
    pub notes: Vec<String>,
}

/// An account that is watched: always as a user, and as these sessions and machines.
#[derive(Debug, Clone)]
pub struct Watched {
    /// Its token.
    pub token: Secret,
    /// Sessions to watch as. This shows presence to others on some servers.
    pub sessions: Vec<String>,
    /// Machines to watch as. Others see the machine come and go.
    pub machines: Vec<String>,
}

impl Watched {
    /// An account that is watched as a user only, without side effects.
    pub fn user(token: Secret) -> Self {
        Self {
            token,
            sessions: Vec::new(),
            machines: Vec::new(),
        }
    }

    /// Adds every session that the REST surface lists for the account, and on request every machine.
    ///
    /// # Errors
    /// The server has no such lists, or does not answer.
    pub async fn find_all(&mut self, rest: &Rest, machines: bool) -> Result<(), ProvisionError> {
        let sessions = list(rest, &self.token, "/v1/sessions").await?;
        self.sessions.extend(ids(&sessions["sessions"]));
        if machines {
            let machines = list(rest, &self.token, "/v1/machines").await?;
            self.machines.extend(ids(&machines));
        }
        for ids in [&mut self.sessions, &mut self.machines] {
            ids.sort();
            ids.dedup();
        }
        Ok(())
    }
}

async fn list(rest: &Rest, token: &Secret, path: &str) -> Result<Value, ProvisionError> {
    let answer = rest.request("GET", path, Some(token), None).await?;
    match answer.status {
        200 => Ok(answer.body),
        status => Err(ProvisionError::Unsupported {
            what: format!("GET {path}"),
            reason: format!("it answered HTTP {status}"),
        }),
    }
}

fn ids(list: &Value) -> Vec<String> {
    let records = list.as_array().map_or(&[][..], Vec::as_slice);
    let ids = records.iter().filter_map(|record| record["id"].as_str());
    ids.map(str::to_owned).collect()
}

/// Begins to watch. The source ends when every connection is refused or could not be made at first;
/// those that were open once are tried again for ever.
pub fn start(live: Live, options: &Options) -> Source {
    let (outlet, source) = channel(options);
    let target = display_url(&live.server.url);
    let mut post = Post::new(options, outlet, TOOL, &target);
    let options = options.clone();
    tokio::spawn(async move {
        post.begin(&options).await;
        for note in &live.notes {
            post.see(Sighting {
                at: Instant::now(),
                origin: Origin::none(),
                what: What::Note(note.clone()),
            })
            .await;
        }
        let (tell, mut told) = mpsc::channel(SIGHTINGS);
        for (seed, watcher) in (options.seed..).zip(watchers(&live)) {
            let (stop, tell) = (post.outlet.stop.clone(), tell.clone());
            tokio::spawn(stop.run_until_cancelled_owned(watcher.run(tell, seed)));
        }
        drop(tell);
        let mut reason = "no connection was asked for".to_owned();
        loop {
            tokio::select! {
                news = told.recv() => match news {
                    Some(News::Saw(sighting)) => post.see(*sighting).await,
                    Some(News::State(state)) => {
                        if let SourceState::Closed { reason: why, .. } = &state {
                            reason.clone_from(why);
                        }
                        post.outlet.state(state).await;
                    }
                    None => break,
                },
                goes_on = post.idle() => if !goes_on {
                    break;
                },
            }
        }
        post.end(reason).await;
    });
    source
}

/// What a connection's task tells.
enum News {
    Saw(Box<Sighting>),
    State(SourceState),
}

/// One connection, over and over.
struct Watcher {
    server: ConnectOptions,
    /// The auth as a recording shows it.
    shown: Value,
    origin: Origin,
}

fn watchers(live: &Live) -> impl Iterator<Item = Watcher> + '_ {
    live.accounts
        .iter()
        .zip(1..)
        .flat_map(move |(account, number)| {
            let sessions = account
                .sessions
                .iter()
                .map(|id| Scope::Session(id.as_str().into()));
            let machines = account
                .machines
                .iter()
                .map(|id| Scope::Machine(id.as_str().into()));
            let scopes = std::iter::once(Scope::User).chain(sessions).chain(machines);
            scopes.map(move |scope| Watcher::new(&live.server, account, number, scope))
        })
}

impl Watcher {
    fn new(server: &ConnectOptions, watched: &Watched, number: usize, scope: Scope) -> Self {
        let account = format!("a{number}");
        let mut auth = json!({"token": watched.token.expose(), "clientType": "user-scoped"});
        let conn = match &scope {
            Scope::None | Scope::User => format!("{account}/user"),
            Scope::Session(id) => {
                auth["clientType"] = json!("session-scoped");
                auth["sessionId"] = json!(&**id);
                format!("{account}/s:{}", shortened(id))
            }
            Scope::Machine(id) => {
                auth["clientType"] = json!("machine-scoped");
                auth["machineId"] = json!(&**id);
                format!("{account}/m:{}", shortened(id))
            }
        };
        let mut shown = auth.clone();
        shown["token"] = json!(format!("{account}…"));
        Self {
            server: server.clone().auth(auth),
            shown,
            origin: Origin {
                account: account.into(),
                conn: conn.into(),
                scope,
            },
        }
    }

    /// Fails when nobody listens any more.
    async fn run(self, tell: mpsc::Sender<News>, seed: u64) {
        // The source is gone then, and with it the reason to go on.
        let _ = self.watch(&tell, seed).await;
    }

    async fn watch(&self, tell: &mpsc::Sender<News>, seed: u64) -> Result<(), Gone> {
        let mut backoff = Backoff::new(seed);
        let mut lost: Option<Instant> = None;
        loop {
            let (conn, scope) = (self.conn(), self.origin.scope.clone());
            let connecting = SourceState::Connecting {
                conn: Arc::clone(&conn),
                scope: scope.clone(),
            };
            tell.send(News::State(connecting)).await.map_err(|_| Gone)?;
            self.saw(tell, Instant::now(), What::Connect(self.shown.clone()))
                .await?;
            let reason = match connect(&self.server).await {
                Ok((_socket, mut events)) => {
                    let connected = SourceState::Connected { conn, scope };
                    tell.send(News::State(connected)).await.map_err(|_| Gone)?;
                    let now = Instant::now();
                    let as_what = format!("{} {}", self.server.url, self.origin.scope.as_str());
                    self.saw(tell, now, What::Connection("connected", as_what))
                        .await?;
                    if let Some(since) = lost {
                        let text = gap(&self.origin.conn, now - since);
                        self.saw(tell, now, What::Gap(text)).await?;
                    }
                    let (end, refusal) = self.read(tell, &mut events).await?;
                    backoff.ended(now.elapsed());
                    let word = if refusal.is_some() { "refused" } else { "lost" };
                    let text = refusal.clone().unwrap_or_else(|| end.to_string());
                    lost = Some(Instant::now());
                    self.saw(tell, Instant::now(), What::Connection(word, text))
                        .await?;
                    if let Some(reason) = refusal {
                        return self.close(tell, reason).await;
                    }
                    end.to_string()
                }
                Err(error) => {
                    let reason = error_chain(&error);
                    let refused = matches!(error, ConnectError::Refused { .. });
                    if refused || lost.is_none() {
                        let word = if refused { "refused" } else { "failed" };
                        let what = What::Connection(word, reason.clone());
                        self.saw(tell, Instant::now(), what).await?;
                        return self.close(tell, reason).await;
                    }
                    reason
                }
            };
            let (attempt, wait) = backoff.next();
            let reconnecting = SourceState::Reconnecting {
                conn: self.conn(),
                reason,
                attempt,
                in_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            };
            tell.send(News::State(reconnecting))
                .await
                .map_err(|_| Gone)?;
            sleep(wait).await;
        }
    }

    /// Reads until the end. Servers of this family may refuse a connection by an `error` event and a
    /// disconnect; then the second part is its message.
    async fn read(
        &self,
        tell: &mpsc::Sender<News>,
        events: &mut touchstone_client::Events,
    ) -> Result<(End, Option<String>), Gone> {
        let mut refusal = None;
        let opened = Instant::now();
        loop {
            match events.recv().await {
                Ok(event) => {
                    let early = event.at.saturating_duration_since(opened) < Duration::from_secs(5);
                    if event.name() == "error" && event.arrival == 0 && early {
                        let data = event.data().unwrap_or_default();
                        refusal = data["message"].as_str().map(str::to_owned);
                    }
                    let what = What::Event {
                        direction: Direction::Received,
                        name: event.name().to_owned(),
                        args: event.args.clone(),
                        ack: event.ack,
                    };
                    self.saw(tell, event.at, what).await?;
                }
                Err(end) => {
                    let refused = end == End::ServerDisconnect;
                    return Ok((end, refusal.filter(|_| refused)));
                }
            }
        }
    }

    async fn saw(&self, tell: &mpsc::Sender<News>, at: Instant, what: What) -> Result<(), Gone> {
        let sighting = Sighting {
            at,
            origin: self.origin.clone(),
            what,
        };
        tell.send(News::Saw(Box::new(sighting)))
            .await
            .map_err(|_| Gone)
    }

    async fn close(&self, tell: &mpsc::Sender<News>, reason: String) -> Result<(), Gone> {
        let conn = self.conn();
        let closed = SourceState::Closed { conn, reason };
        tell.send(News::State(closed)).await.map_err(|_| Gone)
    }

    fn conn(&self) -> Arc<str> {
        Arc::clone(&self.origin.conn)
    }
}

/// Nobody listens any more.
struct Gone;

fn shortened(id: &str) -> String {
    id.chars().take(LABEL).collect()
}
