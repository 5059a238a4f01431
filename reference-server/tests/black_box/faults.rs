//! Each fault does what its description says, and only when it is on: the same probe, with and
//! without it, tells a difference.

use serde_json::{Value, json};
use touchstone_client::ConnectOptions;
use touchstone_reference_server::faults;

use crate::stand::{Account, Client, START, Server};

/// Everything that a fault could touch, done in a fixed order; what everybody saw of it.
///
/// Sixty probes of their own would each show one thing. One probe that shows all of it also proves
/// that a fault is not seen where it is not turned on.
async fn probe(names: &[&str]) -> Vec<String> {
    let server = Server::with_faults(names).await;
    let mut log = Vec::new();
    let (account, other) = (server.account().await, server.account().await);
    let session = account.session("one").await;
    let second = account.session("two").await;
    let machine = json!({ "id": "m", "metadata": "m" });
    let mut stranger = other.user().await;
    let mut user = account.user().await;
    let mut away = account.on_session(&second).await;
    let mut here = account.on_session(&session).await;
    let mut also_here = account.on_session(&session).await;
    account.post("/v1/machines", machine).await;
    account.machine("m2").await;
    let mut on_machine = account.on_machine("m").await;
    let mut on_other_machine = account.on_machine("m2").await;
    for client in [
        &user,
        &away,
        &also_here,
        &stranger,
        &on_machine,
        &on_other_machine,
    ] {
        greet(client).await;
    }
    here.emit("rpc-register", json!({ "method": "first event" }))
        .await;

    let mut say = |what: &str, value: &dyn std::fmt::Debug| log.push(format!("{what}: {value:?}"));
    for (name, auth) in [("empty", json!({})), ("bad", json!({ "token": "nope" }))] {
        let options = ConnectOptions::new(server.url.parse().unwrap()).auth(auth);
        let refusal = Client::try_connect(&options)
            .await
            .err()
            .map(|error| error.to_string());
        say(name, &refusal);
    }

    let patience = std::time::Duration::from_millis(300);
    let is_mute = names == ["no-ack"];
    let calls = [
        ("ping", json!({})),
        (
            "update-metadata",
            json!({ "sid": session, "metadata": "a", "expectedVersion": 0 }),
        ),
        (
            "update-metadata",
            json!({ "sid": session, "metadata": "b", "expectedVersion": 0 }),
        ),
        (
            "update-metadata",
            json!({ "sid": session, "metadata": "c", "expectedVersion": 1 }),
        ),
        (
            "update-state",
            json!({ "sid": session, "agentState": "a", "expectedVersion": 0 }),
        ),
        (
            "machine-update-metadata",
            json!({ "machineId": "m", "metadata": "a", "expectedVersion": 1 }),
        ),
        (
            "artifact-create",
            json!({ "id": "a", "header": "aGk=", "body": "aGk=", "dataEncryptionKey": "" }),
        ),
        (
            "artifact-create",
            json!({ "id": "a", "header": "", "body": "", "dataEncryptionKey": "" }),
        ),
        (
            "artifact-create",
            json!({ "id": "b", "header": "!", "body": "", "dataEncryptionKey": "" }),
        ),
        (
            "artifact-update",
            json!({ "artifactId": "a", "header": { "data": "", "expectedVersion": 1 }, "body": { "data": "", "expectedVersion": 9 } }),
        ),
        ("artifact-read", json!({ "artifactId": "a" })),
        ("artifact-delete", json!({ "artifactId": "a" })),
        (
            "access-key-get",
            json!({ "sessionId": session, "machineId": "m" }),
        ),
        (
            "usage-report",
            json!({ "key": "k", "tokens": { "total": 1 }, "cost": { "total": 1 } }),
        ),
        (
            "usage-report",
            json!({ "key": "k", "tokens": { "total": 2 }, "cost": { "total": 2 } }),
        ),
        ("rpc-call", json!({ "method": "first event" })),
        ("rpc-call", json!({ "method": "nobody" })),
    ];
    let mut report = None;
    for (event, data) in calls {
        let reply = here.socket.request(event, data).await.unwrap();
        let id = reply.id();
        let deadline = if is_mute {
            patience
        } else {
            crate::stand::DEADLINE
        };
        let mut answer = reply
            .within(deadline)
            .await
            .ok()
            .and_then(|reply| reply.data().ok());
        if let Some(answer) = answer
            .as_mut()
            .filter(|answer| answer["reportId"].is_string())
        {
            let same =
                report.get_or_insert_with(|| answer["reportId"].clone()) == &answer["reportId"];
            answer["reportId"] = json!(if same { "the first" } else { "another" });
        }
        say(event, &(id, answer));
    }
    // A change of an unknown session may be left without an answer; a ping behind it never is.
    let unknown = json!({ "sid": "nope", "metadata": "a", "expectedVersion": 0 });
    let unknown = here
        .socket
        .request("update-metadata", unknown)
        .await
        .unwrap();
    settle(&here, is_mute).await;
    say("unknown session", &is_answered(unknown).await);
    say("stray acks", &here.socket.stray_acks());

    for (event, data) in [
        (
            "message",
            json!({ "sid": session, "message": "x", "localId": "l" }),
        ),
        (
            "message",
            json!({ "sid": session, "message": "y", "localId": "l" }),
        ),
        (
            "message",
            json!({ "sid": second, "message": "z", "localId": "l" }),
        ),
        ("message", json!({ "sid": session, "message": "w" })),
        (
            "session-alive",
            json!({ "sid": session, "time": START + 1_000, "thinking": true }),
        ),
        (
            "session-alive",
            json!({ "sid": session, "time": START - 700_000 }),
        ),
        ("session-end", json!({ "sid": session, "time": START })),
        ("session-alive", json!({ "sid": session, "time": START })),
    ] {
        here.emit(event, data).await;
    }
    settle(&here, is_mute).await;

    rpc(&account, &other, is_mute, &mut log).await;
    rest(&account, &session, &mut log).await;

    let again = account.on_machine("m").await;
    again.socket.disconnect().await;
    let mark = account.on_machine("mark").await;
    greet(&mark).await;
    settle(&mark, is_mute).await;
    let mut cast: [(&str, &mut Client); 7] = [
        ("stranger", &mut stranger),
        ("user", &mut user),
        ("away", &mut away),
        ("here", &mut here),
        ("also here", &mut also_here),
        ("machine", &mut on_machine),
        ("other machine", &mut on_other_machine),
    ];
    for (name, client) in &mut cast {
        settle(client, is_mute).await;
        while let Some(Ok(event)) = client.events.try_recv() {
            let mut data = event.data().unwrap();
            // Random, and drawn in an order that faults may change.
            for pointer in [
                "/id",
                "/body/message/id",
                "/body/id",
                "/body/sid",
                "/body/dataEncryptionKey",
            ] {
                if let Some(id) = data.pointer_mut(pointer).filter(|id| id.is_string()) {
                    *id = json!("some id");
                }
            }
            log.push(format!("{name} received {} {data}", event.name()));
        }
    }
    for line in &mut log {
        *line = line.replace(&session, "<one>").replace(&second, "<two>");
    }
    log
}

