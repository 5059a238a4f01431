//! Who is let in, and what the others are told (the specification's decisions, section 1).

use serde_json::{Value, json};
use touchstone_client::{ConnectError, ConnectOptions, Transport};

use crate::stand::{Client, Server};

#[track_caller]
fn refusal(options: &ConnectOptions) -> impl Future<Output = String> {
    let options = options.clone();
    async move {
        match Client::try_connect(&options).await.err() {
            Some(ConnectError::Refused { message, .. }) => message,
            other => panic!("{:?}: {other:?}", options.auth),
        }
    }
}

#[tokio::test]
async fn refusals_say_why() {
    let server = Server::start().await;
    let token = server.account().await.token;
    let token = token.expose();
    const MISSING: &str = "Missing authentication token";
    const INVALID: &str = "Invalid authentication token";
    const SESSION: &str = "Session ID required for session-scoped clients";
    const MACHINE: &str = "Machine ID required for machine-scoped clients";
    let rows = [
        (json!({}), MISSING),
        (json!({ "token": null }), MISSING),
        (json!({ "token": "" }), MISSING),
        (json!({ "token": false }), MISSING),
        (json!({ "token": "nope" }), INVALID),
        (json!({ "token": format!("{token}x") }), INVALID),
        (json!({ "token": 12345 }), INVALID),
        (json!({ "token": { "a": 1 } }), INVALID),
        (json!({ "token": [token] }), INVALID),
        (
            json!({ "token": token, "clientType": "session-scoped" }),
            SESSION,
        ),
        (
            json!({ "token": token, "clientType": "session-scoped", "sessionId": "" }),
            SESSION,
        ),
        (
            json!({ "token": token, "clientType": "session-scoped", "sessionId": null }),
            SESSION,
        ),
        (
            json!({ "token": token, "clientType": "session-scoped", "machineId": "m" }),
            SESSION,
        ),
        (
            json!({ "token": "nope", "clientType": "session-scoped" }),
            SESSION,
        ),
        (
            json!({ "token": token, "clientType": "machine-scoped" }),
            MACHINE,
        ),
        (
            json!({ "token": token, "clientType": "machine-scoped", "machineId": 5 }),
            MACHINE,
        ),
        (
            json!({ "token": "nope", "clientType": "machine-scoped" }),
            MACHINE,
        ),
        (json!([]), MISSING),
        (json!("x"), MISSING),
        (json!(null), MISSING),
    ];
    for (auth, expected) in rows {
        let options = ConnectOptions::new(server.url.parse().unwrap()).auth(auth.clone());
        assert_eq!(refusal(&options).await, expected, "{auth}");
    }
    let without_auth = ConnectOptions::new(server.url.parse().unwrap());
    assert_eq!(refusal(&without_auth).await, MISSING);
    assert_eq!(
        refusal(&without_auth.transport(Transport::Polling)).await,
        MISSING
    );
}

#[tokio::test]
async fn everybody_with_a_token_is_admitted() {
    let server = Server::start().await;
    let account = server.account().await;
    let rows = [
        json!({}),
        json!({ "clientType": null }),
        json!({ "clientType": "super-scoped" }),
        json!({ "clientType": 7 }),
        json!({ "clientType": "user-scoped", "sessionId": "x", "extra": { "a": 1 } }),
        json!({ "clientType": "session-scoped", "sessionId": "does-not-exist" }),
        json!({ "clientType": "machine-scoped", "machineId": "does-not-exist" }),
    ];
    for auth in rows {
        for transport in [Transport::WebSocket, Transport::Polling, Transport::Upgrade] {
            let client = Client::over(transport, account.options(auth.clone())).await;
            assert_eq!(
                client.call("ping", Value::Null).await,
                json!({}),
                "{auth} {transport:?}"
            );
        }
    }
}

#[tokio::test]
async fn client_types_decide_what_is_received() {
    let server = Server::start().await;
    let account = server.account().await;
    let session = account.session("tag").await;
    for (auth, hears) in [
        (json!({}), true),
        (json!({ "clientType": "unknown" }), true),
        (
            json!({ "clientType": "session-scoped", "sessionId": session }),
            true,
        ),
        (
            json!({ "clientType": "session-scoped", "sessionId": "other" }),
            false,
        ),
        (
            json!({ "clientType": "machine-scoped", "machineId": "m" }),
            false,
        ),
    ] {
        let mut client = Client::connect(&account.options(auth.clone())).await;
        let sender = account.user().await;
        sender
            .emit("message", json!({ "sid": session, "message": "x" }))
            .await;
        sender.handled().await;
        assert_eq!(client.updates().await.len(), usize::from(hears), "{auth}");
    }
}

#[tokio::test]
async fn the_handshake_carries_the_numbers() {
    let server = Server::start().await;
    let client = server.account().await.user().await;
    let handshake = client.socket.handshake();
    assert_eq!(handshake.ping_interval.as_millis(), 15_000);
    assert_eq!(handshake.ping_timeout.as_millis(), 45_000);
    assert_eq!(handshake.max_payload, Some(1_000_000));
}
