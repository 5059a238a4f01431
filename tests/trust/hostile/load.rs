//! What `touchstone load` makes of servers that do their worst.

use super::worst::{each, event, from, garbage, huge, is_message, is_welcome, large_event};
use super::{Row, check, without_accounts};
use crate::frames::{TEXT, frame};
use crate::rogue::{Do, Rogue};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_on_a_hostile_server_ends_in_a_clear_report() {
    check("load", rows).await;
}

/// The scenario.
const SCENARIO: [&str; 2] = [
    "--scenario",
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/trust/hostile/load.toml"),
];

fn rows(rogue: &dyn Fn() -> Rogue) -> Vec<Row> {
    let row = |what, rogue, codes, told| Row {
        what,
        rogue,
        arguments: SCENARIO.to_vec(),
        codes,
        told,
    };
    let mut rows = Vec::from(without_accounts(rogue, &SCENARIO));
    rows.extend([
        row(
            "accepts a WebSocket and hangs",
            rogue().texts(|_| vec![Do::Hang]),
            &[3],
            &["no answer within 2s", "Engine.IO handshake"],
        ),
        row(
            "admits and hangs",
            rogue().texts(each(is_message, || vec![Do::Hang])),
            &[3],
            &["FAILED: the server ended"],
        ),
        row(
            "hangs after its first answers",
            rogue().texts(from(20, is_message, || vec![Do::Hang])),
            &[3],
            &["FAILED: the server ended"],
        ),
        row(
            "closes after each event",
            rogue().texts(each(is_message, || vec![Do::Pass, Do::Close])),
            &[3],
            &["FAILED: ", "transport closed by the server"],
        ),
        row(
            "sends garbage at once",
            rogue().texts(|_| vec![Do::Send(frame(TEXT, b"!")), Do::Pass]),
            &[3],
            &["is not an Engine.IO 4 endpoint"],
        ),
        row(
            "sends garbage behind each event",
            rogue().texts(garbage()),
            &[3],
            &["FAILED: ", "cannot parse packet"],
        ),
        row(
            // Every delivery is right, and the errors say what else was seen.
            "answers acks twice",
            rogue().texts(|text| match text.starts_with("43") {
                true => vec![Do::Pass, Do::Pass],
                false => vec![Do::Pass],
            }),
            &[0],
            &["an ack that nobody waits for"],
        ),
        row(
            // What the scenario sends arrives among the flood, if in time; heartbeats may be too late.
            "floods with events",
            rogue().texts(each(is_welcome, || vec![Do::Pass, Do::Flood(event())])),
            &[0, 3, 20, 21],
            &["deliveries"],
        ),
        row(
            "floods with large events",
            rogue().texts(each(is_welcome, || {
                vec![Do::Pass, Do::Flood(large_event())]
            })),
            &[3, 20, 21],
            &["deliveries"],
        ),
        row(
            "sends 1 GB in one message at once",
            rogue().texts(each(is_welcome, huge)),
            &[3],
            &["1073741824"],
        ),
        row(
            "sends 1 GB in one message later",
            rogue().texts(from(20, is_message, huge)),
            &[3],
            &["FAILED: ", "1073741824"],
        ),
    ]);
    rows
}
