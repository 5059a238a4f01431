//! `writes`: how many writes a server acknowledges per second, and after how long, with its rows in
//! memory, in SQLite and in Postgres; beside it, how often the disk was synchronised meanwhile, and how
//! often it can be. With `--messages`, how long a server takes to start again with so many.
//!
//! The server runs in a process of its own. Each writer has an account, a session and a connection, and
//! changes the session's metadata as soon as the last change is acknowledged.

#![expect(
    clippy::print_stdout,
    reason = "the figures are what this program is for"
)]

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Parser;
use futures_util::future::try_join_all;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::Instant;
use touchstone_benches::fleet::Account;
use touchstone_benches::process::ServerProcess;
use touchstone_benches::{host, program};
use touchstone_client::ConnectOptions;
use touchstone_client::provision::Rest;
use url::Url;

const WRITERS: [u8; 3] = [1, 16, 200];
/// Writes before those that count, while statements are prepared and files grow.
const WARM_UP: Duration = Duration::from_secs(1);
/// The metadata of a session, in bytes.
const METADATA: usize = 200;
/// What is written before a disk is synchronised, in bytes.
const PAGE: usize = 4_096;
/// Messages that are sent with one request.
const AT_ONCE: u32 = 100;
const ANSWER: Duration = Duration::from_secs(30);

/// Print acknowledged writes per second and their latencies.
#[derive(Debug, Parser)]
struct Arguments {
    /// The touchstone program, built with --release
    #[arg(long, value_name = "PATH", default_value = "target/release/touchstone")]
    touchstone: PathBuf,

    /// The folder on whose disk SQLite is measured
    #[arg(long, value_name = "DIR", default_value = ".")]
    disk: PathBuf,

    /// A Postgres database to measure besides; tests/with-postgres starts one
    #[arg(long, value_name = "URL", env = "POSTGRES_URL")]
    postgres: Option<String>,

    /// How long to measure each number of writers
    #[arg(long, value_name = "N", default_value_t = 10)]
    seconds: u64,

    /// Writes per second of each writer, counted from the planned time, instead of as many as are
    /// acknowledged
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    each: Option<u16>,

    /// Store so many messages instead, and measure how a server starts with them
    #[arg(long, value_name = "N")]
    messages: Option<u32>,
}

#[tokio::main]
async fn main() -> ExitCode {
    program::ended(run(Arguments::parse()).await)
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let folder = TempDir::new_in(&arguments.disk).context("cannot use the disk")?;
    let sqlite = format!("sqlite://{}", folder.path().join("rows.db").display());
    let databases = [
        ("SQLite", Some(sqlite)),
        ("Postgres", arguments.postgres.clone()),
    ];
    let databases = databases.into_iter().filter(|(_, url)| url.is_some());
    if let Some(messages) = arguments.messages {
        for (name, database) in databases {
            restart(&arguments.touchstone, name, database.as_deref(), messages).await?;
        }
        return Ok(());
    }
    let disk = Disk::of(folder.path())?;
    disk.print()?;
    println!(
        "rows in   writers  acknowledged/s      p50      p99  synchronised/s  writes for each"
    );
    for (name, database) in [("memory", None)].into_iter().chain(databases) {
        for writers in WRITERS {
            let server = start(&arguments.touchstone, database.as_deref()).await?;
            let time = Duration::from_secs(arguments.seconds);
            let pace = arguments
                .each
                .map(|each| Duration::from_secs(1) / u32::from(each));
            let figures = measure(server.url(), writers, time, pace, &disk).await?;
            server.end().await?;
            figures.print(name, writers);
        }
    }
    disk.print()
}

async fn start(program: &Path, database: Option<&str>) -> anyhow::Result<ServerProcess> {
    let mut command = Command::new(program);
    command.args(["serve", "--listen", "127.0.0.1:0", "--quiet"]);
    if let Some(database) = database {
        command.args(["--database", database]);
    }
    ServerProcess::start(command).await
}

