//! Carries out the client side of a recording, and records what the server does.
//!
//! Each step waits for what its client had received before it then, so that an order that rested on
//! a cause is kept at any speed; what does not come is waited for once. The connections speak raw
//! packets: what no good client would send is sent again as well.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use touchstone_client::{
    Conduct, ConnectOptions, Engine, Socket,
    provision::{Account, Provisioner},
    trace::{Exchange, Kind, QUIET, Traced},
};

use super::{
    PATIENCE, ReplayError, ReplayPlan,
    awaited::Awaited,
    found::Found,
    heard::{Heard, What},
    listen::{Listener, Log},
    names::Names,
    prepare::{choose_names, provision},
    report::Unsent,
    request::{Request, Tokens},
    script::{Act, Recording, Step},
    settled::Settled,
    translate::Translator,
};

/// The least time in which nothing more may come before the replay is over.
const SETTLE: Duration = Duration::from_millis(100);

/// How often such a time is waited for while something still comes: a server that sends for ever is not
/// waited for.
const ROUNDS: usize = 10;

/// What came of a replay.
pub(super) struct Played {
    pub(super) heard: Vec<Heard>,
    pub(super) names: Names,
    /// What of it no right server does.
    pub(super) violations: Vec<Found>,
    pub(super) unsent: Vec<Unsent>,
    /// When each step was sent, in microseconds of the replay; those that an end came before are
    /// missing.
    pub(super) sent_us: Vec<u64>,
    /// Whether it was ended before all that was recorded could come.
    pub(super) interrupted: bool,
}

/// Plays the recording.
pub(super) async fn play(
    recording: &Recording,
    plan: &ReplayPlan<'_>,
    settled: &Settled,
) -> Result<Played, ReplayError> {
    let now = plan.clock.unix_ms();
    let log = Arc::new(Log::new(recording, now));
    let is_refusal = |one: &&Heard| matches!(one.what, What::Refused(_));
    let refused = recording.heard.iter().filter(is_refusal);
    let mut player = Player {
        recording,
        plan,
        log,
        start: Instant::now(),
        random: StdRng::seed_from_u64(plan.seed),
        sockets: HashMap::new(),
        tokens: Arc::default(),
        keys: HashMap::new(),
        requests: JoinSet::new(),
        awaited: Awaited::new(recording, settled),
        unsent: Vec::new(),
        refused: refused.map(|one| one.conn.as_str()).collect(),
        nodes: 0,
        left_us: None,
    };
    tokio::select! {
        biased;
        () = plan.stop.cancelled() => {}
        prepared = player.prepare() => prepared?,
    }
    player.start = Instant::now();
    player.log.restart(player.start);
    let mut sent_us = Vec::with_capacity(recording.steps.len());
    for step in &recording.steps {
        tokio::select! {
            biased;
            () = plan.stop.cancelled() => break,
            () = player.wait_for_causes(step) => {}
        }
        if player.log.is_full() {
            break;
        }
        sent_us.push(player.log.t_us());
        tokio::select! {
            biased;
            () = plan.stop.cancelled() => break,
            () = player.carry_out(sent_us.len() - 1, step) => {}
        }
        plan.sent.fetch_add(1, Ordering::Relaxed);
    }
    let is_full = player.log.is_full();
    let interrupted = is_full
        || tokio::select! {
            biased;
            () = plan.stop.cancelled() => {
                player.log.close();
                true
            }
            () = player.finish() => false,
        };
    let Player { log, unsent, .. } = player;
    let mut kept = log.kept();
    let mut unsent = unsent;
    if is_full {
        unsent.push(Unsent {
            conn: "-".into(),
            what: "the rest".into(),
            why: "the server sends more than is kept".into(),
            step: None,
        });
    }
    Ok(Played {
        heard: std::mem::take(&mut kept.heard),
        names: kept.names.clone(),
        violations: kept.judged(),
        unsent,
        sent_us,
        interrupted,
    })
}

struct Player<'a> {
    recording: &'a Recording,
    plan: &'a ReplayPlan<'a>,
    log: Arc<Log>,
    start: Instant,
    random: StdRng,
    sockets: HashMap<String, Socket>,
    tokens: Arc<Tokens>,
    /// The seeds of accounts, by the keys with which the recording signs in to them.
    keys: HashMap<String, [u8; 32]>,
    requests: JoinSet<Option<Unsent>>,
    awaited: Awaited<'a>,
    unsent: Vec<Unsent>,
    /// Connections that were refused then.
    refused: HashSet<&'a str>,
    nodes: usize,
    /// When somebody left in the recording, if that was the last step.
    left_us: Option<u64>,
}

