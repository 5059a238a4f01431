//! What each handler answers, row by row, and that the answers keep to the contract's schemas.

use serde_json::{Value, json};
use touchstone_fixtures::{AckVariant, validate_ack};

use crate::stand::{Account, Client, START, Server};

/// An account with a session, a machine, an artifact and an access key, and a client of it.
struct Scene<'s> {
    account: Account<'s>,
    client: Client,
    session: String,
}

impl<'s> Scene<'s> {
    async fn new(server: &'s Server) -> Self {
        let scene = Self::without_machine(server).await;
        scene.account.machine("machine").await;
        scene
    }

    async fn without_machine(server: &'s Server) -> Self {
        let account = server.account().await;
        let session = account.session("tag").await;
        let client = account.user().await;
        Self {
            account,
            client,
            session,
        }
    }

    /// Sends an event with a callback, and compares its answer.
    async fn check(&self, event: &str, data: Value, expected: Value) {
        let answer = self.client.call(event, data.clone()).await;
        assert_eq!(answer, expected, "{event} {data}");
        let report = validate_ack(event, &answer).expect("an event with a callback");
        assert!(
            report.violations.is_empty(),
            "{event} {data}: {:?}",
            report.violations
        );
    }
}

#[tokio::test]
async fn update_metadata() {
    let server = Server::start().await;
    let scene = Scene::new(&server).await;
    let foreign = server.account().await.session("tag").await;
    let sid = &scene.session;
    let error = json!({ "result": "error" });
    let write = |metadata: Value, version: Value| json!({ "sid": sid, "metadata": metadata, "expectedVersion": version });
    let event = "update-metadata";
    scene
        .check(
            event,
            write(json!("a"), json!(0)),
            json!({ "result": "success", "version": 1, "metadata": "a" }),
        )
        .await;
    let mismatch = json!({ "result": "version-mismatch", "version": 1, "metadata": "a" });
    for version in [json!(0), json!(2), json!(-1), json!(1.5), json!(1e300)] {
        scene
            .check(event, write(json!("b"), version), mismatch.clone())
            .await;
    }
    for data in [
        write(json!("b"), json!("1")),
        write(json!("b"), Value::Null),
        write(Value::Null, json!(1)),
        write(json!(7), json!(1)),
        json!({ "sid": "nope", "metadata": "b", "expectedVersion": 1 }),
        json!({ "sid": foreign, "metadata": "b", "expectedVersion": 0 }),
        json!({ "sid": 5, "metadata": "b", "expectedVersion": 0 }),
        json!({ "sid": { "not": "a filter" }, "metadata": "b", "expectedVersion": 0 }),
        json!({ "sid": sid }),
        Value::Null,
        json!("x"),
        json!([]),
        json!(4),
    ] {
        scene.check(event, data, error.clone()).await;
    }
    let more = json!({ "sid": sid, "metadata": "", "expectedVersion": 1.0, "extra": [1] });
    scene
        .check(
            event,
            more,
            json!({ "result": "success", "version": 2, "metadata": "" }),
        )
        .await;
}

#[tokio::test]
async fn update_state() {
    let server = Server::start().await;
    let scene = Scene::new(&server).await;
    let sid = &scene.session;
    let event = "update-state";
    let write = |state: Value, version: u64| json!({ "sid": sid, "agentState": state, "expectedVersion": version });
    let success = |version: u64, state: Value| json!({ "result": "success", "version": version, "agentState": state });
    scene
        .check(event, write(json!("a"), 0), success(1, json!("a")))
        .await;
    scene
        .check(event, write(Value::Null, 1), success(2, Value::Null))
        .await;
    let mismatch = json!({ "result": "version-mismatch", "version": 2, "agentState": null });
    scene.check(event, write(json!("b"), 1), mismatch).await;
    for data in [
        json!({ "sid": sid, "expectedVersion": 2 }),
        json!({ "sid": sid, "agentState": 3, "expectedVersion": 2 }),
        json!({ "sid": "nope", "agentState": "x", "expectedVersion": 2 }),
        Value::Null,
    ] {
        scene.check(event, data, json!({ "result": "error" })).await;
    }
}

