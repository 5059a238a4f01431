//! A server whose rows are in a database, killed, starved and started again: what was acknowledged is
//! there afterwards, nothing half is, and no number goes back.

mod check;
mod kept;
mod kills;
#[cfg(feature = "postgres-tests")]
mod postgres;
mod served;
mod sqlite;
mod writer;
