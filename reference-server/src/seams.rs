//! The seams of the server: the places where something outside of it may take part.
//!
//! The server is right, and knows nothing of what stands at its seams. Whoever wants a server that
//! differs in a named way implements [`Seams`] and puts it into [`Config::seams`]: the faults, which
//! show that a suite catches what it claims to catch, and the liberties, which show that it blames
//! nobody who is right in another way (`reference-server/faults`). Each method is handed what is right
//! and may change it; each does nothing by default, and without seams none is ever called.
//!
//! A method that is called while an account is locked says so. It must not wait, nor lock an account.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use axum::Json;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::builders::MessageRow;
use crate::config::Config;
use crate::packet::Passed;

pub use crate::announce::{Announcement, Event, Update};
pub use crate::connection::{Connection, Way};
pub use crate::router::{ConnectionId, RecipientFilter, Routed, Scope, recipients};
pub use crate::store::{
    AccessKey, Account, Artifact, Cell, Change, FeedItem, KvEntry, Machine, NewAccount, Pair,
    Pairing, Part, PublicKey, PushToken, Rows, Session, Usage,
};
/// A Socket.IO packet as it is queued for a connection; clones share the same bytes.
pub use engineioxide::Str as Frame;

/// A running server, as far as the seams may reach into it.
pub type Server = dyn RunningServer;

/// What the seams may ask of a running server, and do to it.
pub trait RunningServer: fmt::Debug + Send + Sync {
    /// All accounts.
    fn accounts(&self) -> Vec<Arc<Account>>;

    /// The account of this id.
    fn account(&self, id: &str) -> Option<Arc<Account>>;

    /// The account of a token.
    fn account_of_token(&self, token: &str) -> Option<Arc<Account>>;

    /// The account of a public key, made at first sight.
    fn sign_in(&self, key: PublicKey) -> Arc<Account>;

    /// All connections, of every account.
    fn connections(&self) -> Vec<Arc<Connection>>;

    /// What was chosen about the server.
    fn config(&self) -> &Config;

    /// Now, in Unix milliseconds.
    fn now(&self) -> i64;

    /// Lets something happen that a seam has kept back. No account may be locked.
    fn happen(self: Arc<Self>, account: &Arc<Account>, effects: Effects);

    /// Ends the server.
    fn end(&self);
}

/// What may take part in the server's work.
pub trait Seams: fmt::Debug + Send + Sync {
    /// Settings, before anything starts.
    fn settings(&self, _config: &mut Config) {}

    /// A client has sent CONNECT with `auth`: whether it is admitted, and as what. What is not JSON
    /// comes as null, and is rightly closed.
    fn admit(&self, _server: &Server, _auth: &Value, right: Admission) -> Admission {
        right
    }

