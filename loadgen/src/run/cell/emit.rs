//! What an account's connections emit.

use std::borrow::Cow;
use std::collections::HashMap;

use touchstone_client::{Frame, SendError};

use super::{Cell, PeerState, Pending, State, WAITING, is_cas};
use crate::{
    audit::{Entry, stamp::Stamp},
    run::payload::{self, About},
    scenario::{EventKind, Role},
    schedule::Emit,
};

impl Cell {
    /// An event is due.
    pub(in crate::run) fn emit(&self, peer: u32, emit: Emit, planned: u64, now: u64) {
        self.stats().due(planned, now);
        let mut state = self.state();
        let of_peer = &mut state.peers[peer as usize];
        if of_peer.open {
            self.emit_in_turn(&mut state, peer, emit, planned, now);
        } else if emit.kind.is_heartbeat() {
            // Clients send heartbeats as volatile: without a connection there is none.
            self.stats().skipped();
        } else if of_peer.wanted && of_peer.held.len() < WAITING {
            of_peer.held.push_back((emit, planned));
        } else {
            self.stats().unsent("unsent: not connected");
        }
    }

    /// Emits at once, or after the compare-and-set that is under way.
    pub(super) fn emit_in_turn(
        &self,
        state: &mut State,
        peer: u32,
        emit: Emit,
        planned: u64,
        now: u64,
    ) {
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
        self.emit_now(state, peer, emit, None, [planned, now]);
    }

    /// Whether nobody has to be told of this news of a presence, at `time`: it is another one's, or not the
    /// latest. It is remembered.
    fn is_optional(
        &self,
        told: &mut HashMap<(Option<Role>, u32), u64>,
        peer: u32,
        emit: &Emit,
        is_fresh: bool,
        time: u64,
    ) -> bool {
        let (kind, bound) = (emit.kind, self.account.peer(peer));
        let is_own = kind.subject() == Some(bound.role) && bound.subject == emit.target;
        let latest = told.entry((kind.subject(), emit.target)).or_default();
        let is_rising = is_fresh && time >= *latest;
        *latest = match kind {
            // No heartbeat revives it.
            EventKind::SessionEnd => u64::MAX,
            _ => time.max(*latest),
        };
        kind.is_heartbeat() && !(is_own && is_rising)
    }

    /// What an event is about that is not about an artifact: its method or row, and the machine of a key.
    fn subject(&self, kind: EventKind, emit: &Emit) -> (Cow<'_, str>, &str) {
        let (sessions, machines) = (&self.provided.sessions, &self.provided.machines);
        let target = emit.target as usize;
        match kind {
            EventKind::RpcCall => {
                let callee = self.account.peer(emit.target);
                let rules = self.common.schedule.scenario().rules(callee.role);
                let nth = emit.choice % rules.registrations.max(1);
                (self.method(emit.target, nth).into(), "")
            }
            EventKind::AccessKeyGet => {
                let machine = emit.choice as usize % machines.len().max(1);
                (Cow::from(&sessions[target]), machines[machine].as_str())
            }
            _ => {
                let row = match kind.subject() {
                    Some(Role::Machine) => machines.get(target),
                    Some(_) => sessions.get(target),
                    None => None,
                };
                (row.map_or(Cow::from(""), Cow::from), "")
            }
        }
    }

    /// What an event is about: which artifact, method or row, the machine of a key, and the version that it
    /// expects.
    fn about<'a>(
        &'a self,
        state: &'a State,
        peer: u32,
        (kind, emit): (EventKind, &Emit),
        stamp: Stamp,
    ) -> (Cow<'a, str>, &'a str, i64) {
        match (kind, &state.peers[peer as usize].artifact) {
            (EventKind::ArtifactCreate, _) => (payload::artifact_id(stamp).into(), "", 0),
            (EventKind::ArtifactUpdate | EventKind::ArtifactRead, Some((id, version))) => {
                (Cow::from(id), "", *version)
            }
            _ => {
                let version = state.versions.get(&(kind, emit.target)).copied();
                let (subject, other) = self.subject(kind, emit);
                (subject, other, version.unwrap_or_default())
            }
        }
    }

    /// Emits at once. A heartbeat is of this moment, unless it is `stale` and of an earlier one.
    pub(super) fn emit_now(
        &self,
        state: &mut State,
        peer: u32,
        emit: Emit,
        stale: Option<u64>,
        [planned, now]: [u64; 2],
    ) {
        let mut kind = emit.kind;
        if matches!(kind, EventKind::ArtifactUpdate | EventKind::ArtifactRead)
            && state.peers[peer as usize].artifact.is_none()
        {
            kind = EventKind::ArtifactCreate;
        }
        let number = state.ledger.next_number();
        let stamp = Stamp {
            run: self.common.run,
            account: self.account.index,
            number,
        };
        let age = stale.map_or(0, |since| now.saturating_sub(since) / 1000);
        let time = self.common.clock.unix_ms().saturating_sub(age);
        let is_optional = kind.is_presence()
            && self.is_optional(&mut state.told, peer, &emit, stale.is_none(), time);
        let ack = kind
            .is_acked()
            .then_some(state.peers[peer as usize].next_ack);
        let (subject, other, version) = self.about(state, peer, (kind, &emit), stamp);
        let about = About {
            subject: &subject,
            other,
            version,
            time,
            thinking: emit.thinking,
        };
        let frame = payload::frame(kind, ack, about, stamp, emit.size);
        let artifact = (kind == EventKind::ArtifactCreate).then(|| subject.into_owned());
        if !self.write(&state.peers[peer as usize], frame, planned) {
            return;
        }
        let entry = Entry {
            kind,
            sender: peer,
            target: emit.target,
            choice: emit.choice,
            planned,
            sent: now,
            is_optional,
        };
        let entered = self.enter(state, entry, number, time);
        if let Some(id) = ack {
            let of_peer = &mut state.peers[peer as usize];
            of_peer.next_ack += 1;
            if let Some(artifact) = artifact {
                of_peer.artifact = Some((artifact, 1));
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

    /// Gives a frame to the connection, if it takes it.
    fn write(&self, peer: &PeerState, frame: String, planned: u64) -> bool {
        let sent = peer
            .socket
            .as_ref()
            .map(|socket| socket.try_send_raw(Frame::text(frame)));
        let mut stats = self.stats();
        match sent {
            Some(Ok(())) => {
                stats.sent(planned);
                return true;
            }
            Some(Err(SendError::Full)) => {
                stats.unsent("unsent: the server does not read, and the queue is full");
            }
            Some(Err(SendError::Ended(_))) | None => stats.unsent("unsent: not connected"),
        }
        false
    }

    /// Enters what was sent into the ledger, if somebody receives it, and gives its number there.
    fn enter(&self, state: &mut State, entry: Entry, number: u32, time: u64) -> Option<u32> {
        let (kind, target) = (entry.kind, entry.target);
        kind.delivered_as()?;
        let mut stats = self.stats();
        state
            .ledger
            .enter(entry, &mut |finding| stats.found(&self.account, &finding));
        if kind.is_presence() {
            state.marked.insert(kind, target, time, number);
        } else if kind == EventKind::UsageReport {
            let total = payload::usage_total(number);
            state.marked.insert(kind, target, total, number);
        }
        Some(number)
    }
}