#[tokio::test]
async fn machine_updates() {
    let server = Server::start().await;
    let scene = Scene::new(&server).await;
    server.account().await.machine("foreign").await;
    let invalid = json!({ "result": "error", "message": "Invalid parameters" });
    let missing = json!({ "result": "error", "message": "Machine not found" });
    for (event, field, stored) in [
        ("machine-update-metadata", "metadata", "m1"),
        ("machine-update-state", "daemonState", "d1"),
    ] {
        let write = |value: Value, version: Value| json!({ "machineId": "machine", field: value, "expectedVersion": version });
        let mismatch = json!({ "result": "version-mismatch", "version": 1, field: stored });
        scene
            .check(event, write(json!("new"), json!(0)), mismatch.clone())
            .await;
        scene
            .check(event, write(json!("new"), json!(1.25)), mismatch)
            .await;
        let success = json!({ "result": "success", "version": 2, field: "new" });
        scene
            .check(event, write(json!("new"), json!(1)), success)
            .await;
        for data in [
            write(Value::Null, json!(2)),
            write(json!("x"), json!("2")),
            write(json!(["x"]), json!(2)),
            json!({ "machineId": "", field: "x", "expectedVersion": 2 }),
            json!({ "machineId": 5, field: "x", "expectedVersion": 2 }),
            json!({}),
            Value::Null,
        ] {
            scene.check(event, data, invalid.clone()).await;
        }
        for id in ["nope", "foreign"] {
            let data = json!({ "machineId": id, field: "x", "expectedVersion": 1 });
            scene.check(event, data, missing.clone()).await;
        }
    }
    let machine = &scene.account.get("/v1/machines/machine").await["machine"];
    assert_eq!(
        (&machine["active"], &machine["activeAt"]),
        (&json!(true), &json!(START))
    );
}

fn artifact(id: &str, header: (&str, u64), body: (&str, u64), seq: u64) -> Value {
    json!({
        "result": "success",
        "artifact": {
            "id": id,
            "header": header.0,
            "headerVersion": header.1,
            "body": body.0,
            "bodyVersion": body.1,
            "seq": seq,
            "createdAt": START,
            "updatedAt": START,
        },
    })
}

