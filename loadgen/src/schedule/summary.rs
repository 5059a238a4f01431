//! What a schedule comes to, computed by going through it once without doing anything.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::{Account, Action, Actions, Emit, Schedule, What};
use crate::{
    report::model,
    scenario::{EventKind, How},
};

/// The fingerprint of a schedule: the exclusive or of the SHA-256 of each account's actions, so
/// that the digests of shards combine to that of the whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of two parts of a schedule together.
    #[must_use]
    pub fn combined(mut self, other: Self) -> Self {
        for (byte, other) in self.0.iter_mut().zip(other.0) {
            *byte ^= other;
        }
        self
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a schedule comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its fingerprint.
    pub digest: Digest,
    /// Accounts with connections.
    pub accounts: u64,
    /// Connections that are open at the same time, at most.
    pub connections: u64,
    /// Times that a connection opens.
    pub connects: u64,
    /// Events to be sent, with those right behind CONNECT.
    pub emits: u64,
    /// Deliveries that these promise, if all connections live as planned.
    pub deliveries: u64,
    /// The same by kind of event, in the order of [`EventKind::ALL`].
    pub kinds: Vec<KindPlan>,
    /// Events of each second of the run.
    pub emits_per_second: Vec<u64>,
    /// Deliveries of each second of the run.
    pub deliveries_per_second: Vec<u64>,
    /// Connections open at the end of each second of the run.
    pub connections_per_second: Vec<u64>,
}

/// What a schedule comes to for one kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindPlan {
    /// The kind.
    pub kind: EventKind,
    /// Events to be sent.
    pub emits: u64,
    /// Deliveries that these promise.
    pub deliveries: u64,
}

impl Summary {
    /// Adds an event of this second.
    fn add(&mut self, emit: Emit, second: usize) {
        let deliveries = u64::from(emit.recipients);
        self.emits += 1;
        self.deliveries += deliveries;
        self.emits_per_second[second] += 1;
        self.deliveries_per_second[second] += deliveries;
        let kind = &mut self.kinds[emit.kind.index()];
        kind.emits += 1;
        kind.deliveries += deliveries;
    }

    /// The same as a report has it.
    pub fn reported(&self, schedule: &Schedule) -> model::Schedule {
        model::Schedule {
            digest: self.digest.to_string(),
            accounts: self.accounts,
            connections: self.connections,
            emits: self.emits,
            deliveries: self.deliveries,
            duration_ms: schedule.end_us() / 1000,
        }
    }
}

impl Schedule {
    /// Goes through the whole schedule, at some millions of actions per second.
    pub fn summary(&self) -> Summary {
        let seconds = usize::try_from(self.end_us().div_ceil(1_000_000)).unwrap_or(usize::MAX);
        let mut summary = Summary {
            digest: Digest::default(),
            accounts: 0,
            connections: 0,
            connects: 0,
            emits: 0,
            deliveries: 0,
            kinds: EventKind::ALL.map(KindPlan::none).to_vec(),
            emits_per_second: vec![0; seconds],
            deliveries_per_second: vec![0; seconds],
            connections_per_second: Vec::new(),
        };
        let mut changes = vec![0_i64; seconds];
        for account in self.accounts() {
            summary.accounts += 1;
            let mut torn = vec![false; account.connections() as usize];
            let digest = self.digest_account(account, |actions, action| {
                let second = usize::try_from(action.at / 1_000_000).unwrap_or(usize::MAX);
                let is_torn = &mut torn[action.peer as usize];
                match action.what {
                    What::Connect => {
                        summary.connects += 1;
                        changes[second] += 1;
                        let is_torn = std::mem::take(is_torn);
                        for emit in actions.introduction(action.peer, is_torn) {
                            summary.add(emit, second);
                        }
                    }
                    What::Drop(how) => {
                        changes[second] -= 1;
                        *is_torn = how == How::Abort;
                    }
                    What::Leave => changes[second] -= 1,
                    What::Emit(emit) => summary.add(emit, second),
                    What::StopReading | What::ResumeReading | What::FallSilent => {}
                }
            });
            summary.digest = summary.digest.combined(digest);
        }
        let mut open = 0;
        for change in changes {
            open += change;
            let open = u64::try_from(open).unwrap_or_default();
            summary.connections_per_second.push(open);
            summary.connections = summary.connections.max(open);
        }
        summary.kinds.retain(|kind| kind.emits > 0);
        summary
    }

    fn digest_account(
        &self,
        account: Account,
        mut see: impl FnMut(&Actions<'_>, &Action),
    ) -> Digest {
        let mut digest = Sha256::new();
        digest.update(account.index.to_le_bytes());
        let mut actions = self.actions(account);
        while let Some(action) = actions.next() {
            digest.update(action.canonical());
            see(&actions, &action);
        }
        Digest(digest.finalize().into())
    }
}

impl KindPlan {
    fn none(kind: EventKind) -> Self {
        Self {
            kind,
            emits: 0,
            deliveries: 0,
        }
    }
}
