//! The recorded clients against faulty servers: a server that does otherwise than those that were
//! recorded is reported.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests may panic as tests may"
)]

use tokio::time::Duration;
use touchstone_reference_faults::Faults;
use touchstone_reference_server::Config;

#[path = "../../tests/recorded/mod.rs"]
mod recorded;

use recorded::{DAEMON_NEW, DAEMON_OLD, DEADLINE, IN_VAIN, SESSION_NEW, SESSION_OLD, run};

/// Replays a recording against a server with a fault. The failure begins with `failure`.
async fn check_fault(
    recording: (&'static str, &str),
    fault: &str,
    deadline: Duration,
    failure: &str,
) {
    let config = Faults::parse([fault])
        .unwrap()
        .applied_to(Config::default());
    match run(recording, config, deadline).await {
        Ok(tally) => panic!("{} went well with {fault}: {tally:?}", recording.0),
        Err(got) => assert!(got.to_string().starts_with(failure), "{fault}: {got}"),
    }
}

#[tokio::test]
async fn a_server_that_does_otherwise_is_reported() {
    tokio::join!(
        check_fault(
            SESSION_OLD,
            "echo-to-sender",
            DEADLINE,
            "session-old.jsonl:38 (user message 1): update to phone#1: [0].id: expected <id:u8> to be a new one",
        ),
        check_fault(
            SESSION_OLD,
            "wrong-session",
            DEADLINE,
            "session-old.jsonl:3 (at the end): the observer got update update-session nobody recorded",
        ),
        check_fault(
            SESSION_NEW,
            "wide-artifacts",
            DEADLINE,
            "session-new.jsonl:82 (at the end): daemon#1 got update new-session nobody recorded",
        ),
        check_fault(
            DAEMON_OLD,
            "wide-ephemerals",
            DEADLINE,
            "daemon-old.jsonl:44 (at the end): daemon#1 got ephemeral machine-activity nobody recorded",
        ),
        check_fault(
            SESSION_NEW,
            "user-deaf",
            IN_VAIN,
            "session-new.jsonl:38 (user message 1): phone#1 waits for update new-message: nothing within 4s",
        ),
        check_fault(
            SESSION_OLD,
            "lost-update=5",
            IN_VAIN,
            "session-old.jsonl:21 (spawn session): phone#1 waits for update update-session: nothing within 4s",
        ),
        check_fault(
            SESSION_NEW,
            "dup-update=5",
            DEADLINE,
            "session-new.jsonl:24 (spawn session): phone#1 waits for update update-session: phone#1 got an update out of order after seq 5",
        ),
        check_fault(
            DAEMON_NEW,
            "seq-stuck",
            DEADLINE,
            "daemon-new.jsonl:6 (daemon start): phone#1 waits for update update-machine: phone#1 got an update out of order after seq 1",
        ),
        check_fault(
            SESSION_OLD,
            "message-seq-stuck",
            DEADLINE,
            "session-old.jsonl:38 (user message 1): update to phone#1: [0].body.message.seq: expected 2, got 1",
        ),
        check_fault(
            SESSION_OLD,
            "sid-key",
            DEADLINE,
            "session-old.jsonl:21 (spawn session): update to phone#1: [0].body: expected the key id",
        ),
        check_fault(
            DAEMON_NEW,
            "no-ack",
            IN_VAIN,
            "daemon-new.jsonl:12 (daemon start): daemon#1: machine-update-state was not acknowledged within 4s",
        ),
        check_fault(
            DAEMON_OLD,
            "ack-twice",
            DEADLINE,
            "daemon-old.jsonl:44 (at the end): daemon#1 got acks that nobody waits for: 1",
        ),
        check_fault(
            SESSION_NEW,
            "ping-data",
            DEADLINE,
            "session-new.jsonl:153 (kill session): ack 10 to session1#2: [0]: expected {}, got null",
        ),
        check_fault(
            DAEMON_NEW,
            "rpc-params-wrapped",
            DEADLINE,
            "daemon-new.jsonl:23 (phone): rpc-request to daemon#1: [0].params: expected <enc:72:call.0>",
        ),
    );
}
