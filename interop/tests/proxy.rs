//! The official clients through a proxy: they see what they see without one, send the same, and two proxies in
//! a row record the same.
#![cfg(feature = "interop")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use touchstone_client::trace::{Bounds, Kind, Record, Recorder, Traced};
use touchstone_client::{ConnectOptions, Direction};
use touchstone_interop::Server;
use touchstone_proxy::{Plan, serve};
use touchstone_reference_server::Config;

const DEADLINE: Duration = Duration::from_secs(90);

/// A proxy on a port of its own.
struct Proxy {
    url: String,
    recorder: Recorder,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Proxy {
    async fn before(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let recorder = Recorder::new(Instant::now(), Bounds::default());
        let stop = CancellationToken::new();
        let plan = Plan {
            server: ConnectOptions::new(server.parse().expect("a URL")),
            certificate: None,
            gates: Arc::new(|| None),
        };
        let running = tokio::spawn(serve(listener, plan, recorder.clone(), stop.clone()));
        Self {
            url,
            recorder,
            stop,
            running,
        }
    }

    async fn records(self) -> Vec<Record> {
        self.stop.cancel();
        self.running.await.expect("its end");
        self.recorder.records()
    }
}

/// Heartbeats that no client lives to see, so that each run has the same packets.
async fn server() -> Server {
    Server::start(Config {
        ping_interval: Duration::from_secs(3_600),
        ..Config::default()
    })
    .await
}

/// What a client prints, as JSON values.
async fn run(client: &[&str]) -> Vec<Value> {
    let output = Command::new(client[0])
        .args(&client[1..])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .kill_on_drop(true)
        .output();
    let output = timeout(DEADLINE, output).await;
    let output = output.unwrap_or_else(|_| panic!("{client:?}: no end"));
    let output = output.expect("interop/run installs it");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{client:?}: {errors}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().expect(&text)
}

/// Ids and times differ from run to run.
fn without_ids(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(without_ids),
        Value::Object(map) => {
            for (key, value) in map {
                let is_id = ["id", "sid", "seq", "createdAt", "updatedAt"].contains(&key.as_str());
                match is_id {
                    true => *value = Value::Null,
                    false => without_ids(value),
                }
            }
        }
        _ => {}
    }
}

/// What a trace has, apart from names and times: of each connection the packets of both directions, and
/// all exchanges.
fn shape(records: &[Record]) -> Vec<String> {
    let mut packets = BTreeMap::<_, Vec<String>>::new();
    let mut shape = Vec::new();
    for record in records {
        match &record.kind {
            Kind::Http(one) => shape.push(format!("{} {} {:?}", one.method, one.url, one.status)),
            Kind::Mark(text) => shape.push(text.clone()),
            Kind::Packet(way, packet) => {
                let text = match packet {
                    Traced::Event { name, ack, .. } => format!("event {name} {ack:?}"),
                    Traced::Ack { id, .. } => format!("ack {id}"),
                    Traced::Connect(auth) if *way == Direction::Sent => {
                        format!("connect {}", auth["clientType"])
                    }
                    other => format!("{other:?}")
                        .chars()
                        .take_while(char::is_ascii_alphabetic)
                        .collect(),
                };
                let of = (record.conn.clone(), *way == Direction::Sent);
                packets.entry(of).or_default().push(text);
            }
        }
    }
    shape.extend(packets.into_values().map(|packets| packets.join(", ")));
    shape.sort();
    shape
}

/// Of a trace, the Socket.IO packets of one direction. Those of Engine.IO come on two connections at once
/// while a client upgrades, in an order of chance.
fn one_way(records: &[Record], wanted: Direction) -> Vec<Record> {
    let is_wanted = |record: &&Record| {
        matches!(
            &record.kind,
            Kind::Packet(
                way,
                Traced::Connect(_)
                    | Traced::Event { .. }
                    | Traced::Ack { .. }
                    | Traced::Binary { .. }
            ) if *way == wanted
        )
    };
    records.iter().filter(is_wanted).cloned().collect()
}

/// What a client sends, which does not depend on how fast others are.
fn sent(records: &[Record]) -> Vec<String> {
    shape(&one_way(records, Direction::Sent))
}

