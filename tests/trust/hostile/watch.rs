//! What `touchstone watch` shows of servers that do their worst: it listens on, within bounds, and says
//! what it has met.

use super::worst::{each, event, huge, is_welcome, large_event};
use super::{Row, check, without_accounts};
use crate::frames::{BINARY, TEXT, frame};
use crate::rogue::{Do, Rogue};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watching_a_hostile_server_ends_in_time() {
    check("watch", rows).await;
}

/// How it is watched.
const ARGUMENTS: [&str; 3] = ["--headless", "--for", "3s"];

/// A server that sends this behind its welcome.
fn welcomes_with(rogue: Rogue, bytes: Vec<u8>) -> Rogue {
    rogue.texts(each(is_welcome, move || {
        vec![Do::Pass, Do::Send(bytes.clone())]
    }))
}

fn rows(rogue: &dyn Fn() -> Rogue) -> Vec<Row> {
    let row = |what, rogue, codes, told| Row {
        what,
        rogue,
        arguments: ARGUMENTS.to_vec(),
        codes,
        told,
    };
    let mut rows = Vec::from(without_accounts(rogue, &ARGUMENTS));
    rows.extend([
        row(
            "accepts a WebSocket and hangs",
            rogue().texts(|_| vec![Do::Hang]),
            &[3],
            &["cannot watch"],
        ),
        row(
            "admits and closes",
            rogue().texts(each(is_welcome, || vec![Do::Pass, Do::Close])),
            &[0],
            &["lost", "gap", "end of stream"],
        ),
        row(
            "sends garbage at once",
            rogue().texts(|_| vec![Do::Send(frame(TEXT, b"!")), Do::Pass]),
            &[3],
            &["cannot watch", "is not an Engine.IO 4 endpoint"],
        ),
        row(
            "sends bytes that are no frame",
            welcomes_with(rogue(), vec![0xff; 64]),
            &[0],
            &["lost", "gap", "invalid opcode"],
        ),
        row(
            "sends no UTF-8",
            welcomes_with(rogue(), frame(TEXT, b"42[\"\xff\xfe\"]")),
            &[0],
            &["lost", "gap", "UTF-8"],
        ),
        row(
            "sends no JSON",
            welcomes_with(rogue(), frame(TEXT, b"42[\"unfinished")),
            &[0],
            &["lost", "gap", "cannot parse packet"],
        ),
        row(
            "sends an attachment of nothing",
            welcomes_with(rogue(), frame(BINARY, b"an attachment of nothing")),
            &[0],
            &["lost", "gap", "24 bytes of binary"],
        ),
        row(
            "sends control characters",
            welcomes_with(
                rogue(),
                frame(
                    TEXT,
                    b"42[\"\x1b[2J\xe2\x80\xae\",\"\\u001b]0;owned\\u0007\"]",
                ),
            ),
            &[0],
            &["lost", "gap", "cannot parse packet"],
        ),
        row(
            "sends an event without arguments",
            welcomes_with(rogue(), frame(TEXT, b"42[\"update\"]")),
            &[0],
            &["!MUST update.envelope"],
        ),
        row(
            "sends an event that is nested too deeply",
            welcomes_with(
                rogue(),
                frame(
                    TEXT,
                    &[
                        b"42[\"update\",",
                        &[b'['; 100_000][..],
                        &[b']'; 100_000][..],
                        b"]",
                    ]
                    .concat(),
                ),
            ),
            &[0],
            &["update     update"],
        ),
        row(
            "floods with events",
            rogue().texts(each(is_welcome, || vec![Do::Pass, Do::Flood(event())])),
            &[0],
            &["ephemeral  activity"],
        ),
        row(
            "floods with large events",
            rogue().texts(each(is_welcome, || {
                vec![Do::Pass, Do::Flood(large_event())]
            })),
            &[0],
            &["!unknown-type: x"],
        ),
        row(
            "sends 1 GB in one message",
            rogue().texts(each(is_welcome, huge)),
            &[3],
            &["cannot watch", "1073741824"],
        ),
    ]);
    rows
}
