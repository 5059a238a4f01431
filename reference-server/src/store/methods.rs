//! Who has registered which RPC method. They are as volatile as connections.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::connection::Connection;
use crate::router::{ConnectionId, Routed as _};

/// The RPC methods of an account.
#[derive(Debug, Default)]
pub(crate) struct Methods {
    /// The last of a method's registrants owns it, the others stand by.
    registrants: HashMap<String, Vec<Arc<Connection>>>,
    by_connection: HashMap<ConnectionId, BTreeSet<String>>,
}

impl Methods {
    pub(super) fn register(&mut self, method: &str, connection: &Arc<Connection>, is_owner: bool) {
        let registrants = self.registrants.entry(method.to_owned()).or_default();
        registrants.retain(|other| other.id() != connection.id());
        let place = if is_owner { registrants.len() } else { 0 };
        registrants.insert(place, Arc::clone(connection));
        let methods = self.by_connection.entry(connection.id()).or_default();
        methods.insert(method.to_owned());
    }

    pub(super) fn unregister(&mut self, method: &str, id: ConnectionId) {
        if let Some(registrants) = self.registrants.get_mut(method) {
            registrants.retain(|registrant| registrant.id() != id);
            if registrants.is_empty() {
                self.registrants.remove(method);
            }
        }
        if let Some(methods) = self.by_connection.get_mut(&id) {
            methods.remove(method);
            if methods.is_empty() {
                self.by_connection.remove(&id);
            }
        }
    }

    pub(super) fn registrants(&self, method: &str) -> &[Arc<Connection>] {
        self.registrants.get(method).map_or(&[], Vec::as_slice)
    }

    /// The methods of a connection, in their order.
    pub(crate) fn of(&self, id: ConnectionId) -> impl Iterator<Item = &str> {
        let methods = self.by_connection.get(&id);
        methods.into_iter().flatten().map(String::as_str)
    }
}
