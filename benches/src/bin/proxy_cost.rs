//! `proxy_cost`: what `touchstone proxy` adds to the time of a call, and what a connection through it costs in
//! memory, beside a proxy that does nothing but copy bytes, and none.
//!
//! Server and proxy run in processes of their own. Calls are counted from their planned time.

#![expect(
    clippy::print_stdout,
    reason = "the figures are what this program is for"
)]

use std::env::current_exe;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Parser;
use futures_util::future::try_join_all;
use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::time::Instant;
use touchstone_benches::fleet::{Account, Fleet};
use touchstone_benches::process::{READY, ServerProcess};
use touchstone_benches::{host, program};
use url::Url;

/// Connections that call in turn.
const CALLERS: u32 = 50;
/// Calls before those that count.
const WARM_UP: Duration = Duration::from_secs(2);
const ANSWER: Duration = Duration::from_secs(30);
/// Connections that are opened before memory is read for the first time.
const FEW: usize = 32;
/// The payload of the message that goes to all, in bytes.
const MESSAGE_BYTES: usize = 200;
/// The aim: so many connections ...
const AIM_CONNECTIONS: u64 = 20_000;

/// Print the latency that a proxy adds, and its memory per connection.
#[derive(Debug, Parser)]
struct Arguments {
    /// The touchstone program, built with --release
    #[arg(long, value_name = "PATH", default_value = "target/release/touchstone")]
    touchstone: PathBuf,

    /// Events per second, half of which are calls and half answers
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(100..))]
    rate: u32,

    /// How long to measure each way in each round
    #[arg(long, value_name = "N", default_value_t = 10)]
    seconds: u64,

    /// How often each way is measured, in turn
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: u32,

    /// How many connections to open for the memory; a proxy needs two files for each
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u16).range(100..=9_900))]
    connections: u16,

    /// Be the proxy that copies bytes to this address
    #[arg(long, hide = true, value_name = "ADDRESS")]
    copy_to: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    program::ended(run(Arguments::parse()).await)
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    if let Some(address) = arguments.copy_to {
        return copy(address).await;
    }
    let connections = usize::from(arguments.connections);
    host::allow_connections(2 * (connections + FEW))?;
    println!(
        "{} events/s over {CALLERS} connections, {} s in each of {} rounds",
        arguments.rate, arguments.seconds, arguments.rounds
    );
    println!("way       round      p50      p99     p99.9");
    let mut all: [Vec<Figures>; 3] = Default::default();
    for round in 1..=arguments.rounds {
        for (way, figures) in Way::ALL.into_iter().zip(&mut all) {
            let stand = Stand::start(&arguments.touchstone, way).await?;
            let seconds = Duration::from_secs(arguments.seconds);
            let measured = measure(stand.url(), arguments.rate / 2, seconds).await?;
            stand.end().await?;
            println!(
                "{:9} {round:5} {:8} {:8} {:8}",
                way.name(),
                shown(measured.p50),
                shown(measured.p99),
                shown(measured.p999)
            );
            figures.push(measured);
        }
    }
    let [none, others @ ..] = &all;
    for (way, figures) in Way::ALL[1..].iter().zip(others) {
        let added = |of: fn(&Figures) -> Duration| {
            let with = median(figures, of);
            shown(with.saturating_sub(median(none, of)))
        };
        println!(
            "{} adds {} in p50 and {} in p99, by the medians of the rounds",
            way.name(),
            added(|one| one.p50),
            added(|one| one.p99)
        );
    }
    println!("{connections} idle connections, resident memory of the proxy:");
    for way in [Way::Copy, Way::Ours] {
        memory(&arguments.touchstone, way, connections).await?;
    }
    Ok(())
}

/// What stands between the callers and the server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct,
    Copy,
    Ours,
}

impl Way {
    const ALL: [Self; 3] = [Self::Direct, Self::Copy, Self::Ours];

    fn name(self) -> &'static str {
        match self {
            Self::Direct => "none",
            Self::Copy => "copying",
            Self::Ours => "ours",
        }
    }
}

/// A server, and what stands before it.
struct Stand {
    server: ServerProcess,
    proxy: Option<ServerProcess>,
}

