//! Starting a server with `--spawn`, and waiting until it answers, or the user has enough of that.

use std::time::Duration;

use tokio::time::{Instant, interval};

use super::{RunError, StopSignals};
use crate::{doctor, plan::Plan, spawn::Server, target::shown};

/// How long a server may take to answer after it was started: an interpreter that compiles first
/// needs a while.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// How often it is asked meanwhile.
const POLL: Duration = Duration::from_millis(50);

/// Starts the plan's server, if it has one, and waits until it answers.
pub(super) async fn start(plan: &Plan, stop: &StopSignals) -> Result<Option<Server>, RunError> {
    let Some(command) = &plan.spawn else {
        return Ok(None);
    };
    let mut server = Server::start(command)?;
    let deadline = Instant::now() + READY_WITHIN;
    let mut poll = interval(POLL);
    loop {
        let answers = tokio::select! {
            biased;
            () = stop.asked() => {
                let output = server.output();
                server.stop().await;
                return Err(RunError::SpawnInterrupted {
                    command: command.to_string(),
                    output,
                });
            }
            answers = async {
                poll.tick().await;
                doctor::answers(&plan.target).await
            } => answers,
        };
        if let Some(status) = server.exited() {
            return Err(RunError::SpawnEnded {
                command: command.to_string(),
                status: status.to_string(),
                output: server.last_output().await,
            });
        }
        if answers {
            return Ok(Some(server));
        }
        if Instant::now() >= deadline {
            let output = server.output();
            server.stop().await;
            return Err(RunError::SpawnSilent {
                command: command.to_string(),
                url: shown(&plan.target.urls[0]),
                after: READY_WITHIN,
                output,
            });
        }
    }
}
