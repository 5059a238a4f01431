//! The control extension: every builder through every filter, and the tap (docs/control.md).

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use touchstone_fixtures::{EventKind, golden, validate_ephemeral, validate_update};

use crate::stand::{Account, Client, START, Server, within};

/// The 17 builders by the names of the specification, with the arguments that make the golden
/// payload of a type.
fn builders() -> Vec<(&'static str, &'static str, &'static str, Value)> {
    let row = json!({
        "id": "i", "seq": 0, "metadata": "m", "metadataVersion": 1, "active": true, "activeAt": START,
        "createdAt": START, "updatedAt": START, "dataEncryptionKey": null,
    });
    let with = |fields: Value| {
        let mut all = row.clone();
        all.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        all
    };
    let session = with(json!({ "agentState": null, "agentStateVersion": 0 }));
    let machine = with(json!({ "daemonState": "d", "daemonStateVersion": 1 }));
    let artifact = json!({
        "id": "a", "header": "aGk=", "headerVersion": 1, "body": "aGk=", "bodyVersion": 1, "seq": 0,
        "dataEncryptionKey": "a2V5", "createdAt": START, "updatedAt": START,
    });
    let message = json!({
        "id": "m", "seq": 1, "content": { "t": "encrypted", "c": "x" }, "localId": null,
        "createdAt": START, "updatedAt": START,
    });
    let part = json!({ "value": "v", "version": 3 });
    vec![
        (
            "buildNewSessionUpdate",
            "update",
            "new-session",
            json!({ "session": session }),
        ),
        (
            "buildNewMessageUpdate",
            "update",
            "new-message",
            json!({ "message": message, "sessionId": "s" }),
        ),
        (
            "buildUpdateSessionUpdate",
            "update",
            "update-session",
            json!({ "sessionId": "s", "metadata": part, "agentState": part }),
        ),
        (
            "buildDeleteSessionUpdate",
            "update",
            "delete-session",
            json!({ "sessionId": "s" }),
        ),
        (
            "buildUpdateAccountUpdate",
            "update",
            "update-account",
            json!({ "userId": "u", "profile": { "settings": part } }),
        ),
        (
            "buildNewMachineUpdate",
            "update",
            "new-machine",
            json!({ "machine": machine }),
        ),
        (
            "buildUpdateMachineUpdate",
            "update",
            "update-machine",
            json!({ "machineId": "m", "metadata": part }),
        ),
        (
            "buildNewArtifactUpdate",
            "update",
            "new-artifact",
            json!({ "artifact": artifact }),
        ),
        (
            "buildUpdateArtifactUpdate",
            "update",
            "update-artifact",
            json!({ "artifactId": "a", "body": { "value": "aGk=", "version": 2 } }),
        ),
        (
            "buildDeleteArtifactUpdate",
            "update",
            "delete-artifact",
            json!({ "artifactId": "a" }),
        ),
        (
            "buildRelationshipUpdatedEvent",
            "update",
            "relationship-updated",
            json!({ "data": { "uid": "u", "status": "friend", "timestamp": START } }),
        ),
        (
            "buildNewFeedPostUpdate",
            "update",
            "new-feed-post",
            json!({ "feedItem": { "id": "f", "body": {}, "cursor": "0-1", "createdAt": START } }),
        ),
        (
            "buildKVBatchUpdateUpdate",
            "update",
            "kv-batch-update",
            json!({ "changes": [{ "key": "k", "value": null, "version": 2 }] }),
        ),
        (
            "buildSessionActivityEphemeral",
            "ephemeral",
            "activity",
            json!({ "sessionId": "s", "active": true, "activeAt": START }),
        ),
        (
            "buildMachineActivityEphemeral",
            "ephemeral",
            "machine-activity",
            json!({ "machineId": "m", "active": false, "activeAt": START }),
        ),
        (
            "buildUsageEphemeral",
            "ephemeral",
            "usage",
            json!({ "sessionId": "s", "key": "k", "tokens": { "total": 1 }, "cost": { "total": 0.5 } }),
        ),
        (
            "buildMachineStatusEphemeral",
            "ephemeral",
            "machine-status",
            json!({ "machineId": "m", "online": true }),
        ),
    ]
}

