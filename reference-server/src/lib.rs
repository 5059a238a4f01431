//! The reference server: the Socket.IO API and event router of a happy-server, in memory.
//!
//! It is what the conformance suite is tried against, what newcomers run first, and what benches
//! measure. It is right where the specification and its decisions say something. By itself it keeps
//! nothing longer than the process lives; a [`Storage`] does. It sends no notifications, and must not be
//! used to serve people: tokens never end, and anybody may sign up. Limits keep careless and hostile
//! clients from taking the memory and the connections of the others.
//!
//! Nothing that judges servers may depend on this crate; only the `touchstone` binary, the benches
//! and integration tests do.
//!
//! The order of things is part of the contract. All rows of an account, its update sequence and its
//! list of connections are behind one lock. Under it, an event is decided, and what was decided happens:
//! rows change, updates take their seq and are put into the queue of each recipient, and the answer
//! follows. So an update reaches every queue before its cause is answered, and in `seq` order.

mod accept;
mod announce;
mod app;
pub mod builders;
mod clock;
mod commit;
mod config;
mod connection;
mod decide;
mod dispatch;
mod engine;
mod first_ping;
mod gateway;
mod handshake;
mod ids;
mod journal;
mod listener;
mod outbox;
mod packet;
mod policy;
mod presence;
mod rest;
pub mod router;
pub mod seams;
mod server;
mod server_for_seams;
mod slow;
mod store;
mod tap;
#[cfg(test)]
mod test_stand;
mod transport;

pub use app::App as Server;
pub use clock::{Clock, ManualClock};
pub use config::Config;
pub use ids::Ids;
pub use outbox::{Record, Storage};
pub use policy::{Policy, RpcOwner};
pub use server::serve;
