//! The recorded clients against the reference server: two generations of the real command-line
//! client, with a phone at the other end, replayed from `tests/recorded`.
//!
//! Every call is answered with the recorded status and shape, every ack and update that a client
//! waited for comes, and nothing else does. The recordings are the truth here: where they and the
//! server differ, the server is wrong. The tests at the end show that a difference is noticed, on
//! either side.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests may panic as tests may"
)]

use tokio::time::Duration;
use touchstone_reference_server::Config;

mod recorded;

use recorded::{DAEMON_NEW, DAEMON_OLD, DEADLINE, IN_VAIN, SESSION_NEW, SESSION_OLD, Tally, run};

const PAIRING_OLD: (&str, &str) = (
    "pairing-old.jsonl",
    include_str!("recorded/pairing-old.jsonl"),
);
const PAIRING_NEW: (&str, &str) = (
    "pairing-new.jsonl",
    include_str!("recorded/pairing-new.jsonl"),
);

/// `judged` are the requests, acks, updates and other events of the recording, so that nobody can
/// thin it out unnoticed.
async fn check(recording: (&'static str, &str), judged: [usize; 4]) {
    let [requests, acks, updates, others] = judged;
    let judged = Tally {
        requests,
        acks,
        updates,
        others,
    };
    match run(recording, Config::default(), DEADLINE).await {
        Ok(tally) => assert_eq!(tally, judged),
        Err(failure) => panic!("{failure}"),
    }
}

#[tokio::test]
async fn daemon_old() {
    check(DAEMON_OLD, [4, 12, 7, 31]).await;
}

#[tokio::test]
async fn daemon_new() {
    check(DAEMON_NEW, [4, 13, 9, 45]).await;
}

#[tokio::test]
async fn session_old() {
    check(SESSION_OLD, [12, 14, 28, 50]).await;
}

#[tokio::test]
async fn session_new() {
    check(SESSION_NEW, [24, 22, 52, 57]).await;
}

#[tokio::test]
async fn pairing_old() {
    check(PAIRING_OLD, [7, 0, 0, 0]).await;
}

#[tokio::test]
async fn pairing_new() {
    check(PAIRING_NEW, [7, 0, 0, 0]).await;
}

/// Replays a recording in which the first `old` is replaced. The failure begins with `failure`.
async fn check_edited(
    (name, text): (&'static str, &str),
    old: &str,
    new: &str,
    deadline: Duration,
    failure: &str,
) {
    assert!(text.contains(old), "{name} has no {old}");
    let edited = text.replacen(old, new, 1);
    match run((name, &edited), Config::default(), deadline).await {
        Ok(tally) => panic!("{name} with {new} for {old} went well: {tally:?}"),
        Err(got) => assert!(got.to_string().starts_with(failure), "{got}"),
    }
}

#[tokio::test]
async fn a_recording_that_says_otherwise_is_reported() {
    let known = r#"{"do":"update","on":["phone#2"],"name":"u21""#;
    let unknown = r#"{"do":"update","on":["phone#2"],"name":"u99","body":{"t":"new-feed-post"}}"#;
    let added = format!("{unknown}\n{known}");
    let left_out = r#"{"do":"phase","text":""}"#.to_owned() + "\n";
    let gone = SESSION_OLD
        .1
        .lines()
        .find(|line| line.starts_with(known))
        .unwrap()
        .to_owned()
        + "\n";
    tokio::join!(
        check_edited(
            SESSION_OLD,
            r#""status":200,"answer":{"success":true,"token""#,
            r#""status":201,"answer":{"success":true,"token""#,
            DEADLINE,
            "session-old.jsonl:1 (start): POST /v1/auth by phone: expected status 201, got 200 with",
        ),
        check_edited(
            SESSION_NEW,
            r#""hasMore":false"#,
            r#""more":false"#,
            DEADLINE,
            r#"session-new.jsonl:29 (spawn session): answer to session1.3: at the top: expected the key more, got {"messages":[],"hasMore":false}"#,
        ),
        check_edited(
            PAIRING_NEW,
            r#""state":"authorized""#,
            r#""state":"requested""#,
            DEADLINE,
            r#"pairing-new.jsonl:7 (pairing): POST /v1/auth/request by cli: .state: expected "requested", got "authorized""#,
        ),
        check_edited(
            DAEMON_NEW,
            r#""result":"success","version":4"#,
            r#""result":"success","version":5"#,
            DEADLINE,
            "daemon-new.jsonl:74 (daemon stop): ack 3 to daemon#2: [0].version: expected 5, got 4",
        ),
        check_edited(
            DAEMON_OLD,
            r#""ok":true,"result":"<enc:120:result.0>""#,
            r#""ok":true,"result":"<enc:72:call.0>""#,
            DEADLINE,
            "daemon-old.jsonl:22 (phone): ack 0 to phone#1: [0].result: expected <enc:72:call.0> as before",
        ),
        check_edited(
            SESSION_OLD,
            r#""active":false,"activeAt":"<ts>","thinking":false"#,
            r#""active":true,"activeAt":"<ts>","thinking":false"#,
            DEADLINE,
            "session-old.jsonl:110 (kill session): ephemeral to phone#2: [0].active: expected true, got false",
        ),
        check_edited(
            SESSION_OLD,
            &gone,
            &left_out,
            DEADLINE,
            r#"session-old.jsonl:141 (at the end): phone#2 got update update-session nobody recorded"#,
        ),
        check_edited(
            SESSION_OLD,
            known,
            &added,
            IN_VAIN,
            "session-old.jsonl:139 (stop-session rpc): phone#2 waits for update new-feed-post: nothing within 4s",
        ),
        check_edited(
            DAEMON_OLD,
            r#""do":"emit""#,
            r#""do":"shout""#,
            DEADLINE,
            "daemon-old.jsonl:10 (reading): unknown variant `shout`",
        ),
        check_edited(
            DAEMON_OLD,
            r#""ack":0"#,
            r#""akc":0"#,
            DEADLINE,
            "daemon-old.jsonl:10 (reading): unknown field `akc`",
        ),
    );
}
