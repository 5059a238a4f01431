//! `touchstone serve --database` in a process of its own.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use touchstone_client::provision::Rest;
use touchstone_client::{ConnectOptions, Secret};

/// Longer than anything takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Waits with the deadline, naming what for.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future)
        .await
        .unwrap_or_else(|_| panic!("no {what} within {DEADLINE:?}"))
}

/// A server that is killed when it is dropped.
pub(crate) struct Served {
    child: Child,
    pub(crate) url: String,
    /// The line that says where it listens.
    pub(crate) ready: String,
}

impl Served {
    pub(crate) async fn start(database: &str) -> Self {
        Self::from(command(database)).await
    }

    /// Starts a server by a command that becomes one.
    pub(crate) async fn from(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the program starts");
        let mut ready = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        within("ready line", stdout.read_line(&mut ready))
            .await
            .expect("a line");
        let url = ready
            .strip_prefix("listening on ")
            .and_then(|rest| rest.split_whitespace().next())
            .unwrap_or_else(|| panic!("{ready}"))
            .to_owned();
        Self { child, url, ready }
    }

    pub(crate) fn options(&self) -> ConnectOptions {
        ConnectOptions::new(self.url.parse().expect("a URL"))
    }

    pub(crate) fn rest(&self) -> Rest {
        Rest::new(&self.options()).expect("HTTP")
    }

    /// Ends it as nothing can be prepared for.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Waits until it is gone.
    pub(crate) async fn gone(mut self) -> Option<i32> {
        let status = within("end", self.child.wait()).await.expect("a status");
        status.code()
    }

    /// Ends it as a service manager does.
    pub(crate) async fn stop(self) {
        self.signal(Signal::TERM);
        assert_eq!(self.gone().await, Some(0));
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().expect("a child that runs");
        let pid = Pid::from_raw(pid.try_into().expect("a pid")).expect("a pid");
        kill_process(pid, signal).expect("a signal");
    }

    /// Waits until it has ended by itself, and says how and with which words.
    pub(crate) async fn ended(mut self) -> (ExitStatus, String) {
        let status = within("end", self.child.wait()).await.expect("a status");
        let mut said = String::new();
        let mut stderr = self.child.stderr.take().expect("a pipe");
        stderr.read_to_string(&mut said).await.expect("text");
        (status, said)
    }
}

/// The command for a server on a free port.
pub(crate) fn command(database: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_touchstone"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--database", database]);
    command
}

/// An answer of a route, whatever it says; `None` if the server has ended.
pub(crate) async fn ask(
    rest: &Rest,
    token: &Secret,
    method: &str,
    path: &str,
    body: Option<&serde_json::Value>,
) -> Option<serde_json::Value> {
    let answer = rest.request(method, path, Some(token), body).await.ok()?;
    Some(answer.body)
}
