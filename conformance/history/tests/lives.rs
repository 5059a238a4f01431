//! Short histories written by hand: what a server may leave out of an answer, and what it has after it was
//! killed and started again.

mod support;

use serde_json::{Value, json};
use support::History;
use touchstone_client::{
    Direction,
    trace::{Kind, QUIET, RESTARTED, RESTARTED_DURABLE},
};
use touchstone_history::Keeps;

#[test]
fn parts_that_do_not_apply_may_be_null() {
    let part = |version: u64| json!({"version": version, "data": "eA=="});
    let check = |data: Value, answer: Value, expected: &[&str]| {
        let mut history = History::default();
        history.connect("c");
        history.call("c", "artifact-update", &data, &answer);
        assert_eq!(history.judged().0, expected, "{answer}");
    };
    let written = json!({"artifactId": "a", "header": {"data": "eA==", "expectedVersion": 1}});
    let success = |body: Value| json!({"result": "success", "header": part(2), "body": body});
    check(
        written.clone(),
        success(Value::Null),
        &["handler.absent-parts"],
    );
    let nothing = json!({"result": "success", "header": null});
    check(written, nothing, &["artifact.update.answer"]);
}

/// A life of a server, what it says when it was killed and started again, and another life.
struct Lives {
    mark: &'static str,
    /// The version and value of the metadata, the posted messages, the seq of the next update and message, and
    /// the id of the message with the localId that is known.
    metadata: (u64, &'static str),
    listed: &'static [&'static str],
    next: (u64, u64),
    again: &'static str,
    status: u16,
}

const KEPT: Lives = Lives {
    mark: RESTARTED_DURABLE,
    metadata: (1, "one"),
    listed: &["m1"],
    next: (4, 2),
    again: "m1",
    status: 200,
};

fn lived(lives: &Lives) -> (Vec<&'static str>, Option<Keeps>) {
    let mut history = History::default();
    history.sign_in("a1");
    let row = |(version, value): (u64, &str)| json!({"id": "s", "metadata": value, "metadataVersion": version});
    let made = json!({"session": row((0, "zero"))});
    history.asked("POST", "/v1/sessions", 200, json!({"tag": "t"}), made);
    history.connect("c");
    let data = json!({"sid": "s", "metadata": "one", "expectedVersion": 0});
    let answer = json!({"result": "success", "version": 1, "metadata": "one"});
    history.call("c", "update-metadata", &data, &answer);
    let posted = json!({"messages": [{"id": "m1", "seq": 1, "localId": "l1"}]});
    history.asked(
        "POST",
        "/v3/sessions/s/messages",
        200,
        json!({"messages": []}),
        posted,
    );
    history.message("c", 3, ["m1", "s", "l1"], 1);
    history.put("-", Kind::Mark(lives.mark.to_owned()));
    let sessions = match lives.status {
        200 => json!({"sessions": [row(lives.metadata)]}),
        _ => json!({"error": "Invalid token"}),
    };
    history.asked("GET", "/v1/sessions", lives.status, Value::Null, sessions);
    let messages: Vec<Value> = lives
        .listed
        .iter()
        .map(|id| json!({"id": id, "seq": 1}))
        .collect();
    let url = "/v3/sessions/s/messages?after_seq=0&limit=500";
    history.asked("GET", url, 200, Value::Null, json!({"messages": messages}));
    history.connect("d");
    let (seq, number) = lives.next;
    history.message("d", seq, ["m2", "s", "l2"], number);
    history.message("d", seq + 1, [lives.again, "s", "l1"], 3);
    history.judged()
}

#[test]
fn what_is_gone_after_a_crash_is_named() {
    let check = |lives: Lives, expected: &[&str]| {
        let restart: Vec<_> = lived(&lives)
            .0
            .into_iter()
            .filter(|broken| broken.starts_with("restart."))
            .collect();
        assert_eq!(restart, expected);
    };
    check(KEPT, &[]);
    let acknowledged = ["restart.acknowledged-kept"];
    check(
        Lives {
            metadata: (0, "zero"),
            ..KEPT
        },
        &acknowledged,
    );
    check(
        Lives {
            metadata: (1, "other"),
            ..KEPT
        },
        &acknowledged,
    );
    // Somebody's call that was not answered may have had its effect.
    check(
        Lives {
            metadata: (2, "two"),
            ..KEPT
        },
        &[],
    );
    check(
        Lives {
            listed: &[],
            ..KEPT
        },
        &acknowledged,
    );
    check(
        Lives {
            next: (3, 2),
            ..KEPT
        },
        &["restart.numbers"],
    );
    check(
        Lives {
            next: (4, 1),
            ..KEPT
        },
        &["restart.numbers"],
    );
    check(
        Lives {
            again: "m3",
            ..KEPT
        },
        &["restart.local-ids"],
    );
    check(
        Lives {
            status: 401,
            ..KEPT
        },
        &["restart.tokens"],
    );
}