/// Whether each connection of `short` received what that of `long` did, in the same order, but perhaps not
/// its end: a client may leave before the last packets have come through.
fn is_beginning_of(short: &[Record], long: &[Record]) -> bool {
    let received = |records| shape(&one_way(records, Direction::Received));
    let mut rest = received(long);
    received(short).iter().all(|line| {
        let at = rest.iter().position(|other| other.starts_with(line));
        at.map(|at| rest.remove(at)).is_some()
    })
}

/// Runs a client without a proxy, with one, and with two.
async fn check(client: &[&str], arguments: &[&str]) {
    let server = server().await;
    let seen_by = async |url: &str| {
        let mut seen = run(&[client, &[url], arguments].concat()).await;
        seen.iter_mut().for_each(without_ids);
        seen
    };
    let direct = seen_by(&server.url()).await;
    assert!(!direct.is_empty());
    let only = Proxy::before(&server.url()).await;
    assert_eq!(seen_by(&only.url).await, direct, "{client:?} {arguments:?}");
    let only = sent(&only.records().await);
    let behind = Proxy::before(&server.url()).await;
    let before = Proxy::before(&behind.url).await;
    assert_eq!(
        seen_by(&before.url).await,
        direct,
        "{client:?} {arguments:?}"
    );
    let (before, behind) = (before.records().await, behind.records().await);
    assert!(
        is_beginning_of(&before, &behind),
        "{client:?} {arguments:?}: {:#?} and {:#?}",
        shape(&before),
        shape(&behind)
    );
    assert!(only.iter().any(|line| line.contains("event")), "{only:#?}");
    assert_eq!(sent(&before), only, "{client:?} {arguments:?}");
    assert_eq!(sent(&behind), only, "{client:?} {arguments:?}");
    server.stop().await;
}

const PYTHON: [&str; 2] = ["python/venv/bin/python", "python/edges.py"];

#[tokio::test(flavor = "multi_thread")]
async fn javascript_sees_and_is_recorded_the_same() {
    check(&["node", "js/peer.mjs"], &["websocket"]).await;
    check(&["node", "js/peer.mjs"], &["upgrade"]).await;
    check(&["node", "js/edges.mjs"], &["polling", "binary"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_sees_and_is_recorded_the_same() {
    check(&PYTHON, &["websocket", "binary"]).await;
    check(&PYTHON, &["polling", "binary"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_and_bad_requests_are_the_same() {
    for client in [&["node", "js/edges.mjs"][..], &PYTHON] {
        let server = server().await;
        let proxy = Proxy::before(&server.url()).await;
        for mode in ["leave", "codes"] {
            let seen = async |url: &str| run(&[client, &[url, "polling", mode]].concat()).await;
            assert_eq!(
                seen(&proxy.url).await,
                seen(&server.url()).await,
                "{client:?} {mode}"
            );
        }
        server.stop().await;
    }
}

/// Chromium as Debian and others have it.
fn chromium() -> Option<PathBuf> {
    ["chromium", "chromium-browser", "google-chrome"]
        .iter()
        .map(|name| Path::new("/usr/bin").join(name))
        .find(|path| path.exists())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_in_a_browser_sees_the_same() {
    let Some(chromium) = chromium() else {
        eprintln!("skipped: there is no Chromium in /usr/bin");
        return;
    };
    let chromium = chromium.to_str().expect("UTF-8").to_owned();
    let server = server().await;
    let proxy = Proxy::before(&server.url()).await;
    for (mode, transport) in [
        ("websocket", "websocket"),
        ("polling", "polling"),
        ("upgrade", "websocket"),
    ] {
        let expected = json!({
            "transport": transport,
            "update": ["new-message", {"t": "encrypted", "c": "ünïcode"}],
            "answer": {"result": "success", "version": 1, "agentState": "s"},
            "status": 200,
        });
        let page = |url: String| {
            let chromium = chromium.clone();
            async move { run(&["node", "js/browser.mjs", &chromium, &url, mode]).await }
        };
        assert_eq!(page(server.url()).await, [expected.clone()], "{mode}");
        assert_eq!(page(proxy.url.clone()).await, [expected], "{mode}");
    }
    let shape = shape(&proxy.records().await);
    let of_agents = shape
        .iter()
        .filter(|line| line.contains("event message"))
        .count();
    assert_eq!(of_agents, 3, "{shape:#?}");
    server.stop().await;
}
