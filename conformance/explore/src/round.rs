//! Runs a plan: connections, phases, the quiet point, and what is read at the end.

mod calls;
mod quiet;

use std::{
    collections::{BTreeMap, HashSet},
    future::Future,
    pin::Pin,
    sync::Mutex,
    time::Duration,
};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;
use touchstone_client::{
    CallError, ConnectError, ConnectOptions, LaunchError, PendingReply, Transport,
    provision::{ProvisionError, Rest},
    trace::{Bounds, QUIET, Record, Recorder},
};

use crate::{
    crash::{self, Crash},
    deed::{Deed, Learn, deed},
    peer::{Link, Peer},
    plan::{Act, Actor, Plan, Scope, Step, Wire},
    target::Target,
    values::METHODS,
    world::{Holder, World, lock},
};

/// How much of a round is kept: more than any plan makes.
const BOUNDS: Bounds = Bounds {
    entries: 2_000_000,
    bytes: 512 << 20,
};
/// The kind of the calls that a right server may leave unanswered: clients that encrypt what they send have
/// nothing but texts for params.
const WITHOUT_TEXT: &str = "rpc-call without text";

/// What happened in a round.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) records: Vec<Record>,
    /// How many events, requests and connections there were.
    pub(crate) operations: u64,
    /// What was waited for and did not come, by kind.
    pub(crate) missed: HashSet<String>,
}

/// Why a round could not be run.
#[derive(Debug, thiserror::Error)]
pub enum RoundError {
    /// An account, session or machine could not be made.
    #[error("no account could be made")]
    Provision(#[from] ProvisionError),
    /// No connection could be opened.
    #[error("{name} could not connect")]
    Connect {
        /// Who.
        name: String,
        /// Why.
        source: ConnectError,
    },
    /// It was killed, and did not come back.
    #[error("the server did not come back after it was killed")]
    Restart(#[from] LaunchError),
}

/// What a step waits for in the end.
type Pending<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

struct Stage<'a> {
    target: &'a Target,
    recorder: &'a Recorder,
    rest: Rest,
    world: World,
    missed: Mutex<HashSet<String>>,
}

/// The name of an actor: A, B, …
pub(crate) fn name(actor: u8) -> String {
    char::from(b'A' + actor.min(25)).to_string()
}

/// Runs `plan` once. `nonce` tells it from all other runs.
pub(crate) async fn run(plan: &Plan, target: &Target, nonce: u64) -> Result<Round, RoundError> {
    let recorder = Recorder::new(Instant::now(), BOUNDS);
    if let Some(crash) = &target.crash {
        crash.server.revive().await?;
    }
    let provisioner = target.provisioner.recorded(&recorder);
    let stage = Stage {
        target,
        recorder: &recorder,
        rest: target.rest.recorded(&recorder),
        world: World::make(plan, &provisioner, nonce).await?,
        missed: Mutex::default(),
    };
    let peers = plan.actors().into_iter().map(|actor| Peer {
        name: name(actor.id),
        actor,
        returned: false,
        link: None,
    });
    let mut peers: Vec<Peer> = peers.collect();
    let opened = join_all(peers.iter_mut().map(|peer| stage.open(peer))).await;
    opened.into_iter().collect::<Result<(), _>>()?;
    let mut operations = peers.len() as u64;
    let mut goes_on = true;
    for (nth, phase) in plan.phases.iter().enumerate() {
        let mut steps: BTreeMap<u8, Vec<&Step>> = BTreeMap::new();
        for step in phase {
            steps.entry(step.actor).or_default().push(step);
            operations += u64::from(step.times);
        }
        let busy = peers.iter_mut().filter_map(|peer| {
            let steps = steps.remove(&peer.actor.id)?;
            Some(stage.perform(peer, steps))
        });
        match target.crash.as_ref().filter(|_| nth == crash::phase(plan)) {
            Some(crash) => {
                tokio::join!(join_all(busy), crash.kill(nonce));
                goes_on = stage.restart(crash, &mut peers).await?;
                if !goes_on {
                    break;
                }
            }
            None => {
                join_all(busy).await;
            }
        }
    }
    let accounts: Vec<u8> = stage.world.accounts.keys().copied().collect();
    for account in accounts.into_iter().filter(|_| goes_on) {
        stage.settle(account, &mut peers).await?;
        tokio::join!(stage.read(account), stage.read_by_events(account, &peers));
    }
    recorder.mark("-", QUIET);
    let records = recorder.records();
    let missed = std::mem::take(&mut *lock(&stage.missed));
    Ok(Round {
        records,
        operations,
        missed,
    })
}

impl Stage<'_> {
    fn holder(&self, account: u8) -> &Holder {
        &self.world.accounts[&account]
    }

    /// Another account than this one, if there is one.
    fn other(&self, account: u8) -> &Holder {
        let mut accounts = self.world.accounts.iter();
        let other = accounts.find(|(number, _)| **number != account);
        other.map_or(self.holder(account), |(_, other)| other)
    }