/// The disk of a folder.
struct Disk {
    folder: PathBuf,
    /// What the kernel counts of it.
    counters: PathBuf,
}

impl Disk {
    fn of(folder: &Path) -> anyhow::Result<Self> {
        let device = rustix::fs::stat(folder)
            .context("cannot ask for the disk")?
            .st_dev;
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        Ok(Self {
            folder: folder.to_owned(),
            counters: format!("/sys/dev/block/{major}:{minor}/stat").into(),
        })
    }

    /// How often it was synchronised so far, by anybody: the 16th number.
    fn synchronised(&self) -> anyhow::Result<u64> {
        let path = self.counters.display();
        let counters = std::fs::read_to_string(&self.counters);
        let counters = counters.with_context(|| format!("cannot read {path}"))?;
        let flushes = counters.split_whitespace().nth(15);
        flushes
            .and_then(|count| count.parse().ok())
            .with_context(|| format!("{path} does not count synchronisations"))
    }

    /// Prints how often it can be synchronised, one after the other.
    fn print(&self) -> anyhow::Result<()> {
        const COUNT: u32 = 500;
        let is_over = AtomicBool::new(false);
        let page = [7; PAGE];
        let mut took = thread::scope(|scope| {
            // A core that sleeps learns late that a write has ended, which none does under load.
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
            let synchronise = || {
                let mut file = File::create(self.folder.join("synchronised"))?;
                // As in a log that is written again and again, the file does not grow.
                for _ in 0..COUNT {
                    file.write_all(&page)?;
                }
                file.sync_all()?;
                file.rewind()?;
                let mut took = Vec::new();
                for _ in 0..COUNT {
                    let at = Instant::now();
                    file.write_all(&page)?;
                    file.sync_data()?;
                    took.push(at.elapsed());
                }
                Ok::<_, io::Error>(took)
            };
            let took = synchronise();
            is_over.store(true, Ordering::Relaxed);
            took
        })
        .context("cannot write to the disk")?;
        let all: Duration = took.iter().sum();
        println!(
            "the disk alone: {:.0} synchronised/s, mean {:.1} ms, p50 {:.1} ms, p99 {:.1} ms",
            f64::from(COUNT) / all.as_secs_f64(),
            milliseconds(all / COUNT),
            milliseconds(quantile(&mut took, 0.5)),
            milliseconds(quantile(&mut took, 0.99))
        );
        Ok(())
    }
}

/// What the writers have seen, and what the disk did meanwhile.
struct Figures {
    per_second: f64,
    synchronised: f64,
    took: Vec<Duration>,
}

async fn measure(
    url: &Url,
    writers: u8,
    time: Duration,
    pace: Option<Duration>,
    disk: &Disk,
) -> anyhow::Result<Figures> {
    let mut accounts = Vec::new();
    for number in 0..writers {
        accounts.push(Account::provision(url, number).await?);
    }
    let begins = Instant::now() + WARM_UP;
    let writing = (0..).zip(&accounts).map(|(number, account)| {
        // They do not all write in the same moment.
        let pace = pace.map(|pace| (begins + pace * number / u32::from(writers), pace));
        write(account, begins, time, pace)
    });
    let counting = async {
        tokio::time::sleep_until(begins).await;
        let before = disk.synchronised()?;
        tokio::time::sleep_until(begins + time).await;
        Ok(disk.synchronised()? - before)
    };
    let (took, synchronised) = tokio::try_join!(try_join_all(writing), counting)?;
    let took = took.concat();
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    let per_second = |count: u64| count as f64 / time.as_secs_f64();
    Ok(Figures {
        per_second: per_second(took.len() as u64),
        synchronised: per_second(synchronised),
        took,
    })
}

