//! What a connection is opened with.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use serde_json::Value;
use url::Url;

use crate::{
    error::ConnectError,
    net::address_of,
    secret::{Secret, redact},
    tap::Tap,
    tls::TlsOptions,
};

/// How packets travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Transport {
    /// A WebSocket from the start, as the recorded clients do (decisions.md section 9).
    #[default]
    WebSocket,
    /// HTTP long-polling only.
    Polling,
    /// Long-polling first, then the upgrade to a WebSocket where the server offers one; the
    /// default of official Socket.IO clients. [`Socket::upgraded`](crate::Socket::upgraded)
    /// tells when it is over.
    Upgrade,
}

/// Everything that [`connect`](crate::connect) needs to know. Cheap to clone.
#[derive(Clone)]
pub struct ConnectOptions {
    /// The server's base URL: `http`, `https`, `ws` or `wss`. Its path is the prefix behind which a
    /// reverse proxy has the whole server, so it goes before every path of this one, REST included.
    pub url: Url,
    /// The Socket.IO path, `/v1/updates` unless changed, below the path of the URL. A trailing slash is
    /// added on the wire, as official clients do.
    pub path: String,
    /// The CONNECT packet's auth object, or none.
    pub auth: Option<Value>,
    /// Headers that go with every HTTP request of this connection.
    pub headers: Vec<(String, Secret)>,
    /// Parameters that go with every HTTP request of this connection, behind those of Engine.IO.
    /// Their values may be secrets: they are never shown.
    pub query: Vec<(String, Secret)>,
    /// How packets travel.
    pub transport: Transport,
    /// The longest that all stages together may take, from the dial to the CONNECT answer.
    pub timeout: Duration,
    /// How many received events may wait for their consumer before reading stops.
    pub event_queue: usize,
    /// How many bytes of received events may wait before reading stops.
    pub event_queue_bytes: usize,
    /// How many outgoing messages may wait to be written before senders wait.
    pub send_queue: usize,
    /// The largest message or HTTP body that is accepted from the server, in bytes.
    pub max_message: usize,
    /// The local address to connect from, for those who need more ports than one address has.
    pub local_address: Option<IpAddr>,
    /// Which certificates are trusted for `https` and `wss`; the system's where none.
    pub tls: Option<TlsOptions>,
    /// Host and port that connections go to instead of those of the URL, whose name is still the one
    /// that certificates and the Host header have. HTTP needs a name in the URL for that, not an address.
    pub connect_to: Option<(String, u16)>,
    /// Sees every packet.
    pub tap: Option<Arc<dyn Tap>>,
}

impl ConnectOptions {
    /// The defaults for a server: WebSocket, path `/v1/updates`, no auth, 20 s in all, 1 024
    /// events or 8 MiB queued, 256 messages queued to send, messages of up to 16 MiB.
    pub fn new(url: Url) -> Self {
        Self {
            url,
            path: "/v1/updates".to_owned(),
            auth: None,
            headers: Vec::new(),
            query: Vec::new(),
            transport: Transport::WebSocket,
            timeout: Duration::from_secs(20),
            event_queue: 1024,
            event_queue_bytes: 8 << 20,
            send_queue: 256,
            max_message: 16 << 20,
            local_address: None,
            tls: None,
            connect_to: None,
            tap: None,
        }
    }

    /// The same for another node of the same cluster.
    pub fn at(&self, url: Url) -> Self {
        Self {
            url,
            ..self.clone()
        }
    }

    /// Host and port that connections go to.
    ///
    /// # Errors
    /// The URL names no server.
    pub fn dialled(&self) -> Result<(String, u16), ConnectError> {
        let named = address_of(self)?;
        Ok(self.connect_to.clone().unwrap_or(named))
    }

    /// Sets the CONNECT packet's auth.
    pub fn auth(mut self, auth: Value) -> Self {
        self.auth = Some(auth);
        self
    }