    /// Starts the server again, and reads what it has; everybody who was there comes back. Says whether the
    /// sessions are there, so that the round can go on.
    async fn restart(&self, crash: &Crash, peers: &mut [Peer]) -> Result<bool, RoundError> {
        crash.server.revive().await?;
        self.recorder.mark("-", crash.mark());
        let mut has_all = true;
        for (account, holder) in &self.world.accounts {
            self.read(*account).await;
            let listed = self.ask(*account, "GET", "/v1/sessions", None, &Learn::Nothing);
            let listed = listed.await.unwrap_or_default();
            let rows = listed["sessions"].as_array().map_or(&[][..], Vec::as_slice);
            let is_there = |id: &String| rows.iter().any(|row| row["id"] == id.as_str());
            has_all &= holder.sessions.iter().all(is_there);
        }
        if has_all {
            let gone = peers.iter_mut().filter(|peer| peer.link.is_some());
            let back = gone.map(|peer| {
                peer.returned = true;
                self.open(peer)
            });
            let back = join_all(back).await;
            back.into_iter().collect::<Result<(), _>>()?;
        }
        Ok(has_all)
    }

    /// Opens the connection of an actor, and waits until it is served.
    async fn open(&self, peer: &mut Peer) -> Result<(), RoundError> {
        let options = self.options(&peer.actor, &peer.name);
        let link = match Link::open(&options).await {
            // Not every server has every transport, and a server may refuse surplus ids.
            Err(_) if peer.actor.wire != Wire::WebSocket || peer.actor.scope.is_odd() => {
                let mut plain = peer.actor.clone();
                plain.wire = Wire::WebSocket;
                if plain.scope.is_odd() {
                    plain.scope = Scope::User;
                }
                let opened = Link::open(&self.options(&plain, &peer.name)).await;
                // From now on it receives, and is waited for, as what it is.
                peer.actor = plain;
                opened
            }
            opened => opened,
        };
        let link = link.map_err(|source| RoundError::Connect {
            name: peer.name.clone(),
            source,
        })?;
        if let Ok(pending) = link.socket.request("ping", ()).await {
            self.answered("ping", pending, Learn::Nothing, peer.actor.account)
                .await;
        }
        peer.link = Some(link);
        Ok(())
    }

    fn options(&self, actor: &Actor, name: &str) -> ConnectOptions {
        let holder = self.holder(actor.account);
        let mut auth = json!({"token": holder.account.token.expose(), "clientType": "user-scoped"});
        match actor.scope {
            Scope::User => {}
            Scope::Surplus | Scope::Foreign => {
                let named = match actor.scope {
                    Scope::Foreign => self.other(actor.account),
                    _ => holder,
                };
                auth["sessionId"] = json!(named.sessions[0]);
                auth["machineId"] = json!(named.machines[0]);
            }
            Scope::ForeignSession => {
                auth["clientType"] = json!("session-scoped");
                auth["sessionId"] = json!(self.other(actor.account).sessions[0]);
            }
            Scope::Session(index) => {
                auth["clientType"] = json!("session-scoped");
                auth["sessionId"] = json!(holder.sessions[usize::from(index)]);
            }
            Scope::Machine(index) => {
                auth["clientType"] = json!("machine-scoped");
                auth["machineId"] = json!(holder.machines[usize::from(index)]);
            }
        }
        let urls = &self.target.urls;
        let url = urls[actor.node(urls.len())].clone();
        let mut options = self.target.options.at(url).auth(auth);
        options.transport = match actor.wire {
            Wire::WebSocket => Transport::WebSocket,
            Wire::Polling => Transport::Polling,
            Wire::Upgrade => Transport::Upgrade,
        };
        options.tap = Some(self.recorder.tap(name));
        options.event_queue = 100_000;
        options.event_queue_bytes = 64 << 20;
        options
    }

    /// Does the steps of one actor in their order, and waits for all answers at the end.
    async fn perform(&self, peer: &mut Peer, steps: Vec<&Step>) {
        let mut pending: Vec<Pending<'_>> = Vec::new();
        for step in steps {
            match step.act {
                Act::Drop | Act::Leave | Act::HalfClose | Act::StopReading => {
                    self.part(peer, &step.act).await;
                }
                Act::Return => {
                    let is_there = peer.link.as_ref().is_some_and(Link::is_live);
                    if !is_there {
                        // Who cannot come back is away: nothing of what follows is lost for it.
                        self.open(peer).await.ok();
                        peer.returned = true;
                    }
                }
                Act::RegisterAll => {
                    for method in 0..METHODS {
                        let act = Act::Register { method };
                        self.send(peer, &act, &mut pending).await;
                    }
                }
                _ => {
                    for _ in 0..step.times {
                        self.send(peer, &step.act, &mut pending).await;
                    }
                    // Who makes and changes rows mostly goes on with what it was answered.
                    if step.times == 1 && step.act.is_about_rows() {
                        join_all(pending.drain(..)).await;
                    }
                }
            }
        }
        join_all(pending).await;
    }

