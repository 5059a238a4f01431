//! A scripted run with fixed times, for the tests of the renderers.

use std::time::Duration;

use serde_json::json;

use crate::{
    doctor::DoctorReport,
    event::{
        CaseReport, Dialect, Direction, RequirementReport, RunEvent, RunReport, Summary,
        TargetSummary, TraceLine,
    },
    ledger::{Basis, Level, Requirement},
    verdict::{Finding, Mismatch, Verdict},
};

static MISMATCH: Requirement = Requirement {
    id: "session.update-metadata.mismatch",
    level: Level::Must,
    basis: Basis::Specification,
    text: "A stale expectedVersion is answered with the current version.",
};
static SEQ: Requirement = Requirement {
    id: "update.seq.increasing",
    level: Level::Should,
    basis: Basis::Decision,
    text: "The seq of updates increases.",
};

fn case(id: &'static str, verdict: Verdict, requirement: &'static Requirement) -> CaseReport {
    CaseReport {
        id,
        level: requirement.level,
        verdict,
        requirements: vec![requirement],
        findings: Vec::new(),
        reason: None,
        notes: Vec::new(),
        duration: Duration::from_millis(12),
        flaky: false,
        reproduce: format!("touchstone check http://127.0.0.1:3006 --only '{id}' --seed 7"),
        trace: Vec::new(),
        recording: None,
    }
}

fn broken(requirement: &'static Requirement, expected: &str, actual: &str) -> Vec<Finding> {
    vec![Finding {
        requirement,
        broken: Some(Mismatch {
            expected: expected.into(),
            actual: actual.into(),
        }),
    }]
}

/// The events of a small run that has one case of each verdict.
pub(crate) fn events() -> Vec<RunEvent> {
    let target = TargetSummary {
        name: "http://127.0.0.1:3006".into(),
        urls: vec!["http://127.0.0.1:3006".into()],
        path: "/v1/updates".into(),
        provision: "rest".into(),
        missing: vec!["no access keys: POST /v1/access-keys answers 404".into()],
    };
    let cases = vec![
        CaseReport {
            findings: vec![Finding {
                requirement: &MISMATCH,
                broken: None,
            }],
            ..case("handshake.user-scoped", Verdict::Pass, &MISMATCH)
        },
        CaseReport {
            findings: broken(
                &MISMATCH,
                r#"{"result":"version-mismatch","version":3}"#,
                r#"{"result":"success","version":4}"#,
            ),
            notes: vec![
                "silence of m1 rests on a settle window, since no sentinel reached it".into(),
            ],
            trace: vec![
                TraceLine {
                    at_us: 1_250,
                    conn: "u1".into(),
                    dir: Direction::C2s,
                    text: r#"update-metadata #3 {"sid":"c1","expectedVersion":0}"#.into(),
                },
                TraceLine {
                    at_us: 2_900,
                    conn: "u1".into(),
                    dir: Direction::S2c,
                    text: r#"ack #3 {"result":"success","version":4}"#.into(),
                },
                TraceLine {
                    at_us: 3_000,
                    conn: "suite".into(),
                    dir: Direction::Mark,
                    text: "closing everything".into(),
                },
            ],
            ..case("session.update-metadata.stale", Verdict::Fail, &MISMATCH)
        },
        CaseReport {
            findings: broken(&SEQ, "seq above 1", "seq 1 again"),
            ..case("session.seq", Verdict::Warn, &SEQ)
        },
        CaseReport {
            findings: broken(&MISMATCH, "one event", "none within 5 s"),
            flaky: true,
            ..case("session.flaky", Verdict::Warn, &MISMATCH)
        },
        CaseReport {
            notes: vec![
                "silence of m1 rests on a settle window, since no sentinel reached it".into(),
            ],
            ..case("session.trait", Verdict::Info, &SEQ)
        },
        CaseReport {
            reason: Some("no access keys: POST /v1/access-keys answers 404".into()),
            ..case("access-key.get", Verdict::Skip, &MISMATCH)
        },
        CaseReport {
            reason: Some("needs handshake.user-scoped: connection refused".into()),
            ..case("rpc.call", Verdict::Blocked, &MISMATCH)
        },
        CaseReport {
            reason: Some("the server stopped answering".into()),
            ..case("rpc.hazard", Verdict::Error, &MISMATCH)
        },
    ];
    let mut dialect = Dialect::default();
    dialect.note("handshake.refusal", json!("connect-error"));
    dialect.note("handshake.ping-interval-ms", json!(15_000));
    let run = RunReport {
        target: target.clone(),
        started_at: 1_700_000_000_000,
        duration: Duration::from_millis(1_234),
        seed: 7,
        summary: Summary::of(&cases, false),
        requirements: vec![
            RequirementReport {
                requirement: &MISMATCH,
                verdict: Verdict::Fail,
                cases: vec!["session.update-metadata.stale"],
            },
            RequirementReport {
                requirement: &SEQ,
                verdict: Verdict::Warn,
                cases: vec!["session.seq"],
            },
        ],
        cases: cases.clone(),
        dialect,
    };
    let mut events = vec![RunEvent::Started {
        doctor: DoctorReport {
            target,
            missing: Vec::new(),
            ping: Duration::from_millis(1),
        },
        selected: cases.len(),
    }];
    for case in cases {
        events.push(RunEvent::CaseStarted {
            id: case.id,
            alone: false,
        });
        events.push(RunEvent::CaseFinished(Box::new(case)));
    }
    events.push(RunEvent::ServerDied {
        during: vec!["rpc.hazard"],
        output: vec!["TypeError: method is not a string".into()],
        restarting: false,
    });
    events.push(RunEvent::Finished(Box::new(run)));
    events
}
