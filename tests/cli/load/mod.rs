//! `touchstone load`: what it says before, while and after it runs.

mod desk;
mod plans;
mod reports;
mod running;
mod screen;
mod spawn;
mod verdicts;

pub(crate) use desk::{Desk, SMALL};
