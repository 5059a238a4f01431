//! A proxy whose server the test plays.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use touchstone_client::ConnectOptions;
use touchstone_client::trace::{Bounds, Record, Recorder};
use touchstone_proxy::{Gates, Plan, serve};

/// Until then whatever has to happen has happened.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A proxy before a listener that the test plays the server of.
pub(crate) struct Stand {
    pub(crate) server: TcpListener,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) upstream: String,
    pub(crate) recorder: Recorder,
    pub(crate) stop: CancellationToken,
    pub(crate) running: JoinHandle<()>,
}

impl Stand {
    pub(crate) async fn new(gates: Option<Gates>) -> Self {
        Self::with(|plan| plan.gates = Arc::new(move || gates.clone())).await
    }

    /// With a plan that is not as usual.
    pub(crate) async fn with(change: impl FnOnce(&mut Plan)) -> Self {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let upstream = server.local_addr().expect("an address").to_string();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let recorder = Recorder::new(Instant::now(), Bounds::default());
        let stop = CancellationToken::new();
        let mut plan = Plan {
            server: ConnectOptions::new(format!("http://{upstream}").parse().expect("a URL")),
            certificate: None,
            gates: Arc::new(|| None),
        };
        change(&mut plan);
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
    pub(crate) async fn connection(&self) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(self.address)
            .await
            .expect("a connection");
        let (server, _) = self.server.accept().await.expect("a connection");
        (client, server)
    }

    /// The two ends of a WebSocket that a client has asked for with `sent`.
    pub(crate) async fn websocket(&self, sent: &str) -> (TcpStream, TcpStream) {
        let (mut client, mut server) = self.connection().await;
        pass(&mut client, &mut server, sent, &upgrade(&self.upstream)).await;
        pass(&mut server, &mut client, SWITCH, SWITCH).await;
        (client, server)
    }

    /// What was recorded to the end, after what `is_last` is true for has been.
    pub(crate) async fn records(self, is_last: impl Fn(&Record) -> bool) -> Vec<Record> {
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        let seen = async {
            while !self.recorder.records().iter().any(&is_last) {
                looks.tick().await;
            }
        };
        timeout(PATIENCE, seen).await.expect("a record in time");
        self.stop.cancel();
        self.running.await.expect("its end");
        self.recorder.records()
    }
}

/// Sends from one end, and checks what arrives at the other.
pub(crate) async fn pass(
    from: &mut (impl AsyncWrite + Unpin),
    to: &mut (impl AsyncRead + Unpin),
    sent: &(impl AsRef<[u8]> + ?Sized),
    expected: &(impl AsRef<[u8]> + ?Sized),
) {
    let (sent, expected) = (sent.as_ref(), expected.as_ref());
    from.write_all(sent).await.expect("a connection");
    from.flush().await.expect("a connection");
    let mut arrived = vec![0; expected.len()];
    timeout(PATIENCE, to.read_exact(&mut arrived))
        .await
        .expect("something in time")
        .expect("a connection");
    let texts = [&arrived[..], expected].map(String::from_utf8_lossy);
    assert!(arrived == expected, "{} instead of {}", texts[0], texts[1]);
}

pub(crate) async fn at_end(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest))
        .await
        .expect("something in time")
        .map(|_| rest)
}

pub(crate) fn frame(payload: &str, mask: Option<[u8; 4]>) -> Vec<u8> {
    frame_of(0x81, payload.as_bytes(), mask)
}

/// A frame with this first byte, which has its type.
pub(crate) fn frame_of(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a short payload");
    assert!(length < 126);
    let mut bytes = vec![first, length | if mask.is_some() { 0x80 } else { 0 }];
    bytes.extend(mask.into_iter().flatten());
    let key = mask.unwrap_or_default();
    bytes.extend(
        payload
            .iter()
            .zip(key.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    bytes
}

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";

pub(crate) fn upgrade(host: &str) -> String {
    format!(
        "GET /v1/updates/?EIO=4&transport=websocket HTTP/1.1\r\nX-odd:  a b\r\nHost: {host}\r\n\
         Upgrade: websocket\r\n\r\n"
    )
}
