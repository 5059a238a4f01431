//! The rules that make a connection act, each with how far it is.

use super::{
    action::What,
    layout::Account,
    presence::{Planned, Presence},
    random::Stream,
    warp::{UNIT, Warp, Warped},
};
use crate::scenario::{Aim, EventKind, Role, Scenario, Timing, Turn};

/// What an agent says at its end.
const FAREWELL: [EventKind; 3] = [
    EventKind::UpdateMetadata,
    EventKind::SessionEnd,
    EventKind::Ping,
];
/// Bytes of opaque content in its last metadata.
const LAST_METADATA: u32 = 400;

#[derive(Debug)]
pub(super) enum Rule {
    Begin,
    Traffic {
        index: u16,
        left: u32,
        warped: Warped,
    },
    Turn {
        index: u16,
        warped: Warped,
    },
    /// The end of a shift, after so much of the farewell.
    Leave {
        said: u8,
    },
    Churn {
        index: u16,
    },
    Herd {
        index: u16,
        gone: bool,
    },
    Slow {
        index: u16,
        stopped: bool,
    },
    HalfOpen,
}

/// A connection whose rule is due.
pub(super) struct Acting<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) warp: &'a Warp,
    pub(super) account: &'a Account,
    /// Connections that register methods.
    pub(super) callable: &'a [u32],
    pub(super) plan: &'a mut Presence,
    pub(super) peer: u32,
    pub(super) at: u64,
    pub(super) random: &'a mut Stream,
}

/// What a connection does now, if anything, and when its rule is due again.
type Step = (Option<What>, Option<u64>);

impl Acting<'_> {
    /// What comes of the rule, which goes on from here.
    pub(super) fn act(mut self, rule: &mut Rule) -> Step {
        match rule {
            Rule::Begin => (Some(What::Connect), None),
            Rule::Traffic {
                index,
                left,
                warped,
            } => self.traffic(*index, left, warped),
            Rule::Turn { index, warped } => self.turn(*index, warped),
            Rule::Leave { said } => self.leave(said),
            Rule::Churn { index } => self.churn(*index),
            Rule::Herd { index, gone } => self.herd(*index, gone),
            Rule::Slow { index, stopped } => self.slow(*index, stopped),
            Rule::HalfOpen => (self.is_here().then_some(What::FallSilent), None),
        }
    }

    fn here(&self) -> Planned {
        self.plan.peers[self.peer as usize]
    }

    fn is_here(&self) -> bool {
        self.here() == Planned::Here
    }

    /// It emits an event with this target, size and choice.
    fn emit(&self, kind: EventKind, of_event: [u32; 3]) -> What {
        What::Emit(self.plan.emit(self.account, self.peer, kind, of_event))
    }

    fn subject(&self) -> u32 {
        self.account.peer(self.peer).subject
    }

    fn traffic(&mut self, index: u16, left: &mut u32, warped: &mut Warped) -> Step {
        let traffic = &self.scenario.traffic[usize::from(index)];
        // Drawn in any case, so that a herd changes nothing about what comes after it.
        let (pick, choice) = (self.random.next(), self.random.next());
        let size = self.random.size(traffic.size);
        *left -= 1;
        let next = if *left > 0 {
            Some(self.at)
        } else {
            *left = traffic.burst;
            let mean = traffic.every.us() * UNIT;
            *warped = warped.saturating_add(match traffic.timing {
                Timing::Poisson => self.random.gap(mean),
                Timing::Periodic => mean,
            });
            self.warp.at(*warped)
        };
        let emit = self.is_here().then(|| {
            let target = self.aim(traffic.event, traffic.to, pick);
            let choice = u32::try_from(choice >> 32).unwrap_or_default();
            self.emit(traffic.event, [target, size, choice])
        });
        (emit, next)
    }

    /// Which session, machine or callee an event concerns.
    fn aim(&self, kind: EventKind, to: Aim, pick: u64) -> u32 {
        let sender = self.account.peer(self.peer);
        let any = |count: u32| {
            let wide = u128::from(pick) * u128::from(count);
            u32::try_from(wide >> 64).unwrap_or_default()
        };
        if kind == EventKind::RpcCall {
            let others = self
                .callable
                .iter()
                .copied()
                .filter(|callee| *callee != self.peer);
            let count = u32::try_from(others.clone().count()).unwrap_or(u32::MAX);
            let nth = if to == Aim::First { 0 } else { any(count) };
            return others.clone().nth(nth as usize).unwrap_or(self.peer);
        }
        match kind.subject() {
            None => 0,
            Some(role) if to == Aim::Own && sender.role == role => sender.subject,
            Some(_) if to == Aim::First => 0,
            Some(Role::Machine) => any(self.account.machines),
            Some(_) => any(self.account.sessions),
        }
    }

    fn turn(&mut self, index: u16, warped: &mut Warped) -> Step {
        let turn = &self.scenario.turn[usize::from(index)];
        let is_thinking = !self.plan.thinking[self.peer as usize];
        self.plan.thinking[self.peer as usize] = is_thinking;
        *warped = warped.saturating_add(self.random.gap(stays(turn, is_thinking)));
        let heartbeat = || self.emit(EventKind::SessionAlive, [self.subject(), 0, 0]);
        (self.is_here().then(heartbeat), self.warp.at(*warped))
    }

    fn leave(&mut self, said: &mut u8) -> Step {
        let next = FAREWELL.get(usize::from(*said));
        *said += 1;
        match (self.here(), next) {
            (Planned::Here, Some(kind)) => {
                let emit = self.emit(*kind, [self.subject(), LAST_METADATA, 0]);
                (Some(emit), Some(self.at))
            }
            (Planned::Here, None) => (Some(What::Leave), None),
            (Planned::Away, _) => {
                // It has no connection to say it on, and does not open one for that.
                self.plan.peers[self.peer as usize] = Planned::Off;
                (None, None)
            }
            (Planned::Off | Planned::Silent, _) => (None, None),
        }
    }

    fn churn(&mut self, index: u16) -> Step {
        let churn = &self.scenario.churn[usize::from(index)];
        let (what, stays) = match self.here() {
            Planned::Here => (Some(What::Drop(churn.how)), churn.offline),
            Planned::Away => (Some(What::Connect), churn.online),
            Planned::Off | Planned::Silent => (None, churn.online),
        };
        (what, Some(self.at + self.random.gap(stays.us())))
    }

    fn herd(&mut self, index: u16, gone: &mut bool) -> Step {
        let herd = &self.scenario.herd[usize::from(index)];
        let back = self.at + herd.back_after.us() + self.random.up_to(herd.back_jitter.us());
        match (self.here(), *gone) {
            (Planned::Here, false) => {
                *gone = true;
                (Some(What::Drop(herd.how)), Some(back))
            }
            (Planned::Away, true) => (Some(What::Connect), None),
            _ => (None, None),
        }
    }

    fn slow(&mut self, index: u16, stopped: &mut bool) -> Step {
        let slow = &self.scenario.slow[usize::from(index)];
        *stopped = !*stopped;
        let (what, lasts) = if *stopped {
            (What::StopReading, slow.stop.us())
        } else {
            (What::ResumeReading, self.random.gap(slow.every.us()))
        };
        (self.is_here().then_some(what), Some(self.at + lasts))
    }
}

/// The mean time that a connection stays in a turn or out of it.
pub(super) fn stays(turn: &Turn, is_thinking: bool) -> Warped {
    let span = if is_thinking { turn.lasts } else { turn.pause };
    span.us() * UNIT
}
