//! The server as its clients see it: through sockets and HTTP only.

mod handlers;
mod handshake;
mod limits;
mod raw;
mod routing;
mod rpc;
mod stand;
