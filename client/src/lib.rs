//! The outside of a server: what a client of a happy-server has to do, and how it is recorded.
//!
//! - [`connect`] opens a Socket.IO connection ([`Socket`] to send, [`Events`] to receive);
//!   [`Engine`] gives the stages one by one to those who must misbehave.
//! - [`Spawned`] starts a server and waits until it answers, and kills it as a crash would.
//! - [`provision`] makes accounts, sessions, machines and access keys exist.
//! - [`trace`] writes down and reads back what went over the wire.
//! - [`codec`] holds the Engine.IO 4 and Socket.IO 5 packets as pure functions.
//!
//! This crate must not know any server, must not judge what a server does, and must not print,
//! exit or read the environment. It never reconnects by itself: a harness has to see every end.
//!
//! ```no_run
//! # async fn demo() -> Result<(), Box<dyn std::error::Error>> {
//! use serde_json::json;
//! use touchstone_client::{ConnectOptions, connect};
//!
//! let options = ConnectOptions::new("http://127.0.0.1:3005".parse()?)
//!     .auth(json!({"token": "…", "clientType": "user-scoped"}));
//! let (socket, mut events) = connect(&options).await?;
//! let reply = socket.call("ping", (), std::time::Duration::from_secs(5)).await?;
//! assert_eq!(reply.data()?, json!({}));
//! while let Ok(event) = events.recv().await {
//!     let _ = (event.name(), event.data()?);
//! }
//! # Ok(()) }
//! ```

mod clock;
pub mod codec;
mod driver;
mod engine;
mod error;
mod events;
mod handshake;
mod http;
mod launch;
mod link;
mod listener;
mod net;
mod network;
mod options;
pub mod provision;
mod queue;
mod received;
mod secret;
mod socket;
mod spawn;
mod spawned;
mod stop;
mod tap;
mod tls;
pub mod trace;
mod wire;

pub use clock::Clock;
pub use codec::{Args, Frame, Text};
pub use engine::{Engine, connect};
pub use error::{CallError, ConnectError, DialFailure, End, SendError, Stage, UpgradeError};
pub use events::Events;
pub use handshake::Handshake;
pub use launch::{LaunchError, answers};
pub use listener::Listener;
pub use net::NetStream;
pub use network::{Freeze, NETWORKS, Network, NetworkError, Way};
pub use options::{ConnectOptions, Transport};
pub use received::{Event, Reply};
pub use secret::{SECRET_WORDS, Secret, is_secret_key};
pub use socket::{PendingReply, Socket};
pub use spawn::{SpawnCommand, SpawnError};
pub use spawned::Spawned;
pub use stop::StopSignals;
pub use tap::{Conduct, Direction, Tap};
pub use tls::{TlsError, TlsOptions};
