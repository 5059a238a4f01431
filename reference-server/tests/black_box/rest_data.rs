//! The REST surface of what an account keeps: machines, artifacts, keys and values, friends.

use serde_json::{Value, json};

use crate::rest::{check, invalid};
use crate::stand::{START, Server};

#[tokio::test]
async fn machines_and_access_keys() {
    let server = Server::start().await;
    let account = server.account().await;
    let new =
        json!({ "id": "m", "metadata": "md", "daemonState": "ds", "dataEncryptionKey": null });
    let made = account.post("/v1/machines", new).await;
    let expected = json!({
        "id": "m",
        "metadata": "md",
        "metadataVersion": 1,
        "daemonState": "ds",
        "daemonStateVersion": 1,
        "dataEncryptionKey": null,
        "active": false,
        "activeAt": START,
        "createdAt": START,
        "updatedAt": START,
    });
    assert_eq!(made["machine"], expected);
    assert_eq!(
        account
            .post("/v1/machines", json!({ "id": "m", "metadata": "x" }))
            .await["machine"],
        expected
    );
    let mut listed = expected;
    listed["seq"] = json!(0);
    assert_eq!(account.get("/v1/machines/m").await["machine"], listed);
    assert_eq!(account.get("/v1/machines").await, json!([listed]));
    let other = server.account().await;
    check(
        &other,
        "GET /v1/machines/m",
        Value::Null,
        404,
        json!({ "error": "Machine not found" }),
    )
    .await;

    let session = account.session("t").await;
    let path = format!("/v1/access-keys/{session}/m");
    let gone = json!({ "error": "Session or machine not found" });
    check(
        &other,
        &format!("GET {path}"),
        Value::Null,
        404,
        gone.clone(),
    )
    .await;
    check(
        &account,
        "POST /v1/access-keys/nope/m",
        json!({ "data": "x" }),
        404,
        gone,
    )
    .await;
    check(
        &account,
        &format!("GET {path}"),
        Value::Null,
        200,
        json!({ "accessKey": null }),
    )
    .await;
    let put = |version: u64| json!({ "data": "k2", "expectedVersion": version });
    check(
        &account,
        &format!("PUT {path}"),
        put(1),
        404,
        json!({ "error": "Access key not found" }),
    )
    .await;
    check(
        &account,
        &format!("POST {path}"),
        json!({}),
        400,
        invalid("body/data Required"),
    )
    .await;
    let key = json!({ "data": "k1", "dataVersion": 1, "createdAt": START, "updatedAt": START });
    check(
        &account,
        &format!("POST {path}"),
        json!({ "data": "k1" }),
        200,
        json!({ "success": true, "accessKey": key }),
    )
    .await;
    check(
        &account,
        &format!("POST {path}"),
        json!({ "data": "k1" }),
        409,
        json!({ "error": "Access key already exists" }),
    )
    .await;
    check(
        &account,
        &format!("PUT {path}"),
        put(1),
        200,
        json!({ "success": true, "version": 2 }),
    )
    .await;
    let stale = json!({ "success": false, "error": "version-mismatch", "currentVersion": 2, "currentData": "k2" });
    check(&account, &format!("PUT {path}"), put(1), 200, stale).await;
}

