//! A report as a run could have written it, for the tests of everything that renders one.

use std::collections::BTreeMap;

use serde_json::json;

use super::model::*;
use super::packed::{Packed, histogram};

/// `count` values from `from`, with the given distance.
pub(crate) fn packed(from: u64, step: u64, count: u64) -> Packed {
    let mut all = histogram();
    for at in 0..count {
        all.saturating_record(from + at * step);
    }
    Packed::of(&all)
}

fn pair(from: u64, step: u64, count: u64) -> Pair {
    Pair {
        latency: packed(from, step, count),
        naive: packed(from / 2, step, count),
    }
}

fn arrived(count: u64) -> Counts {
    Counts {
        expected: count,
        delivered: count,
        ..Counts::default()
    }
}

/// A small run in which all went well.
pub(crate) fn sample() -> Report {
    let event = |volatile, count| EventReport {
        volatile,
        audit: arrived(count),
        ..EventReport::default()
    };
    let mut report = Report {
        format: FORMAT.to_owned(),
        version: VERSION,
        touchstone: "0.0.0".to_owned(),
        target: Target {
            name: "the embedded reference server".to_owned(),
            urls: vec!["http://127.0.0.1:40000/".to_owned()],
            path: "/v1/updates".to_owned(),
            recipients: Recipients::Narrow,
            recipients_basis: Basis::Measured,
            wide_events: Vec::new(),
        },
        started_at: 1_750_000_000_000,
        duration_ms: 6_120,
        seed: 42,
        scenario: Scenario {
            name: "production".to_owned(),
            digest: "c0ffee".repeat(11)[..64].to_owned(),
            scale: 0.01,
        },
        schedule: Schedule {
            digest: "5eed".repeat(16),
            accounts: 4,
            connections: 240,
            emits: 1_700,
            deliveries: 4_200,
            duration_ms: 6_000,
        },
        shard: Shard::whole(),
        interrupted: false,
        failure: None,
        audit: Audit {
            counts: Counts {
                uncertain: 3,
                late: 1,
                ..arrived(3_000)
            },
            late_bound_us: 1_000_000,
            volatile: arrived(1_200),
            examples: Vec::new(),
        },
        latency_us: Kinds::default(),
        naive_us: Kinds::default(),
        events: BTreeMap::from([
            ("new-message".to_owned(), event(false, 2_000)),
            ("update-session".to_owned(), event(false, 1_000)),
            ("activity".to_owned(), event(true, 1_200)),
        ]),
        answers: BTreeMap::from([(
            "update-state".to_owned(),
            BTreeMap::from([
                ("success".to_owned(), 180),
                ("version-mismatch".to_owned(), 20),
            ]),
        )]),
        connections: Connections {
            planned: 250,
            opened: 250,
            failed: 0,
            closed: 10,
            dropped: 0,
            peak: 240,
            registered: 0,
            ready_ms: 0,
        },
        errors: BTreeMap::new(),
        generator: Generator {
            planned: 1_700,
            sent: 1_700,
            unsent: 0,
            lag_p99_us: 0,
            lag_us: Summary::default(),
            cpu_seconds: 2.31,
            cpu_share: 0.19,
            machine_share: 0.43,
            workers: 2,
            max_rss_bytes: 41_300_000,
            open_files: 262,
            open_files_limit: 65_536,
            hosts: vec![Host {
                name: "bench-1".to_owned(),
                system: "Linux 6.12.0".to_owned(),
                processor: "Example CPU 3000".to_owned(),
                cores: 2,
                clock: "monotonic, 1 ns".to_owned(),
            }],
            valid: true,
            reason: None,
        },
        slo: vec![
            SloResult {
                expression: "audit.lost == 0".to_owned(),
                value: BTreeMap::from([("audit.lost".to_owned(), json!(0))]),
                ok: true,
            },
            SloResult {
                expression: "latencyUs.fanout.p99 < 80000".to_owned(),
                value: BTreeMap::from([("latencyUs.fanout.p99".to_owned(), json!(7_943))]),
                ok: true,
            },
        ],
        phases: vec![
            phase("warm-up", 0, 1_000, false),
            phase("steady", 1_000, 5_000, true),
        ],
        series: (0..6).map(second).collect(),
        repeats: Vec::new(),
        histograms: Histograms {
            kinds: Kinds {
                fanout: pair(400, 2, 3_000),
                ack: pair(300, 5, 200),
                rpc: pair(900, 9, 90),
                callee: pair(20_000, 700, 90),
                connect: pair(1_500, 40, 250),
            },
            events: BTreeMap::from([
                ("new-message".to_owned(), pair(400, 3, 2_000)),
                ("update-session".to_owned(), pair(450, 2, 1_000)),
                ("activity".to_owned(), pair(380, 1, 1_200)),
            ]),
            lag: packed(10, 1, 1_700),
        },
    };
    report.summarize();
    report
}

fn phase(name: &str, start_ms: u64, duration_ms: u64, counted: bool) -> Phase {
    Phase {
        name: name.to_owned(),
        start_ms,
        duration_ms,
        planned_ms: duration_ms,
        counted,
        connections: 240,
        planned: duration_ms / 3,
        sent: duration_ms / 3,
        delivered: duration_ms * 3 / 5,
        lost: 0,
        planned_per_second: 0.0,
        sent_per_second: 0.0,
        delivered_per_second: 0.0,
        latency_us: Summary::default(),
        histogram: packed(400, 2, duration_ms * 3 / 5),
    }
}

fn second(second: u32) -> Second {
    let at = u64::from(second);
    Second {
        second,
        connections: 120 + 24 * at,
        planned: 280,
        sent: 280 - at % 2,
        delivered: 690 + 10 * at,
        latency_us: Summary::default(),
        histogram: packed(400 + 50 * at, 2, 690 + 10 * at),
    }
}

/// A run in which everything went wrong that can.
pub(crate) fn broken() -> Report {
    let mut report = sample();
    report.audit.counts = Counts {
        expected: 3_000,
        delivered: 2_990,
        late: 7,
        lost: 10,
        duplicated: 4,
        reordered: 2,
        misrouted: 1,
        uncertain: 3,
        untraced: 2,
    };
    report.audit.volatile.lost = 30;
    report.audit.volatile.delivered -= 30;
    let wrong = |outcome, event: &str, recipient: &str| Example {
        outcome,
        event: event.to_owned(),
        sender: "account 1, session 3".to_owned(),
        recipient: recipient.to_owned(),
        sequence: 12,
        planned_us: 2_345_678,
    };
    report.audit.examples = vec![
        wrong(Outcome::Lost, "new-message", "account 1, user 0"),
        wrong(Outcome::Duplicated, "update-session", "account 1, user 0"),
        wrong(Outcome::Misrouted, "new-message", "account 2, user 1"),
    ];
    report.connections.dropped = 6;
    report.connections.failed = 2;
    report
        .errors
        .insert("CONNECT refused: \u{1b}[31mno <b>room</b>".to_owned(), 2);
    report.generator.unsent = 14;
    report.generator.sent -= 14;
    report.slo[0].ok = false;
    report.slo[0]
        .value
        .insert("audit.lost".to_owned(), json!(10));
    report
}