    /// A client is not admitted.
    fn refused(&self, _server: &Server, _client: &Client<'_>, _auth: &Value) {}

    /// A client has sent a packet that cannot be read, or an event (with this ack id) although it is
    /// not connected. Its transport is ended, unless the packet is ignored.
    fn misplaced(&self, _server: &Server, _client: &Client<'_>, _ack: Option<u64>) -> Flow {
        Flow::Handle
    }

    /// What the decision about a client that has sent CONNECT with `auth` waits for. What it sends
    /// meanwhile is kept, and looked at afterwards.
    fn before_admission(&self, _server: &Server, _auth: &Value) -> Option<Wait> {
        None
    }

    /// An event came in and is about to be handled, or ignored where the server does not know it.
    fn call(&self, _server: &Server, _call: &mut Call<'_>) -> Flow {
        Flow::Handle
    }

    /// What the handling of an event waits for, meanwhile others of the same connection may overtake
    /// it. Called in the order in which events come.
    fn before_call(&self, _server: &Server, _call: &Call<'_>) -> Option<Wait> {
        None
    }

    /// A builder has made the payload of an `update` or `ephemeral`. The account is locked.
    fn payload(&self, _event: &str, _payload: &mut Value) {}

    /// Something is about to happen in an account, because of `cause`: the rows as they are before, and
    /// what is answered if the cause is an event. The account is locked, here and in all that follows
    /// until `send`.
    fn outcome(
        &self,
        _server: &Arc<Server>,
        _cause: &Cause<'_>,
        _rows: &Rows,
        _effects: &mut Effects,
        _reply: Option<&mut Reply>,
    ) {
    }

    /// The seq of an account's next update.
    fn update_seq(&self, _account: &str, right: u64) -> u64 {
        right
    }

    /// Whether a writer who expects a version may write over this one.
    fn is_current(&self, _version: f64, _expected: f64, right: bool) -> bool {
        right
    }

    /// The version after this one.
    fn next_version(&self, _version: u64, right: u64) -> u64 {
        right
    }

    /// The seq of a session's next message.
    fn message_seq(&self, _rows: &Rows, _session: &str, right: u64) -> u64 {
        right
    }

    /// The message of a session that one with this localId and content repeats.
    fn known_message(
        &self,
        _rows: &Rows,
        _session: &str,
        _local_id: Option<&str>,
        _content: &Value,
        right: Option<MessageRow>,
    ) -> Option<MessageRow> {
        right
    }

    /// Who is called by an RPC method.
    fn callee(
        &self,
        _rows: &Rows,
        _method: &str,
        right: Option<Arc<Connection>>,
    ) -> Option<Arc<Connection>> {
        right
    }

    /// An event is about to be queued for `recipients`, in their order. A connection that stands there
    /// twice receives it twice. The account is locked.
    fn route(
        &self,
        _server: &Server,
        _emission: &Emission<'_>,
        _recipients: &mut Vec<Arc<Connection>>,
    ) {
    }

    /// What acknowledges an event, or the payload of an event that answers it (`rpc-registered`,
    /// `rpc-error`), under the name of that. `None` leaves the client without an answer, as a missing
    /// callback does.
    fn answer(&self, _server: &Server, _request: &Asked<'_>, answer: Value) -> Option<Value> {
        Some(answer)
    }

    /// A packet is about to be queued for a connection; false takes it away. Whoever takes it may
    /// hand it to [`Connection::push`] later. Accounts may be locked.
    fn send(&self, _connection: &Arc<Connection>, _frame: &Frame) -> bool {
        true
    }

    /// What an HTTP request waits for.
    fn before_request(&self, _server: &Server, _request: &HttpRequest<'_>) -> Option<Wait> {
        None
    }

    /// An HTTP request came in; an answer keeps it from its route.
    fn request(&self, _server: &Server, _request: &HttpRequest<'_>) -> Option<HttpAnswer> {
        None
    }

    /// Another path and query that an HTTP request asks for.
    fn redirect(&self, _request: &HttpRequest<'_>) -> Option<Uri> {
        None
    }

    /// Whose an HTTP request is that needs an account.
    fn caller(
        &self,
        _server: &Server,
        _request: &HttpRequest<'_>,
        right: Option<Arc<Account>>,
    ) -> Option<Arc<Account>> {
        right
    }

    /// The JSON body of an HTTP request, as its route is about to read it; an answer keeps it from
    /// its route.
    fn body(
        &self,
        _server: &Server,
        _request: &HttpRequest<'_>,
        _body: &mut Value,
    ) -> Option<HttpAnswer> {
        None
    }

    /// What an HTTP request is about to be answered.
    fn response(&self, _server: &Server, _request: &HttpRequest<'_>, _answer: &mut HttpAnswer) {}
}

/// A client that is not connected.
pub struct Client<'a>(pub(crate) &'a dyn Unconnected);

/// The way to a client that is not connected.
pub(crate) trait Unconnected {
    /// A connection to it that nothing is routed to.
    fn connection(&self, account: &Account, scope: Scope) -> Arc<Connection>;
    /// Queues a packet for it.
    fn push(&self, frame: Frame);
}

impl Client<'_> {
    /// A connection to this client that nothing is routed to.
    #[must_use]
    pub fn connection(&self, account: &Account, scope: Scope) -> Arc<Connection> {
        self.0.connection(account, scope)
    }

    /// Queues a packet for the client.
    pub fn push(&self, frame: Frame) {
        self.0.push(frame);
    }
}

impl fmt::Debug for Client<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// Resolves when something may go on. What it resolves to is dropped once that is done, so that others
/// can wait for it.
pub type Wait = Pin<Box<dyn Future<Output = Box<dyn Send>> + Send>>;

/// What becomes of a client that has sent CONNECT.
#[derive(Debug)]
pub enum Admission {
    /// It is connected.
    Admitted {
        /// Whose rows it sees.
        account: Arc<Account>,
        /// What it is there for.
        scope: Scope,
    },
    /// It is told CONNECT_ERROR with this message.
    Refused(String),
    /// It is told CONNECT_ERROR with this message, and its transport is closed.
    Expelled(String),
    /// It is connected, told this message by an event `error`, and disconnected.
    Dismissed(String),
    /// Its transport is closed without a word.
    Closed,
}

