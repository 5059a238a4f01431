//! `audited_rate`: how many deliveries per second one core of `touchstone load` audits.
//!
//! The generator has a core, the server has another. Behind the reference server the server is the
//! limit, so that the CPU time per delivery is the figure; behind a server that only writes
//! ([`bare`]) the generator is, and the rate says what it holds.

#![expect(
    clippy::print_stdout,
    reason = "the figures are what this program is for"
)]

use std::env::current_exe;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use tokio::net::TcpListener;
use tokio::process::Command;
use touchstone_benches::host;
use touchstone_benches::load::own::{Idle, Own, Peak};
use touchstone_benches::load::{Work, bare};
use touchstone_benches::process::{READY, ServerProcess};
use touchstone_benches::program;

/// How long each rate is tried.
const STEP: Duration = Duration::from_secs(2);
/// Where the search begins, in deliveries per second.
const FROM: f64 = 50_000.0;

/// Print the highest rate of audited deliveries of one core, and the CPU time of each.
#[derive(Debug, Parser)]
struct Arguments {
    /// The touchstone program, built with --release
    #[arg(long, value_name = "PATH", default_value = "target/release/touchstone")]
    touchstone: PathBuf,

    /// Connections that receive each message
    #[arg(
        long,
        value_name = "N",
        value_delimiter = ',',
        default_value = "100,500"
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=15_000))]
    connections: Vec<u32>,

    /// How many messages are sent at once; the scenario `fanout` sends 5
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,5")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100))]
    burst: Vec<u32>,

    /// Bytes of a message's content
    #[arg(long, value_name = "BYTES", default_value_t = 300)]
    #[arg(value_parser = clap::value_parser!(u32).range(100..=500_000))]
    message_bytes: u32,

    /// Only the server that writes and does nothing else
    #[arg(long)]
    bare_only: bool,

    /// Instead of that, print what so many connections cost that receive next to nothing
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=19_900))]
    idle: Option<u32>,

    /// Be that server
    #[arg(long, hide = true)]
    serve: bool,
}

fn main() -> ExitCode {
    program::on_this_thread(run(&Arguments::parse()))
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let most = arguments.connections.iter().chain(&arguments.idle).max();
    host::allow_connections(most.map_or(0, |most| *most as usize))?;
    if arguments.serve {
        return be_the_server().await;
    }
    let [for_server, for_generator] = host::two_cores()?;
    // The servers inherit this; the generator gets the other one.
    host::pin(for_server)?;
    measure(arguments, for_generator).await
}

async fn be_the_server() -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .context("no free port")?;
    println!("{READY}http://{}", listener.local_addr()?);
    bare::serve(listener).await
}

/// What stands behind the generator.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Behind {
    Bare,
    Reference,
}

impl Behind {
    const ALL: [Self; 2] = [Self::Bare, Self::Reference];

    fn name(self) -> &'static str {
        match self {
            Self::Bare => "a bare writer",
            Self::Reference => "touchstone serve",
        }
    }

    async fn start(self, touchstone: &Path) -> anyhow::Result<ServerProcess> {
        match self {
            Self::Bare => {
                let mut command = Command::new(current_exe().context("cannot find this program")?);
                command.arg("--serve");
                ServerProcess::start(command).await
            }
            Self::Reference => ServerProcess::touchstone(touchstone).await,
        }
    }
}

async fn measure(arguments: &Arguments, core: usize) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let accounts = folder.path().join("accounts.toml");
    fs::write(&accounts, bare::TARGET).context("cannot write the file of accounts")?;
    if let Some(connections) = arguments.idle {
        return idle(arguments, core, connections, &accounts).await;
    }
    println!(
        "messages of {} bytes; deliveries per second, and CPU of the generator for each",
        arguments.message_bytes
    );
    let mut seed = 0;
    for behind in Behind::ALL {
        if arguments.bare_only && behind != Behind::Bare {
            continue;
        }
        let server = behind.start(&arguments.touchstone).await?;
        for &connections in &arguments.connections {
            for &burst in &arguments.burst {
                seed += 1 << 8;
                let mut own = Own {
                    program: &arguments.touchstone,
                    url: server.url(),
                    work: Work {
                        connections,
                        message_bytes: arguments.message_bytes as usize,
                    },
                    core,
                    seed,
                    burst,
                    accounts: (behind == Behind::Bare).then_some(&accounts),
                };
                let peak = own.search(FROM, STEP).await?;
                println!("{}", row(behind, connections, burst, peak));
            }
        }
    }
    Ok(())
}

async fn idle(
    arguments: &Arguments,
    core: usize,
    connections: u32,
    accounts: &Path,
) -> anyhow::Result<()> {
    let server = Behind::Bare.start(&arguments.touchstone).await?;
    let mut own = Own {
        program: &arguments.touchstone,
        url: server.url(),
        work: Work {
            connections,
            message_bytes: arguments.message_bytes as usize,
        },
        core,
        seed: 0,
        burst: 1,
        accounts: Some(accounts),
    };
    let Idle {
        connection_bytes,
        connect_nanos,
    } = own.idle().await?;
    println!(
        "{connections} idle connections: {:.1} KB each, {:.0} us of CPU to open one",
        connection_bytes / 1024.0,
        connect_nanos / 1e3
    );
    Ok(())
}

fn row(behind: Behind, connections: u32, burst: u32, peak: Option<Peak>) -> String {
    let what = format!(
        "{:<16} {connections:>5} connections, {burst:>2} at once:",
        behind.name()
    );
    let Some(Peak {
        highest,
        event_nanos,
    }) = peak
    else {
        return format!("{what} no rate held");
    };
    let limit = if highest.at_least {
        "the server was the limit"
    } else {
        "the generator's core was the limit"
    };
    format!(
        "{what} {:>5.0} k/s, {:.2} us, {limit}",
        highest.rate / 1e3,
        event_nanos / 1e3
    )
}
