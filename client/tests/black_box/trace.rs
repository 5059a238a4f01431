//! The trace format: golden files in both directions, and recordings of real connections.

use std::{io::BufReader, sync::Arc};

use serde_json::{Value, json};
use tokio::time::Instant;
use touchstone_client::{
    Args, Direction, Frame, Tap,
    trace::{Bounds, Exchange, Header, Kind, Reader, Record, Recorder, TraceError, Traced, Writer},
};

use crate::script::{self, Server, soon};

const GOLDEN: &str = include_str!("../golden/trace-v1.jsonl");

fn packet(t_us: u64, direction: Direction, packet: Traced) -> Record {
    let kind = Kind::Packet(direction, packet);
    Record {
        t_us,
        conn: "u1".to_owned(),
        kind,
        recipients: None,
    }
}

/// One record of each kind, as the golden file has them.
fn records() -> Vec<Record> {
    use Direction::{Received, Sent};
    let http = Exchange {
        method: "POST".to_owned(),
        url: "/v1/auth".to_owned(),
        status: Some(200),
        request: Some(json!({"publicKey": "cHVi"})),
        response: Some(json!({"success": true, "token": "abcdef…"})),
        ms: 12,
        us: None,
    };
    let unanswered = Exchange {
        method: "GET".to_owned(),
        url: "/health".to_owned(),
        status: None,
        request: None,
        response: None,
        ms: 5000,
        us: None,
    };
    let update = Traced::Event {
        name: "update".to_owned(),
        args: Args::raw(r#"{"id":"u","seq":1,"body":{"t":"new-message"},"createdAt":1e3}"#),
        ack: None,
        attachments: 0,
    };
    let call = Traced::Event {
        name: "ping".to_owned(),
        args: Args::from(()),
        ack: Some(0),
        attachments: 0,
    };
    let file = Traced::Event {
        name: "file".to_owned(),
        args: Args::raw(r#"{"_placeholder":true,"num":0}, 2"#),
        ack: Some(u64::MAX),
        attachments: 1,
    };
    let mark = |t_us, conn: &str, text: &str| Record {
        t_us,
        conn: conn.to_owned(),
        kind: Kind::Mark(text.to_owned()),
        recipients: None,
    };
    let handshake =
        json!({"sid": "e", "upgrades": [], "pingInterval": 15000, "pingTimeout": 45000});
    let mut routed = packet(18, Received, update);
    routed.recipients = Some(vec!["u1".to_owned(), "s1".to_owned()]);
    vec![
        mark(0, "-", "phase connect"),
        Record {
            kind: Kind::Http(http),
            ..mark(1, "http", "")
        },
        Record {
            kind: Kind::Http(unanswered),
            ..mark(2, "http", "")
        },
        packet(10, Received, Traced::Open(handshake)),
        packet(
            11,
            Sent,
            Traced::Connect(json!({"token": "abcdef…", "clientType": "user-scoped"})),
        ),
        packet(12, Received, Traced::Connect(json!({"sid": "s"}))),
        packet(13, Received, Traced::ConnectError(json!({"message": "no"}))),
        packet(14, Received, Traced::Ping(String::new())),
        packet(15, Sent, Traced::Pong("probe".to_owned())),
        packet(16, Sent, call),
        packet(
            17,
            Received,
            Traced::Ack {
                id: 0,
                args: Args::raw("{}"),
                attachments: 0,
            },
        ),
        routed,
        packet(19, Received, file),
        packet(
            20,
            Received,
            Traced::Binary {
                size: 3,
                bytes: None,
            },
        ),
        packet(21, Sent, Traced::Raw("42[nonsense".to_owned())),
        packet(22, Sent, Traced::Connect(Value::Null)),
        packet(23, Sent, Traced::Upgrade),
        packet(24, Received, Traced::Noop),
        packet(25, Sent, Traced::Disconnect),
        packet(26, Sent, Traced::Close),
        mark(27, "u1", "closed by this client"),
    ]
}

fn header() -> Header {
    Header::new(
        "touchstone 0.1.0",
        "http://127.0.0.1:3005",
        1_795_313_000_000,
    )
}

fn written(records: &[Record]) -> String {
    let mut writer = Writer::new(Vec::new(), &header()).unwrap();
    for record in records {
        writer.write(record).unwrap();
    }
    String::from_utf8(writer.finish().unwrap()).unwrap()
}

#[test]
fn what_is_written_is_the_golden_file() {
    similar(&written(&records()), GOLDEN);
}

#[test]
fn what_is_read_from_the_golden_file_is_what_was_written() {
    let reader = Reader::new(GOLDEN.as_bytes()).unwrap();
    assert_eq!(*reader.header(), header());
    let read: Vec<_> = reader.map(Result::unwrap).collect();
    assert_eq!(read, records());
}

/// Line by line, so that a difference is readable.
#[track_caller]
fn similar(got: &str, expected: &str) {
    for (line, (got, expected)) in got.lines().zip(expected.lines()).enumerate() {
        assert_eq!(got, expected, "line {}", line + 1);
    }
    assert_eq!(got.lines().count(), expected.lines().count());
}

#[test]
fn unknown_keys_and_empty_lines_are_no_trouble() {
    let text = concat!(
        r#"{"format":"touchstone-trace","version":1,"tool":"t","target":"x","startedAt":1,"new":1}"#,
        "\n\n",
        r#"{"tUs":5,"conn":"a","dir":"s2c","packet":"noop","later":{"key":1}}"#,
        "\r\n",
    );
    let records: Vec<_> = Reader::new(text.as_bytes())
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].t_us, &records[0].conn[..]), (5, "a"));
}