#[tokio::test]
async fn artifacts() {
    let server = Server::start().await;
    let scene = Scene::new(&server).await;
    let error = |message: &str| json!({ "result": "error", "message": message });
    let new = json!({ "id": "a1", "header": "aDE=", "body": "YjE=", "dataEncryptionKey": "azE=" });
    let stored = artifact("a1", ("aDE=", 1), ("YjE=", 1), 0);
    scene
        .check("artifact-create", new.clone(), stored.clone())
        .await;
    let again =
        json!({ "id": "a1", "header": "aDI=", "body": "YjI=", "dataEncryptionKey": "azI=" });
    scene.check("artifact-create", again, stored.clone()).await;
    scene
        .check("artifact-read", json!({ "artifactId": "a1" }), stored)
        .await;
    let other = Scene::without_machine(&server).await;
    let taken = error("Artifact with this ID already exists for another account");
    other.check("artifact-create", new.clone(), taken).await;

    for field in ["id", "header", "body", "dataEncryptionKey"] {
        for value in [Value::Null, json!(1), json!({})] {
            let mut data = new.clone();
            data[field] = value;
            scene
                .check("artifact-create", data, error("Invalid parameters"))
                .await;
        }
    }
    for field in ["header", "body", "dataEncryptionKey"] {
        for value in ["!!!", "aGk", "-_-_", "aGk= "] {
            let mut data = new.clone();
            data["id"] = json!("not-base64");
            data[field] = json!(value);
            scene
                .check("artifact-create", data, error("Internal error"))
                .await;
        }
    }
    scene
        .check(
            "artifact-read",
            json!({ "artifactId": "not-base64" }),
            error("Artifact not found"),
        )
        .await;
    let empty = json!({ "id": "empty", "header": "", "body": "", "dataEncryptionKey": "" });
    scene
        .check(
            "artifact-create",
            empty,
            artifact("empty", ("", 1), ("", 1), 0),
        )
        .await;

    let change =
        |header: Value, body: Value| json!({ "artifactId": "a1", "header": header, "body": body });
    let part = |data: &str, version: u64| json!({ "data": data, "expectedVersion": version });
    let event = "artifact-update";
    let now = |data: &str, version: u64| json!({ "version": version, "data": data });
    let both = json!({ "result": "success", "header": now("aDk=", 2), "body": now("Yjk=", 2) });
    scene
        .check(event, change(part("aDk=", 1), part("Yjk=", 1)), both)
        .await;
    let header = json!({ "result": "success", "header": now("aGg=", 3) });
    scene
        .check(event, change(part("aGg=", 2), Value::Null), header)
        .await;
    let stale = |data: &str, version: u64| json!({ "version": version, "currentVersion": version, "data": data, "currentData": data });
    let mismatch = json!({ "result": "version-mismatch", "header": stale("aGg=", 3) });
    scene
        .check(event, change(part("aDk=", 2), part("YmI=", 2)), mismatch)
        .await;
    let mismatch = json!({ "result": "version-mismatch", "header": stale("aGg=", 3), "body": stale("Yjk=", 2) });
    scene
        .check(event, change(part("aDk=", 9), part("YmI=", 0)), mismatch)
        .await;
    // Nothing of a mismatch was written, and only successes raised the seq.
    let stored = artifact("a1", ("aGg=", 3), ("Yjk=", 2), 2);
    scene
        .check("artifact-read", json!({ "artifactId": "a1" }), stored)
        .await;
    for (data, message) in [
        (json!({}), "Invalid parameters"),
        (
            json!({ "artifactId": 5, "header": part("aGg=", 1) }),
            "Invalid parameters",
        ),
        (json!({ "artifactId": "a1" }), "No updates provided"),
        (change(Value::Null, Value::Null), "No updates provided"),
        (
            change(json!({ "data": "aGg=" }), Value::Null),
            "Invalid header parameters",
        ),
        (
            change(json!("aGg="), Value::Null),
            "Invalid header parameters",
        ),
        (
            change(Value::Null, json!({ "data": 1, "expectedVersion": 1 })),
            "Invalid body parameters",
        ),
        (
            change(
                Value::Null,
                json!({ "data": "YmI=", "expectedVersion": "1" }),
            ),
            "Invalid body parameters",
        ),
        (change(part("!!!", 3), Value::Null), "Internal error"),
        (
            json!({ "artifactId": "nope", "header": part("aGg=", 1) }),
            "Artifact not found",
        ),
    ] {
        scene.check(event, data, error(message)).await;
    }
    for event in ["artifact-read", "artifact-delete"] {
        for (data, message) in [
            (json!({}), "Invalid parameters"),
            (Value::Null, "Invalid parameters"),
            (json!({ "artifactId": {} }), "Invalid parameters"),
            (json!({ "artifactId": "nope" }), "Artifact not found"),
        ] {
            scene.check(event, data.clone(), error(message)).await;
            other
                .check(
                    event,
                    json!({ "artifactId": "a1" }),
                    error("Artifact not found"),
                )
                .await;
        }
    }
    let success = json!({ "result": "success" });
    scene
        .check("artifact-delete", json!({ "artifactId": "a1" }), success)
        .await;
    scene
        .check(
            "artifact-read",
            json!({ "artifactId": "a1" }),
            error("Artifact not found"),
        )
        .await;
    // A deleted id is free again, for anybody.
    other
        .check(
            "artifact-create",
            new,
            artifact("a1", ("aDE=", 1), ("YjE=", 1), 0),
        )
        .await;
}