#[tokio::test]
async fn artifacts() {
    let server = Server::start().await;
    let account = server.account().await;
    let id = "6a1f84d2-a88f-416e-b613-d2c21e7472a9";
    let new = json!({ "id": id, "header": "aDE=", "body": "YjE=", "dataEncryptionKey": "azE=" });
    let mut row = new.clone();
    for (field, value) in [
        ("headerVersion", 1),
        ("bodyVersion", 1),
        ("seq", 0),
        ("createdAt", START),
        ("updatedAt", START),
    ] {
        row[field] = json!(value);
    }
    check(
        &account,
        "POST /v1/artifacts",
        new.clone(),
        200,
        row.clone(),
    )
    .await;
    check(
        &account,
        "POST /v1/artifacts",
        new.clone(),
        200,
        row.clone(),
    )
    .await;
    check(
        &account,
        &format!("GET /v1/artifacts/{id}"),
        Value::Null,
        200,
        row,
    )
    .await;
    let listed = json!([{ "id": id, "header": "aDE=", "headerVersion": 1, "dataEncryptionKey": "azE=", "seq": 0, "createdAt": START, "updatedAt": START }]);
    check(&account, "GET /v1/artifacts", Value::Null, 200, listed).await;
    let other = server.account().await;
    check(
        &other,
        "POST /v1/artifacts",
        new.clone(),
        409,
        json!({ "error": "Artifact with this ID already exists for another account" }),
    )
    .await;
    let mut bad = new.clone();
    bad["id"] = json!("not-uuid");
    check(
        &account,
        "POST /v1/artifacts",
        bad,
        400,
        invalid("body/id Invalid uuid"),
    )
    .await;
    let mut bad = new;
    bad["id"] = json!("00000000-0000-0000-0000-000000000000");
    bad["body"] = json!("!!!");
    check(
        &account,
        "POST /v1/artifacts",
        bad,
        400,
        invalid("body Expected base64 with padding"),
    )
    .await;
    let path = format!("POST /v1/artifacts/{id}");
    check(&account, &path, json!({}), 200, json!({ "success": true })).await;
    let header = json!({ "header": "aDI=", "expectedHeaderVersion": 1 });
    check(
        &account,
        &path,
        header.clone(),
        200,
        json!({ "success": true, "headerVersion": 2 }),
    )
    .await;
    let stale = json!({ "success": false, "error": "version-mismatch", "currentHeaderVersion": 2, "currentHeader": "aDI=" });
    check(&account, &path, header.clone(), 200, stale).await;
    let missing = json!({ "error": "Artifact not found" });
    check(&other, &path, header, 404, missing.clone()).await;
    check(
        &other,
        &format!("DELETE /v1/artifacts/{id}"),
        Value::Null,
        404,
        missing.clone(),
    )
    .await;
    check(
        &account,
        &format!("DELETE /v1/artifacts/{id}"),
        Value::Null,
        200,
        json!({ "success": true }),
    )
    .await;
    check(
        &account,
        &format!("GET /v1/artifacts/{id}"),
        Value::Null,
        404,
        missing,
    )
    .await;
}

#[tokio::test]
async fn key_value_store_and_settings() {
    let server = Server::start().await;
    let account = server.account().await;
    let mutate = |rows: &[(&str, Value, i64)]| {
        let rows: Vec<Value> = rows
            .iter()
            .map(|(key, value, version)| json!({ "key": key, "value": value, "version": version }))
            .collect();
        json!({ "mutations": rows })
    };
    let results = |rows: Value| json!({ "success": true, "results": rows });
    let both = mutate(&[("k1", json!("a"), -1), ("k2", json!("b"), -1)]);
    check(
        &account,
        "POST /v1/kv",
        both,
        200,
        results(json!([{ "key": "k1", "version": 0 }, { "key": "k2", "version": 0 }])),
    )
    .await;
    let mixed = mutate(&[("k2", json!("c"), 0), ("k1", json!("c"), -1)]);
    let stale = json!({ "success": false, "errors": [{ "key": "k1", "error": "version-mismatch", "version": 0, "value": "a" }] });
    check(&account, "POST /v1/kv", mixed, 409, stale).await;
    let delete = mutate(&[("k2", Value::Null, 0)]);
    check(
        &account,
        "POST /v1/kv",
        delete,
        200,
        results(json!([{ "key": "k2", "version": 1 }])),
    )
    .await;
    let again = mutate(&[("k2", json!("d"), -1)]);
    let stale = json!({ "success": false, "errors": [{ "key": "k2", "error": "version-mismatch", "version": 1, "value": null }] });
    check(&account, "POST /v1/kv", again, 409, stale).await;
    let item = json!({ "key": "k1", "value": "a", "version": 0 });
    check(
        &account,
        "GET /v1/kv?prefix=k",
        Value::Null,
        200,
        json!({ "items": [item] }),
    )
    .await;
    check(
        &account,
        "GET /v1/kv?prefix=x",
        Value::Null,
        200,
        json!({ "items": [] }),
    )
    .await;
    check(
        &account,
        "POST /v1/kv/bulk",
        json!({ "keys": ["k2", "k1", "zz"] }),
        200,
        json!({ "values": [item] }),
    )
    .await;
    check(&account, "GET /v1/kv/k1", Value::Null, 200, item).await;
    check(
        &account,
        "GET /v1/kv/k2",
        Value::Null,
        404,
        json!({ "error": "Key not found" }),
    )
    .await;
    let empty = invalid("body/mutations Array must contain at least 1 element(s)");
    check(
        &account,
        "POST /v1/kv",
        json!({ "mutations": [] }),
        400,
        empty,
    )
    .await;
    check(
        &account,
        "POST /v1/kv",
        json!({ "mutations": [{ "key": "k" }] }),
        400,
        invalid("body/mutations/0/value Required, body/mutations/0/version Required"),
    )
    .await;

    let settings = "POST /v1/account/settings";
    check(
        &account,
        "GET /v1/account/settings",
        Value::Null,
        200,
        json!({ "settings": null, "settingsVersion": 0 }),
    )
    .await;
    let set = |value: Value, version: i64| json!({ "settings": value, "expectedVersion": version });
    check(
        &account,
        settings,
        set(json!("s1"), 0),
        200,
        json!({ "success": true, "version": 1 }),
    )
    .await;
    let stale = json!({ "success": false, "error": "version-mismatch", "currentVersion": 1, "currentSettings": "s1" });
    check(&account, settings, set(json!("s2"), 0), 200, stale).await;
    check(
        &account,
        settings,
        set(Value::Null, 1),
        200,
        json!({ "success": true, "version": 2 }),
    )
    .await;
    let negative = invalid("body/expectedVersion Number must be greater than or equal to 0");
    check(&account, settings, set(json!("x"), -1), 400, negative).await;
}

