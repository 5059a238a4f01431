//! What the server remembers, in memory: accounts, each with its rows behind its own lock.
//!
//! Everything hangs off an account, so that one account's data cannot be reached through another's
//! lookups, and accounts never contend. Only two things are shared: who has which token, and who owns
//! which machine and artifact id. What belongs to no account, terminals that wait to be paired, has
//! rows of its own. The store holds rows; it decides and sends nothing.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::builders::{MachineRow, SessionRow};
use crate::connection::Connection;
use crate::outbox::Outbox;

mod account;
mod cell;
mod change;
mod methods;
mod pairing;
mod registry;
mod rows;

pub use account::{FeedItem, KvEntry, Pair, PushToken, Rows};
pub use cell::Cell;
pub use change::{Change, NewAccount, Part};
pub(crate) use methods::Methods;
pub use pairing::Pairing;
pub use rows::{AccessKey, Artifact, Machine, Session, Usage};

/// An Ed25519 public key.
pub type PublicKey = [u8; 32];

/// One account. Its rows are reached through `Account::lock`.
pub struct Account {
    id: String,
    token: String,
    state: Mutex<Rows>,
    pub(crate) outbox: Outbox,
}

impl Account {
    pub(crate) fn new(id: String, token: String) -> Arc<Self> {
        let state = Mutex::new(Rows::new(id.clone()));
        let outbox = Outbox::default();
        Arc::new(Self {
            id,
            token,
            state,
            outbox,
        })
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
        self.lock().session(id)
    }

    /// Its machine of this id as it is now.
    #[must_use]
    pub fn machine(&self, id: &str) -> Option<MachineRow> {
        self.lock().machine(id)
    }

    /// Its connections, in the order in which they came.
    #[must_use]
    pub fn connections(&self) -> Vec<Arc<Connection>> {
        self.lock().connections().cloned().collect()
    }

    /// Whether somebody has registered an RPC method.
    #[must_use]
    pub fn has_method(&self, method: &str) -> bool {
        !self.lock().registrants(method).is_empty()
    }

    /// Looks at its rows.
    pub fn look<A>(&self, look: impl FnOnce(&Rows) -> A) -> A {
        look(&self.lock())
    }

    /// The bearer token of the account, for the answer to who signs in.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The account's rows. A handler that panicked leaves the lock usable: the process must live on.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Rows> {
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
) -> (MutexGuard<'a, Rows>, MutexGuard<'a, Rows>) {
    if one.id < other.id {
        let first = one.lock();
        (first, other.lock())
    } else {
        let first = other.lock();
        (one.lock(), first)
    }
}

/// All accounts and what they share.
pub(crate) struct Store {
    ids_per_account: bool,
    /// What belongs to no account, as if it belonged to one without an id.
    pub(crate) nobody: Arc<Account>,
    people: RwLock<People>,
    machine_owners: Mutex<HashMap<String, String>>,
    artifact_owners: Mutex<HashMap<String, String>>,
    creations: Mutex<()>,
}

#[derive(Default)]
struct People {
    by_id: HashMap<String, Arc<Account>>,
    by_key: HashMap<PublicKey, Arc<Account>>,
    by_token: HashMap<String, Arc<Account>>,
}

impl Store {
    pub(crate) fn new(ids_per_account: bool) -> Self {
        Self {
            ids_per_account,
            nobody: Account::new(String::new(), String::new()),
            people: RwLock::default(),
            machine_owners: Mutex::default(),
            artifact_owners: Mutex::default(),
            creations: Mutex::default(),
        }
    }

    /// There is a new account.
    pub(crate) fn add(&self, key: PublicKey, account: &Arc<Account>) {
        let mut people = self.people.write().unwrap_or_else(PoisonError::into_inner);
        let (id, token) = (account.id.clone(), account.token.clone());
        people.by_id.insert(id, Arc::clone(account));
        people.by_token.insert(token, Arc::clone(account));
        people.by_key.insert(key, Arc::clone(account));
    }

    pub(crate) fn account_of_key(&self, key: &PublicKey) -> Option<Arc<Account>> {
        self.people().by_key.get(key).cloned()
    }

    pub(crate) fn account(&self, id: &str) -> Option<Arc<Account>> {
        self.people().by_id.get(id).cloned()
    }

    /// How many accounts there are.
    pub(crate) fn count(&self) -> usize {
        self.people().by_id.len()
    }

    pub(crate) fn account_of_token(&self, token: &str) -> Option<Arc<Account>> {
        self.people().by_token.get(token).cloned()
    }

    pub(crate) fn accounts(&self) -> Vec<Arc<Account>> {
        self.people().by_id.values().cloned().collect()
    }

    /// Whoever creates an account, a machine or an artifact holds this meanwhile, and takes it before the lock
    /// of the account: two accounts that take the same id do it one after the other.
    pub(crate) fn creation(&self) -> MutexGuard<'_, ()> {
        self.creations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether another account has a machine of this id.
    pub(crate) fn is_foreign_machine(&self, id: &str, account: &Account) -> bool {
        !self.ids_per_account && is_foreign(&self.machine_owners, id, account)
    }

    /// Whether another account has an artifact of this id.
    pub(crate) fn is_foreign_artifact(&self, id: &str, account: &Account) -> bool {
        !self.ids_per_account && is_foreign(&self.artifact_owners, id, account)
    }

    /// An account has a machine of this id now.
    pub(crate) fn own_machine(&self, id: &str, account: &Account) {
        own(&self.machine_owners, id, account);
    }

    /// An account has an artifact of this id now.
    pub(crate) fn own_artifact(&self, id: &str, account: &Account) {
        own(&self.artifact_owners, id, account);
    }

    /// An account has an artifact of this id no longer.
    pub(crate) fn release_artifact(&self, id: &str, account: &Account) {
        let owners = &self.artifact_owners;
        if !is_foreign(owners, id, account) {
            owners
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(id);
        }
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

fn is_foreign(owners: &Mutex<HashMap<String, String>>, id: &str, account: &Account) -> bool {
    let owners = owners.lock().unwrap_or_else(PoisonError::into_inner);
    owners.get(id).is_some_and(|owner| *owner != account.id)
}

fn own(owners: &Mutex<HashMap<String, String>>, id: &str, account: &Account) {
    let mut owners = owners.lock().unwrap_or_else(PoisonError::into_inner);
    owners
        .entry(id.to_owned())
        .or_insert_with(|| account.id.clone());
}
