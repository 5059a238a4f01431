//! Carries out the client side of a recording, and records what the server does.
//!
//! Each step waits for what its client had received before it then, so that an order that rested on
//! a cause is kept at any speed; what does not come is waited for once. The connections speak raw
//! packets: what no good client would send is sent again as well.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use touchstone_client::{
    Args, ConnectOptions, Engine, Frame, Secret, Socket,
    codec::packet::{Body, Packet, encode_message},
    provision::{Account, NewMachine, NewSession, ProvisionError, Provisioner},
    trace::{Exchange, Traced},
};

use super::{
    ReplayError, ReplayPlan,
    listen::{Awaited, Ear, Log},
    names::Names,
    report::Unsent,
    request::Request,
    script::{Act, Heard, Recording, Step, token_name},
};

/// The least time in which nothing more may come before the replay is over.
const SETTLE: Duration = Duration::from_millis(100);

/// What came of a replay.
pub(super) struct Played {
    pub(super) heard: Vec<Heard>,
    pub(super) names: Names,
    pub(super) unsent: Vec<Unsent>,
    /// When the last step was sent, in microseconds of the replay.
    pub(super) last_sent_us: u64,
}

/// Plays the recording.
pub(super) async fn play(
    recording: &Recording,
    plan: &ReplayPlan<'_>,
) -> Result<Played, ReplayError> {
    let now = plan.clock.unix_ms();
    let log = Arc::new(Log::new(recording, now));
    let mut player = Player {
        recording,
        plan,
        log,
        start: Instant::now(),
        random: StdRng::seed_from_u64(plan.seed),
        sockets: HashMap::new(),
        tokens: Arc::default(),
        requests: JoinSet::new(),
        awaited: Awaited::new(recording),
        unsent: Vec::new(),
        nodes: 0,
    };
    player.knock().await?;
    player.choose_names();
    player.provision().await;
    player.start = Instant::now();
    player.log.restart(player.start);
    for step in &recording.steps {
        player.wait_for_causes(step).await;
        player.carry_out(step).await;
    }
    let last_sent_us = player.log.t_us();
    player.finish().await;
    let Player { log, unsent, .. } = player;
    let mut kept = log.kept();
    let mut unsent = unsent;
    if kept.overflowed {
        unsent.push(Unsent {
            conn: "-".into(),
            what: "the rest of the answers".into(),
            why: "the server sends more than is kept".into(),
        });
    }
    Ok(Played {
        heard: std::mem::take(&mut kept.heard),
        names: kept.names.clone(),
        unsent,
        last_sent_us,
    })
}

struct Player<'a> {
    recording: &'a Recording,
    plan: &'a ReplayPlan<'a>,
    log: Arc<Log>,
    start: Instant,
    random: StdRng,
    sockets: HashMap<String, Socket>,
    tokens: Arc<Mutex<HashMap<String, Account>>>,
    requests: JoinSet<Option<Unsent>>,
    awaited: Awaited,
    unsent: Vec<Unsent>,
    nodes: usize,
}

