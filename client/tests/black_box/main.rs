//! The client from outside, against scripted servers that speak raw bytes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod command;
mod connect;
mod ends;
mod http;
mod messages;
mod misbehave;
mod polling;
mod rest;
mod script;
mod tls;
mod trace;
