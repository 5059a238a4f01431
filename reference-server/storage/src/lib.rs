//! Keeps the rows of the reference server in SQLite or Postgres, so that a server that starts again goes
//! on where the last one was.
//!
//! Memory stays what decisions are made from. One task writes: whatever waits becomes one transaction,
//! and what comes from it leaves when it is stored. At the start all rows are read back as the changes
//! that made them. This crate decides nothing and knows no protocol; the server does not know it.
//!
//! SQL is written for both databases at once and checked by tests that run it, not by a database while
//! compiling: whoever builds the workspace needs none.

mod batch;
mod database;
mod location;
mod operations;
mod queue;
mod read;
mod steps;
mod table;
mod text;
mod writer;

pub use database::{Database, OpenError};
pub use location::{Location, LocationError};
pub use read::Progress;
pub use writer::Writer;
