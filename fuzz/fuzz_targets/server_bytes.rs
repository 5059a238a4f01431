//! Whole byte streams into a running reference server: HTTP, the WebSocket upgrade, frames, packets,
//! polling, and bodies of the REST surface. A panic in any of its tasks is a finding, and so is a server
//! that others are not answered by meanwhile.
#![no_main]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use touchstone_client::ConnectOptions;
use touchstone_client::provision::Rest;
use touchstone_reference_server::{Config, serve};

/// Inputs after which another server is started, so that what they make does not fill the memory.
const INPUTS: u64 = 10_000;

/// How long the server may take for what is asked of it.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long an answer is waited for before its client leaves.
const SOON: Duration = Duration::from_millis(500);

struct Server {
    runtime: Runtime,
    port: u16,
    token: String,
    inputs: u64,
    _stop: oneshot::Sender<()>,
}

impl Server {
    fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let listening = runtime.block_on(TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)));
        let listener = listening.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let config = Config {
            connect_timeout: Duration::from_millis(500),
            max_payload: 10_000,
            max_body: 10_000,
            ..Config::default()
        };
        let (stop, stopped) = oneshot::channel::<()>();
        runtime.spawn(serve(vec![listener], config, async {
            let _ = stopped.await;
        }));
        let url = format!("http://127.0.0.1:{port}").parse().expect("a URL");
        let rest = Rest::new(&ConnectOptions::new(url)).expect("a client");
        let account = runtime.block_on(rest.account([7; 32]));
        Self {
            runtime,
            port,
            token: account.expect("an account").token.expose().to_owned(),
            inputs: 0,
            _stop: stop,
        }
    }

    /// A connection, to another address of this machine each time: ports are used up otherwise.
    fn dial(&mut self) -> TcpStream {
        self.inputs += 1;
        let [.., high, low] = self.inputs.to_be_bytes();
        let address = Ipv4Addr::new(127, 1, high, low.max(1));
        let stream = TcpStream::connect((address, self.port)).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        stream.set_write_timeout(Some(PATIENCE)).expect("a time");
        stream
    }

    /// Sends this, and reads what is answered, to the end.
    fn exchange(&mut self, sent: &[u8]) -> Vec<u8> {
        let (mut stream, mut answer) = (self.dial(), Vec::new());
        // The server may end the connection before it has read everything, as it likes.
        let _ = stream.write_all(sent);
        last_words(&mut stream, &mut answer);
        answer
    }

    /// A whole request that asks for the end of its connection, and its answer. Who leaves before is not
    /// answered, so it waits a little.
    fn request(&mut self, sent: &[u8]) -> Vec<u8> {
        let (mut stream, mut answer) = (self.dial(), Vec::new());
        let _ = stream.write_all(sent);
        stream.set_read_timeout(Some(SOON)).expect("a time");
        if is_late(&read(&mut stream, &mut answer)) {
            stream.set_read_timeout(Some(PATIENCE)).expect("a time");
            last_words(&mut stream, &mut answer);
        }
        answer
    }

    /// An ordinary request is answered.
    fn check(&mut self) {
        let answer = self.request(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    }
}

/// Reads to the end, as far as there is any.
fn read(stream: &mut TcpStream, answer: &mut Vec<u8>) -> std::io::Result<usize> {
    stream.take(1 << 20).read_to_end(answer)
}

fn is_late(read: &std::io::Result<usize>) -> bool {
    let kind = read.as_ref().err().map(std::io::Error::kind);
    kind == Some(std::io::ErrorKind::WouldBlock)
}

/// Leaves, and reads what is still said.
fn last_words(stream: &mut TcpStream, answer: &mut Vec<u8>) {
    let _ = stream.shutdown(Shutdown::Write);
    let is_kept = is_late(&read(stream, answer));
    assert!(
        !is_kept,
        "the server keeps a connection whose client has left"
    );
}

const UPGRADE: &str = "GET /v1/updates/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\n\
    Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";

/// A frame of a client, whose mask is zero.
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | kind];
    match u8::try_from(payload.len()) {
        Ok(length @ 0..126) => frame.push(0x80 | length),
        _ => {
            frame.push(0x80 | 126);
            let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
            frame.extend(length.to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

fuzz_target!(|data: &[u8]| {
    static SERVER: Mutex<Option<Server>> = Mutex::new(None);
    let mut server = SERVER.lock().expect("no panic");
    if server.as_ref().is_some_and(|one| one.inputs >= INPUTS)
        && let Some(old) = server.take()
    {
        old.runtime.shutdown_background();
    }
    let server = server.get_or_insert_with(Server::start);
    let Some((mode, data)) = data.split_first() else {
        return;
    };
    let token = server.token.clone();
    let connect = |scope: &str| {
        frame(
            1,
            format!(
                r#"40{{"token":"{token}","clientType":"{scope}","sessionId":"s","machineId":"m"}}"#
            )
            .as_bytes(),
        )
    };
    // Frames of text, and of bytes where a line begins so.
    let frames = || {
        let lines = data.split(|byte| *byte == b'\n');
        lines.flat_map(|line| match line.strip_prefix(b"\x01") {
            Some(bytes) => frame(2, bytes),
            None => frame(1, line),
        })
    };
    match mode % 7 {
        0 => drop(server.exchange(data)),
        1 => drop(server.exchange(&[UPGRADE.as_bytes(), data].concat())),
        2 => {
            let sent = UPGRADE.bytes().chain(frames()).collect::<Vec<_>>();
            server.exchange(&sent);
        }
        3 | 4 => {
            let scope = if mode % 7 == 3 {
                "user-scoped"
            } else {
                "session-scoped"
            };
            let sent = UPGRADE.bytes().chain(connect(scope)).chain(frames());
            let sent = sent.collect::<Vec<_>>();
            server.exchange(&sent);
        }
        5 => {
            let path = "/v1/updates/?EIO=4&transport=polling";
            let open = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            let opened = server.request(open.as_bytes());
            let opened = String::from_utf8_lossy(&opened);
            let sid = opened
                .split("\"sid\":\"")
                .nth(1)
                .and_then(|rest| rest.split('"').next());
            let sid = sid.expect("a handshake");
            let head = format!(
                "POST {path}&sid={sid} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n",
                data.len()
            );
            server.request(&[head.as_bytes(), data].concat());
        }
        _ => {
            let mut parts = data.splitn(2, |byte| *byte == b'\n');
            let line = String::from_utf8_lossy(parts.next().unwrap_or_default());
            let body = parts.next().unwrap_or_default();
            let (method, path) = line.split_once(' ').unwrap_or(("POST", &line));
            let head = format!(
                "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
                 Content-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            server.request(&[head.as_bytes(), body].concat());
        }
    }
    if server.inputs % 64 == 0 {
        server.check();
    }
});
