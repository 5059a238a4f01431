//! A scripted HTTP server: each request reaches the script together with the means to answer it.

use std::{future::Future, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use touchstone_client::ConnectOptions;

use crate::script::{Peer, Server, header, soon};

/// What a client asked for.
pub(crate) struct Request {
    pub(crate) head: String,
    pub(crate) body: String,
    answer: oneshot::Sender<Vec<u8>>,
}

impl Request {
    /// Method and target, such as `GET /v1/updates/?EIO=4`.
    pub(crate) fn line(&self) -> &str {
        let line = self.head.lines().next().unwrap();
        line.strip_suffix(" HTTP/1.1").unwrap()
    }

    pub(crate) fn is_get(&self) -> bool {
        self.head.starts_with("GET ")
    }

    /// Answers with a status and a body.
    pub(crate) fn answer(self, status: u16, body: &str) {
        let length = body.len();
        let head = format!("HTTP/1.1 {status} Whatever\r\nContent-Length: {length}\r\n\r\n");
        self.answer_raw(format!("{head}{body}").into_bytes());
    }

    /// Answers with these bytes, head and all.
    pub(crate) fn answer_raw(self, bytes: Vec<u8>) {
        // The client may have gone away meanwhile, as it does on close.
        let _ = self.answer.send(bytes);
    }
}

/// A server whose requests are taken one by one, on however many connections they come.
pub(crate) struct HttpServer {
    origin: String,
    requests: mpsc::Receiver<Request>,
    upgrades: mpsc::Receiver<(String, Peer<TcpStream>)>,
    accepting: JoinHandle<()>,
}

impl HttpServer {
    pub(crate) async fn start() -> Self {
        let server = Server::start().await;
        let origin = server.origin();
        let (request_sender, requests) = mpsc::channel(16);
        let (upgrade_sender, upgrades) = mpsc::channel(16);
        let accepting = tokio::spawn(async move {
            loop {
                let peer = server.accept_whenever().await;
                tokio::spawn(serve(peer, request_sender.clone(), upgrade_sender.clone()));
            }
        });
        Self {
            origin,
            requests,
            upgrades,
            accepting,
        }
    }

    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    pub(crate) fn options(&self) -> ConnectOptions {
        ConnectOptions::new(self.origin.parse().unwrap())
    }

    /// The next request that wants no upgrade.
    pub(crate) async fn request(&mut self) -> Request {
        soon(self.requests.recv()).await.unwrap()
    }

    /// The next request, which must begin with `line`.
    #[track_caller]
    pub(crate) fn expect(&mut self, line: &str) -> impl Future<Output = Request> {
        let caller = std::panic::Location::caller();
        async move {
            let request = self.request().await;
            assert!(
                request.line().starts_with(line),
                "{} at {caller}",
                request.line()
            );
            request
        }
    }

    /// The next GET and the next POST, in whichever order they come.
    pub(crate) async fn get_and_post(&mut self) -> (Request, Request) {
        let (first, second) = (self.request().await, self.request().await);
        let (get, post) = if first.is_get() {
            (first, second)
        } else {
            (second, first)
        };
        assert!(get.is_get() && !post.is_get());
        (get, post)
    }

    /// The next request for a WebSocket, not answered yet.
    pub(crate) async fn upgrade(&mut self) -> (String, Peer<TcpStream>) {
        soon(self.upgrades.recv()).await.unwrap()
    }

    /// Asserts that no request is waiting right now.
    pub(crate) fn expect_none(&mut self) {
        if let Ok(request) = self.requests.try_recv() {
            panic!("{}", request.line());
        }
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(
    mut peer: Peer<TcpStream>,
    requests: mpsc::Sender<Request>,
    upgrades: mpsc::Sender<(String, Peer<TcpStream>)>,
) {
    while let Some(head) = peer.try_head().await {
        if header(&head, "upgrade").is_some() {
            let _ = upgrades.send((head, peer)).await;
            return;
        }
        if !exchange(&mut peer, head, &requests).await {
            return;
        }
    }
}

/// Passes a request on and writes its answer; tells whether the connection is still of use.
pub(crate) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    peer: &mut Peer<S>,
    head: String,
    requests: &mpsc::Sender<Request>,
) -> bool {
    let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
    let body = String::from_utf8(peer.read(length).await).unwrap();
    let (answer, answered) = oneshot::channel();
    if requests.send(Request { head, body, answer }).await.is_err() {
        return false;
    }
    let Ok(bytes) = answered.await else {
        return false;
    };
    let head = &bytes[..bytes.len().min(100)];
    let last = head.windows(17).any(|part| part == b"Connection: close");
    peer.write_while_open(&bytes).await.is_ok() && !last
}

/// No call of a test takes this long.
pub(crate) const LONG: Duration = Duration::from_secs(20);
