//! The official clients at the edges of a session: a server that comes back, refusals, heartbeats,
//! binary values, bad requests.
#![cfg(feature = "interop")]

use std::process::Stdio;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;
use touchstone_interop::Server;
use touchstone_reference_server::Config;

const DEADLINE: Duration = Duration::from_secs(60);

/// A client that runs and says what it sees.
struct Client {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    name: String,
}

impl Client {
    fn start(program: &[&str], url: &str, transport: &str, mode: &str) -> Self {
        let mut child = Command::new(program[0])
            .args(&program[1..])
            .args([url, transport, mode])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("interop/run installs it");
        let stdout = child.stdout.take().expect("a pipe");
        Self {
            child,
            lines: BufReader::new(stdout).lines(),
            name: format!("{} {transport} {mode}", program[0]),
        }
    }

    /// The next value that it says; `None` at its end.
    async fn next(&mut self) -> Option<Value> {
        let line = timeout(DEADLINE, self.lines.next_line()).await;
        let line = line.unwrap_or_else(|_| panic!("{}: nothing in time", self.name));
        let line = line.expect("text")?;
        Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}")))
    }

    /// All that it says until it ends, which must be well.
    async fn rest(mut self) -> Vec<Value> {
        drop(self.child.stdin.take());
        let mut said = Vec::new();
        while let Some(value) = self.next().await {
            said.push(value);
        }
        let status = timeout(DEADLINE, self.child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("{}: no end", self.name));
        assert!(status.expect("a status").success(), "{}", self.name);
        said
    }
}

const CLIENTS: [&[&str]; 2] = [
    &["node", "js/edges.mjs"],
    &["python/venv/bin/python", "python/edges.py"],
];
const TRANSPORTS: [&str; 2] = ["websocket", "polling"];

/// Heartbeats that no client lives to see.
fn without_pings() -> Config {
    Config {
        ping_interval: Duration::from_secs(3_600),
        ..Config::default()
    }
}

/// Both clients over both transports say this in a mode.
async fn check(config: Config, mode: &str, expected: &[Value]) {
    let server = Server::start(config).await;
    let url = server.url();
    let all = CLIENTS
        .into_iter()
        .flat_map(|client| TRANSPORTS.map(|transport| (client, transport)));
    join_all(all.map(async |(client, transport)| {
        let client = Client::start(client, &url, transport, mode);
        let name = client.name.clone();
        assert_eq!(client.rest().await, expected, "{name}");
    }))
    .await;
    server.stop().await;
}

/// A client that is told by Engine.IO that its session is closed takes that for wanted.
#[tokio::test(flavor = "multi_thread")]
async fn clients_return_when_the_server_does() {
    for client in CLIENTS {
        let server = Server::start(Config::default()).await;
        let mut client = Client::start(client, &server.url(), "websocket", "return");
        assert_eq!(client.next().await, Some(json!("up")), "{}", client.name);
        let server = server.restart(Config::default()).await;
        assert_eq!(client.next().await, Some(json!("up")), "{}", client.name);
        client.rest().await;
        server.stop().await;
    }
}

/// Who is refused or leaves at once does not wait for a heartbeat.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_who_leaves_early() {
    let refused = json!("Invalid authentication token");
    check(without_pings(), "leave", &vec![refused; 4]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_come_after_the_interval() {
    let config = Config {
        ping_interval: Duration::from_secs(3),
        ..Config::default()
    };
    check(config, "pings", &[json!(0), json!(true)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn binary_values_are_refused_or_passed_on() {
    let expected = [
        json!({ "result": "error" }),
        json!({ "result": "error", "message": "Invalid parameters" }),
        json!({ "ok": true, "sent": true, "answered": true }),
    ];
    check(Config::default(), "binary", &expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_have_numeric_codes() {
    let expected = json!([400, { "code": 1, "message": "Session ID unknown" }]);
    check(Config::default(), "codes", &[expected]).await;
}
