//! The actions of one account, in order of time, made one by one as they are asked for.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{
    layout::{Account, Peer},
    lot::Lot,
    presence::{Planned, Presence},
    random::Stream,
    warp::{UNIT, Warp, Warped},
};
use crate::scenario::{Aim, EventKind, How, Role, RoleRules, Scenario, Span, Timing, Turn};

/// Something that one connection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action {
    /// When, in microseconds from the start of the schedule.
    pub at: u64,
    /// Which of the account's connections.
    pub peer: u32,
    /// What.
    pub what: What,
}

/// What a connection can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It opens.
    Connect,
    /// It ends.
    Drop(How),
    /// It ends for good, once its last ping is answered.
    Leave,
    /// It reads nothing until it resumes.
    StopReading,
    /// It reads again.
    ResumeReading,
    /// It reads nothing and answers no pings any more.
    FallSilent,
    /// It emits an event.
    Emit(Emit),
}

/// An event to be emitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Emit {
    /// Which event.
    pub kind: EventKind,
    /// Which of the account's sessions or machines it concerns; for a call, which connection is
    /// called.
    pub target: u32,
    /// Bytes of opaque content; for a call, of its parameters.
    pub size: u32,
    /// A number of its own: it chooses the method of a call, and how long its callee works.
    pub choice: u32,
    /// Whether the sender is in a turn; heartbeats say so.
    pub thinking: bool,
    /// How many connections must receive it, if all live as planned.
    pub recipients: u32,
}

/// What an agent says at its end.
const FAREWELL: [EventKind; 3] = [
    EventKind::UpdateMetadata,
    EventKind::SessionEnd,
    EventKind::Ping,
];
/// Bytes of opaque content in its last metadata.
const LAST_METADATA: u32 = 400;

/// Bytes of opaque content in what is written right behind CONNECT.
pub(crate) const INTRODUCTION: u32 = 120;

/// The events that a connection emits right behind CONNECT, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Introduction {
    /// The heartbeat that it could not send before.
    pub(crate) stale: Option<EventKind>,
    /// Its state.
    pub(crate) write: Option<EventKind>,
    /// A heartbeat, behind the methods that it registers.
    pub(crate) alive: Option<EventKind>,
}

impl Introduction {
    /// What a connection of this role says; `is_torn` where it did not want the one before to end.
    pub(crate) fn of(rules: &RoleRules, role: Role, is_torn: bool) -> Self {
        let (alive, write) = match role {
            Role::Machine => (EventKind::MachineAlive, EventKind::MachineUpdateState),
            Role::Session | Role::User => (EventKind::SessionAlive, EventKind::UpdateState),
        };
        Self {
            stale: (is_torn && rules.stale_heartbeat).then_some(alive),
            write: rules.write_state.then_some(write),
            alive: rules.alive_on_connect.then_some(alive),
        }
    }
}

impl Action {
    /// The bytes that stand for it in the schedule's digest.
    pub(super) fn canonical(&self) -> [u8; 40] {
        let (tag, fields) = match self.what {
            What::Connect => (0, [0; 5]),
            What::Drop(How::Disconnect) => (1, [0; 5]),
            What::Drop(How::Abort) => (2, [0; 5]),
            What::StopReading => (3, [0; 5]),
            What::ResumeReading => (4, [0; 5]),
            What::FallSilent => (5, [0; 5]),
            What::Leave => (7, [0; 5]),
            What::Emit(emit) => {
                let kind = u32::try_from(emit.kind.index()).unwrap_or(u32::MAX);
                // In a place that is 0 otherwise, so that schedules without turns are what they were.
                let kind = kind | u32::from(emit.thinking) << 16;
                (
                    6,
                    [kind, emit.target, emit.size, emit.choice, emit.recipients],
                )
            }
        };
        let mut bytes = [0; 40];
        bytes[..8].copy_from_slice(&self.at.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.peer.to_le_bytes());
        bytes[12..16].copy_from_slice(&u32::to_le_bytes(tag));
        for (place, field) in bytes[16..].chunks_exact_mut(4).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }
}

/// All actions of an account; an iterator whose size depends on the number of connections alone.
#[derive(Debug)]
pub struct Actions<'a> {
    scenario: &'a Scenario,
    warp: &'a Warp,
    account: Account,
    sources: Vec<Source>,
    /// What comes next of each source; equal times in the order of the sources.
    due: BinaryHeap<Reverse<(u64, u32)>>,
    plan: Presence,
    /// Connections that register methods.
    callable: Vec<u32>,
}

