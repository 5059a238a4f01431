//! `load_peers`: `touchstone load` and what people would take instead of it, side by side.
//!
//! One server on one core, one generator at a time on another, the same work for each: the fan-out
//! of one account. `benches/peers/load` installs and builds what this needs, then calls it.

#![expect(clippy::print_stdout, reason = "the table is what this program is for")]
#![expect(
    clippy::print_stderr,
    reason = "progress, and who is left out, goes beside the table"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Parser;
use tokio::time::timeout;
use touchstone_benches::fleet::Account;
use touchstone_benches::host;
use touchstone_benches::load::listener::Listener;
use touchstone_benches::load::own::Own;
use touchstone_benches::load::speaker::Speaker;
use touchstone_benches::load::table::{Figures, Table};
use touchstone_benches::load::tools::{Places, Tool};
use touchstone_benches::load::{Trials, Work};
use touchstone_benches::process::ServerProcess;
use touchstone_benches::program;

/// How long each rate is tried on the way to the highest.
const STEP: Duration = Duration::from_secs(2);

/// Above this load average, other programs share the cores that are measured.
const BUSY: f64 = 0.7;

/// Compare load generators: CPU per received event, highest rate, memory and CPU per connection.
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
struct Arguments {
    /// The touchstone program, built with --release
    #[arg(long, value_name = "PATH", default_value = "target/release/touchstone")]
    touchstone: PathBuf,

    /// The folder in which the other tools are installed
    #[arg(long, value_name = "PATH", default_value = "benches/peers/tools")]
    tools: PathBuf,

    /// Measure only these tools; may be repeated
    #[arg(long, value_name = "TOOL", value_delimiter = ',')]
    only: Vec<Tool>,

    /// How often all of them are measured
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,

    /// Connections that receive each message
    #[arg(long, value_name = "N", default_value_t = 500)]
    #[arg(value_parser = clap::value_parser!(u32).range(10..=10_000))]
    connections: u32,

    /// Events per second, over all connections, at which CPU per event is compared
    #[arg(long, value_name = "EVENTS", default_value_t = 2_500)]
    #[arg(value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    rate: u32,

    /// Seconds at that rate
    #[arg(long, value_name = "SECONDS", default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=60))]
    steady: u64,

    /// Bytes of a message's content
    #[arg(long, value_name = "BYTES", default_value_t = 200)]
    #[arg(value_parser = clap::value_parser!(u32).range(100..=500_000))]
    message_bytes: u32,

    /// Give up on a tool after this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 90)]
    limit: u64,
}

fn main() -> ExitCode {
    program::on_this_thread(run(&Arguments::parse()))
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    // Generators inherit the limit, and the server.
    host::allow_connections(2 * arguments.connections as usize)?;
    let [for_server, for_generators] = host::two_cores()?;
    // We send for the foreign tools, and stay off the core that is measured.
    host::pin(for_server)?;
    let load = host::load_average()?;
    if load > BUSY {
        eprintln!("other programs keep this machine busy (load {load}): believe little of this");
    }
    let table = compare(arguments, for_generators).await?;
    print!("{table}");
    if table.rounds.iter().all(BTreeMap::is_empty) {
        bail!("no tool could be measured");
    }
    Ok(())
}

async fn compare(arguments: &Arguments, for_generators: usize) -> anyhow::Result<Table> {
    let server = ServerProcess::touchstone(&arguments.touchstone).await?;
    let mut comparison = Comparison {
        places: Places {
            touchstone: arguments.touchstone.clone(),
            tools: arguments.tools.clone(),
        },
        server,
        work: Work {
            connections: arguments.connections,
            message_bytes: arguments.message_bytes as usize,
        },
        trials: Trials {
            rate: f64::from(arguments.rate),
            steady: Duration::from_secs(arguments.steady),
            step: STEP,
        },
        core: for_generators,
        accounts: 0,
    };
    let limit = Duration::from_secs(arguments.limit);
    let mut rounds = Vec::new();
    for number in 1..=arguments.rounds {
        let mut round = BTreeMap::new();
        for tool in Tool::ALL {
            if !arguments.only.is_empty() && !arguments.only.contains(&tool) {
                continue;
            }
            eprintln!("round {number} of {}: {tool}", arguments.rounds);
            match timeout(limit, comparison.measure(tool)).await {
                Ok(Ok(figures)) => {
                    round.insert(tool, figures);
                }
                Ok(Err(error)) => eprintln!("{tool} is left out: {error:#}"),
                Err(_) => eprintln!("{tool} is left out: not measured within {limit:?}"),
            }
        }
        rounds.push(round);
    }
    Ok(Table {
        work: comparison.work,
        rate: comparison.trials.rate,
        rounds,
    })
}

/// Everything that stays the same from tool to tool.
struct Comparison {
    places: Places,
    server: ServerProcess,
    work: Work,
    trials: Trials,
    /// Where generators run.
    core: usize,
    /// Accounts that were used, since each measurement has one of its own.
    accounts: u8,
}

impl Comparison {
    async fn measure(&mut self, tool: Tool) -> anyhow::Result<Figures> {
        self.accounts = self.accounts.wrapping_add(1);
        if tool == Tool::Touchstone {
            let mut own = Own {
                program: &self.places.touchstone,
                url: self.server.url(),
                work: self.work,
                core: self.core,
                // One account per run, so room for all runs of a measurement.
                seed: u64::from(self.accounts) << 8,
                burst: 1,
                accounts: None,
            };
            return own.measure(self.trials).await;
        }
        let account = Account::provision(self.server.url(), self.accounts).await?;
        let speaker = Speaker::connect(&account, self.work).await?;
        let command = self.places.listener(tool, &account, self.work)?;
        let mut listener = Listener::start(command, self.work, self.core)?;
        listener.measure(&speaker, self.trials).await
    }
}
