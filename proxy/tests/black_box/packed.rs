//! What peers compress is passed on as it is, and read all the same.

use std::io::Write as _;

use flate2::write::GzEncoder;
use flate2::{Compress, Compression, FlushCompress};
use serde_json::json;
use touchstone_client::trace::{Kind, Record, Traced};

use crate::stand::{Stand, at_end, frame_of, pass, upgrade};

#[tokio::test]
async fn a_body_that_is_gzipped() {
    let stand = Stand::new(None).await;
    let (mut client, mut server) = stand.connection().await;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(br#"{"sessions":[{"id":"s1"}],"secret":"a-secret"}"#)
        .unwrap();
    let body = gzip.finish().unwrap();
    let get = format!(
        "GET /v1/sessions HTTP/1.1\r\nHost: {}\r\n\r\n",
        stand.upstream
    );
    pass(&mut client, &mut server, &get, &get).await;
    // In chunks of two sizes, as servers that compress on the fly send them.
    let (first, rest) = body.split_at(7);
    let mut answer =
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in [first, rest, b""] {
        answer.extend(format!("{:x}\r\n", chunk.len()).bytes());
        answer.extend(chunk);
        answer.extend(b"\r\n");
    }
    pass(&mut server, &mut client, &answer, &answer).await;
    drop(server);
    assert_eq!(at_end(&mut client).await.unwrap(), b"");
    let records = stand
        .records(|record| matches!(record.kind, Kind::Http(_)))
        .await;
    let Kind::Http(exchange) = &records[0].kind else {
        panic!("{records:?}");
    };
    let expected = json!({"sessions": [{"id": "s1"}], "secret": "…"});
    assert_eq!(exchange.response, Some(expected));
}

/// A frame of a compressed text, as a WebSocket library makes it.
fn packed(state: &mut Compress, text: &str, mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut payload = Vec::with_capacity(text.len() + 64);
    state
        .compress_vec(text.as_bytes(), &mut payload, FlushCompress::Sync)
        .expect("room");
    payload.truncate(payload.len() - 4);
    frame_of(0xc1, &payload, mask)
}

#[tokio::test]
async fn messages_that_are_deflated() {
    let stand = Stand::new(None).await;
    let (mut client, mut server) = stand.connection().await;
    let offer = "Upgrade: websocket\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits";
    let sent = upgrade("proxy").replace("Upgrade: websocket", offer);
    let expected = sent.replace("Host: proxy", &format!("Host: {}", stand.upstream));
    pass(&mut client, &mut server, &sent, &expected).await;
    let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                  Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    pass(&mut server, &mut client, switch, switch).await;
    let mut down = Compress::new(Compression::default(), false);
    let mut up = Compress::new(Compression::default(), false);
    let mask = Some([9, 8, 7, 6]);
    // Each refers to those before it.
    for text in [
        r#"0{"sid":"e1"}"#,
        r#"42["x",{"number":1}]"#,
        r#"42["x",{"number":2}]"#,
    ] {
        let bytes = packed(&mut down, text, None);
        pass(&mut server, &mut client, &bytes, &bytes).await;
        let bytes = packed(&mut up, &text.replace('x', "y"), mask);
        pass(&mut client, &mut server, &bytes, &bytes).await;
    }
    drop((client, server));
    let is_end =
        |record: &Record| matches!(&record.kind, Kind::Mark(text) if text.starts_with("ended"));
    let records = stand.records(is_end).await;
    let events: Vec<_> = records
        .iter()
        .filter_map(|record| match &record.kind {
            Kind::Packet(direction, Traced::Event { name, args, .. }) => {
                Some(format!("{direction:?} {name} {}", args.as_str()))
            }
            _ => None,
        })
        .collect();
    let expected = [
        r#"Received x {"number":1}"#,
        r#"Sent y {"number":1}"#,
        r#"Received x {"number":2}"#,
        r#"Sent y {"number":2}"#,
    ];
    assert_eq!(events, expected);
}
