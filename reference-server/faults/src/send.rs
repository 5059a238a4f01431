//! Faults in the packets on their way to a client.

use std::sync::Arc;

use touchstone_reference_server::seams::{Connection, Frame, Seams, Way};

use crate::{Fault, Faults, calls, rpc};

/// Packets on their way to a client.
#[derive(Debug)]
pub(crate) struct Packets(pub(crate) Faults);

impl Seams for Packets {
    fn send(&self, connection: &Arc<Connection>, frame: &Frame) -> bool {
        let faults = &self.0;
        let is_lost = match connection.way() {
            Way::Polling => faults.strikes(Fault::PollingLoses),
            Way::Upgraded => faults.strikes(Fault::UpgradeLoses),
            Way::WebSocket => false,
        };
        if is_lost {
            return false;
        }
        let text = frame.as_str();
        if text.starts_with('0') {
            faults.memory().admitted.note(connection);
        }
        let is_update = text.starts_with("2[\"update\"");
        let is_event = is_update || text.starts_with("2[\"ephemeral\"");
        if is_event && faults.on(Fault::LateRooms) && faults.memory().admitted.lately(connection) {
            return false;
        }
        let is_message = is_update && text.contains("\"t\":\"new-message\"");
        if is_message && faults.on(Fault::BrokenJson) {
            connection.push(Frame::from(text[..text.len() - 1].to_owned()));
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
        if let Some((id, rest)) = numbered(frame, '2')
            && rest.starts_with("[\"rpc-request\"")
            && rpc::is_resent(faults, connection, frame, id)
        {
            return false;
        }
        calls::send(faults, connection, frame)
    }
}

/// The id of a packet of this type, and what comes after it.
fn numbered(frame: &Frame, kind: char) -> Option<(&str, &str)> {
    let rest = frame.as_str().strip_prefix(kind)?;
    let end = rest.find(|letter: char| !letter.is_ascii_digit())?;
    Some(rest.split_at(end))
}
