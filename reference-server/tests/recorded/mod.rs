//! Recordings of real clients, and their replay against a server. `README.md` describes the data.

use std::fmt;

mod connection;
mod format;
mod replay;
mod values;

pub(crate) use format::Recording;
pub(crate) use replay::{Tally, replay};

/// The first thing that went otherwise than recorded.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The file and the line.
    pub(crate) place: String,
    /// What the person with the phone was doing.
    pub(crate) phase: String,
    /// What was expected and what came.
    pub(crate) problem: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.place, self.phase, self.problem)
    }
}

impl std::error::Error for Failure {}
