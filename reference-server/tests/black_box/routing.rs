//! Who receives what (the specification's decisions, section 3): each cause, with a full cast of
//! connections of two accounts under the same names, against the table.

use serde_json::{Value, json};

use crate::stand::{Account, Client, START, Server};

/// Connections of every scope.
struct Cast {
    names: Vec<&'static str>,
    clients: Vec<Client>,
}

impl Cast {
    async fn new(account: &Account<'_>, sessions: &[String; 2], prefix: bool) -> Self {
        let names = if prefix {
            vec!["u1", "u2", "s1", "s1b", "s2", "m1", "m2"]
        } else {
            vec!["v-user", "v-session", "v-machine"]
        };
        let mut clients = Vec::new();
        if prefix {
            clients.push(account.user().await);
            clients.push(account.user().await);
            clients.push(account.on_session(&sessions[0]).await);
            clients.push(account.on_session(&sessions[0]).await);
            clients.push(account.on_session(&sessions[1]).await);
            clients.push(account.on_machine("machine-1").await);
            clients.push(account.on_machine("machine-2").await);
        } else {
            clients.push(account.user().await);
            clients.push(account.on_session(&sessions[0]).await);
            clients.push(account.on_machine("machine-1").await);
        }
        let mut cast = Self { names, clients };
        cast.received(|_| true).await;
        cast
    }

    fn client(&self, name: &str) -> &Client {
        let index = self.names.iter().position(|known| *known == name).unwrap();
        &self.clients[index]
    }

    /// Who has received what matches since the last time, each as often as it did.
    async fn received(&mut self, matches: impl Fn(&Value) -> bool) -> Vec<&'static str> {
        let mut receivers = Vec::new();
        for (name, client) in self.names.iter().zip(&mut self.clients) {
            let count = client
                .seen()
                .await
                .iter()
                .filter(|(_, data)| matches(data))
                .count();
            receivers.extend(std::iter::repeat_n(*name, count));
        }
        receivers
    }
}

