//! Everything that a server shows is the same after it was killed and started again.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use touchstone_client::provision::{NewMachine, NewSession, Rest};
use touchstone_client::{Secret, Socket, connect};

use crate::served::{Served, ask};

const ANSWER: Duration = Duration::from_secs(30);
const ARTIFACT: &str = "8f14e45f-ceea-4678-9a51-0123456789ab";
const GONE_ARTIFACT: &str = "8f14e45f-ceea-4678-9a51-0123456789ac";

/// Makes one of everything, and compares what is shown before with what is shown after.
pub(crate) async fn everything(database: &str) {
    let served = Served::start(database).await;
    let shown = database.split('?').next().expect("a URL");
    assert!(
        served
            .ready
            .trim()
            .ends_with(&format!(" with rows in {shown}")),
        "{}",
        served.ready
    );
    let rest = served.rest();
    let mine = rest.account([1; 32]).await.expect("an account").token;
    let theirs = rest.account([2; 32]).await.expect("an account").token;
    let sessions = make(&served, &mine, &theirs).await;
    let mut before = shown_to(&rest, &mine, &theirs, &sessions).await;
    served.kill();
    served.gone().await;

    let served = Served::start(database).await;
    let rest = served.rest();
    let again = rest.account([1; 32]).await.expect("the account").token;
    assert_eq!(again.expose(), mine.expose(), "another token");
    let after = shown_to(&rest, &mine, &theirs, &sessions).await;
    // Nobody is connected yet.
    for (path, shown) in &mut before {
        match *path {
            "/v1/machines" => shown[0]["active"] = json!(false),
            "/v1/machines/pc" => shown["machine"]["active"] = json!(false),
            _ => {}
        }
    }
    for ((path, before), (_, after)) in before.iter().zip(&after) {
        assert_eq!(after, before, "{path}");
    }

    // Whoever was deleted has a version that goes on, and whoever has ended is not revived.
    let body = json!({ "mutations": [{ "key": "gone", "value": "again", "version": 1 }] });
    let answer = tell(&rest, &mine, "POST", "/v1/kv", body).await;
    assert_eq!(answer["results"][0]["version"], 2, "{answer}");
    let user = user(&served, &mine).await;
    let ended = &sessions[1];
    let alive = json!({ "sid": ended, "time": served_now(&rest).await, "thinking": false });
    user.emit("session-alive", [alive])
        .await
        .expect("a connection");
    user.call("ping", [json!({})], ANSWER)
        .await
        .expect("an answer");
    let list = tell(&rest, &mine, "GET", "/v1/sessions", Value::Null).await;
    let all = list["sessions"].as_array().expect("a list");
    let ended = all.iter().find(|session| session["id"] == **ended);
    assert_eq!(ended.expect("the session")["active"], false);
    let _machine = machine(&served, &mine).await;
    let shown = tell(&rest, &mine, "GET", "/v1/machines/pc", Value::Null).await;
    assert_eq!(shown["machine"]["active"], true, "{shown}");
    served.stop().await;
}

