//! The attacks. Each goes on for its time, or until it is done, and says what the attackers were told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use touchstone_client::ConnectOptions;
use touchstone_client::provision::Rest;
use url::Url;

use super::raw;
use crate::fleet::Account;

/// How many connections are opened at a time.
const DIALS: usize = 64;
/// The longest that an attacker waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What attackers were told, and how many of them.
#[derive(Debug, Default)]
struct Told(BTreeMap<String, u64>);

impl Told {
    fn add(&mut self, status: Option<u16>) {
        let what = status.map_or_else(|| "closed".to_owned(), |status| status.to_string());
        *self.0.entry(what).or_default() += 1;
    }

    fn text(&self) -> String {
        let parts = self
            .0
            .iter()
            .map(|(what, count)| format!("{what}: {count}"));
        parts.collect::<Vec<_>>().join(", ")
    }
}

/// What each of these connections is told, as far as it was told something until now.
async fn collected(open: Vec<TcpStream>) -> Told {
    let mut told = Told::default();
    for mut stream in open {
        match timeout(Duration::from_millis(10), raw::status(&mut stream)).await {
            Ok(status) => told.add(status),
            Err(_) => *told.0.entry("still open".to_owned()).or_default() += 1,
        }
    }
    told
}

async fn many<F>(count: usize, dial: impl Fn(usize) -> F) -> anyhow::Result<Vec<TcpStream>>
where
    F: Future<Output = anyhow::Result<TcpStream>>,
{
    let dials = stream::iter(0..count).map(dial).buffer_unordered(DIALS);
    dials.try_collect().await
}

/// Connections that say nothing: half of them no HTTP, half of them no CONNECT.
///
/// # Errors
/// They cannot be opened.
pub async fn half_open(url: &Url, count: usize, time: Duration) -> anyhow::Result<String> {
    let (address, end) = (raw::address(url)?, Instant::now() + time);
    let silent = many(count / 2, |_| raw::dial(address)).await?;
    let upgraded = many(count - count / 2, |_| raw::upgraded(address)).await?;
    sleep_until(end).await;
    drop(upgraded);
    Ok(format!(
        "those without HTTP: {}",
        collected(silent).await.text()
    ))
}

/// Clients of one account that read nothing, while 20 kB go to each of them 40 times a second.
///
/// # Errors
/// They cannot connect, or the sender is not served.
pub async fn stalled(url: &Url, count: usize, time: Duration) -> anyhow::Result<String> {
    let account = Account::provision(url, 201).await?;
    let address = raw::address(url)?;
    let token = account.token();
    let open = many(count, |_| raw::connected(address, token)).await?;
    let (sender, _events) = account.connect_session().await?;
    let end = Instant::now() + time;
    let message = json!({ "sid": account.session(), "message": "x".repeat(20_000) });
    let mut due = interval(Duration::from_millis(25));
    let mut sent = 0_u64;
    while Instant::now() < end {
        due.tick().await;
        sender.emit("message", &message).await?;
        sent += 1;
    }
    // A write to a connection that the server has cut fails.
    let mut cut = 0;
    for stream in open {
        let error = stream.take_error()?;
        cut += u64::from(error.is_some() || has_ended(&stream));
    }
    Ok(format!("{sent} messages, {cut} of {count} cut"))
}

/// Whether the other side has ended a connection, whatever is still to be read of it.
fn has_ended(stream: &TcpStream) -> bool {
    let mut part = vec![0; 65_536];
    loop {
        match stream.try_read(&mut part) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

/// Heads of requests that come a byte a second.
///
/// # Errors
/// They cannot be opened.
pub async fn slow_heads(url: &Url, count: usize, time: Duration) -> anyhow::Result<String> {
    let (address, end) = (raw::address(url)?, Instant::now() + time);
    let mut open = many(count, |_| raw::dial(address)).await?;
    let head = b"GET /health HTTP/1.1\r\nHost: somewhere\r\nAccept: */*\r\n";
    let mut due = interval(Duration::from_secs(1));
    for byte in head.iter().cycle() {
        if due.tick().await >= end {
            break;
        }
        for stream in &mut open {
            // Those that were refused take no more.
            let _ = stream.write_all(&[*byte]).await;
        }
    }
    Ok(collected(open).await.text())
}

/// Heads of 100 kB, and bodies that are said to have 40 MB and begin to come.
///
/// # Errors
/// They cannot be opened.
pub async fn oversized(url: &Url, time: Duration) -> anyhow::Result<String> {
    let (address, end) = (raw::address(url)?, Instant::now() + time);
    let head = format!(
        "GET /health HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
        "y".repeat(100_000)
    );
    let body = format!(
        "POST /v1/auth HTTP/1.1\r\nHost: x\r\nContent-Length: 40000000\r\n\r\n{}",
        "z".repeat(100_000)
    );
    let one = |request: String| async move {
        let mut told = Told::default();
        while Instant::now() < end {
            told.add(asked(address, request.as_bytes()).await);
        }
        told
    };
    let requests = (0..16).map(|nth| {
        if nth % 2 == 0 {
            head.clone()
        } else {
            body.clone()
        }
    });
    let all: Vec<Told> = stream::iter(requests)
        .map(one)
        .buffer_unordered(16)
        .collect()
        .await;
    let mut told = Told::default();
    for (what, count) in all.into_iter().flat_map(|one| one.0) {
        *told.0.entry(what).or_default() += count;
    }
    Ok(told.text())
}

/// The status that a request gets, on a connection of its own.
async fn asked(address: SocketAddr, request: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    // It may be refused before it is whole.
    let _ = stream.write_all(request).await;
    timeout(PATIENCE, raw::status(&mut stream)).await.ok()?
}

/// One connection that sends so many events per second, which others of its account receive.
///
/// # Errors
/// It is not served.
pub async fn flood(url: &Url, rate: u32, time: Duration) -> anyhow::Result<String> {
    let account = Account::provision(url, 202).await?;
    let (watcher, mut events) = account.connect().await?;
    let (sender, _) = account.connect_session().await?;
    let received = tokio::spawn(async move {
        let mut count = 0_u64;
        while events.recv().await.is_ok() {
            count += 1;
        }
        drop(watcher);
        count
    });
    let message = json!({ "sid": account.session(), "message": "bWVzc2FnZQ==" });
    let (began, end) = (Instant::now(), Instant::now() + time);
    let mut due = interval(Duration::from_millis(1));
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut sent = 0_u64;
    while Instant::now() < end {
        due.tick().await;
        for _ in 0..rate / 1_000 {
            sender.emit("message", &message).await?;
            sent += 1;
        }
    }
    // What was answered last was handled last.
    sender.call("ping", (), Duration::from_secs(60)).await?;
    let took = began.elapsed().as_secs_f64();
    received.abort();
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let per_second = sent as f64 / took;
    Ok(format!(
        "{sent} messages, {per_second:.0} handled per second"
    ))
}

/// Accounts, each of which only signs in.
///
/// # Errors
/// One is refused.
pub async fn accounts(url: &Url, count: u32) -> anyhow::Result<String> {
    let rest = Rest::new(&ConnectOptions::new(url.clone()))?;
    let rest = &rest;
    let began = Instant::now();
    stream::iter(0..count)
        .map(|number| async move {
            let mut seed = [255; 32];
            seed[..4].copy_from_slice(&number.to_be_bytes());
            rest.account(seed).await.map(drop)
        })
        .buffer_unordered(DIALS)
        .try_collect::<()>()
        .await?;
    let per_second = f64::from(count) / began.elapsed().as_secs_f64();
    Ok(format!("{count} accounts, {per_second:.0} per second"))
}
