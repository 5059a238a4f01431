//! Each fault does what its description says, and only when it is on: the same probe, with and
//! without it, tells a difference.

use serde_json::{Value, json};
use touchstone_client::ConnectOptions;
use touchstone_reference_server::faults;

use crate::raw::Wire;
use crate::stand::{Account, Client, DEADLINE, START, Seen, Server};

/// A client and all that it has received.
struct Actor {
    name: &'static str,
    client: Client,
    seen: Vec<Seen>,
}

impl Actor {
    /// A client whose first event means nothing, so that a server which loses it loses no more.
    async fn new(name: &'static str, client: Client) -> Self {
        client.emit("hello", Value::Null).await;
        Self {
            name,
            client,
            seen: Vec::new(),
        }
    }

    /// Waits until everything that it sent was handled, and what it was sent by then has come. Not by
    /// a ping, since there are faults of acknowledgements: unregistering is confirmed by an event.
    async fn settle(&mut self) {
        self.client
            .emit("rpc-unregister", json!({ "method": "mark" }))
            .await;
        loop {
            let seen = self.client.next().await;
            let is_mark = seen.0 == "rpc-unregistered" && seen.1["method"] == "mark";
            let is_failed_mark = seen.0 == "rpc-error" && seen.1["type"] == "unregister";
            if is_mark || is_failed_mark {
                return;
            }
            self.seen.push(seen);
        }
    }

    /// What an event is answered, if it is answered at once.
    async fn ask(&mut self, event: &str, data: Value) -> Option<Value> {
        let mut reply = self.client.socket.request(event, data).await.unwrap();
        self.settle().await;
        let answer = std::future::poll_fn(|cx| {
            std::task::Poll::Ready(match std::pin::Pin::new(&mut reply).poll(cx) {
                std::task::Poll::Ready(reply) => Some(reply.unwrap().data().unwrap()),
                std::task::Poll::Pending => None,
            })
        });
        answer.await
    }
}

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
    let mut cast = vec![
        Actor::new("stranger", other.user().await).await,
        Actor::new("user", account.user().await).await,
        Actor::new("away", account.on_session(&second).await).await,
        Actor::new("also here", account.on_session(&session).await).await,
    ];
    let mut here = Actor {
        name: "here",
        client: account.on_session(&session).await,
        seen: Vec::new(),
    };
    here.client
        .emit("rpc-register", json!({ "method": "first event" }))
        .await;
    account
        .post("/v1/machines", json!({ "id": "m", "metadata": "m" }))
        .await;
    account.machine("m2").await;
    cast.push(Actor::new("machine", account.on_machine("m").await).await);
    cast.push(Actor::new("other machine", account.on_machine("m2").await).await);

    for auth in [json!({}), json!({ "token": "nope" })] {
        let options = ConnectOptions::new(server.url.parse().unwrap()).auth(auth.clone());
        let refusal = Client::try_connect(&options)
            .await
            .err()
            .map(|error| error.to_string());
        log.push(format!("connect with {auth}: {refusal:?}"));
    }
    let mut report = None;
    for (event, data) in calls(&session) {
        let mut answer = here.ask(event, data).await;
        if let Some(answer) = answer
            .as_mut()
            .filter(|answer| answer["reportId"].is_string())
        {
            let same =
                report.get_or_insert_with(|| answer["reportId"].clone()) == &answer["reportId"];
            answer["reportId"] = json!(if same { "the first" } else { "another" });
        }
        log.push(format!(
            "{event}: {}",
            answer.map_or_else(|| "no answer".to_owned(), |a| a.to_string())
        ));
    }
    log.push(format!("stray acks: {}", here.client.socket.stray_acks()));
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
        here.client.emit(event, data).await;
    }
    here.settle().await;
    // Callers who wait for an answer would wait for long.
    if names != ["no-ack"] && names != ["handler-fails"] {
        rpc(&account, &other, &mut log).await;
    }
    rest(&account, &session, &mut log).await;

    // Another connection of the machine comes and leaves in front of one that stays. That its
    // transport is let in again shows that its leaving was handled.
    let mut again = Wire::open(&server).await;
    let token = account.token.expose();
    let machine = format!(
        "40{}",
        json!({ "token": token, "clientType": "machine-scoped", "machineId": "m" })
    );
    again
        .send(&[&machine, "41", &format!("40{}", json!({ "token": token }))])
        .await;
    for _ in 0..2 {
        while !again.text().await.unwrap().starts_with("40{") {}
    }
    cast.push(here);
    for actor in &mut cast {
        actor.settle().await;
        for (event, data) in &mut actor.seen {
            // Ids are random, and drawn in an order that faults may change.
            for pointer in ["/id", "/body/message/id", "/body/id", "/body/sid"] {
                if let Some(id) = data.pointer_mut(pointer).filter(|id| id.is_string()) {
                    *id = json!("some id");
                }
            }
            log.push(format!("{} received {event} {data}", actor.name));
        }
    }
    log
}