impl Player<'_> {
    /// Finds out whether anybody is there, so that a server that is not is one error and not many
    /// differences.
    async fn knock(&mut self) -> Result<(), ReplayError> {
        match Engine::open(&self.options()).await {
            Ok(_) => Ok(()),
            Err(error) => Err(ReplayError::Unreachable(crate::told(&error))),
        }
    }

    fn options(&mut self) -> ConnectOptions {
        let target = self.plan.target;
        let url = target.urls[self.nodes % target.urls.len()].clone();
        self.nodes += 1;
        ConnectOptions::new(url).path(&target.path)
    }

    /// Machines and artifacts have the ids that clients choose, and servers remember them.
    fn choose_names(&mut self) {
        let by_rest = matches!(self.plan.target.provisioner, Provisioner::Rest(_));
        let mut chosen: Vec<String> = Vec::new();
        for step in &self.recording.steps {
            let id = match &step.act {
                Act::Http(_, exchange) if exchange.method == "POST" => {
                    let wanted = match exchange.url.as_str() {
                        "/v1/machines" => by_rest,
                        "/v1/artifacts" => true,
                        _ => false,
                    };
                    exchange
                        .request
                        .as_ref()
                        .filter(|_| wanted)
                        .map(|body| body["id"].clone())
                }
                Act::Send(Traced::Event { name, args, .. }) if name == "artifact-create" => {
                    args.data().ok().map(|data| data["id"].clone())
                }
                _ => None,
            };
            chosen.extend(id.and_then(|id| id.as_str().map(str::to_owned)));
        }
        for old in chosen {
            let new = fresh(&old, &mut self.random);
            self.log.kept().names.learn(&old, &new);
        }
    }

    /// Makes what a recording names that began when its accounts were there already.
    async fn provision(&mut self) {
        if !self.recording.signed_in.is_empty() {
            return;
        }
        let needs = needs(self.recording);
        for (name, need) in needs {
            let seed = self.random.random();
            let provisioner = &self.plan.target.provisioner;
            let account = match provisioner.account(seed).await {
                Ok(account) => account,
                Err(error) => {
                    self.lacks(&name, "account", &error);
                    continue;
                }
            };
            for old in need.sessions {
                let new = NewSession {
                    tag: format!("replay-{old}"),
                    metadata: "replay".into(),
                    ..NewSession::default()
                };
                match provisioner.session(&account, &new).await {
                    Ok(made) => {
                        self.log.kept().names.learn(&old, &made.id);
                    }
                    Err(error) => self.unsent.push(lack(&name, "session", &error)),
                }
            }
            for old in need.machines {
                let new = NewMachine {
                    id: fresh(&old, &mut self.random),
                    metadata: "replay".into(),
                    ..NewMachine::default()
                };
                match provisioner.machine(&account, &new).await {
                    Ok(made) => {
                        self.log.kept().names.learn(&old, &made.id);
                    }
                    Err(error) => self.unsent.push(lack(&name, "machine", &error)),
                }
            }
            lock(&self.tokens).insert(name, account);
        }
    }

    fn lacks(&mut self, name: &str, what: &str, error: &ProvisionError) {
        self.unsent.push(lack(name, what, error));
    }

    /// Waits until the step's time has come, and everything that preceded it in the recording is here.
    async fn wait_for_causes(&mut self, step: &Step) {
        self.awaited.before(step.t_us);
        self.awaited.settle(&self.log).await;
        if let Some(speed) = self.plan.speed {
            let due = Duration::from_micros(step.t_us).div_f64(speed);
            sleep_until(self.start + due).await;
        }
        self.awaited.sent(step.t_us);
    }

    async fn carry_out(&mut self, step: &Step) {
        let done = match &step.act {
            Act::Open => self.open(&step.conn).await,
            Act::Send(packet) => self.send(step, packet).await,
            Act::Close => {
                self.leave(&step.conn, false);
                Ok(())
            }
            Act::Http(index, exchange) => {
                self.request(step, *index, exchange);
                Ok(())
            }
        };
        if let Err(why) = done {
            self.unsent.push(Unsent {
                conn: step.conn.clone(),
                what: described(&step.act),
                why,
            });
        }
        while let Some(Ok(done)) = self.requests.try_join_next() {
            self.unsent.extend(done);
        }
    }

    async fn open(&mut self, conn: &str) -> Result<(), String> {
        let ear = Arc::new(Ear {
            conn: conn.to_owned(),
            log: Arc::clone(&self.log),
        });
        let options = self.options().tap(ear);
        let engine = Engine::open(&options)
            .await
            .map_err(|error| crate::told(&error))?;
        // The ear hears everything; nobody reads the events.
        let (socket, _) = engine.attach();
        self.sockets.insert(conn.to_owned(), socket);
        Ok(())
    }

    async fn send(&mut self, step: &Step, packet: &Traced) -> Result<(), String> {
        let conn = step.conn.as_str();
        if matches!(packet, Traced::Disconnect | Traced::Close) {
            self.leave(conn, matches!(packet, Traced::Disconnect));
            return Ok(());
        }
        let frame = self.frame(step, packet)?;
        let socket = self.sockets.get(conn).ok_or("its connection is not open")?;
        // How a connection ended is heard by its ear.
        let _ = socket.send_raw(frame).await;
        Ok(())
    }

    fn leave(&mut self, conn: &str, goodbye: bool) {
        if let Some(socket) = self.sockets.remove(conn) {
            tokio::spawn(async move {
                if goodbye {
                    socket.disconnect().await;
                } else {
                    socket.close().await;
                }
            });
        }
    }

    /// The frame to send now for a packet of the recording.
    fn frame(&self, step: &Step, packet: &Traced) -> Result<Frame, String> {
        let encoded = |body| Frame::text(encode_message(&Packet::new(body)));
        Ok(match packet {
            Traced::Connect(Value::Null) => encoded(Body::Connect("")),
            Traced::Connect(auth) => {
                let mut auth = self.translated(auth, step.t_us);
                if let Some(name) = token_name(Some(&auth)) {
                    auth["token"] = json!(self.token(&name).expose());
                }
                encoded(Body::Connect(&auth.to_string()))
            }
            Traced::Event {
                attachments: 1.., ..
            }
            | Traced::Binary(_) => {
                return Err("a trace does not keep the bytes of attachments".into());
            }
            Traced::Event {
                name, args, ack, ..
            } => encoded(Body::Event {
                name: name.as_str().into(),
                args: self.arguments(args, step.t_us).as_str(),
                ack: *ack,
                attachments: 0,
            }),
            Traced::Ack { id, args, .. } => {
                let asked = self.log.asked_as(&step.conn, *id);
                encoded(Body::Ack {
                    id: asked.ok_or("the server did not ask for it")?,
                    args: self.arguments(args, step.t_us).as_str(),
                    attachments: 0,
                })
            }
            Traced::Raw(text) if text.ends_with("token…") => {
                return Err("a trace does not keep tokens".into());
            }
            Traced::Raw(text) => Frame::text(text.as_str()),
            Traced::ConnectError(data) => encoded(Body::ConnectError(&data.to_string())),
            Traced::Open(_)
            | Traced::Close
            | Traced::Ping(_)
            | Traced::Pong(_)
            | Traced::Upgrade
            | Traced::Noop
            | Traced::Disconnect => return Err("clients send it by themselves".into()),
        })
    }

    /// Arguments with the names and times of now; as they were where they cannot be read.
    fn arguments(&self, args: &Args, t_us: u64) -> Args {
        match args.values() {
            Ok(values) => {
                let values: Vec<Value> = values
                    .iter()
                    .map(|value| self.translated(value, t_us))
                    .collect();
                Args::from(values)
            }
            Err(_) => args.clone(),
        }
    }

    fn translated(&self, value: &Value, t_us: u64) -> Value {
        let now = self.plan.clock.unix_ms();
        self.log.kept().names.translated(value, t_us, now)
    }

    /// The token of an account of the recording. One that never signed in had a token that was none.
    fn token(&self, name: &str) -> Secret {
        let tokens = lock(&self.tokens);
        tokens.get(name).map_or_else(
            || Secret::new(format!("no-token-{name}")),
            |account| account.token.clone(),
        )
    }

    /// Sends an HTTP request beside everything else; its answer is heard like any other.
    fn request(&mut self, step: &Step, index: usize, exchange: &Exchange) {
        let seed: [u8; 32] = self.random.random();
        let whose = step.conn.strip_prefix("http/");
        let account = whose.map(|name| Account {
            token: self.token(name),
            id: None,
        });
        let path = self.log.kept().names.renamed(&exchange.url);
        let body = exchange.request.as_ref();
        let body = body.map(|body| {
            let mut body = self.translated(body, step.t_us);
            if let Some(name) = token_name(Some(&body)) {
                body["token"] = json!(self.token(&name).expose());
            }
            body
        });
        let request = Request {
            conn: step.conn.clone(),
            index,
            recorded: exchange.clone(),
            path,
            body,
            account,
            seed,
            provisioner: self.plan.target.provisioner.clone(),
            log: Arc::clone(&self.log),
            tokens: Arc::clone(&self.tokens),
        };
        self.requests.spawn(request.send());
    }

    /// Waits for all that was recorded, and then until nothing more comes.
    async fn finish(&mut self) {
        self.awaited.before(u64::MAX);
        self.awaited.settle(&self.log).await;
        while let Some(done) = self.requests.join_next().await {
            self.unsent.extend(done.ok().flatten());
        }
        let settle = self
            .plan
            .target
            .settle
            .unwrap_or(SETTLE.max(self.awaited.slowest * 4));
        sleep(settle).await;
        self.log.close();
    }
}

