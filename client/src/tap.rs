//! The wire tap: a way to see every Engine.IO packet of a connection, in both directions.

use tokio::time::Instant;

use crate::{codec::Frame, error::End};

/// Which way a packet went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From this client to the server.
    Sent,
    /// From the server to this client.
    Received,
}

/// Sees every Engine.IO packet of a connection, on all transports in the same form: the text or
/// bytes that a WebSocket message would carry (`0{…}`, `2`, `42["event"]`).
///
/// It is called from the connection's task between two packets, so it must be quick and must not
/// block. Packets are shown in the order in which they are read and queued for writing; CONNECT
/// carries the account's token, so whoever stores frames has to redact them
/// (`touchstone_client::trace` does).
pub trait Tap: Send + Sync {
    /// One packet went by at `at`.
    fn frame(&self, at: Instant, direction: Direction, frame: &Frame);

    /// The connection is over since `at`. Called at most once, after the last received packet;
    /// goodbyes may still be sent after it.
    fn ended(&self, _at: Instant, _end: &End) {}
}