    /// Sets the Socket.IO path.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Sets how packets travel.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Sets the longest time for all stages together.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Adds a header to every HTTP request of this connection.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Adds a parameter to the query of every HTTP request of this connection.
    pub fn query(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    /// Sets who sees every packet.
    pub fn tap(mut self, tap: Arc<dyn Tap>) -> Self {
        self.tap = Some(tap);
        self
    }

    /// Whether the server is spoken to over TLS.
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.url.scheme(), "https" | "wss")
    }

    /// The URL that requests of this connection go to, with an HTTP scheme and `query`.
    pub(crate) fn endpoint(&self, query: &str) -> String {
        format!("{}/?{query}", self.base_of(&self.path))
    }

    /// The user's query parameters as they are appended to those of Engine.IO; for the wire only.
    pub(crate) fn extra_query(&self) -> String {
        if self.query.is_empty() {
            return String::new();
        }
        let mut encoded = url::form_urlencoded::Serializer::for_suffix(String::from("&"), 1);
        for (name, value) in &self.query {
            encoded.append_pair(name, value.expose());
        }
        encoded.finish()
    }

    /// What the paths of REST routes are appended to: scheme, host, port and the URL's own path, with an
    /// HTTP scheme and without a slash at the end.
    pub(crate) fn base(&self) -> String {
        self.base_of("")
    }

    fn base_of(&self, path: &str) -> String {
        let scheme = if self.is_tls() { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority(), self.below_prefix(path))
    }

    /// Host and port as the URL has them, and as the Host header does.
    pub fn authority(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        match self.url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    /// The path of the Socket.IO requests, with one leading and one trailing slash.
    pub(crate) fn request_path(&self) -> String {
        format!("{}/", self.below_prefix(&self.path))
    }

    /// A path below that of the URL: each part with a slash before it, and none at the end.
    fn below_prefix(&self, path: &str) -> String {
        [self.url.path(), path]
            .map(|part| part.trim_matches('/'))
            .iter()
            .filter(|part| !part.is_empty())
            .map(|part| format!("/{part}"))
            .collect()
    }
}

/// Shows tokens redacted: those in `auth` by their key, those in headers always.
impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut auth = self.auth.clone();
        if let Some(token) = auth.as_mut().and_then(|auth| auth.get_mut("token")) {
            *token = Value::String(redact(token.as_str().unwrap_or_default()));
        }
        f.debug_struct("ConnectOptions")
            .field("url", &self.url.as_str())
            .field("path", &self.path)
            .field("auth", &auth.map(|auth| auth.to_string()))
            .field("headers", &self.headers)
            .field("query", &self.query)
            .field("transport", &self.transport)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(url: &str, path: &str, endpoint: &str) {
        let options = ConnectOptions::new(url.parse().unwrap()).path(path);
        assert_eq!(options.endpoint("EIO=4"), endpoint);
    }

    #[test]
    fn requests_go_to_the_path_with_a_trailing_slash() {
        check("http://a:1", "/v1/updates", "http://a:1/v1/updates/?EIO=4");
        check(
            "ws://a:1/behind/proxy/",
            "/v1/updates/",
            "http://a:1/behind/proxy/v1/updates/?EIO=4",
        );
        check("wss://a", "socket.io", "https://a/socket.io/?EIO=4");
        check("https://[::1]:8", "/", "https://[::1]:8/?EIO=4");
    }

    #[test]
    fn the_path_of_the_url_goes_before_all_others() {
        #[track_caller]
        fn check(url: &str, base: &str) {
            assert_eq!(ConnectOptions::new(url.parse().unwrap()).base(), base);
        }
        check("http://a:1", "http://a:1");
        check("wss://a/", "https://a");
        check("http://a:1/one", "http://a:1/one");
        check("http://a:1/one/two//", "http://a:1/one/two");
    }

    #[test]
    fn debug_shows_no_token() {
        let options = ConnectOptions::new("http://a".parse().unwrap())
            .auth(json!({"token": "abcdefghijklmnopqrstuvwxyz"}))
            .header("Authorization", "Bearer qwertyuiop")
            .query("token", "zxcvbnmasdf");
        let shown = format!("{options:?}");
        assert!(shown.contains("abcdef…"), "{shown}");
        assert!(
            !shown.contains("abcdefg") && !shown.contains("qwerty") && !shown.contains("zxcv"),
            "{shown}"
        );
    }
}