#[tokio::test]
async fn friends_and_feed() {
    let server = Server::start().await;
    let (one, two) = (server.account().await, server.account().await);
    let (one_id, two_id) = (one.id().await, two.id().await);
    let (mut on_one, mut on_two) = (one.user().await, two.user().await);
    let status = |answer: Value| answer["user"]["status"].clone();
    let relation = |uid: &str, status: &str| json!({ "t": "relationship-updated", "uid": uid, "status": status, "timestamp": START });
    assert_eq!(
        status(one.post("/v1/friends/add", json!({ "uid": two_id })).await),
        "requested"
    );
    assert_eq!(on_one.updates().await, [relation(&two_id, "requested")]);
    let updates = on_two.updates().await;
    assert_eq!(updates[0], relation(&one_id, "pending"));
    assert_eq!(
        (&updates[1]["t"], &updates[1]["body"]),
        (
            &json!("new-feed-post"),
            &json!({ "kind": "friend_request", "uid": one_id })
        )
    );
    // Asking again changes nothing and tells nobody.
    assert_eq!(
        status(one.post("/v1/friends/add", json!({ "uid": two_id })).await),
        "requested"
    );
    assert_eq!(
        (on_one.updates().await.len(), on_two.updates().await.len()),
        (0, 0)
    );
    assert_eq!(
        status(two.post("/v1/friends/add", json!({ "uid": one_id })).await),
        "friend"
    );
    assert_eq!(on_one.updates().await.len(), 2);
    assert_eq!(on_two.updates().await, [relation(&one_id, "friend")]);
    assert_eq!(one.get("/v1/friends").await["friends"][0]["id"], two_id);
    assert_eq!(
        status(one.get(&format!("/v1/user/{two_id}")).await),
        "friend"
    );
    assert_eq!(
        status(
            one.post("/v1/friends/remove", json!({ "uid": two_id }))
                .await
        ),
        "requested"
    );
    assert_eq!(
        status(
            one.post("/v1/friends/remove", json!({ "uid": two_id }))
                .await
        ),
        "none"
    );
    assert_eq!(one.get("/v1/friends").await, json!({ "friends": [] }));
    for uid in [one_id.as_str(), "nobody"] {
        assert_eq!(
            one.post("/v1/friends/add", json!({ "uid": uid })).await,
            json!({ "user": null })
        );
    }
    let feed = two.get("/v1/feed").await;
    assert_eq!(
        (&feed["items"][0]["cursor"], &feed["hasMore"]),
        (&json!("0-1"), &json!(false))
    );
    assert_eq!(
        feed["items"][0]["repeatKey"],
        format!("friend_request_{one_id}")
    );
    check(
        &one,
        "GET /v1/user/nobody",
        Value::Null,
        404,
        json!({ "error": "User not found" }),
    )
    .await;
}

