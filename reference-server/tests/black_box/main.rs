//! The server as its clients see it: through sockets and HTTP only.

mod control;
mod faults;
mod handlers;
mod handshake;
mod limits;
mod model;
mod order;
mod presence;
mod raw;
mod rest;
mod routing;
mod rpc;
mod stand;
