//! Whole runs: shards, servers that die or are not there, and every kind of traffic.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::net::TcpListener;
use touchstone_client::Direction;
use touchstone_client::trace::{Kind, Record, Traced};
use touchstone_fixtures::SCENARIOS;
use touchstone_loadgen::merge::merge;
use touchstone_loadgen::report::Report;
use touchstone_loadgen::run::{RunError, run};
use touchstone_loadgen::scenario::{EventKind, Scenario, Span};
use touchstone_loadgen::schedule::{Schedule, Shard};
use url::Url;

use crate::support::{load, plan, recorded, server};

/// Everything that can be emitted, and everything that can happen to connections.
const EVERYTHING: &str = "
description = 'everything'
[population]
accounts = 4
users = 8
sessions = 12
machines = 8
[connect]
ramp = '300ms'
[session]
registrations = 3
write-state = true
[machine]
registrations = 2
write-state = true
[rpc]
handler-delay = '1ms'
handler-jitter = '5ms'
[bounds]
lag-p99 = '10s'
unsent = 0.1
[audit]
late-after = '10s'
[[phases]]
name = 'warm-up'
duration = '1s'
counted = false
[[phases]]
name = 'work'
duration = '3s'
[[churn]]
from = 'session'
share = 0.3
online = '1s'
offline = '200ms'
[[herd]]
at = '2s'
from = ['machine']
back-after = '300ms'
back-jitter = '300ms'
how = 'abort'
[[slow]]
from = 'user'
share = 0.25
every = '1s'
stop = '300ms'
[[turn]]
lasts = '300ms'
pause = '300ms'
[[shift]]
share = 0.25
online = '2s'
";

