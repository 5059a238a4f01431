//! The `touchstone` program: parse the arguments, make a plan, call one crate, and end with a
//! documented exit code. It is the only place that prints, reads the environment or knows every
//! crate of the workspace.

mod args;
mod commands;
mod embedded;
mod error;
mod exit;
mod logging;
mod output;
mod patterns;
mod profile;
mod progress;
mod reports;
mod screen;
mod sinks;
mod spawned;
mod target;
mod traces;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let arguments = args::Arguments::parse();
    match commands::run(arguments) {
        Ok(exit) => exit.into(),
        Err(error) => error.report().into(),
    }
}
