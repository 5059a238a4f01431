//! Scripted servers made of raw bytes: HTTP heads and WebSocket frames are written and read here
//! by hand, so that a mistake in the client's codec or in its library cannot hide in a shared one.

use std::{future::Future, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use sha1::{Digest, Sha1};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use touchstone_client::{ConnectOptions, Engine, Events, Socket};

/// No step of a test takes this long unless something hangs.
const DEADLINE: Duration = Duration::from_secs(20);

/// Awaits something that must happen.
#[track_caller]
pub(crate) fn soon<T>(what: impl Future<Output = T>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        match timeout(DEADLINE, what).await {
            Ok(value) => value,
            Err(_) => panic!("nothing happened within {DEADLINE:?} at {caller}"),
        }
    }
}

/// A port of 127.0.0.1 that waits for a script.
pub(crate) struct Server {
    listener: TcpListener,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        }
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }

    pub(crate) fn options(&self) -> ConnectOptions {
        ConnectOptions::new(self.origin().parse().unwrap())
    }

    pub(crate) async fn accept(&self) -> Peer<TcpStream> {
        soon(self.accept_whenever()).await
    }

    /// As [`accept`](Self::accept), for those who need not see another client.
    pub(crate) async fn accept_whenever(&self) -> Peer<TcpStream> {
        let (stream, _) = self.listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        Peer::new(stream)
    }
}

/// A WebSocket frame as it was on the wire, unmasked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WireFrame {
    pub(crate) fin: bool,
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// The server's side of one connection.
pub(crate) struct Peer<S> {
    stream: S,
    unread: Vec<u8>,
}

impl Peer<TcpStream> {
    /// Where the client connects from.
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.stream.peer_addr().unwrap()
    }

    /// The stream, from which nothing has been read.
    pub(crate) fn into_stream(self) -> TcpStream {
        assert!(self.unread.is_empty());
        self.stream
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        soon(self.stream.write_all(bytes)).await.unwrap();
        soon(self.stream.flush()).await.unwrap();
    }

    /// Writes for as long as the client takes it.
    pub(crate) async fn write_while_open(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Reads more, or tells that the client has ended its side.
    async fn read_more(&mut self) -> std::io::Result<bool> {
        Ok(soon(self.stream.read_buf(&mut self.unread)).await? > 0)
    }

    /// Ends the server's side of the stream.
    pub(crate) async fn hang_up(&mut self) {
        soon(self.stream.shutdown()).await.unwrap();
    }

    pub(crate) async fn read(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            assert!(self.read_more().await.unwrap(), "the client ended early");
        }
        self.unread.drain(..count).collect()
    }

    /// The head of an HTTP request, with its empty line; nothing if there is no further one.
    pub(crate) async fn try_head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.unread.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = self.unread.drain(..end + 4).collect();
                return Some(String::from_utf8(head).unwrap());
            }
            // A pooled connection that the client resets ends as one that it closes.
            if !self.read_more().await.unwrap_or(false) {
                return None;
            }
        }
    }

    pub(crate) async fn head(&mut self) -> String {
        self.try_head().await.expect("a request")
    }

    /// Answers `head` with 101.
    pub(crate) async fn switch_protocols(&mut self, head: &str) {
        let key = header(head, "sec-websocket-key").expect("a key");
        let guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
        let accept = BASE64_STANDARD.encode(Sha1::digest(format!("{key}{guid}")));
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        self.write(answer.as_bytes()).await;
    }

    /// Takes the request for a WebSocket and grants it; returns the request.
    pub(crate) async fn upgrade(&mut self) -> String {
        let head = self.head().await;
        self.switch_protocols(&head).await;
        head
    }

    /// Answers a request with a status and a body.
    pub(crate) async fn answer(&mut self, status: u16, body: &str) {
        let length = body.len();
        let head = format!("HTTP/1.1 {status} Whatever\r\nContent-Length: {length}\r\n\r\n");
        self.write(format!("{head}{body}").as_bytes()).await;
    }

    pub(crate) async fn send_frame(&mut self, fin: bool, opcode: u8, payload: &[u8]) {
        self.write(&frame(fin, opcode, payload)).await;
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.send_frame(true, TEXT, text.as_bytes()).await;
    }

    /// The next frame. Clients must mask theirs.
    pub(crate) async fn frame(&mut self) -> WireFrame {
        let head = self.read(2).await;
        assert_eq!(head[0] & 0x70, 0, "reserved bits");
        assert_eq!(head[1] & 0x80, 0x80, "a client's frame must be masked");
        let length = match head[1] & 0x7f {
            126 => u64::from(u16::from_be_bytes(self.read(2).await.try_into().unwrap())),
            127 => u64::from_be_bytes(self.read(8).await.try_into().unwrap()),
            short => u64::from(short),
        };
        let mask = self.read(4).await;
        let mut payload = self.read(usize::try_from(length).unwrap()).await;
        for (index, byte) in payload.iter_mut().enumerate() {
            *byte ^= mask[index % 4];
        }
        WireFrame {
            fin: head[0] & 0x80 != 0,
            opcode: head[0] & 0x0f,
            payload,
        }
    }

    /// The next frame, which must be a whole text.
    pub(crate) async fn text(&mut self) -> String {
        let frame = self.frame().await;
        assert!(frame.fin && frame.opcode == TEXT, "{frame:?}");
        String::from_utf8(frame.payload).unwrap()
    }

    /// The next frame, which must be a text equal to `expected`.
    #[track_caller]
    pub(crate) fn expect(&mut self, expected: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move { assert_eq!(self.text().await, expected, "at {caller}") }
    }

    /// Waits until the client has ended its side, orderly or not; says which.
    pub(crate) async fn ended(&mut self) -> End {
        loop {
            match self.read_more().await {
                Ok(true) => {}
                Ok(false) => return End::Orderly,
                Err(error) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
                    return End::Reset;
                }
            }
        }
    }

    /// Grants the WebSocket, sends `handshake` and answers CONNECT; returns CONNECT.
    pub(crate) async fn welcome(&mut self, handshake: &str) -> String {
        self.upgrade().await;
        self.send(handshake).await;
        let connect = self.text().await;
        self.send(r#"40{"sid":"socket-id"}"#).await;
        connect
    }
}

