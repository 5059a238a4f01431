//! Input that has ended real servers. These cases run last and one at a time, so that whoever dies gets
//! the verdict and nobody else.

use std::future::ready;
use touchstone_harness::own;

use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use touchstone_harness::{
    case::{Flow, Stop, case_table},
    ctx::Ctx,
    ledger::requirement_table,
    peer::Peer,
    stage::{Role, Stage},
};

requirement_table! {
    OTHERS_SERVED = "server.others-served", Must, Decision,
        "Whatever one connection sends, the others are served.";
    STORM_ANSWERED = "server.archive-storm", Should, Decision,
        "A storm of requests to archive the same session is answered, each of them.";
}

case_table! {
    /// Registers and calls RPC methods that are numbers, objects and lists.
    ///
    /// Accepted is an error or silence, and a server that goes on. Servers have ended at a method whose
    /// type they did not check. Typical cause of a failure: the method is used as a key, or a text function
    /// of it is called, before it is checked to be a text.
    "hazard.rpc-method-types", hazardous judges [own::SURVIVES, OTHERS_SERVED]
        => method_types;

    /// Sends every event with a number, a text and an object where the callback would be.
    ///
    /// Accepted is silence. Servers have ended by calling what is no function. Typical cause of a failure:
    /// the last argument is called without a check that it is a function.
    "hazard.no-callback", hazardous judges [own::SURVIVES, OTHERS_SERVED] => no_callback;

    /// Sends ids that are filter-like objects, lists, and texts with NUL characters.
    ///
    /// Accepted is an error or silence. Such ids have reached databases as conditions, or ended in an
    /// exception that nobody caught. Typical cause of a failure: an id goes to the database without a check
    /// of its type, and the rejected promise is handled by nobody.
    "hazard.odd-ids", hazardous judges [own::SURVIVES, OTHERS_SERVED] => odd_ids;

    /// Sends data that is nested five hundred levels deep.
    ///
    /// Accepted is an error or silence. Typical cause of a failure: a recursive function, such as a
    /// validator or a logger, goes as deep as the data and ends on the stack's limit.
    "hazard.deep-json", hazardous judges [own::SURVIVES, OTHERS_SERVED] => deep_json;

    /// Sends each event with a binary attachment, alone and inside of data.
    ///
    /// Accepted is an error or silence. Servers have handed such values to databases that take texts.
    /// Typical cause of a failure: binary data is taken for a text or an object, and the exception is
    /// caught by nobody.
    "hazard.binary", hazardous judges [own::SURVIVES, OTHERS_SERVED] => binary;

    /// Sends half a megabyte of text where ids, names and keys of a few bytes are expected.
    ///
    /// Accepted is an error or silence. Typical cause of a failure: a database refuses the value for an
    /// index or a column, or a log writes it as a whole; the exception is caught by nobody.
    "hazard.huge-texts", hazardous judges [own::SURVIVES, OTHERS_SERVED] => huge_texts;

    /// Sends numbers that are no ordinary ones: beyond 64 bits, negative, and with hundreds of digits.
    ///
    /// Accepted is an error, a mismatch or silence. Times have been handed to calendars that end a few
    /// thousand centuries from now. Typical cause of a failure: a number is converted to an integer or a
    /// date of a fixed size without a check, which throws or wraps around.
    "hazard.numbers", hazardous judges [own::SURVIVES, OTHERS_SERVED] => numbers;

    /// Sends texts with an escaped half of a surrogate pair, which no UTF-8 can hold: as message, metadata,
    /// localId and method, while others listen.
    ///
    /// Accepted is that it is kept, replaced or refused, and that every connection lives on. Servers have
    /// ended by writing it, and clients by reading it. Typical cause of a failure: the text is encoded as
    /// UTF-8 by a function that throws, in a database driver or when it is sent to others.
    "hazard.lone-surrogates", hazardous judges [own::SURVIVES, OTHERS_SERVED]
        => lone_surrogates;

    /// Archives one session three hundred times, sixteen requests at a time.
    ///
    /// Accepted is that each request is answered, and a server that goes on. A client that answers the echo
    /// of its own change was seen to send 1538 of these in ten seconds. Typical cause of a failure: each
    /// request opens a transaction or a connection to the database and waits for the others, until there is
    /// none left.
    "hazard.archive-storm" needs [Rest], hazardous judges [
        own::SURVIVES, OTHERS_SERVED, STORM_ANSWERED
    ] => archive_storm;
}