fn everything() -> String {
    let mut text = EVERYTHING.to_owned();
    // Only those say that a session ends who leave for good.
    let kinds = EventKind::ALL.into_iter();
    for kind in kinds.filter(|kind| *kind != EventKind::SessionEnd) {
        let from = match kind.name() {
            name if name.starts_with("machine") => "machine",
            "rpc-call" | "artifact-create" | "artifact-update" | "artifact-read" => "user",
            _ => "session",
        };
        let event = kind.name();
        text += &format!("[[traffic]]\nfrom = '{from}'\nevent = '{event}'\nevery = '400ms'\n");
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_at_once_is_delivered() {
    let server = server(&[]).await;
    let report = load(server, &everything()).await;
    assert!(report.audit.counts.is_clean(), "{:?}", report.audit);
    assert!(report.audit.volatile.is_clean(), "{:?}", report.audit);
    assert_eq!(report.failure, None);
    assert!(
        report.generator.valid,
        "{:?} {:?}",
        report.generator, report.errors
    );
    for kind in EventKind::ALL {
        if let Some(name) = kind.delivered_as() {
            assert!(report.events[name].audit.delivered > 0, "{name}");
        }
        if kind.is_acked() {
            assert!(
                report.answers[kind.name()]["success"] > 0,
                "{}",
                kind.name()
            );
        }
    }
    let connections = report.connections;
    assert_eq!((connections.dropped, connections.failed), (0, 0));
    assert!(connections.closed > 0 && connections.registered > 0);
    check_adds_up(&report);
    // Nobody connects before the start, from which all times count.
    assert!(report.latency_us.connect.min > 0);
}

/// The same things are counted by type, by phase and by second, and all come to the same.
#[track_caller]
fn check_adds_up(report: &Report) {
    let audit = &report.audit;
    let generator = &report.generator;
    assert_eq!(generator.planned, generator.sent + generator.unsent);
    for volatile in [false, true] {
        let of_type = report.events.values();
        let of_type = of_type.filter(|event| event.volatile == volatile);
        let sum = of_type.fold([0; 3], |[expected, delivered, uncertain], event| {
            let of = event.audit;
            [
                expected + of.expected,
                delivered + of.delivered,
                uncertain + of.uncertain,
            ]
        });
        let whole = match volatile {
            true => audit.volatile,
            false => audit.counts,
        };
        assert_eq!(whole.expected, whole.delivered + whole.lost);
        assert_eq!(sum, [whole.expected, whole.delivered, whole.uncertain]);
    }
    assert!(
        audit.counts.uncertain > 0,
        "nobody comes or goes: {audit:?}"
    );
    let delivered = audit.counts.delivered + audit.volatile.delivered;
    let whole = [generator.planned, generator.sent, delivered];
    let add = |sum: [u64; 3], of: [u64; 3]| std::array::from_fn(|at| sum[at] + of[at]);
    let phases = report.phases.iter();
    let phases = phases.map(|phase| [phase.planned, phase.sent, phase.delivered]);
    assert_eq!(phases.fold([0; 3], add), whole, "by phase");
    let seconds = report.series.iter();
    let seconds = seconds.map(|second| [second.planned, second.sent, second.delivered]);
    assert_eq!(seconds.fold([0; 3], add), whole, "by second");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_shards_are_one_run() {
    let server = server(&[]).await;
    let scenario = everything();
    let parts = ["1/4", "2/4", "3/4", "4/4"];
    let runs = parts.map(|part| run(plan(server.url(), server.url(), &scenario, part)));
    let reports = futures_util::future::try_join_all(runs)
        .await
        .expect("reports");
    server.stop().await.expect("an end");
    let whole = Schedule::new(
        Scenario::parse("test", &scenario).expect("a scenario"),
        7,
        Shard::default(),
    );
    let sent: u64 = reports.iter().map(|report| report.generator.sent).sum();
    let named = parts.map(str::to_owned).into_iter().zip(reports).collect();
    let merged = merge(named).expect("shards of one schedule");
    assert_eq!(merged.schedule.digest, whole.summary().digest.to_string());
    assert_eq!(merged.schedule.emits, whole.summary().emits);
    assert_eq!(merged.generator.sent, sent);
    assert!(merged.audit.counts.is_clean(), "{:?}", merged.audit);
}

/// Every built-in scenario, small and short.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn built_in_scenarios_run() {
    let server = server(&[]).await;
    let runs = SCENARIOS.iter().map(|(_, text)| {
        let mut plan = plan(server.url(), server.url(), text, "1/1");
        let schedule = Schedule::new(small(text), 7, Shard::default());
        plan.summary = schedule.summary();
        plan.schedule = schedule.into();
        run(plan)
    });
    let reports = futures_util::future::try_join_all(runs)
        .await
        .expect("reports");
    server.stop().await.expect("an end");
    for ((name, _), report) in SCENARIOS.iter().zip(reports) {
        assert!(report.audit.counts.is_clean(), "{name}: {:?}", report.audit);
        assert_eq!(report.failure, None, "{name}");
        assert!(report.generator.sent > 0, "{name}");
    }
}

/// A scenario with few connections and with phases of a moment.
fn small(text: &str) -> Scenario {
    let scenario = Scenario::parse("test", text).expect("a scenario");
    let mut small = scenario
        .scaled("0.02".parse().expect("a scale"))
        .expect("small");
    small.connect.ramp = Span::from_millis(200);
    for phase in &mut small.phases {
        phase.duration = Span::from_millis(400);
    }
    for herd in &mut small.herd {
        herd.at = Span::from_millis(600);
        herd.back_after = Span::from_millis(100);
        herd.back_jitter = Span::from_millis(100);
    }
    small.half_open.clear();
    small
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_is_a_failure() {
    let server = server(&[]).await;
    let plan = plan(server.url(), server.url(), &everything(), "1/1");
    let mut progress = plan.progress.subscribe();
    let death = async {
        progress
            .wait_for(|snapshot| snapshot.elapsed >= Duration::from_secs(1))
            .await
            .expect("a run");
        server.stop().await.expect("an end");
    };
    let (report, ()) = tokio::join!(run(plan), death);
    let report = report.expect("a report of what ran");
    let failure = report.failure.as_deref().expect("a failure");
    assert!(failure.contains("connection"), "{failure}");
    assert!(report.connections.dropped > 0, "{:?}", report.connections);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recorder_sees_the_accounts_that_it_is_for() {
    let scenario = "
description = 'one of each, for three accounts'
[population]
accounts = 3
users = 6
sessions = 3
machines = 3
[audit]
late-after = '10s'
[[phases]]
name = 'work'
duration = '1s'
[[traffic]]
from = 'user'
event = 'message'
every = '100ms'
size = 100
";
    let records = recorded(scenario, 2).await.records;
    let names: BTreeSet<_> = records.iter().map(|record| record.conn.as_str()).collect();
    let expected = "- 1/machine-1 1/session-1 1/user-1 1/user-2 2/machine-1 2/session-1 2/user-1 \
                    2/user-2 http http/a1 http/a2";
    assert_eq!(Vec::from_iter(names).join(" "), expected);
    assert_eq!(
        records[0].kind,
        Kind::Mark("recorded: 8 of 12 connections, those of 2 of 3 accounts".to_owned())
    );
    let is_message = |record: &&Record| matches!(&record.kind, Kind::Packet(Direction::Sent, Traced::Event { name, .. }) if name == "message");
    assert!(records.iter().filter(is_message).count() > 0);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let url = Url::parse(&format!("http://{address}")).expect("a URL");
    let error = run(plan(&url, &url, &everything(), "1/1"))
        .await
        .expect_err("nobody is there");
    assert!(matches!(error, RunError::Server { .. }), "{error}");

    let server = server(&[]).await;
    let error = run(plan(&url, server.url(), &everything(), "1/1"))
        .await
        .expect_err("nobody");
    server.stop().await.expect("an end");
    let RunError::Unreachable { reason, .. } = error else {
        panic!("{error}");
    };
    assert!(reason.contains("refused"), "{reason}");
}
