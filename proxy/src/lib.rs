//! Between real clients and a server: everything is passed on as it came, and what went by is recorded.
//!
//! Each client's connection has one connection to the server. Bytes are copied in both directions as
//! they come ([`serve`]); what they mean is found out beside the traffic, from a bounded queue: a slow
//! screen, disk or judge makes the recording incomplete, which it says, and never the traffic slow.
//!
//! The server receives what the client would have sent to it without a proxy. Therefore two things of a
//! request's head change, which a client derives from the URL that it was given: `Host` is that of the
//! server, and the path begins with the prefix of the server's URL. Headers that the user gives are added.
//! Those of single connections stay, since each connection has its own counterpart.
//!
//! With a [`Gate`], somebody looks at each message before it goes on, and may do something to it; what was
//! done stands in the recording.
//!
//! This crate must not print, must not judge, and must not know the monitor or any server. It never hands
//! out a token, a signature or a secret of a pairing.

mod clients;
mod engine;
mod gate;
mod gated;
mod hold;
mod observe;
mod relay;
mod scan;
mod stream;
mod tls;

pub use clients::Clients;
pub use gate::{Action, Choose, Gate, Gates};
pub use hold::Held;
pub use relay::{Plan, serve};
pub use tls::{Certificate, CertificateError};