#[test]
fn a_server_that_promises_nothing_is_only_described() {
    let lost = Lives {
        mark: RESTARTED,
        metadata: (0, "zero"),
        listed: &[],
        next: (1, 1),
        again: "m3",
        ..KEPT
    };
    let (broken, keeps) = lived(&lost);
    assert!(
        broken.iter().all(|broken| !broken.starts_with("restart.")),
        "{broken:?}"
    );
    // Its session is there.
    assert_eq!(keeps, Some(Keeps::Some));
    assert_eq!(lived(&KEPT).1, Some(Keeps::Acknowledged));
}

/// An artifact is changed, and the answer comes when its deletion has been asked for, or not.
#[test]
fn an_artifact_that_was_to_be_deleted_may_be_gone_after_a_crash() {
    let check = |is_deleted: bool, expected: &[&str]| {
        let mut history = History::default();
        history.sign_in("a1");
        for conn in ["c", "d"] {
            history.connect(conn);
        }
        let read = |id: &str| json!({"artifact": {"id": id, "header": "eA==", "headerVersion": 1, "body": "eA==", "bodyVersion": 1, "seq": 1}});
        history.asked("GET", "/v1/artifacts/b", 200, Value::Null, read("b"));
        let changed = json!({"artifactId": "a", "header": {"data": "eQ==", "expectedVersion": 1}});
        let update = "artifact-update";
        history.event("c", Direction::Sent, update, &changed, Some(1));
        if is_deleted {
            let asks = json!({"artifactId": "a"});
            history.event("d", Direction::Sent, "artifact-delete", &asks, Some(1));
        }
        let answer = json!({"result": "success", "header": {"version": 2, "data": "eQ=="}});
        history.ack("c", Direction::Received, 1, &answer);
        history.put("-", Kind::Mark(RESTARTED_DURABLE.to_owned()));
        let gone = json!({"error": "Artifact not found"});
        history.asked("GET", "/v1/artifacts/a", 404, Value::Null, gone);
        let mut broken = history.judged().0;
        broken.retain(|broken| broken.starts_with("restart."));
        assert_eq!(broken, expected);
    };
    check(true, &[]);
    check(false, &["restart.acknowledged-kept"]);
}

/// A session is asked for by its tag while somebody deletes it, and the answer comes first or last.
#[test]
fn a_session_that_was_to_be_deleted_may_be_gone_after_a_crash() {
    let check = |is_deleted: bool, expected: &[&str]| {
        let mut history = History::default();
        history.sign_in("a1");
        let made = || json!({"session": {"id": "s", "metadata": "zero", "metadataVersion": 0}});
        history.asked("POST", "/v1/sessions", 200, json!({"tag": "t"}), made());
        if is_deleted {
            let done = json!({"success": true});
            history.asked("DELETE", "/v1/sessions/s", 200, Value::Null, done);
            history.asked("POST", "/v1/sessions", 200, json!({"tag": "t"}), made());
        }
        history.put("-", Kind::Mark(RESTARTED_DURABLE.to_owned()));
        let none = json!({"sessions": []});
        history.asked("GET", "/v1/sessions", 200, Value::Null, none);
        let mut broken = history.judged().0;
        broken.retain(|broken| broken.starts_with("restart."));
        assert_eq!(broken, expected);
    };
    check(true, &[]);
    check(false, &["restart.acknowledged-kept"]);
}

#[test]
fn what_was_posted_and_is_sent_again_is_told_to_nobody() {
    let check = |posted: &str, expected: &[&str]| {
        let mut history = History::default();
        history.sign_in("a1");
        let made = json!({"session": {"id": "s", "metadata": "zero", "metadataVersion": 0}});
        history.asked("POST", "/v1/sessions", 200, json!({"tag": "t"}), made);
        for conn in ["c", "d"] {
            history.connect(conn);
            history.call(conn, "ping", &Value::Null, &json!({}));
        }
        for conn in ["c", "d"] {
            history.message(conn, 3, ["m1", "s", posted], 1);
        }
        let request = json!({"messages": [{"content": "x", "localId": posted}]});
        let answer = json!({"messages": [{"id": "m1", "seq": 1, "localId": posted}]});
        history.asked("POST", "/v3/sessions/s/messages", 200, request, answer);
        let data = json!({"sid": "s", "message": "x", "localId": "l1"});
        history.event("c", Direction::Sent, "message", &data, None);
        history.put("-", Kind::Mark(QUIET.to_owned()));
        assert_eq!(history.judged().0, expected, "{posted}");
    };
    check("l1", &[]);
    check("l2", &["delivery.no-loss"]);
}
