//! What must hold of any recording of a server and its clients, whoever made it.
//!
//! A [`Judge`] reads the records of a trace one by one, while it is written or afterwards, and states
//! [`Violation`]s with the requirements of the suite's ledger. It knows the wire and the contract
//! (`touchstone-fixtures`), and no server, case or tool.
//!
//! It must not accuse where another course of what nobody saw could explain the recording: what a call
//! did whose answer never came is open, calls whose times overlap may have happened in either order,
//! and what needs to know everybody who acts on an account is judged only of [`Knowledge::Complete`]
//! histories. It must not keep more of an account than a bounded number of things.

mod account;
mod finding;
mod judge;
mod print;
mod requirement;
mod rules;
mod story;

pub use finding::Violation;
pub use judge::{Judge, Keeps, Knowledge};
pub use requirement::{REQUIREMENTS, Requirement};
pub use rules::{RULES, Rule};
pub use touchstone_fixtures::Level;