#[tokio::test]
async fn access_keys() {
    let server = Server::start().await;
    let scene = Scene::new(&server).await;
    let event = "access-key-get";
    let pair =
        |session: Value, machine: Value| json!({ "sessionId": session, "machineId": machine });
    let known = || pair(json!(scene.session), json!("machine"));
    scene
        .check(event, known(), json!({ "ok": true, "accessKey": null }))
        .await;
    let path = format!("/v1/access-keys/{}/machine", scene.session);
    scene.account.post(&path, json!({ "data": "key" })).await;
    let key = json!({ "data": "key", "dataVersion": 1, "createdAt": START, "updatedAt": START });
    scene
        .check(event, known(), json!({ "ok": true, "accessKey": key }))
        .await;
    let invalid = "Invalid parameters: sessionId and machineId are required";
    let unknown = "Session or machine not found";
    for (data, message) in [
        (Value::Null, invalid),
        (json!({}), invalid),
        (pair(json!(""), json!("machine")), invalid),
        (pair(json!(scene.session), Value::Null), invalid),
        (pair(json!(5), json!("machine")), invalid),
        (pair(json!({ "id": "x" }), json!("machine")), invalid),
        (pair(json!("nope"), json!("machine")), unknown),
        (pair(json!(scene.session), json!("nope")), unknown),
    ] {
        scene
            .check(event, data, json!({ "ok": false, "error": message }))
            .await;
    }
    let other = Scene::without_machine(&server).await;
    other
        .check(event, known(), json!({ "ok": false, "error": unknown }))
        .await;
}

#[tokio::test]
async fn usage_reports() {
    let server = Server::start().await;
    let scene = Scene::new(&server).await;
    let foreign = server.account().await.session("tag").await;
    let event = "usage-report";
    let good = json!({ "key": "k", "sessionId": scene.session, "tokens": { "total": 10, "input": 4 }, "cost": { "total": 0.5 } });
    let first = scene.client.call(event, good.clone()).await;
    server.clock.advance(5);
    let second = scene.client.call(event, good.clone()).await;
    assert_eq!(first["reportId"], second["reportId"]);
    assert_eq!(
        (&first["createdAt"], &second["createdAt"]),
        (&json!(START), &json!(START))
    );
    assert_eq!(
        (&first["updatedAt"], &second["updatedAt"]),
        (&json!(START), &json!(START + 5))
    );
    // Also within one millisecond, an update is later than the one before.
    assert_eq!(
        scene.client.call(event, good.clone()).await["updatedAt"],
        json!(START + 6)
    );
    let tokens = "Invalid tokens object - must include total";
    let cost = "Invalid cost object - must include total";
    for (field, value, message) in [
        ("key", Value::Null, "Invalid key"),
        ("key", json!(""), "Invalid key"),
        ("key", json!(5), "Invalid key"),
        ("tokens", Value::Null, tokens),
        ("tokens", json!({ "input": 1 }), tokens),
        ("tokens", json!({ "total": "1" }), tokens),
        ("tokens", json!({ "total": 1, "input": "x" }), tokens),
        ("tokens", json!([1]), tokens),
        ("cost", json!(1), cost),
        ("cost", json!({}), cost),
        ("sessionId", json!(5), "Invalid sessionId"),
        ("sessionId", json!({}), "Invalid sessionId"),
        ("sessionId", json!("nope"), "Session not found"),
        ("sessionId", json!(foreign), "Session not found"),
    ] {
        let mut data = good.clone();
        data[field] = value;
        scene
            .check(event, data, json!({ "success": false, "error": message }))
            .await;
    }
    let all_wrong = json!({ "key": "", "tokens": 1, "cost": 1, "sessionId": 1 });
    scene
        .check(
            event,
            all_wrong,
            json!({ "success": false, "error": "Invalid key" }),
        )
        .await;
    for absent in [Value::Null, json!("")] {
        let mut data = good.clone();
        data["sessionId"] = absent;
        assert_eq!(scene.client.call(event, data).await["success"], json!(true));
    }
}

#[tokio::test]
async fn ping_answers_whatever_comes_along() {
    let server = Server::start().await;
    let scene = Scene::new(&server).await;
    for data in [Value::Null, json!({ "a": 1 }), json!([[[]]]), json!("x")] {
        scene.check("ping", data, json!({})).await;
    }
    let reply = scene
        .client
        .socket
        .call("ping", (), crate::stand::DEADLINE)
        .await
        .unwrap();
    assert_eq!(reply.data().unwrap(), json!({}));
}

