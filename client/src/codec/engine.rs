//! Engine.IO 4 packets: one digit for the type, then data.

use super::{DecodeError, Problem};

/// A decoded Engine.IO text packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
    /// `0`: the server's handshake, a JSON object.
    Open(&'a str),
    /// `1`: the sender closes the transport.
    Close,
    /// `2`: a heartbeat, or the upgrade's `probe`.
    Ping(&'a str),
    /// `3`: its answer, with the same data.
    Pong(&'a str),
    /// `4`: a message, for us a Socket.IO packet.
    Message(&'a str),
    /// `5`: the client has switched to this transport.
    Upgrade,
    /// `6`: nothing; it ends a poll.
    Noop,
}

/// Decodes one text packet.
pub fn decode(text: &str) -> Result<Packet<'_>, DecodeError> {
    let Some(kind) = text.chars().next() else {
        return Err(DecodeError::new(0, Problem::Empty));
    };
    let data = &text[kind.len_utf8()..];
    let alone = |packet| match data {
        "" => Ok(packet),
        _ => Err(DecodeError::new(1, Problem::Unexpected)),
    };
    match kind {
        '0' => Ok(Packet::Open(data)),
        '1' => alone(Packet::Close),
        '2' => Ok(Packet::Ping(data)),
        '3' => Ok(Packet::Pong(data)),
        '4' => Ok(Packet::Message(data)),
        '5' => alone(Packet::Upgrade),
        '6' => alone(Packet::Noop),
        other => Err(DecodeError::new(0, Problem::EngineType(other))),
    }
}

/// Encodes one text packet.
pub fn encode(packet: Packet<'_>) -> String {
    let (kind, data) = match packet {
        Packet::Open(data) => ('0', data),
        Packet::Close => ('1', ""),
        Packet::Ping(data) => ('2', data),
        Packet::Pong(data) => ('3', data),
        Packet::Message(data) => ('4', data),
        Packet::Upgrade => ('5', ""),
        Packet::Noop => ('6', ""),
    };
    let mut text = String::with_capacity(1 + data.len());
    text.push(kind);
    text.push_str(data);
    text
}
