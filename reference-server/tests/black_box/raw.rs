//! Clients that speak in bytes of their own: no code of the client crate stands between the test and
//! the server, so that a mistake in both codecs cannot hide.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::stand::{Server, within};

/// A WebSocket, frame by frame.
pub(crate) struct Wire {
    stream: TcpStream,
}

impl Wire {
    /// Upgrades a TCP connection, and reads the Engine.IO handshake.
    pub(crate) async fn open(server: &Server) -> Self {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        let request = format!(
            "GET /v1/updates/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            server.address()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(
                within("byte of the answer", stream.read_u8())
                    .await
                    .unwrap(),
            );
        }
        assert!(
            head.starts_with(b"HTTP/1.1 101"),
            "{}",
            String::from_utf8_lossy(&head)
        );
        let mut wire = Self { stream };
        assert!(wire.text().await.unwrap().starts_with("0{"));
        wire
    }

    /// Several text frames in one write.
    pub(crate) async fn send(&mut self, texts: &[&str]) {
        let bytes: Vec<u8> = texts
            .iter()
            .flat_map(|text| frame(0x1, text.as_bytes()))
            .collect();
        // The server may have closed after an earlier frame, which is for `text` to find out.
        let _ = self.stream.write_all(&bytes).await;
    }

    pub(crate) async fn send_binary(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(&frame(0x2, bytes)).await;
    }

    /// The next text frame, heartbeats left out; `None` once the connection has ended.
    pub(crate) async fn text(&mut self) -> Option<String> {
        loop {
            let (opcode, payload) = within("frame", self.read_frame()).await.ok()?;
            match opcode {
                0x1 if payload == b"2" => {}
                // Official clients that are told this do not come back.
                0x1 if payload == b"1" => panic!("an Engine.IO close packet over WebSocket"),
                0x1 => return Some(String::from_utf8(payload).unwrap()),
                0x8 => return None,
                other => panic!("unexpected opcode {other}"),
            }
        }
    }

    pub(crate) async fn read_frame(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let opcode = self.stream.read_u8().await? & 0x0f;
        let length = match self.stream.read_u8().await? {
            126 => u64::from(self.stream.read_u16().await?),
            127 => self.stream.read_u64().await?,
            length => u64::from(length),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut payload).await?;
        Ok((opcode, payload))
    }
}

/// A masked frame, as clients send them; the mask is zero.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80 | opcode];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | u8::try_from(length).unwrap()),
        length @ 126..=65_535 => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

/// The CONNECT packet of an account.
pub(crate) async fn connect_packet(server: &Server) -> String {
    let token = server.account().await.token;
    format!("40{}", json!({ "token": token.expose() }))
}

/// Events that come in the same write as CONNECT find their handlers, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_sent_together_with_connect_are_handled() {
    let server = Server::start().await;
    let connect = connect_packet(&server).await;
    for round in 0..500 {
        let mut wire = Wire::open(&server).await;
        wire.send(&[
            &connect,
            "42[\"rpc-register\",{\"method\":\"early\"}]",
            "421[\"rpc-call\",{\"method\":\"early\"}]",
            "422[\"ping\"]",
        ])
        .await;
        let mut answers = Vec::new();
        for _ in 0..4 {
            answers.push(
                wire.text()
                    .await
                    .unwrap_or_else(|| panic!("closed in round {round}")),
            );
        }
        assert!(answers[0].starts_with("40{\"sid\":\""), "{answers:?}");
        assert_eq!(answers[1], "42[\"rpc-registered\",{\"method\":\"early\"}]");
        assert_eq!(
            answers[2],
            "431[{\"ok\":false,\"error\":\"Cannot call RPC on the same socket\"}]"
        );
        assert_eq!(answers[3], "432[{}]");
    }
}

/// What a client sends just before it leaves is handled.
#[tokio::test]
async fn events_sent_together_with_disconnect_are_handled() {
    let server = Server::start().await;
    let account = server.account().await;
    let session = account.session("tag").await;
    let mut watcher = account.user().await;
    for round in 0..50_u32 {
        let mut wire = Wire::open(&server).await;
        let connect = format!("40{}", json!({ "token": account.token.expose() }));
        let message = format!(
            "42{}",
            json!(["message", { "sid": session, "message": round.to_string() }])
        );
        wire.send(&[&connect, &message, "41"]).await;
        drop(wire);
        let update = watcher.next_of("update").await;
        assert_eq!(update["body"]["message"]["content"]["c"], round.to_string());
    }
}

#[track_caller]
fn is_answered(answer: Option<&str>, expected: Option<&str>, sent: &[&str]) {
    assert_eq!(answer, expected, "{sent:?}");
}