/// What happens.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// What changes, in this order.
    pub changes: Vec<Change>,
    /// Who is told what, in this order.
    pub events: Vec<Event>,
}

/// Why something happens.
#[derive(Clone, Copy, Debug)]
pub struct Cause<'a> {
    /// An event, or what an HTTP route, the sweep or the end of a connection is about.
    pub name: &'a str,
    /// Whose rows it is about.
    pub account: &'a Arc<Account>,
    /// The connection that it comes from.
    pub connection: Option<&'a Arc<Connection>>,
    /// The number under which it is acknowledged.
    pub ack: Option<u64>,
    /// What the event or the HTTP request says.
    pub data: &'a Value,
}

/// What an event is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    /// It is acknowledged with this.
    Ack(Value),
    /// The same, for a reason that the interface has no field for.
    Refused(Value, &'static str),
    /// It is not acknowledged.
    Nothing,
    /// It is not acknowledged, and changes nothing for this reason.
    Ignored(&'static str),
    /// It is answered by another event.
    Notice(&'static str, Value),
    /// Somebody else will answer.
    Forward(Forward),
}

/// An RPC on its way to who answers it.
#[derive(Clone, Debug)]
pub struct Forward {
    /// Who is called.
    pub callee: Arc<Connection>,
    /// The method.
    pub method: String,
    pub(crate) params: Option<Passed>,
}

/// Whether an event is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// As usual.
    Handle,
    /// As if it had never come.
    Ignore,
}

/// An event on its way in.
#[derive(Debug)]
pub struct Call<'a> {
    /// The connection that it came from.
    pub connection: &'a Arc<Connection>,
    /// Whose rows it is about.
    pub account: &'a mut Arc<Account>,
    /// Its name.
    pub event: &'a str,
    /// Its first argument as it came.
    pub raw: Option<&'a RawValue>,
    /// The fields of the first argument, which the handlers read; none for `rpc-call`, whose
    /// parameters are only passed on.
    pub data: &'a mut Map<String, Value>,
    /// Under which number its sender wants an answer, if it wants one.
    pub ack: Option<u64>,
}

/// What is answered.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The connection that is answered.
    pub connection: &'a Arc<Connection>,
    /// The event that is acknowledged, or that answers.
    pub event: &'a str,
    /// The number under which it is acknowledged.
    pub ack: Option<u64>,
}

/// An event on its way out.
#[derive(Debug)]
pub struct Emission<'a> {
    /// The account that it concerns.
    pub account: &'a str,
    /// `update` or `ephemeral`.
    pub event: &'a str,
    /// What it says.
    pub payload: &'a Value,
    /// Which connections it is for.
    pub filter: &'a RecipientFilter,
    /// A connection that is left out.
    pub skip: Option<ConnectionId>,
    /// All connections of the account.
    pub connections: &'a [Arc<Connection>],
}

/// An HTTP request, without its body.
#[derive(Clone, Copy, Debug)]
pub struct HttpRequest<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its path and query.
    pub uri: &'a Uri,
    /// The bearer token that it carries.
    pub token: Option<&'a str>,
    /// What its body is said to be.
    pub content_type: Option<&'a str>,
    /// Whether its path is the one of Socket.IO.
    pub is_socket: bool,
}

impl<'a> HttpRequest<'a> {
    pub(crate) fn new(config: &Config, head: &'a Parts) -> Self {
        let path = |path: &'a str| path.trim_end_matches('/');
        let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        let token = header(header::AUTHORIZATION);
        Self {
            method: &head.method,
            uri: &head.uri,
            token: token.and_then(|value| value.strip_prefix("Bearer ")),
            content_type: header(header::CONTENT_TYPE),
            is_socket: path(head.uri.path()) == config.path.trim_end_matches('/'),
        }
    }
}

/// What an HTTP request is answered.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpAnswer {
    /// The status.
    pub status: StatusCode,
    /// The body, if it is JSON. What another body says cannot be changed.
    pub body: Option<Value>,
}

impl IntoResponse for HttpAnswer {
    fn into_response(self) -> Response {
        match self.body {
            Some(body) => (self.status, Json(body)).into_response(),
            None => self.status.into_response(),
        }
    }
}
