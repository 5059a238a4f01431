//! A scripted run with fixed times, for the tests of the renderers.

use std::{
    io::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;

use crate::{
    event::{
        CaseReport, Dialect, Direction, DoctorReport, GONE_BEFORE, GONE_DURING, Reporter,
        RequirementReport, RunEvent, RunReport, StaleEntry, Summary, TargetSummary, TraceLine,
    },
    focus::{Focus, Part},
    ledger::{Basis, Level, Requirement},
    verdict::{Finding, Verdict},
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

pub(crate) fn case(
    id: &'static str,
    verdict: Verdict,
    requirement: &'static Requirement,
) -> CaseReport {
    CaseReport {
        id,
        level: requirement.level,
        verdict,
        requirements: vec![requirement],
        findings: Vec::new(),
        reason: None,
        notes: Vec::new(),
        duration: Duration::from_millis(12),
        stalled: Duration::ZERO,
        flaky: false,
        known: None,
        reproduce: format!("touchstone check http://127.0.0.1:3006 --only '{id}' --seed 7"),
        trace: Vec::new(),
        recording: None,
        typical_cause: None,
        blocked_by: None,
        trace_file: None,
        nodes: Vec::new(),
    }
}

fn broken(requirement: &'static Requirement, expected: &str, actual: &str) -> Vec<Finding> {
    vec![Finding::broken(requirement, expected.into(), actual.into())]
}

/// A small run that has one case of each verdict.
pub(crate) fn report() -> RunReport {
    let target = TargetSummary {
        name: "http://127.0.0.1:3006".into(),
        urls: vec!["http://127.0.0.1:3006".into()],
        path: "/v1/updates".into(),
        provision: "rest".into(),
        missing: vec!["no access keys: POST /v1/access-keys answers 404".into()],
    };
    let cases = vec![
        CaseReport {
            findings: vec![Finding::held(&MISMATCH)],
            ..case("handshake.user-scoped", Verdict::Pass, &MISMATCH)
        },
        CaseReport {
            findings: vec![Finding {
                focus: vec![
                    Focus {
                        line: 0,
                        part: Part::Cause,
                    },
                    Focus {
                        line: 1,
                        part: Part::Wrong,
                    },
                ],
                ..broken(
                    &MISMATCH,
                    r#"{"result":"version-mismatch","version":3}"#,
                    r#"{"result":"success","version":4}"#,
                )
                .remove(0)
            }],
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
            typical_cause: Some(
                "the version is compared with `<`, or not at all; the answer is built from the \
                 request"
                    .into(),
            ),
            ..case("session.update-metadata.stale", Verdict::Fail, &MISMATCH)
        },
        CaseReport {
            findings: broken(&MISMATCH, "an answer", "none"),
            known: Some("fixed by the next release".into()),
            ..case("session.known", Verdict::Fail, &MISMATCH)
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
    RunReport {
        target,
        started_at: 1_700_000_000_000,
        duration: Duration::from_millis(1_234),
        seed: 7,
        summary: Summary::of(&cases, 1, false),
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
        cases,
        dialect,
        suspect: None,
        stale: vec![StaleEntry {
            file: "known.toml".into(),
            line: 12,
            case: "session.old".into(),
            why: "it no longer fails".into(),
        }],
    }
}

/// A run that judged next to nothing, and broke nothing.
pub(crate) fn hardly() -> RunReport {
    let skipped = |id| CaseReport {
        reason: Some("no access keys: POST /v1/access-keys answers 404".into()),
        ..case(id, Verdict::Skip, &MISMATCH)
    };
    let mut cases = vec![case("handshake.user-scoped", Verdict::Pass, &MISMATCH)];
    cases.extend(["access-key.get"; 10].map(skipped));
    RunReport {
        summary: Summary::of(&cases, 0, false),
        cases,
        stale: Vec::new(),
        ..report()
    }
}

/// The events of [`report`].
pub(crate) fn events() -> Vec<RunEvent> {
    of_run(report())
}

/// A run whose server went away: it has nothing of its own to say about most cases.
pub(crate) fn gone() -> RunReport {
    let cases = vec![
        case("handshake.user-scoped", Verdict::Pass, &MISMATCH),
        CaseReport {
            reason: Some(format!(
                "{GONE_DURING}: no answer to update-state within 5 s"
            )),
            trace: report().cases[1].trace.clone(),
            ..case("session.update-state", Verdict::Error, &MISMATCH)
        },
        CaseReport {
            reason: Some(GONE_DURING.into()),
            ..case("session.seq", Verdict::Error, &SEQ)
        },
        CaseReport {
            reason: Some(GONE_BEFORE.into()),
            ..case("rpc.call", Verdict::Blocked, &MISMATCH)
        },
        CaseReport {
            reason: Some(GONE_BEFORE.into()),
            ..case("rpc.hazard", Verdict::Blocked, &MISMATCH)
        },
    ];
    RunReport {
        summary: Summary::of(&cases, 0, false),
        requirements: Vec::new(),
        cases,
        dialect: Dialect::default(),
        suspect: Some("rpc-register {\"method\":7}, sent by session.seq".into()),
        stale: Vec::new(),
        ..report()
    }
}

/// What a server may say to harm who reads it: markup, quotes, orders to terminals and to a CI.
pub(crate) const HOSTILE: &str = "<script>alert(1)</script>\"'&]]>\u{1b}[2J\u{7}\u{0}\u{9b}31m\u{202e}|\r\n::error::`````\n## owned\n::set-env name=A::B";

/// The run of a server that says the same wherever it can.
fn saying(said: &str) -> RunReport {
    let mut run = report();
    for case in &mut run.cases {
        for finding in &mut case.findings {
            if let Some(broken) = &mut finding.broken {
                broken.expected = said.into();
                broken.actual = said.into();
            }
        }
        for text in case
            .reason
            .iter_mut()
            .chain(&mut case.notes)
            .chain(&mut case.known)
        {
            *text = said.into();
        }
        for line in &mut case.trace {
            line.text = said.into();
        }
    }
    run.target.missing = vec![said.into()];
    run.suspect = Some(said.into());
    run.dialect.note("handshake.refusal", json!(said));
    run.dialect.note("recipients", json!({ said: [said] }));
    for stale in &mut run.stale {
        stale.file = said.into();
        stale.case = said.into();
    }
    run
}

/// The events of a run that ended in `run`.
pub(crate) fn of_run(run: RunReport) -> Vec<RunEvent> {
    let cases = run.cases.clone();
    let target = run.target.clone();
    let mut events = vec![RunEvent::Started {
        doctor: DoctorReport {
            token: "a token".into(),
            target,
            missing: Vec::new(),
            ping: Some(Duration::from_millis(1)),
            heartbeat: Duration::from_secs(60),
        },
        selected: cases.len(),
        slow: Duration::from_secs(60),
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
        suspect: None,
        output: vec!["TypeError: method is not a string".into()],
        restarting: false,
    });
    events.push(RunEvent::Finished(Box::new(run)));
    events
}

/// What a renderer makes of `events`.
pub(crate) fn render_events<R: Reporter>(
    events: &[RunEvent],
    new: impl FnOnce(Shared) -> R,
) -> String {
    let out = Shared::default();
    let mut report = new(out.clone());
    for event in events {
        report.event(event).unwrap();
    }
    drop(report);
    String::from_utf8(std::mem::take(&mut *out.0.lock().unwrap())).unwrap()
}

/// What a renderer makes of [`events`].
pub(crate) fn render<R: Reporter>(new: impl FnOnce(Shared) -> R) -> String {
    render_events(&events(), new)
}

/// What a renderer makes of a server that says [`HOSTILE`] wherever it can. It holds no character that a
/// terminal obeys.
pub(crate) fn render_hostile<R: Reporter>(new: impl FnOnce(Shared) -> R) -> String {
    let text = render_saying(HOSTILE, new);
    let order = text
        .chars()
        .find(|&c| (c.is_control() && c != '\n') || c == '\u{202e}');
    assert_eq!(order, None, "{text:?}");
    text
}

/// The same with a server that says nothing special.
pub(crate) fn render_benign<R: Reporter>(new: impl FnOnce(Shared) -> R) -> String {
    render_saying("hello", new)
}

fn render_saying<R: Reporter>(said: &str, new: impl FnOnce(Shared) -> R) -> String {
    let mut events = of_run(saying(said));
    events.insert(
        1,
        RunEvent::ServerDied {
            during: vec!["rpc.hazard"],
            suspect: Some(said.into()),
            output: vec![said.into()],
            restarting: true,
        },
    );
    render_events(&events, new)
}

/// A place to write to that can be read afterwards.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
