//! Calls between connections (the specification's decisions, section 6).

use std::time::Duration;

use serde_json::{Value, json};
use touchstone_client::Args;

use crate::stand::{Client, DEADLINE, Server, within};

async fn register(client: &mut Client, method: &str) {
    client
        .emit("rpc-register", json!({ "method": method }))
        .await;
    assert_eq!(
        client.next_of("rpc-registered").await,
        json!({ "method": method })
    );
}

/// Waits for the next call and answers it; what was called.
async fn answer(callee: &mut Client, args: impl Into<Args>) -> Value {
    loop {
        let event = within("call", callee.events.recv()).await.unwrap();
        if event.name() == "rpc-request" {
            callee
                .socket
                .answer(event.ack.expect("a call asks for an ack"), args)
                .await
                .unwrap();
            return event.data().unwrap();
        }
    }
}

#[tokio::test]
async fn the_first_acked_argument_is_the_result() {
    let server = Server::start().await;
    let account = server.account().await;
    let (caller, mut callee) = (account.user().await, account.on_machine("m").await);
    register(&mut callee, "do").await;
    for (acked, expected) in [
        (
            Args::from(json!("text")),
            json!({ "ok": true, "result": "text" }),
        ),
        (
            Args::from(json!({ "x": [1.5, null] })),
            json!({ "ok": true, "result": { "x": [1.5, null] } }),
        ),
        (Args::from(json!(7)), json!({ "ok": true, "result": 7 })),
        (
            Args::from(Value::Null),
            json!({ "ok": true, "result": null }),
        ),
        (
            Args::from([json!("first"), json!("second")]),
            json!({ "ok": true, "result": "first" }),
        ),
        (Args::from(()), json!({ "ok": true })),
    ] {
        let params = json!({ "method": "do", "params": { "deep": ["ž", 1] } });
        let reply = caller
            .socket
            .request("rpc-call", params.clone())
            .await
            .unwrap();
        assert_eq!(answer(&mut callee, acked).await, params);
        assert_eq!(
            reply.within(DEADLINE).await.unwrap().data().unwrap(),
            expected
        );
    }
}

