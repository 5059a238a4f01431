//! `idle_memory`: what an idle connection costs in resident memory, in the client and in the
//! server.
//!
//! The server runs in a process of its own (this program again, with `--serve`), so that each
//! side's memory can be read from the operating system. A connection counts with everything that it
//! takes to use it: its task, its queue, and a task that waits for its events. At the end one
//! message goes to all of them, which proves that they were alive, and memory is read again.

#![expect(
    clippy::print_stdout,
    reason = "the figures are what this program is for"
)]

use std::env::current_exe;
use std::net::Ipv4Addr;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::process::Command;
use touchstone_benches::fleet::{Account, Fleet};
use touchstone_benches::host;
use touchstone_benches::process::{READY, ServerProcess};
use touchstone_benches::program;
use touchstone_reference_server::{Config, serve};
use url::Url;

/// Connections that are opened before memory is read for the first time, so that what exists once
/// per process (pools, lazily made tables) is not divided among the others.
const WARM_UP: usize = 32;
/// The payload of the message that goes to all, in bytes.
const MESSAGE_BYTES: usize = 200;

/// Print the resident memory per idle connection.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many connections to open
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=25_000))]
    connections: u16,

    /// Measure only the client, against a server that is already running
    #[arg(long, value_name = "URL")]
    url: Option<Url>,

    /// Be the server, until stdin closes
    #[arg(long, hide = true)]
    serve: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    program::ended(run(Arguments::parse()).await)
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let connections = usize::from(arguments.connections);
    host::allow_connections(connections + WARM_UP)?;
    if arguments.serve {
        be_the_server().await
    } else {
        measure(connections, arguments.url).await
    }
}

async fn measure(connections: usize, url: Option<Url>) -> anyhow::Result<()> {
    let (url, server) = match url {
        Some(url) => (url, None),
        None => {
            let server = ServerProcess::start(server_command(connections)?).await?;
            (server.url().clone(), Some(server))
        }
    };
    let memory = Memory {
        server: server.as_ref().map(ServerProcess::pid),
    };

    // Accounts of their own, since a receiver minds the messages of another fleet.
    let (first, second) = (
        Account::provision(&url, 0).await?,
        Account::provision(&url, 1).await?,
    );
    let mut few = Fleet::connect(&first, WARM_UP, MESSAGE_BYTES).await?;
    few.burst(1).await?;
    let before = memory.read()?;

    let mut all = Fleet::connect(&second, connections, MESSAGE_BYTES).await?;
    println!("{connections} idle connections, KB of resident memory each:");
    memory
        .read()?
        .print("after connecting", before, connections);
    all.burst(1)
        .await
        .context("not all connections were alive")?;
    memory
        .read()?
        .print("after an event each", before, connections);
    Ok(())
}

fn server_command(connections: usize) -> anyhow::Result<Command> {
    let mut command = Command::new(current_exe().context("cannot find this program")?);
    command
        .arg("--serve")
        .arg("--connections")
        .arg(connections.to_string());
    Ok(command)
}

async fn be_the_server() -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .context("no free port")?;
    println!("{READY}http://{}", listener.local_addr()?);
    let parent_is_gone = async {
        let mut nothing = Vec::new();
        // Closed or broken, either way nobody is there.
        let _ = tokio::io::stdin().read_to_end(&mut nothing).await;
    };
    serve(vec![listener], Config::default(), parent_is_gone)
        .await
        .context("the server failed")
}

/// Whose memory is read: this process, and the server's where it is ours.
struct Memory {
    server: Option<u32>,
}

/// Resident bytes at one moment.
#[derive(Clone, Copy)]
struct Reading {
    client: u64,
    server: Option<u64>,
}

impl Memory {
    fn read(&self) -> anyhow::Result<Reading> {
        Ok(Reading {
            client: host::resident_bytes(std::process::id())?,
            server: self.server.map(host::resident_bytes).transpose()?,
        })
    }
}

impl Reading {
    fn print(self, moment: &str, before: Self, connections: usize) {
        let client = kilobytes(self.client, before.client, connections);
        let server = match self.server.zip(before.server) {
            Some((now, before)) => kilobytes(now, before, connections),
            None => "not measured".to_owned(),
        };
        println!("  {moment:<20}  client {client}  server {server}");
    }
}

/// Growth per connection, in units of 1 024 bytes.
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
fn kilobytes(now: u64, before: u64, connections: usize) -> String {
    format!(
        "{:.1}",
        now.saturating_sub(before) as f64 / 1024.0 / connections as f64
    )
}
