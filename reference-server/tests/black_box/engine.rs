//! The Engine.IO session as official clients know it: when pings come, how it ends, what bad requests
//! are answered.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use touchstone_client::Transport;

use crate::raw::{Wire, connect_packet};
use crate::stand::{Client, Server, within};

const POLLING: &str = "/v1/updates/?EIO=4&transport=polling";

/// An HTTP request by hand; status and body.
async fn http(server: &Server, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        server.address(),
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within("answer", stream.read_to_string(&mut answer))
        .await
        .unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

/// The path of a new session over long-polling.
async fn open(server: &Server) -> String {
    let (status, body) = http(server, "GET", POLLING, "").await;
    assert_eq!(status, 200, "{body}");
    let open: Value = serde_json::from_str(body.strip_prefix('0').unwrap()).unwrap();
    format!("{POLLING}&sid={}", open["sid"].as_str().unwrap())
}

/// A server whose second ping no test lives to see.
async fn slow_pings() -> Server {
    Server::with(|config| config.ping_interval = Duration::from_secs(3_600)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_ping_comes_at_once_over_websocket() {
    let server = slow_pings().await;
    let connect = connect_packet(&server).await;
    let mut wire = Wire::open(&server).await;
    wire.send(&[&connect]).await;
    for round in 0..20 {
        wire.send(&["421[\"ping\"]"]).await;
        let expected = ["40{", "431[{}]"][usize::from(round > 0)];
        let (opcode, text) = wire.read_frame().await.unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(opcode, 1, "{text}");
        assert!(text.starts_with(expected), "{round}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_ping_comes_at_once_over_polling() {
    let server = slow_pings().await;
    let connect = connect_packet(&server).await;
    // A poll that waits already, and one that comes when there is something to read.
    for is_waiting in [true, false] {
        let session = open(&server).await;
        let send = async {
            let (status, _) = http(&server, "POST", &session, &connect).await;
            assert_eq!(status, 200);
        };
        let read = http(&server, "GET", &session, "");
        let (_, payload) = if is_waiting {
            tokio::join!(read, send).0
        } else {
            send.await;
            read.await
        };
        assert!(payload.starts_with("40{"), "{payload}");
        assert!(!payload.contains('\u{1e}'), "{payload}");
        http(&server, "POST", &session, "421[\"ping\"]").await;
        let (_, payload) = http(&server, "GET", &session, "").await;
        assert_eq!(payload, "431[{}]");
    }
}

/// What is left out must not be missed: pings come, are answered, and nobody is taken for dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_go_on_over_every_transport() {
    let server = Server::with(|config| {
        config.ping_interval = Duration::from_millis(40);
        config.ping_timeout = Duration::from_millis(1_500);
    })
    .await;
    let account = server.account().await;
    for transport in [Transport::WebSocket, Transport::Polling, Transport::Upgrade] {
        let client = Client::over(transport, account.options(json!({}))).await;
        // Longer than a client lives whose pong was not read.
        let end = tokio::time::Instant::now() + Duration::from_secs(2);
        while tokio::time::Instant::now() < end {
            client.handled().await;
        }
    }
    let mut wire = Wire::open(&server).await;
    wire.send(&[&connect_packet(&server).await]).await;
    let mut pings = 0;
    while pings < 5 {
        let (_, payload) = within("ping", wire.read_frame()).await.unwrap();
        if payload == b"2" {
            pings += 1;
            wire.send(&["3"]).await;
        }
    }
}

/// A WebSocket ends by its close frame, with nothing of Engine.IO before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_server_is_a_close_frame() {
    let mut server = Server::start().await;
    let connect = connect_packet(&server).await;
    let mut wire = Wire::open(&server).await;
    wire.send(&[&connect]).await;
    assert!(wire.text().await.unwrap().starts_with("40{"));
    let stopped = server.stop();
    let (opcode, payload) = within("frame", wire.read_frame()).await.unwrap();
    assert_eq!((opcode, payload), (8, Vec::new()));
    within("end of the server", stopped).await.unwrap().unwrap();
}

#[tokio::test]
async fn bad_requests_are_answered_with_numeric_codes() {
    let server = Server::start().await;
    let rows = [
        ("GET", "EIO=4&transport=telepathy", 0, "Transport unknown"),
        (
            "GET",
            "EIO=4&transport=polling&sid=AAAAAAAAAAAAAAHs",
            1,
            "Session ID unknown",
        ),
        ("POST", "EIO=4&transport=polling", 2, "Bad handshake method"),
        ("GET", "EIO=4&transport=websocket", 3, "Bad request"),
        (
            "GET",
            "EIO=2&transport=polling",
            5,
            "Unsupported protocol version",
        ),
    ];
    for (method, query, code, message) in rows {
        let (status, body) = http(&server, method, &format!("/v1/updates/?{query}"), "").await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(status, 400, "{query}");
        assert_eq!(body, json!({ "code": code, "message": message }), "{query}");
    }
}
