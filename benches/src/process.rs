//! A server in a process of its own, so that its memory and CPU time can be told from ours.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;
use url::Url;

/// How long a server may take to say that it is ready.
const START: Duration = Duration::from_secs(120);

/// What a server prints before its URL when it is ready.
pub const READY: &str = "listening on ";

/// A running server. It is killed when this is dropped.
#[derive(Debug)]
pub struct ServerProcess {
    url: Url,
    pid: u32,
    /// Kept for its drop, which kills the process, and for its stdin: a server that was told to
    /// stops when that closes, even if we are killed ourselves.
    child: Child,
}

impl ServerProcess {
    /// Starts `touchstone serve` on a free port.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn touchstone(program: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command.args(["serve", "--listen", "127.0.0.1:0"]);
        Self::start(command).await
    }

    /// Starts `command` and waits for the line `listening on URL` on its stdout. The process
    /// inherits the cores of the calling thread.
    ///
    /// # Errors
    /// It cannot be started, ends, or prints no URL in time; the error names the command.
    pub async fn start(mut command: Command) -> anyhow::Result<Self> {
        let name = command
            .as_std()
            .get_program()
            .to_string_lossy()
            .into_owned();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let stdout = child.stdout.take().context("a child without a stdout")?;
        let pid = child
            .id()
            .with_context(|| format!("{name} ended at once"))?;
        let mut lines = BufReader::new(stdout).lines();
        let url = timeout(START, ready(&mut lines))
            .await
            .with_context(|| format!("{name} was not ready within {START:?}"))?
            .with_context(|| format!("{name} did not start"))?;
        // Whatever it prints later is read and forgotten, so that it never blocks on a full pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { url, pid, child })
    }

    /// Kills it, and waits until it is gone.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub async fn end(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("cannot end a server")
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }
}

async fn ready(lines: &mut Lines<BufReader<ChildStdout>>) -> anyhow::Result<Url> {
    while let Some(line) = lines.next_line().await? {
        if let Some(url) = line.strip_prefix(READY) {
            // What follows says how the server differs.
            let url = url.split_whitespace().next().unwrap_or_default();
            return Url::parse(url).with_context(|| format!("{url:?} is no URL"));
        }
    }
    bail!("its output ended before a line with \"{READY}URL\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn the_url_is_taken_from_the_ready_line() {
        let script = "echo starting; echo listening on http://127.0.0.1:7; exec cat";
        let server = ServerProcess::start(shell(script)).await.unwrap();
        assert_eq!(server.url().as_str(), "http://127.0.0.1:7/");
        assert!(server.pid() > 0);
    }

    #[track_caller]
    fn check(started: anyhow::Result<ServerProcess>, expected: &str) {
        let error = format!("{:#}", started.unwrap_err());
        assert!(error.contains(expected), "{error}");
    }

    #[tokio::test]
    async fn a_server_that_does_not_start_is_named() {
        check(
            ServerProcess::start(Command::new("/nowhere/server")).await,
            "cannot start /nowhere/server",
        );
        check(
            ServerProcess::start(shell("echo hello")).await,
            "sh did not start: its output ended",
        );
        check(
            ServerProcess::start(shell("echo listening on nothing")).await,
            "\"nothing\" is no URL",
        );
    }
}
