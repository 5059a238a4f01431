//! Starting a server with `--spawn`, and waiting until it answers, or the user has enough of that.

use std::time::Duration;
use touchstone_output::text::display_url;

use futures_util::future::join_all;
use tokio::time::{Instant, interval};
use url::Url;

use crate::{
    ConnectError, ConnectOptions, Engine,
    spawn::{Server, SpawnCommand, SpawnError},
    stop::StopSignals,
};

/// How long a server may take to answer after it was started: an interpreter that compiles first
/// needs a while.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// How often it is asked meanwhile.
const POLL: Duration = Duration::from_millis(50);

/// How long one answer is waited for.
const STEP: Duration = Duration::from_secs(5);

/// Why a server that was to be started does not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// The command cannot be run.
    #[error(transparent)]
    Start(#[from] SpawnError),
    /// Something answers where the server is to be started: it would be taken for it.
    #[error("{url} answers already, before {command:?} was started")]
    Taken {
        /// The command.
        command: String,
        /// Where nobody should answer yet.
        url: String,
    },
    /// The server ended before it answered.
    #[error(
        "{command:?} ended before it answered ({status}){}",
        shown_output(output)
    )]
    Ended {
        /// The command.
        command: String,
        /// How it ended.
        status: String,
        /// What it printed last.
        output: Vec<String>,
    },
    /// The server was started and does not answer.
    #[error(
        "{command:?} does not answer at {url} within {} s{}",
        after.as_secs(),
        shown_output(output)
    )]
    Silent {
        /// The command.
        command: String,
        /// Where an answer was expected.
        url: String,
        /// How long it was waited.
        after: Duration,
        /// What it printed last.
        output: Vec<String>,
    },
    /// The user did not wait until the server answered.
    #[error("interrupted before {command:?} answered{}", shown_output(output))]
    Interrupted {
        /// The command.
        command: String,
        /// What it printed last.
        output: Vec<String>,
    },
}

fn shown_output(output: &[String]) -> String {
    if output.is_empty() {
        String::from("; it printed nothing")
    } else {
        format!("; it printed last:\n{}", output.join("\n"))
    }
}

/// Starts a server that is to answer at these URLs, at least one, and returns when it does.
pub(crate) async fn launch(
    command: &SpawnCommand,
    urls: &[Url],
    reached: &ConnectOptions,
    stop: &StopSignals,
) -> Result<Server, LaunchError> {
    if answers(urls, reached).await {
        return Err(LaunchError::Taken {
            command: command.to_string(),
            url: display_url(&urls[0]),
        });
    }
    start(command, urls, reached, stop).await
}

/// As [`launch`], for a server that was there before.
pub(crate) async fn start(
    command: &SpawnCommand,
    urls: &[Url],
    reached: &ConnectOptions,
    stop: &StopSignals,
) -> Result<Server, LaunchError> {
    let mut server = Server::start(command)?;
    let deadline = Instant::now() + READY_WITHIN;
    let mut poll = interval(POLL);
    loop {
        let answers = tokio::select! {
            biased;
            () = stop.asked() => {
                let output = server.output();
                server.stop().await;
                return Err(LaunchError::Interrupted {
                    command: command.to_string(),
                    output,
                });
            }
            answers = async {
                poll.tick().await;
                answers(urls, reached).await
            } => answers,
        };
        if let Some(status) = server.exited() {
            return Err(LaunchError::Ended {
                command: command.to_string(),
                status: status.to_string(),
                output: server.last_output().await,
            });
        }
        if answers {
            return Ok(server);
        }
        if Instant::now() >= deadline {
            let output = server.output();
            server.stop().await;
            return Err(LaunchError::Silent {
                command: command.to_string(),
                url: display_url(&urls[0]),
                after: READY_WITHIN,
                output,
            });
        }
    }
}

/// Whether every node speaks Socket.IO.
pub async fn answers(urls: &[Url], reached: &ConnectOptions) -> bool {
    let nodes = urls.iter().map(async |url| {
        // On a machine that is busy an answer may take its time; whoever is gone refuses, and is not slow.
        for within in [STEP, STEP * 3] {
            match Engine::open(&reached.at(url.clone()).timeout(within)).await {
                Ok(_) => return true,
                Err(ConnectError::Timeout { .. }) => {}
                Err(_) => return false,
            }
        }
        false
    });
    join_all(nodes).await.into_iter().all(|speaks| speaks)
}
