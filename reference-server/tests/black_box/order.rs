//! Order is part of the contract: one connection's events, each account's updates, answers.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::stand::{DEADLINE, Server};

/// An update is sent to its recipients, the sender included, before its cause is acknowledged.
#[tokio::test]
async fn updates_come_before_the_answer_to_their_cause() {
    let server = Server::start().await;
    let account = server.account().await;
    let session = account.session("tag").await;
    let mut client = account.on_session(&session).await;
    let mut watcher = account.user().await;
    for version in 0..50 {
        let data = json!({ "sid": session, "metadata": "x", "expectedVersion": version });
        let reply = client
            .socket
            .call("update-metadata", data, DEADLINE)
            .await
            .unwrap();
        let event = client.events.recv().await.unwrap();
        assert!(event.arrival < reply.arrival, "version {version}");
    }
    // Over HTTP likewise: with the answer here, the update is in the watcher's queue.
    assert_eq!(watcher.updates().await.len(), 50);
    account.session("another").await;
    assert_eq!(watcher.updates().await.len(), 1);
    let batch = json!({ "messages": [{ "content": "a" }, { "content": "b" }] });
    let answer = account
        .post(&format!("/v3/sessions/{session}/messages"), batch)
        .await;
    let seqs: Vec<_> = watcher
        .updates()
        .await
        .iter()
        .map(|body| body["message"]["seq"].clone())
        .collect();
    assert_eq!(seqs, [json!(1), json!(2)]);
    assert_eq!(answer["messages"][1]["seq"], 2);
}

/// The events of one connection take effect in the order in which they were sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_one_connection_are_handled_in_order() {
    let server = Server::start().await;
    let account = server.account().await;
    let session = account.session("tag").await;
    // A connection that does not receive these updates itself, so that it need not read them.
    let client = account.on_machine("m").await;
    let mut replies = Vec::new();
    for version in 0..2_000 {
        let data =
            json!({ "sid": session, "metadata": version.to_string(), "expectedVersion": version });
        replies.push(
            client
                .socket
                .request("update-metadata", data)
                .await
                .unwrap(),
        );
    }
    for (version, reply) in replies.into_iter().enumerate() {
        let reply = reply.within(DEADLINE).await.unwrap().data().unwrap();
        assert_eq!(reply["result"], "success", "version {version}: {reply}");
    }
}

/// Everybody receives an account's updates in seq order, without holes, however many write at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writers_are_received_in_seq_order() {
    const WRITERS: usize = 6;
    const EACH: usize = 100;
    let server = Server::start().await;
    let account = server.account().await;
    let session = account.session("tag").await;
    let mut watchers = vec![
        account.user().await,
        account.user().await,
        account.on_session(&session).await,
    ];
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let client = account.user().await;
        let session = session.clone();
        writers.spawn(async move {
            for number in 0..EACH {
                let text = format!("{writer}:{number}");
                client
                    .emit("message", json!({ "sid": session, "message": text }))
                    .await;
            }
            client.handled().await;
        });
    }
    writers.join_all().await;
    for watcher in &mut watchers {
        let mut last_of = [0; WRITERS];
        let updates: Vec<Value> = watcher
            .seen()
            .await
            .into_iter()
            .filter(|(name, _)| name == "update")
            .map(|(_, data)| data)
            .collect();
        assert_eq!(updates.len(), WRITERS * EACH);
        for (index, update) in updates.iter().enumerate() {
            // The session itself was the first update.
            assert_eq!(update["seq"], index + 2);
            assert_eq!(update["body"]["message"]["seq"], index + 1);
            let text = update["body"]["message"]["content"]["c"].as_str().unwrap();
            let (writer, number) = text.split_once(':').unwrap();
            let (writer, number): (usize, usize) =
                (writer.parse().unwrap(), number.parse().unwrap());
            assert_eq!(
                number, last_of[writer],
                "messages of one sender stay in order"
            );
            last_of[writer] += 1;
        }
    }
}

/// Of n writers who have seen the same version one succeeds; the others learn what it wrote.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_race_has_one_winner() {
    let server = Server::start().await;
    let account = server.account().await;
    let session = account.session("tag").await;
    let mut watcher = account.user().await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(account.user().await);
    }
    for version in 0..5 {
        let mut replies = Vec::new();
        for (index, client) in clients.iter().enumerate() {
            let data = json!({ "sid": session, "agentState": index.to_string(), "expectedVersion": version });
            replies.push(client.socket.request("update-state", data).await.unwrap());
        }
        let mut answers = Vec::new();
        for reply in replies {
            answers.push(reply.within(DEADLINE).await.unwrap().data().unwrap());
        }
        let winner = answers
            .iter()
            .find(|answer| answer["result"] == "success")
            .unwrap()
            .clone();
        assert_eq!(winner["version"], version + 1);
        for answer in &answers {
            assert_eq!(
                (&answer["version"], &answer["agentState"]),
                (&winner["version"], &winner["agentState"])
            );
        }
        let losers = answers
            .iter()
            .filter(|answer| answer["result"] == "version-mismatch")
            .count();
        assert_eq!(losers, answers.len() - 1);
        assert_eq!(watcher.updates().await.len(), 1);
    }
}

/// The same tag, machine, artifact or localId at the same time: one row, one event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_creation_makes_one() {
    let server = Server::start().await;
    let account = server.account().await;
    let mut watcher = account.user().await;
    let body = json!({ "tag": "same", "metadata": "m" });
    let requests = (0..20).map(|_| account.post("/v1/sessions", body.clone()));
    let answers = futures_util::future::join_all(requests).await;
    let session = answers[0]["session"]["id"].as_str().unwrap();
    assert!(
        answers
            .iter()
            .all(|answer| answer["session"]["id"] == session)
    );
    assert_eq!(watcher.updates().await.len(), 1);

    let clients = [account.user().await, account.user().await];
    let mut replies = Vec::new();
    for client in clients.iter().cycle().take(10) {
        client
            .emit(
                "message",
                json!({ "sid": session, "message": "x", "localId": "same" }),
            )
            .await;
        let data = json!({ "id": "same", "header": "", "body": "", "dataEncryptionKey": "" });
        replies.push(
            client
                .socket
                .request("artifact-create", data)
                .await
                .unwrap(),
        );
    }
    for reply in replies {
        assert_eq!(
            reply.within(DEADLINE).await.unwrap().data().unwrap()["result"],
            "success"
        );
    }
    for client in &clients {
        client.handled().await;
    }
    let kinds: Vec<Value> = watcher
        .updates()
        .await
        .iter()
        .map(|body| body["t"].clone())
        .collect();
    assert_eq!(kinds, [json!("new-message"), json!("new-artifact")]);
}
