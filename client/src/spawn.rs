//! The server under test as a child process: started, kept an eye on, ended.
//!
//! Only the process group that was started here is ever signalled. The output is kept bounded, for the
//! report; a server that prints without end must not fill the memory.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
    task::JoinSet,
    time::timeout,
};

/// How many of the last output lines are kept.
const KEPT_LINES: usize = 40;

/// How many bytes of one output line are kept.
const KEPT_COLUMNS: usize = 400;

/// How long a server may take to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(3);

/// How long the last output of an ended server may take to arrive.
const OUTPUT_WITHIN: Duration = Duration::from_secs(1);

/// A command that starts a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpawnCommand {
    shown: String,
    program: String,
    args: Vec<String>,
    folder: Option<PathBuf>,
}

/// Why a server could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The text is no command line.
    #[error("cannot read the command {command:?}: it is empty or has an unclosed quote")]
    Unreadable {
        /// The text as given.
        command: String,
    },
    /// The program does not start.
    #[error("cannot start {command:?}")]
    Start {
        /// The command as given.
        command: String,
        /// What the system says.
        source: std::io::Error,
    },
}

impl SpawnCommand {
    /// Splits a command line as a POSIX shell does; no shell runs it.
    ///
    /// # Errors
    /// The text is empty, or a quote is not closed.
    pub fn parse(command: &str) -> Result<Self, SpawnError> {
        let unreadable = || SpawnError::Unreadable {
            command: command.to_owned(),
        };
        let mut words = shell_words::split(command)
            .map_err(|_| unreadable())?
            .into_iter();
        let program = words.next().ok_or_else(unreadable)?;
        Ok(Self {
            shown: command.to_owned(),
            program,
            args: words.collect(),
            folder: None,
        })
    }

    /// The same command, run in a folder other than the current one.
    pub fn within(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }
}

impl std::fmt::Display for SpawnCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

type Output = Arc<Mutex<VecDeque<String>>>;

/// A running server. Dropping it kills its whole process group.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    output: Output,
    readers: JoinSet<()>,
}

impl Server {
    /// Starts `command` in a process group of its own.
    pub(crate) fn start(command: &SpawnCommand) -> Result<Self, SpawnError> {
        let mut process = Command::new(&command.program);
        if let Some(folder) = &command.folder {
            process.current_dir(folder);
        }
        let mut child = process
            .args(&command.args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| SpawnError::Start {
                command: command.shown.clone(),
                source,
            })?;
        let output = Output::default();
        let mut readers = JoinSet::new();
        if let Some(stdout) = child.stdout.take() {
            readers.spawn(keep(stdout, Arc::clone(&output)));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.spawn(keep(stderr, Arc::clone(&output)));
        }
        Ok(Self {
            child,
            output,
            readers,
        })
    }

    /// How it ended, if it has.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// What it printed last.
    pub(crate) fn output(&self) -> Vec<String> {
        let output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        output.iter().cloned().collect()
    }

    /// What it printed last before it ended. What an ended process wrote may still be on its way here, and
    /// a child of its own may hold the pipe for ever.
    pub(crate) async fn last_output(&mut self) -> Vec<String> {
        if self.exited().is_some() {
            let all_read = async { while self.readers.join_next().await.is_some() {} };
            // What has not come by then is left out.
            let _ = timeout(OUTPUT_WITHIN, all_read).await;
        }
        self.output()
    }

    /// Asks it to end, and kills what is left of its group after a grace period.
    pub(crate) async fn stop(mut self) {
        if let Some(pid) = self.child.id() {
            signal_group(pid, Signal::TERM);
            if timeout(GRACE, self.child.wait()).await.is_err() {
                signal_group(pid, Signal::KILL);
                // SIGKILL cannot be refused; waiting reaps the process.
                let _ = self.child.wait().await;
            }
        }
    }

