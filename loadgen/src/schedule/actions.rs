//! The actions of one account, in order of time, made one by one as they are asked for.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{
    action::{Action, Emit, INTRODUCTION, Introduction, What},
    layout::{Account, Peer},
    lot::Lot,
    presence::{Planned, Presence},
    random::Stream,
    rule::{Acting, Rule, stays},
    warp::{UNIT, Warp},
};
use crate::scenario::{EventKind, Role, Scenario, Timing};

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
        let turn = Acting {
            scenario: self.scenario,
            warp: self.warp,
            account: &self.account,
            callable: &self.callable,
            plan: &mut self.plan,
            peer,
            at,
            random,
        };
        let (what, next) = turn.act(rule);
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
