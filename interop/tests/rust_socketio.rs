//! The published Rust client connects, calls and receives. It cannot answer an event that asks for
//! an ack, so it is no RPC peer.
#![cfg(feature = "interop")]

use std::time::Duration;

use rust_socketio::asynchronous::{Client, ClientBuilder};
use rust_socketio::{Event, Payload, TransportType};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;
use touchstone_client::ConnectOptions;
use touchstone_client::provision::{NewSession, Rest};
use touchstone_interop::with_server;

const DEADLINE: Duration = Duration::from_secs(20);

/// What the client was told by callback, in order.
type Told = mpsc::Receiver<(String, Value)>;

async fn open(url: &str, transport: TransportType, auth: Value) -> (Client, Told) {
    let (tell, told) = mpsc::channel(64);
    let client = ClientBuilder::new(format!("{url}/v1/updates/"))
        .transport_type(transport)
        .reconnect(false)
        .auth(auth)
        .on_any(move |event: Event, payload: Payload, _| {
            let tell = tell.clone();
            Box::pin(async move {
                tell.send((event.to_string(), first(payload))).await.ok();
            })
        })
        .connect()
        .await
        .expect("a connection");
    (client, told)
}

fn first(payload: Payload) -> Value {
    match payload {
        Payload::Text(values) => values.into_iter().next().unwrap_or_default(),
        other => panic!("no text: {other:?}"),
    }
}

/// The next event of this name; others are passed over.
async fn next(told: &mut Told, name: &str) -> Value {
    let find = async {
        loop {
            let (event, data) = told.recv().await.expect("an open connection");
            if event == name {
                return data;
            }
        }
    };
    timeout(DEADLINE, find)
        .await
        .unwrap_or_else(|_| panic!("no {name}"))
}

async fn call(client: &Client, event: &str, data: Value) -> Value {
    let (answer, mut answered) = mpsc::channel(1);
    let callback = move |payload: Payload, _: Client| {
        let answer = answer.clone();
        Box::pin(async move {
            answer.send(first(payload)).await.ok();
        }) as futures_util::future::BoxFuture<'static, ()>
    };
    client
        .emit_with_ack(event, data, DEADLINE, callback)
        .await
        .expect("an open connection");
    let answer = timeout(DEADLINE, answered.recv()).await;
    answer
        .unwrap_or_else(|_| panic!("no ack of {event}"))
        .expect("an answer")
}

async fn check(transport: TransportType) {
    with_server(async |url| {
        let rest = Rest::new(&ConnectOptions::new(url.parse().expect("a URL"))).expect("HTTP");
        let account = rest.account([7; 32]).await.expect("an account");
        let token = account.token.expose();
        let wish = NewSession {
            tag: "t".into(),
            metadata: "m".into(),
            ..NewSession::default()
        };
        let session = rest.session(&account, &wish).await.expect("a session").id;

        let auth = json!({"token": token, "clientType": "user-scoped"});
        let (user, mut told) = open(&url, transport.clone(), auth).await;
        // CONNECT has not been answered yet when the client says that it is connected.
        assert_eq!(call(&user, "ping", json!({})).await, json!([{}]));

        let auth = json!({"token": token, "clientType": "session-scoped", "sessionId": session});
        let (agent, _agent_told) = open(&url, transport, auth).await;
        let change = json!({"sid": session, "agentState": "s", "expectedVersion": 0});
        assert_eq!(
            call(&agent, "update-state", change).await,
            json!([{"result": "success", "version": 1, "agentState": "s"}])
        );
        let update = next(&mut told, "update").await;
        assert_eq!(update["body"]["t"], "update-session");
        assert_eq!(
            update["body"]["agentState"],
            json!({"value": "s", "version": 1})
        );

        agent
            .emit("message", json!({"sid": session, "message": "hello"}))
            .await
            .expect("open");
        let update = next(&mut told, "update").await;
        assert_eq!(
            update["body"]["message"]["content"],
            json!({"t": "encrypted", "c": "hello"})
        );

        user.emit("rpc-register", json!({"method": "m"}))
            .await
            .expect("open");
        assert_eq!(
            next(&mut told, "rpc-registered").await,
            json!({"method": "m"})
        );
        user.disconnect().await.expect("a goodbye");
        agent.disconnect().await.expect("a goodbye");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_websocket() {
    check(TransportType::Websocket).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_polling_with_upgrade() {
    check(TransportType::Any).await;
}