/// Nonsense is answered, ignored, or ends its own connection; others and the process live on.
#[tokio::test]
async fn nonsense_harms_nobody_else() {
    let server = Server::start().await;
    let connect = connect_packet(&server).await;
    let bystander = server.account().await.user().await;
    let deep = format!(
        "421[\"update-metadata\",{}{}]",
        "[".repeat(200_000),
        "]".repeat(200_000)
    );
    let deep_call = format!(
        "421[\"rpc-call\",{{\"method\":{}{}}}]",
        "[".repeat(200_000),
        "]".repeat(200_000)
    );
    let long = format!(
        "421[\"rpc-call\",{{\"method\":\"{}\"}}]",
        "x".repeat(900_000)
    );
    let many_acks = format!("42{}[\"ping\"]", "9".repeat(400));
    const ERROR: &str = "431[{\"result\":\"error\"}]";
    const NO_METHOD: &str =
        "431[{\"ok\":false,\"error\":\"Invalid parameters: method is required\"}]";
    const NOT_THERE: &str = "431[{\"ok\":false,\"error\":\"RPC method not available\"}]";
    // The frames after CONNECT, and what the last of them gets: an answer, or the end.
    let rows: [(&[&str], Option<&str>); 33] = [
        (&["421[\"update-metadata\",null]"], Some(ERROR)),
        (
            &[
                "421[\"update-metadata\",{\"sid\":{\"in\":[]},\"metadata\":\"x\",\"expectedVersion\":0}]",
            ],
            Some(ERROR),
        ),
        (
            &[
                "421[\"update-metadata\",{\"sid\":\"\\u0000\",\"metadata\":\"x\",\"expectedVersion\":0}]",
            ],
            Some(ERROR),
        ),
        (
            &["421[\"update-metadata\",{\"sid\":\"a\",\"sid\":1}]"],
            Some(ERROR),
        ),
        (&[&deep], Some(ERROR)),
        (&[&deep_call], Some(NO_METHOD)),
        (&[&long], Some(NOT_THERE)),
        (
            &["421[\"rpc-call\",{\"method\":5},\"not a callback\",7]"],
            Some(NO_METHOD),
        ),
        (
            &[
                "42[\"rpc-call\",{\"method\":\"x\"},\"not a callback\"]",
                "421[\"ping\"]",
            ],
            Some("431[{}]"),
        ),
        (&["421[\"ping\",{\"a\":1},[],true]"], Some("431[{}]")),
        (
            &["421[\"no-such-event\",{}]", "422[\"ping\"]"],
            Some("432[{}]"),
        ),
        (&["421[\"__proto__\",{}]", "422[\"ping\"]"], Some("432[{}]")),
        (&["421[\"\\u0000\",{}]", "422[\"ping\"]"], Some("432[{}]")),
        (&["431[1]", "422[\"ping\"]"], Some("432[{}]")),
        (&["4399999[]", "422[\"ping\"]"], Some("432[{}]")),
        (&[&connect, "422[\"ping\"]"], Some("432[{}]")),
        (&["42/other,[\"ping\"]", "422[\"ping\"]"], Some("432[{}]")),
        (&["41/other", "422[\"ping\"]"], Some("432[{}]")),
        (
            &["40/admin,{}"],
            Some("44/admin,{\"message\":\"Invalid namespace\"}"),
        ),
        (&["42{}"], None),
        (&["42[]"], None),
        (&["42[1]"], None),
        (&["42[null,{}]"], None),
        (&["42[\"ping\""], None),
        (&["42"], None),
        (&[&many_acks], None),
        (&["4"], None),
        (&["49"], None),
        (&["44{\"message\":\"x\"}"], None),
        (&["x"], None),
        (&["451-[\"ping\"]", "421[\"ping\"]"], None),
        (&["45999999999-[\"ping\"]"], None),
        (&["41", "421[\"ping\"]"], None),
    ];
    for (frames, expected) in rows {
        let mut wire = Wire::open(&server).await;
        wire.send(&[&connect]).await;
        assert!(wire.text().await.unwrap().starts_with("40{"));
        wire.send(frames).await;
        let answer = wire.text().await;
        is_answered(answer.as_deref(), expected, frames);
        assert_eq!(
            bystander.call("ping", Value::Null).await,
            json!({}),
            "{frames:?}"
        );
    }
}

#[tokio::test]
async fn who_speaks_before_connect_is_closed() {
    let server = Server::start().await;
    for frames in [
        ["421[\"ping\"]"],
        ["41"],
        ["431[]"],
        ["40{"],
        ["451-[\"ping\"]"],
    ] {
        let mut wire = Wire::open(&server).await;
        wire.send(&frames).await;
        if frames[0].starts_with("45") {
            wire.send_binary(b"x").await;
        }
        let answer = wire.text().await;
        is_answered(answer.as_deref(), None, &frames);
    }
}

/// An open connection.
async fn connected(server: &Server, connect: &str) -> Wire {
    let mut wire = Wire::open(server).await;
    wire.send(&[connect]).await;
    assert!(wire.text().await.unwrap().starts_with("40{"));
    wire
}

