//! The server as its clients see it: through sockets and HTTP only.

#![expect(
    clippy::unwrap_used,
    reason = "what fails to unwrap fails its test, with the line"
)]

mod control;
mod engine;
mod handlers;
mod handshake;
mod limits;
mod model;
mod order;
mod presence;
mod raw;
mod refusals;
mod rest;
mod rest_data;
mod routing;
mod rpc;
mod stand;
