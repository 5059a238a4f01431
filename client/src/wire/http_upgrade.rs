//! The HTTP request that turns a byte stream into a WebSocket.
//!
//! It is done here and not by the WebSocket library because a suite has to tell its user what
//! a server answered instead: the status and the beginning of the body.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Duration, timeout},
};
use tungstenite::{
    Error,
    handshake::{
        client::{Response, generate_key},
        derive_accept_key,
        machine::TryParse,
    },
    http::StatusCode,
};

use crate::{
    error::{ConnectError, Stage, excerpt},
    net::NetStream,
    options::ConnectOptions,
};

/// The largest answer head that is read.
const MAX_HEAD: usize = 64 << 10;
/// What there is room for at first; most heads are read at once then.
const USUAL_HEAD: usize = 1 << 10;
/// The most of an error's body that is read, and shown.
const MAX_BODY: usize = 512;
/// How long the body of an error may take: it only decorates a message.
const BODY_TIME: Duration = Duration::from_secs(1);

/// Sends the upgrade request. Returns the bytes that the server sent after its answer's head.
pub(super) async fn upgrade(
    stream: &mut NetStream,
    options: &ConnectOptions,
    query: &str,
) -> Result<Vec<u8>, ConnectError> {
    let url = options.endpoint(query);
    let broken = |reason: String| ConnectError::Broken {
        url: url.clone(),
        stage: Stage::Upgrading,
        reason,
    };
    let key = generate_key();
    let request = request(options, query, &key)?;
    stream
        .write_all(request.as_bytes())
        .await
        .map_err(|e| broken(e.to_string()))?;
    stream.flush().await.map_err(|e| broken(e.to_string()))?;

    let mut head = Vec::with_capacity(USUAL_HEAD);
    let (size, response) = loop {
        if head.len() > MAX_HEAD {
            return Err(broken(format!(
                "the answer's head is larger than {MAX_HEAD} bytes"
            )));
        }
        let read = stream
            .read_buf(&mut head)
            .await
            .map_err(|e| broken(e.to_string()))?;
        if read == 0 && head.is_empty() {
            return Err(broken("closed without an answer".to_owned()));
        }
        // Who answers in the old version knows no upgrade, and still says something.
        if head.starts_with(b"HTTP/1.0 ") {
            head[..8].copy_from_slice(b"HTTP/1.1");
        }
        match Response::try_parse(&head) {
            Ok(Some(parsed)) => break parsed,
            Ok(None) if read > 0 => {}
            Err(Error::Capacity(error)) => return Err(broken(error.to_string())),
            _ => {
                let start = excerpt(&String::from_utf8_lossy(&head), 60);
                let what = match head.starts_with(b"HTTP/") {
                    true => "the head of the answer is not whole",
                    false => "the answer is not HTTP",
                };
                return Err(ConnectError::NotEngineIo {
                    url,
                    reason: format!("{what}: {start:?}"),
                });
            }
        }
    };
    let rest = head.split_off(size);
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let body = error_body(stream, &response, rest).await;
        return Err(ConnectError::Http {
            url,
            status: response.status().as_u16(),
            body,
        });
    }
    let accept = response
        .headers()
        .get("sec-websocket-accept")
        .map(|value| value.as_bytes());
    if accept != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
        return Err(ConnectError::NotEngineIo {
            url,
            reason: "the answer's Sec-WebSocket-Accept is missing or wrong".to_owned(),
        });
    }
    Ok(rest)
}

fn request(options: &ConnectOptions, query: &str, key: &str) -> Result<String, ConnectError> {
    let mut request = format!(
        "GET {}?{query}{} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n",
        options.request_path(),
        options.extra_query(),
        options.authority(),
    );
    for (name, value) in &options.headers {
        let value = value.expose();
        if name.contains(['\r', '\n', ':']) || value.contains(['\r', '\n']) {
            return Err(ConnectError::Unusable {
                url: options.url.to_string(),
                reason: format!("header {name:?} would break the request"),
            });
        }
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    Ok(request)
}

/// The beginning of an error's body: as much as is announced or comes, within limits.
async fn error_body(stream: &mut NetStream, response: &Response, mut body: Vec<u8>) -> String {
    let announced = response.headers().get("content-length");
    let announced = announced
        .and_then(|n| n.to_str().ok()?.parse().ok())
        .unwrap_or(MAX_BODY);
    let wanted = announced.min(MAX_BODY);
    // Whatever comes before the time is over or the stream breaks is good enough for a message.
    let _ = timeout(BODY_TIME, async {
        while body.len() < wanted
            && matches!(stream.read_buf(&mut body).await, Ok(read) if read > 0)
        {}
    })
    .await;
    excerpt(&String::from_utf8_lossy(&body), MAX_BODY)
}
