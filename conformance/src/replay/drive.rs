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
    time::{Instant, sleep, sleep_until, timeout},
};
use touchstone_client::{
    Args, Conduct, ConnectOptions, Engine, Frame, Secret, Socket,
    codec::{
        engine,
        packet::{Body, Packet, encode_message},
    },
    provision::{Account, NewMachine, NewSession, ProvisionError, Provisioner},
    trace::{Exchange, Traced},
};

use crate::ctx::version_4;

use super::{
    PATIENCE, ReplayError, ReplayPlan,
    chance::Chance,
    listen::{Asked, Awaited, Ear, Log},
    names::Names,
    report::Unsent,
    request::Request,
    script::{Act, Heard, Recording, Step, What, token_name},
};

/// The least time in which nothing more may come before the replay is over.
const SETTLE: Duration = Duration::from_millis(100);

/// What came of a replay.
pub(super) struct Played {
    pub(super) heard: Vec<Heard>,
    pub(super) names: Names,
    pub(super) unsent: Vec<Unsent>,
    /// When each step was sent, in microseconds of the replay; those that an end came before are
    /// missing.
    pub(super) sent_us: Vec<u64>,
}

impl Played {
    /// When the last step was sent.
    pub(super) fn last_sent_us(&self) -> u64 {
        self.sent_us.last().copied().unwrap_or_default()
    }

    /// Whether it was ended before all was sent.
    pub(super) fn is_cut(&self, recording: &Recording) -> bool {
        self.sent_us.len() < recording.steps.len()
    }
}

