//! Long-polling, and the upgrade from it to a WebSocket.

use serde_json::json;
use touchstone_client::{ConnectError, End, Engine, Events, Socket, Transport, connect};

use crate::{
    http::{HttpServer, LONG, Request},
    script::{BINARY, CLOSE, bytes, expect_names, next, soon},
};

const NO_UPGRADE: &str = r#"0{"sid":"engine-id","upgrades":[],"pingInterval":25000,"pingTimeout":60000,"maxPayload":100}"#;
const UPGRADE: &str = r#"0{"sid":"engine-id","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":60000,"maxPayload":1000000}"#;
/// The largest body that clients of these tests accept.
const LIMIT: usize = 100_000;
const OPEN: &str = "GET /v1/updates/?EIO=4&transport=polling";
const POLL: &str = "GET /v1/updates/?EIO=4&transport=polling&sid=engine-id";
const POST: &str = "POST /v1/updates/?EIO=4&transport=polling&sid=engine-id";
const PROBE: &str = "GET /v1/updates/?EIO=4&transport=websocket&sid=engine-id HTTP/1.1";

/// A connected client, and the poll that it has under way.
async fn connected(
    server: &mut HttpServer,
    transport: Transport,
    handshake: &str,
) -> (Socket, Events, Request) {
    let mut options = server
        .options()
        .transport(transport)
        .auth(json!({"token": "t"}));
    options.max_message = LIMIT;
    let script = async {
        let open = server.expect(OPEN).await;
        assert_eq!(open.line(), OPEN);
        open.answer(200, handshake);
        let (poll, post) = server.get_and_post().await;
        assert_eq!((poll.line(), post.line()), (POLL, POST));
        assert_eq!(post.body, r#"40{"token":"t"}"#);
        post.answer(200, "ok");
        poll.answer(200, r#"40{"sid":"socket-id"}"#);
        server.expect(POLL).await
    };
    let (poll, opened) = tokio::join!(script, connect(&options));
    let (socket, events) = opened.unwrap();
    (socket, events, poll)
}

#[tokio::test]
async fn packets_come_several_to_a_payload_and_binary_in_base64() {
    let mut server = HttpServer::start().await;
    let (socket, mut events, poll) = connected(&mut server, Transport::Polling, NO_UPGRADE).await;
    let reason = soon(socket.upgraded()).await.unwrap_err().reason;
    assert_eq!(reason, "polling was asked for");
    poll.answer(
        200,
        "42[\"a\",1]\u{1e}2\u{1e}451-[\"b\",{\"_placeholder\":true,\"num\":0}]\u{1e}bAQID\u{1e}6\u{1e}42[\"c\"]",
    );
    assert_eq!(next(&mut events).await, ("a".to_owned(), "1".to_owned()));
    let event = soon(events.recv()).await.unwrap();
    assert_eq!(
        (event.name(), event.attachments.as_slice()),
        ("b", [bytes(&[1, 2, 3])].as_slice())
    );
    expect_names(&mut events, &["c"]).await;
    let (poll, post) = server.get_and_post().await;
    assert_eq!(post.body, "3");
    post.answer(200, "ok");
    // Calls pass as over a WebSocket.
    let script = async {
        let post = server.expect(POST).await;
        assert_eq!(post.body, r#"420["ping"]"#);
        post.answer(200, "ok");
        poll.answer(200, "430[{}]");
    };
    let (reply, ()) = tokio::join!(socket.call("ping", (), LONG), script);
    assert_eq!(reply.unwrap().data().unwrap(), json!({}));
}

#[tokio::test]
async fn what_waits_goes_into_one_body_within_the_servers_limit() {
    let mut server = HttpServer::start().await;
    let (socket, _events, _poll) = connected(&mut server, Transport::Polling, NO_UPGRADE).await;
    socket.emit("first", ()).await.unwrap();
    let first = server.expect(POST).await;
    assert_eq!(first.body, r#"42["first"]"#);
    // While one POST is under way, the others collect.
    for n in 0..3 {
        socket.emit("n", json!(n)).await.unwrap();
    }
    socket.emit("long", json!("x".repeat(80))).await.unwrap();
    socket
        .emit("too long", json!("x".repeat(200)))
        .await
        .unwrap();
    socket
        .emit_binary("b", (), vec![bytes(&[1, 2, 3])])
        .await
        .unwrap();
    first.answer(200, "ok");
    let flushed = socket.clone();
    let flushed = tokio::spawn(async move { flushed.flush().await });
    let mut bodies = Vec::new();
    for _ in 0..4 {
        let post = server.expect(POST).await;
        bodies.push(
            post.body
                .replace('\u{1e}', " ")
                .replace(&"x".repeat(80), "…"),
        );
        post.answer(200, "ok");
    }
    insta::assert_snapshot!(bodies.join("\n"), @r#"
    42["n",0] 42["n",1] 42["n",2]
    42["long","…"]
    42["too long","……xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"]
    451-["b"] bAQID
    "#);
    soon(flushed).await.unwrap().unwrap();
}

#[tokio::test]
async fn disconnect_says_goodbye_over_polling() {
    let mut server = HttpServer::start().await;
    let (socket, mut events, _poll) = connected(&mut server, Transport::Polling, NO_UPGRADE).await;
    let script = async {
        let post = server.expect(POST).await;
        assert_eq!(post.body, "41\u{1e}1");
        post.answer(200, "ok");
    };
    tokio::join!(soon(socket.disconnect()), script);
    assert_eq!(soon(events.recv()).await.unwrap_err(), End::ClientClosed);
}

#[tokio::test]
async fn a_server_disconnect_over_polling_is_told() {
    let mut server = HttpServer::start().await;
    let (_socket, mut events, poll) = connected(&mut server, Transport::Polling, NO_UPGRADE).await;
    poll.answer(200, "42[\"error\",{}]\u{1e}41");
    expect_names(&mut events, &["error"]).await;
    assert_eq!(
        soon(events.recv()).await.unwrap_err(),
        End::ServerDisconnect
    );
    let goodbye = server.expect(POST).await;
    assert_eq!(goodbye.body, "1");
}

/// How a poll or a POST fails, and what is told.
#[tokio::test]
async fn failures_of_polling_end_the_connection() {
    let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
    let endless = chunk.repeat(10 * LIMIT / 1024);
    let endless = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{endless}");
    let rows: [(&str, Vec<u8>); 8] = [
        ("400", b"HTTP/1.1 400 Bad\r\nContent-Length: 34\r\n\r\n{\"code\":1,\"message\":\"Unknown sid\"}".to_vec()),
        ("404", b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n".to_vec()),
        ("no UTF-8", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n4\xff2".to_vec()),
        ("no base64", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n6\x1eb?!".to_vec()),
        ("empty", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()),
        ("announced", b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n4".to_vec()),
        ("endless", endless.into_bytes()),
        ("cut", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n42".to_vec()),
    ];
    let mut told = Vec::new();
    for (name, answer) in rows {
        let mut server = HttpServer::start().await;
        let (_socket, mut events, poll) =
            connected(&mut server, Transport::Polling, NO_UPGRADE).await;
        poll.answer_raw(answer);
        let end = soon(events.recv()).await.unwrap_err();
        let end = match &end {
            End::ParseError { source, .. } => format!("{end}: {source}"),
            // How far reading came before the limit depends on the pieces in which it arrived.
            End::TooLarge { limit, .. } if name == "endless" => format!("too large for {limit}"),
            _ => end.to_string(),
        };
        told.push(format!("{name}: {end}"));
    }
    insta::assert_snapshot!(told.join("\n"));
}

#[tokio::test]
async fn a_post_that_is_refused_ends_the_connection() {
    let mut server = HttpServer::start().await;
    let (socket, mut events, _poll) = connected(&mut server, Transport::Polling, NO_UPGRADE).await;
    socket.emit("e", ()).await.unwrap();
    server.expect(POST).await.answer(413, "too much");
    let end = soon(events.recv()).await.unwrap_err();
    assert_eq!(
        end.to_string(),
        "transport failed: POST answered HTTP 413: too much"
    );
}

/// The first poll, where a wrong server is met.
#[tokio::test]
async fn whatever_does_not_open_a_poll_is_named() {
    let rows = [
        (400, r#"{"code":0,"message":"Transport unknown"}"#),
        (404, "not here"),
        (500, ""),
        (200, "<html>"),
        (200, ""),
        (200, "42[\"e\"]"),
        (200, "0{}"),
        (200, "bAQID"),
    ];
    let mut told = Vec::new();
    for (status, body) in rows {
        let mut server = HttpServer::start().await;
        let options = server.options().transport(Transport::Polling);
        let script = async { server.expect(OPEN).await.answer(status, body) };
        let (opened, ()) = tokio::join!(Engine::open(&options), script);
        let error = opened.unwrap_err();
        assert!(!matches!(error, ConnectError::Ended(_)), "{error:?}");
        told.push(error.to_string().replace(server.origin(), "http://HOST"));
    }
    insta::assert_snapshot!(told.join("\n"));
}

/// The upgrade, in which packets come by both ways and none may be lost or overtaken.
#[tokio::test]
async fn the_upgrade_loses_nothing_and_keeps_the_order() {
    let mut server = HttpServer::start().await;
    let (socket, mut events, poll) = connected(&mut server, Transport::Upgrade, UPGRADE).await;
    let (head, mut peer) = server.upgrade().await;
    assert_eq!(head.lines().next(), Some(PROBE));

    // Before the probe is answered, polling works as always.
    poll.answer(200, "42[\"1\"]");
    expect_names(&mut events, &["1"]).await;
    let poll = server.expect(POLL).await;
    peer.switch_protocols(&head).await;
    peer.expect("2probe").await;
    socket.emit("by post", ()).await.unwrap();
    let post = server.expect(POST).await;
    assert_eq!(post.body, r#"42["by post"]"#);

    // The probe is answered while a POST and a poll are under way: both are awaited.
    peer.send("3probe").await;
    socket.emit("held", json!(1)).await.unwrap();
    poll.answer(200, "42[\"2\"]\u{1e}42[\"3\"]\u{1e}6");
    expect_names(&mut events, &["2", "3"]).await;
    post.answer(200, "ok");
    peer.expect("5").await;
    peer.expect(r#"42["held",1]"#).await;
    assert!(soon(socket.upgraded()).await.is_ok());
    server.expect_none();

    peer.send("42[\"4\"]").await;
    expect_names(&mut events, &["4"]).await;
    peer.send("2").await;
    peer.expect("3").await;
    socket
        .emit_binary("b", (), vec![bytes(&[5])])
        .await
        .unwrap();
    peer.expect(r#"451-["b"]"#).await;
    assert_eq!(peer.frame().await.opcode, BINARY);
    let (goodbye, ()) = tokio::join!(
        async {
            peer.expect("41").await;
            peer.frame().await
        },
        soon(socket.disconnect())
    );
    assert_eq!(goodbye.opcode, CLOSE);
}

/// Where the upgrade fails, the connection goes on by polling.
#[tokio::test]
async fn a_failed_upgrade_leaves_polling_as_it_was() {
    enum Probe {
        Refused,
        Closed,
        Wrong,
    }
    for (probe, told) in [
        (Probe::Refused, "HTTP 400: no"),
        (Probe::Closed, "end of stream"),
        (Probe::Wrong, "the probe was answered \"3\""),
    ] {
        let mut server = HttpServer::start().await;
        let (socket, mut events, poll) = connected(&mut server, Transport::Upgrade, UPGRADE).await;
        let (head, mut peer) = server.upgrade().await;
        match probe {
            Probe::Refused => peer.answer(400, "no").await,
            Probe::Closed => {
                peer.switch_protocols(&head).await;
                peer.hang_up().await;
            }
            Probe::Wrong => {
                peer.switch_protocols(&head).await;
                peer.expect("2probe").await;
                peer.send("3").await;
            }
        }
        let error = soon(socket.upgraded()).await.unwrap_err();
        assert!(error.reason.contains(told), "{error}");
        poll.answer(200, "42[\"still polling\"]");
        expect_names(&mut events, &["still polling"]).await;
        socket.emit("and posting", ()).await.unwrap();
        let (_poll, post) = server.get_and_post().await;
        assert_eq!(post.body, r#"42["and posting"]"#);
    }
}

#[tokio::test]
async fn a_server_without_upgrades_is_not_probed() {
    let mut server = HttpServer::start().await;
    let (socket, _events, _poll) = connected(&mut server, Transport::Upgrade, NO_UPGRADE).await;
    let reason = soon(socket.upgraded()).await.unwrap_err().reason;
    assert_eq!(reason, "the server offers no upgrade to websocket");
}