/// Who is there, and which of the filters below means them.
async fn cast(account: &Account<'_>) -> Vec<(Client, [bool; 4])> {
    vec![
        (account.user().await, [true, true, true, true]),
        (account.user().await, [true, true, true, true]),
        (account.on_session("s").await, [true, false, false, true]),
        (
            account.on_session("other").await,
            [false, false, false, true],
        ),
        (account.on_machine("m").await, [false, false, true, true]),
        (
            account.on_machine("other").await,
            [false, false, false, true],
        ),
    ]
}

fn filters() -> [Value; 4] {
    [
        json!({ "type": "all-interested-in-session", "sessionId": "s" }),
        json!({ "type": "user-scoped-only" }),
        json!({ "type": "machine-scoped-only", "machineId": "m" }),
        json!({ "type": "all-user-authenticated-connections" }),
    ]
}

#[tokio::test]
async fn every_builder_through_every_filter() {
    let server = Server::start().await;
    let account = server.account().await;
    let user_id = account.id().await;
    let mut stranger = server.account().await.user().await;
    let mut cast = cast(&account).await;
    let ids: Vec<String> = cast
        .iter()
        .map(|(client, _)| client.socket.id().unwrap())
        .collect();
    for (client, _) in &mut cast {
        client.seen().await;
    }
    for (builder, event, kind, args) in builders() {
        for (filter_index, filter) in filters().into_iter().enumerate() {
            // With nobody skipped, and with each of three kinds of connection skipped.
            for skip in [None, Some(0), Some(2), Some(4)] {
                let mut body = json!({ "userId": user_id, "builder": builder, "args": args, "recipientFilter": filter });
                if let Some(skip) = skip {
                    body["skipSenderConnection"] = json!(ids[skip]);
                }
                let answer = account.post("/control/emit", body).await;
                let what = format!("{builder} {filter} {skip:?}");
                let mut expected = Vec::new();
                for (index, (client, meant)) in cast.iter_mut().enumerate() {
                    let is_meant = meant[filter_index] && skip != Some(index);
                    let seen = client.seen().await;
                    if is_meant {
                        assert_eq!(
                            seen,
                            [(event.to_owned(), answer["payload"].clone())],
                            "{what} {index}"
                        );
                        expected.push(ids[index].clone());
                    } else {
                        assert_eq!(seen, [], "{what} {index}");
                    }
                }
                assert_eq!(answer["recipients"], json!(expected), "{what}");
                let skipped = skip
                    .filter(|&skip| cast[skip].1[filter_index])
                    .map(|skip| ids[skip].clone());
                assert_eq!(answer["skipped"], json!(skipped), "{what}");
                let report = match event {
                    "update" => validate_update(&answer["payload"]),
                    _ => validate_ephemeral(&answer["payload"]),
                };
                assert_eq!(report.violations, [], "{what}");
                assert!(
                    matches!(report.kind, EventKind::Known(known) if known == kind),
                    "{what}"
                );
            }
        }
    }
    assert_eq!(stranger.seen().await, []);
}

#[tokio::test]
async fn ready_payloads_travel_as_they_are() {
    let server = Server::start().await;
    let account = server.account().await;
    let mut user = account.user().await;
    for (kind, schema) in [
        ("update", "envelope/update"),
        ("ephemeral", "ephemeral/activity"),
    ] {
        let payload = touchstone_fixtures::goldens()
            .find(|golden| golden.schema == schema)
            .unwrap();
        let body =
            json!({ "token": account.token.expose(), "kind": kind, "payload": payload.value });
        account.post("/control/emit", body).await;
        assert_eq!(user.next().await, (kind.to_owned(), payload.value.clone()));
    }
    assert!(golden("nope", "nope").is_none());
    let id = account.id().await;
    for (body, status) in [
        (json!({}), 400),
        (json!({ "userId": id }), 400),
        (json!({ "userId": id, "kind": "update" }), 400),
        (json!({ "userId": id, "kind": "other", "payload": {} }), 400),
        (
            json!({ "userId": id, "kind": "update", "payload": {}, "typo": 1 }),
            400,
        ),
        (
            json!({ "userId": id, "kind": "update", "payload": {}, "recipientFilter": { "type": "x" } }),
            400,
        ),
        (
            json!({ "userId": id, "builder": "buildNewSessionUpdate", "args": {} }),
            400,
        ),
        (json!({ "userId": id, "builder": "nope", "args": {} }), 404),
        (
            json!({ "userId": "nobody", "kind": "update", "payload": {} }),
            404,
        ),
        (
            json!({ "userId": id, "kind": "update", "payload": {}, "skipSenderConnection": "x" }),
            404,
        ),
    ] {
        assert_eq!(
            account.http("POST", "/control/emit", body.clone()).await.0,
            status,
            "{body}"
        );
    }
    assert_eq!(user.seen().await, []);
}

