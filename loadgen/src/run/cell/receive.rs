//! What arrives at an account's connections.

use std::sync::Arc;

use tokio::time::{Instant, sleep};
use touchstone_client::Frame;

use super::{Call, Cell, State, is_cas};
use crate::{
    audit::stamp::Stamp,
    report::model::{Example, Outcome},
    run::{
        packet::{self, Incoming},
        payload,
    },
    scenario::{EventKind, How, Role},
    schedule::handler_delay,
};

impl Cell {
    /// A packet has arrived.
    pub(in crate::run) fn packet(
        self: &Arc<Self>,
        peer: u32,
        generation: u32,
        at: Instant,
        packet: &str,
    ) {
        let now = self.common.since_start(at);
        self.common.changed.notify_one();
        if self.state().peers[peer as usize].generation != generation {
            // The scenario has dropped this connection, and perhaps opened another.
            return;
        }
        match packet::look(packet) {
            Incoming::Ack(id, args) => self.acked(peer, id, args, now),
            Incoming::Request(id) => {
                let call = self.stamped(peer, packet, now);
                if let Some((number, _)) = call {
                    self.state().calls.insert(number, Call::Since(now));
                }
                self.answer(peer, id, call);
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
            Incoming::Refusal(message) => {
                self.stats().error(&format!("the server said: {message}"));
            }
            Incoming::RpcError => self.stats().error("a method was not registered"),
            Incoming::Event => {
                self.stamped(peer, packet, now);
            }
        }
    }

    /// Strikes off the event in a packet; returns its number and its choice.
    fn stamped(&self, peer: u32, packet: &str, at: u64) -> Option<(u32, u32)> {
        let mut stamps = Stamp::all(packet).filter(|stamp| stamp.run == self.common.run);
        let number = match stamps.next() {
            Some(stamp) if stamp.account == self.account.index => {
                // An update may tell beside what has changed what has not.
                let state = self.state();
                let is_new = |stamp: &Stamp| !state.ledger.has_arrived(stamp.number, peer);
                if is_new(&stamp) {
                    stamp.number
                } else {
                    stamps.find(is_new).unwrap_or(stamp).number
                }
            }
            Some(stamp) => {
                self.leaked(peer, packet, stamp.account, u64::from(stamp.number));
                return None;
            }
            // What an earlier run has written is nobody's concern.
            None if Stamp::all(packet).next().is_some() => return None,
            None => self.unstamped(peer, packet, at)?,
        };
        let mut state = self.state();
        let mut stats = self.stats();
        let account = &self.account;
        let arrival = state.ledger.arrived(number, peer, at, &mut |finding| {
            stats.found(account, &finding);
        })?;
        self.common.progressed(at);
        stats.arrived(&arrival, at);
        Some((number, arrival.choice))
    }

    /// The number of an event without a stamp: a heartbeat is known by its session or machine and its
    /// time, and a usage report by its session and the tokens.
    fn unstamped(&self, peer: u32, packet: &str, at: u64) -> Option<u32> {
        let Some(found) = packet::ephemeral(packet) else {
            // Its content is not what was sent.
            let name = packet::type_of(packet);
            let kind = EventKind::ALL
                .into_iter()
                .find(|kind| kind.delivered_as() == Some(name))?;
            self.untraced(kind, peer, at);
            return None;
        };
        let is_machine = found.kind == EventKind::MachineAlive;
        let (account, subject) = self.common.directory.get((is_machine, found.id))?;
        if account != self.account.index {
            self.leaked(peer, packet, account, 0);
            return None;
        }
        let role = if is_machine {
            Role::Machine
        } else {
            Role::Session
        };
        let mut bound = self.account.connections_of(role, subject);
        let (first, is_arrival) = {
            let state = self.state();
            let marked = || state.marked.find(found.kind, subject, found.mark);
            // A server may keep times that are rounded down: of all that it may be, the first is taken
            // that must arrive here still, or else may.
            let missing = marked().find(|number| state.ledger.is_missing(*number, peer));
            let is_new = |number: &u32| !state.ledger.has_arrived(*number, peer);
            let new = missing.or_else(|| marked().find(is_new));
            if new.is_some() {
                return new;
            }
            // The server announces by itself who comes, and that may have been taken for a heartbeat.
            let second = |ms: u64| ms / 1_000;
            let has_come =
                |of: u32| second(found.mark) == second(state.peers[of as usize].opened_ms);
            (marked().next(), bound.any(has_come))
        };
        if first.is_none() && !found.is_inactive {
            self.untraced(found.kind, peer, at);
        }
        first.filter(|_| !(is_arrival && found.kind.is_heartbeat()))
    }

    /// An event has arrived that does not say which one it is.
    fn untraced(&self, kind: EventKind, peer: u32, at: u64) {
        if let Some(name) = kind.delivered_as() {
            self.state().ledger.arrived_untraced(name, peer, at);
        }
    }

    /// An event of another account has arrived.
    fn leaked(&self, peer: u32, packet: &str, account: u32, sequence: u64) {
        let event = packet::type_of(packet).to_owned();
        let mut stats = self.stats();
        let example = Example {
            outcome: Outcome::Misrouted,
            sender: format!("account {account}"),
            recipient: stats.named(&self.account, peer),
            sequence,
            planned_us: 0,
            event,
        };
        stats.leaked(example);
    }

    /// Answers a call, after the time that the callee works.
    fn answer(self: &Arc<Self>, peer: u32, id: &str, call: Option<(u32, u32)>) {
        if id.is_empty() {
            return;
        }
        let frame = Frame::text(payload::answer(id));
        let Some(socket) = self.state().peers[peer as usize].socket.clone() else {
            return;
        };
        let (number, choice) = call.unzip();
        let scenario = self.common.schedule.scenario();
        let delay = handler_delay(scenario, choice.unwrap_or_default()).std();
        let cell = Arc::clone(self);
        let send = move || {
            let mut state = cell.state();
            if let Some(call) = number.and_then(|of| state.calls.get_mut(&of))
                && let Call::Since(since) = *call
            {
                *call = Call::Worked(cell.common.now().saturating_sub(since));
            }
            drop(state);
            if socket.try_send_raw(frame).is_err() {
                cell.stats().error("an answer to a call could not be sent");
            }
        };
        if delay.is_zero() {
            return send();
        }
        tokio::spawn(async move {
            sleep(delay).await;
            send();
        });
    }

    fn acked(&self, peer: u32, id: u64, args: &str, at: u64) {
        let mut state = self.state();
        let State {
            ledger,
            peers,
            versions,
            calls,
            ..
        } = &mut *state;
        let of_peer = &mut peers[peer as usize];
        if of_peer.proof == Some(id) {
            of_peer.proof = None;
            return;
        }
        let Some(index) = of_peer.pending.iter().position(|pending| pending.id == id) else {
            return self.stats().error("an ack that nobody waits for");
        };
        self.common.progressed(at);
        let pending = of_peer.pending.remove(index);
        let kind = pending.kind;
        let answer = packet::answer(args, kind == EventKind::RpcCall);
        let mut stats = self.stats();
        stats.answer(kind.name(), &answer.label);
        if kind == EventKind::RpcCall {
            let worked = match pending.number.and_then(|number| calls.remove(&number)) {
                Some(Call::Worked(worked)) => worked,
                Some(Call::Since(_)) | None => 0,
            };
            if answer.done {
                stats.returned(pending.planned, pending.sent, at, worked);
            }
        } else if answer.done || answer.label == "version-mismatch" {
            stats.acked(pending.planned, pending.sent, at);
        }
        if let Some(number) = pending.number {
            let account = &self.account;
            ledger.answered(number, answer.done, &mut |finding| {
                stats.found(account, &finding);
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
        let may_go = state.peers[peer as usize].may_go();
        drop(state);
        if may_go {
            self.close(peer, How::Disconnect, at);
        }
    }

    /// The next compare-and-set may go.
    pub(super) fn send_waiting(&self, state: &mut State, peer: u32, now: u64) {
        let of_peer = &mut state.peers[peer as usize];
        if of_peer.pending.iter().any(|pending| is_cas(pending.kind)) {
            return;
        }
        if let Some((emit, planned)) = of_peer.waiting.pop_front() {
            self.emit_now(state, peer, emit, None, [planned, now]);
        }
    }
}
