//! A server that is killed in the middle of a round, and started again.

use std::time::Duration;

use tokio::{sync::Mutex, time::sleep};
use touchstone_client::trace::{RESTARTED, RESTARTED_DURABLE};
use touchstone_client::{LaunchError, Server, SpawnCommand, StopSignals, start};

use crate::{plan::Plan, target::Target};

/// How far into a phase the server is killed at most, in milliseconds.
const WITHIN: u64 = 40;

/// A server that this program has started, and may kill.
#[derive(Debug)]
pub struct Crash {
    /// How it is started.
    pub command: SpawnCommand,
    /// Whether it promises to keep what it acknowledged.
    pub is_durable: bool,
    /// How the user ends the wait for it.
    pub stop: StopSignals,
    /// The server, while it runs.
    pub process: Mutex<Option<Server>>,
}

impl Crash {
    /// Kills the server a moment later: no two runs of a plan are killed at the same moment.
    pub(crate) async fn kill(&self, nonce: u64) {
        sleep(Duration::from_millis(nonce % WITHIN)).await;
        if let Some(server) = self.process.lock().await.take() {
            server.kill().await;
        }
    }

    /// Starts it if it does not run, and waits until it answers.
    pub(crate) async fn revive(&self, target: &Target) -> Result<(), LaunchError> {
        let mut process = self.process.lock().await;
        if process.is_none() {
            let started = start(&self.command, &target.urls, &target.options, &self.stop).await?;
            *process = Some(started);
        }
        Ok(())
    }

    /// The mark of a restart.
    pub(crate) fn mark(&self) -> &'static str {
        match self.is_durable {
            true => RESTARTED_DURABLE,
            false => RESTARTED,
        }
    }
}

/// The phase of a plan in which the server is killed: the same one each time.
pub(crate) fn phase(plan: &Plan) -> usize {
    plan.len() % plan.phases.len().max(1)
}
