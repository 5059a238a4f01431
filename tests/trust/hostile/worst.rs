//! The worst that a server can do, for the tables of all commands.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::frames::{BINARY, TEXT, frame, header};
use crate::rogue::Do;

pub(super) const GIB: u64 = 1 << 30;
const MIB: usize = 1 << 20;

/// Whether a frame is an event or an ack, and not a part of the handshake or a heartbeat.
pub(super) fn is_message(text: &str) -> bool {
    text.starts_with("42") || text.starts_with("43")
}

/// Whether a frame says that a connection is admitted.
pub(super) fn is_welcome(text: &str) -> bool {
    text.starts_with("40")
}

/// Does its worst with each text for which `counts`, and lets all others pass.
pub(super) fn each(
    counts: fn(&str) -> bool,
    worst: impl Fn() -> Vec<Do> + Send + Sync + 'static,
) -> impl Fn(&str) -> Vec<Do> + Send + Sync + 'static {
    from(0, counts, worst)
}

/// Lets the first texts for which `counts` pass, and then does its worst with each of them.
pub(super) fn from(
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
pub(super) fn garbage() -> impl Fn(&str) -> Vec<Do> + Send + Sync + 'static {
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

/// An answer of HTTP 500.
pub(super) fn internal_error() -> Vec<Do> {
    let response =
        "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 4\r\nconnection: close\r\n\r\noops";
    vec![Do::Send(response.into())]
}

/// An event that says nothing new.
pub(super) fn event() -> Vec<u8> {
    frame(
        TEXT,
        br#"42["ephemeral",{"type":"activity","id":"flood","active":true}]"#,
    )
}

/// The same with a type of a megabyte.
pub(super) fn large_event() -> Vec<u8> {
    let large = [
        &br#"42["ephemeral",{"type":""#[..],
        &vec![b'x'; MIB],
        br#""}]"#,
    ];
    frame(TEXT, &large.concat())
}

/// A message of a gigabyte.
pub(super) fn huge() -> Vec<Do> {
    vec![Do::Send(header(TEXT, GIB)), spaces()]
}

/// An answer to a request with a body of a gigabyte.
pub(super) fn huge_answer() -> Vec<Do> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {GIB}\r\n\r\n");
    vec![Do::Send(head.into_bytes()), spaces()]
}

fn spaces() -> Do {
    Do::Repeat(vec![b' '; MIB], GIB >> 20)
}
