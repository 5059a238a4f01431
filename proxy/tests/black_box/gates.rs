//! What is done to messages on their way, as both sides see it.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use touchstone_client::trace::{Kind, Record, Traced};
use touchstone_proxy::{Action, Gate, Gates};

use crate::stand::{Stand, at_end, frame, pass, upgrade};

pub(crate) const MASK: Option<[u8; 4]> = Some([1, 2, 3, 4]);

/// Does one thing to the event `x`, to CONNECT, and to requests for `/x`.
pub(crate) struct One(pub(crate) Action);

impl Gate for One {
    fn decide(&mut self, record: Record) -> Option<Action> {
        let is_meant = match &record.kind {
            Kind::Packet(_, Traced::Event { name, .. }) => name == "x",
            Kind::Packet(_, Traced::Connect(_)) => self.0 == Action::Refuse,
            Kind::Http(exchange) => exchange.url == "/x",
            _ => false,
        };
        is_meant.then(|| self.0.clone())
    }
}

/// A WebSocket through a proxy that does `action`.
pub(crate) async fn socket(action: Action) -> (Stand, TcpStream, TcpStream) {
    let gates: Gates = Arc::new(move || Box::new(One(action.clone())));
    let stand = Stand::new(Some(gates)).await;
    let deflate = "Upgrade: websocket\r\nSec-WebSocket-Extensions: permessage-deflate";
    let sent = upgrade("proxy").replace("Upgrade: websocket", deflate);
    let (client, server) = stand.websocket(&sent).await;
    (stand, client, server)
}

