//! A server that is killed in the middle of a round, and started again.

use std::time::Duration;

use tokio::time::sleep;
use touchstone_client::Spawned;
use touchstone_client::trace::{RESTARTED, RESTARTED_DURABLE};

use crate::plan::Plan;

/// How far into a phase the server is killed at most, in milliseconds.
const WITHIN: u64 = 40;

/// A server that this program has started, and may kill.
#[derive(Debug)]
pub struct Crash {
    /// The server.
    pub server: Spawned,
    /// Whether it promises to keep what it acknowledged.
    pub is_durable: bool,
}

impl Crash {
    /// Kills the server a moment later: no two runs of a plan are killed at the same moment.
    pub(crate) async fn kill(&self, nonce: u64) {
        sleep(Duration::from_millis(nonce % WITHIN)).await;
        self.server.kill().await;
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
