//! What is over a limit is refused with a reason, and what is within it is not.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::stand::{Server, within};

/// So short that a test waits for it, and longer than a busy machine needs for what has to be in time.
const SOON: Duration = Duration::from_secs(2);

const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";

async fn dial(server: &Server) -> TcpStream {
    TcpStream::connect(server.address()).await.unwrap()
}

/// What the server says until it closes the connection.
async fn last_words(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let read = stream.read_to_string(&mut text);
    within("end of the connection", read).await.unwrap();
    text
}

/// One request and its answer on a connection that stays open.
async fn ask(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length").then_some(value)
            });
            let length: usize = length.expect("a length").parse().unwrap();
            if body.len() >= length {
                return text;
            }
        }
        let byte = within("answer", stream.read_u8()).await.unwrap();
        answer.push(byte);
    }
}

#[track_caller]
fn check(answer: &str, status: u16, reason: &str) {
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {status} ")),
        "{status} expected: {answer}"
    );
    assert!(answer.contains(reason), "no {reason:?} in {answer}");
}

#[tokio::test]
async fn a_head_has_to_come_in_time() {
    let server = Server::with(|config| config.header_timeout = SOON).await;
    // Who has been answered may think for as long as it likes.
    let mut thinking = dial(&server).await;
    check(&ask(&mut thinking, HEALTH).await, 200, "");
    let mut second = dial(&server).await;
    check(&ask(&mut second, HEALTH).await, 200, "");
    second.write_all(b"GET /heal").await.unwrap();
    let mut partial = dial(&server).await;
    partial
        .write_all(b"GET /health HTTP/1.1\r\nHos")
        .await
        .unwrap();
    let mut silent = dial(&server).await;
    for stream in [&mut second, &mut partial, &mut silent] {
        let words = last_words(stream).await;
        check(
            &words,
            408,
            "the head of the request did not come within 2 s",
        );
    }
    check(&ask(&mut thinking, HEALTH).await, 200, "");
}

/// Neither a long poll nor a WebSocket is a head that does not come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_wait_for_events_are_left_alone() {
    use touchstone_client::Transport;
    let server = Server::with(|config| {
        config.header_timeout = SOON;
        config.body_timeout = SOON;
    })
    .await;
    let account = server.account().await;
    let session = account.session("tag").await;
    let mut clients = Vec::new();
    for transport in [Transport::WebSocket, Transport::Polling, Transport::Upgrade] {
        let options = account.options(json!({}));
        clients.push(crate::stand::Client::over(transport, options).await);
    }
    // Two silent connections in a row, so that more than the time has gone by.
    for _ in 0..2 {
        check(&last_words(&mut dial(&server).await).await, 408, "the head");
    }
    let sender = account.user().await;
    sender
        .emit(
            "message",
            json!({ "sid": session, "message": "still there" }),
        )
        .await;
    for client in &mut clients {
        assert_eq!(client.next_of("update").await["body"]["t"], "new-message");
    }
}

#[tokio::test]
async fn a_body_has_to_come_in_time() {
    let server = Server::with(|config| config.body_timeout = SOON).await;
    for path in ["/v1/auth", "/v1/updates/?EIO=4&transport=polling&sid=x"] {
        let mut stream = dial(&server).await;
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(b"{\"publicKey\":").await.unwrap();
        let words = last_words(&mut stream).await;
        match path {
            "/v1/auth" => check(
                &words,
                408,
                "the body of the request did not come within 2 s",
            ),
            _ => check(&words, 400, "code"),
        }
    }
    // What comes in pieces, and in time, is a body.
    let mut stream = dial(&server).await;
    let head = "POST /v1/auth HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    // An answer to somebody else shows that the server has had its turn at the first piece.
    check(&ask(&mut dial(&server).await, HEALTH).await, 200, "");
    check(&ask(&mut stream, "}").await, 400, "publicKey");
}

#[tokio::test]
async fn a_head_has_a_size() {
    let server = Server::with(|config| config.max_header = 20_000).await;
    let head = |size: usize| {
        format!(
            "GET /health HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
            "y".repeat(size)
        )
    };
    check(&ask(&mut dial(&server).await, &head(19_000)).await, 200, "");
    let mut stream = dial(&server).await;
    stream.write_all(head(21_000).as_bytes()).await.unwrap();
    let words = last_words(&mut stream).await;
    check(&words, 431, "Request Header Fields Too Large");
}

#[tokio::test]
async fn connections_are_counted_as_long_as_they_are_open() {
    let server = Server::with(|config| config.max_connections = 3).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut stream = dial(&server).await;
        check(&ask(&mut stream, HEALTH).await, 200, "");
        open.push(stream);
    }
    let words = last_words(&mut dial(&server).await).await;
    check(
        &words,
        503,
        "no more connections are taken in: the limit is 3",
    );
    // Those that are in are served.
    check(&ask(&mut open[0], HEALTH).await, 200, "");
    drop(open.pop());
    within("a place", async {
        loop {
            let mut stream = dial(&server).await;
            // The server closes those that it refuses, perhaps while this is written.
            let _ = stream.write_all(HEALTH.as_bytes()).await;
            let mut first = [0; 12];
            if stream.read_exact(&mut first).await.is_ok() && first.ends_with(b"200") {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn sessions_are_counted_even_without_connections() {
    let server = Server::with(|config| config.max_connections = 4).await;
    let mut stream = dial(&server).await;
    let open = "GET /v1/updates/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n";
    for _ in 0..4 {
        check(&ask(&mut stream, open).await, 200, "\"sid\"");
    }
    let words = ask(&mut stream, open).await;
    check(&words, 503, "no more sessions are begun: the limit is 4");
    check(&ask(&mut stream, HEALTH).await, 200, "");
}

#[tokio::test]
async fn accounts_are_counted_and_those_that_exist_sign_in() {
    let server = Server::with(|config| config.max_accounts = 2).await;
    let rest = touchstone_client::provision::Rest::new(&touchstone_client::ConnectOptions::new(
        server.url.parse().unwrap(),
    ))
    .unwrap();
    for seed in [1, 2, 1, 2] {
        rest.account([seed; 32]).await.unwrap();
    }
    let refused = rest.account([3; 32]).await.unwrap_err();
    let told = format!("{refused}: {:?}", std::error::Error::source(&refused));
    assert!(told.contains("503"), "{told}");
    let (status, body) = server.http("GET", "/health", None, Some(Value::Null)).await;
    assert_eq!(status, 200, "{body}");
}