/// Events with a callback, for one connection to send in this order.
fn calls(session: &str) -> Vec<(&'static str, Value)> {
    let metadata = |text: &str, version: u64| json!({ "sid": session, "metadata": text, "expectedVersion": version });
    let report = |total: u64| json!({ "key": "k", "tokens": { "total": total }, "cost": { "total": total } });
    let part = |version: u64| json!({ "data": "", "expectedVersion": version });
    let artifact = |id: &str, text: &str| json!({ "id": id, "header": text, "body": text, "dataEncryptionKey": "" });
    vec![
        ("ping", json!({})),
        ("update-metadata", metadata("a", 0)),
        ("update-metadata", metadata("b", 0)),
        ("update-metadata", metadata("c", 1)),
        (
            "update-metadata",
            json!({ "sid": "nope", "metadata": "a", "expectedVersion": 0 }),
        ),
        (
            "update-state",
            json!({ "sid": session, "agentState": "a", "expectedVersion": 0 }),
        ),
        (
            "machine-update-metadata",
            json!({ "machineId": "m", "metadata": "a", "expectedVersion": 1 }),
        ),
        ("artifact-create", artifact("a", "aGk=")),
        ("artifact-create", artifact("a", "")),
        ("artifact-create", artifact("b", "!")),
        (
            "artifact-update",
            json!({ "artifactId": "a", "header": part(1), "body": part(9) }),
        ),
        ("artifact-read", json!({ "artifactId": "a" })),
        ("artifact-delete", json!({ "artifactId": "a" })),
        (
            "access-key-get",
            json!({ "sessionId": session, "machineId": "m" }),
        ),
        ("usage-report", report(1)),
        ("usage-report", report(2)),
        ("rpc-call", json!({ "method": "first event" })),
        ("rpc-call", json!({ "method": "nobody" })),
    ]
}

async fn rpc(account: &Account<'_>, other: &Account<'_>, log: &mut Vec<String>) {
    let mut first = Actor::new("first", account.user().await).await;
    let mut second = Actor::new("second", account.user().await).await;
    let mut foreign = Actor::new("foreign", other.user().await).await;
    let mut caller = Actor::new("caller", account.user().await).await;
    for callee in [&mut first, &mut second] {
        callee
            .client
            .emit("rpc-register", json!({ "method": "m" }))
            .await;
        callee.settle().await;
    }
    for round in 0..2 {
        let call = json!({ "method": "m", "params": round });
        let reply = caller
            .client
            .socket
            .request("rpc-call", call)
            .await
            .unwrap();
        caller.settle().await;
        for callee in [&mut first, &mut second] {
            callee.client.handled().await;
            while let Some(Ok(event)) = callee.client.events.try_recv() {
                if event.name() == "rpc-request" {
                    log.push(format!(
                        "{} was called: {}",
                        callee.name,
                        event.args.as_str()
                    ));
                    callee
                        .client
                        .socket
                        .answer(event.ack.unwrap(), json!(callee.name))
                        .await
                        .unwrap();
                }
            }
        }
        let reply = reply.within(DEADLINE).await.unwrap();
        log.push(format!("call {round}: {}", reply.args.as_str()));
        caller
            .client
            .emit("rpc-unregister", json!({ "method": "m" }))
            .await;
        caller.settle().await;
    }
    second
        .client
        .emit("rpc-register", json!({ "method": "mine" }))
        .await;
    second.settle().await;
    let foreign_call = foreign.ask("rpc-call", json!({ "method": "mine" })).await;
    log.push(format!("another account's method: {foreign_call:?}"));
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
    log.push(format!("kv holds {}", account.get("/v1/kv").await));
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
    let difference = only_in('-', healthy, faulty) + &only_in('+', faulty, healthy);
    if difference.is_empty() {
        "  ~ the same in another order\n".to_owned()
    } else {
        difference
    }
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