impl Player<'_> {
    /// Finds out whether anybody is there, so that a server that is not is one error and not many
    /// differences.
    async fn reach(&mut self) -> Result<(), ReplayError> {
        match Engine::open(&self.options()).await {
            Ok(_) => Ok(()),
            Err(error) => Err(ReplayError::Unreachable(
                touchstone_output::text::error_chain(&error),
            )),
        }
    }

    fn options(&mut self) -> ConnectOptions {
        let target = self.plan.target;
        let url = target.urls[self.nodes % target.urls.len()].clone();
        self.nodes += 1;
        target.server.at(url)
    }

    async fn prepare(&mut self) -> Result<(), ReplayError> {
        self.reach().await?;
        let Self {
            recording,
            plan,
            log,
            random,
            tokens,
            ..
        } = self;
        let provisioner = &plan.target.provisioner;
        let by_rest = matches!(provisioner, Provisioner::Rest(_));
        choose_names(recording, by_rest, random, log);
        self.unsent = provision(recording, provisioner, random, log, tokens).await;
        Ok(())
    }

    fn translator(&self) -> Translator<'_> {
        Translator {
            log: &self.log,
            tokens: &self.tokens,
            clock: &self.plan.clock,
        }
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
            Act::Note(text) => {
                // What the recording had lost by then may come in the repetition, and is to be there.
                if text == QUIET {
                    self.quieten().await;
                }
                self.log.judge(&step.conn, Kind::Mark(text.clone()));
                Ok(())
            }
        };
        if let Err(why) = done {
            self.unsent.push(Unsent {
                conn: step.conn.clone(),
                what: step.act.described(),
                why,
                step: Some(at),
            });
        }
        while let Some(Ok(done)) = self.requests.try_join_next() {
            self.unsent.extend(done);
        }
    }

    async fn open(&mut self, conn: &str) -> Result<(), String> {
        let account = self.recording.accounts.get(conn);
        let ear = Listener::new(conn, account.cloned(), &self.log);
        let options = self.options().tap(Arc::new(ear));
        let engine = Engine::open(&options)
            .await
            .map_err(|error| touchstone_output::text::error_chain(&error))?;
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
        let Some(frame) = self.translator().frame(step, packet)? else {
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
        let is_admission = |one: &Heard| one.conn == conn && matches!(one.what, What::Admitted(_));
        self.refused.contains(conn) && self.log.kept().heard.iter().any(is_admission)
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

    /// Sends an HTTP request beside everything else; its answer is heard like any other.
    fn request(&mut self, at: usize, step: &Step, index: usize, exchange: &Exchange) {
        // Who signs in with a key again comes to the same account.
        let fresh: [u8; 32] = self.random.random();
        let key = exchange.request.as_ref().map(|body| &body["publicKey"]);
        let seed = match key.and_then(Value::as_str) {
            Some(key) => *self.keys.entry(key.to_owned()).or_insert(fresh),
            None => fresh,
        };
        let translator = self.translator();
        let whose = step.conn.strip_prefix("http/");
        let account = whose.map(|name| Account {
            token: translator.token(name),
            id: None,
        });
        let now_ms = self.plan.clock.unix_ms();
        let kept = self.log.kept();
        let path = kept.names.renamed_path(&exchange.url, step.t_us, now_ms);
        drop(kept);
        let body = exchange.request.as_ref();
        let body = body.map(|body| translator.signed(body, step.t_us));
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
        self.quieten().await;
        self.log.close();
    }

    /// Waits for the requests that are under way, and then until nothing came for several times as long as
    /// the slowest thing took.
    async fn quieten(&mut self) {
        while let Some(done) = self.requests.join_next().await {
            self.unsent.extend(done.ok().flatten());
        }
        let slowest = self.awaited.slowest;
        let settle = self.plan.target.settle.unwrap_or(SETTLE.max(slowest * 4));
        for _ in 0..ROUNDS {
            let before = self.log.kept().heard.len();
            sleep(settle).await;
            if self.log.kept().heard.len() == before {
                break;
            }
        }
    }
}