/// Sends the event `x` and another one from the client, and checks what arrives of both.
async fn from_client(action: Action, expected: &[&str]) {
    let (_stand, mut client, mut server) = socket(action).await;
    let sent = [frame(r#"42["x",{"a":1}]"#, MASK), frame(r#"42["y"]"#, MASK)].concat();
    let expected: Vec<_> = expected.iter().map(|text| frame(text, MASK)).collect();
    pass(&mut client, &mut server, &sent, &expected.concat()).await;
}

/// The same from the server.
async fn from_server(action: Action, expected: &[&str]) {
    let (_stand, mut client, mut server) = socket(action).await;
    let sent = [frame(r#"42["x",{"a":1}]"#, None), frame(r#"42["y"]"#, None)].concat();
    let expected: Vec<_> = expected.iter().map(|text| frame(text, None)).collect();
    pass(&mut server, &mut client, &sent, &expected.concat()).await;
}

pub(crate) const X: &str = r#"42["x",{"a":1}]"#;
pub(crate) const Y: &str = r#"42["y"]"#;

#[tokio::test]
async fn messages_are_dropped_doubled_swapped_and_changed() {
    from_client(Action::Drop, &[Y]).await;
    from_server(Action::Drop, &[Y]).await;
    from_client(Action::Duplicate, &[X, X, Y]).await;
    from_server(Action::Duplicate, &[X, X, Y]).await;
    from_client(Action::Reorder, &[Y, X]).await;
    from_server(Action::Reorder, &[Y, X]).await;
    from_client(Action::Delay(Duration::from_millis(1)), &[X, Y]).await;
    from_server(Action::Corrupt, &[r#"42["x",{"a":null}]"#, Y]).await;
}

#[tokio::test]
async fn a_corrupted_message_of_a_client_is_masked_with_zeros() {
    let (_stand, mut client, mut server) = socket(Action::Corrupt).await;
    let expected = frame(r#"42["x",{"a":null}]"#, Some([0; 4]));
    pass(&mut client, &mut server, &frame(X, MASK), &expected).await;
}

#[tokio::test]
async fn a_call_is_answered_by_the_proxy() {
    let (_stand, mut client, mut server) = socket(Action::Answer("{\"b\":2}".to_owned())).await;
    let call = frame(r#"427["x",{"a":1}]"#, MASK);
    let answer = frame(r#"437[{"b":2}]"#, None);
    client.write_all(&call).await.unwrap();
    pass(&mut client, &mut server, &frame(Y, MASK), &frame(Y, MASK)).await;
    pass(&mut server, &mut client, b"", &answer).await;
    // An event that asks for no answer goes on.
    pass(&mut client, &mut server, &frame(X, MASK), &frame(X, MASK)).await;
}

#[tokio::test]
async fn a_connect_is_refused_by_the_proxy() {
    let (_stand, mut client, mut server) = socket(Action::Refuse).await;
    let connect = frame(r#"40{"token":"t"}"#, MASK);
    client.write_all(&connect).await.unwrap();
    let refusal = frame(r#"44{"message":"refused by touchstone proxy"}"#, None);
    pass(&mut server, &mut client, b"", &refusal).await;
    pass(&mut client, &mut server, &frame(Y, MASK), &frame(Y, MASK)).await;
}

#[tokio::test]
async fn a_request_is_answered_by_the_proxy() {
    let gates: Gates = Arc::new(|| Box::new(One(Action::Http(502))));
    let stand = Stand::new(Some(gates)).await;
    let (mut client, mut server) = stand.connection().await;
    client
        .write_all(b"POST /x HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
        .await
        .unwrap();
    let head = b"HTTP/1.1 502 By touchstone proxy\r\nContent-Type: application/json\r\n\
        Content-Length: 42\r\n\r\n{\"error\":\"status 502 by touchstone proxy\"}";
    pass(&mut server, &mut client, b"", head).await;
    // The connection goes on with what follows, and both know whose answer it is.
    let get = b"HEAD /y HTTP/1.1\r\n\r\n";
    pass(&mut client, &mut server, get, get).await;
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n";
    pass(&mut server, &mut client, answer, answer).await;
    let records = stand
        .records(|record| matches!(&record.kind, Kind::Http(_)))
        .await;
    let texts: Vec<_> = records
        .iter()
        .map(|record| match &record.kind {
            Kind::Http(exchange) => format!("{} {}", exchange.method, exchange.url),
            Kind::Mark(text) => text.clone(),
            Kind::Packet(..) => "packet".to_owned(),
        })
        .collect();
    assert_eq!(texts, ["the proxy answers with 502 POST /x", "HEAD /y"]);
}

#[tokio::test]
async fn connections_end_as_a_rule_says() {
    let (_stand, mut client, mut server) = socket(Action::Close).await;
    client.write_all(&frame(X, MASK)).await.unwrap();
    assert_eq!(at_end(&mut client).await.unwrap(), [0x88, 2, 0x03, 0xe9]);
    let masked = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9];
    assert_eq!(at_end(&mut server).await.unwrap(), masked);

    // What is no WebSocket ends without a frame.
    let gates: Gates = Arc::new(|| Box::new(One(Action::Close)));
    let stand = Stand::new(Some(gates)).await;
    let (mut client, mut server) = stand.connection().await;
    client.write_all(b"GET /x HTTP/1.1\r\n\r\n").await.unwrap();
    for stream in [&mut client, &mut server] {
        assert_eq!(at_end(stream).await.unwrap(), b"");
    }

    let (_stand, mut client, mut server) = socket(Action::CloseAbruptly).await;
    client.write_all(&frame(X, MASK)).await.unwrap();
    for stream in [&mut client, &mut server] {
        let error = at_end(stream).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }

    let (_stand, mut client, mut server) = socket(Action::CloseHalf).await;
    client.write_all(&frame(X, MASK)).await.unwrap();
    assert_eq!(at_end(&mut server).await.unwrap(), b"");
    pass(&mut server, &mut client, &frame(Y, None), &frame(Y, None)).await;

    // Nothing comes any more, while the other direction goes on and ends.
    let (_stand, mut client, mut server) = socket(Action::Freeze).await;
    let sent = [frame(X, MASK), frame(Y, MASK)].concat();
    client.write_all(&sent).await.unwrap();
    pass(&mut server, &mut client, &frame(Y, None), &frame(Y, None)).await;
    drop(client);
    assert_eq!(
        at_end(&mut server).await.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionReset
    );
}
