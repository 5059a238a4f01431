//! Who is connected: the connections of one account.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::connection::Connection;
use crate::router::{ConnectionId, Routed as _, Scope};

/// The connections of one account.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    connections: BTreeMap<ConnectionId, Arc<Connection>>,
}

impl Registry {
    pub(crate) fn add(&mut self, connection: Arc<Connection>) {
        self.connections.insert(connection.id(), connection);
    }

    pub(crate) fn remove(&mut self, id: ConnectionId) {
        self.connections.remove(&id);
    }

    pub(crate) fn get(&self, id: ConnectionId) -> Option<&Arc<Connection>> {
        self.connections.get(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Connection>> {
        self.connections.values()
    }

    /// Whether a machine has a connection of its own.
    pub(crate) fn has_machine(&self, machine_id: &str) -> bool {
        self.iter()
            .any(|connection| matches!(connection.scope(), Scope::Machine(id) if id == machine_id))
    }
}
