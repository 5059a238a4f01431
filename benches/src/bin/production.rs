//! `production`: the scenario of that name at any scale, in as many processes as its connections
//! need.
//!
//! A process may have some 20 000 files open on many machines, and the scenario has 23 950
//! connections at scale 1. So its shards run as they would on several machines, each against a
//! server of its own, and their reports are merged.

#![expect(
    clippy::print_stdout,
    reason = "the figures are what this program is for"
)]

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Parser;
use touchstone_benches::host;
use touchstone_benches::load::shards::Shards;
use touchstone_benches::program;

/// The ramp as the scenario has it, and the phase for it.
const RAMP: &str = "ramp = \"10s\"";
const PHASE: &str = "duration = \"12s\"";

/// Run the scenario `production` in several processes, and print what they use.
#[derive(Debug, Parser)]
struct Arguments {
    /// The touchstone program, built with --release
    #[arg(long, value_name = "PATH", default_value = "target/release/touchstone")]
    touchstone: PathBuf,

    /// As `touchstone load --scale`
    #[arg(long, value_name = "K", default_value = "1")]
    scale: String,

    /// How many generators, each with a server of its own
    #[arg(long, value_name = "N", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100))]
    shards: u32,

    /// The time over which connections open; nothing else happens until two seconds later
    /// [default: as the scenario says]
    #[arg(long, value_name = "SECONDS")]
    ramp: Option<u32>,

    /// Seconds that the accounts may take to be made
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    lead: u64,
}

fn main() -> ExitCode {
    program::on_this_thread(run(&Arguments::parse()))
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    // The processes inherit what this one may have at most.
    host::allow_connections(0)?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let scenario = folder.path().join("production.toml");
    fs::write(&scenario, scenario_text(arguments.ramp)?).context("cannot write the scenario")?;
    let shards = Shards {
        program: &arguments.touchstone,
        scenario: &scenario,
        scale: &arguments.scale,
        count: arguments.shards,
        lead: Duration::from_secs(arguments.lead),
        folder: folder.path(),
    };
    let found = shards.run().await?;
    print!("{}\n{}", found.summary, found.figures);
    Ok(())
}

/// The scenario with another ramp.
fn scenario_text(ramp: Option<u32>) -> anyhow::Result<String> {
    let text = touchstone_fixtures::scenario("production").context("no such scenario")?;
    for expected in [RAMP, PHASE] {
        let found = text.matches(expected).count();
        ensure!(found == 1, "{found} lines of the scenario say {expected}");
    }
    Ok(match ramp {
        Some(seconds) => text
            .replace(RAMP, &format!("ramp = \"{seconds}s\""))
            .replace(PHASE, &format!("duration = \"{}s\"", seconds + 2)),
        None => text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ramp_of_the_scenario_can_be_another() {
        let text = scenario_text(Some(3)).unwrap();
        assert!(text.contains("ramp = \"3s\"\n") && text.contains("duration = \"5s\"\n"));
        assert!(!text.contains(RAMP) && !text.contains(PHASE));
        assert_ne!(text, scenario_text(None).unwrap());
    }
}
