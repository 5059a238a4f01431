//! `hostile`: what others of a server feel while somebody attacks it, and what it costs the server.
//!
//! Each attack has a server of its own, on one core; attackers and those whom they disturb share the
//! other. Figures are for people; what is asserted is that everybody who does no harm is answered.

#![expect(
    clippy::print_stdout,
    reason = "the figures are what this program is for"
)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use touchstone_benches::hostile::{Effect, attacks, observe};
use touchstone_benches::process::ServerProcess;
use touchstone_benches::{host, program};

/// Attack `touchstone serve`, and print what others feel.
#[derive(Debug, Parser)]
struct Arguments {
    /// The touchstone program, built with --release
    #[arg(long, value_name = "PATH", default_value = "target/release/touchstone")]
    touchstone: PathBuf,

    /// Only these attacks
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<Attack>,

    /// How long each goes on, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 25)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: u16,

    /// Connections that are half open
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    half_open: usize,

    /// Connections that read nothing, and those whose heads are slow
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    stalled: usize,

    /// Events per second of one connection
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    rate: u32,

    /// Accounts
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    accounts: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Attack {
    HalfOpen,
    Stalled,
    SlowHeads,
    Oversized,
    Flood,
    Accounts,
}

fn main() -> ExitCode {
    program::on_this_thread(run(Arguments::parse()))
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    host::allow_connections(arguments.half_open.max(arguments.stalled))?;
    let [of_server, of_others] = host::two_cores()?;
    println!(
        "{:<11}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}  attackers",
        "", "before", "", "", "meanwhile", "", "", "memory", "", ""
    );
    println!(
        "{:<11}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}",
        "ping, ms", "p50", "p99", "max", "p50", "p99", "max", "MB", "peak", "after"
    );
    for attack in Attack::value_variants() {
        if !arguments.only.is_empty() && !arguments.only.contains(attack) {
            continue;
        }
        // Processes inherit the core of the thread that starts them.
        host::pin(of_server)?;
        let server = ServerProcess::touchstone(&arguments.touchstone).await?;
        host::pin(of_others)?;
        let effect = against(&arguments, *attack, &server).await?;
        print(*attack, &effect);
    }
    Ok(())
}

async fn against(
    arguments: &Arguments,
    attack: Attack,
    server: &ServerProcess,
) -> anyhow::Result<Effect> {
    let url = server.url();
    let time = Duration::from_secs(arguments.seconds.into());
    let quiet = Duration::from_secs(5);
    match attack {
        Attack::HalfOpen => {
            let attack = attacks::half_open(url, arguments.half_open, time);
            observe(server, attack, quiet).await
        }
        Attack::Stalled => {
            observe(
                server,
                attacks::stalled(url, arguments.stalled, time),
                quiet,
            )
            .await
        }
        Attack::SlowHeads => {
            let attack = attacks::slow_heads(url, arguments.stalled, time);
            observe(server, attack, quiet).await
        }
        Attack::Oversized => observe(server, attacks::oversized(url, time), quiet).await,
        Attack::Flood => observe(server, attacks::flood(url, arguments.rate, time), quiet).await,
        Attack::Accounts => {
            observe(server, attacks::accounts(url, arguments.accounts), quiet).await
        }
    }
}

fn print(attack: Attack, effect: &Effect) {
    let name = attack.to_possible_value();
    let name = name.as_ref().map_or("", |name| name.get_name());
    let pings = [&effect.before, &effect.meanwhile];
    let times =
        pings.map(|pings| [0.5, 0.99, 1.0].map(|share| format!("{:>9.2}", pings.within(share))));
    let memory = effect
        .memory
        .map(|bytes| format!("{:>9}", bytes / 1_000_000));
    println!(
        "{name:<11}{}{}  {}",
        times.concat().concat(),
        memory.concat(),
        effect.told
    );
}