/// Makes everything, and returns the ids of the sessions.
async fn make(served: &Served, mine: &Secret, theirs: &Secret) -> [String; 2] {
    let rest = served.rest();
    let account = touchstone_client::provision::Account {
        token: mine.clone(),
        id: None,
    };
    let session = async |tag: &str| {
        let new = NewSession {
            tag: tag.to_owned(),
            metadata: format!("{tag} \0 \u{F8FE} é"),
            agent_state: Some("state".to_owned()),
            data_encryption_key: Some(STANDARD.encode(tag)),
        };
        rest.session(&account, &new).await.expect("a session").id
    };
    let sessions = [session("one").await, session("ended").await];
    let [one, ended] = &sessions;
    let deleted = session("deleted").await;
    let new = NewMachine {
        id: "pc".to_owned(),
        metadata: "metadata".to_owned(),
        daemon_state: Some("daemon".to_owned()),
        data_encryption_key: None,
    };
    rest.machine(&account, &new).await.expect("a machine");
    let machine = machine(served, mine).await;
    let user = user(served, mine).await;
    for (event, data) in [
        (
            "update-metadata",
            json!({ "sid": one, "metadata": "next", "expectedVersion": 0 }),
        ),
        (
            "update-state",
            json!({ "sid": one, "agentState": null, "expectedVersion": 1 }),
        ),
        ("usage-report", usage("tokens", one)),
        ("usage-report", usage("tokens", one)),
        ("usage-report", usage("gone", &deleted)),
        (
            "usage-report",
            json!({ "key": "tokens", "tokens": { "total": 5 }, "cost": { "total": 0.5 } }),
        ),
        ("artifact-create", artifact(ARTIFACT)),
        ("artifact-create", artifact(GONE_ARTIFACT)),
        (
            "artifact-update",
            json!({ "artifactId": ARTIFACT, "header": { "data": "aGVhZA==", "expectedVersion": 1 } }),
        ),
        ("artifact-delete", json!({ "artifactId": GONE_ARTIFACT })),
    ] {
        let reply = user.call(event, [data], ANSWER).await.expect("an answer");
        let answer = reply.data().expect("JSON");
        let is_right = answer["result"] == "success" || answer["success"] == true;
        assert!(is_right, "{event}: {answer}");
    }
    for (event, data) in [
        (
            "machine-update-state",
            json!({ "machineId": "pc", "daemonState": "d", "expectedVersion": 1 }),
        ),
        (
            "machine-update-metadata",
            json!({ "machineId": "pc", "metadata": "m", "expectedVersion": 1 }),
        ),
    ] {
        let reply = machine
            .call(event, [data], ANSWER)
            .await
            .expect("an answer");
        assert_eq!(reply.data().expect("JSON")["result"], "success", "{event}");
    }
    for text in ["first", "second", "first"] {
        let message = json!({ "sid": one, "message": text, "localId": text });
        user.emit("message", [message]).await.expect("a connection");
    }
    let message = json!({ "sid": deleted, "message": "gone" });
    user.emit("message", [message]).await.expect("a connection");
    user.call("ping", [json!({})], ANSWER)
        .await
        .expect("an answer");

    let their_id =
        tell(&rest, theirs, "GET", "/v1/account/profile", Value::Null).await["id"].clone();
    let my_id = tell(&rest, mine, "GET", "/v1/account/profile", Value::Null).await["id"].clone();
    let [key, other_key] = [[7; 32], [8; 32]].map(|key: [u8; 32]| STANDARD.encode(key));
    let long = "k".repeat(10_000);
    for (token, method, path, body) in [
        (
            mine,
            "POST",
            format!("/v1/access-keys/{one}/pc"),
            json!({ "data": "key" }),
        ),
        (
            mine,
            "PUT",
            format!("/v1/access-keys/{one}/pc"),
            json!({ "data": "new", "expectedVersion": 1 }),
        ),
        (
            mine,
            "POST",
            format!("/v1/access-keys/{deleted}/pc"),
            json!({ "data": "key" }),
        ),
        (
            mine,
            "POST",
            "/v1/account/settings".to_owned(),
            json!({ "settings": "mine", "expectedVersion": 0 }),
        ),
        (
            mine,
            "POST",
            "/v1/kv".to_owned(),
            json!({ "mutations": [
            { "key": "a", "value": "1", "version": -1 },
            { "key": "gone", "value": "1", "version": -1 },
            { "key": long, "value": "nul \0", "version": -1 },
        ] }),
        ),
        (
            mine,
            "POST",
            "/v1/kv".to_owned(),
            json!({ "mutations": [{ "key": "gone", "value": null, "version": 0 }] }),
        ),
        (
            mine,
            "POST",
            "/v1/friends/add".to_owned(),
            json!({ "uid": their_id }),
        ),
        (
            theirs,
            "POST",
            "/v1/friends/add".to_owned(),
            json!({ "uid": my_id }),
        ),
        (
            mine,
            "POST",
            "/v1/push-tokens".to_owned(),
            json!({ "token": "phone" }),
        ),
        (
            mine,
            "POST",
            "/v1/push-tokens".to_owned(),
            json!({ "token": "lost" }),
        ),
        (
            mine,
            "POST",
            "/v1/push-tokens".to_owned(),
            json!({ "token": "tablet" }),
        ),
        (
            mine,
            "DELETE",
            "/v1/push-tokens/lost".to_owned(),
            Value::Null,
        ),
        (
            mine,
            "POST",
            "/v1/auth/request".to_owned(),
            json!({ "publicKey": key, "supportsV2": true }),
        ),
        (
            mine,
            "POST",
            "/v1/auth/request".to_owned(),
            json!({ "publicKey": other_key }),
        ),
        (
            mine,
            "POST",
            "/v1/auth/response".to_owned(),
            json!({ "publicKey": key, "response": "sealed" }),
        ),
        (
            mine,
            "DELETE",
            format!("/v1/sessions/{deleted}"),
            Value::Null,
        ),
        (
            mine,
            "POST",
            format!("/v1/sessions/{ended}/archive"),
            Value::Null,
        ),
    ] {
        let body = (!body.is_null()).then_some(&body);
        let answer = rest
            .request(method, &path, Some(token), body)
            .await
            .expect("an answer");
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.body);
    }
    sessions
}

