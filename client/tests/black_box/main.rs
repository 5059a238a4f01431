//! The client from outside, against scripted servers that speak raw bytes.

mod connect;
mod ends;
mod messages;
mod misbehave;
mod script;