#[tokio::test]
async fn params_reach_the_callee_as_they_are() {
    let server = Server::start().await;
    let account = server.account().await;
    let (caller, mut callee) = (account.user().await, account.user().await);
    register(&mut callee, "m").await;
    let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    for params in [
        "1e400",
        "123456789012345678901234567890",
        "\"\\u0000\"",
        "null",
        &deep,
    ] {
        let data = format!("{{\"params\":{params},\"method\":\"m\",\"extra\":true}}");
        let reply = caller
            .socket
            .request("rpc-call", Args::raw(data))
            .await
            .unwrap();
        let event = within("call", callee.events.recv()).await.unwrap();
        assert_eq!(
            event.args.as_str(),
            format!("{{\"method\":\"m\",\"params\":{params}}}")
        );
        callee
            .socket
            .answer(event.ack.unwrap(), Args::raw(params))
            .await
            .unwrap();
        let reply = reply.within(DEADLINE).await.unwrap();
        assert_eq!(
            reply.args.as_str(),
            format!("{{\"ok\":true,\"result\":{params}}}")
        );
    }
    let reply = caller
        .socket
        .request("rpc-call", json!({ "method": "m" }))
        .await
        .unwrap();
    assert_eq!(answer(&mut callee, ()).await, json!({ "method": "m" }));
    reply.within(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn calls_that_cannot_be_made_are_answered_at_once() {
    let server = Server::start().await;
    let account = server.account().await;
    let mut client = account.user().await;
    register(&mut client, "own").await;
    let required = "Invalid parameters: method is required";
    for (data, message) in [
        (json!({ "method": "nobody" }), "RPC method not available"),
        (
            json!({ "method": "own" }),
            "Cannot call RPC on the same socket",
        ),
        (json!({ "params": 1 }), required),
        (json!({ "method": "" }), required),
        (json!({ "method": 5 }), required),
        (json!({ "method": { "a": 1 } }), required),
        (json!({ "method": ["a"] }), required),
        (json!("own"), required),
        (Value::Null, required),
    ] {
        assert_eq!(
            client.call("rpc-call", data.clone()).await,
            json!({ "ok": false, "error": message }),
            "{data}"
        );
    }
    let stranger = server.account().await.user().await;
    let absent = json!({ "ok": false, "error": "RPC method not available" });
    assert_eq!(
        stranger.call("rpc-call", json!({ "method": "own" })).await,
        absent
    );
}

#[tokio::test]
async fn bad_method_names_are_refused_by_event() {
    let server = Server::start().await;
    let mut client = server.account().await.user().await;
    for kind in ["register", "unregister"] {
        for data in [
            json!({}),
            json!({ "method": "" }),
            json!({ "method": { "a": 1 } }),
            Value::Null,
            json!([]),
        ] {
            client.emit(&format!("rpc-{kind}"), data).await;
            assert_eq!(
                client.next_of("rpc-error").await,
                json!({ "type": kind, "error": "Invalid method name" })
            );
        }
    }
}

#[tokio::test]
async fn the_last_registrant_owns_a_method_and_earlier_ones_take_over() {
    let server = Server::start().await;
    let account = server.account().await;
    let mut caller = account.user().await;
    let (mut first, mut second) = (
        account.on_machine("m1").await,
        account.on_machine("m2").await,
    );
    let who = async |caller: &Client, first: &mut Client, second: &mut Client| {
        let reply = caller
            .socket
            .request("rpc-call", json!({ "method": "m" }))
            .await
            .unwrap();
        let by_first = async {
            match first.socket.end() {
                // Who has gone is never asked.
                Some(_) => std::future::pending().await,
                None => answer(first, json!("first")).await,
            }
        };
        tokio::select! {
            _ = by_first => {}
            _ = answer(second, json!("second")) => {}
        }
        reply.within(DEADLINE).await.unwrap().data().unwrap()["result"].clone()
    };
    register(&mut first, "m").await;
    assert_eq!(who(&caller, &mut first, &mut second).await, "first");
    register(&mut second, "m").await;
    assert_eq!(who(&caller, &mut first, &mut second).await, "second");
    // Unregistering what somebody else owns is confirmed, and changes nothing.
    caller
        .emit("rpc-unregister", json!({ "method": "m" }))
        .await;
    assert_eq!(who(&caller, &mut first, &mut second).await, "second");
    register(&mut first, "m").await;
    assert_eq!(who(&caller, &mut first, &mut second).await, "first");
    first.emit("rpc-unregister", json!({ "method": "m" })).await;
    assert_eq!(
        first.next_of("rpc-unregistered").await,
        json!({ "method": "m" })
    );
    assert_eq!(who(&caller, &mut first, &mut second).await, "second");
    register(&mut first, "m").await;
    first.socket.close().await;
    first.ended().await;
    // The server learns of the close in its own time, and says so.
    loop {
        let gone = caller.next_of("ephemeral").await;
        if gone["id"] == "m1" && gone["active"] == false {
            break;
        }
    }
    assert_eq!(who(&caller, &mut first, &mut second).await, "second");
}

#[tokio::test]
async fn a_callee_that_goes_or_is_silent_is_told() {
    let server = Server::with(|config| config.rpc_timeout = Duration::from_millis(50)).await;
    let account = server.account().await;
    let caller = account.user().await;
    let mut silent = account.user().await;
    register(&mut silent, "silent").await;
    let answer = caller.call("rpc-call", json!({ "method": "silent" })).await;
    assert_eq!(
        answer,
        json!({ "ok": false, "error": "operation has timed out" })
    );
    // A late answer harms nobody.
    let event = within("call", silent.events.recv()).await.unwrap();
    silent
        .socket
        .answer(event.ack.unwrap(), json!("late"))
        .await
        .unwrap();
    silent.handled().await;

    let server = Server::with(|config| config.rpc_timeout = Duration::from_secs(3_600)).await;
    let account = server.account().await;
    let caller = account.user().await;
    for leave_politely in [true, false] {
        let mut callee = account.user().await;
        register(&mut callee, "m").await;
        let reply = caller
            .socket
            .request("rpc-call", json!({ "method": "m" }))
            .await
            .unwrap();
        callee.next_of("rpc-request").await;
        if leave_politely {
            callee.socket.disconnect().await;
        } else {
            callee.socket.abort();
        }
        let reply = reply.within(DEADLINE).await.unwrap().data().unwrap();
        assert_eq!(
            reply,
            json!({ "ok": false, "error": "RPC target disconnected" })
        );
    }
}

#[tokio::test]
async fn calls_of_one_caller_are_independent() {
    let server = Server::start().await;
    let account = server.account().await;
    let (caller, mut callee) = (account.user().await, account.user().await);
    register(&mut callee, "slow").await;
    register(&mut callee, "fast").await;
    let slow = caller
        .socket
        .request("rpc-call", json!({ "method": "slow" }))
        .await
        .unwrap();
    let slow_call = within("call", callee.events.recv()).await.unwrap();
    let fast = caller
        .socket
        .request("rpc-call", json!({ "method": "fast" }))
        .await
        .unwrap();
    answer(&mut callee, json!("fast")).await;
    assert_eq!(
        fast.within(DEADLINE).await.unwrap().data().unwrap()["result"],
        "fast"
    );
    caller.handled().await;
    callee
        .socket
        .answer(slow_call.ack.unwrap(), json!("slow"))
        .await
        .unwrap();
    assert_eq!(
        slow.within(DEADLINE).await.unwrap().data().unwrap()["result"],
        "slow"
    );
}

#[tokio::test]
async fn a_call_without_a_callback_reaches_the_callee() {
    let server = Server::start().await;
    let account = server.account().await;
    let (caller, mut callee) = (account.user().await, account.user().await);
    register(&mut callee, "m").await;
    caller
        .emit("rpc-call", json!({ "method": "m", "params": 1 }))
        .await;
    assert_eq!(
        answer(&mut callee, json!("x")).await,
        json!({ "method": "m", "params": 1 })
    );
    callee.handled().await;
    caller.handled().await;
}