/// An event that means nothing, so that a server which loses the first one loses this.
async fn greet(client: &Client) {
    client.emit("hello", Value::Null).await;
}

/// Waits until everything that a client sent was handled, also if nothing is acknowledged.
async fn settle(client: &Client, is_mute: bool) {
    if is_mute {
        // A register is confirmed by an event, in order with everything else.
        client
            .emit("rpc-unregister", json!({ "method": "settle" }))
            .await;
        client.socket.flush().await.unwrap();
        return;
    }
    let _ = client
        .socket
        .call("ping", Value::Null, crate::stand::DEADLINE)
        .await
        .unwrap();
}

async fn is_answered(mut reply: touchstone_client::PendingReply) -> bool {
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(std::pin::Pin::new(&mut reply).poll(cx).is_ready())
    })
    .await
}

async fn rpc(account: &Account<'_>, other: &Account<'_>, is_mute: bool, log: &mut Vec<String>) {
    if is_mute {
        return;
    }
    let (mut first, mut second) = (account.user().await, account.user().await);
    let foreign = other.user().await;
    let caller = account.user().await;
    for client in [&first, &second, &foreign, &caller] {
        greet(client).await;
    }
    for callee in [&mut first, &mut second] {
        callee.emit("rpc-register", json!({ "method": "m" })).await;
        callee.next_of("rpc-registered").await;
    }
    for round in 0..2 {
        let reply = caller
            .socket
            .request("rpc-call", json!({ "method": "m", "params": round }))
            .await
            .unwrap();
        caller.handled().await;
        for (name, callee) in [("first", &mut first), ("second", &mut second)] {
            callee.handled().await;
            while let Some(Ok(event)) = callee.events.try_recv() {
                if event.name() == "rpc-request" {
                    log.push(format!("{name} was called: {}", event.args.as_str()));
                    callee
                        .socket
                        .answer(event.ack.unwrap(), json!(name))
                        .await
                        .unwrap();
                }
            }
        }
        let reply = reply.within(crate::stand::DEADLINE).await.unwrap();
        log.push(format!("call {round}: {}", reply.args.as_str()));
        foreign
            .emit("rpc-unregister", json!({ "method": "m" }))
            .await;
        caller
            .emit("rpc-unregister", json!({ "method": "m" }))
            .await;
        caller.handled().await;
        foreign.handled().await;
    }
    second
        .emit("rpc-register", json!({ "method": "mine" }))
        .await;
    let own = second
        .socket
        .request("rpc-call", json!({ "method": "mine" }))
        .await
        .unwrap();
    second.handled().await;
    log.push(format!(
        "own method answered at once: {}",
        is_answered(own).await
    ));
    let foreign_call = foreign
        .socket
        .request("rpc-call", json!({ "method": "mine" }))
        .await
        .unwrap();
    foreign.handled().await;
    log.push(format!(
        "foreign method answered at once: {}",
        is_answered(foreign_call).await
    ));
}