#[tokio::test]
async fn events_without_data_are_answered_by_an_error() {
    let server = Server::start().await;
    let scene = Scene::new(&server).await;
    for event in [
        "access-key-get",
        "artifact-read",
        "artifact-update",
        "artifact-create",
        "artifact-delete",
        "machine-update-metadata",
        "machine-update-state",
        "rpc-call",
        "update-metadata",
        "update-state",
        "usage-report",
    ] {
        let reply = scene
            .client
            .socket
            .call(event, (), crate::stand::DEADLINE)
            .await
            .unwrap();
        let report = validate_ack(event, &reply.data().unwrap()).unwrap();
        assert!(report.violations.is_empty(), "{event}: {report:?}");
        assert_ne!(report.variant, Some(AckVariant::Success), "{event}");
    }
}

#[tokio::test]
async fn some_events_are_never_acknowledged() {
    let server = Server::start().await;
    let scene = Scene::new(&server).await;
    let session = &scene.session;
    let events = [
        ("session-alive", json!({ "sid": session, "time": START })),
        ("session-end", json!({ "sid": session, "time": START })),
        (
            "machine-alive",
            json!({ "machineId": "machine", "time": START }),
        ),
        ("message", json!({ "sid": session, "message": "x" })),
        ("rpc-register", json!({ "method": "m" })),
        ("rpc-unregister", json!({ "method": "m" })),
        ("no-such-event", json!({})),
    ];
    let mut waiting = Vec::new();
    for (event, data) in events {
        waiting.push((
            event,
            scene.client.socket.request(event, data).await.unwrap(),
        ));
    }
    scene.client.handled().await;
    for (event, mut reply) in waiting {
        let answered = std::future::poll_fn(|cx| {
            std::task::Poll::Ready(std::pin::Pin::new(&mut reply).poll(cx).is_ready())
        });
        assert!(!answered.await, "{event}");
    }
}

#[tokio::test]
async fn changes_need_no_callback() {
    let server = Server::start().await;
    let scene = Scene::new(&server).await;
    let sid = &scene.session;
    scene
        .client
        .emit(
            "update-metadata",
            json!({ "sid": sid, "metadata": "a", "expectedVersion": 0 }),
        )
        .await;
    scene.client.emit("update-metadata", Value::Null).await;
    scene.client.emit("artifact-create", Value::Null).await;
    let probe = json!({ "sid": sid, "metadata": "b", "expectedVersion": 9 });
    let now = json!({ "result": "version-mismatch", "version": 1, "metadata": "a" });
    scene.check("update-metadata", probe, now).await;
}

/// A handler that fails says so in its own words, and neither its connection nor the server suffers.
#[tokio::test]
async fn failures_are_told_as_internal_errors() {
    let server = Server::failing().await;
    let mut client = server.account().await.user().await;
    let error = json!({ "result": "error", "message": "Internal error" });
    let not_ok = json!({ "ok": false, "error": "Internal error" });
    for (event, expected) in [
        ("access-key-get", not_ok.clone()),
        ("artifact-read", error.clone()),
        ("artifact-update", error.clone()),
        ("artifact-create", error.clone()),
        ("artifact-delete", error.clone()),
        ("machine-update-metadata", error.clone()),
        ("machine-update-state", error),
        ("rpc-call", not_ok),
        ("update-metadata", json!({ "result": "error" })),
        ("update-state", json!({ "result": "error" })),
        (
            "usage-report",
            json!({ "success": false, "error": "Internal error" }),
        ),
    ] {
        for event in [
            "message",
            "session-alive",
            "session-end",
            "machine-alive",
            "ping",
        ] {
            client.emit(event, json!({})).await;
        }
        assert_eq!(client.call(event, json!({})).await, expected, "{event}");
    }
    for kind in ["register", "unregister"] {
        client
            .emit(&format!("rpc-{kind}"), json!({ "method": "m" }))
            .await;
        let expected = json!({ "type": kind, "error": "Internal error" });
        assert_eq!(client.next_of("rpc-error").await, expected);
    }
}
