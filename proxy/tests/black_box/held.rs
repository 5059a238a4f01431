//! Messages that somebody holds.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use touchstone_client::trace::{Kind, Record, Traced};
use touchstone_proxy::{Action, Gate, Gates, Held};

use crate::gates::{MASK, X, Y};
use crate::stand::{PATIENCE, Stand, at_end, frame, frame_of, pass, upgrade};

/// Holds the event `x`, for whoever receives it.
struct Holding(mpsc::Sender<Held>);

impl Gate for Holding {
    fn decide(&mut self, record: Record) -> Option<Action> {
        let is_meant = match &record.kind {
            Kind::Packet(_, Traced::Event { name, .. }) => name == "x",
            Kind::Http(exchange) => exchange.url == "/x",
            _ => false,
        };
        is_meant.then_some(Action::Hold)
    }

    fn hold(&mut self, held: Held) {
        self.0.try_send(held).expect("a receiver");
    }
}

async fn stand() -> (Stand, mpsc::Receiver<Held>) {
    let (hold, held) = mpsc::channel(8);
    let gates: Gates = Arc::new(move || Box::new(Holding(hold.clone())));
    (Stand::new(Some(gates)).await, held)
}

async fn next(held: &mut mpsc::Receiver<Held>) -> Held {
    let next = timeout(PATIENCE, held.recv()).await;
    next.expect("something in time").expect("a message")
}

/// Sends `x` and `y` from the client, and decides about `x`.
async fn check(decide: impl FnOnce(Held), expected: &[Vec<u8>], marks: &[&str]) {
    let (stand, mut held) = stand().await;
    let (mut client, mut server) = stand.websocket(&upgrade("proxy")).await;
    let open = frame(r#"0{"sid":"e1"}"#, None);
    pass(&mut server, &mut client, &open, &open).await;
    let sent = [frame(X, MASK), frame(Y, MASK)].concat();
    client.write_all(&sent).await.expect("a connection");
    let held = next(&mut held).await;
    assert_eq!(held.text.as_deref(), Some(r#"["x",{"a":1}]"#));
    decide(held);
    pass(&mut client, &mut server, b"", &expected.concat()).await;
    drop((client, server));
    let is_end =
        |record: &Record| matches!(&record.kind, Kind::Mark(text) if text.starts_with("ended"));
    let records = stand.records(is_end).await;
    let told: Vec<_> = records
        .iter()
        .filter_map(|record| match &record.kind {
            Kind::Mark(text) => text.strip_prefix("the proxy "),
            _ => None,
        })
        .collect();
    assert_eq!(told, marks);
}

#[tokio::test]
async fn a_held_message_is_released_dropped_or_changed() {
    let (x, y) = (frame(X, MASK), frame(Y, MASK));
    check(Held::release, &[x.clone(), y.clone()], &["holds x"]).await;
    check(drop, &[x, y.clone()], &["holds x"]).await;
    check(
        Held::discard,
        std::slice::from_ref(&y),
        &["holds x", "drops x"],
    )
    .await;
    let changed = frame(r#"42["x",{"a":2}]"#, Some([0; 4]));
    let change = |held: Held| {
        let Err((held, _)) = held.replace("{}") else {
            panic!("{{}} is no event");
        };
        assert!(held.replace(r#"["x",{"a":2}]"#).is_ok());
    };
    check(change, &[changed, y], &["holds x", "changes x"]).await;
}

#[tokio::test]
async fn heartbeats_overtake_a_held_message_and_others_do_not() {
    let (stand, mut held) = stand().await;
    let (mut client, mut server) = stand.websocket(&upgrade("proxy")).await;
    // The first heartbeat comes with the message, the others later.
    let sent = [frame(X, MASK), frame(Y, MASK), frame("3", MASK)].concat();
    pass(&mut client, &mut server, &sent, &frame("3", MASK)).await;
    let pong = frame_of(0x8a, b"p", MASK);
    for beat in [frame("3", MASK), pong] {
        let sent = [frame(Y, MASK), beat.clone()].concat();
        pass(&mut client, &mut server, &sent, &beat).await;
    }
    // The other direction does not wait.
    pass(
        &mut server,
        &mut client,
        &frame("2", None),
        &frame("2", None),
    )
    .await;
    next(&mut held).await.release();
    let y = frame(Y, MASK);
    let rest = [&frame(X, MASK)[..], &y, &y, &y].concat();
    pass(&mut client, &mut server, b"", &rest).await;
}

#[tokio::test]
async fn a_held_message_is_over_when_its_connection_is() {
    let (stand, mut held) = stand().await;
    let (mut client, mut server) = stand.websocket(&upgrade("proxy")).await;
    client.write_all(&frame(X, MASK)).await.unwrap();
    let held = next(&mut held).await;
    assert!(!held.is_over());
    socket2::SockRef::from(&server)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    server.flush().await.unwrap();
    drop(server);
    at_end(&mut client).await.unwrap_err();
    let over = async {
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        while !held.is_over() {
            looks.tick().await;
        }
    };
    timeout(PATIENCE, over).await.expect("an end in time");
}

#[tokio::test]
async fn a_request_is_held() {
    let (stand, mut held) = stand().await;
    let (mut client, mut server) = stand.connection().await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\n\r\n");
    let answer = "HTTP/1.1 204 No Content\r\n\r\n";
    client.write_all(get("/x").as_bytes()).await.unwrap();
    let one = next(&mut held).await;
    assert_eq!(one.text, None);
    one.release();
    pass(&mut client, &mut server, b"", &get("/x")).await;
    pass(&mut server, &mut client, answer, answer).await;
    client
        .write_all([get("/x"), get("/y")].concat().as_bytes())
        .await
        .unwrap();
    next(&mut held).await.discard();
    pass(&mut client, &mut server, b"", &get("/y")).await;
    pass(&mut server, &mut client, answer, answer).await;
    let is_y = |record: &Record| matches!(&record.kind, Kind::Http(one) if one.url == "/y");
    let records = stand.records(is_y).await;
    let status = records.iter().find_map(|record| match &record.kind {
        Kind::Http(one) if one.url == "/y" => Some(one.status),
        _ => None,
    });
    assert_eq!(status, Some(Some(204)));
}

/// A message of long-polling is held within its request.
#[tokio::test]
async fn a_packet_in_a_body_is_held_and_changed() {
    let (stand, mut held) = stand().await;
    let target = "/?EIO=4&transport=polling";
    let (mut client, mut server): (TcpStream, TcpStream) = stand.connection().await;
    let get = format!("GET {target} HTTP/1.1\r\n\r\n");
    pass(&mut client, &mut server, &get, &get).await;
    let open = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n0{\"sid\":\"e\"}";
    pass(&mut server, &mut client, open, open).await;
    let post = |body: &str| {
        let length = body.len();
        format!("POST {target}&sid=e HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    let body = format!("{X}\u{1e}{Y}");
    client.write_all(post(&body).as_bytes()).await.unwrap();
    assert!(next(&mut held).await.replace(r#"["z"]"#).is_ok());
    let expected = post(&format!("42[\"z\"]\u{1e}{Y}"));
    pass(&mut client, &mut server, b"", &expected).await;
}