/// Plays the recording.
pub(super) async fn play(
    recording: &Recording,
    plan: &ReplayPlan<'_>,
    chance: &Chance,
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
        awaited: Awaited::new(recording, |heard| !chance.is_presence(heard, None)),
        unsent: Vec::new(),
        nodes: 0,
        left_us: None,
    };
    player.knock().await?;
    player.choose_names();
    player.provision().await;
    player.start = Instant::now();
    player.log.restart(player.start);
    let mut sent_us = Vec::with_capacity(recording.steps.len());
    for step in &recording.steps {
        tokio::select! {
            biased;
            () = plan.stop.cancelled() => break,
            () = player.wait_for_causes(step) => {}
        }
        sent_us.push(player.log.t_us());
        player.carry_out(sent_us.len() - 1, step).await;
    }
    tokio::select! {
        biased;
        () = plan.stop.cancelled() => player.log.close(),
        () = player.finish() => {}
    }
    let Player { log, unsent, .. } = player;
    let mut kept = log.kept();
    let mut unsent = unsent;
    if kept.overflowed {
        unsent.push(Unsent {
            conn: "-".into(),
            what: "the rest of the answers".into(),
            why: "the server sends more than is kept".into(),
            step: None,
        });
    }
    Ok(Played {
        heard: std::mem::take(&mut kept.heard),
        names: kept.names.clone(),
        unsent,
        sent_us,
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
    /// When somebody left in the recording, if that was the last step.
    left_us: Option<u64>,
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
        } else if let Some(left_us) = self.left_us.take() {
            // Nothing tells when a server has seen that somebody left.
            let pause = Duration::from_micros(step.t_us.saturating_sub(left_us));
            sleep(pause.min(SETTLE)).await;
        }
        self.awaited.sent(step.t_us);
    }

    async fn carry_out(&mut self, at: usize, step: &Step) {
        let done = match &step.act {
            Act::Open => self.open(&step.conn).await,
            Act::Send(packet) => self.send(step, packet).await,
            Act::Lost(_, why) => Err((*why).to_owned()),
            Act::Do(conduct) => {
                self.behave(&step.conn, *conduct).await;
                Ok(())
            }
            Act::Close => {
                if self.is_refusing(&step.conn) {
                    self.log.ended(&step.conn, PATIENCE).await;
                }
                if self.leave(&step.conn) {
                    self.left_us = Some(step.t_us);
                }
                Ok(())
            }
            Act::Http(index, exchange) => {
                self.request(at, step, *index, exchange);
                Ok(())
            }
        };
        if let Err(why) = done {
            self.unsent.push(Unsent {
                conn: step.conn.clone(),
                what: described(&step.act),
                why,
                step: Some(at),
            });
        }
        while let Some(Ok(done)) = self.requests.try_join_next() {
            self.unsent.extend(done);
        }
    }

    async fn open(&mut self, conn: &str) -> Result<(), String> {
        let ear = Ear::new(conn, &self.log);
        let options = self.options().tap(Arc::new(ear));
        let engine = Engine::open(&options)
            .await
            .map_err(|error| crate::told(&error))?;
        // The ear hears everything. What a good client would make of it was decided then.
        let socket = engine.attach_raw();
        if self.recording.mute.contains(conn) {
            socket.ignore_pings(true);
        }
        self.sockets.insert(conn.to_owned(), socket);
        Ok(())
    }

    async fn send(&mut self, step: &Step, packet: &Traced) -> Result<(), String> {
        let conn = step.conn.as_str();
        let Some(frame) = self.frame(step, packet)? else {
            return Ok(());
        };
        let socket = self.sockets.get(conn).ok_or("its connection is not open")?;
        // How a connection ended is heard by its ear.
        let _ = socket.send_raw(frame).await;
        if matches!(packet, Traced::Connect(_)) {
            // What comes behind it is another packet on the network, as it was then. A server that does
            // not read holds nobody up.
            let _ = timeout(SETTLE, socket.flush()).await;
        }
        Ok(())
    }

    /// Whether a connection that was refused then is being refused in the other form: it is admitted
    /// before it is told why it is not.
    fn is_refusing(&self, conn: &str) -> bool {
        let was = |what: fn(&What) -> bool, heard: &[Heard]| {
            heard.iter().any(|one| one.conn == conn && what(&one.what))
        };
        was(
            |what| matches!(what, What::Refused(_)),
            &self.recording.heard,
        ) && was(
            |what| matches!(what, What::Admitted(_)),
            &self.log.kept().heard,
        )
    }

    fn leave(&mut self, conn: &str) -> bool {
        let Some(socket) = self.sockets.remove(conn) else {
            return false;
        };
        tokio::spawn(async move { socket.close().await });
        true
    }

    async fn behave(&mut self, conn: &str, conduct: Conduct) {
        let Some(socket) = self.sockets.get(conn) else {
            return;
        };
        match conduct {
            // How a connection ended is heard by its ear.
            Conduct::HalfClose => drop(socket.half_close().await),
            Conduct::StopReading => socket.stop_reading(true),
            Conduct::ResumeReading => socket.stop_reading(false),
            Conduct::IgnorePings => socket.ignore_pings(true),
            Conduct::AnswerPings => socket.ignore_pings(false),
            Conduct::Drop => socket.abort(),
        }
    }

    /// The frame to send now for a packet of the recording. There is none for an answer to what the
    /// server did not ask, which is missing in the comparison already.
    fn frame(&self, step: &Step, packet: &Traced) -> Result<Option<Frame>, String> {
        let encoded = |body| Frame::text(encode_message(&Packet::new(body)));
        let plain = |packet| Frame::text(engine::encode(packet));
        Ok(Some(match packet {
            Traced::Connect(Value::Null) => encoded(Body::Connect("")),
            Traced::Connect(auth) => {
                let mut auth = self.translated(auth, step.t_us);
                if let Some(name) = token_name(Some(&auth)) {
                    auth["token"] = json!(self.token(&name).expose());
                }
                encoded(Body::Connect(&auth.to_string()))
            }
            Traced::Binary { bytes, .. } => {
                Frame::Binary(bytes.clone().ok_or("the trace does not hold its bytes")?)
            }
            Traced::Event {
                name,
                args,
                ack,
                attachments,
            } => encoded(Body::Event {
                name: name.as_str().into(),
                args: self.arguments(args, step.t_us).as_str(),
                ack: *ack,
                attachments: *attachments,
            }),
            Traced::Ack {
                id,
                args,
                attachments,
            } => {
                let id = match self.log.asked_as(&step.conn, *id) {
                    Asked::Now(now) => now,
                    // Clients that answer what nobody asked do it to see what happens.
                    Asked::Never => *id,
                    Asked::Then => return Ok(None),
                };
                encoded(Body::Ack {
                    id,
                    args: self.arguments(args, step.t_us).as_str(),
                    attachments: *attachments,
                })
            }
            Traced::Raw(text) => Frame::text(self.raw(text)?),
            Traced::ConnectError(data) => encoded(Body::ConnectError(&data.to_string())),
            Traced::Disconnect => encoded(Body::Disconnect),
            Traced::Open(data) => plain(engine::Packet::Open(&data.to_string())),
            Traced::Close => plain(engine::Packet::Close),
            Traced::Ping(data) => plain(engine::Packet::Ping(data)),
            Traced::Pong(data) => plain(engine::Packet::Pong(data)),
            Traced::Upgrade => plain(engine::Packet::Upgrade),
            Traced::Noop => plain(engine::Packet::Noop),
        }))
    }

    /// A text that is no packet, with the tokens of now.
    fn raw(&self, text: &str) -> Result<String, String> {
        let mut text = self.log.kept().names.renamed(text);
        for (name, account) in &*lock(&self.tokens) {
            text = text.replace(&format!("{name}…"), account.token.expose());
        }
        if text.contains("token") && text.contains('…') {
            return Err("the trace does not hold the token in it".into());
        }
        Ok(text)
    }

    /// Arguments with the names and times of now, letter by letter as they were where they hold
    /// neither. In what cannot be read, such as numbers beyond all bounds, names are found as text.
    fn arguments(&self, args: &Args, t_us: u64) -> Args {
        let Ok(then) = args.values() else {
            return Args::raw(self.log.kept().names.renamed(args.as_str()));
        };
        let now: Vec<Value> = then
            .iter()
            .map(|value| self.translated(value, t_us))
            .collect();
        if now == then {
            args.clone()
        } else {
            Args::from(now)
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
    fn request(&mut self, at: usize, step: &Step, index: usize, exchange: &Exchange) {
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
            step: at,
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
        step: None,
    }
}

fn described(act: &Act) -> String {
    match act {
        Act::Open => "opening the connection".into(),
        Act::Close => "closing the connection".into(),
        Act::Do(conduct) => format!("the client {conduct}"),
        Act::Http(_, exchange) => format!("{} {}", exchange.method, exchange.url),
        Act::Send(packet) | Act::Lost(packet, _) => match packet {
            Traced::Event { name, .. } => name.clone(),
            Traced::Ack { id, .. } => format!("answer to #{id}"),
            Traced::Connect(_) => "CONNECT".into(),
            Traced::Binary { .. } => "an attachment".into(),
            _ => "a packet".into(),
        },
    }
}

/// Another id of the same shape: servers ask artifact ids to be UUIDs.
fn fresh(old: &str, random: &mut StdRng) -> String {
    let is_uuid = old.len() == 36 && old.bytes().filter(|&byte| byte == b'-').count() == 4;
    if !is_uuid {
        return format!("{old}-{:08x}", random.random::<u32>());
    }
    let (high, low): (u64, u64) = (random.random(), random.random());
    version_4(high, low)
}

/// Nothing that holds these locks can panic half-way, so a poisoned one is still sound.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