#[test]
fn what_is_no_trace_is_told() {
    let rows = [
        "",
        "hello\n",
        "{\"t_ms\":0,\"conn\":\"-\",\"dir\":\"mark\",\"text\":\"proxy start\"}\n",
        "{\"format\":\"touchstone-check\",\"version\":1}",
        "{\"format\":\"touchstone-trace\",\"version\":2,\"brand\":\"new\"}",
        "{\"format\":\"touchstone-trace\",\"version\":1,\"tool\":\"t\"}",
    ];
    let told = rows.map(|text| Reader::new(text.as_bytes()).unwrap_err().to_string());
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn a_broken_line_is_told_with_its_number_and_reading_goes_on() {
    let head = GOLDEN.lines().next().unwrap();
    let rows = [
        "{",
        r#"{"tUs":1,"conn":"a"}"#,
        r#"{"tUs":1,"conn":"a","dir":"sideways"}"#,
        r#"{"tUs":1,"conn":"a","dir":"c2s"}"#,
        r#"{"tUs":1,"conn":"a","dir":"c2s","packet":"telegram"}"#,
        r#"{"tUs":1,"conn":"a","dir":"c2s","packet":"event","args":[]}"#,
        r#"{"tUs":1,"conn":"a","dir":"c2s","packet":"event","event":"e","args":{}}"#,
        r#"{"tUs":1,"conn":"a","dir":"c2s","packet":"ack","args":[]}"#,
        r#"{"tUs":-1,"conn":"a","dir":"mark","text":"x"}"#,
        r#"{"tUs":1,"conn":"a","dir":"mark","text":"the last is good"}"#,
    ];
    let text = format!("{head}\n{}", rows.join("\n"));
    let read: Vec<_> = Reader::new(text.as_bytes()).unwrap().collect();
    assert_eq!(read.len(), rows.len());
    assert!(read[rows.len() - 1].is_ok());
    let told: Vec<_> = read
        .iter()
        .filter_map(|line| line.as_ref().err())
        .map(TraceError::to_string)
        .collect();
    assert_eq!(told.len(), rows.len() - 1);
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn no_token_is_written() {
    let token = "abcdefghijklmnopqrstuvwxyz";
    let nested = json!({"a": [{"Authorization": format!("Bearer {token}")}], "token": token});
    let exchange = Exchange {
        method: "GET".to_owned(),
        url: "/".to_owned(),
        status: Some(200),
        request: Some(nested.clone()),
        response: Some(nested.clone()),
        ms: 0,
        us: None,
    };
    let broken = format!("40{{\"token\":\"{token}\"");
    let records = [
        packet(0, Direction::Sent, Traced::Connect(nested)),
        Record {
            t_us: 0,
            conn: "-".to_owned(),
            kind: Kind::Http(exchange),
            recipients: None,
        },
        packet(0, Direction::Sent, Traced::of(&Frame::text(broken))),
        packet(
            0,
            Direction::Sent,
            Traced::of(&Frame::text(format!("40/x,{{\"token\":\"{token}\"}}"))),
        ),
    ];
    let text = written(&records);
    assert!(!text.contains("abcdefg"), "{text}");
    assert!(text.contains("abcdef…"), "{text}");
}

#[tokio::test]
async fn a_recorder_shows_a_connection_in_order() {
    let server = Server::start().await;
    let recorder = Recorder::new(Instant::now(), Bounds::default());
    recorder.mark("-", "begin");
    let options = server
        .options()
        .auth(json!({"token": "t"}))
        .tap(recorder.tap("u1"));
    let (mut peer, socket, mut events) = script::connected(&server, &options).await;
    socket.emit("hello", json!(1)).await.unwrap();
    peer.expect(r#"42["hello",1]"#).await;
    peer.send("2").await;
    peer.expect("3").await;
    peer.send(r#"42["bye"]"#).await;
    peer.send("41").await;
    script::expect_names(&mut events, &["bye"]).await;
    soon(events.recv()).await.unwrap_err();
    recorder.mark("u1", "end");

    let records = recorder.records();
    assert!(records.is_sorted_by_key(|record| record.t_us));
    let shown: Vec<_> = written(&records)
        .lines()
        .skip(1)
        .map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            line.as_object_mut().unwrap().shift_remove("tUs");
            line.to_string()
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"));
    assert_eq!(recorder.drain().len(), records.len());
    assert_eq!(recorder.records(), []);
}

#[tokio::test]
async fn a_full_recorder_keeps_the_newest_and_counts_the_rest() {
    #[track_caller]
    fn check(bounds: Bounds, kept: std::ops::RangeInclusive<usize>) {
        let recorder = Recorder::new(Instant::now(), bounds);
        let tap: Arc<dyn Tap> = recorder.tap("c");
        for n in 0..100 {
            let frame = Frame::text(format!(r#"42["e",{n:0>1000}]"#));
            tap.frame(Instant::now(), Direction::Received, &frame);
        }
        let records = recorder.records();
        let count = records.len() - 1;
        assert!(kept.contains(&count), "{count}");
        let dropped = format!("earlier records dropped: {}", 100 - count);
        assert_eq!(records[0].kind, Kind::Mark(dropped));
        assert_eq!(recorder.dropped(), 100 - count as u64);
        let last = Frame::text(format!(r#"42["e",{:0>1000}]"#, 99));
        let last = Kind::Packet(Direction::Received, Traced::of(&last));
        assert_eq!(records.last().unwrap().kind, last);
    }
    check(
        Bounds {
            entries: 7,
            bytes: usize::MAX,
        },
        7..=7,
    );
    check(
        Bounds {
            entries: usize::MAX,
            bytes: 20_000,
        },
        10..=20,
    );
}

#[test]
fn a_file_can_be_read_through_any_buffer() {
    let slow = BufReader::with_capacity(1, GOLDEN.as_bytes());
    assert_eq!(
        Reader::new(slow).unwrap().map(Result::unwrap).count(),
        records().len()
    );
}

#[test]
fn no_proof_of_a_key_is_written_or_read_and_what_is_none_stays() {
    let exchange = Exchange {
        method: "POST".to_owned(),
        url: "/v1/auth".to_owned(),
        status: Some(200),
        request: Some(
            json!({"publicKey": "a2V5", "challenge": "Y2hhbGxlbmdl", "signature": "c2ln"}),
        ),
        response: None,
        ms: 1,
        us: None,
    };
    let record = |exchange: Exchange| Record {
        t_us: 1,
        conn: "http".to_owned(),
        kind: Kind::Http(exchange),
        recipients: None,
    };
    let hidden = r#""request":{"publicKey":"a2V5","challenge":"…","signature":"…"}"#;
    let text = written(&[record(exchange.clone())]);
    assert!(text.contains(hidden), "{text}");
    // Older traces hold them.
    let older = text.replacen('…', "Y2hhbGxlbmdl", 1);
    let read = Reader::new(older.as_bytes()).unwrap().next().unwrap();
    assert!(written(&[read.unwrap()]).contains(hidden));

    let odd = json!({"challenge": "", "signature": "no bytes", "other": {"signature": 7}});
    let text = written(&[record(Exchange {
        request: Some(odd.clone()),
        ..exchange
    })]);
    assert!(text.contains(&odd.to_string()), "{text}");
}