/// How a client let go of a TCP connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    Orderly,
    Reset,
}

/// A server's frame, which is not masked.
pub(crate) fn frame(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![u8::from(fin) << 7 | opcode];
    match payload.len() {
        length @ 0..126 => bytes.push(length as u8),
        length @ 126..65_536 => {
            bytes.push(126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(payload);
    bytes
}

/// A header's value.
pub(crate) fn header(head: &str, name: &str) -> Option<String> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name)
            .then(|| value.trim().to_owned())
    })
}

/// A handshake whose heartbeat no test meets.
pub(crate) const CALM: &str = r#"0{"sid":"engine-id","upgrades":[],"pingInterval":25000,"pingTimeout":60000,"maxPayload":1000000}"#;

/// A connected client and the server's side of it.
pub(crate) async fn connected(
    server: &Server,
    options: &ConnectOptions,
) -> (Peer<TcpStream>, Socket, Events) {
    connected_with(server, options, CALM).await
}

/// As [`connected`], with another handshake.
pub(crate) async fn connected_with(
    server: &Server,
    options: &ConnectOptions,
    handshake: &str,
) -> (Peer<TcpStream>, Socket, Events) {
    let welcome = async {
        let mut peer = server.accept().await;
        peer.welcome(handshake).await;
        peer
    };
    let (peer, opened) = tokio::join!(welcome, touchstone_client::connect(options));
    let (socket, events) = opened.unwrap();
    (peer, socket, events)
}

/// An open Engine.IO transport and the server's side of it.
pub(crate) async fn opened(server: &Server, options: &ConnectOptions) -> (Peer<TcpStream>, Engine) {
    let welcome = async {
        let mut peer = server.accept().await;
        peer.upgrade().await;
        peer.send(CALM).await;
        peer
    };
    let (peer, opened) = tokio::join!(welcome, Engine::open(options));
    (peer, opened.unwrap())
}

/// The name and the raw arguments of the next event.
pub(crate) async fn next(events: &mut Events) -> (String, String) {
    let event = soon(events.recv()).await.unwrap();
    (event.name().to_owned(), event.args.as_str().to_owned())
}

/// Asserts the names of the next events.
#[track_caller]
pub(crate) fn expect_names<'a>(
    events: &'a mut Events,
    names: &'a [&str],
) -> impl Future<Output = ()> + 'a {
    let caller = std::panic::Location::caller();
    async move {
        for name in names {
            assert_eq!(next(events).await.0, *name, "at {caller}");
        }
    }
}

pub(crate) fn bytes(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}
