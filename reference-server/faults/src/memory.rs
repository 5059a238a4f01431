//! What faults have to remember, since the server remembers only what is right.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use touchstone_reference_server::seams::{Connection, ConnectionId, Frame, Routed as _};

use crate::Fault;
use crate::first_moment::Admitted;
use crate::rpc::{Forwarded, Method};

/// How many sweeps a connection may be silent with the fault `idle-ends`.
const IDLE_SWEEPS: u32 = 6;

/// How long a localId is known with the fault `dedupe-fades`.
const DEDUPE: Duration = Duration::from_millis(1_500);

/// By account, unless something else is said.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Whose a name is that a fault takes for one name of all accounts.
    pub(crate) owners: HashMap<(usize, String), String>,
    /// How many new things faults have made.
    made: u64,
    /// How many events each connection has sent.
    events: HashMap<ConnectionId, u64>,
    /// When the newest connections were admitted.
    pub(crate) admitted: Admitted,
    /// Clients that were refused and receive all the same.
    pub(crate) listeners: HashMap<String, Vec<Arc<Connection>>>,
    /// An update that waits for the next one to overtake it, and who is to receive it.
    pub(crate) held: HashMap<String, (Frame, Vec<Arc<Connection>>)>,
    /// When a change of any account was accepted last.
    pub(crate) changed: Option<Instant>,
    /// How many updates carried the seq of the one before them.
    pub(crate) shared_seqs: HashMap<String, u64>,
    /// How many connections have left.
    pub(crate) leavers: HashMap<String, u64>,
    /// How many bytes of messages were sent.
    pub(crate) bytes: HashMap<String, usize>,
    /// The metadata of machines that were posted again, by machine.
    pub(crate) overwritten: HashMap<String, String>,
    /// How many events a connection had sent, and how many sweeps ago.
    idle: HashMap<ConnectionId, (u64, u32)>,
    /// The methods of each connection.
    pub(crate) methods: HashMap<ConnectionId, HashSet<String>>,
    /// How often a connection has registered a method.
    pub(crate) registered: HashMap<(Method, ConnectionId), usize>,
    /// Methods of all accounts together.
    pub(crate) shared: HashMap<String, Vec<Arc<Connection>>>,
    /// Methods that cannot be called until they are registered again.
    pub(crate) gone: HashSet<Method>,
    /// Methods that cannot be called any more.
    pub(crate) lost: HashSet<Method>,
    /// The latest call of each callee.
    pub(crate) forwarded: HashMap<ConnectionId, Forwarded>,
    /// Calls that are under way, by caller and the number of its acknowledgement.
    pub(crate) calls: HashMap<(ConnectionId, u64), Method>,
    /// Who has a call under way.
    pub(crate) calling: HashSet<ConnectionId>,
    /// When each method was registered or called last.
    pub(crate) used_at: HashMap<Method, Instant>,
    /// After what time the fault `rpc-fades` forgets a method.
    pub(crate) fades_after: Duration,
    /// How often each token was used, to connect or for an HTTP request.
    uses: HashMap<String, u64>,
    /// How many HTTP requests came with each token.
    requests: HashMap<String, u64>,
    /// When each localId of a session came first.
    local_ids: HashMap<(String, String), Instant>,
    /// The first access key that was answered.
    pub(crate) access_keys: HashMap<String, Value>,
    /// Whether no event is handled any more.
    pub(crate) is_deaf: bool,
    /// How many seqs were consumed by something that announces nothing.
    pub(crate) skipped_seqs: HashMap<String, u64>,
}

fn count(counts: &mut HashMap<String, u64>, name: &str) -> u64 {
    let count = counts.entry(name.to_owned()).or_default();
    *count += 1;
    *count
}

impl Memory {
    /// Counts an event of a connection; true for its first one.
    pub(crate) fn count_event(&mut self, connection: ConnectionId) -> bool {
        let events = self.events.entry(connection).or_default();
        *events += 1;
        *events == 1
    }

    /// How many events a connection has sent.
    pub(crate) fn events(&self, connection: ConnectionId) -> u64 {
        self.events.get(&connection).copied().unwrap_or(0)
    }

    /// Whether a localId of a session came first so long ago that a fault forgets it; then it comes first now.
    pub(crate) fn forgets(&mut self, session: &str, local_id: &str) -> bool {
        let key = (session.to_owned(), local_id.to_owned());
        let now = Instant::now();
        let first = self.local_ids.entry(key).or_insert(now);
        let is_old = now.duration_since(*first) > DEDUPE;
        if is_old {
            *first = now;
        }
        is_old
    }

    /// A number that nothing else has.
    pub(crate) fn new_number(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    /// Notes a call of a method; true if it was neither registered nor called for too long.
    pub(crate) fn is_faded(&mut self, method: &Method) -> bool {
        let now = Instant::now();
        let Some(used_at) = self.used_at.get_mut(method) else {
            return false;
        };
        let idle = now.duration_since(*used_at);
        *used_at = now;
        idle > self.fades_after
    }

    /// Counts a use of a token.
    pub(crate) fn count_use(&mut self, token: &str) -> u64 {
        count(&mut self.uses, token)
    }

    /// Counts an HTTP request with a token.
    pub(crate) fn count_request(&mut self, token: &str) -> u64 {
        count(&mut self.requests, token)
    }

    /// Notes a sweep; true if a connection has sent nothing for too many of them.
    pub(crate) fn is_idle(&mut self, connection: ConnectionId) -> bool {
        let events = self.events(connection);
        let (before, sweeps) = self.idle.entry(connection).or_insert((events, 0));
        *sweeps = if *before == events { *sweeps + 1 } else { 0 };
        *before = events;
        *sweeps > IDLE_SWEEPS
    }

    /// A connection has a method no longer.
    pub(crate) fn forget_method(&mut self, account: &str, method: &str, id: ConnectionId) {
        let key = (account.to_owned(), method.to_owned());
        self.registered.remove(&(key, id));
        if let Some(methods) = self.methods.get_mut(&id) {
            methods.remove(method);
        }
        if let Some(shared) = self.shared.get_mut(method) {
            shared.retain(|one| one.id() != id);
        }
    }

    /// A connection has left.
    pub(crate) fn forget(&mut self, id: ConnectionId) {
        self.events.remove(&id);
        self.idle.remove(&id);
        self.methods.remove(&id);
        self.calling.remove(&id);
    }

    /// Consumes a seq of an account's updates.
    pub(crate) fn skip_seq(&mut self, account: &str) {
        *self.skipped_seqs.entry(account.to_owned()).or_default() += 1;
    }

    /// Whose a name is: that of the first who asks.
    pub(crate) fn owner(&mut self, fault: Fault, name: &str, asking: &str) -> String {
        let owner = self.owners.entry((fault as usize, name.to_owned()));
        owner.or_insert_with(|| asking.to_owned()).clone()
    }
}
