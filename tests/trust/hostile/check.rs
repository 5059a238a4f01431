//! What `touchstone check` makes of servers that do their worst.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::worst::{
    each, event, from, garbage, huge, internal_error, is_message, is_welcome, large_event,
};
use super::{Row, check, without_accounts};
use crate::frames::{TEXT, frame};
use crate::rogue::{Do, Rogue};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_of_a_hostile_server_ends_in_a_clear_report() {
    check("check", rows).await;
}

/// The arguments that select some cases.
fn only(cases: &'static str) -> Vec<&'static str> {
    vec!["--only", cases, "--no-slow", "--rpc-timeout", "2s"]
}

fn rows(rogue: &dyn Fn() -> Rogue) -> Vec<Row> {
    let mut rows = Vec::from(without_accounts(rogue, &only("message.*")));
    rows.extend([
        Row {
            what: "accepts a WebSocket and hangs",
            rogue: rogue().texts(|_| vec![Do::Hang]),
            arguments: only("message.*"),
            codes: &[3],
            told: &["says nothing"],
        },
        Row {
            what: "admits and hangs",
            rogue: rogue().texts(each(is_message, || vec![Do::Hang])),
            arguments: only("message.*"),
            codes: &[3],
            told: &["admits a connection", "nothing received for"],
        },
        Row {
            // Its pings go unanswered before it counts as gone, or a little later.
            what: "hangs after its first answers",
            rogue: rogue().texts(from(4, is_message, || vec![Do::Hang])),
            arguments: only("message.*"),
            codes: &[10, 12],
            told: &["ping"],
        },
        Row {
            what: "closes after each event",
            rogue: rogue().texts(each(is_message, || vec![Do::Pass, Do::Close])),
            arguments: only("message.*"),
            codes: &[10],
            told: &["connection.stays-open", "ended"],
        },
        Row {
            what: "sends garbage at once",
            rogue: rogue().texts(|_| vec![Do::Send(frame(TEXT, b"!")), Do::Pass]),
            arguments: only("message.*"),
            codes: &[3],
            told: &["handshake"],
        },
        Row {
            what: "sends garbage behind each event",
            rogue: rogue().texts(garbage()),
            arguments: only("message.*"),
            codes: &[10],
            told: &["connection.valid-packets"],
        },
        Row {
            what: "sends an empty packet behind each event",
            rogue: rogue().texts(from(6, is_message, || {
                vec![Do::Pass, Do::Send(frame(TEXT, b""))]
            })),
            arguments: only("message.*"),
            codes: &[10],
            told: &["connection.valid-packets", "cannot parse packet"],
        },
        Row {
            what: "answers acks twice",
            rogue: rogue().texts(|text| match text.starts_with("43") {
                true => vec![Do::Pass, Do::Pass],
                false => vec![Do::Pass],
            }),
            arguments: only("handler.*"),
            // Wrong, but harmless to most clients: a warning.
            codes: &[0],
            told: &["handler.acknowledged-once"],
        },
        Row {
            what: "floods with events",
            rogue: rogue().texts(each(is_welcome, || vec![Do::Pass, Do::Flood(event())])),
            arguments: only("message.recipients"),
            // It may end a connection before that has received enough to be called flooded.
            codes: &[10, 12],
            told: &["message.recipients"],
        },
        Row {
            what: "floods with large events",
            rogue: rogue().texts(each(is_welcome, || {
                vec![Do::Pass, Do::Flood(large_event())]
            })),
            arguments: only("message.recipients"),
            codes: &[10, 12],
            told: &["message.recipients"],
        },
        Row {
            what: "sends 1 GB in one message at once",
            rogue: rogue().texts(each(is_welcome, huge)),
            arguments: only("message.*"),
            codes: &[3],
            told: &["1073741824"],
        },
        Row {
            what: "sends 1 GB in one message later",
            rogue: rogue().texts(from(4, is_message, huge)),
            arguments: only("message.*"),
            codes: &[10],
            told: &["connection.stays-open", "1073741824"],
        },
        Row {
            what: "answers requests with HTTP 500 after a while",
            rogue: {
                let auths = AtomicUsize::new(0);
                rogue().requests(move |request| {
                    let auth = request.line.starts_with("POST /v1/auth ");
                    (auth && auths.fetch_add(1, Ordering::SeqCst) > 0).then(internal_error)
                })
            },
            arguments: only("message.*"),
            codes: &[12],
            told: &["/v1/auth", "500"],
        },
    ]);
    rows
}
