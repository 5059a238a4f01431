//! An account's connections as they come, stall and go.

use touchstone_client::{Frame, Socket};

use super::{Cell, PeerState, State};
use crate::{
    audit::Presence,
    run::payload,
    scenario::{How, Role},
    schedule::{Emit, INTRODUCTION, Introduction, Peer},
};

impl Cell {
    /// The scenario wants a connection. Returns its generation, where none is there yet.
    pub(in crate::run) fn want(&self, peer: u32, planned: u64) -> Option<u32> {
        let mut state = self.state();
        let state = &mut state.peers[peer as usize];
        if state.wanted {
            return None;
        }
        state.wanted = true;
        state.generation += 1;
        if !state.torn {
            state.missing_since = planned;
        }
        let mut stats = self.stats();
        stats.wanted += 1;
        stats.connections.planned += 1;
        Some(state.generation)
    }

    /// Whether a connection of this generation is still wanted.
    pub(in crate::run) fn is_wanted(&self, peer: u32, generation: u32) -> bool {
        let state = &self.state().peers[peer as usize];
        state.wanted && state.generation == generation
    }

    /// An attempt has got as far as a socket.
    pub(in crate::run) fn attach(&self, peer: u32, generation: u32, socket: Socket) -> bool {
        let state = &mut self.state().peers[peer as usize];
        let is_wanted = state.wanted && state.generation == generation;
        if is_wanted {
            state.socket = Some(socket);
        }
        is_wanted
    }

    /// CONNECT was answered.
    pub(in crate::run) fn opened(&self, peer: u32, generation: u32, times: [u64; 3]) {
        let [planned, dialed, at] = times;
        self.common.changed.notify_one();
        let mut state = self.state();
        let State { ledger, peers, .. } = &mut *state;
        let of_peer = &mut peers[peer as usize];
        if of_peer.generation != generation || !of_peer.wanted {
            return;
        }
        of_peer.open = true;
        of_peer.opened_ms = self.common.clock.unix_ms();
        of_peer.registered = 0;
        let mut stats = self.stats();
        stats.connected(planned, dialed, at);
        let account = &self.account;
        ledger.set_presence(peer, Presence::Since(at), at, at, &mut |finding| {
            stats.found(account, &finding);
        });
        drop(stats);
        self.introduce(&mut state, peer, at);
        let held = std::mem::take(&mut state.peers[peer as usize].held);
        for (emit, planned) in held {
            self.emit_in_turn(&mut state, peer, emit, planned, at);
        }
    }

    /// What clients do right behind CONNECT: a heartbeat that they could not send before, their state,
    /// their methods, a heartbeat.
    pub(super) fn introduce(&self, state: &mut State, peer: u32, at: u64) {
        let bound = self.account.peer(peer);
        let rules = self.common.schedule.scenario().rules(bound.role);
        let emit = |state: &mut State, kind, stale| {
            let emit = Emit {
                kind,
                target: bound.subject,
                size: INTRODUCTION,
                choice: 0,
                thinking: false,
                recipients: 0,
            };
            self.stats().due(at, at);
            self.emit_now(state, peer, emit, stale, [at, at]);
        };
        let of_peer = &mut state.peers[peer as usize];
        let since = of_peer.missing_since;
        let is_torn = std::mem::take(&mut of_peer.torn);
        let Introduction {
            stale,
            write,
            alive,
        } = Introduction::of(rules, bound.role, is_torn);
        if let Some(kind) = stale {
            emit(state, kind, Some(since));
        }
        if let Some(kind) = write {
            emit(state, kind, None);
        }
        for method in 0..rules.registrations {
            let frame = payload::registration(&self.method(peer, method));
            let socket = state.peers[peer as usize].socket.as_ref();
            if socket.is_none_or(|socket| socket.try_send_raw(Frame::text(frame)).is_err()) {
                self.stats().error("registration not sent");
            }
        }
        if let Some(kind) = alive {
            emit(state, kind, None);
        }
        if rules.registrations == 0 {
            self.ready(&mut state.peers[peer as usize], at);
        }
    }

    /// The connection has done all that clients do at first.
    pub(super) fn ready(&self, peer: &mut PeerState, at: u64) {
        if !std::mem::replace(&mut peer.was_ready, true) {
            let ready = &mut self.stats().connections.ready_ms;
            *ready = (at / 1000).max(*ready);
        }
    }

