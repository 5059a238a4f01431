//! One account while it is under load: its connections, its ledger, and what they do to each
//! other. Everything of an account happens on one worker, so its lock is never fought for.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::{Instant, sleep};
use touchstone_client::{Frame, SendError, Socket};

use super::{
    packet::{self, Activity, Incoming},
    payload::{self, About},
    provision::Provided,
    stats::Stats,
    worker::Common,
};
use crate::{
    audit::{Entry, Ledger, Presence, stamp::Stamp},
    report::model::{Example, Outcome},
    scenario::{EventKind, How, Role},
    schedule::{Account, Emit, Peer, handler_delay},
};

/// Compare-and-sets that may wait for the one before them at one connection.
const WAITING: usize = 64;
/// Heartbeats name a time a little ago, so that a server whose clock is behind does not take it for
/// the future and change it.
const HEARTBEAT_AGE_MS: u64 = 5_000;

/// One account under load.
pub(super) struct Cell {
    pub(super) account: Account,
    pub(super) provided: Provided,
    pub(super) common: Arc<Common>,
    state: Mutex<State>,
}

/// What changes.
struct State {
    ledger: Ledger,
    peers: Vec<PeerState>,
    /// The versions of what is compared and set, as far as anyone of the account knows.
    versions: HashMap<(EventKind, u32), i64>,
    /// Heartbeats in flight, by what identifies them: machine or session, which, and their time.
    heartbeats: HashMap<(bool, u32, u64), u32>,
}

/// One connection.
#[derive(Default)]
pub(super) struct PeerState {
    /// Set while the connection is open or about to be.
    socket: Option<Socket>,
    /// Which of its connections this is, so that the end of an older one is not taken for its own.
    generation: u32,
    /// Whether the scenario wants it to be open.
    wanted: bool,
    /// Whether CONNECT was answered.
    open: bool,
    /// Whether it stalls on purpose, so that a server may end it.
    excused: bool,
    next_ack: u64,
    pending: Vec<Pending>,
    /// Compare-and-sets that wait for the one before them.
    waiting: VecDeque<(Emit, u64)>,
    /// Events that wait for the connection, as clients keep them.
    held: VecDeque<(Emit, u64)>,
    artifact: Option<(String, i64)>,
    registered: u32,
    was_ready: bool,
}

/// An event whose ack has not come.
struct Pending {
    id: u64,
    kind: EventKind,
    number: Option<u32>,
    target: u32,
    planned: u64,
    sent: u64,
}

/// Whether it needs a version, so that a connection has only one of them under way.
fn is_cas(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::UpdateMetadata
            | EventKind::UpdateState
            | EventKind::MachineUpdateMetadata
            | EventKind::MachineUpdateState
            | EventKind::ArtifactUpdate
            | EventKind::ArtifactCreate
            | EventKind::ArtifactRead
    )
}

impl Cell {
    pub(super) fn new(account: Account, provided: Provided, common: Arc<Common>) -> Self {
        let versions = provided.versions.iter().copied().collect();
        let peers = (0..account.connections()).map(|_| PeerState::default());
        Self {
            state: Mutex::new(State {
                ledger: Ledger::new(account, common.rules),
                peers: peers.collect(),
                versions,
                heartbeats: HashMap::new(),
            }),
            account,
            provided,
            common,
        }
    }

