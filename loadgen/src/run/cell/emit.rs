//! What an account's connections emit.

use std::borrow::Cow;
use std::collections::HashMap;

use touchstone_client::{Frame, SendError};

use super::{Cell, Pending, State, WAITING, is_cas};
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

    /// Emits at once. A heartbeat is of this moment, unless it is `stale` and of an earlier one.
    pub(super) fn emit_now(
        &self,
        state: &mut State,
        peer: u32,
        emit: Emit,
        stale: Option<u64>,
        [planned, now]: [u64; 2],
    ) {
        let State {
            ledger,
            peers,
            versions,
            marked,
            told,
            ..
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
        let age = stale.map_or(0, |since| now.saturating_sub(since) / 1000);
        let time = self.common.clock.unix_ms().saturating_sub(age);
        let is_optional =
            kind.is_presence() && self.is_optional(told, peer, &emit, stale.is_none(), time);
        let version = versions.get(&(kind, emit.target)).copied();
        let (subject, other, version) = match (kind, &of_peer.artifact) {
            (EventKind::ArtifactCreate, _) => (payload::artifact_id(stamp).into(), "", 0),
            (EventKind::ArtifactUpdate | EventKind::ArtifactRead, Some((id, version))) => {
                (Cow::from(id), "", *version)
            }
            _ => {
                let (subject, other) = self.subject(kind, &emit);
                (subject, other, version.unwrap_or_default())
            }
        };
        let about = About {
            subject: &subject,
            other,
            version,
            time,
            thinking: emit.thinking,
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
                is_optional,
            };
            let account = &self.account;
            ledger.enter(entry, &mut |finding| stats.found(account, &finding));
            if kind.is_presence() {
                marked.insert(kind, emit.target, time, number);
            } else if kind == EventKind::UsageReport {
                marked.insert(kind, emit.target, payload::usage_total(number), number);
            }
            entered = Some(number);
        }
        if let Some(id) = ack {
            of_peer.next_ack += 1;
            if kind == EventKind::ArtifactCreate {
                of_peer.artifact = Some((subject.into_owned(), 1));
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
}
