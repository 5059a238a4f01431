//! Servers that do their worst. Each ends in a report that says what is wrong, with the exit code of
//! the README, in bounded time and memory.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;

use crate::embedded::{self, Embedded};
use crate::frames::{BINARY, TEXT, frame, header};
use crate::judge::judge;
use crate::rogue::{Do, Rogue};

const GIB: u64 = 1 << 30;
const MIB: usize = 1 << 20;

/// A hostile server, and what the program has to make of it.
struct Row {
    what: &'static str,
    rogue: Rogue,
    /// The cases that are run: enough to meet the fault, few enough to be quick.
    only: &'static str,
    /// The exit code; where it depends on which case meets the fault first, all that are right.
    codes: &'static [i32],
    /// What the user has to be told, on stdout or stderr.
    told: &'static [&'static str],
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_servers_end_in_a_clear_report() {
    let server = Embedded::start(embedded::quick()).await.expect("a server");
    let url = server.url().as_str().trim_end_matches('/');
    let address = url
        .strip_prefix("http://")
        .expect("a URL")
        .parse()
        .expect("an address");
    let mut runs = JoinSet::new();
    for row in rows(|| Rogue::before(address)) {
        runs.spawn(problem(row));
    }
    let problems: Vec<String> = runs.join_all().await.into_iter().flatten().collect();
    server.stop().await.expect("the server ends");
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
}

/// What is wrong with the run on the server of `row`, if anything.
async fn problem(row: Row) -> Option<String> {
    let rogue = row.rogue.start().await;
    let arguments = ["--only", row.only, "--no-slow", "--rpc-timeout", "2s"];
    let ran = match judge(&rogue.url, &arguments).await {
        Ok(ran) => ran,
        Err(problem) => return Some(format!("{}: {problem}", row.what)),
    };
    let text = format!("{}{}", ran.stdout, ran.stderr);
    let missing = row.told.iter().find(|part| !text.contains(*part));
    match (ran.code, missing) {
        (code, _) if !code.is_some_and(|code| row.codes.contains(&code)) => Some(format!(
            "{}: exit {code:?}, not {:?}\n{text}",
            row.what, row.codes
        )),
        (_, Some(part)) => Some(format!("{}: no {part:?} in\n{text}", row.what)),
        (_, None) => None,
    }
}

/// Whether a frame is an event or an ack, and not a part of the handshake or a heartbeat.
fn is_message(text: &str) -> bool {
    text.starts_with("42") || text.starts_with("43")
}

fn is_welcome(text: &str) -> bool {
    text.starts_with("40")
}