    /// Nothing that holds these locks can panic half-way, so a poisoned one is still sound.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stats(&self) -> MutexGuard<'_, Stats> {
        self.common.stats()
    }

    // Connections

    /// The scenario wants a connection. Returns its generation, where none is there yet.
    pub(super) fn want(&self, peer: u32) -> Option<u32> {
        let mut state = self.state();
        let state = &mut state.peers[peer as usize];
        if state.wanted {
            return None;
        }
        state.wanted = true;
        state.generation += 1;
        let mut stats = self.stats();
        stats.wanted += 1;
        stats.connections.planned += 1;
        Some(state.generation)
    }

    /// Whether a connection of this generation is still wanted.
    pub(super) fn is_wanted(&self, peer: u32, generation: u32) -> bool {
        let state = &self.state().peers[peer as usize];
        state.wanted && state.generation == generation
    }

    /// An attempt has got as far as a socket.
    pub(super) fn attach(&self, peer: u32, generation: u32, socket: Socket) -> bool {
        let state = &mut self.state().peers[peer as usize];
        let is_wanted = state.wanted && state.generation == generation;
        if is_wanted {
            state.socket = Some(socket);
        }
        is_wanted
    }

    /// CONNECT was answered.
    pub(super) fn opened(&self, peer: u32, generation: u32, times: [u64; 3]) {
        let [planned, dialed, at] = times;
        let mut state = self.state();
        let State { ledger, peers, .. } = &mut *state;
        let of_peer = &mut peers[peer as usize];
        if of_peer.generation != generation || !of_peer.wanted {
            return;
        }
        of_peer.open = true;
        of_peer.registered = 0;
        let mut stats = self.stats();
        stats.connected(planned, dialed, at);
        let account = &self.account;
        ledger.set_presence(peer, Presence::Since(at), true, at, &mut |finding| {
            stats.found(account, &finding);
        });
        drop(stats);
        self.introduce(&mut state, peer, at);
        let held = std::mem::take(&mut state.peers[peer as usize].held);
        for (emit, planned) in held {
            self.emit_in_turn(&mut state, peer, emit, planned, at);
        }
    }

    /// What clients do right behind CONNECT: write their state, register their methods.
    fn introduce(&self, state: &mut State, peer: u32, at: u64) {
        let bound = self.account.peer(peer);
        let rules = self.common.schedule.scenario().rules(bound.role);
        if rules.write_state && bound.role != Role::User {
            let kind = match bound.role {
                Role::Machine => EventKind::MachineUpdateState,
                _ => EventKind::UpdateState,
            };
            let emit = Emit {
                kind,
                target: bound.subject,
                size: 120,
                choice: 0,
                recipients: 0,
            };
            self.stats().due(at, at);
            self.emit_now(state, peer, emit, at, at);
        }
        for method in 0..rules.registrations {
            let frame = payload::registration(&self.method(peer, method));
            let socket = state.peers[peer as usize].socket.as_ref();
            if socket.is_none_or(|socket| socket.try_send_raw(Frame::text(frame)).is_err()) {
                self.stats().error("registration not sent");
            }
        }
        if rules.registrations == 0 {
            self.ready(&mut state.peers[peer as usize], at);
        }
    }

    /// The connection has done all that clients do at first.
    fn ready(&self, peer: &mut PeerState, at: u64) {
        if !std::mem::replace(&mut peer.was_ready, true) {
            let ready = &mut self.stats().connections.ready_ms;
            *ready = (at / 1000).max(*ready);
        }
    }

    /// A method's name, as a JSON string.
    fn method(&self, peer: u32, method: u32) -> String {
        let Peer { role, subject } = self.account.peer(peer);
        let id = match role {
            Role::Session => &self.provided.sessions[subject as usize],
            Role::Machine => &self.provided.machines[subject as usize],
            Role::User => return format!("\"user-{subject}:method-{method}\""),
        };
        let id = id.trim_matches('"');
        format!("\"{id}:{peer}:method-{method}\"")
    }

    /// A connection is over, or was never opened. Returns whether it is to be tried again.
    pub(super) fn ended(&self, peer: u32, generation: u32, why: &str, at: u64) -> bool {
        let mut state = self.state();
        if state.peers[peer as usize].generation != generation {
            return false;
        }
        let of_peer = &mut state.peers[peer as usize];
        let was_open = of_peer.open;
        let (wanted, excused) = (of_peer.wanted, of_peer.excused);
        let mut stats = self.stats();
        if !was_open {
            stats.refused(why);
        } else if excused {
            stats.connections.closed += 1;
            stats.error("ended by the server after it had stalled on purpose");
        } else if wanted {
            stats.connections.dropped += 1;
            stats.error(why);
        }
        drop(stats);
        self.forget(&mut state, peer, false, at);
        wanted
    }

    /// Clears what belongs to a connection that is no more.
    fn forget(&self, state: &mut State, peer: u32, surely: bool, at: u64) -> Option<Socket> {
        let State { ledger, peers, .. } = state;
        let of_peer = &mut peers[peer as usize];
        let mut stats = self.stats();
        if std::mem::take(&mut of_peer.open) {
            stats.open -= 1;
        }
        for pending in of_peer.pending.drain(..) {
            stats.answer(pending.kind.name(), "connection ended");
        }
        for _ in of_peer.waiting.drain(..) {
            stats.unsent("unsent: the connection ended while an earlier write was unanswered");
        }
        if !of_peer.wanted {
            for _ in of_peer.held.drain(..) {
                stats.unsent("unsent: not connected");
            }
        }
        let account = &self.account;
        ledger.set_presence(peer, Presence::Away, surely, at, &mut |finding| {
            stats.found(account, &finding);
        });
        of_peer.socket.take()
    }

    /// The scenario drops a connection.
    pub(super) fn close(&self, peer: u32, how: How, at: u64) {
        let mut state = self.state();
        let of_peer = &mut state.peers[peer as usize];
        if !std::mem::take(&mut of_peer.wanted) {
            return;
        }
        of_peer.generation += 1;
        let was_open = of_peer.open;
        {
            let mut stats = self.stats();
            stats.wanted -= 1;
            stats.connections.closed += u64::from(was_open);
        }
        let socket = self.forget(&mut state, peer, how == How::Disconnect, at);
        drop(state);
        match (socket, how) {
            (Some(socket), How::Disconnect) => {
                tokio::spawn(async move { socket.disconnect().await });
            }
            (Some(socket), How::Abort) => socket.abort(),
            (None, _) => {}
        }
    }

    /// The scenario makes a connection stop or resume reading.
    pub(super) fn stop_reading(&self, peer: u32, stop: bool, at: u64) {
        let presence = if stop {
            Presence::Stopped
        } else {
            // It has been there all the time.
            Presence::Since(at.saturating_sub(self.common.rules.grace))
        };
        self.stall(peer, presence, at, |socket| socket.stop_reading(stop));
    }

    /// The scenario makes a connection fall silent for ever.
    pub(super) fn fall_silent(&self, peer: u32, at: u64) {
        self.stall(peer, Presence::Silent, at, |socket| {
            socket.ignore_pings(true);
            socket.stop_reading(true);
        });
        let of_peer = &mut self.state().peers[peer as usize];
        // From now on it is none of ours: how the server rids itself of it is its own affair.
        of_peer.generation += 1;
        let mut stats = self.stats();
        if std::mem::take(&mut of_peer.wanted) {
            stats.wanted -= 1;
        }
        if std::mem::take(&mut of_peer.open) {
            stats.open -= 1;
            stats.connections.closed += 1;
        }
    }

    fn stall(&self, peer: u32, presence: Presence, at: u64, act: impl FnOnce(&Socket)) {
        let mut state = self.state();
        let State { ledger, peers, .. } = &mut *state;
        let of_peer = &mut peers[peer as usize];
        let Some(socket) = of_peer.socket.as_ref().filter(|_| of_peer.open) else {
            return;
        };
        act(socket);
        of_peer.excused = true;
        let mut stats = self.stats();
        let account = &self.account;
        ledger.set_presence(peer, presence, true, at, &mut |finding| {
            stats.found(account, &finding);
        });
    }

    // Emitting

    /// An event is due.
    pub(super) fn emit(&self, peer: u32, emit: Emit, planned: u64, now: u64) {
        self.stats().due(planned, now);
        let mut state = self.state();
        let of_peer = &mut state.peers[peer as usize];
        if of_peer.open {
            self.emit_in_turn(&mut state, peer, emit, planned, now);
        } else if emit.kind.is_volatile() {
            // Clients send heartbeats as volatile: without a connection there is none.
            self.stats().skipped();
        } else if of_peer.wanted && of_peer.held.len() < WAITING {
            of_peer.held.push_back((emit, planned));
        } else {
            self.stats().unsent("unsent: not connected");
        }
    }

    /// Emits at once, or after the compare-and-set that is under way.
    fn emit_in_turn(&self, state: &mut State, peer: u32, emit: Emit, planned: u64, now: u64) {
        let of_peer = &mut state.peers[peer as usize];
        let busy = || of_peer.pending.iter().any(|pending| is_cas(pending.kind));
        if is_cas(emit.kind) && (!of_peer.waiting.is_empty() || busy()) {
            if of_peer.waiting.len() < WAITING {
                of_peer.waiting.push_back((emit, planned));
            } else {
                self.stats()
                    .unsent("unsent: too many earlier writes are unanswered");
            }
            return;
        }
        self.emit_now(state, peer, emit, planned, now);
    }

    fn emit_now(&self, state: &mut State, peer: u32, emit: Emit, planned: u64, now: u64) {
        let State {
            ledger,
            peers,
            versions,
            heartbeats,
        } = state;
        let of_peer = &mut peers[peer as usize];
        let mut kind = emit.kind;
        if matches!(kind, EventKind::ArtifactUpdate | EventKind::ArtifactRead)
            && of_peer.artifact.is_none()
        {
            kind = EventKind::ArtifactCreate;
        }
        let number = ledger.next_number();
        let stamp = Stamp {
            run: self.common.run,
            account: self.account.index,
            number,
        };
        let mut time = self
            .common
            .unix_ms(planned)
            .saturating_sub(HEARTBEAT_AGE_MS);
        let heartbeat = |time| (kind == EventKind::MachineAlive, emit.target, time);
        if kind.is_volatile() {
            while heartbeats.contains_key(&heartbeat(time)) {
                time += 1;
            }
        }
        let made;
        let (subject, other, version) = match kind {
            EventKind::ArtifactCreate => {
                made = payload::artifact_id(stamp);
                (made.as_str(), "", 0)
            }
            EventKind::ArtifactUpdate | EventKind::ArtifactRead => {
                let (id, version) = of_peer.artifact.as_ref().expect("it was created above");
                (id.as_str(), "", *version)
            }
            EventKind::RpcCall => {
                let callee = self.account.peer(emit.target);
                let rules = self.common.schedule.scenario().rules(callee.role);
                made = self.method(emit.target, emit.choice % rules.registrations.max(1));
                (made.as_str(), "", 0)
            }
            EventKind::AccessKeyGet => {
                let machines = &self.provided.machines;
                let machine = emit.choice as usize % machines.len().max(1);
                let session = &self.provided.sessions[emit.target as usize];
                (session.as_str(), machines[machine].as_str(), 0)
            }
            _ => {
                let of_subject = match kind.subject() {
                    Some(Role::Machine) => self.provided.machines.get(emit.target as usize),
                    Some(_) => self.provided.sessions.get(emit.target as usize),
                    None => None,
                };
                let version = versions
                    .get(&(kind, emit.target))
                    .copied()
                    .unwrap_or_default();
                (of_subject.map_or("", String::as_str), "", version)
            }
        };
        let about = About {
            subject,
            other,
            version,
            time,
        };
        let ack = kind.is_acked().then_some(of_peer.next_ack);
        let frame = payload::frame(kind, ack, about, stamp, emit.size);
        let sent = of_peer
            .socket
            .as_ref()
            .map(|socket| socket.try_send_raw(Frame::text(frame)));
        let mut stats = self.stats();
        match sent {
            Some(Ok(())) => {}
            Some(Err(SendError::Full)) => {
                return stats.unsent("unsent: the server does not read, and the queue is full");
            }
            Some(Err(SendError::Ended(_))) | None => return stats.unsent("unsent: not connected"),
        }
        stats.sent(planned);
        let mut entered = None;
        if kind.delivered_as().is_some() {
            let entry = Entry {
                kind,
                sender: peer,
                target: emit.target,
                choice: emit.choice,
                planned,
                sent: now,
            };
            let account = &self.account;
            ledger.enter(entry, &mut |finding| stats.found(account, &finding));
            if kind.is_volatile() {
                heartbeats.insert(heartbeat(time), number);
            }
            entered = Some(number);
        }
        if let Some(id) = ack {
            of_peer.next_ack += 1;
            if kind == EventKind::ArtifactCreate {
                of_peer.artifact = Some((subject.to_owned(), 1));
            }
            of_peer.pending.push(Pending {
                id,
                kind,
                number: entered,
                target: emit.target,
                planned,
                sent: now,
            });
        }
    }

    // Receiving

    /// A packet has arrived.
    pub(super) fn packet(self: &Arc<Self>, peer: u32, generation: u32, at: Instant, packet: &str) {
        let now = self.common.since_start(at);
        if self.state().peers[peer as usize].generation != generation {
            // The scenario has dropped this connection, and perhaps opened another.
            return;
        }
        match packet::look(packet) {
            Incoming::Ack(id, args) => self.acked(peer, id, args, now),
            Incoming::Request(id) => {
                let choice = self.stamped(peer, packet, now);
                self.answer(peer, id, choice.unwrap_or_default());
            }
            Incoming::Registered => {
                let mut state = self.state();
                let of_peer = &mut state.peers[peer as usize];
                of_peer.registered += 1;
                self.stats().connections.registered += 1;
                let role = self.account.peer(peer).role;
                let rules = self.common.schedule.scenario().rules(role);
                if of_peer.registered == rules.registrations {
                    self.ready(of_peer, now);
                }
            }
            Incoming::RpcError => self.stats().error("a method was not registered"),
            Incoming::Event => {
                self.stamped(peer, packet, now);
            }
        }
    }

    /// Strikes off the event in a packet; returns its choice.
    fn stamped(&self, peer: u32, packet: &str, at: u64) -> Option<u32> {
        let number = match Stamp::find(packet) {
            Some(stamp) if stamp.run != self.common.run => return None,
            Some(stamp) if stamp.account == self.account.index => stamp.number,
            Some(stamp) => {
                self.leaked(peer, packet, stamp.account, u64::from(stamp.number));
                return None;
            }
            None => {
                let activity = packet::activity(packet)?;
                match self.heartbeat(peer, packet, &activity)? {
                    Some(number) => number,
                    None => return None,
                }
            }
        };
        let mut state = self.state();
        let mut stats = self.stats();
        let account = &self.account;
        let arrival = state.ledger.arrived(number, peer, at, &mut |finding| {
            stats.found(account, &finding)
        })?;
        stats.arrived(&arrival, at);
        Some(arrival.choice)
    }

    /// The number of a heartbeat in flight. Others are the server's own, about connections.
    fn heartbeat(&self, peer: u32, packet: &str, found: &Activity<'_>) -> Option<Option<u32>> {
        let id = (found.machine, found.id);
        match self.common.directory.get(id) {
            Some((account, subject)) if account == self.account.index => {
                let key = (found.machine, subject, found.at);
                Some(self.state().heartbeats.get(&key).copied())
            }
            Some((account, _)) => {
                self.leaked(peer, packet, account, 0);
                None
            }
            None => None,
        }
    }

    /// An event of another account has arrived.
    fn leaked(&self, peer: u32, packet: &str, account: u32, sequence: u64) {
        let event = packet::type_of(packet).to_owned();
        let example = Example {
            outcome: Outcome::Misrouted,
            sender: format!("account {account}"),
            recipient: self.account.name(peer),
            sequence,
            planned_us: 0,
            event,
        };
        self.stats().leaked(example);
    }

    /// Answers a call, after the time that the callee works.
    fn answer(self: &Arc<Self>, peer: u32, id: &str, choice: u32) {
        if id.is_empty() {
            return;
        }
        let frame = Frame::text(payload::answer(id));
        let Some(socket) = self.state().peers[peer as usize].socket.clone() else {
            return;
        };
        let delay = handler_delay(self.common.schedule.scenario(), choice).std();
        if delay.is_zero() {
            if socket.try_send_raw(frame).is_err() {
                self.stats().error("an answer to a call could not be sent");
            }
            return;
        }
        let common = Arc::clone(&self.common);
        tokio::spawn(async move {
            sleep(delay).await;
            if socket.try_send_raw(frame).is_err() {
                common
                    .stats()
                    .error("an answer to a call could not be sent");
            }
        });
    }

    fn acked(&self, peer: u32, id: u64, args: &str, at: u64) {
        let mut state = self.state();
        let State {
            ledger,
            peers,
            versions,
            ..
        } = &mut *state;
        let of_peer = &mut peers[peer as usize];
        let Some(index) = of_peer.pending.iter().position(|pending| pending.id == id) else {
            return self.stats().error("an ack that nobody waits for");
        };
        let pending = of_peer.pending.remove(index);
        let kind = pending.kind;
        let answer = packet::answer(args, kind == EventKind::RpcCall);
        let mut stats = self.stats();
        stats.answer(kind.name(), &answer.label);
        if answer.done || answer.label == "version-mismatch" {
            stats.acked(kind, pending.planned, pending.sent, at);
        }
        if let Some(number) = pending.number {
            let account = &self.account;
            ledger.answered(number, answer.done, &mut |finding| {
                stats.found(account, &finding)
            });
        }
        match (kind, answer.version) {
            (EventKind::ArtifactCreate, _) if !answer.done => of_peer.artifact = None,
            (EventKind::ArtifactCreate | EventKind::ArtifactUpdate, Some(now)) => {
                if let Some((_, version)) = &mut of_peer.artifact {
                    *version = now;
                }
            }
            (_, Some(now)) if is_cas(kind) => {
                versions.insert((kind, pending.target), now);
            }
            _ => {}
        }
        drop(stats);
        self.send_waiting(&mut state, peer, at);
    }

    /// The next compare-and-set may go.
    fn send_waiting(&self, state: &mut State, peer: u32, now: u64) {
        let of_peer = &mut state.peers[peer as usize];
        if of_peer.pending.iter().any(|pending| is_cas(pending.kind)) {
            return;
        }
        if let Some((emit, planned)) = of_peer.waiting.pop_front() {
            self.emit_now(state, peer, emit, planned, now);
        }
    }

    // From time to time

    /// Gives up what has waited too long.
    pub(super) fn sweep(&self, now: u64) {
        let mut state = self.state();
        let State {
            ledger,
            peers,
            heartbeats,
            ..
        } = &mut *state;
        let mut stats = self.stats();
        let account = &self.account;
        ledger.sweep(now, &mut |finding| stats.found(account, &finding));
        let base = ledger.first_number();
        if heartbeats.len() > 2 * ledger.in_flight() + 16 {
            heartbeats.retain(|_, number| *number >= base);
        }
        let patience = self.common.schedule.scenario().rpc.timeout.us();
        let mut relieved = Vec::new();
        for (peer, of_peer) in (0..).zip(peers.iter_mut()) {
            let before = of_peer.pending.len();
            of_peer.pending.retain(|pending| {
                let in_time = pending.sent + patience > now;
                if !in_time {
                    stats.answer(pending.kind.name(), "no answer");
                }
                in_time
            });
            if of_peer.pending.len() < before && !of_peer.waiting.is_empty() {
                relieved.push(peer);
            }
        }
        drop(stats);
        for peer in relieved {
            self.send_waiting(&mut state, peer, now);
        }
    }

    /// Whether anything that must come has not.
    pub(super) fn is_waiting(&self) -> bool {
        let state = self.state();
        state.ledger.is_waiting() || state.peers.iter().any(PeerState::awaits)
    }

    /// The run is over: what has not arrived is lost, and every connection is let go.
    pub(super) fn finish(&self) {
        let mut state = self.state();
        let State { ledger, peers, .. } = &mut *state;
        let mut stats = self.stats();
        let account = &self.account;
        ledger.close(&mut |finding| stats.found(account, &finding));
        for of_peer in peers {
            for pending in of_peer.pending.drain(..) {
                stats.answer(pending.kind.name(), "no answer");
            }
            for _ in of_peer.waiting.drain(..) {
                stats.unsent("unsent: the run ended while an earlier write was unanswered");
            }
            for _ in of_peer.held.drain(..) {
                stats.unsent("unsent: not connected");
            }
            of_peer.wanted = false;
            of_peer.generation += 1;
            of_peer.socket = None;
        }
    }
}

impl PeerState {
    /// Whether it waits for its connection, or for an answer that it is there to receive.
    fn awaits(&self) -> bool {
        let is_coming = self.wanted && !self.open;
        let is_answered = self.pending.is_empty() && self.waiting.is_empty();
        is_coming || self.open && !self.excused && !is_answered
    }
}