#[tokio::test]
async fn without_the_extension_its_routes_do_not_exist() {
    let server = Server::with(|config| config.control = false).await;
    for (method, path) in [("POST", "/control/emit"), ("GET", "/control/tap")] {
        let (status, body) = server.http(method, path, None, None).await;
        assert_eq!((status, &body["error"]), (404, &json!("Not found")));
    }
}

/// The lines of a server-sent event stream.
struct Tap(BufReader<TcpStream>);

impl Tap {
    async fn open(server: &Server) -> Self {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        let request = format!(
            "GET /control/tap HTTP/1.1\r\nHost: {}\r\n\r\n",
            server.address()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut tap = Self(BufReader::new(stream));
        while !tap.line().await.is_empty() {}
        tap
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        within("line of the tap", self.0.read_line(&mut line))
            .await
            .unwrap();
        line.trim_end().to_owned()
    }

    /// The next event's name and data.
    async fn next(&mut self) -> (String, Value) {
        let mut name = String::new();
        loop {
            let line = self.line().await;
            if let Some(event) = line.strip_prefix("event: ") {
                name = event.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                return (name, serde_json::from_str(data).unwrap());
            }
        }
    }
}

#[tokio::test]
async fn the_tap_tells_every_decision() {
    let server = Server::start().await;
    let account = server.account().await;
    let session = account.session("tag").await;
    let (one, two) = (account.user().await, account.on_session(&session).await);
    let mut tap = Tap::open(&server).await;
    two.emit("message", json!({ "sid": session, "message": "x" }))
        .await;
    let (name, decision) = tap.next().await;
    assert_eq!(name, "decision");
    assert_eq!(decision["account"], account.id().await);
    assert_eq!(decision["event"], "update");
    assert_eq!(decision["payload"]["body"]["t"], "new-message");
    assert_eq!(
        decision["filter"],
        json!({ "type": "all-interested-in-session", "sessionId": session })
    );
    assert_eq!(decision["recipients"], json!([one.socket.id()]));
    assert_eq!(decision["skipped"], json!(two.socket.id()));
    two.emit("session-alive", json!({ "sid": session, "time": START }))
        .await;
    let (_, decision) = tap.next().await;
    assert_eq!(
        (&decision["event"], &decision["filter"]["type"]),
        (&json!("ephemeral"), &json!("user-scoped-only"))
    );
    assert_eq!(decision["skipped"], Value::Null);
}

/// A reader of the tap that is too slow is told how many decisions it has lost, and holds up nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_tap_is_told_what_it_lost() {
    let server = Server::start().await;
    let account = server.account().await;
    let session = account.session("tag").await;
    let mut tap = Tap::open(&server).await;
    // More than the tap's queue and the kernel's buffers hold together.
    let batch = vec![json!({ "content": "x".repeat(8_000) }); 100];
    let batches = 65;
    let total = batches * 100;
    for _ in 0..batches {
        let body = json!({ "messages": batch });
        account
            .post(&format!("/v3/sessions/{session}/messages"), body)
            .await;
    }
    let (mut told, mut lost, mut last) = (0, 0, 0);
    while told + lost < total {
        let (name, data) = tap.next().await;
        if name == "lost" {
            lost += data["lost"].as_u64().unwrap();
        } else {
            told += 1;
            let seq = data["payload"]["body"]["message"]["seq"].as_u64().unwrap();
            assert_eq!(seq, told + lost, "what is missing was told");
            last = seq;
        }
    }
    assert_eq!(last, total);
    assert!(lost > 0, "the queue of the tap is bounded");
}
