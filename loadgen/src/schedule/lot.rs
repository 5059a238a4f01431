//! What falls to one peer: in which shares it takes part, and what is left to chance for it.

use super::random::Stream;
use crate::scenario::Permille;

/// The place of a peer among those of its role, and where its random numbers come from.
#[derive(Clone, Copy)]
pub(super) struct Lot {
    pub(super) seed: u64,
    pub(super) account: u32,
    pub(super) peer: u32,
    /// Among all peers of its role, in all accounts.
    pub(super) number: u64,
}

impl Lot {
    /// A share of 5 % is every 20th connection, whatever the accounts.
    pub(super) fn takes_part(self, share: Permille) -> bool {
        let share = share.get();
        (self.number + 1) * share / 1000 > self.number * share / 1000
    }

    /// The numbers of one of its rules.
    pub(super) fn random(self, rule: u64) -> Stream {
        let (account, peer) = (u64::from(self.account), u64::from(self.peer));
        Stream::of([self.seed, account, peer, rule])
    }
}
