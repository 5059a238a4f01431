//! Rules about packets of long-polling, which come in bodies, on any connection.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use touchstone_client::trace::{Kind, Record, Traced};
use touchstone_proxy::{Action, Gate, Gates};

use crate::gates::{One, X, Y};
use crate::stand::{Stand, frame, pass};

const TARGET: &str = "/v1/updates/?EIO=4&transport=polling";
const OPEN: &str = r#"0{"sid":"e1","pingInterval":25000,"pingTimeout":20000}"#;

/// A proxy that does `action`, with a session that is open.
struct Session {
    stand: Stand,
    gets: (TcpStream, TcpStream),
    posts: (TcpStream, TcpStream),
}

impl Session {
    async fn open(gates: Gates) -> Self {
        let stand = Stand::new(Some(gates)).await;
        let mut gets = stand.connection().await;
        let get = format!("GET {TARGET} HTTP/1.1\r\n\r\n");
        pass(&mut gets.0, &mut gets.1, &get, &get).await;
        let answer = answer(OPEN);
        pass(&mut gets.1, &mut gets.0, &answer, &answer).await;
        let posts = stand.connection().await;
        Self { stand, gets, posts }
    }

    async fn doing(action: Action) -> Self {
        Self::open(Arc::new(move || Box::new(One(action.clone())))).await
    }

    /// Posts packets; what arrives at the server.
    async fn post(&mut self, packets: &[&str], expected: &[&str]) {
        let (client, server) = &mut self.posts;
        pass(client, server, &post(packets), &post(expected)).await;
        pass(server, client, &answer("ok"), &answer("ok")).await;
    }

    /// Polls; what arrives at the client of what the server answers.
    async fn poll(&mut self, packets: &[&str], expected: &[&str]) {
        let (client, server) = &mut self.gets;
        let get = format!("GET {TARGET}&sid=e1 HTTP/1.1\r\n\r\n");
        pass(client, server, &get, &get).await;
        let (sent, expected) = (answer(&joined(packets)), answer(&joined(expected)));
        pass(server, client, &sent, &expected).await;
    }

    /// The events of the record.
    async fn events(mut self, last: &str) -> Vec<String> {
        self.post(&[last], &[last]).await;
        let named = |record: &Record| match &record.kind {
            Kind::Packet(direction, Traced::Event { name, .. }) => {
                Some(format!("{direction:?} {name}"))
            }
            _ => None,
        };
        let wanted = format!("Sent {}", last.split('"').nth(1).expect("a name"));
        let records = self
            .stand
            .records(|record| named(record).as_ref() == Some(&wanted))
            .await;
        records
            .iter()
            .filter_map(named)
            .filter(|event| *event != wanted)
            .collect()
    }
}

fn joined(packets: &[&str]) -> String {
    packets.join("\u{1e}")
}

fn post(packets: &[&str]) -> String {
    let body = joined(packets);
    let length = body.len();
    format!("POST {TARGET}&sid=e1 HTTP/1.1\r\nX-a: b\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn answer(body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nX-a: b\r\nContent-Length: {length}\r\n\r\n{body}")
}

const LAST: &str = r#"42["last"]"#;

#[tokio::test]
async fn packets_are_dropped_doubled_swapped_and_changed_in_bodies() {
    let corrupted = r#"42["x",{"a":null}]"#;
    let rows: [(Action, &[&str], usize); 5] = [
        (Action::Drop, &[Y], 0),
        (Action::Duplicate, &[X, X, Y], 2),
        (Action::Reorder, &[Y, X], 1),
        (Action::Delay(Duration::from_millis(1)), &[X, Y], 1),
        (Action::Corrupt, &[corrupted, Y], 1),
    ];
    for (action, expected, arrived) in rows {
        let mut session = Session::doing(action.clone()).await;
        session.post(&[X, Y], expected).await;
        session.poll(&[X, Y], expected).await;
        let events = session.events(LAST).await;
        // The record has what the server got, and what it sent.
        let of = |event: &str| events.iter().filter(|one| *one == event).count();
        let counts = (
            of("Sent x"),
            of("Sent y"),
            of("Received x"),
            of("Received y"),
        );
        assert_eq!(counts, (arrived, 1, 1, 1), "{action}");
    }
}

#[tokio::test]
async fn a_body_of_which_nothing_is_left() {
    let mut session = Session::doing(Action::Drop).await;
    let (client, server) = &mut session.posts;
    client.write_all(post(&[X]).as_bytes()).await.unwrap();
    let taken = "HTTP/1.1 200 By touchstone proxy\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nok";
    pass(server, client, b"", taken).await;
    // The server got nothing, and its next answer belongs to the next request.
    session.post(&[Y], &[Y]).await;
    session.poll(&[X], &["6"]).await;
    assert_eq!(session.events(LAST).await, ["Sent y", "Received x"]);
}

