//! Who receives more than what it needs, measured before the run.

use std::path::Path;
use std::sync::Arc;

use touchstone_client::provision::{File, NewMachine, NewSession, Provisioner};
use touchstone_loadgen::report::Report;
use touchstone_loadgen::report::model::{Basis, Recipients};
use touchstone_loadgen::run::{RunPlan, run};

use crate::embedded::Embedded;
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

async fn server_with(faults: &str) -> Embedded {
    let faults: Vec<_> = faults.split_whitespace().collect();
    server(&faults).await
}

/// Runs it on a server with faults, if any, and what the user says about the server, if anything.
async fn loaded(fault: &str, recipients: Option<Recipients>) -> Report {
    let server = server_with(fault).await;
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

/// Without a measurement nobody knows whether a server that is wide within accounts is one by design.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_measured_is_not_judged() {
    let report = loaded("session-deaf wide-artifacts", None).await;
    assert_eq!(report.target.recipients_basis, Basis::Assumed);
    assert!(report.events["new-artifact"].audit.delivered > 0);
    assert_eq!(report.audit.counts.misrouted, 0, "{:?}", report.audit);
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

/// A file of accounts with just what the run needs is enough: it is measured within an account of the
/// run, and whoever writes there afterwards knows the versions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dialect_is_measured_within_the_accounts_that_there_are() {
    for (fault, wide) in [
        ("", &[][..]),
        ("wide-artifacts", &["new-artifact", "update-artifact"]),
    ] {
        let server = server_with(fault).await;
        let scenario = WORK
            .replace("accounts = 2", "accounts = 1")
            .replace("users = 2", "users = 1")
            .replace("sessions = 4", "sessions = 2")
            .replace("machines = 2", "machines = 1");
        let plan = plan(server.url(), server.url(), &scenario, "1/1");
        let plan = RunPlan {
            recipients: None,
            provisioner: Arc::new(listed(&plan.provisioner).await),
            ..plan
        };
        let report = run(plan).await.expect("a report");
        server.stop().await.expect("an end");
        let (target, errors) = (&report.target, &report.errors);
        assert_eq!(target.recipients_basis, Basis::Measured, "{errors:?}");
        assert_eq!(target.wide_events, wide, "{fault}");
        let counts = report.audit.counts;
        assert!(counts.is_clean(), "{fault}: {counts:?}");
        for answers in report.answers.values() {
            assert_eq!(answers.keys().collect::<Vec<_>>(), ["success"], "{fault}");
        }
    }
}

/// A provisioner that knows one account with two sessions and a machine.
async fn listed(provisioner: &Provisioner) -> Provisioner {
    let account = provisioner.account([7; 32]).await.expect("an account");
    let mut text = format!("[[accounts]]\ntoken = '{}'\n", account.token.expose());
    let mut sessions = Vec::new();
    for tag in ["one", "other"] {
        let new = NewSession {
            tag: tag.to_owned(),
            metadata: "listed".to_owned(),
            ..NewSession::default()
        };
        let made = provisioner.session(&account, &new).await;
        sessions.push(format!("'{}'", made.expect("a session").id));
    }
    let new = NewMachine {
        id: "listed".to_owned(),
        metadata: "listed".to_owned(),
        ..NewMachine::default()
    };
    let machine = provisioner.machine(&account, &new).await;
    text += &format!("sessions = [{}]\n", sessions.join(", "));
    text += &format!("machines = ['{}']\n", machine.expect("a machine").id);
    let file = File::parse(Path::new("accounts.toml"), &text);
    Provisioner::File(Arc::new(file.expect("a file of accounts")))
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