async fn rest(account: &Account<'_>, session: &str, log: &mut Vec<String>) {
    let again = account
        .post("/v1/sessions", json!({ "tag": "one", "metadata": "x" }))
        .await;
    log.push(format!(
        "same session: {}",
        again["session"]["id"] == session
    ));
    for mutations in [
        json!([{ "key": "a", "value": "1", "version": -1 }]),
        json!([{ "key": "a", "value": "2", "version": -1 }, { "key": "b", "value": "2", "version": -1 }]),
    ] {
        log.push(format!(
            "{:?}",
            account
                .http("POST", "/v1/kv", json!({ "mutations": mutations }))
                .await
        ));
    }
    log.push(account.get("/v1/kv").await.to_string());
    account
        .http("DELETE", &format!("/v1/sessions/{session}"), Value::Null)
        .await;
}

/// What a fault changes: lines of the probe that went (-) and came (+), the first few of each.
fn difference(healthy: &[String], faulty: &[String]) -> String {
    let only_in = |sign: char, one: &[String], other: &[String]| -> String {
        let lines: Vec<String> = one
            .iter()
            .filter(|line| {
                other.iter().filter(|known| known == line).count()
                    < one.iter().filter(|known| known == line).count()
            })
            .map(|line| format!("  {sign} {}\n", line.chars().take(200).collect::<String>()))
            .collect();
        let more = lines.len().saturating_sub(SHOWN);
        let rest = if more > 0 {
            format!("  {sign} and {more} more\n")
        } else {
            String::new()
        };
        lines.into_iter().take(SHOWN).collect::<String>() + &rest
    };
    only_in('-', healthy, faulty) + &only_in('+', faulty, healthy)
}

/// Lines of each sign that the snapshot has per fault.
const SHOWN: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_shows_and_none_shows_by_itself() {
    let healthy = probe(&[]).await;
    assert_eq!(probe(&[]).await, healthy, "the probe is the same each time");
    let mut effects = String::new();
    for fault in faults() {
        let faulty = probe(&[fault.name]).await;
        assert_ne!(faulty, healthy, "{} does not show", fault.name);
        let effect = difference(&healthy, &faulty);
        effects += &format!("{}: {}\n{effect}", fault.name, fault.description);
    }
    insta::assert_snapshot!("effects", effects);
}
