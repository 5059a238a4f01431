//! How connections come about, and all the ways in which they do not.

use serde_json::json;
use tokio::net::TcpListener;
use touchstone_client::{ConnectError, ConnectOptions, End, Stage, Transport, connect};

use crate::script::{CALM, Server, header, next, soon};

async fn failure(options: &ConnectOptions) -> ConnectError {
    soon(connect(options)).await.expect_err("no connection")
}

#[tokio::test]
async fn asks_as_official_clients_do_and_sends_auth_in_connect() {
    let server = Server::start().await;
    let options = server
        .options()
        .auth(json!({"token": "t", "clientType": "user-scoped"}));
    let options = options.header("X-Extra", "1").query("hint", "a b&c");
    let script = async {
        let mut peer = server.accept().await;
        let head = peer.upgrade().await;
        peer.send(CALM).await;
        let connect = peer.text().await;
        peer.send(r#"40{"sid":"socket-id","pid":"ignored"}"#).await;
        (peer, head, connect)
    };
    let ((_peer, head, auth), opened) = tokio::join!(script, connect(&options));
    let (socket, _events) = opened.unwrap();

    let line = "GET /v1/updates/?EIO=4&transport=websocket&hint=a+b%26c HTTP/1.1";
    assert_eq!(head.lines().next(), Some(line));
    assert_eq!(
        header(&head, "host"),
        Some(server.origin()["http://".len()..].to_owned())
    );
    assert_eq!(header(&head, "x-extra").as_deref(), Some("1"));
    assert_eq!(header(&head, "origin"), None);
    assert_eq!(auth, r#"40{"token":"t","clientType":"user-scoped"}"#);
    assert_eq!(socket.id().as_deref(), Some("socket-id"));
    let handshake = socket.handshake();
    assert_eq!(handshake.sid, "engine-id");
    assert_eq!(handshake.ping_interval.as_millis(), 25_000);
    assert_eq!(handshake.ping_timeout.as_millis(), 60_000);
    assert_eq!(handshake.max_payload, Some(1_000_000));
    assert!(soon(socket.upgraded()).await.is_ok());
}

#[tokio::test]
async fn without_auth_connect_has_no_payload() {
    let server = Server::start().await;
    let script = async { server.accept().await.welcome(CALM).await };
    let options = server.options();
    let (sent, opened) = tokio::join!(script, connect(&options));
    assert_eq!(sent, "40");
    opened.unwrap();
}

#[tokio::test]
async fn refusal_by_connect_error_carries_message_and_data() {
    #[track_caller]
    fn check(error: &ConnectError, text: &str, message: &str, data: Option<&serde_json::Value>) {
        let ConnectError::Refused {
            message: got,
            data: with,
        } = error
        else {
            panic!("{error:?}")
        };
        assert_eq!((got.as_str(), with.as_ref()), (message, data));
        assert_eq!(error.to_string(), text);
    }
    let rows = [
        (
            r#"44{"message":"Invalid authentication token"}"#,
            "Invalid authentication token",
            None,
        ),
        (
            r#"44{"message":"no","data":{"code":7}}"#,
            "no",
            Some(json!({"code": 7})),
        ),
        ("44{}", "", None),
    ];
    for (packet, message, data) in rows {
        let server = Server::start().await;
        let script = async {
            let mut peer = server.accept().await;
            peer.upgrade().await;
            peer.send(CALM).await;
            peer.text().await;
            peer.send(packet).await;
            peer
        };
        let options = server.options();
        let (_peer, error) = tokio::join!(script, failure(&options));
        check(
            &error,
            &format!("refused: {message}"),
            message,
            data.as_ref(),
        );
    }
}

#[tokio::test]
async fn refusal_by_error_event_is_an_event_and_a_disconnect() {
    let server = Server::start().await;
    let (mut peer, socket, mut events) = crate::script::connected(&server, &server.options()).await;
    peer.send(r#"42["error",{"message":"Missing authentication token"}]"#)
        .await;
    peer.send("41").await;
    let expected = r#"{"message":"Missing authentication token"}"#;
    assert_eq!(
        next(&mut events).await,
        ("error".to_owned(), expected.to_owned())
    );
    assert_eq!(
        soon(events.recv()).await.unwrap_err(),
        End::ServerDisconnect
    );
    assert_eq!(soon(socket.closed()).await, End::ServerDisconnect);
}

#[tokio::test]
async fn events_before_the_connect_answer_are_kept() {
    let server = Server::start().await;
    let script = async {
        let mut peer = server.accept().await;
        peer.upgrade().await;
        peer.send(CALM).await;
        peer.text().await;
        peer.send(r#"42["early"]"#).await;
        peer.send(r#"40{"sid":"s"}"#).await;
        peer
    };
    let options = server.options();
    let (_peer, opened) = tokio::join!(script, connect(&options));
    let (_socket, mut events) = opened.unwrap();
    assert_eq!(next(&mut events).await.0, "early");
}

/// What a server answers instead of 101, and what the user is told.
#[tokio::test]
async fn whatever_is_no_websocket_is_named() {
    let rows: [(&str, &[u8]); 11] = [
        ("400", b"HTTP/1.1 400 Bad Request\r\nContent-Length: 40\r\n\r\n{\"code\":0,\"message\":\"Transport unknown\"}"),
        ("404 in two pieces", b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot here!"),
        ("500 without body", b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"),
        ("200", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<html>\nhello\n</html>"),
        ("redirect", b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"),
        ("wrong accept", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: bm9wZQ==\r\n\r\n"),
        (
            "HTTP/1.0",
            b"HTTP/1.0 404 Not Found\r\nContent-Length: 4\r\n\r\ngone",
        ),
        ("no HTTP", b"SSH-2.0-OpenSSH_9.6\r\n"),
        ("half a head", b"HTTP/1.1 101 Switch"),
        ("nothing", b""),
        ("binary", &[0xff, 0x00, 0x01]),
    ];
    let mut told = Vec::new();
    for (name, answer) in rows {
        let server = Server::start().await;
        let script = async {
            let mut peer = server.accept().await;
            peer.head().await;
            let (first, second) = answer.split_at(answer.len().min(30));
            peer.write(first).await;
            peer.write(second).await;
        };
        let options = server.options();
        let ((), error) = tokio::join!(script, failure(&options));
        let error = error.to_string().replace(&server.origin(), "http://HOST");
        told.push(format!("{name}: {error}"));
    }
    insta::assert_snapshot!(told.join("\n"));
}

/// A WebSocket that does not begin as Engine.IO 4 does.
#[tokio::test]
async fn whatever_is_no_engine_io_is_named() {
    let rows = [
        "hello",
        "42[\"event\"]",
        "0not json",
        r#"0{"sid":"x"}"#,
        r#"0{"sid":1,"upgrades":[],"pingInterval":1,"pingTimeout":1}"#,
        "",
    ];
    let mut told = Vec::new();
    for first in rows {
        let server = Server::start().await;
        let script = async {
            let mut peer = server.accept().await;
            peer.upgrade().await;
            peer.send(first).await;
            peer
        };
        let options = server.options();
        let (_peer, error) = tokio::join!(script, failure(&options));
        told.push(error.to_string().replace(&server.origin(), "http://HOST"));
    }
    insta::assert_snapshot!(told.join("\n"));
}

#[tokio::test]
async fn an_endless_head_ends_in_an_error() {
    for (filler, told) in [
        (
            "x".repeat(1000),
            "the answer's head is larger than 65536 bytes",
        ),
        ("X-Filler: x\r\n".repeat(100), "Too many headers"),
    ] {
        let server = Server::start().await;
        let script = async {
            let mut peer = server.accept().await;
            peer.head().await;
            peer.write(b"HTTP/1.1 101 Switching Protocols\r\nX-Filler: ")
                .await;
            while peer.write_while_open(filler.as_bytes()).await.is_ok() {}
        };
        let options = server.options();
        let (error, ()) = tokio::join!(failure(&options), soon(script));
        let ConnectError::Broken { reason, .. } = error else {
            panic!("{error:?}")
        };
        assert_eq!(reason, told);
    }
}

#[tokio::test]
async fn nobody_listening_names_the_address() {
    for transport in [Transport::WebSocket, Transport::Polling, Transport::Upgrade] {
        // Bound and let go again, so that nobody listens there.
        let free = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        let options = ConnectOptions::new(format!("http://{free}").parse().unwrap());
        let error = failure(&options.transport(transport)).await;
        let ConnectError::Dial { address, source } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(*address, free.to_string());
        assert!(source.to_string().contains("refused"), "{source}");
        assert_eq!(error.to_string(), format!("cannot reach {free}"));
    }
}

#[tokio::test]
async fn a_scheme_that_is_no_http_is_refused_at_once() {
    for transport in [Transport::WebSocket, Transport::Polling] {
        let options = ConnectOptions::new("ftp://127.0.0.1:1".parse().unwrap());
        let error = failure(&options.transport(transport)).await;
        let text = "cannot use ftp://127.0.0.1:1/: the scheme is not http, https, ws or wss";
        assert_eq!(error.to_string(), text);
    }
}

#[tokio::test]
async fn headers_cannot_break_out_of_the_request() {
    for transport in [Transport::WebSocket, Transport::Polling] {
        let server = Server::start().await;
        let options = server
            .options()
            .transport(transport)
            .header("X-A", "1\r\nX-B: 2");
        // The dial may have happened already; nothing is written to it.
        let error = failure(&options).await;
        assert!(matches!(error, ConnectError::Unusable { .. }), "{error:?}");
        assert!(!error.to_string().contains("X-B"), "{error}");
    }
}

#[tokio::test]
async fn the_connection_may_end_before_connect_is_answered() {
    let server = Server::start().await;
    let script = async {
        let mut peer = server.accept().await;
        peer.upgrade().await;
        peer.send(CALM).await;
        peer.text().await;
        peer.send_frame(true, crate::script::CLOSE, b"\x0f\xa1go away")
            .await;
        peer
    };
    let options = server.options();
    let (_peer, error) = tokio::join!(script, failure(&options));
    let ConnectError::Ended(end) = error else {
        panic!("{error:?}")
    };
    assert_eq!(
        end,
        End::TransportClose {
            code: Some(4001),
            reason: "go away".to_owned()
        }
    );
}

/// A server that falls silent, and the stage that the user is told.
#[tokio::test]
async fn a_silent_server_times_out_with_the_stage_that_was_reached() {
    #[derive(Clone, Copy)]
    enum Until {
        Nothing,
        Upgraded,
        Handshaken,
    }
    async fn check(secure: bool, until: Until, transport: Transport, expected: Stage) {
        let server = Server::start().await;
        let scheme = if secure { "https" } else { "http" };
        let url = server.origin().replace("http", scheme);
        let patience = std::time::Duration::from_millis(1500);
        let options = ConnectOptions::new(url.parse().unwrap());
        let options = options.timeout(patience).transport(transport);
        let script = async {
            let mut peer = server.accept().await;
            if matches!(until, Until::Upgraded | Until::Handshaken) {
                peer.upgrade().await;
            }
            if matches!(until, Until::Handshaken) {
                peer.send(CALM).await;
            }
            peer
        };
        let (_peer, error) = tokio::join!(script, failure(&options));
        let ConnectError::Timeout { stage, after, .. } = error else {
            panic!("{error:?}")
        };
        assert_eq!((stage, after), (expected, patience));
    }
    tokio::join!(
        check(true, Until::Nothing, Transport::WebSocket, Stage::Tls),
        check(
            false,
            Until::Nothing,
            Transport::WebSocket,
            Stage::Upgrading
        ),
        check(
            false,
            Until::Upgraded,
            Transport::WebSocket,
            Stage::EngineHandshake
        ),
        check(
            false,
            Until::Handshaken,
            Transport::WebSocket,
            Stage::ConnectAnswer
        ),
        check(false, Until::Nothing, Transport::Polling, Stage::Upgrading),
    );
}

#[tokio::test]
async fn connects_from_the_address_that_was_asked_for() {
    let server = Server::start().await;
    let mut options = server.options();
    options.local_address = Some("127.0.0.7".parse().unwrap());
    let script = async {
        let mut peer = server.accept().await;
        let from = peer.address();
        peer.welcome(CALM).await;
        from
    };
    let (from, opened) = tokio::join!(script, connect(&options));
    opened.unwrap();
    assert_eq!(from.ip().to_string(), "127.0.0.7");
}
