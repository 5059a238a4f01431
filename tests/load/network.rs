//! Latency over a network of which the delay is known.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use touchstone_loadgen::report::{Report, Verdict};
use touchstone_loadgen::run::{RunPlan, run};
use touchstone_reference_server::Config;
use url::Url;

use crate::embedded::Embedded;
use crate::support::{load_over, plan, server};

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

/// How much passes on the way to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Free,
    /// Nothing at all.
    Frozen,
    /// From the server, so many bytes every [`DRIP`].
    Trickle(usize),
}

const DRIP: Duration = Duration::from_millis(25);

/// A way to the server that takes `delay` in each direction, and on which everything flows freely at
/// first. Also tells who comes.
async fn way_to(
    server: &Url,
    delay: Duration,
) -> (Url, watch::Sender<Flow>, mpsc::Receiver<SocketAddr>) {
    ways_to(server, move |_| delay).await
}

/// The same, with a delay for each connection, by its number in the order in which they come.
async fn ways_to(
    server: &Url,
    delay: impl Fn(usize) -> Duration + Send + 'static,
) -> (Url, watch::Sender<Flow>, mpsc::Receiver<SocketAddr>) {
    let port = server.port().expect("a port");
    let server = SocketAddr::from(([127, 0, 0, 1], port));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (steer, flow) = watch::channel(Flow::Free);
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
            tokio::spawn(carry(from_client, to_server, delay, flow.clone(), false));
            tokio::spawn(carry(from_server, to_client, delay, flow.clone(), true));
        }
    });
    let url = Url::parse(&format!("http://{address}")).expect("a URL");
    (url, steer, callers)
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin + Send + 'static,
    delay: Duration,
    mut flow: watch::Receiver<Flow>,
    is_from_server: bool,
) {
    let (sender, mut arriving) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THE_WAY);
    tokio::spawn(async move {
        while let Some((due, bytes)) = arriving.recv().await {
            sleep_until(due).await;
            let Ok(now) = flow
                .wait_for(|flow| *flow != Flow::Frozen)
                .await
                .map(|now| *now)
            else {
                return;
            };
            let size = match now {
                Flow::Trickle(size) if is_from_server => Some(size),
                _ => None,
            };
            for drop in bytes.chunks(size.unwrap_or(bytes.len())) {
                if size.is_some() {
                    sleep(DRIP).await;
                }
                if to.write_all(drop).await.is_err() {
                    return;
                }
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
    let (url, _steer, _callers) = way_to(server.url(), Duration::from_millis(100)).await;
    let report = load_over(&url, server, PINGS).await;
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
    let (url, _steer, _callers) = ways_to(server.url(), delay).await;
    let scenario = PINGS
        .replace("users = 1", "users = 20")
        .replace("ramp = '1ms'", "ramp = '200ms'")
        .replace("duration = '1s'", "duration = '5s'")
        .replace("every = '10ms'", "every = '100ms'");
    let report = load_over(&url, server, &scenario).await;
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
    let (url, steer, _callers) = way_to(server.url(), Duration::ZERO).await;
    let scenario = format!("{PINGS}[audit]\nlate-after = '1s'\nlost-after = '1s'\n");
    let plan = plan(&url, server.url(), &scenario, "1/1");
    let mut progress = plan.progress.subscribe();
    let hang = async {
        progress
            .wait_for(|snapshot| snapshot.elapsed >= Duration::from_secs(2))
            .await
            .expect("a run");
        steer.send_replace(Flow::Frozen);
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
    let (url, steer, _callers) = way_to(server.url(), Duration::ZERO).await;
    let plan = plan(&url, server.url(), PINGS, "1/1");
    let mut progress = plan.progress.subscribe();
    let pause = async {
        progress
            .wait_for(|snapshot| snapshot.elapsed >= Duration::from_secs(2))
            .await
            .expect("a run");
        steer.send_replace(Flow::Frozen);
        let end = Instant::now() + Duration::from_secs(1);
        sleep_until(end).await;
        steer.send_replace(Flow::Free);
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
    let (url, _steer, mut callers) = way_to(server.url(), Duration::ZERO).await;
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

/// One agent that sends much more than passes to the app.
const FLOOD: &str = "
description = 'messages'
[population]
accounts = 1
users = 1
sessions = 1
[connect]
ramp = '1ms'
[[phases]]
name = 'connect'
duration = '1s'
load = 0
counted = false
[[phases]]
name = 'messages'
duration = '3s'
[[traffic]]
from = 'session'
event = 'message'
every = '20ms'
size = 400
timing = 'periodic'
";

/// Runs it over a way that lets so much pass, and gives up what is not under way after `lost_after`.
async fn flooded(trickle: usize, lost_after: &str) -> Report {
    let server = Embedded::start(Config::default()).await.expect("a server");
    let (url, steer, _callers) = way_to(server.url(), Duration::ZERO).await;
    let scenario =
        format!("{FLOOD}[audit]\nlate-after = '{lost_after}'\nlost-after = '{lost_after}'\n");
    let plan = plan(&url, server.url(), &scenario, "1/1");
    let mut progress = plan.progress.subscribe();
    let narrow = async {
        progress
            .wait_for(|snapshot| snapshot.open == 2)
            .await
            .expect("a run");
        steer.send_replace(Flow::Trickle(trickle));
    };
    let (report, ()) = tokio::join!(run(plan), narrow);
    server.stop().await.expect("an end");
    report.expect("a report")
}

/// A backlog that is longer than what is waited for a single event is no loss as long as it gets
/// shorter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_late_is_not_lost() {
    let report = flooded(400, "2500ms").await;
    let counts = report.audit.counts;
    assert_eq!(counts.delivered, report.generator.sent, "{counts:?}");
    assert!(counts.is_clean() && counts.late > 0, "{counts:?}");
    assert!(report.latency_us.fanout.max > 2_500_000, "{counts:?}");
}

/// A run does not wait for ever, and says what it has not waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_run_did_not_wait_for_makes_it_invalid() {
    let report = flooded(150, "1s").await;
    let counts = report.audit.counts;
    assert!(counts.is_clean() && counts.uncertain > 0, "{counts:?}");
    assert_eq!(
        counts.delivered + counts.uncertain,
        report.generator.sent,
        "{counts:?}"
    );
    let reason = report.generator.reason.as_deref().expect("a reason");
    let told = format!(
        "the server was the limit: {} deliveries were still to come 4.0 s after",
        counts.uncertain
    );
    assert!(reason.contains(&told), "no {told:?} in {reason}");
    assert_eq!(report.verdict(), Verdict::Invalid);
}

/// Agents that leave before a slow way has let them in.
const IMPATIENT: &str = "
description = 'agents that come and go'
[population]
accounts = 1
users = 1
sessions = 6
[connect]
ramp = '100ms'
[bounds]
lag-p99 = '30s'
cpu = 1
[[phases]]
name = 'work'
duration = '6s'
[[churn]]
from = 'session'
online = '500ms'
offline = '100ms'
[[traffic]]
from = 'session'
event = 'message'
every = '50ms'
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_admits_slowly_is_named_as_the_limit() {
    let server = server(&[]).await;
    let (url, _steer, _callers) = way_to(server.url(), Duration::from_millis(700)).await;
    let report = load_over(&url, server, IMPATIENT).await;
    let reason = report.generator.reason.as_deref().expect("a reason");
    for part in [
        "the server was the limit: ",
        "events could not be sent",
        "not connected",
        "it admitted connections after",
        "left without having been admitted",
    ] {
        assert!(reason.contains(part), "no {part:?} in {reason}");
    }
    assert!(report.audit.counts.is_clean(), "{:?}", report.audit);
    assert_eq!(report.verdict(), Verdict::Invalid);
}

/// Calls whose callees take their time.
const CALLS: &str = "
description = 'calls'
[population]
accounts = 1
users = 1
machines = 1
[machine]
registrations = 1
[rpc]
handler-delay = '300ms'
[[phases]]
name = 'connect'
duration = '1500ms'
load = 0
counted = false
[[phases]]
name = 'calls'
duration = '2s'
[[traffic]]
from = 'user'
event = 'rpc-call'
every = '50ms'
timing = 'periodic'
";

/// What a simulated callee works is no part of what the server takes for a call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_servers_part_of_a_call_is_told_from_the_callees() {
    let server = server(&[]).await;
    let (url, _steer, _callers) = way_to(server.url(), Duration::from_millis(20)).await;
    let report = load_over(&url, server, CALLS).await;
    let (rpc, callee) = (report.latency_us.rpc, report.latency_us.callee);
    assert_eq!((rpc.count, callee.count), (40, 40), "{:?}", report.answers);
    let least = 300_000;
    assert!(callee.min >= least - least / 1000, "{callee:?}");
    // To the callee and back, each over two ways.
    let least = 80_000;
    assert!(rpc.min >= least - least / 1000, "{rpc:?}");
    assert!(rpc.min < callee.min, "{rpc:?} {callee:?}");
}