/// A push event reaches the user-scoped connections and those of its session.
#[tokio::test]
async fn push_events_are_sent_to_connections() {
    let server = Server::start().await;
    let account = server.account().await;
    let (session, other) = (account.session("t").await, account.session("o").await);
    let mut hear = [account.user().await, account.on_session(&session).await];
    let mut deaf = [
        account.on_session(&other).await,
        account.on_machine("m").await,
        server.account().await.user().await,
    ];
    let event = json!({ "kind": "done", "title": "t", "body": "b" });
    let path = format!("/v1/sessions/{session}/push-event");
    account.post(&path, event).await;
    let expected = json!({
        "type": "session-event", "sessionId": session, "kind": "done", "title": "t", "body": "b",
        "timestamp": START,
    });
    for client in &mut hear {
        assert!(client.ephemerals().await.contains(&expected));
    }
    for client in &mut deaf {
        assert!(!client.ephemerals().await.contains(&expected));
    }
}

#[tokio::test]
async fn small_routes() {
    let server = Server::start().await;
    let account = server.account().await;
    let session = account.session("t").await;
    let push = format!("POST /v1/sessions/{session}/push-event");
    let event = json!({ "kind": "done", "title": "t", "body": "b" });
    check(
        &account,
        "GET /v1/push-tokens",
        Value::Null,
        200,
        json!({ "tokens": [] }),
    )
    .await;
    check(
        &account,
        &push,
        event.clone(),
        200,
        json!({ "success": true, "result": "no_tokens" }),
    )
    .await;
    for _ in 0..2 {
        check(
            &account,
            "POST /v1/push-tokens",
            json!({ "token": "device" }),
            200,
            json!({ "success": true }),
        )
        .await;
    }
    assert_eq!(
        account.get("/v1/push-tokens").await["tokens"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    check(
        &account,
        &push,
        event.clone(),
        200,
        json!({ "success": true, "result": "not_sent" }),
    )
    .await;
    check(
        &account,
        "POST /v1/sessions/nope/push-event",
        event,
        404,
        json!({ "error": "Session not found" }),
    )
    .await;
    check(
        &account,
        "DELETE /v1/push-tokens/device",
        Value::Null,
        200,
        json!({ "success": true }),
    )
    .await;
    assert_eq!(account.get("/v1/push-tokens").await["tokens"], json!([]));
    let version = json!({ "platform": "ios", "version": "1.0.0", "app_id": "x" });
    check(
        &account,
        "POST /v1/version",
        version,
        200,
        json!({ "updateUrl": null }),
    )
    .await;
    let client = account.user().await;
    for key in ["a", "b"] {
        let report = json!({ "key": key, "sessionId": session, "tokens": { "total": 2, "in": 1.5 }, "cost": { "total": 0.25 } });
        client.call("usage-report", report).await;
    }
    let day = START / 1_000 - (START / 1_000) % 86_400;
    let sum = json!({ "timestamp": day, "tokens": { "in": 3, "total": 4 }, "cost": { "total": 0.5 }, "reportCount": 2 });
    let answer = json!({ "usage": [sum], "groupBy": "day", "totalReports": 2 });
    check(&account, "GET /v1/usage", Value::Null, 200, answer.clone()).await;
    check(
        &account,
        "POST /v1/usage/query",
        json!({ "sessionId": session }),
        200,
        answer,
    )
    .await;
    let none = json!({ "usage": [], "groupBy": "hour", "totalReports": 0 });
    check(
        &account,
        "GET /v1/usage?groupBy=hour&startTime=1900000000",
        Value::Null,
        200,
        none,
    )
    .await;
}
