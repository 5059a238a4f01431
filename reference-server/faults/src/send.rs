//! Faults in the packets on their way to a client.

use touchstone_reference_server::seams::{Connection, Frame, Way};

use crate::{Fault, Faults};

/// Whether a packet reaches a connection.
pub(crate) fn is_sent(faults: &Faults, connection: &Connection, frame: &Frame) -> bool {
    let is_lost = match connection.way() {
        Way::Polling => faults.strikes(Fault::PollingLoses),
        Way::Upgraded => faults.strikes(Fault::UpgradeLoses),
        Way::WebSocket => false,
    };
    if is_lost {
        return false;
    }
    if let Some((id, _)) = numbered(frame, '3') {
        if faults.on(Fault::AckEmpty) {
            connection.push(Frame::from(format!("3{id}[]")));
            return false;
        }
        if faults.on(Fault::AckTwice) {
            connection.push(frame.clone());
        }
    }
    if let Some((_, rest)) = numbered(frame, '2')
        && rest.starts_with("[\"rpc-request\"")
        && faults.on(Fault::RpcRequestTwice)
    {
        connection.push(frame.clone());
    }
    true
}

/// The id of a packet of this type, and what comes after it.
fn numbered(frame: &Frame, kind: char) -> Option<(&str, &str)> {
    let rest = frame.as_str().strip_prefix(kind)?;
    let end = rest.find(|letter: char| !letter.is_ascii_digit())?;
    Some(rest.split_at(end))
}