#[tokio::test]
async fn a_message_goes_on_behind_the_next_one_in_another_body() {
    let mut session = Session::doing(Action::Reorder).await;
    session.poll(&[X], &["6"]).await;
    session.poll(&[Y], &[Y, X]).await;
}

#[tokio::test]
async fn an_answer_of_the_proxy_comes_with_the_next_packets() {
    let mut session = Session::doing(Action::Answer("{\"b\":2}".to_owned())).await;
    let call = r#"427["x",{"a":1}]"#;
    session.post(&[call, Y], &[Y]).await;
    session.poll(&["2"], &[r#"437[{"b":2}]"#, "2"]).await;
    session.poll(&[call, Y], &[Y]).await;
    session.post(&["3"], &[r#"437[{"b":2}]"#, "3"]).await;
    let mut session = Session::doing(Action::Refuse).await;
    session.post(&[r#"40{"token":"t"}"#, Y], &[Y]).await;
    let refusal = r#"44{"message":"refused by touchstone proxy"}"#;
    session.poll(&["2"], &[refusal, "2"]).await;
}

#[tokio::test]
async fn attachments_in_a_body_belong_to_their_event() {
    let event = r#"451-["x",{"_placeholder":true,"num":0}]"#;
    let mut session = Session::doing(Action::Drop).await;
    session.post(&[Y, event, "bAAE=", Y], &[Y, Y]).await;
    let mut session = Session::doing(Action::Duplicate).await;
    session
        .poll(&[event, "bAAE=", Y], &[event, "bAAE=", event, "bAAE=", Y])
        .await;
    // Without its attachment, it is no whole message.
    session.poll(&[event, Y], &[event, Y]).await;
}

#[tokio::test]
async fn an_answer_that_is_compressed_and_in_chunks() {
    let mut session = Session::doing(Action::Drop).await;
    let (client, server) = &mut session.gets;
    let get = format!("GET {TARGET}&sid=e1 HTTP/1.1\r\n\r\n");
    let head =
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\nX-a: b\r\n\r\n";
    for (packets, is_changed) in [(&[X, Y][..], true), (&[Y], false)] {
        pass(client, server, &get, &get).await;
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(joined(packets).as_bytes()).unwrap();
        let body = gzip.finish().unwrap();
        let sent = [
            head.as_bytes(),
            format!("{:x}\r\n", body.len()).as_bytes(),
            &body,
            b"\r\n0\r\n\r\n",
        ]
        .concat();
        match is_changed {
            true => pass(server, client, &sent, &answer(Y)).await,
            // What nothing is done to stays as it was.
            false => pass(server, client, &sent, &sent).await,
        }
    }
}

/// Drops the events `x` of whoever has connected before.
#[derive(Default)]
struct Connected(bool);

impl Gate for Connected {
    fn decide(&mut self, record: Record) -> Option<Action> {
        match &record.kind {
            Kind::Packet(_, Traced::Connect(_)) => self.0 = true,
            Kind::Packet(_, Traced::Event { name, .. }) if name == "x" && self.0 => {
                return Some(Action::Drop);
            }
            _ => {}
        }
        None
    }
}

#[tokio::test]
async fn a_session_is_one_on_all_of_its_connections() {
    let connect = r#"40{"token":"t"}"#;
    let mut session = Session::open(Arc::new(|| Box::new(Connected::default()))).await;
    session.post(&[X, connect], &[X, connect]).await;
    session.poll(&[X, Y], &[Y]).await;
    session.posts = session.stand.connection().await;
    session.post(&[X, Y], &[Y]).await;
    // Its WebSocket is of the same session, and another one is not.
    for (query, expected) in [("&sid=e1", &[Y][..]), ("", &[X, Y])] {
        let (mut client, mut server) = session.stand.connection().await;
        let sent = format!(
            "GET /v1/updates/?EIO=4&transport=websocket{query} HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"
        );
        pass(&mut client, &mut server, &sent, &sent).await;
        let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
        pass(&mut server, &mut client, switch, switch).await;
        let sent = [frame(X, None), frame(Y, None)].concat();
        let expected: Vec<_> = expected.iter().map(|text| frame(text, None)).collect();
        pass(&mut server, &mut client, &sent, &expected.concat()).await;
    }
}