    /// Kills it, as a crash would end it.
    pub(crate) async fn kill(mut self) {
        if let Some(pid) = self.child.id() {
            signal_group(pid, Signal::KILL);
            // SIGKILL cannot be refused; waiting reaps the process.
            let _ = self.child.wait().await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // `id` is None once the child was reaped, so no foreign process can be hit.
        if let Some(pid) = self.child.id() {
            signal_group(pid, Signal::KILL);
        }
    }
}

/// Signals the group that `pid` leads. A group that has ended meanwhile is what was wanted.
fn signal_group(pid: u32, signal: Signal) {
    if let Some(group) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, signal);
    }
}

async fn keep(mut from: impl AsyncRead + Unpin, output: Output) {
    let mut buffer = [0_u8; 4096];
    let mut line = Vec::new();
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        for &byte in &buffer[..read] {
            if byte == b'\n' {
                push(&output, &mut line);
            } else if line.len() < KEPT_COLUMNS {
                line.push(byte);
            }
        }
        if read == 0 {
            if !line.is_empty() {
                push(&output, &mut line);
            }
            return;
        }
    }
}

fn push(output: &Output, line: &mut Vec<u8>) {
    let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
    if output.len() == KEPT_LINES {
        output.pop_front();
    }
    output.push_back(plain(line));
    line.clear();
}

/// A line of a server's log without its colours and whatever else would steer a terminal.
fn plain(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = anstream::adapter::strip_str(&text).to_string();
    let mut text = text.replace('\t', " ");
    text.retain(|c| !touchstone_output::text::is_control(c));
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_split_like_a_shell_does() {
        #[track_caller]
        fn check(text: &str, expected: Option<&[&str]>) {
            let parsed = SpawnCommand::parse(text)
                .ok()
                .map(|command| [vec![command.program], command.args].concat());
            let expected =
                expected.map(|words| words.iter().map(ToString::to_string).collect::<Vec<_>>());
            assert_eq!(parsed, expected, "{text:?}");
        }
        check("node server.mjs", Some(&["node", "server.mjs"]));
        check("env A='b c' x", Some(&["env", "A=b c", "x"]));
        check("", None);
        check("   ", None);
        check("a 'b", None);
    }

    #[test]
    fn a_missing_program_names_the_command() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let command = SpawnCommand::parse("/nonexistent/server --port 1").unwrap();
        let error = runtime.block_on(async { Server::start(&command).unwrap_err() });
        assert_eq!(
            error.to_string(),
            r#"cannot start "/nonexistent/server --port 1""#
        );
    }

    #[tokio::test]
    async fn output_is_kept_and_an_early_end_is_seen() {
        let command =
            SpawnCommand::parse("sh -c 'for i in $(seq 100); do echo line $i; done; exit 3'")
                .unwrap();
        let mut server = Server::start(&command).unwrap();
        let status = timeout(Duration::from_secs(20), server.child.wait())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(status.code(), Some(3));
        assert!(server.exited().is_some());
        assert_eq!(
            server.last_output().await.last().map(String::as_str),
            Some("line 100")
        );
        assert_eq!(server.output().len(), KEPT_LINES);
    }

    #[test]
    fn a_log_has_no_colours_and_no_orders() {
        #[track_caller]
        fn check(line: &str, expected: &str) {
            assert_eq!(plain(line.as_bytes()), expected);
        }
        check("\u{1b}[35mWARN\u{1b}[0m it is late\r", "WARN it is late");
        check("\u{1b}]0;title\u{7}a\tb \u{202e}c", "a b c");
        check("gr\u{fc}n \u{1F980}", "gr\u{fc}n \u{1F980}");
    }

    #[tokio::test]
    async fn stop_ends_the_whole_group() {
        // The child of the shell holds the pipe; the pipe closes only when that child has ended too.
        let command = SpawnCommand::parse("sh -c 'sleep 1000 & echo $!; wait'").unwrap();
        let server = Server::start(&command).unwrap();
        let started = async {
            loop {
                if let Some(pid) = server.output().first() {
                    return pid.clone();
                }
                tokio::task::yield_now().await;
            }
        };
        let pid = timeout(Duration::from_secs(20), started).await.unwrap();
        server.stop().await;
        let gone = async {
            while std::path::Path::new(&format!("/proc/{pid}/cmdline")).exists()
                && std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|c| !c.is_empty())
            {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(20), gone).await.unwrap();
    }
}
