//! One account while it is under load: its connections, its ledger, and what they do to each
//! other. Everything of an account happens on one worker, so its lock is never fought for.

mod connect;
mod emit;
mod marks;
mod receive;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::task::task_tracker::TaskTrackerToken;
use touchstone_client::{Frame, Socket};

use self::marks::Marks;
use super::{common::Common, payload, provision::Provided, stats::Stats};
use crate::{
    audit::{Found, Ledger},
    scenario::{EventKind, How, Role},
    schedule::{Account, Emit},
};

/// Compare-and-sets that may wait for the one before them at one connection.
const WAITING: usize = 64;

/// One account under load.
pub(super) struct Cell {
    pub(super) account: Account,
    pub(super) provided: Provided,
    pub(super) common: Arc<Common>,
    state: Mutex<State>,
    /// Says that connections of it may still be open.
    _alive: TaskTrackerToken,
}

/// What changes.
struct State {
    ledger: Ledger,
    peers: Vec<PeerState>,
    /// The versions of what is compared and set, as far as anyone of the account knows.
    versions: HashMap<(EventKind, u32), i64>,
    /// What identifies the events in flight that have no stamp.
    marked: Marks,
    /// Calls that have reached their callee: when, or how long it has worked on it.
    calls: HashMap<u32, Call>,
    /// The latest time that was told of each session and machine; one that has ended has no later one.
    told: HashMap<(Option<Role>, u32), u64>,
}

/// One connection.
#[derive(Default)]
struct PeerState {
    /// Set while the connection is open or about to be.
    socket: Option<Socket>,
    /// Which of its connections this is, so that the end of an older one is not taken for its own.
    generation: u32,
    /// Whether the scenario wants it to be open.
    wanted: bool,
    /// Since when it is wanted and not there; while it is there, since when it was missing before.
    missing_since: u64,
    /// Whether CONNECT was answered.
    open: bool,
    /// When it was answered last, in Unix milliseconds.
    opened_ms: u64,
    /// Whether it has said its farewell, and goes when that is answered.
    leaving: bool,
    /// Whether it was torn away, so that its client will tell how old its news are.
    torn: bool,
    /// Whether it stalls on purpose, so that a server may end it.
    excused: bool,
    next_ack: u64,
    /// The ack that proves, at the end, that all that was sent here before has arrived.
    proof: Option<u64>,
    pending: Vec<Pending>,
    /// Compare-and-sets that wait for the one before them.
    waiting: VecDeque<(Emit, u64)>,
    /// Events that wait for the connection, as clients keep them.
    held: VecDeque<(Emit, u64)>,
    artifact: Option<(String, i64)>,
    registered: u32,
    was_ready: bool,
}

/// A call that has reached its callee.
#[derive(Clone, Copy)]
enum Call {
    /// The callee works on it since then.
    Since(u64),
    /// It has worked for so long.
    Worked(u64),
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
                marked: Marks::default(),
                calls: HashMap::new(),
                told: HashMap::new(),
            }),
            account,
            provided,
            _alive: common.cells.token(),
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

    /// Gives up what has waited too long.
    pub(super) fn sweep(&self, now: u64) {
        let mut state = self.state();
        let State {
            ledger,
            peers,
            marked,
            calls,
            ..
        } = &mut *state;
        let mut stats = self.stats();
        let account = &self.account;
        ledger.sweep(now, &mut |finding| stats.found(account, &finding));
        let (base, in_flight) = (ledger.first_number(), ledger.in_flight());
        marked.forget_before(base, in_flight);
        if calls.len() > 2 * in_flight + 16 {
            calls.retain(|number, _| *number >= base);
        }
        let patience = self.common.schedule.scenario().rpc.timeout.us();
        let mut relieved = Vec::new();
        let mut left = Vec::new();
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
            if of_peer.may_go() {
                left.push(peer);
            }
        }
        drop(stats);
        for peer in relieved {
            self.send_waiting(&mut state, peer, now);
        }
        drop(state);
        for peer in left {
            self.close(peer, How::Disconnect, now);
        }
    }

    /// Whether anything that must come has not. Events before number `seen` have come; it is moved
    /// on, so that asking after each packet does not look at all events each time.
    pub(super) fn is_waiting(&self, seen: &mut u32) -> bool {
        let state = self.state();
        match state.ledger.first_awaited(*seen) {
            Some(number) => {
                *seen = number;
                true
            }
            None => state.peers.iter().any(PeerState::awaits),
        }
    }

    /// Asks every open connection for a sign behind which nothing can come that the server sent
    /// before: what must not have arrived has no delivery to wait for.
    pub(super) fn ask_for_proof(&self) {
        for of_peer in &mut self.state().peers {
            let Some(socket) = of_peer.socket.as_ref().filter(|_| of_peer.open) else {
                continue;
            };
            let frame = payload::proof(of_peer.next_ack);
            if !of_peer.excused && socket.try_send_raw(Frame::text(frame)).is_ok() {
                of_peer.proof = Some(of_peer.next_ack);
                of_peer.next_ack += 1;
            }
        }
    }

    /// At how many connections these signs have not come.
    pub(super) fn unproved(&self) -> usize {
        let state = self.state();
        let peers = state.peers.iter();
        peers
            .filter(|of_peer| of_peer.open && of_peer.proof.is_some())
            .count()
    }

    /// The run is over, and every connection is let go. What has not arrived is lost, unless it
    /// `is_under_way` and the run did not wait for it.
    pub(super) fn finish(&self, is_under_way: bool) {
        let mut state = self.state();
        let State { ledger, peers, .. } = &mut *state;
        let mut stats = self.stats();
        let account = &self.account;
        let before = stats.under_way;
        let mut uncertain = 0;
        ledger.close(is_under_way, &mut |finding| {
            uncertain += u64::from(finding.found == Found::Uncertain);
            stats.found(account, &finding);
        });
        if is_under_way {
            stats.under_way = before + uncertain;
        }
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
    /// Whether it has waited for all that it waits for before it goes.
    fn may_go(&self) -> bool {
        let is_pinging = |pending: &Pending| pending.kind == EventKind::Ping;
        self.leaving && self.waiting.is_empty() && !self.pending.iter().any(is_pinging)
    }

    /// Whether it waits for its connection, or for an answer that it is there to receive.
    fn awaits(&self) -> bool {
        let is_coming = self.wanted && !self.open;
        let is_answered = self.pending.is_empty() && self.waiting.is_empty();
        is_coming || self.open && !self.excused && !is_answered
    }
}