/// All that can be seen.
async fn shown_to(
    rest: &Rest,
    mine: &Secret,
    theirs: &Secret,
    [one, ended]: &[String; 2],
) -> Vec<(&'static str, Value)> {
    let [key, other_key] = [[7; 32], [8; 32]].map(|key: [u8; 32]| STANDARD.encode(key));
    let status = |key| format!("/v1/auth/request/status?publicKey={key}");
    let mut all = Vec::new();
    for (name, token, path) in [
        (
            "/v1/account/profile",
            mine,
            "/v1/account/profile".to_owned(),
        ),
        (
            "/v1/account/settings",
            mine,
            "/v1/account/settings".to_owned(),
        ),
        ("/v1/sessions", mine, "/v1/sessions".to_owned()),
        ("messages", mine, format!("/v3/sessions/{one}/messages")),
        (
            "no messages",
            mine,
            format!("/v3/sessions/{ended}/messages"),
        ),
        ("/v1/machines", mine, "/v1/machines".to_owned()),
        ("/v1/machines/pc", mine, "/v1/machines/pc".to_owned()),
        ("access key", mine, format!("/v1/access-keys/{one}/pc")),
        ("/v1/artifacts", mine, "/v1/artifacts".to_owned()),
        ("artifact", mine, format!("/v1/artifacts/{ARTIFACT}")),
        (
            "deleted artifact",
            mine,
            format!("/v1/artifacts/{GONE_ARTIFACT}"),
        ),
        ("/v1/kv", mine, "/v1/kv".to_owned()),
        ("my friends", mine, "/v1/friends".to_owned()),
        ("their friends", theirs, "/v1/friends".to_owned()),
        ("my feed", mine, "/v1/feed".to_owned()),
        ("their feed", theirs, "/v1/feed".to_owned()),
        ("/v1/push-tokens", mine, "/v1/push-tokens".to_owned()),
        ("/v1/usage", mine, "/v1/usage".to_owned()),
        ("a pairing that was answered", mine, status(key)),
        ("a pairing that waits", mine, status(other_key)),
    ] {
        let mut shown = tell(rest, token, "GET", &path, Value::Null).await;
        if let Some(fields) = shown.as_object_mut() {
            // When it was asked.
            fields.remove("timestamp");
        }
        all.push((name, shown));
    }
    let (settings, usage) = (&all[1].1, &all[17].1);
    assert_eq!(settings["settings"], "mine", "{settings}");
    assert!(usage.to_string().contains("\"tokens\""), "{usage}");
    assert_eq!(
        all[3].1["messages"].as_array().map(Vec::len),
        Some(2),
        "{}",
        all[3].1
    );
    assert_eq!(
        all[11].1["items"].as_array().map(Vec::len),
        Some(2),
        "{}",
        all[11].1
    );
    all
}

fn usage(key: &str, session: &str) -> Value {
    json!({ "key": key, "sessionId": session, "tokens": { "total": 1 }, "cost": { "total": 0.25 } })
}

fn artifact(id: &str) -> Value {
    json!({ "id": id, "header": "aA==", "body": "Yg==", "dataEncryptionKey": "aw==" })
}

async fn user(served: &Served, token: &Secret) -> Socket {
    joined(
        served,
        json!({ "token": token.expose(), "clientType": "user-scoped" }),
    )
    .await
}

async fn machine(served: &Served, token: &Secret) -> Socket {
    let auth =
        json!({ "token": token.expose(), "clientType": "machine-scoped", "machineId": "pc" });
    joined(served, auth).await
}

async fn joined(served: &Served, auth: Value) -> Socket {
    let (socket, mut events) = connect(&served.options().auth(auth))
        .await
        .expect("a connection");
    tokio::spawn(async move { while events.recv().await.is_ok() {} });
    socket
}

async fn served_now(rest: &Rest) -> Value {
    let health = rest
        .request("GET", "/health", None, None)
        .await
        .expect("an answer");
    health.body["timestamp"].clone()
}

async fn tell(rest: &Rest, token: &Secret, method: &str, path: &str, body: Value) -> Value {
    let body = (!body.is_null()).then_some(&body);
    let answer = ask(rest, token, method, path, body).await;
    answer.unwrap_or_else(|| panic!("no answer to {method} {path}"))
}