fn rows(rogue: impl Fn() -> Rogue) -> Vec<Row> {
    let event = frame(
        TEXT,
        br#"42["ephemeral",{"type":"activity","id":"flood","active":true}]"#,
    );
    let large = frame(
        TEXT,
        &[
            &br#"42["ephemeral",{"type":""#[..],
            &vec![b'x'; MIB],
            br#""}]"#,
        ]
        .concat(),
    );
    let huge = || {
        vec![
            Do::Send(header(TEXT, GIB)),
            Do::Repeat(vec![b'x'; MIB], GIB >> 20),
        ]
    };
    vec![
        Row {
            what: "accepts a WebSocket and hangs",
            rogue: rogue().texts(|_| vec![Do::Hang]),
            only: "message.*",
            codes: &[3],
            told: &["says nothing"],
        },
        Row {
            what: "admits and hangs",
            rogue: rogue().texts(|text| match is_message(text) {
                true => vec![Do::Hang],
                false => vec![Do::Pass],
            }),
            only: "message.*",
            codes: &[3],
            told: &["admits a connection", "nothing received for"],
        },
        Row {
            what: "hangs after its first answers",
            rogue: rogue().texts(from(4, is_message, || vec![Do::Hang])),
            only: "message.*",
            codes: &[10],
            told: &["connection.stays-open", "ping timeout"],
        },
        Row {
            what: "closes after each event",
            rogue: rogue().texts(|text| match is_message(text) {
                true => vec![Do::Pass, Do::Close],
                false => vec![Do::Pass],
            }),
            only: "message.*",
            codes: &[10],
            told: &["connection.stays-open", "ended"],
        },
        Row {
            what: "sends garbage at once",
            rogue: rogue().texts(|_| vec![Do::Send(frame(TEXT, b"!")), Do::Pass]),
            only: "message.*",
            codes: &[3],
            told: &["handshake"],
        },
        Row {
            what: "sends garbage behind each event",
            rogue: rogue().texts(garbage()),
            only: "message.*",
            codes: &[10],
            told: &["connection.stays-open"],
        },
        Row {
            what: "answers acks twice",
            rogue: rogue().texts(|text| match text.starts_with("43") {
                true => vec![Do::Pass, Do::Pass],
                false => vec![Do::Pass],
            }),
            only: "handler.*",
            // Wrong, but harmless to most clients: a warning.
            codes: &[0],
            told: &["handler.acknowledged-once"],
        },
        Row {
            what: "floods with events",
            rogue: rogue().texts(move |text| match is_welcome(text) {
                true => vec![Do::Pass, Do::Flood(event.clone())],
                false => vec![Do::Pass],
            }),
            only: "message.recipients",
            // It may end a connection before that has received enough to be called flooded.
            codes: &[10, 12],
            told: &["message.recipients"],
        },
        Row {
            what: "floods with large events",
            rogue: rogue().texts(move |text| match is_welcome(text) {
                true => vec![Do::Pass, Do::Flood(large.clone())],
                false => vec![Do::Pass],
            }),
            only: "message.recipients",
            codes: &[10, 12],
            told: &["message.recipients"],
        },
        Row {
            what: "sends 1 GB in one message at once",
            rogue: rogue().texts(move |text| match is_welcome(text) {
                true => huge(),
                false => vec![Do::Pass],
            }),
            only: "message.*",
            codes: &[3],
            told: &["1073741824"],
        },
        Row {
            what: "sends 1 GB in one message later",
            rogue: rogue().texts(from(4, is_message, huge)),
            only: "message.*",
            codes: &[10],
            told: &["connection.stays-open", "1073741824"],
        },
        Row {
            what: "sends 1 GB as the answer to a request",
            rogue: rogue().requests(|request| {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {GIB}\r\n\r\n");
                let body = Do::Repeat(vec![b' '; MIB], GIB >> 20);
                (!request.upgrade).then(|| vec![Do::Send(head.into_bytes()), body])
            }),
            only: "message.*",
            codes: &[3],
            told: &["/v1/auth", "1073741824"],
        },
        Row {
            what: "answers all requests with HTTP 500",
            rogue: rogue().requests(|request| (!request.upgrade).then(internal_error)),
            only: "message.*",
            codes: &[3],
            told: &["/v1/auth", "500"],
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
            only: "message.*",
            codes: &[12],
            told: &["/v1/auth", "500"],
        },
        Row {
            what: "closes each request without an answer",
            rogue: rogue().requests(|request| (!request.upgrade).then(|| vec![Do::Close])),
            only: "message.*",
            codes: &[3],
            told: &["/v1/auth"],
        },
    ]
}

/// Lets the first texts for which `counts` pass, and then does its worst with each of them.
fn from(
    first: usize,
    counts: fn(&str) -> bool,
    worst: impl Fn() -> Vec<Do> + Send + Sync + 'static,
) -> impl Fn(&str) -> Vec<Do> + Send + Sync + 'static {
    let seen = AtomicUsize::new(0);
    move |text| match counts(text) && seen.fetch_add(1, Ordering::SeqCst) >= first {
        true => worst(),
        false => vec![Do::Pass],
    }
}

/// Nonsense of one layer after the other: framing, text, Engine.IO, Socket.IO, JSON.
fn garbage() -> impl Fn(&str) -> Vec<Do> + Send + Sync + 'static {
    let kinds = [
        frame(0x0b, b"a reserved opcode"),
        frame(TEXT, b"42[\"\xff\xfe\"]"),
        frame(BINARY, b"an attachment of nothing"),
        frame(TEXT, b"9?"),
        frame(TEXT, b"4?"),
        frame(TEXT, b"42[\"unfinished"),
        frame(TEXT, b"451-[\"a\",{\"_placeholder\":true,\"num\":9}]"),
        vec![0xff; 64],
    ];
    let next = AtomicUsize::new(0);
    move |text| match is_message(text) {
        true => {
            let kind = next.fetch_add(1, Ordering::SeqCst) % kinds.len();
            vec![Do::Pass, Do::Send(kinds[kind].clone())]
        }
        false => vec![Do::Pass],
    }
}

fn internal_error() -> Vec<Do> {
    let response =
        "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 4\r\nconnection: close\r\n\r\noops";
    vec![Do::Send(response.into())]
}