    /// A method's name, as a JSON string.
    pub(super) fn method(&self, peer: u32, method: u32) -> String {
        let Peer { role, subject } = self.account.peer(peer);
        let id = match role {
            Role::Session => &self.provided.sessions[subject as usize],
            Role::Machine => &self.provided.machines[subject as usize],
            Role::User => return format!("\"user-{subject}:method-{method}\""),
        };
        let id = id.trim_matches('"');
        format!("\"{id}:{peer}:method-{method}\"")
    }

    /// A connection is over, or was never opened. Where it is to be tried again, returns since when it
    /// has been missing.
    pub(in crate::run) fn ended(
        &self,
        peer: u32,
        generation: u32,
        why: &str,
        at: u64,
    ) -> Option<u64> {
        self.common.changed.notify_one();
        let mut state = self.state();
        if state.peers[peer as usize].generation != generation {
            return None;
        }
        let of_peer = &mut state.peers[peer as usize];
        let was_open = of_peer.open;
        if was_open {
            of_peer.missing_since = at;
            of_peer.torn = true;
        }
        let (wanted, excused) = (of_peer.wanted, of_peer.excused);
        let mut stats = self.stats();
        if std::mem::take(&mut of_peer.leaving) {
            // It has ended before it could go, and does not come back.
            of_peer.wanted = false;
            stats.wanted -= 1;
        }
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
        let handled = at.min(state.ledger.front());
        let handled = handled.saturating_sub(self.common.rules.late_after);
        self.forget(&mut state, peer, handled, at);
        let of_peer = &state.peers[peer as usize];
        of_peer.wanted.then_some(of_peer.missing_since)
    }

    /// Clears what belongs to a connection that is no more. What it sent until `handled` is not lost
    /// with it.
    pub(super) fn forget(
        &self,
        state: &mut State,
        peer: u32,
        handled: u64,
        at: u64,
    ) -> Option<Socket> {
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
        ledger.set_presence(peer, Presence::Away, handled, at, &mut |finding| {
            stats.found(account, &finding);
        });
        of_peer.socket.take()
    }

    /// A connection has said its farewell, and goes when its ping is answered and no write waits for
    /// another. Nobody knows of what is sent later than that whether the server still sees it.
    pub(in crate::run) fn leave(&self, peer: u32, at: u64) {
        let mut state = self.state();
        let of_peer = &mut state.peers[peer as usize];
        of_peer.leaving = of_peer.open;
        if !of_peer.leaving || of_peer.may_go() {
            drop(state);
            self.close(peer, How::Disconnect, at);
        }
    }

    /// The scenario drops a connection.
    pub(in crate::run) fn close(&self, peer: u32, how: How, at: u64) {
        let mut state = self.state();
        let of_peer = &mut state.peers[peer as usize];
        if !std::mem::take(&mut of_peer.wanted) {
            return;
        }
        of_peer.generation += 1;
        let has_asked = std::mem::take(&mut of_peer.leaving);
        // A server that is behind has not read what was sent later than all that has arrived.
        let read = at.min(state.ledger.front());
        let handled = match how {
            How::Disconnect if has_asked => at,
            How::Disconnect => read.saturating_sub(self.common.rules.grace),
            How::Abort => read.saturating_sub(self.common.rules.late_after),
        };
        let of_peer = &mut state.peers[peer as usize];
        let was_open = of_peer.open;
        if was_open {
            of_peer.missing_since = at;
            of_peer.torn = how == How::Abort;
        }
        {
            let mut stats = self.stats();
            stats.wanted -= 1;
            stats.connections.closed += u64::from(was_open);
            if !was_open {
                stats.unadmitted(at.saturating_sub(of_peer.missing_since));
            }
        }
        let socket = self.forget(&mut state, peer, handled, at);
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
    pub(in crate::run) fn stop_reading(&self, peer: u32, stop: bool, at: u64) {
        let presence = if stop {
            Presence::Stopped
        } else {
            // It has been there all the time.
            Presence::Since(at.saturating_sub(self.common.rules.grace))
        };
        self.stall(peer, presence, at, |socket| socket.stop_reading(stop));
    }

    /// The scenario makes a connection fall silent for ever.
    pub(in crate::run) fn fall_silent(&self, peer: u32, at: u64) {
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
        ledger.set_presence(peer, presence, at, at, &mut |finding| {
            stats.found(account, &finding);
        });
    }
}