/// What an account of a recording needs to have.
#[derive(Default)]
struct Needs {
    sessions: Vec<String>,
    machines: Vec<String>,
}

/// The accounts that connect, with the sessions and machines that they name.
fn needs(recording: &Recording) -> Vec<(String, Needs)> {
    let mut accounts: Vec<(String, Needs)> = Vec::new();
    let mut of: HashMap<&str, usize> = HashMap::new();
    for step in &recording.steps {
        let data = match &step.act {
            Act::Send(Traced::Connect(auth)) => {
                let Some(name) = token_name(Some(auth)) else {
                    continue;
                };
                let known = accounts.iter().position(|(known, _)| *known == name);
                let index = known.unwrap_or_else(|| {
                    accounts.push((name, Needs::default()));
                    accounts.len() - 1
                });
                of.insert(&step.conn, index);
                auth.clone()
            }
            Act::Send(Traced::Event { args, .. }) => args.data().unwrap_or_default(),
            _ => continue,
        };
        let Some((_, need)) = of
            .get(step.conn.as_str())
            .and_then(|at| accounts.get_mut(*at))
        else {
            continue;
        };
        let add = |ids: &mut Vec<String>, id: &Value| {
            if let Some(id) = id
                .as_str()
                .filter(|id| !ids.iter().any(|known| known == id))
            {
                ids.push(id.to_owned());
            }
        };
        for key in ["sid", "sessionId"] {
            add(&mut need.sessions, &data[key]);
        }
        add(&mut need.machines, &data["machineId"]);
    }
    accounts
}

