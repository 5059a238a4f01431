//! Faults of the first moment after CONNECT.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use touchstone_reference_server::seams::{Connection, ConnectionId, Routed as _};

/// How long the first moment is: longer than any gap that was seen at a real server, so that busy machines
/// meet it as well.
const MOMENT: Duration = Duration::from_millis(100);

/// When each connection was admitted.
#[derive(Debug, Default)]
pub(crate) struct Admitted(HashMap<ConnectionId, Instant>);

impl Admitted {
    /// The connection is told that it is connected.
    pub(crate) fn note(&mut self, connection: &Connection) {
        self.0.retain(|_, at| at.elapsed() < MOMENT);
        self.0.insert(connection.id(), Instant::now());
    }

    /// Whether the connection was admitted only a moment ago.
    pub(crate) fn lately(&self, connection: &Connection) -> bool {
        let at = self.0.get(&connection.id());
        at.is_some_and(|at| at.elapsed() < MOMENT)
    }
}