/// A binary value is not a text: it gets the error answer of any other value of a wrong type.
#[tokio::test]
async fn binary_values_are_refused() {
    let server = Server::start().await;
    let account = server.account().await;
    let session = account.session("tag").await;
    let machine = account.machine("machine").await;
    let connect = format!("40{}", json!({ "token": account.token.expose() }));
    let mut wire = connected(&server, &connect).await;
    let binary = json!({ "_placeholder": true, "num": 0 });
    let error = json!({ "result": "error" });
    let invalid = json!({ "result": "error", "message": "Invalid parameters" });
    let rows = [
        (
            json!(["update-metadata", { "sid": session, "metadata": binary, "expectedVersion": 0 }]),
            &error,
        ),
        (
            json!(["update-state", { "sid": session, "agentState": binary, "expectedVersion": 0 }]),
            &error,
        ),
        (
            json!(["machine-update-metadata", { "machineId": machine, "metadata": binary, "expectedVersion": 1 }]),
            &invalid,
        ),
        (
            json!(["artifact-create", { "id": "a", "header": binary, "body": "", "dataEncryptionKey": "" }]),
            &invalid,
        ),
        (json!(["artifact-read", binary]), &invalid),
        (
            json!(["rpc-call", { "method": binary }]),
            &json!({ "ok": false, "error": "Invalid parameters: method is required" }),
        ),
        (
            json!(["usage-report", { "key": binary }]),
            &json!({ "success": false, "error": "Invalid key" }),
        ),
        (json!(["ping", binary]), &json!({})),
    ];
    for (args, expected) in rows {
        wire.send(&[&format!("451-1{args}")]).await;
        wire.send_binary(b"hi").await;
        let answer = wire.text().await.unwrap();
        assert_eq!(answer, format!("431[{expected}]"), "{args}");
    }
    // Nothing answers a message; it is neither stored nor sent.
    let mut watcher = account.user().await;
    let message = json!(["message", { "sid": session, "message": binary }]);
    wire.send(&[&format!("451-{message}")]).await;
    wire.send_binary(b"hi").await;
    let message = json!(["message", { "sid": session, "message": "text" }]);
    wire.send(&[&format!("42{message}")]).await;
    let update = watcher.next_of("update").await;
    assert_eq!(update["body"]["message"]["content"]["c"], "text");
    // An attachment that nobody announced ends the connection.
    wire.send_binary(b"x").await;
    assert_eq!(wire.text().await, None);
    watcher.handled().await;
}

/// Calls and their answers may hold binary values, which travel as such.
#[tokio::test]
async fn binary_values_pass_through_calls() {
    let server = Server::start().await;
    let connect = connect_packet(&server).await;
    let mut callee = connected(&server, &connect).await;
    let mut caller = connected(&server, &connect).await;
    callee
        .send(&["42[\"rpc-register\",{\"method\":\"m\"}]"])
        .await;
    callee.text().await.unwrap();
    // Of three attachments two are in the parameters, in another order.
    let place = |number: u8| json!({ "_placeholder": true, "num": number });
    let call =
        json!(["rpc-call", { "method": "m", "x": place(1), "params": [place(2), place(0)] }]);
    caller.send(&[&format!("453-7{call}")]).await;
    for bytes in [&b"zero"[..], b"one", b""] {
        caller.send_binary(bytes).await;
    }
    let request = json!(["rpc-request", { "method": "m", "params": [place(0), place(1)] }]);
    assert_eq!(callee.text().await.unwrap(), format!("452-1{request}"));
    for bytes in [&b""[..], b"zero"] {
        assert_eq!(callee.read_frame().await.unwrap(), (2, bytes.to_vec()));
    }
    callee
        .send(&[&format!("461-1{}", json!([{ "deep": place(0) }]))])
        .await;
    callee.send_binary(&[0, 255]).await;
    let answer = json!([{ "ok": true, "result": { "deep": place(0) } }]);
    assert_eq!(caller.text().await.unwrap(), format!("461-7{answer}"));
    assert_eq!(caller.read_frame().await.unwrap(), (2, vec![0, 255]));
}

/// A refused client may try again on the same transport, and learns nothing until it is admitted.
#[tokio::test]
async fn a_refused_client_can_try_again() {
    let server = Server::start().await;
    let connect = connect_packet(&server).await;
    let mut wire = Wire::open(&server).await;
    wire.send(&["40{\"token\":\"nope\"}"]).await;
    assert_eq!(
        wire.text().await.unwrap(),
        "44{\"message\":\"Invalid authentication token\"}"
    );
    wire.send(&[&connect]).await;
    assert!(wire.text().await.unwrap().starts_with("40{\"sid\":"));
    wire.send(&["41", &connect, "421[\"ping\"]"]).await;
    assert!(wire.text().await.unwrap().starts_with("40{\"sid\":"));
    assert_eq!(wire.text().await.unwrap(), "431[{}]");
}

#[tokio::test]
async fn a_transport_without_connect_is_closed_in_time() {
    let server = Server::with(|config| config.connect_timeout = Duration::from_millis(30)).await;
    for frames in [&[] as &[&str], &["40{\"token\":\"nope\"}"]] {
        let mut wire = Wire::open(&server).await;
        wire.send(frames).await;
        let mut last = wire.text().await;
        while last.as_ref().is_some_and(|text| text.starts_with("44{")) {
            last = wire.text().await;
        }
        assert_eq!(last, None);
    }
}
