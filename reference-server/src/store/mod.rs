//! What the server remembers, in memory: accounts, each with its rows behind its own lock.
//!
//! Everything hangs off an account, so that one account's data cannot be reached through another's
//! lookups, and accounts never contend. Only three things are shared: who has which token, who owns
//! which machine and artifact id, and terminals that wait to be paired. The store changes rows and
//! judges versions; it sends nothing and knows no sockets beyond the registry that it holds.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::builders::{MachineRow, SessionRow};
use crate::clock::Clock;
use crate::connection::Connection;
use crate::ids::Ids;
use crate::policy::Policy;

mod account;
mod cell;
mod rows;

pub(crate) use account::{AccountState, FeedItem, KvEntry, PushToken};
pub(crate) use cell::Cell;
pub(crate) use rows::{AccessKey, Artifact, Machine, Posted, Session, Usage};

/// An Ed25519 public key.
pub(crate) type PublicKey = [u8; 32];

/// Terminals that may wait to be paired at the same time; beyond it the oldest is forgotten.
const MAX_PAIRINGS: usize = 10_000;

/// One account. Its rows are reached through `Account::lock`.
pub struct Account {
    id: String,
    token: String,
    state: Mutex<AccountState>,
}

impl Account {
    fn new(clock: &Clock, ids: &Ids, policy: &Policy) -> Arc<Self> {
        let (id, token) = (ids.record(), ids.token());
        let state = Mutex::new(AccountState::new(clock.clone(), ids.clone(), policy));
        Arc::new(Self { id, token, state })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its session of this id as it is now. Like all that follows, for the seams; none of it may be
    /// called while the account is locked.
    #[must_use]
    pub fn session(&self, id: &str) -> Option<SessionRow> {
        self.lock().sessions.get(id).map(Session::row)
    }

    /// Its machine of this id as it is now.
    #[must_use]
    pub fn machine(&self, id: &str) -> Option<MachineRow> {
        self.lock().machines.get(id).map(Machine::row)
    }

    /// Its connections, in the order in which they came.
    #[must_use]
    pub fn connections(&self) -> Vec<Arc<Connection>> {
        self.lock().registry.iter().cloned().collect()
    }

    /// Whether somebody has registered an RPC method.
    #[must_use]
    pub fn has_method(&self, method: &str) -> bool {
        self.lock().methods.is_registered(method)
    }

    /// The bearer token of the account, for the answer to who signs in.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The account's rows. A handler that panicked leaves the lock usable: the process must live on.
    pub(crate) fn lock(&self) -> MutexGuard<'_, AccountState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Locks two accounts, in an order that is the same for everybody.
pub(crate) fn lock_both<'a>(
    one: &'a Account,
    other: &'a Account,
) -> (MutexGuard<'a, AccountState>, MutexGuard<'a, AccountState>) {
    if one.id < other.id {
        let first = one.lock();
        (first, other.lock())
    } else {
        let first = other.lock();
        (one.lock(), first)
    }
}

/// A terminal that asks to be signed in by another device.
#[derive(Clone, Debug)]
pub(crate) struct Pairing {
    pub(crate) supports_v2: bool,
    pub(crate) response: Option<(String, Arc<Account>)>,
}

/// All accounts and what they share.
pub(crate) struct Store {
    clock: Clock,
    ids: Ids,
    people: RwLock<People>,
    machine_owners: Mutex<HashMap<String, String>>,
    artifact_owners: Mutex<HashMap<String, String>>,
    pairings: Mutex<Pairings>,
    policy: Policy,
}

#[derive(Default)]
struct People {
    by_id: HashMap<String, Arc<Account>>,
    by_key: HashMap<PublicKey, Arc<Account>>,
    by_token: HashMap<String, Arc<Account>>,
}

#[derive(Default)]
struct Pairings {
    waiting: HashMap<PublicKey, Pairing>,
    order: VecDeque<PublicKey>,
}

impl Store {
    pub(crate) fn new(clock: Clock, ids: Ids, policy: Policy) -> Self {
        Self {
            clock,
            ids,
            policy,
            people: RwLock::default(),
            machine_owners: Mutex::default(),
            artifact_owners: Mutex::default(),
            pairings: Mutex::default(),
        }
    }

