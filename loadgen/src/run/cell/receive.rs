//! What arrives at an account's connections.

use std::sync::Arc;

use tokio::time::{Instant, sleep};
use touchstone_client::Frame;

use super::{Cell, State, is_cas};
use crate::{
    audit::stamp::Stamp,
    report::model::{Example, Outcome},
    run::{
        packet::{self, Activity, Incoming},
        payload,
    },
    scenario::{EventKind, How},
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
            Incoming::Refusal(message) => {
                self.stats().error(&format!("the server said: {message}"));
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
                self.heartbeat(peer, packet, &activity)?
            }
        };
        let mut state = self.state();
        let mut stats = self.stats();
        let account = &self.account;
        let arrival = state.ledger.arrived(number, peer, at, &mut |finding| {
            stats.found(account, &finding);
        })?;
        stats.arrived(&arrival, at);
        Some(arrival.choice)
    }

    /// The number of a heartbeat in flight. Others are the server's own, about connections.
    fn heartbeat(&self, peer: u32, packet: &str, found: &Activity<'_>) -> Option<u32> {
        let id = (found.machine, found.id);
        match self.common.directory.get(id) {
            Some((account, subject)) if account == self.account.index => {
                let key = (found.machine, subject, found.at);
                self.state().heartbeats.get(&key).copied()
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
        if of_peer.proof == Some(id) {
            of_peer.proof = None;
            return;
        }
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
            self.emit_now(state, peer, emit, planned, [planned, now]);
        }
    }
}
