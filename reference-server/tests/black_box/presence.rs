//! Heartbeats, endings and the sweep, with a clock that only the test moves.

use std::time::Duration;

use serde_json::{Value, json};

use crate::stand::{START, Server};

fn activity(id: &str, active: bool, at: i64, thinking: bool) -> Value {
    json!({ "type": "activity", "id": id, "active": active, "activeAt": at, "thinking": thinking })
}

#[tokio::test]
async fn heartbeats_are_clamped_or_ignored() {
    let server = Server::start().await;
    let account = server.account().await;
    let session = account.session("tag").await;
    account.machine("m").await;
    let foreign = server.account().await.session("tag").await;
    let mut watcher = account.user().await;
    let client = account.user().await;
    let minute = 60_000;
    for (time, at) in [
        (json!(START), Some(START)),
        (json!(START + 60 * minute), Some(START)),
        (json!(START - 5 * minute), Some(START - 5 * minute)),
        (json!(START - 10 * minute), Some(START - 10 * minute)),
        (json!(START - 10 * minute - 1), None),
        (json!(START as f64 - 0.5), Some(START - 1)),
        (json!(0), None),
        (json!(-5), None),
        (json!("1800000000000"), None),
        (Value::Null, None),
    ] {
        client
            .emit("session-alive", json!({ "sid": session, "time": time }))
            .await;
        client
            .emit("machine-alive", json!({ "machineId": "m", "time": time }))
            .await;
        client.handled().await;
        let machine =
            |at| json!({ "type": "machine-activity", "id": "m", "active": true, "activeAt": at });
        let expected: Vec<Value> = at
            .into_iter()
            .flat_map(|at| [activity(&session, true, at, false), machine(at)])
            .collect();
        assert_eq!(watcher.ephemerals().await, expected, "{time}");
    }
    for (thinking, expected) in [
        (json!(true), true),
        (json!(false), false),
        (json!("yes"), true),
        (json!(""), false),
        (json!(1), true),
        (json!(0), false),
        (json!({}), true),
        (Value::Null, false),
    ] {
        client
            .emit(
                "session-alive",
                json!({ "sid": session, "time": START, "thinking": thinking }),
            )
            .await;
        assert_eq!(
            watcher.next().await.1,
            activity(&session, true, START, expected),
            "{thinking}"
        );
    }
    for id in [
        json!("nope"),
        json!(foreign),
        json!(5),
        json!({}),
        Value::Null,
    ] {
        for event in ["session-alive", "session-end"] {
            client
                .emit(event, json!({ "sid": id, "time": START }))
                .await;
        }
        client
            .emit("machine-alive", json!({ "machineId": id, "time": START }))
            .await;
    }
    client.handled().await;
    assert_eq!(watcher.ephemerals().await, [] as [Value; 0]);
}

#[tokio::test]
async fn nothing_revives_an_ended_session() {
    let server = Server::start().await;
    let account = server.account().await;
    let mut watcher = account.user().await;
    for by_archive in [false, true] {
        let tag = format!("tag {by_archive}");
        let session = account.session(&tag).await;
        let client = account.on_session(&session).await;
        if by_archive {
            account
                .post(&format!("/v1/sessions/{session}/archive"), json!({}))
                .await;
        } else {
            client
                .emit("session-end", json!({ "sid": session, "time": START }))
                .await;
        }
        client.handled().await;
        assert_eq!(
            watcher.ephemerals().await,
            [activity(&session, false, START, false)]
        );
        let again = json!({ "tag": tag, "metadata": "other" });
        for _ in 0..2 {
            client
                .emit(
                    "session-alive",
                    json!({ "sid": session, "time": START, "thinking": true }),
                )
                .await;
            client.handled().await;
            assert_eq!(watcher.seen().await, []);
            assert_eq!(
                account.post("/v1/sessions", again.clone()).await["session"]["active"],
                false
            );
        }
        // Ending twice is announced twice; a client may have missed the first time.
        client
            .emit("session-end", json!({ "sid": session, "time": START }))
            .await;
        assert_eq!(
            watcher.next().await.1,
            activity(&session, false, START, false)
        );
    }
}

#[tokio::test]
async fn silence_makes_inactive_and_a_heartbeat_active_again() {
    let server = Server::with(|config| config.sweep_interval = Duration::from_millis(5)).await;
    let account = server.account().await;
    let session = account.session("tag").await;
    account.machine("m").await;
    let mut watcher = account.user().await;
    let client = account.user().await;
    client
        .emit("machine-alive", json!({ "machineId": "m", "time": START }))
        .await;
    assert_eq!(watcher.next().await.1["active"], true);
    server.clock.advance(600_001);
    let mut gone = [watcher.next().await.1, watcher.next().await.1];
    gone.sort_by_key(|payload| payload["type"].to_string());
    let machine =
        json!({ "type": "machine-activity", "id": "m", "active": false, "activeAt": START });
    assert_eq!(gone, [activity(&session, false, START, false), machine]);
    assert_eq!(
        account.get("/v1/machines/m").await["machine"]["active"],
        false
    );
    let now = START + 600_001;
    client
        .emit("session-alive", json!({ "sid": session, "time": now }))
        .await;
    assert_eq!(watcher.next().await.1, activity(&session, true, now, false));
    let active = account.get("/v2/sessions/active").await;
    assert_eq!(active["sessions"][0]["id"], session);
}
