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
        let report = load(server, MESSAGES).await;
        (fault, report, expected)
    });
    for (fault, report, expected) in futures_util::future::join_all(runs).await {
        let sent = report.generator.sent;
        assert!(sent > 60, "{sent} messages are too few");
        check(fault, &report, expected(sent));
        assert!(!report.audit.examples.is_empty(), "{fault}");
    }
}

/// A fault that sets in while the run lasts.
struct Onset {
    fault: &'static str,
    /// What the run has in other numbers.
    changes: &'static [(&'static str, &'static str)],
    /// What comes behind its traffic.
    more: &'static str,
    /// The deliveries that it takes.
    lost: fn(&Report) -> u64,
}

/// A break in which nothing is sent, and then messages as before it. What happens to connections does
/// so in the break, well after the first messages and well before the others.
const BREAK: &str = "
[[phases]]
name = 'break'
duration = '3s'
load = 0
counted = false
[[phases]]
name = 'after'
duration = '1s'
";

fn sent_after_the_break(report: &Report) -> u64 {
    let after = report.phases.iter().find(|phase| phase.name == "after");
    let sent = after.map_or(0, |phase| phase.sent);
    assert!(sent > 60, "{sent} messages after the break are too few");
    sent
}

const ONSETS: &[Onset] = &[
    Onset {
        fault: "leavers-silence",
        // Five daemons of each account leave, which is one for each that the fault waits for.
        changes: &[("sessions = 4", "sessions = 4\nmachines = 10")],
        more: "[[herd]]\nat = '3500ms'\nfrom = ['machine']\nback-after = '1m'",
        lost: |report| sent_after_the_break(report) * USERS,
    },
    Onset {
        fault: "return-deaf",
        changes: &[],
        // One of each account's two apps.
        more: "[[herd]]\nat = '3500ms'\nfrom = ['user']\nshare = 0.5\nback-after = '200ms'",
        lost: sent_after_the_break,
    },
    Onset {
        fault: "flood-silence",
        // One agent, which sends nothing but messages.
        changes: &[
            ("accounts = 2", "accounts = 1"),
            ("users = 4", "users = 2"),
            ("sessions = 4", "sessions = 1"),
            ("every = '50ms'", "every = '1700us'"),
        ],
        more: "",
        lost: |report| (report.generator.sent - 1_000) * USERS,
    },
    Onset {
        fault: "buffer-full",
        // With 50 messages there are not yet more than five million bytes, with 51 there are.
        changes: &[
            ("accounts = 2", "accounts = 1"),
            ("users = 4", "users = 2"),
            ("sessions = 4", "sessions = 2"),
            ("timing =", "size = 99_000\ntiming ="),
        ],
        more: "",
        lost: |report| (report.generator.sent - 51) * USERS,
    },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_finds_what_sets_in_during_the_run() {
    let runs = ONSETS.iter().map(|onset| async move {
        let mut scenario = MESSAGES.to_owned() + BREAK + onset.more;
        for (from, to) in onset.changes {
            scenario = scenario.replace(from, to);
        }
        let server = server(&[onset.fault]).await;
        let report = load(server, &scenario).await;
        (onset, report)
    });
    for (onset, report) in futures_util::future::join_all(runs).await {
        let right = right(report.generator.sent);
        let lost = (onset.lost)(&report);
        let expected = Counts {
            delivered: right.expected - lost,
            lost,
            ..right
        };
        check(onset.fault, &report, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_finds_nothing_where_nothing_is_wrong() {
    let server = server(&[]).await;
    let report = load(server, MESSAGES).await;
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
    let report = load(server, &scenario).await;
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
        let report = load(server, &scenario).await;
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
    let report = load(server, &scenario).await;
    let deliveries = report.generator.sent * USERS;
    let expected = Counts {
        expected: deliveries,
        delivered: deliveries,
        misrouted: deliveries,
        ..Counts::default()
    };
    assert_eq!(report.audit.volatile, expected);
}
