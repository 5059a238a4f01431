//! `fanout_peers`: the same fan-out against our server and against Node's `socket.io`, in one run.
//!
//! Both servers run on one core and this driver on another. Rounds alternate between the two, and
//! what is compared is the CPU time that the server's process used per delivered event, which a
//! busy machine disturbs far less than elapsed time. Both do the work for the same driver, which
//! checks that every receiver got every event in order.
//!
//! `benches/peers/run` installs and builds what this needs, then calls it.

#![expect(clippy::print_stdout, reason = "the table is what this program is for")]
#![expect(clippy::print_stderr, reason = "progress goes beside the table")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use tokio::process::Command;
use tokio::time::Instant;
use touchstone_benches::fleet::{Account, Fleet};
use touchstone_benches::host;
use touchstone_benches::process::ServerProcess;
use touchstone_benches::program;
use touchstone_benches::rounds::{Comparison, Round};

/// Rounds that nothing is taken from: they let V8 compile what is hot, and buffers grow.
const WARM_UP: u32 = 2;

/// What the project aims at: our CPU time by Node's, for one event at a time and for twenty.
const SCENARIOS: [Scenario; 2] = [
    Scenario {
        name: "single events",
        burst: 1,
        deliveries: 40_000,
        aim: 0.4,
    },
    Scenario {
        name: "bursts of 20",
        burst: 20,
        deliveries: 200_000,
        aim: 0.1,
    },
];

/// Compare the server CPU time per delivered event with Node's socket.io.
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
struct Arguments {
    /// The touchstone program, built with --release
    #[arg(long, value_name = "PATH", default_value = "target/release/touchstone")]
    ours: PathBuf,

    /// The peer's server, run by `node`
    #[arg(long, value_name = "PATH", default_value = "benches/peers/server.mjs")]
    peer: PathBuf,

    /// How many connections receive each event; may be repeated
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [100, 1_000])]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    receivers: Vec<u32>,

    /// Measured rounds per scenario
    #[arg(long, value_name = "N", default_value_t = 7)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,

    /// Bytes of a message's content
    #[arg(long, value_name = "BYTES", default_value_t = 200)]
    #[arg(value_parser = clap::value_parser!(u32).range(20..=500_000))]
    message_bytes: u32,

    /// Begin no further round after this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    limit: u64,
}

/// A way to send, repeated until enough events are delivered for a stable figure.
#[derive(Clone, Copy)]
struct Scenario {
    name: &'static str,
    /// Messages that are sent back to back before their arrival is awaited.
    burst: u64,
    /// Events delivered per round, over all receivers.
    deliveries: u64,
    aim: f64,
}

fn main() -> ExitCode {
    program::on_this_thread(run(&Arguments::parse()))
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let most = arguments
        .receivers
        .iter()
        .max()
        .context("--receivers is empty")?;
    host::allow_connections(2 * *most as usize)?;
    let [for_servers, for_us] = host::two_cores()?;
    let deadline = Instant::now() + Duration::from_secs(arguments.limit);
    for &receivers in &arguments.receivers {
        // Processes inherit the core of the thread that starts them.
        host::pin(for_servers)?;
        let servers = start(arguments).await?;
        host::pin(for_us)?;
        for comparison in compare(arguments, receivers, &servers, deadline).await? {
            println!("{comparison}");
        }
    }
    Ok(())
}

/// Both servers, one process each.
struct Servers {
    ours: ServerProcess,
    peer: ServerProcess,
}

async fn start(arguments: &Arguments) -> anyhow::Result<Servers> {
    let mut peer = Command::new("node");
    // What operators of Node set; its libraries skip checks that are for development.
    peer.arg(&arguments.peer).env("NODE_ENV", "production");
    Ok(Servers {
        ours: ServerProcess::touchstone(&arguments.ours).await?,
        peer: ServerProcess::start(peer).await?,
    })
}

async fn compare(
    arguments: &Arguments,
    receivers: u32,
    servers: &Servers,
    deadline: Instant,
) -> anyhow::Result<Vec<Comparison>> {
    let mut ours = Side::connect(&servers.ours, arguments, receivers)
        .await
        .context("touchstone")?;
    let mut peer = Side::connect(&servers.peer, arguments, receivers)
        .await
        .context("node")?;
    let mut comparisons = Vec::new();
    for scenario in SCENARIOS {
        let title = format!("{} to {receivers} receivers", scenario.name);
        let mut rounds = Vec::new();
        for number in 0..WARM_UP + arguments.rounds {
            if Instant::now() >= deadline {
                eprintln!("{title}: stopped by --limit after {} rounds", rounds.len());
                break;
            }
            let round = Round {
                ours: ours.measure(scenario).await.context("touchstone")?,
                peer: peer.measure(scenario).await.context("node")?,
            };
            if number >= WARM_UP {
                eprintln!(
                    "{title}: round {} of {}",
                    rounds.len() + 1,
                    arguments.rounds
                );
                rounds.push(round);
            }
        }
        comparisons.push(Comparison {
            title,
            aim: scenario.aim,
            rounds,
        });
    }
    Ok(comparisons)
}

/// One server with everyone connected to it.
struct Side {
    pid: u32,
    fleet: Fleet,
}

impl Side {
    async fn connect(
        server: &ServerProcess,
        arguments: &Arguments,
        receivers: u32,
    ) -> anyhow::Result<Self> {
        let account = Account::provision(server.url(), 0).await?;
        let bytes = arguments.message_bytes as usize;
        let fleet = Fleet::connect(&account, receivers as usize, bytes).await?;
        Ok(Self {
            pid: server.pid(),
            fleet,
        })
    }

    /// CPU nanoseconds of the server per delivered event.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    async fn measure(&mut self, scenario: Scenario) -> anyhow::Result<f64> {
        let per_burst = scenario.burst * self.fleet.receivers();
        let bursts = scenario.deliveries.div_ceil(per_burst);
        let before = host::cpu_nanos(self.pid)?;
        for _ in 0..bursts {
            self.fleet.burst(scenario.burst).await?;
        }
        let used = host::cpu_nanos(self.pid)? - before;
        Ok(used as f64 / (bursts * per_burst) as f64)
    }
}