#[tokio::test]
async fn every_cause_reaches_whom_the_table_says() {
    let server = Server::start().await;
    let (account, other) = (server.account().await, server.account().await);
    let sessions = [account.session("one").await, account.session("two").await];
    for machine in ["machine-1", "machine-2"] {
        account.machine(machine).await;
    }
    let mut cast = Cast::new(&account, &sessions, true).await;
    // Another account's connections name the very same session and machine.
    let mut strangers = Cast::new(&other, &sessions, false).await;
    let [session, _] = &sessions;
    let of_session = ["u1", "u2", "s1", "s1b"];
    let of_machine = ["u1", "u2", "m1"];
    let of_user = ["u1", "u2"];

    let update = |t: &'static str| move |data: &Value| data["body"]["t"] == t;
    let ephemeral = |t: &'static str| move |data: &Value| data["type"] == t;
    macro_rules! reaches {
        ($from:expr, $event:expr, $data:expr, $matches:expr, $expected:expr) => {{
            cast.client($from).emit($event, $data).await;
            cast.client($from).handled().await;
            let what = format!("{} from {}", $event, $from);
            assert_eq!(cast.received($matches).await, $expected.to_vec(), "{what}");
            assert!(strangers.received(|_| true).await.is_empty(), "{what}");
        }};
    }
    for (version, from) in ["u1", "s1", "s2", "m1"].into_iter().enumerate() {
        let data = json!({ "sid": session, "metadata": "x", "expectedVersion": version });
        reaches!(
            from,
            "update-metadata",
            data,
            update("update-session"),
            of_session
        );
        let data = json!({ "sid": session, "agentState": "x", "expectedVersion": version });
        reaches!(
            from,
            "update-state",
            data,
            update("update-session"),
            of_session
        );
        let version = version + 1;
        let data = json!({ "machineId": "machine-1", "metadata": "x", "expectedVersion": version });
        reaches!(
            from,
            "machine-update-metadata",
            data,
            update("update-machine"),
            of_machine
        );
        let data =
            json!({ "machineId": "machine-1", "daemonState": "x", "expectedVersion": version });
        reaches!(
            from,
            "machine-update-state",
            data,
            update("update-machine"),
            of_machine
        );
    }
    // Only the sending connection is skipped, not its session.
    for from in ["u1", "s1", "s1b", "s2", "m1"] {
        let expected: Vec<_> = of_session
            .into_iter()
            .filter(|name| *name != from)
            .collect();
        let data = json!({ "sid": session, "message": from });
        reaches!(from, "message", data, update("new-message"), expected);
    }
    for from in ["u1", "s2", "m1"] {
        let data = json!({ "sid": session, "time": START, "thinking": 1 });
        reaches!(from, "session-alive", data, ephemeral("activity"), of_user);
        let data = json!({ "machineId": "machine-1", "time": START });
        reaches!(
            from,
            "machine-alive",
            data,
            ephemeral("machine-activity"),
            of_user
        );
        let data = json!({ "key": "k", "sessionId": session, "tokens": { "total": 1 }, "cost": { "total": 1 } });
        reaches!(from, "usage-report", data, ephemeral("usage"), of_user);
        let data = json!({ "key": "k", "tokens": { "total": 1 }, "cost": { "total": 1 } });
        reaches!(from, "usage-report", data, |_| true, [""; 0]);
        let data = json!({ "id": from, "header": "", "body": "", "dataEncryptionKey": "" });
        reaches!(
            from,
            "artifact-create",
            data.clone(),
            update("new-artifact"),
            of_user
        );
        reaches!(from, "artifact-create", data, |_| true, [""; 0]);
        let data = json!({ "artifactId": from, "body": { "data": "", "expectedVersion": 1 } });
        reaches!(
            from,
            "artifact-update",
            data,
            update("update-artifact"),
            of_user
        );
        reaches!(
            from,
            "artifact-delete",
            json!({ "artifactId": from }),
            update("delete-artifact"),
            of_user
        );
    }
    reaches!(
        "m2",
        "session-end",
        json!({ "sid": session, "time": START }),
        ephemeral("activity"),
        of_user
    );

    macro_rules! post_reaches {
        ($method:expr, $path:expr, $body:expr, $matches:expr, $expected:expr) => {{
            assert_eq!(
                account.http($method, $path, $body).await.0,
                200,
                "{}",
                $path
            );
            assert_eq!(
                cast.received($matches).await,
                $expected.to_vec(),
                "{} {}",
                $method,
                $path
            );
            assert!(
                strangers.received(|_| true).await.is_empty(),
                "{} {}",
                $method,
                $path
            );
        }};
    }
    let new = json!({ "tag": "three", "metadata": "m" });
    post_reaches!(
        "POST",
        "/v1/sessions",
        new.clone(),
        update("new-session"),
        of_user
    );
    post_reaches!("POST", "/v1/sessions", new, |_| true, [""; 0]);
    let v3 = format!("/v3/sessions/{session}/messages");
    let batch = json!({ "messages": [{ "content": "a", "localId": "a" }, { "content": "b", "localId": "b" }] });
    let twice = ["u1", "u1", "u2", "u2", "s1", "s1", "s1b", "s1b"];
    post_reaches!("POST", &v3, batch.clone(), update("new-message"), twice);
    post_reaches!("POST", &v3, batch, |_| true, [""; 0]);
    let machine = json!({ "id": "machine-3", "metadata": "m" });
    let both = |data: &Value| data["body"]["machineId"] == "machine-3";
    post_reaches!(
        "POST",
        "/v1/machines",
        machine.clone(),
        both,
        ["u1", "u1", "u2", "u2"]
    );
    post_reaches!("POST", "/v1/machines", machine, |_| true, [""; 0]);
    let settings = json!({ "settings": "x", "expectedVersion": 0 });
    post_reaches!(
        "POST",
        "/v1/account/settings",
        settings,
        update("update-account"),
        of_user
    );
    let kv = json!({ "mutations": [{ "key": "k", "value": "v", "version": -1 }] });
    post_reaches!("POST", "/v1/kv", kv, update("kv-batch-update"), of_user);
    let archive = format!("/v1/sessions/{session}/archive");
    post_reaches!("POST", &archive, json!({}), ephemeral("activity"), of_user);
    let delete = format!("/v1/sessions/{session}");
    post_reaches!(
        "DELETE",
        &delete,
        Value::Null,
        update("delete-session"),
        of_user
    );
}

