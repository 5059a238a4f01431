//! A proxy between a client and a server that are both the test's.

mod attachments;
mod bytes;
mod failures;
mod gates;
mod held;
mod packed;
mod polling;
mod stand;
mod tls;
