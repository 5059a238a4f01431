//! What goes through a proxy arrives as it was sent, byte for byte, and ends as it ended.

use std::time::Duration;

use serde_json::{Value, json};
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use touchstone_client::ConnectOptions;
use touchstone_client::trace::{Bounds, Kind, Record, Recorder, Traced};
use touchstone_proxy::{Plan, serve};

/// Until then whatever has to happen has happened.
const PATIENCE: Duration = Duration::from_secs(30);

/// A proxy before a listener that the test plays the server of.
struct Stand {
    server: TcpListener,
    address: std::net::SocketAddr,
    upstream: String,
    recorder: Recorder,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Stand {
    async fn new() -> Self {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = server.local_addr().unwrap().to_string();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let recorder = Recorder::new(Instant::now(), Bounds::default());
        let stop = CancellationToken::new();
        let plan = Plan {
            server: ConnectOptions::new(format!("http://{upstream}").parse().unwrap()),
            certificate: None,
        };
        let running = tokio::spawn(serve(listener, plan, recorder.clone(), stop.clone()));
        Self {
            server,
            address,
            upstream,
            recorder,
            stop,
            running,
        }
    }

    /// A client's connection and the server's end of it.
    async fn connection(&self) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(self.address).await.unwrap();
        let (server, _) = self.server.accept().await.unwrap();
        (client, server)
    }

    /// What was recorded to the end, after what `is_last` is true for has been.
    async fn records(self, is_last: impl Fn(&Record) -> bool) -> Vec<Record> {
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        let seen = async {
            while !self.recorder.records().iter().any(&is_last) {
                looks.tick().await;
            }
        };
        timeout(PATIENCE, seen).await.unwrap();
        self.stop.cancel();
        self.running.await.unwrap();
        self.recorder.records()
    }
}

/// Sends from one end, and checks what arrives at the other.
async fn pass(from: &mut TcpStream, to: &mut TcpStream, sent: &[u8], expected: &[u8]) {
    from.write_all(sent).await.unwrap();
    let mut arrived = vec![0; expected.len()];
    timeout(PATIENCE, to.read_exact(&mut arrived))
        .await
        .unwrap()
        .unwrap();
    let texts = [&arrived[..], expected].map(String::from_utf8_lossy);
    assert!(arrived == expected, "{} instead of {}", texts[0], texts[1]);
}

async fn at_end(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest))
        .await
        .unwrap()
        .map(|_| rest)
}

fn frame(payload: &str, mask: Option<[u8; 4]>) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length < 126);
    let mut bytes = vec![0x81, length | if mask.is_some() { 0x80 } else { 0 }];
    bytes.extend(mask.into_iter().flatten());
    let key = mask.unwrap_or_default();
    bytes.extend(
        payload
            .bytes()
            .zip(key.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    bytes
}

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";

fn upgrade(host: &str) -> String {
    format!(
        "GET /v1/updates/?EIO=4&transport=websocket HTTP/1.1\r\nX-odd:  a b\r\nHost: {host}\r\n\
         Upgrade: websocket\r\n\r\n"
    )
}

#[tokio::test]
async fn a_websocket_of_any_cut_is_passed_on_and_read() {
    let stand = Stand::new().await;
    let (mut client, mut server) = stand.connection().await;
    let (sent, expected) = (upgrade("proxy"), upgrade(&stand.upstream));
    pass(
        &mut client,
        &mut server,
        sent.as_bytes(),
        expected.as_bytes(),
    )
    .await;
    pass(
        &mut server,
        &mut client,
        SWITCH.as_bytes(),
        SWITCH.as_bytes(),
    )
    .await;
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
    let stand = Stand::new().await;
    for sent in [
        "\u{0}\u{1} nonsense\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ] {
        let (mut client, mut server) = stand.connection().await;
        pass(&mut client, &mut server, sent.as_bytes(), sent.as_bytes()).await;
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
    let stand = Stand::new().await;
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
async fn a_server_that_is_down_is_told_once() {
    let Stand {
        server,
        address,
        recorder,
        stop,
        running,
        ..
    } = Stand::new().await;
    drop(server);
    for _ in 0..3 {
        let mut client = TcpStream::connect(address).await.unwrap();
        let error = at_end(&mut client).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    stop.cancel();
    running.await.unwrap();
    let records = recorder.records();
    let [record] = &records[..] else {
        panic!("{records:?}");
    };
    assert!(
        matches!(&record.kind, Kind::Mark(text) if text.starts_with("failed: ")),
        "{record:?}"
    );
}

#[tokio::test]
async fn exchanges_are_recorded_without_secrets() {
    let stand = Stand::new().await;
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
    pass(
        &mut client,
        &mut server,
        sent.as_bytes(),
        expected.as_bytes(),
    )
    .await;
    let answers = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n\
        {\"success\":true}HTTP/1.1 404 Not Found\r\n\r\n{\"pushToken\":\"a-push-token\"}";
    pass(
        &mut server,
        &mut client,
        answers.as_bytes(),
        answers.as_bytes(),
    )
    .await;
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
