//! Who receives more than what it needs, measured before the run.

use touchstone_loadgen::report::Report;
use touchstone_loadgen::report::model::{Basis, Recipients};
use touchstone_loadgen::run::{RunPlan, run};

use crate::support::{plan, server};

/// Two accounts, each with an app, two agents and a daemon, and events that wide servers spread.
const WORK: &str = "
description = 'one of each'
[population]
accounts = 2
users = 2
sessions = 4
machines = 2
[connect]
ramp = '100ms'
[audit]
late-after = '5s'
lost-after = '5s'
[[phases]]
name = 'connect'
duration = '700ms'
load = 0
counted = false
[[phases]]
name = 'work'
duration = '1s'
[[traffic]]
from = 'session'
event = 'message'
every = '100ms'
[[traffic]]
from = 'session'
event = 'update-state'
every = '100ms'
[[traffic]]
from = 'session'
event = 'usage-report'
every = '100ms'
[[traffic]]
from = 'machine'
event = 'machine-update-state'
every = '100ms'
[[traffic]]
from = 'user'
event = 'artifact-create'
every = '100ms'
";

/// Runs it on a server with a fault, if any, and what the user says about the server, if anything.
async fn loaded(fault: &str, recipients: Option<Recipients>) -> Report {
    let faults: &[&str] = if fault.is_empty() { &[] } else { &[fault] };
    let server = server(faults).await;
    let plan = RunPlan {
        recipients,
        ..plan(server.url(), server.url(), WORK, "1/1")
    };
    let report = run(plan).await.expect("a report");
    server.stop().await.expect("an end");
    report
}

async fn check(fault: &str, basis: Basis, wide: &[&str], is_clean: bool) {
    let report = loaded(fault, None).await;
    let target = &report.target;
    assert_eq!(
        target.recipients_basis, basis,
        "{fault}: {:?}",
        report.errors
    );
    assert_eq!(target.wide_events, wide, "{fault}");
    let is_wide = target.recipients == Recipients::Wide;
    assert_eq!(is_wide, !wide.is_empty(), "{fault}");
    let counts = report.audit.counts;
    assert_eq!(counts.is_clean(), is_clean, "{fault}: {counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dialect_of_a_server_is_measured() {
    let artifacts = ["new-artifact", "update-artifact"];
    let ephemerals = ["activity", "usage", "machine-activity"];
    tokio::join!(
        check("", Basis::Measured, &[], true),
        check("wide-artifacts", Basis::Measured, &artifacts, true),
        check("wide-ephemerals", Basis::Measured, &ephemerals, true),
        check(
            "session-to-machines",
            Basis::Measured,
            &["update-session"],
            true
        ),
        check(
            "message-to-machines",
            Basis::Measured,
            &["new-message"],
            true
        ),
        // Messages in wrong sessions are a fault wherever it happens, and so is what comes with them.
        check("wrong-session", Basis::Measured, &[], false),
        check("echo-to-sender", Basis::Measured, &[], false),
        check("leak-update", Basis::Measured, &[], false),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_measured_is_assumed_to_be_narrow() {
    let report = loaded("session-deaf", None).await;
    assert_eq!(report.target.recipients, Recipients::Narrow);
    assert_eq!(report.target.recipients_basis, Basis::Assumed);
    let told = report
        .errors
        .keys()
        .find(|error| error.starts_with("recipients could not"));
    let told = told.expect("a reason");
    assert!(
        told.contains("a session-scoped connection missed an update"),
        "{told}"
    );
}

/// What the user says about the server is not measured again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_stands() {
    for (recipients, is_clean) in [(Recipients::Narrow, false), (Recipients::Wide, true)] {
        let report = loaded("wide-artifacts", Some(recipients)).await;
        let target = &report.target;
        assert_eq!(
            (target.recipients, target.recipients_basis),
            (recipients, Basis::Set)
        );
        assert_eq!(target.wide_events.len(), 0);
        let counts = report.audit.counts;
        let artifacts = report.events["new-artifact"].audit;
        // The account's two agents and its daemon, besides the app.
        let misrouted = if is_clean { 0 } else { artifacts.delivered * 3 };
        assert_eq!(counts.misrouted, misrouted, "{counts:?}");
    }
}