/// One rule at one connection.
#[derive(Debug)]
struct Source {
    peer: u32,
    random: Stream,
    rule: Rule,
}

#[derive(Debug)]
enum Rule {
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

impl<'a> Actions<'a> {
    pub(super) fn new(scenario: &'a Scenario, warp: &'a Warp, seed: u64, account: Account) -> Self {
        let registers = |peer: &u32| scenario.rules(account.peer(*peer).role).registrations > 0;
        let mut actions = Self {
            scenario,
            warp,
            account,
            sources: Vec::new(),
            due: BinaryHeap::new(),
            plan: Presence::new(scenario, &account),
            callable: (0..account.connections()).filter(registers).collect(),
        };
        for peer in 0..account.connections() {
            actions.add_sources(seed, peer);
        }
        actions.sources.shrink_to_fit();
        actions
    }

    /// What a connection that has just opened emits by itself.
    pub(super) fn introduction(&self, peer: u32, is_torn: bool) -> impl Iterator<Item = Emit> + '_ {
        let Peer { role, subject } = self.account.peer(peer);
        let Introduction {
            stale,
            write,
            alive,
        } = Introduction::of(self.scenario.rules(role), role, is_torn);
        let kinds = [stale, write, alive].into_iter().flatten();
        let of_event = [subject, INTRODUCTION, 0];
        kinds.map(move |kind| self.plan.emit(&self.account, peer, kind, of_event))
    }

    fn add_sources(&mut self, seed: u64, peer: u32) {
        let scenario = self.scenario;
        let lot = Lot {
            seed,
            account: self.account.index,
            peer,
            number: u64::from(self.account.number_in_role(peer)),
        };
        let place = self.account.place(peer);
        let all = scenario.connections().max(1);
        let ramp = u128::from(scenario.connect.ramp.us()) * u128::from(place) / u128::from(all);
        let is_agent = self.account.peer(peer).role == Role::Session;
        let mut shifts = scenario.shift.iter();
        let shift = shifts.find(|shift| is_agent && lot.takes_part(shift.share));
        let shift = shift.map(|shift| {
            let mut random = lot.random(6_000);
            let ramp = scenario.connect.ramp.us();
            let begin = ramp + random.below(self.warp.end().saturating_sub(ramp).max(1));
            let end = begin + random.gap(shift.online.us());
            (begin, end)
        });
        let begin = match shift {
            Some((begin, _)) => {
                self.plan.peers[peer as usize] = Planned::Off;
                Some(begin)
            }
            None => u64::try_from(ramp).ok(),
        };
        self.add(peer, lot.random(0), begin, Rule::Begin);
        self.add_traffic(lot);
        let mut turns = (0_u16..).zip(&scenario.turn);
        let turn = turns.find(|(_, turn)| is_agent && lot.takes_part(turn.share));
        if let Some((index, turn)) = turn {
            let mut random = lot.random(7_000);
            // As many are in a turn at first as at any other time.
            let is_thinking = random.below(turn.lasts.us() + turn.pause.us()) < turn.lasts.us();
            self.plan.thinking[peer as usize] = is_thinking;
            let warped = random.gap(stays(turn, is_thinking));
            let first = self.warp.at(warped);
            self.add(peer, random, first, Rule::Turn { index, warped });
        }
        self.add_disturbances(lot);
        // The last of its sources, so that nothing comes behind the farewell at the same moment.
        if let Some((_, end)) = shift {
            self.add(peer, lot.random(6_001), Some(end), Rule::Leave { said: 0 });
        }
    }

    /// What a peer sends of its own accord.
    fn add_traffic(&mut self, lot: Lot) {
        let (scenario, peer) = (self.scenario, lot.peer);
        let role = self.account.peer(peer).role;
        for (index, traffic) in (0_u16..).zip(&scenario.traffic) {
            if traffic.from != role || !lot.takes_part(traffic.share) {
                continue;
            }
            if traffic.event == EventKind::RpcCall && !self.callable.iter().any(|p| *p != peer) {
                continue;
            }
            let mut random = lot.random(1_000 + u64::from(index));
            let mean = traffic.every.us() * UNIT;
            let warped = match traffic.timing {
                Timing::Poisson => random.gap(mean),
                Timing::Periodic => random.below(mean),
            };
            let left = traffic.burst;
            self.add(
                peer,
                random,
                self.warp.at(warped),
                Rule::Traffic {
                    index,
                    left,
                    warped,
                },
            );
        }
    }

