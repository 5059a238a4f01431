//! Runs of small scenarios against a server of one's choice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use touchstone_client::provision::{ProvisionSpec, Provisioner};
use touchstone_client::trace::{Bounds, Record, Recorder};
use touchstone_client::{Clock, ConnectOptions};
use touchstone_loadgen::progress::Snapshot;
use touchstone_loadgen::report::{Report, model::Recipients};
use touchstone_loadgen::run::{PORTS, RunPlan, Trace, run};
use touchstone_loadgen::scenario::{Scale, Scenario};
use touchstone_loadgen::schedule::{Schedule, Shard};
use touchstone_reference_faults::Faults;
use url::Url;

use crate::embedded::{Embedded, quick};

/// Runs on one server must not share accounts.
static RUNS: AtomicU32 = AtomicU32::new(0);

/// A server with these faults.
pub(crate) async fn server(faults: &[&str]) -> Embedded {
    let faults = Faults::parse(faults.iter().copied()).expect("faults");
    Embedded::start(faults.applied_to(quick()))
        .await
        .expect("a server")
}

/// A plan for a scenario, with accounts of the server at `rest` and connections to `url`.
pub(crate) fn plan(url: &Url, rest: &Url, scenario: &str, shard: &str) -> RunPlan {
    let scenario = Scenario::parse("test", scenario).expect("a scenario");
    let shard: Shard = shard.parse().expect("a shard");
    let schedule = Schedule::new(scenario, 7, shard);
    let provisioner = Provisioner::open(&ProvisionSpec::Rest, &ConnectOptions::new(rest.clone()));
    RunPlan {
        name: "the server".to_owned(),
        urls: vec![url.clone()],
        options: ConnectOptions::new(url.clone()),
        provisioner: Arc::new(provisioner.expect("a provisioner")),
        summary: schedule.summary(),
        schedule: Arc::new(schedule),
        scale: Scale::default(),
        recipients: Some(Recipients::Narrow),
        workers: 1,
        start_at: None,
        id: RUNS.fetch_add(1, Ordering::Relaxed),
        ports: PORTS,
        is_embedded: true,
        version: "test".to_owned(),
        clock: Clock::System,
        progress: watch::Sender::new(Snapshot::default()),
        stop: CancellationToken::new(),
        trace: None,
    }
}

/// Runs a scenario against a server, and ends it.
pub(crate) async fn load(server: Embedded, scenario: &str) -> Report {
    let url = server.url().clone();
    load_over(&url, server, scenario).await
}

/// Runs a scenario against a server over another way, and ends the server.
pub(crate) async fn load_over(url: &Url, server: Embedded, scenario: &str) -> Report {
    let report = run(plan(url, server.url(), scenario, "1/1")).await;
    server.stop().await.expect("an end");
    report.expect("a report")
}

/// A run with all that the connections of its first accounts sent and received.
pub(crate) struct Recorded {
    pub(crate) schedule: Arc<Schedule>,
    pub(crate) report: Report,
    pub(crate) records: Vec<Record>,
}

/// Runs a scenario against a right server, and records that many accounts.
pub(crate) async fn recorded(scenario: &str, accounts: u32) -> Recorded {
    let server = server(&[]).await;
    let recorder = Recorder::new(Instant::now(), Bounds::default());
    let plan = RunPlan {
        trace: Some(Trace {
            recorder: recorder.clone(),
            accounts,
        }),
        ..plan(server.url(), server.url(), scenario, "1/1")
    };
    let schedule = Arc::clone(&plan.schedule);
    let report = run(plan).await.expect("a report");
    server.stop().await.expect("an end");
    Recorded {
        schedule,
        report,
        records: recorder.records(),
    }
}