#[tokio::test]
async fn machines_come_and_go_with_their_connections() {
    let server = Server::start().await;
    let account = server.account().await;
    account.machine("m").await;
    let mut watcher = account.user().await;
    let activity = |active: bool| json!({ "type": "machine-activity", "id": "m", "active": active, "activeAt": START });
    let first = account.on_machine("m").await;
    let second = account.on_machine("m").await;
    assert_eq!(watcher.ephemerals().await, [activity(true), activity(true)]);
    assert_eq!(
        account.get("/v1/machines/m").await["machine"]["active"],
        true
    );
    // While another connection of the machine lives, it is not gone.
    first.socket.disconnect().await;
    let third = account.on_machine("m").await;
    assert_eq!(watcher.next().await.1, activity(true));
    third.socket.abort();
    second.socket.abort();
    assert_eq!(watcher.next().await.1, activity(false));
    assert_eq!(watcher.ephemerals().await, [] as [Value; 0]);
    assert_eq!(
        account.get("/v1/machines/m").await["machine"]["active"],
        false
    );
    // Sessions come and go silently.
    let session = account.on_session("s").await;
    session.socket.disconnect().await;
    assert_eq!(watcher.ephemerals().await, [] as [Value; 0]);
}

/// Two accounts with the same tag, method name, localId, usage and KV key never meet.
#[tokio::test]
async fn accounts_with_equal_names_never_meet() {
    let server = Server::start().await;
    let accounts = [server.account().await, server.account().await];
    let mut seen = Vec::new();
    let mut watchers = vec![accounts[0].user().await, accounts[1].user().await];
    for (index, account) in accounts.iter().enumerate() {
        let session = account.session("same tag").await;
        let mut client = account.on_session(&session).await;
        client
            .emit("rpc-register", json!({ "method": "same" }))
            .await;
        client.next_of("rpc-registered").await;
        client
            .emit(
                "message",
                json!({ "sid": session, "message": "x", "localId": "same" }),
            )
            .await;
        let kv =
            json!({ "mutations": [{ "key": "same", "value": index.to_string(), "version": -1 }] });
        account.post("/v1/kv", kv).await;
        let report = json!({ "key": "same", "tokens": { "total": 1 }, "cost": { "total": 1 } });
        let report = client.call("usage-report", report).await;
        seen.push((session, report["reportId"].clone()));
        for (other, watcher) in watchers.iter_mut().enumerate() {
            assert_eq!(watcher.seen().await.is_empty(), other != index);
        }
        let message = account
            .get(&format!("/v1/sessions/{}/messages", seen[index].0))
            .await;
        assert_eq!(message["messages"].as_array().unwrap().len(), 1);
        assert_eq!(account.get("/v1/kv/same").await["value"], index.to_string());
    }
    assert_ne!(seen[0], seen[1]);
    let gone = json!({ "ok": false, "error": "RPC method not available" });
    for watcher in &watchers {
        assert_eq!(
            watcher.call("rpc-call", json!({ "method": "same" })).await,
            gone
        );
    }
    let (status, _) = accounts[0]
        .http(
            "GET",
            &format!("/v1/sessions/{}/messages", seen[1].0),
            Value::Null,
        )
        .await;
    assert_eq!(status, 404);
    accounts[0].machine("machine").await;
    let (status, _) = accounts[1]
        .http(
            "POST",
            "/v1/machines",
            json!({ "id": "machine", "metadata": "steal" }),
        )
        .await;
    assert_eq!(status, 409);
}
