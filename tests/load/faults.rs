//! A server with a known fault, and the audit that must find exactly what it did, to the event.

use touchstone_loadgen::report::{Report, model::Counts};

use crate::support::{load, server};

/// Two accounts with two users and two sessions each; agents send messages, and nothing else
/// happens. What is lost is given up after seconds, so that the test need not wait longer.
const MESSAGES: &str = "
description = 'messages alone'
[population]
accounts = 2
users = 4
sessions = 4
[connect]
ramp = '200ms'
[audit]
late-after = '3s'
lost-after = '3s'
grace = '100ms'
[[phases]]
name = 'connect'
duration = '1500ms'
load = 0
counted = false
[[phases]]
name = 'messages'
duration = '1s'
[[traffic]]
from = 'session'
event = 'message'
every = '50ms'
timing = 'periodic'
";
const USERS: u64 = 2;
/// Updates that making the sessions causes, before the first message.
const MADE: u64 = 4;

/// Which of the server's updates, counted from 1, are messages that its fault strikes.
fn struck(sent: u64, every: u64) -> u64 {
    (MADE + sent) / every - MADE / every
}

#[track_caller]
fn check(fault: &str, report: &Report, expected: Counts) {
    assert_eq!(report.generator.unsent, 0, "{fault}");
    assert_eq!(
        report.audit.counts, expected,
        "{fault}: {:?}",
        report.errors
    );
    assert_eq!(report.audit.volatile, Counts::default(), "{fault}");
    let message = &report.events["new-message"];
    assert_eq!(message.audit, expected, "{fault}");
}

/// What a run with so many messages must find; all that is not said is as it should be.
type Expected = fn(u64) -> Counts;

fn right(sent: u64) -> Counts {
    Counts {
        expected: sent * USERS,
        delivered: sent * USERS,
        ..Counts::default()
    }
}

const FAULTS: &[(&str, Expected)] = &[
    ("lost-update=10", |sent| {
        let lost = struck(sent, 10) * USERS;
        Counts {
            delivered: sent * USERS - lost,
            lost,
            ..right(sent)
        }
    }),
    ("dup-update=7", |sent| Counts {
        duplicated: struck(sent, 7) * USERS,
        ..right(sent)
    }),
    ("wrong-session", |sent| Counts {
        misrouted: sent,
        ..right(sent)
    }),
    ("echo-to-sender", |sent| Counts {
        misrouted: sent,
        ..right(sent)
    }),
    ("leak-update", |sent| Counts {
        misrouted: sent * USERS,
        ..right(sent)
    }),
    ("user-deaf", |sent| Counts {
        delivered: 0,
        lost: sent * USERS,
        ..right(sent)
    }),
    ("message-to-sessions", |sent| Counts {
        misrouted: sent,
        ..right(sent)
    }),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_finds_what_the_server_did() {
    let runs = FAULTS.iter().map(|(fault, expected)| async move {
        let server = server(&[fault]).await;
        let report = load(&server, MESSAGES).await.expect("a report");
        server.stop().await.expect("an end");
        (fault, report, expected)
    });
    for (fault, report, expected) in futures_util::future::join_all(runs).await {
        let sent = report.generator.sent;
        assert!(sent > 60, "{sent} messages are too few");
        check(fault, &report, expected(sent));
        assert!(!report.audit.examples.is_empty(), "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_finds_nothing_where_nothing_is_wrong() {
    let server = server(&[]).await;
    let report = load(&server, MESSAGES).await.expect("a report");
    server.stop().await.expect("an end");
    check("none", &report, right(report.generator.sent));
    assert!(report.audit.examples.is_empty());
    assert_eq!(report.generator.sent, report.schedule.emits);
    assert_eq!(report.audit.counts.expected, report.schedule.deliveries);
}

/// One sender, so that the account's next update is the sender's own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_overtakes_is_found() {
    let server = server(&["late-message=5"]).await;
    let scenario = MESSAGES
        .replace("accounts = 2", "accounts = 1")
        .replace("users = 4", "users = 3")
        .replace("sessions = 4", "sessions = 1");
    let report = load(&server, &scenario).await.expect("a report");
    server.stop().await.expect("an end");
    let sent = report.generator.sent;
    let held = sent / 5;
    // The very last one is held for an update that never comes.
    let stuck = u64::from(sent % 5 == 0);
    let expected = Counts {
        expected: sent * 3,
        delivered: (sent - stuck) * 3,
        lost: stuck * 3,
        reordered: (held - stuck) * 3,
        ..Counts::default()
    };
    check("late-message", &report, expected);
}

/// Heartbeats are a class of their own: a server may thin them out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_are_accounted_for_themselves() {
    let scenario = MESSAGES.replace("event = 'message'", "event = 'session-alive'");
    for (fault, delivered) in [("user-deaf", true), ("activity-lost", false)] {
        let server = server(&[fault]).await;
        let report = load(&server, &scenario).await.expect("a report");
        server.stop().await.expect("an end");
        let deliveries = report.generator.sent * USERS;
        let expected = Counts {
            expected: deliveries,
            delivered: deliveries * u64::from(delivered),
            lost: deliveries * u64::from(!delivered),
            ..Counts::default()
        };
        assert_eq!(report.audit.volatile, expected, "{fault}");
        assert_eq!(report.audit.counts, Counts::default(), "{fault}");
    }
}

/// What the server refuses must not be announced, and a heartbeat of others is nobody's business.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leaked_heartbeat_is_found() {
    let server = server(&["leak-ephemeral"]).await;
    let scenario = MESSAGES.replace("event = 'message'", "event = 'session-alive'");
    let report = load(&server, &scenario).await.expect("a report");
    server.stop().await.expect("an end");
    let deliveries = report.generator.sent * USERS;
    let expected = Counts {
        expected: deliveries,
        delivered: deliveries,
        misrouted: deliveries,
        ..Counts::default()
    };
    assert_eq!(report.audit.volatile, expected);
}
