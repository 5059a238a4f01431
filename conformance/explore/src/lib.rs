//! Histories that nobody wrote down before: generated, run against a server, judged, and made smaller.
//!
//! A seed gives a [`Plan`]: connections of several accounts, and steps that they take at the same time.
//! [`explore`] runs one plan after the other, lets the judge of histories (`touchstone-history`) look at
//! what came, and shrinks what it finds to a few steps that a person can repeat.
//!
//! This crate knows no server and no case, prints nothing and reads no environment. It must not judge: what
//! must hold of a history stands in `touchstone-history`.

mod crash;
mod deed;
mod diagram;
mod explore;
mod generate;
mod peer;
mod plan;
mod round;
mod shrink;
mod steps;
mod target;
mod values;
mod world;

pub use crash::Crash;
pub use diagram::{Diagram, Row};
pub use explore::{Ended, Explored, Extent, Finding, Progress, Settings, explore};
pub use plan::Plan;
pub use round::RoundError;
pub use target::Target;