    /// The account of a public key, made at first sight. An account keeps its token for as long as
    /// the server runs.
    pub(crate) fn sign_in(&self, key: PublicKey) -> Arc<Account> {
        let mut people = self.people.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = people.by_key.get(&key) {
            return Arc::clone(known);
        }
        let account = Account::new(&self.clock, &self.ids, &self.policy);
        people
            .by_id
            .insert(account.id.clone(), Arc::clone(&account));
        people
            .by_token
            .insert(account.token.clone(), Arc::clone(&account));
        people.by_key.insert(key, Arc::clone(&account));
        account
    }

    pub(crate) fn account(&self, id: &str) -> Option<Arc<Account>> {
        self.people().by_id.get(id).cloned()
    }

    pub(crate) fn account_of_token(&self, token: &str) -> Option<Arc<Account>> {
        self.people().by_token.get(token).cloned()
    }

    /// Some account whose rows are meant, for the fault that does not ask who owns them.
    pub(crate) fn account_with(
        &self,
        is_meant: impl Fn(&AccountState) -> bool,
    ) -> Option<Arc<Account>> {
        self.accounts()
            .into_iter()
            .find(|account| is_meant(&account.lock()))
    }

    pub(crate) fn accounts(&self) -> Vec<Arc<Account>> {
        self.people().by_id.values().cloned().collect()
    }

    /// Takes a machine id for an account; false if another account has it.
    pub(crate) fn claim_machine(&self, id: &str, account: &Account) -> bool {
        self.policy.ids_per_account || claim(&self.machine_owners, id, account)
    }

    /// Takes an artifact id for an account; false if another account has it.
    pub(crate) fn claim_artifact(&self, id: &str, account: &Account) -> bool {
        self.policy.ids_per_account || claim(&self.artifact_owners, id, account)
    }

    /// Gives an artifact id back after the artifact is gone.
    pub(crate) fn release_artifact(&self, id: &str) {
        self.artifact_owners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
    }

    /// Whether another account has an artifact of this id.
    pub(crate) fn is_foreign_artifact(&self, id: &str, account: &Account) -> bool {
        let owners = self
            .artifact_owners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        owners.get(id).is_some_and(|owner| *owner != account.id)
    }

    /// The pairing that a terminal with this key waits in; a new one starts at first sight.
    pub(crate) fn request_pairing(&self, key: PublicKey, supports_v2: bool) -> Pairing {
        let mut pairings = self.pairings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = pairings.waiting.get(&key) {
            return known.clone();
        }
        if pairings.order.len() >= MAX_PAIRINGS
            && let Some(oldest) = pairings.order.pop_front()
        {
            pairings.waiting.remove(&oldest);
        }
        let pairing = Pairing {
            supports_v2,
            response: None,
        };
        pairings.waiting.insert(key, pairing.clone());
        pairings.order.push_back(key);
        pairing
    }

    pub(crate) fn pairing(&self, key: &PublicKey) -> Option<Pairing> {
        let pairings = self.pairings.lock().unwrap_or_else(PoisonError::into_inner);
        pairings.waiting.get(key).cloned()
    }

    /// Answers a pairing for an account; false if no terminal waits with this key. The first answer
    /// stays.
    pub(crate) fn answer_pairing(
        &self,
        key: &PublicKey,
        response: String,
        account: Arc<Account>,
    ) -> bool {
        let mut pairings = self.pairings.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(pairing) = pairings.waiting.get_mut(key) else {
            return false;
        };
        pairing.response.get_or_insert((response, account));
        true
    }

    fn people(&self) -> std::sync::RwLockReadGuard<'_, People> {
        self.people.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

fn claim(owners: &Mutex<HashMap<String, String>>, id: &str, account: &Account) -> bool {
    let mut owners = owners.lock().unwrap_or_else(PoisonError::into_inner);
    *owners
        .entry(id.to_owned())
        .or_insert_with(|| account.id.clone())
        == account.id
}