    /// How a peer's connection is disturbed.
    fn add_disturbances(&mut self, lot: Lot) {
        let (scenario, peer) = (self.scenario, lot.peer);
        let role = self.account.peer(peer).role;
        for (index, churn) in (0_u16..).zip(&scenario.churn) {
            if churn.from == role && lot.takes_part(churn.share) {
                let mut random = lot.random(2_000 + u64::from(index));
                let first = scenario.connect.ramp.us() + random.gap(churn.online.us());
                self.add(peer, random, Some(first), Rule::Churn { index });
            }
        }
        for (index, herd) in (0_u16..).zip(&scenario.herd) {
            if herd.from.contains(&role) && lot.takes_part(herd.share) {
                let (random, at) = (lot.random(3_000 + u64::from(index)), herd.at.us());
                self.add(peer, random, Some(at), Rule::Herd { index, gone: false });
            }
        }
        for (index, slow) in (0_u16..).zip(&scenario.slow) {
            if slow.from == role && lot.takes_part(slow.share) {
                let mut random = lot.random(4_000 + u64::from(index));
                let first = scenario.connect.ramp.us() + random.gap(slow.every.us());
                let stopped = false;
                self.add(peer, random, Some(first), Rule::Slow { index, stopped });
            }
        }
        for half_open in &scenario.half_open {
            if half_open.from == role && lot.takes_part(half_open.share) {
                let at = half_open.at.us();
                self.add(peer, lot.random(5_000), Some(at), Rule::HalfOpen);
            }
        }
    }

    fn add(&mut self, peer: u32, random: Stream, at: Option<u64>, rule: Rule) {
        let number = u32::try_from(self.sources.len()).unwrap_or(u32::MAX);
        self.sources.push(Source { peer, random, rule });
        self.schedule(number, at);
    }

    fn schedule(&mut self, source: u32, at: Option<u64>) {
        if let Some(at) = at.filter(|at| *at < self.warp.end()) {
            self.due.push(Reverse((at, source)));
        }
    }

