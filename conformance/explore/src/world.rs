//! What a round knows of its accounts while it runs: ids, versions, and numbers that nobody had before.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;
use touchstone_client::provision::{Account, NewMachine, NewSession, ProvisionError, Provisioner};

use crate::plan::{MACHINES, Plan, SESSIONS, SPARE};

/// The accounts of a round.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) accounts: BTreeMap<u8, Holder>,
    numbers: AtomicU64,
    versions: Mutex<HashMap<String, u64>>,
}

/// An account with what it has from the beginning.
#[derive(Debug)]
pub(crate) struct Holder {
    pub(crate) account: Account,
    pub(crate) sessions: Vec<String>,
    pub(crate) machines: Vec<String>,
    /// The ids of machines that steps may make.
    pub(crate) spare: Vec<String>,
    pub(crate) artifacts: Vec<String>,
    /// The methods that somebody has registered or unregistered.
    pub(crate) methods: Mutex<BTreeSet<u8>>,
    /// Sessions that steps have made, by tag.
    pub(crate) made: Mutex<HashMap<u8, String>>,
}

/// A lock whose holder did not panic, or whose state is good enough anyway.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// Makes the accounts that `plan` needs. `nonce` tells rounds apart.
    pub(crate) async fn make(
        plan: &Plan,
        provisioner: &Provisioner,
        nonce: u64,
    ) -> Result<Self, ProvisionError> {
        let mut random = StdRng::seed_from_u64(nonce);
        let mut world = Self {
            accounts: BTreeMap::new(),
            numbers: AtomicU64::new(0),
            versions: Mutex::default(),
        };
        for number in plan.accounts() {
            let account = provisioner.account(random.random()).await?;
            let mut holder = Holder {
                account,
                sessions: Vec::new(),
                machines: Vec::new(),
                spare: (0..SPARE).map(|_| uuid(&mut random)).collect(),
                artifacts: alike(&mut random),
                methods: Mutex::default(),
                made: Mutex::default(),
            };
            for tag in 0..SESSIONS {
                let new = NewSession {
                    tag: format!("{tag}-{}", uuid(&mut random)),
                    metadata: format!("session {tag}"),
                    ..NewSession::default()
                };
                let made = provisioner.session(&holder.account, &new).await?;
                world.learn_row(&made.id, &made.record, ["metadata", "agentState"]);
                holder.sessions.push(made.id);
            }
            for machine in 0..MACHINES {
                let new = NewMachine {
                    id: uuid(&mut random),
                    metadata: format!("machine {machine}"),
                    ..NewMachine::default()
                };
                let made = provisioner.machine(&holder.account, &new).await?;
                world.learn_row(&made.id, &made.record, ["metadata", "daemonState"]);
                holder.machines.push(made.id);
            }
            world.accounts.insert(number, holder);
        }
        Ok(world)
    }

    /// A name for tags and keys that all accounts of this round have in common, and no other round.
    pub(crate) fn common(&self) -> &str {
        let first = self.accounts.values().next();
        first.map_or("", |holder| &holder.sessions[0])
    }

    /// A number that nobody had before.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The version of a part that is known.
    pub(crate) fn version(&self, id: &str, part: &str) -> u64 {
        let versions = lock(&self.versions);
        versions.get(&format!("{id}/{part}")).copied().unwrap_or(0)
    }

    /// Learns a version: the highest one is the current one.
    pub(crate) fn learn(&self, id: &str, part: &str, version: Option<&Value>) {
        if let Some(version) = version.and_then(Value::as_u64) {
            let mut versions = lock(&self.versions);
            let known = versions.entry(format!("{id}/{part}")).or_insert(version);
            *known = version.max(*known);
        }
    }

    /// Learns the versions of a row, whose parts have these names.
    pub(crate) fn learn_row(&self, id: &str, row: &Value, parts: [&str; 2]) {
        for part in parts {
            self.learn(id, part, row.get(format!("{part}Version")));
        }
    }
}

/// Ids of artifacts that begin in the same way.
fn alike(random: &mut StdRng) -> Vec<String> {
    let ids: Vec<String> = (0..3).map(|_| uuid(random)).collect();
    let begin = ids[0][..8].to_owned();
    ids.iter()
        .map(|id| format!("{begin}{}", &id[8..]))
        .collect()
}

/// An id in the form that clients give to artifacts and machines.
fn uuid(random: &mut StdRng) -> String {
    let number: u128 = random.random();
    let hex = format!("{number:032x}");
    let (a, b, c, d, e) = (
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..],
    );
    format!("{a}-{b}-4{c}-8{d}-{e}")
}