impl Stand {
    async fn start(touchstone: &Path, way: Way) -> anyhow::Result<Self> {
        let server = ServerProcess::touchstone(touchstone).await?;
        let url = server.url().as_str().trim_end_matches('/').to_owned();
        let proxy = match way {
            Way::Direct => None,
            Way::Copy => {
                let mut command = Command::new(current_exe().context("cannot find this program")?);
                command
                    .arg("--copy-to")
                    .arg(url.trim_start_matches("http://"));
                Some(ServerProcess::start(command).await?)
            }
            Way::Ours => {
                // It says where it listens on stderr, since its lines go to stdout: none here.
                let mut command = Command::new("sh");
                command
                    .args(["-c", "exec \"$@\" 2>&1", "sh"])
                    .arg(touchstone);
                command.args([
                    "proxy",
                    "127.0.0.1:0",
                    &url,
                    "--headless",
                    "--filter",
                    "size < 0",
                ]);
                Some(ServerProcess::start(command).await?)
            }
        };
        Ok(Self { server, proxy })
    }

    fn url(&self) -> &Url {
        self.proxy.as_ref().unwrap_or(&self.server).url()
    }

    async fn end(self) -> anyhow::Result<()> {
        if let Some(proxy) = self.proxy {
            proxy.end().await?;
        }
        self.server.end().await
    }
}

/// Passes bytes on, and looks at none.
async fn copy(address: String) -> anyhow::Result<()> {
    host::allow_connections(2 * 9_932)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .context("no free port")?;
    println!("{READY}http://{}", listener.local_addr()?);
    loop {
        let (mut client, _) = listener.accept().await?;
        let address = address.clone();
        tokio::spawn(async move {
            let mut server = TcpStream::connect(address).await?;
            client.set_nodelay(true)?;
            server.set_nodelay(true)?;
            copy_bidirectional(&mut client, &mut server).await
        });
    }
}

/// How long calls took.
struct Figures {
    p50: Duration,
    p99: Duration,
    p999: Duration,
}

async fn measure(url: &Url, calls: u32, time: Duration) -> anyhow::Result<Figures> {
    let account = Account::provision(url, 0).await?;
    let pace = Duration::from_secs(1) * CALLERS / calls;
    let begins = Instant::now() + WARM_UP;
    let calling = (0..CALLERS).map(|number| {
        let account = &account;
        async move {
            let (socket, mut events) = account.connect().await?;
            tokio::spawn(async move { while events.recv().await.is_ok() {} });
            let mut planned = begins - WARM_UP / 2 + pace * number / CALLERS;
            let mut took = Vec::new();
            while planned < begins + time {
                tokio::time::sleep_until(planned).await;
                let reply = socket.call("ping", [json!({})], ANSWER).await?;
                ensure!(reply.data()? == json!({}), "a ping was answered otherwise");
                if planned >= begins {
                    took.push(planned.elapsed());
                }
                planned += pace;
            }
            Ok(took)
        }
    });
    let mut took = try_join_all(calling).await?.concat();
    took.sort_unstable();
    let at = |permille: usize| took[(took.len() - 1) * permille / 1_000];
    Ok(Figures {
        p50: at(500),
        p99: at(990),
        p999: at(999),
    })
}

fn median(figures: &[Figures], of: fn(&Figures) -> Duration) -> Duration {
    let mut all: Vec<_> = figures.iter().map(of).collect();
    all.sort_unstable();
    all[all.len() / 2]
}

fn shown(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1_000.0)
}

/// Prints what connections through a proxy cost it, idle and after an event each.
async fn memory(touchstone: &Path, way: Way, connections: usize) -> anyhow::Result<()> {
    let stand = Stand::start(touchstone, way).await?;
    let pid = stand.proxy.as_ref().context("a way without a proxy")?.pid();
    let (first, second) = (
        Account::provision(stand.url(), 0).await?,
        Account::provision(stand.url(), 1).await?,
    );
    let mut few = Fleet::connect(&first, FEW, MESSAGE_BYTES).await?;
    few.burst(1).await?;
    let before = host::resident_bytes(pid)?;
    let mut all = Fleet::connect(&second, connections, MESSAGE_BYTES).await?;
    let connected = host::resident_bytes(pid)?.saturating_sub(before);
    all.burst(1)
        .await
        .context("not all connections were alive")?;
    let used = host::resident_bytes(pid)?.saturating_sub(before);
    let count = connections as u64;
    println!(
        "{:9} {} KB each when connected, {} KB after an event; {} MB for {AIM_CONNECTIONS}",
        way.name(),
        connected / 1_024 / count,
        used / 1_024 / count,
        used / count * AIM_CONNECTIONS / 1_000_000
    );
    drop((few, all));
    stand.end().await
}