/// How many requests a storm has.
const STORM: usize = 300;

/// Both connections are served after what `u1` has sent.
async fn all_served(cx: &mut Ctx, stage: &Stage) -> Flow {
    for role in [Role::U2, Role::U1] {
        let served = cx.round_trip(stage.peer(role)).await?;
        cx.check(
            &OTHERS_SERVED,
            served,
            "a ping that is answered",
            "no answer",
        );
    }
    cx.held(&own::SURVIVES);
    Ok(())
}

async fn send(cx: &Ctx, peer: &Peer, event: &str, args: Vec<Value>) -> Flow {
    cx.emit(peer, event, args).await
}

async fn method_types(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    for method in [
        json!(7),
        json!({"a": 1}),
        json!([]),
        json!(true),
        json!("\u{0}"),
    ] {
        for event in ["rpc-register", "rpc-call", "rpc-unregister"] {
            send(
                cx,
                stage.peer(Role::U1),
                event,
                vec![json!({"method": method})],
            )
            .await?;
        }
    }
    all_served(cx, &stage).await
}

async fn no_callback(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    for event in touchstone_fixtures::CLIENT_EVENTS {
        for callback in [json!(1), json!("callback"), json!({"call": "me"})] {
            send(
                cx,
                stage.peer(Role::U1),
                event,
                vec![json!({}), callback.clone()],
            )
            .await?;
            send(cx, stage.peer(Role::U1), event, vec![Value::Null, callback]).await?;
        }
    }
    all_served(cx, &stage).await
}

async fn odd_ids(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    let ids = [
        json!({"not": ""}),
        json!({"$ne": null}),
        json!({"contains": ""}),
        json!([stage.s1.id]),
        json!("nul\u{0}nul"),
        json!("x".repeat(10_000)),
    ];
    for id in ids {
        let every = json!({
            "sid": id, "sessionId": id, "machineId": id, "artifactId": id, "id": id, "key": "k",
            "metadata": "x", "agentState": "x", "daemonState": "x", "expectedVersion": 0,
            "message": "x", "time": cx.recent_time(), "localId": id, "method": "m",
            "header": "YQ==", "body": "YQ==", "dataEncryptionKey": "YQ==",
            "tokens": {"total": 1}, "cost": {"total": 1},
        });
        for event in touchstone_fixtures::CLIENT_EVENTS {
            send(cx, stage.peer(Role::U1), event, vec![every.clone()]).await?;
        }
    }
    all_served(cx, &stage).await
}

async fn deep_json(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    // As text: building the value would nest as deeply on this side.
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    let args = format!(
        r#"{{"sid":"{}","message":{deep},"method":"m","params":{deep}}}"#,
        stage.s1.id
    );
    for event in ["message", "rpc-call", "update-metadata", "artifact-create"] {
        cx.emit(
            stage.peer(Role::U1),
            event,
            touchstone_client::Args::raw(args.clone()),
        )
        .await?;
    }
    all_served(cx, &stage).await
}

async fn binary(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    let peer = stage.peer(Role::U1);
    let blob = json!({"_placeholder": true, "num": 0});
    let inside = json!({
        "sid": stage.s1.id, "sessionId": stage.s1.id, "machineId": blob, "artifactId": blob,
        "id": blob, "key": blob, "method": blob, "message": blob, "metadata": blob,
        "agentState": blob, "daemonState": blob, "header": blob, "body": blob, "localId": blob,
        "params": blob, "time": blob, "expectedVersion": blob, "tokens": blob, "cost": blob,
    });
    for event in touchstone_fixtures::CLIENT_EVENTS {
        for data in [blob.clone(), inside.clone()] {
            let attachments = vec![vec![0, 255, 1]];
            cx.emit_binary(peer, event, vec![data], attachments).await?;
        }
    }
    all_served(cx, &stage).await
}

