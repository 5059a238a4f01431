//! What goes through a proxy arrives as it was sent, byte for byte, and ends as it ended.

use std::time::Duration;

use serde_json::{Value, json};
use socket2::SockRef;
use tokio::io::AsyncWriteExt as _;
use touchstone_client::trace::{Kind, Record, Traced};

use crate::stand::{Stand, at_end, frame, pass, upgrade};

#[tokio::test]
async fn a_websocket_of_any_cut_is_passed_on_and_read() {
    let stand = Stand::new(None).await;
    let (mut client, mut server) = stand.websocket(&upgrade("proxy")).await;
    let opened = frame(
        r#"0{"sid":"e1","pingInterval":25000,"pingTimeout":20000}"#,
        None,
    );
    pass(&mut server, &mut client, &opened, &opened).await;
    let connect = frame(
        r#"40{"token":"a-real-token","clientType":"user-scoped"}"#,
        Some([9, 8, 7, 6]),
    );
    // Each byte by itself.
    for byte in connect {
        pass(&mut client, &mut server, &[byte], &[byte]).await;
    }
    let several = [frame(r#"40{"sid":"s1"}"#, None), frame("42[\"x\",1]", None)].concat();
    pass(&mut server, &mut client, &several, &several).await;
    // What is no frame ends the reading, and not the traffic.
    let nonsense = [0xff; 40];
    pass(&mut client, &mut server, &nonsense, &nonsense).await;
    drop(client);
    assert_eq!(at_end(&mut server).await.unwrap(), b"");
    drop(server);
    let is_end =
        |record: &Record| matches!(&record.kind, Kind::Mark(text) if text.starts_with("ended"));
    let records = stand.records(is_end).await;
    let packets: Vec<_> = records
        .iter()
        .filter(|record| record.conn == "c1")
        .map(|record| match &record.kind {
            Kind::Packet(_, Traced::Connect(data)) => data.to_string(),
            Kind::Packet(_, packet) => format!("{packet:?}")
                .split([' ', '('])
                .next()
                .unwrap()
                .to_owned(),
            Kind::Mark(text) => text.clone(),
            Kind::Http(_) => "http".to_owned(),
        })
        .collect();
    let expected = [
        "Open",
        r#"{"token":"a1…","clientType":"user-scoped"}"#,
        r#"{"sid":"s1"}"#,
        "Event",
        "what the client sends cannot be read from here on: no WebSocket frame",
        "ended: closed by this client",
    ];
    assert_eq!(packets, expected);
}

#[tokio::test]
async fn what_is_not_http_is_passed_on() {
    let stand = Stand::new(None).await;
    for sent in [
        "\u{0}\u{1} nonsense\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ] {
        let (mut client, mut server) = stand.connection().await;
        pass(&mut client, &mut server, sent, sent).await;
        pass(&mut server, &mut client, b"what?", b"what?").await;
    }
    // Half a head goes on when nothing more comes.
    let (mut client, mut server) = stand.connection().await;
    client.write_all(b"GET / HT").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(at_end(&mut server).await.unwrap(), b"GET / HT");
    // The other direction is still open.
    pass(&mut server, &mut client, b"late", b"late").await;
    drop(server);
    assert_eq!(at_end(&mut client).await.unwrap(), b"");
}

#[tokio::test]
async fn a_reset_becomes_a_reset() {
    let stand = Stand::new(None).await;
    let (client, mut server) = stand.connection().await;
    SockRef::from(&client)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(client);
    let error = at_end(&mut server).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let (mut client, server) = stand.connection().await;
    SockRef::from(&server)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(server);
    let error = at_end(&mut client).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn exchanges_are_recorded_without_secrets() {
    let stand = Stand::new(None).await;
    let (mut client, mut server) = stand.connection().await;
    let host = &stand.upstream;
    // Two requests at once, the second of them in chunks.
    let heads = |host: &str| {
        format!(
            "POST /v1/auth/response HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer a-real-token\r\n\
             Content-Length: 42\r\n\r\n{{\"publicKey\":\"k\",\"response\":\"a-pairing-\"}} \
             POST /v1/kv?token=a-query-token HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n\
             5\r\n{{\"a\":\r\n2\r\n1}}\r\n0\r\nTrailer: x\r\n\r\n"
        )
    };
    let (sent, expected) = (heads("proxy"), heads(host));
    pass(&mut client, &mut server, &sent, &expected).await;
    let answers = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n\
        {\"success\":true}HTTP/1.1 404 Not Found\r\n\r\n{\"pushToken\":\"a-push-token\"}";
    pass(&mut server, &mut client, answers, answers).await;
    drop(server);
    assert_eq!(at_end(&mut client).await.unwrap(), b"");
    drop(client);
    let is_end = |record: &Record| matches!(&record.kind, Kind::Http(one) if one.method == "POST" && one.status == Some(404));
    let records = stand.records(is_end).await;
    let exchanges: Vec<Value> = records
        .iter()
        .filter_map(|record| match &record.kind {
            Kind::Http(exchange) => Some(json!([
                record.conn,
                exchange.method,
                exchange.url,
                exchange.status,
                exchange.request,
                exchange.response,
            ])),
            _ => None,
        })
        .collect();
    let pairing = json!({"publicKey": "k", "response": "…"});
    let expected = [
        json!(["http/a1", "POST", "/v1/auth/response", 200, pairing, {"success": true}]),
        json!(["http", "POST", "/v1/kv?token=…", 404, {"a": 1}, {"pushToken": "…"}]),
    ];
    assert_eq!(exchanges, expected);
}