fn lack(name: &str, what: &str, error: &ProvisionError) -> Unsent {
    Unsent {
        conn: name.to_owned(),
        what: format!("a new {what}"),
        why: crate::told(error),
    }
}

fn described(act: &Act) -> String {
    match act {
        Act::Open => "opening the connection".into(),
        Act::Close => "closing the connection".into(),
        Act::Http(_, exchange) => format!("{} {}", exchange.method, exchange.url),
        Act::Send(Traced::Event { name, .. }) => name.clone(),
        Act::Send(Traced::Ack { id, .. }) => format!("answer to #{id}"),
        Act::Send(Traced::Connect(_)) => "CONNECT".into(),
        Act::Send(_) => "a packet".into(),
    }
}

/// Another id of the same shape: servers ask artifact ids to be UUIDs.
fn fresh(old: &str, random: &mut StdRng) -> String {
    let is_uuid = old.len() == 36 && old.bytes().filter(|&byte| byte == b'-').count() == 4;
    if !is_uuid {
        return format!("{old}-{:08x}", random.random::<u32>());
    }
    let (high, low): (u64, u64) = (random.random(), random.random());
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        low >> 52,
        low & 0xffff_ffff_ffff
    )
}

/// Nothing that holds these locks can panic half-way, so a poisoned one is still sound.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
