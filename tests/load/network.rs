//! Latency over a network of which the delay is known.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use touchstone_loadgen::report::Verdict;
use touchstone_loadgen::run::{RunPlan, run};
use touchstone_reference_server::Config;
use url::Url;

use crate::embedded::Embedded;
use crate::support::{plan, server};

/// One app that pings 100 times per second, for three seconds.
const PINGS: &str = "
description = 'pings'
[population]
accounts = 1
users = 1
[connect]
ramp = '1ms'
[[phases]]
name = 'connect'
duration = '1s'
load = 0
counted = false
[[phases]]
name = 'pings'
duration = '3s'
[[traffic]]
from = 'user'
event = 'ping'
every = '10ms'
timing = 'periodic'
";

/// Chunks that may be on their way in each direction.
const ON_THE_WAY: usize = 4_096;

/// A way to the server that takes `delay` in each direction, and nothing passes while it is frozen.
/// Also tells who comes.
async fn way_to(
    server: &Url,
    delay: Duration,
) -> (Url, watch::Sender<bool>, mpsc::Receiver<SocketAddr>) {
    ways_to(server, move |_| delay).await
}

/// The same, with a delay for each connection, by its number in the order in which they come.
async fn ways_to(
    server: &Url,
    delay: impl Fn(usize) -> Duration + Send + 'static,
) -> (Url, watch::Sender<bool>, mpsc::Receiver<SocketAddr>) {
    let port = server.port().expect("a port");
    let server = SocketAddr::from(([127, 0, 0, 1], port));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (freeze, frozen) = watch::channel(false);
    let (caller, callers) = mpsc::channel(ON_THE_WAY);
    tokio::spawn(async move {
        for nth in 0.. {
            let Ok((client, address)) = listener.accept().await else {
                return;
            };
            let delay = delay(nth);
            // Not every test wants to know.
            caller.send(address).await.ok();
            let server = TcpStream::connect(server).await.expect("the server");
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::spawn(carry(from_client, to_server, delay, frozen.clone()));
            tokio::spawn(carry(from_server, to_client, delay, frozen.clone()));
        }
    });
    let url = Url::parse(&format!("http://{address}")).expect("a URL");
    (url, freeze, callers)
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin + Send + 'static,
    delay: Duration,
    mut frozen: watch::Receiver<bool>,
) {
    let (sender, mut arriving) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THE_WAY);
    tokio::spawn(async move {
        while let Some((due, bytes)) = arriving.recv().await {
            sleep_until(due).await;
            let thawed = frozen.wait_for(|frozen| !frozen).await.is_ok();
            if !thawed || to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    let mut buffer = vec![0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let chunk = (Instant::now() + delay, buffer[..length].to_vec());
        if sender.send(chunk).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_delay_is_measured() {
    let server = server(&[]).await;
    let (url, _freeze, _callers) = way_to(server.url(), Duration::from_millis(100)).await;
    let report = run(plan(&url, server.url(), PINGS, "1/1"))
        .await
        .expect("a report");
    server.stop().await.expect("an end");
    let (ack, naive) = (report.latency_us.ack, report.naive_us.ack);
    assert_eq!((ack.count, report.generator.unsent), (300, 0));
    // There and back again; not one may be faster, and what a busy machine adds is no error.
    let least = 200_000;
    assert!(ack.min >= least - least / 1000, "{ack:?}");
    assert!(
        naive.min >= least - least / 1000 && naive.p50 <= ack.p50,
        "{naive:?}"
    );
    // Calls do not wait for each other: all of them were under way for the same time.
    assert_eq!(report.answers["ping"]["success"], 300);
}

/// Each percentile is that of the connections that it falls to: of twenty, two are slower and one is
/// slower still, so far apart that a busy machine mistakes none for another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn percentiles_tell_slow_connections_from_others() {
    let server = server(&[]).await;
    let delay = |nth: usize| match nth % 20 {
        0 => Duration::from_millis(800),
        1 | 2 => Duration::from_millis(200),
        _ => Duration::from_millis(25),
    };
    let (url, _freeze, _callers) = ways_to(server.url(), delay).await;
    let scenario = PINGS
        .replace("users = 1", "users = 20")
        .replace("ramp = '1ms'", "ramp = '200ms'")
        .replace("duration = '1s'", "duration = '5s'")
        .replace("every = '10ms'", "every = '100ms'");
    let report = run(plan(&url, server.url(), &scenario, "1/1"))
        .await
        .expect("a report");
    server.stop().await.expect("an end");
    let ack = report.latency_us.ack;
    assert_eq!(ack.count, 600, "{:?}", report.errors);
    // There and back again; histograms keep three digits.
    let within = |found: u64, from: u64, to: u64| {
        assert!((from - from / 1000..to).contains(&found), "{ack:?}");
    };
    within(ack.p50, 50_000, 400_000);
    within(ack.p90, 400_000, 1_600_000);
    within(ack.p99, 1_600_000, u64::MAX);
    within(ack.min, 50_000, 400_000);
    within(ack.max, 1_600_000, u64::MAX);
}

/// A server that is there and says nothing any more is no success, even where nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_a_failure() {
    // One whose pings are so rare that the connections live on.
    let server = Embedded::start(Config::default()).await.expect("a server");
    let (url, freeze, _callers) = way_to(server.url(), Duration::ZERO).await;
    let scenario = format!("{PINGS}[audit]\nlate-after = '1s'\nlost-after = '1s'\n");
    let plan = plan(&url, server.url(), &scenario, "1/1");
    let mut progress = plan.progress.subscribe();
    let hang = async {
        progress
            .wait_for(|snapshot| snapshot.elapsed >= Duration::from_secs(2))
            .await
            .expect("a run");
        freeze.send_replace(true);
    };
    let (report, ()) = tokio::join!(run(plan), hang);
    server.stop().await.expect("an end");
    let report = report.expect("a report");
    assert!(
        report.answers["ping"]["no answer"] > 50,
        "{:?}",
        report.answers
    );
    let failure = report.failure.as_deref().expect("a failure");
    assert_eq!(
        failure,
        "the server answered nothing any more at 1 connection"
    );
    assert_eq!(report.verdict(), Verdict::Failed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_of_one_second_shows_in_full() {
    let server = server(&[]).await;
    let (url, freeze, _callers) = way_to(server.url(), Duration::ZERO).await;
    let plan = plan(&url, server.url(), PINGS, "1/1");
    let mut progress = plan.progress.subscribe();
    let pause = async {
        progress
            .wait_for(|snapshot| snapshot.elapsed >= Duration::from_secs(2))
            .await
            .expect("a run");
        freeze.send_replace(true);
        let end = Instant::now() + Duration::from_secs(1);
        sleep_until(end).await;
        freeze.send_replace(false);
    };
    let (report, ()) = tokio::join!(run(plan), pause);
    server.stop().await.expect("an end");
    let ack = report.expect("a report").latency_us.ack;
    // A hundred events were due in that second, and the first of them waited for all of it. A tool
    // that waits for each answer before it sends the next would have seen one slow event of 200.
    assert_eq!(ack.count, 300);
    assert!(ack.p99 >= 950_000, "{ack:?}");
    assert!(ack.p90 >= 650_000, "{ack:?}");
}

/// One account after another, so that the order of connections is that of the schedule.
const CROWD: &str = "
description = 'ten apps'
[population]
accounts = 10
users = 10
[connect]
ramp = '10ms'
[[phases]]
name = 'stay'
duration = '500ms'
";

/// Where one address has no ports left, the next one is used; the server sees from where.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_connections_than_ports_come_from_several_addresses() {
    let server = server(&[]).await;
    let (url, _freeze, mut callers) = way_to(server.url(), Duration::ZERO).await;
    let plan = RunPlan {
        ports: 4,
        ..plan(&url, server.url(), CROWD, "1/1")
    };
    let report = run(plan).await.expect("a report");
    server.stop().await.expect("an end");
    assert_eq!(report.connections.opened, 10, "{:?}", report.errors);
    let mut from = BTreeMap::<_, u32>::new();
    while let Ok(caller) = callers.try_recv() {
        *from.entry(caller.ip().to_string()).or_default() += 1;
    }
    let expected = [("127.0.0.1", 4), ("127.0.0.2", 4), ("127.0.0.3", 2)];
    let expected = expected.map(|(address, count)| (address.to_owned(), count));
    assert_eq!(from, BTreeMap::from(expected));
}