/// Writes until the time is over, and returns how long each acknowledgement took.
async fn write(
    account: &Account,
    begins: Instant,
    time: Duration,
    mut pace: Option<(Instant, Duration)>,
) -> anyhow::Result<Vec<Duration>> {
    let (socket, mut events) = account.connect().await?;
    tokio::spawn(async move { while events.recv().await.is_ok() {} });
    let mut version = None;
    let mut all = Vec::new();
    while begins.elapsed() < time {
        let data = json!({
            "sid": account.session(),
            "metadata": "m".repeat(METADATA),
            "expectedVersion": version.unwrap_or(-1),
        });
        let mut at = Instant::now();
        if let Some((planned, pace)) = pace.as_mut().filter(|_| version.is_some()) {
            tokio::time::sleep_until(*planned).await;
            at = *planned;
            *planned += *pace;
        }
        let reply = socket.call("update-metadata", [data], ANSWER).await?;
        let took = at.elapsed();
        let answer = reply.data()?;
        // The first call asks for the version.
        let is_right = answer["result"] == "success" || version.is_none();
        ensure!(is_right, "the server answered {answer}");
        version = answer["version"].as_i64();
        if at >= begins {
            all.push(took);
        }
    }
    Ok(all)
}

impl Figures {
    fn print(mut self, name: &str, writers: u8) {
        let p50 = milliseconds(quantile(&mut self.took, 0.5));
        let p99 = milliseconds(quantile(&mut self.took, 0.99));
        let for_each = if self.synchronised > 0.0 {
            format!("{:.1}", self.per_second / self.synchronised)
        } else {
            "-".to_owned()
        };
        println!(
            "{name:9} {writers:7} {:15.0} {p50:5.1} ms {p99:5.1} ms {:15.0} {for_each:>16}",
            self.per_second, self.synchronised
        );
    }
}

fn quantile(took: &mut [Duration], quantile: f64) -> Duration {
    took.sort_unstable();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index that is between the first and the last"
    )]
    let place = (took.len().saturating_sub(1) as f64 * quantile).round() as usize;
    took.get(place).copied().unwrap_or_default()
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// Stores messages, kills the server, and starts another one on the same database.
async fn restart(
    program: &Path,
    name: &str,
    database: Option<&str>,
    messages: u32,
) -> anyhow::Result<()> {
    let server = start(program, database).await?;
    let begun = Instant::now();
    let senders = 16;
    let each = messages.div_ceil(u32::from(senders));
    try_join_all((0..senders).map(|number| send(server.url(), number, each))).await?;
    let sent = begun.elapsed();
    server.end().await?;
    let empty = start(program, None).await?;
    let before = host::resident_bytes(empty.pid())?;
    let begun = Instant::now();
    let server = start(program, database).await?;
    let took = begun.elapsed();
    let memory = host::resident_bytes(server.pid())?.saturating_sub(before);
    println!(
        "{name}: {messages} messages stored in {:.1} s, read back in {:.1} s, {} MiB of memory, {} bytes each",
        sent.as_secs_f64(),
        took.as_secs_f64(),
        memory >> 20,
        memory / u64::from(messages.max(1))
    );
    server.end().await
}

/// Sends messages of a session, many at once.
async fn send(url: &Url, number: u8, messages: u32) -> anyhow::Result<()> {
    let account = Account::provision(url, number).await?;
    let rest = Rest::new(&ConnectOptions::new(url.clone()))?;
    let path = format!("/v3/sessions/{}/messages", account.session());
    for first in (0..messages).step_by(AT_ONCE as usize) {
        let content = "c".repeat(METADATA);
        let batch = (first..messages.min(first + AT_ONCE))
            .map(|message| json!({ "content": content, "localId": format!("{number}-{message}") }));
        let body = json!({ "messages": batch.collect::<Vec<_>>() });
        let answer = rest
            .request("POST", &path, Some(account.token()), Some(&body))
            .await?;
        ensure!(answer.status == 200, "the server answered {}", answer.body);
    }
    Ok(())
}
