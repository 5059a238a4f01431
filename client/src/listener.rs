//! Whoever takes what a connection brings within the connection's own task.

use tokio::time::Instant;

use crate::error::End;

/// Takes what a connection brings, in place of [`Events`](crate::Events), for those who hold
/// connections by the ten thousands: nothing is decoded, queued or handed to another task.
///
/// It is called from the connection's task, so it must not block; while it works, the connection
/// neither reads nor writes. See [`Engine::begin_with`](crate::Engine::begin_with).
pub trait Listener: Send {
    /// CONNECT was answered.
    fn connected(&mut self, at: Instant);

    /// An event or ack without attachments came, at `at`: the Socket.IO packet as it is, such as
    /// `2["update",{…}]`. Nobody has looked at it beyond its first character.
    fn packet(&mut self, at: Instant, packet: &str);

    /// The connection is over. Nothing comes after this.
    fn ended(&mut self, end: &End);
}
