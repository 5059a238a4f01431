//! A server that this program has started: it may be killed as by a crash, and started again.

use std::{process::ExitStatus, sync::Arc};

use tokio::sync::Mutex;
use url::Url;

use crate::{
    ConnectOptions,
    launch::{LaunchError, launch, start},
    spawn::{Server, SpawnCommand},
    stop::StopSignals,
};

/// A server that was started with a command. Clones are the same one; it ends with the last of them.
#[derive(Debug, Clone)]
pub struct Spawned(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    command: SpawnCommand,
    urls: Vec<Url>,
    reached: ConnectOptions,
    stop: StopSignals,
    /// Nothing while it does not run.
    process: Mutex<Option<Server>>,
}

impl Spawned {
    /// Starts a server that is to answer at these URLs, at least one, reached in this way, and returns
    /// when it does. `stop` is how the user ends the waits for it.
    ///
    /// # Errors
    /// Somebody answers there already, or it does not come to an answer.
    ///
    /// # Panics
    /// Without any URL.
    pub async fn launch(
        command: SpawnCommand,
        urls: Vec<Url>,
        reached: ConnectOptions,
        stop: StopSignals,
    ) -> Result<Self, LaunchError> {
        let process = launch(&command, &urls, &reached, &stop).await?;
        Ok(Self(Arc::new(Inner {
            command,
            urls,
            reached,
            stop,
            process: Mutex::new(Some(process)),
        })))
    }

    /// Its command.
    pub fn command(&self) -> &SpawnCommand {
        &self.0.command
    }

    /// Kills it, as a crash would end it.
    pub async fn kill(&self) {
        if let Some(server) = self.0.process.lock().await.take() {
            server.kill().await;
        }
    }

    /// Asks it to end, and kills what is left of it after a grace period.
    pub async fn stop(&self) {
        if let Some(server) = self.0.process.lock().await.take() {
            server.stop().await;
        }
    }

    /// Starts it if it does not run, and waits until it answers.
    ///
    /// # Errors
    /// It does not come to an answer.
    pub async fn revive(&self) -> Result<(), LaunchError> {
        let mut process = self.0.process.lock().await;
        if process.is_none() {
            let Inner {
                command,
                urls,
                reached,
                stop,
                ..
            } = &*self.0;
            *process = Some(start(command, urls, reached, stop).await?);
        }
        Ok(())
    }

    /// How it ended, if it has by itself.
    pub async fn exited(&self) -> Option<ExitStatus> {
        self.0.process.lock().await.as_mut()?.exited()
    }

    /// What it printed last.
    pub async fn last_output(&self) -> Vec<String> {
        match &mut *self.0.process.lock().await {
            Some(server) => server.last_output().await,
            None => Vec::new(),
        }
    }
}
