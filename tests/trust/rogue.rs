//! A proxy before a right server that turns it into a hostile one: it alters what the server sends,
//! frame by frame, and answers requests in its place.

use std::future::{pending, ready};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use crate::frames::{self, TEXT};

/// What is sent to the client.
pub(crate) enum Do {
    /// What came from the server.
    Pass,
    /// These bytes.
    Send(Vec<u8>),
    /// These bytes so many times.
    Repeat(Vec<u8>, u64),
    /// These bytes for ever, between the frames of the server.
    Flood(Vec<u8>),
    /// Nothing any more; the connection stays open.
    Hang,
    /// The end of the connection.
    Close,
}

/// A connection's first request.
pub(crate) struct Request {
    /// Whether it asks for a WebSocket.
    pub(crate) upgrade: bool,
    /// Its method and path.
    pub(crate) line: String,
}

type OnRequest = Box<dyn Fn(&Request) -> Option<Vec<Do>> + Send + Sync>;
type OnText = Box<dyn Fn(&str) -> Vec<Do> + Send + Sync>;

/// What a proxy alters; nothing at first.
pub(crate) struct Rogue {
    target: SocketAddr,
    on_request: OnRequest,
    on_text: OnText,
}

/// A running proxy, ended when dropped.
pub(crate) struct Running {
    pub(crate) url: String,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Rogue {
    pub(crate) fn before(target: SocketAddr) -> Self {
        Self {
            target,
            on_request: Box::new(|_| None),
            on_text: Box::new(|_| vec![Do::Pass]),
        }
    }

    /// Answers the requests for which `answer` gives something.
    pub(crate) fn requests(
        mut self,
        answer: impl Fn(&Request) -> Option<Vec<Do>> + Send + Sync + 'static,
    ) -> Self {
        self.on_request = Box::new(answer);
        self
    }

    /// Sends what `alter` gives in place of each text frame of the server.
    pub(crate) fn texts(mut self, alter: impl Fn(&str) -> Vec<Do> + Send + Sync + 'static) -> Self {
        self.on_text = Box::new(alter);
        self
    }

    pub(crate) async fn start(self) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let rogue = Arc::new(self);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let rogue = Arc::clone(&rogue);
                // How a connection to a rogue ends is up to both sides.
                tokio::spawn(async move { rogue.serve(client).await.ok() });
            }
        });
        Running {
            url: format!("http://{address}"),
            task: task.abort_handle(),
        }
    }

    async fn serve(&self, client: TcpStream) -> std::io::Result<()> {
        let (from_client, mut to_client) = client.into_split();
        let mut from_client = BufReader::new(from_client);
        let head = read_head(&mut from_client).await?;
        let request = Request {
            upgrade: head
                .to_ascii_lowercase()
                .contains("\r\nupgrade: websocket\r\n"),
            line: head.lines().next().unwrap_or_default().to_owned(),
        };
        if let Some(answer) = (self.on_request)(&request) {
            // What was sent is read, or closing would destroy the answer on its way.
            tokio::spawn(async move { drain(&mut from_client).await });
            return send_all(answer, &[], &mut to_client).await.map(|_| ());
        }
        let server = TcpStream::connect(self.target).await?;
        let (from_server, mut to_server) = server.into_split();
        let mut from_server = BufReader::new(from_server);
        // Requests are looked at one by one, so each has a connection of its own.
        let head = match request.upgrade {
            true => head,
            false => head.replacen("\r\n", "\r\nconnection: close\r\n", 1),
        };
        to_server.write_all(head.as_bytes()).await?;
        let upwards = async {
            tokio::io::copy(&mut from_client, &mut to_server).await?;
            to_server.shutdown().await
        };
        let downwards = async {
            if request.upgrade {
                let head = read_head(&mut from_server).await?;
                to_client.write_all(head.as_bytes()).await?;
                self.alter(&mut from_server, &mut to_client).await
            } else {
                tokio::io::copy(&mut from_server, &mut to_client).await?;
                to_client.shutdown().await
            }
        };
        tokio::select! {
            ended = downwards => ended,
            Err(error) = upwards => Err(error),
        }
    }

    async fn alter(
        &self,
        from: &mut (impl AsyncRead + Unpin + Send),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> std::io::Result<()> {
        let mut flood: Option<Vec<u8>> = None;
        loop {
            // Neither a frame that is read nor one that is written may be cut short by the other.
            let mut next = pin!(frames::read(from));
            let (opcode, payload) = loop {
                let Some(bytes) = &flood else {
                    break next.await?;
                };
                tokio::select! {
                    biased;
                    frame = &mut next => break frame?,
                    () = ready(()) => to.write_all(bytes).await?,
                }
            };
            let original = frames::frame(opcode, &payload);
            let script = match std::str::from_utf8(&payload) {
                Ok(text) if opcode == TEXT => (self.on_text)(text),
                _ => vec![Do::Pass],
            };
            flood = send_all(script, &original, to).await?.or(flood);
        }
    }
}

/// Follows a script, and gives what to flood the client with from now on.
async fn send_all(
    script: Vec<Do>,
    original: &[u8],
    to: &mut (impl AsyncWrite + Unpin),
) -> std::io::Result<Option<Vec<u8>>> {
    let mut flood = None;
    for step in script {
        match step {
            Do::Pass => to.write_all(original).await?,
            Do::Send(bytes) => to.write_all(&bytes).await?,
            Do::Repeat(bytes, times) => {
                for _ in 0..times {
                    to.write_all(&bytes).await?;
                }
            }
            Do::Flood(bytes) => flood = Some(bytes),
            Do::Hang => pending::<()>().await,
            Do::Close => {
                to.shutdown().await?;
                return Err(std::io::ErrorKind::ConnectionAborted.into());
            }
        }
    }
    Ok(flood)
}

/// Reads up to the empty line that ends a head, and that line.
async fn read_head(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(from.read_u8().await?);
    }
    String::from_utf8(head).map_err(std::io::Error::other)
}

async fn drain(from: &mut (impl AsyncRead + Unpin)) {
    tokio::io::copy(from, &mut tokio::io::sink()).await.ok();
}
