//! What faults have to remember, since the server remembers only what is right.

use std::collections::HashMap;
use std::sync::Arc;

use touchstone_reference_server::seams::{Connection, ConnectionId, Frame};

use crate::Fault;
use crate::first_moment::Admitted;

/// By account, unless something else is said.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Whose a name is that a fault takes for one name of all accounts.
    pub(crate) owners: HashMap<(usize, String), String>,
    /// How many accounts were made that nobody can sign in to.
    pub(crate) new_accounts: u64,
    /// How many events each connection has sent.
    events: HashMap<ConnectionId, u64>,
    /// When the newest connections were admitted.
    pub(crate) admitted: Admitted,
    /// Clients that were refused and receive all the same.
    pub(crate) listeners: HashMap<String, Vec<Arc<Connection>>>,
    /// An update that waits for the next one to overtake it, and who is to receive it.
    pub(crate) held: HashMap<String, (Frame, Vec<Arc<Connection>>)>,
    /// How many updates carried the seq of the one before them.
    pub(crate) shared_seqs: HashMap<String, u64>,
    /// How many seqs were consumed by something that announces nothing.
    pub(crate) skipped_seqs: HashMap<String, u64>,
}

impl Memory {
    /// Counts an event of a connection; true for its first one.
    pub(crate) fn count_event(&mut self, connection: ConnectionId) -> bool {
        let events = self.events.entry(connection).or_default();
        *events += 1;
        *events == 1
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
