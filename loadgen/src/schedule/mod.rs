//! The plan of a run: every connect, emit and drop with its time, before anything happens.
//!
//! A plan is a pure function of scenario and seed. It is made lazily, per account, so that its
//! memory does not grow with the length of a run, and it is the same on every machine: the
//! digest in its [`summary`](Schedule::summary) says so. Accounts share nothing, so a shard is every N-th of them.
//! Nothing here knows a clock or a server.

mod action;
mod actions;
mod layout;
mod lot;
mod presence;
mod random;
mod rule;
mod summary;
mod warp;

pub use self::{
    action::{Action, Emit, What},
    actions::Actions,
    layout::{Account, Peer},
    summary::{Digest, KindPlan, Summary},
};
pub(crate) use self::{
    action::{INTRODUCTION, Introduction, handler_delay},
    random::scatter,
};

use std::{fmt, str::FromStr};

use crate::scenario::Scenario;
use warp::Warp;

/// Which part of a schedule is meant: the `part`-th of `of`, counted from 1; written `3/10`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    part: u32,
    of: u32,
}

/// The text is no shard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no shard; write it like 3/10, the third of ten")]
pub struct ShardError(String);

impl Default for Shard {
    fn default() -> Self {
        Self { part: 1, of: 1 }
    }
}

impl Shard {
    /// Which part this is, counted from 1.
    pub fn part(self) -> u32 {
        self.part
    }

    /// How many parts there are.
    pub fn of(self) -> u32 {
        self.of
    }

    fn contains(self, account: u32) -> bool {
        account % self.of == self.part - 1
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text
            .split_once('/')
            .and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((part, of)) if (1..=of).contains(&part) => Ok(Self { part, of }),
            _ => Err(ShardError(text.to_owned())),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.part, self.of)
    }
}

/// The plan of a run. Cheap: nothing is computed until it is asked for.
#[derive(Debug, Clone)]
pub struct Schedule {
    scenario: Scenario,
    seed: u64,
    shard: Shard,
    warp: Warp,
}

impl Schedule {
    /// The plan for a part of a scenario.
    pub fn new(scenario: Scenario, seed: u64, shard: Shard) -> Self {
        let warp = Warp::new(&scenario.phases);
        Self {
            scenario,
            seed,
            shard,
            warp,
        }
    }

    /// The scenario that this is a plan of.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The part of the whole that this is.
    pub fn shard(&self) -> Shard {
        self.shard
    }

    /// When the last phase ends, in microseconds.
    pub fn end_us(&self) -> u64 {
        self.warp.end()
    }

    /// The accounts of this part that have connections.
    pub fn accounts(&self) -> impl Iterator<Item = Account> + '_ {
        (0..self.scenario.population.accounts)
            .filter(|index| self.shard.contains(*index))
            .map(|index| Account::new(&self.scenario, index))
            .filter(|account| account.connections() > 0)
    }

    /// What an account does, in order of time.
    pub fn actions(&self, account: Account) -> Actions<'_> {
        Actions::new(&self.scenario, &self.warp, self.seed, account)
    }
}

#[cfg(test)]
mod tests;
