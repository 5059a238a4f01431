//! A proxy between a client and a server that are both the test's.

mod bytes;
mod failures;
mod gates;
mod packed;
mod stand;
mod tls;