    /// Lets one source act. Nothing comes of it where its connection is not there to act.
    fn step(&mut self, at: u64, number: u32) -> Option<Action> {
        let Source { peer, random, rule } = &mut self.sources[number as usize];
        let peer = *peer;
        let here = self.plan.peers[peer as usize];
        let (what, next) = match rule {
            Rule::Begin => (Some(What::Connect), None),
            Rule::Traffic {
                index,
                left,
                warped,
            } => {
                let traffic = &self.scenario.traffic[usize::from(*index)];
                let mut draw = || random.next();
                // Drawn in any case, so that a herd changes nothing about what comes after it.
                let (pick, choice) = (draw(), draw());
                let size = random.size(traffic.size);
                *left -= 1;
                let next = if *left > 0 {
                    Some(at)
                } else {
                    *left = traffic.burst;
                    let mean = traffic.every.us() * UNIT;
                    *warped = warped.saturating_add(match traffic.timing {
                        Timing::Poisson => random.gap(mean),
                        Timing::Periodic => mean,
                    });
                    self.warp.at(*warped)
                };
                let emit = (here == Planned::Here).then(|| {
                    let kind = traffic.event;
                    let target = aim(&self.account, &self.callable, kind, traffic.to, peer, pick);
                    let choice = u32::try_from(choice >> 32).unwrap_or_default();
                    let of_event = [target, size, choice];
                    What::Emit(self.plan.emit(&self.account, peer, kind, of_event))
                });
                (emit, next)
            }
            Rule::Turn { index, warped } => {
                let turn = &self.scenario.turn[usize::from(*index)];
                let is_thinking = !self.plan.thinking[peer as usize];
                self.plan.thinking[peer as usize] = is_thinking;
                *warped = warped.saturating_add(random.gap(stays(turn, is_thinking)));
                let of_event = [self.account.peer(peer).subject, 0, 0];
                let heartbeat = (here == Planned::Here).then(|| {
                    let kind = EventKind::SessionAlive;
                    What::Emit(self.plan.emit(&self.account, peer, kind, of_event))
                });
                (heartbeat, self.warp.at(*warped))
            }
            Rule::Leave { said } => {
                let next = FAREWELL.get(usize::from(*said));
                *said += 1;
                let of_event = [self.account.peer(peer).subject, LAST_METADATA, 0];
                match (here, next) {
                    (Planned::Here, Some(kind)) => {
                        let emit = self.plan.emit(&self.account, peer, *kind, of_event);
                        (Some(What::Emit(emit)), Some(at))
                    }
                    (Planned::Here, None) => (Some(What::Leave), None),
                    (Planned::Away, _) => {
                        // It has no connection to say it on, and does not open one for that.
                        self.plan.peers[peer as usize] = Planned::Off;
                        (None, None)
                    }
                    (Planned::Off | Planned::Silent, _) => (None, None),
                }
            }
            Rule::Churn { index } => {
                let churn = &self.scenario.churn[usize::from(*index)];
                let (what, stays) = match here {
                    Planned::Here => (Some(What::Drop(churn.how)), churn.offline),
                    Planned::Away => (Some(What::Connect), churn.online),
                    Planned::Off | Planned::Silent => (None, churn.online),
                };
                (what, Some(at + random.gap(stays.us())))
            }
            Rule::Herd { index, gone } => {
                let herd = &self.scenario.herd[usize::from(*index)];
                let back = at + herd.back_after.us() + random.up_to(herd.back_jitter.us());
                match (here, *gone) {
                    (Planned::Here, false) => {
                        *gone = true;
                        (Some(What::Drop(herd.how)), Some(back))
                    }
                    (Planned::Away, true) => (Some(What::Connect), None),
                    _ => (None, None),
                }
            }
            Rule::Slow { index, stopped } => {
                let slow = &self.scenario.slow[usize::from(*index)];
                *stopped = !*stopped;
                let (what, lasts) = if *stopped {
                    (What::StopReading, slow.stop.us())
                } else {
                    (What::ResumeReading, random.gap(slow.every.us()))
                };
                ((here == Planned::Here).then_some(what), Some(at + lasts))
            }
            Rule::HalfOpen => ((here == Planned::Here).then_some(What::FallSilent), None),
        };
        self.schedule(number, next);
        let what = what?;
        match what {
            What::Connect => self.plan.set(&self.account, peer, Planned::Here),
            What::Drop(_) => self.plan.set(&self.account, peer, Planned::Away),
            What::Leave => self.plan.set(&self.account, peer, Planned::Off),
            What::FallSilent => self.plan.set(&self.account, peer, Planned::Silent),
            What::StopReading | What::ResumeReading | What::Emit(_) => {}
        }
        Some(Action { at, peer, what })
    }
}

/// The mean time that a connection stays in a turn or out of it.
fn stays(turn: &Turn, is_thinking: bool) -> Warped {
    let span = if is_thinking { turn.lasts } else { turn.pause };
    span.us() * UNIT
}

/// Which session, machine or callee an event concerns.
fn aim(account: &Account, callable: &[u32], kind: EventKind, to: Aim, peer: u32, pick: u64) -> u32 {
    let sender = account.peer(peer);
    let any = |count: u32| {
        let wide = u128::from(pick) * u128::from(count);
        u32::try_from(wide >> 64).unwrap_or_default()
    };
    if kind == EventKind::RpcCall {
        let others = callable.iter().copied().filter(|callee| *callee != peer);
        let count = u32::try_from(others.clone().count()).unwrap_or(u32::MAX);
        let nth = if to == Aim::First { 0 } else { any(count) };
        return others.clone().nth(nth as usize).unwrap_or(peer);
    }
    match kind.subject() {
        None => 0,
        Some(role) if to == Aim::Own && sender.role == role => sender.subject,
        Some(_) if to == Aim::First => 0,
        Some(Role::Machine) => any(account.machines),
        Some(_) => any(account.sessions),
    }
}

impl Iterator for Actions<'_> {
    type Item = Action;

    fn next(&mut self) -> Option<Action> {
        loop {
            let Reverse((at, source)) = self.due.pop()?;
            if let Some(action) = self.step(at, source) {
                return Some(action);
            }
        }
    }
}

/// How long a callee works on a call with this `choice`.
pub(crate) fn handler_delay(scenario: &Scenario, choice: u32) -> Span {
    let rpc = &scenario.rpc;
    let jitter = (u128::from(rpc.handler_jitter.us()) * u128::from(choice)) >> 32;
    Span::from_us(rpc.handler_delay.us() + u64::try_from(jitter).unwrap_or_default())
}
