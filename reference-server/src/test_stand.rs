//! Connections without a socket, for tests of what stands behind it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use engineioxide::Str;

use crate::connection::{Connection, Link, PushError, Way};
use crate::ids::Ids;
use crate::router::{ConnectionId, Scope};

/// The packets that a connection was sent.
#[derive(Clone, Default)]
pub(crate) struct Packets(Arc<Mutex<Vec<String>>>, Arc<AtomicBool>);

impl Packets {
    /// Those since it was asked last.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the server has ended the connection.
    pub(crate) fn is_ended(&self) -> bool {
        self.1.load(Ordering::Relaxed)
    }
}

impl Link for Packets {
    fn push(&self, packet: Str, _attachments: &[Bytes]) -> Result<(), PushError> {
        let mut packets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        packets.push(packet.to_string());
        Ok(())
    }

    fn abort(&self) {
        self.1.store(true, Ordering::Relaxed);
    }

    fn way(&self) -> Way {
        Way::WebSocket
    }
}

/// A connection of an account that nothing else has.
pub(crate) fn connection(id: u64, scope: Scope) -> (Arc<Connection>, Packets) {
    let account = Ids::seeded(id).record();
    let packets = Packets::default();
    let link = Box::new(packets.clone());
    let (id, name) = (ConnectionId(id), id.to_string());
    (
        Arc::new(Connection::new(id, name, scope, account, link, None)),
        packets,
    )
}