async fn huge_texts(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    // Half of what may be sent at all: above that, the end of the connection would be right.
    let size = stage.peer(Role::U1).payload_limit() / 2;
    let huge = "i".repeat(size.min(500_000));
    let rows = [
        (
            "update-metadata",
            json!({"sid": huge, "metadata": "x", "expectedVersion": 0}),
        ),
        (
            "session-alive",
            json!({"sid": huge, "time": cx.recent_time()}),
        ),
        (
            "machine-alive",
            json!({"machineId": huge, "time": cx.recent_time()}),
        ),
        (
            "message",
            json!({"sid": stage.s1.id, "message": "x", "localId": huge}),
        ),
        ("artifact-read", json!({"artifactId": huge})),
        (
            "access-key-get",
            json!({"sessionId": huge, "machineId": stage.s1.id}),
        ),
        (
            "usage-report",
            json!({"key": huge, "tokens": {"total": 1}, "cost": {"total": 1}}),
        ),
        ("rpc-register", json!({"method": huge})),
        ("rpc-unregister", json!({"method": huge})),
    ];
    for (event, data) in rows {
        send(cx, stage.peer(Role::U1), event, vec![data]).await?;
    }
    all_served(cx, &stage).await
}

async fn numbers(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    let digits = "9".repeat(300);
    let numbers = [
        "1e308",
        "-1e308",
        "18446744073709551616",
        "-9223372036854775809",
        "-0",
        "1e-300",
        "8640000000000001",
        &digits,
    ];
    for number in numbers {
        let args = format!(
            r#"{{"sid":"{}","sessionId":"{}","machineId":"m","time":{number},"metadata":"x","agentState":"x",
            "daemonState":"x","expectedVersion":{number},"key":"k","tokens":{{"total":{number}}},
            "cost":{{"total":{number}}}}}"#,
            stage.s1.id, stage.s1.id
        );
        for event in [
            "session-alive",
            "session-end",
            "machine-alive",
            "update-metadata",
            "update-state",
            "machine-update-metadata",
            "machine-update-state",
            "usage-report",
        ] {
            let args = touchstone_client::Args::raw(args.clone());
            cx.emit(stage.peer(Role::U1), event, args).await?;
        }
    }
    all_served(cx, &stage).await
}

async fn lone_surrogates(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::S1]).await?;
    let (sid, version) = (&stage.s1.id, cx.version(&stage.s1.id, "metadata"));
    let half = r"before\ud83dafter";
    let events = [
        (
            "message",
            format!(r#"{{"sid":"{sid}","message":"{half}"}}"#),
        ),
        (
            "message",
            format!(r#"{{"sid":"{sid}","message":"x","localId":"{half}"}}"#),
        ),
        (
            "update-metadata",
            format!(r#"{{"sid":"{sid}","metadata":"{half}","expectedVersion":{version}}}"#),
        ),
        ("rpc-register", format!(r#"{{"method":"{half}"}}"#)),
        (
            "rpc-call",
            format!(r#"{{"method":"{half}","params":"{half}"}}"#),
        ),
    ];
    for (event, args) in events {
        let args = touchstone_client::Args::raw(args);
        cx.emit(stage.peer(Role::U1), event, args).await?;
    }
    let served = cx.round_trip(stage.peer(Role::S1)).await?;
    cx.check(
        &OTHERS_SERVED,
        served,
        "a ping that is answered",
        "no answer",
    );
    all_served(cx, &stage).await
}

async fn archive_storm(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    let path = format!("/v1/sessions/{}/archive", stage.s1.id);
    let first = cx
        .rest_any(&stage.account, "POST", &path, &json!({}))
        .await?;
    if matches!(first.status, 404 | 405 | 501) {
        return Err(Stop::Skip(format!(
            "the target cannot archive sessions: POST answers {}",
            first.status
        )));
    }
    let shared: &Ctx = cx;
    let account = &stage.account;
    let path = &path;
    let storm = stream::iter(0..STORM)
        .map(async |_| shared.rest_any(account, "POST", path, &json!({})).await)
        .buffer_unordered(16)
        .map(|answer| answer.is_ok_and(|answer| answer.status < 500));
    let unanswered = storm.filter(|answered| ready(!answered)).count().await;
    cx.check(
        &STORM_ANSWERED,
        unanswered == 0,
        format!("an answer to each of {STORM} requests"),
        format!("{unanswered} unanswered or failed"),
    );
    all_served(cx, &stage).await
}
