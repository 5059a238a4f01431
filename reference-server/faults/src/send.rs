//! Faults that lose packets on their way to a client.

use touchstone_reference_server::seams::{Connection, Way};

use crate::{Fault, Faults};

/// Whether a packet reaches a connection.
pub(crate) fn is_sent(faults: &Faults, connection: &Connection) -> bool {
    !match connection.way() {
        Way::Polling => faults.strikes(Fault::PollingLoses),
        Way::Upgraded => faults.strikes(Fault::UpgradeLoses),
        Way::WebSocket => false,
    }
}