    async fn part(&self, peer: &mut Peer, act: &Act) {
        let Some(link) = &mut peer.link else { return };
        match act {
            Act::Drop => link.socket.abort(),
            Act::Leave => link.socket.disconnect().await,
            Act::HalfClose => {
                link.socket.half_close().await.ok();
            }
            _ => {
                link.socket.stop_reading(true);
                link.deaf.cancel();
            }
        }
        link.reads = false;
        link.wrote.clear();
        link.beat.clear();
    }

    async fn send<'a>(&'a self, peer: &mut Peer, act: &Act, pending: &mut Vec<Pending<'a>>) {
        let account = peer.actor.account;
        let holder = self.holder(account);
        let Some(deed) = deed(act, &self.world, holder, self.other(account)) else {
            return;
        };
        let Some(link) = &mut peer.link else { return };
        match deed {
            Deed::Emit(event, data) => {
                note(link, act, peer.actor.scope, holder);
                // Who has left says nothing any more.
                link.socket.emit(event, data).await.ok();
            }
            Deed::Call(event, data, learn) => {
                let kind = kind_of(act, event, &data);
                let sent = match data {
                    Value::Null => link.socket.request(event, ()).await,
                    data => link.socket.request(event, data).await,
                };
                // Who does not read does not wait either.
                if let (Ok(reply), true) = (sent, link.reads) {
                    let deaf = link.deaf.clone();
                    pending.push(Box::pin(async move {
                        tokio::select! {
                            biased;
                            _ = self.answered(kind, reply, learn, account) => {}
                            () = deaf.cancelled() => {}
                        }
                    }));
                }
            }
            Deed::Http(method, path, body, learn) => {
                pending.push(Box::pin(async move {
                    self.ask(account, method, &path, body.as_ref(), &learn)
                        .await;
                }));
            }
        }
    }

    /// Waits for an answer, and gives it where it tells versions.
    async fn answered(
        &self,
        kind: &str,
        reply: PendingReply,
        learn: Learn,
        account: u8,
    ) -> Option<Value> {
        let began = Instant::now();
        let reply = match reply.within(self.patience(kind)).await {
            Ok(reply) => reply,
            Err(CallError::Timeout { .. }) => {
                self.missed(kind);
                return None;
            }
            // Who has left is answered nothing.
            Err(CallError::Ended { .. }) => return None,
        };
        self.target.came(kind, began.elapsed());
        let answer = reply.data().ok()?;
        learn.from(&answer, &self.world, self.holder(account));
        Some(answer)
    }

    async fn ask(
        &self,
        account: u8,
        method: &str,
        path: &str,
        body: Option<&Value>,
        learn: &Learn,
    ) -> Option<Value> {
        let holder = self.holder(account);
        let token = Some(&holder.account.token);
        let answer = self.rest.request(method, path, token, body).await.ok()?;
        learn.from(&answer.body, &self.world, holder);
        (answer.status < 300).then_some(answer.body)
    }

    /// How long something of this kind is waited for. What did not come in full time is not waited for in full
    /// once more in the same round.
    fn patience(&self, kind: &str) -> Duration {
        let is_missed = lock(&self.missed).contains(kind);
        self.target.patience(kind, is_missed)
    }

    /// Something of this kind did not come. Only the judge knows whether it had to.
    fn missed(&self, kind: &str) {
        lock(&self.missed).insert(kind.to_owned());
    }
}

/// Notes what an event is waited for by at the quiet point.
fn note(link: &mut Link, act: &Act, scope: Scope, holder: &Holder) {
    match act {
        Act::Message { session, .. } => {
            link.wrote.insert(*session);
        }
        Act::SessionAlive { session, .. } => {
            let sid = &holder.sessions[usize::from(*session)];
            link.beat.insert(sid.clone());
        }
        // Not every server takes a machine's heartbeats from others.
        Act::MachineAlive { machine } if scope == Scope::Machine(*machine) => {
            let id = &holder.machines[usize::from(*machine)];
            link.beat.insert(id.clone());
        }
        Act::Register { method } => {
            link.registered.insert(*method);
            link.has.insert(*method);
            lock(&holder.methods).insert(*method);
        }
        Act::Unregister { method } => {
            link.unregistered.insert(*method);
            link.has.remove(method);
            lock(&holder.methods).insert(*method);
        }
        _ => {}
    }
}

/// The kind of things that a call is waited for as.
fn kind_of(act: &Act, event: &'static str, data: &Value) -> &'static str {
    match (act, data.get("params")) {
        // That another account's rows are not answered says nothing of one's own.
        (Act::Foreign(_), _) => "an event about another account's",
        (_, Some(params)) if !params.is_string() => WITHOUT_TEXT,
        _ => event,
    }
}

fn is_live(peer: &Peer) -> bool {
    peer.link.as_ref().is_some_and(Link::is_live)
}
