//! A session that sends messages at a rate, whether or not anybody can follow.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use tokio::time::{Instant, sleep_until};
use touchstone_client::{Args, Socket};

use super::Work;
use crate::fleet::Account;

/// How long the server may take to route what was sent.
const PATIENCE: Duration = Duration::from_secs(30);

/// A session-scoped connection of an account.
#[derive(Debug)]
pub struct Speaker {
    socket: Socket,
    message: String,
}

impl Speaker {
    /// Connects to the account's session.
    ///
    /// # Errors
    /// The server did not let it in.
    pub async fn connect(account: &Account, work: Work) -> anyhow::Result<Self> {
        let (socket, _) = account.connect_session().await?;
        let content = "x".repeat(work.message_bytes);
        let message = json!({ "sid": account.session(), "message": content }).to_string();
        Ok(Self { socket, message })
    }

    /// Sends `count` messages, one each `every` from now on, and returns how long it took until the
    /// server had routed the last. A message that is due is sent, however late the one before was.
    ///
    /// # Errors
    /// The connection ended, or the server did not answer in time.
    pub async fn speak(&self, count: u32, every: Duration) -> anyhow::Result<Duration> {
        let start = Instant::now();
        for number in 0..count {
            sleep_until(start + every * number).await;
            self.socket
                .emit("message", Args::raw(self.message.clone()))
                .await?;
        }
        // Events of a connection are handled in order, so its answer comes after their routing.
        self.socket
            .call("ping", (), PATIENCE)
            .await
            .context("the server did not answer a ping after the messages")?;
        Ok(start.elapsed())
    }
}
