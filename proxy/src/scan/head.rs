//! Heads of HTTP/1.1.

use bytes::{BufMut, Bytes, BytesMut};
use httparse::{EMPTY_HEADER, Header, Status};
use touchstone_client::Secret;

use super::Rewrite;

/// More headers than this are not read.
const MAX_HEADERS: usize = 128;

/// What the beginning of a direction holds.
pub(super) enum Parsed {
    /// A head of this length.
    Complete(usize, Found),
    Partial,
    Broken,
}

/// A head, as far as it matters here.
#[derive(Default)]
pub(super) struct Found {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) status: u16,
    pub(super) token: Option<Secret>,
    pub(super) is_upgrade: bool,
    pub(super) is_chunked: bool,
    pub(super) length: Option<u64>,
    pub(super) extensions: Option<String>,
    pub(super) encoding: Option<String>,
    /// The head as the server is to get it, where that differs.
    pub(super) rewritten: Option<Bytes>,
}

pub(super) fn request(bytes: &[u8], rewrite: &Rewrite) -> Parsed {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Parsed::Partial,
        Err(_) => return Parsed::Broken,
    };
    let Some(mut found) = of_headers(request.headers) else {
        return Parsed::Broken;
    };
    found.method = request.method.unwrap_or_default().to_owned();
    found.target = request.path.unwrap_or_default().to_owned();
    found.rewritten = Some(rewritten(&bytes[..length], &request, rewrite));
    Parsed::Complete(length, found)
}

pub(super) fn response(bytes: &[u8]) -> Parsed {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Parsed::Partial,
        Err(_) => return Parsed::Broken,
    };
    let Some(mut found) = of_headers(response.headers) else {
        return Parsed::Broken;
    };
    found.status = response.code.unwrap_or_default();
    Parsed::Complete(length, found)
}

