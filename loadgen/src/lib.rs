//! The load generator: honest load, and the truth about every delivery.
//!
//! - [`scenario`] says who connects and what they do; [`schedule`] turns it into the whole plan of
//!   a run, a pure function of scenario, scale and seed.
//! - [`progress`] is a run as it is seen while it lasts, [`report`] what it found;
//!   [`merge`] adds reports, [`compare`] puts them side by side, and [`slo`] holds them against
//!   objectives. [`live`] draws a run, and [`prometheus`] makes metrics of it.
//!
//! This crate must not know any server, must not judge what events look like, and must not print,
//! exit or read the environment.

mod audit;
pub mod compare;
pub mod live;
pub mod merge;
pub mod progress;
pub mod prometheus;
pub mod report;
pub mod run;
pub mod scenario;
pub mod schedule;
pub mod slo;
