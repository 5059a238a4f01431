//! Recordings of real clients, and their replay against a server. `README.md` describes the data.

use std::fmt;

use tokio::{net::TcpListener, sync::oneshot, time::Duration};
use touchstone_client::{Clock, ConnectOptions};
use touchstone_reference_server::{Config, serve};

mod connection;
mod format;
mod replay;
mod values;

pub(crate) use format::Recording;
pub(crate) use replay::Tally;
use replay::replay;

/// How long a single answer or event may take. Nothing is measured with it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
/// The same where something will not come. Only rows that are to fail use it.
pub(crate) const IN_VAIN: Duration = Duration::from_secs(4);

pub(crate) const DAEMON_OLD: (&str, &str) = ("daemon-old.jsonl", include_str!("daemon-old.jsonl"));
pub(crate) const DAEMON_NEW: (&str, &str) = ("daemon-new.jsonl", include_str!("daemon-new.jsonl"));
pub(crate) const SESSION_OLD: (&str, &str) =
    ("session-old.jsonl", include_str!("session-old.jsonl"));
pub(crate) const SESSION_NEW: (&str, &str) =
    ("session-new.jsonl", include_str!("session-new.jsonl"));

/// The first thing that went otherwise than recorded.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The file and the line.
    pub(crate) place: String,
    /// What the person with the phone was doing.
    pub(crate) phase: String,
    /// What was expected and what came.
    pub(crate) problem: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.place, self.phase, self.problem)
    }
}

impl std::error::Error for Failure {}

/// Replays against a server of its own.
pub(crate) async fn run(
    (name, text): (&'static str, &str),
    config: Config,
    deadline: Duration,
) -> Result<Tally, Failure> {
    let recording = Recording::parse(name, text)?;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(serve(vec![listener], config, async {
        // A dropped sender stops it as well.
        let _ = stopped.await;
    }));
    let base = ConnectOptions::new(url.parse().unwrap());
    let result = replay(&recording, &base, Clock::System, deadline).await;
    drop(stop);
    server.await.unwrap().unwrap();
    result
}