/// Nothing where it is not clear how long the body is.
fn of_headers(headers: &[Header<'_>]) -> Option<Found> {
    let mut found = Found::default();
    for header in headers {
        let value = String::from_utf8_lossy(header.value);
        let value = value.trim();
        match header.name.to_ascii_lowercase().as_str() {
            "authorization" => {
                let token = value
                    .split_once(' ')
                    .map_or(value, |(_, token)| token.trim());
                found.token = Some(Secret::new(token)).filter(|_| !token.is_empty());
            }
            "upgrade" => found.is_upgrade = value.eq_ignore_ascii_case("websocket"),
            "transfer-encoding" => found.is_chunked = value.eq_ignore_ascii_case("chunked"),
            "content-length" => {
                let length = value.parse().ok()?;
                if found.length.is_some_and(|other| other != length) {
                    return None;
                }
                found.length = Some(length);
            }
            "content-encoding" => found.encoding = Some(value.to_ascii_lowercase()),
            "sec-websocket-extensions" => found.extensions = Some(value.to_owned()),
            _ => {}
        }
    }
    Some(found)
}

/// The head with the server's authority and prefix, and with the headers that it asks for; every other byte
/// is as it was.
fn rewritten(head: &[u8], request: &httparse::Request<'_, '_>, rewrite: &Rewrite) -> Bytes {
    let offset = |part: &[u8]| part.as_ptr() as usize - head.as_ptr() as usize;
    let mut out = BytesMut::with_capacity(head.len() + rewrite.prefix.len() + 64);
    // One that the client sends as well is sent once.
    let replaces = |name: &str| {
        let mut given = rewrite.headers.iter();
        given.any(|(given, _)| given.eq_ignore_ascii_case(name))
            || rewrite.is_plain && name.eq_ignore_ascii_case("sec-websocket-extensions")
    };
    let mut done = 0;
    if let Some(path) = request.path
        && path.starts_with('/')
    {
        done = offset(path.as_bytes());
        out.put_slice(&head[..done]);
        out.put_slice(rewrite.prefix.as_bytes());
    }
    for header in request.headers.iter() {
        let start = offset(header.value);
        if header.name.eq_ignore_ascii_case("host") {
            out.put_slice(&head[done..start]);
            out.put_slice(rewrite.authority.as_bytes());
            done = start + header.value.len();
        } else if replaces(header.name) {
            out.put_slice(&head[done..offset(header.name.as_bytes())]);
            let rest = &head[start + header.value.len()..];
            let line = rest
                .iter()
                .position(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1);
            done = start + header.value.len() + line;
        }
    }
    // The empty line that ends it.
    let end = head.len() - if head.ends_with(b"\r\n") { 2 } else { 1 };
    out.put_slice(&head[done..end]);
    for (name, value) in &rewrite.headers {
        out.put_slice(format!("{name}: {}\r\n", value.expose()).as_bytes());
    }
    out.put_slice(&head[end..]);
    out.freeze()
}

/// The same message with another body, which is neither compressed nor in chunks. Nothing where the
/// message has no complete head.
pub(crate) fn with_body(message: &[u8], body: &str) -> Option<Bytes> {
    const OF_BODY: [&str; 3] = ["content-length", "transfer-encoding", "content-encoding"];
    let mut out = BytesMut::with_capacity(message.len() + body.len());
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        let text = line.trim_ascii_end();
        if text.is_empty() {
            let length = body.len();
            out.put_slice(format!("Content-Length: {length}\r\n").as_bytes());
            out.put_slice(line);
            out.put_slice(body.as_bytes());
            return Some(out.freeze());
        }
        let name = text.split(|byte| *byte == b':').next().unwrap_or_default();
        let is_of_body = OF_BODY
            .iter()
            .any(|one| name.eq_ignore_ascii_case(one.as_bytes()));
        if !is_of_body {
            out.put_slice(line);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_gets_another_body() {
        #[track_caller]
        fn check(message: &str, expected: Option<&str>) {
            let other = with_body(message.as_bytes(), "ab");
            assert_eq!(other.as_deref(), expected.map(str::as_bytes), "{message}");
        }
        check(
            "POST /?a HTTP/1.1\r\nA: content-length:1\r\ncontent-length: 4\r\n\r\n\r\n\r\n",
            Some("POST /?a HTTP/1.1\r\nA: content-length:1\r\nContent-Length: 2\r\n\r\nab"),
        );
        check(
            "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nContent-Encoding: gzip\n\n1\nx\n0\n\n",
            Some("HTTP/1.1 200 OK\nContent-Length: 2\r\n\nab"),
        );
        check("HTTP/1.1 200 OK\r\n", None);
    }

    #[track_caller]
    fn check(headers: &[(&str, &str)], sent: &str, expected: &str) {
        let headers = headers.iter();
        let headers = headers.map(|&(name, value)| (name.to_owned(), Secret::new(value)));
        let rewrite = Rewrite {
            authority: "server:8080".to_owned(),
            prefix: "/api".to_owned(),
            headers: headers.collect(),
            is_plain: true,
        };
        let Parsed::Complete(length, found) = request(sent.as_bytes(), &rewrite) else {
            panic!("{sent} is no head");
        };
        assert_eq!(length, sent.len());
        let rewritten = found.rewritten.expect("a head for the server");
        assert_eq!(String::from_utf8_lossy(&rewritten), expected);
    }

    #[test]
    fn a_head_names_the_server_and_stays_as_it_is_otherwise() {
        check(
            &[],
            "GET /v1/updates/?EIO=4 HTTP/1.1\r\nhOST:  127.0.0.1:1 \r\nX-A:b\r\n\r\n",
            "GET /api/v1/updates/?EIO=4 HTTP/1.1\r\nhOST:  server:8080 \r\nX-A:b\r\n\r\n",
        );
        check(
            &[],
            "OPTIONS * HTTP/1.1\r\nSec-WebSocket-Extensions: permessage-deflate\r\nhost: a\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nhost: server:8080\r\n\r\n",
        );
        check(&[], "GET / HTTP/1.0\r\n\r\n", "GET /api/ HTTP/1.0\r\n\r\n");
    }

    #[test]
    fn a_head_gets_the_headers_that_the_server_asks_for() {
        let key = [("X-Key", "sesame")];
        check(
            &key,
            "GET / HTTP/1.0\r\n\r\n",
            "GET /api/ HTTP/1.0\r\nX-Key: sesame\r\n\r\n",
        );
        check(
            &key,
            "POST / HTTP/1.1\nx-key: other\nHost: a\n\n",
            "POST /api/ HTTP/1.1\nHost: server:8080\nX-Key: sesame\r\n\n",
        );
    }
}
