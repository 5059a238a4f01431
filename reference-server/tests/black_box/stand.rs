//! A server in this process and clients around it. Everything waits for a condition with a deadline;
//! absence is proved by asking for a later answer on the same connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use touchstone_client::provision::Rest;
use touchstone_client::{ConnectError, ConnectOptions, Events, Secret, Socket, Transport, connect};
use touchstone_reference_server::seams::{self, Call, Flow, Seams};
use touchstone_reference_server::{Clock, Config, Ids, ManualClock, serve};

/// Longer than anything takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The time at which a [`Server`]'s clock stands.
pub(crate) const START: i64 = 1_800_000_000_000;

/// Waits with the deadline, naming what for.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future)
        .await
        .unwrap_or_else(|_| panic!("no {what} within {DEADLINE:?}"))
}

/// Panics at every event.
#[derive(Debug)]
struct Failing;

impl Seams for Failing {
    fn call(&self, _server: &seams::Server, call: &mut Call<'_>) -> Flow {
        panic!("{} fails", call.event);
    }
}

pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) clock: ManualClock,
    rest: Rest,
    accounts: AtomicU8,
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<std::io::Result<()>>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// A server whose handlers all fail.
    pub(crate) async fn failing() -> Self {
        Self::with(|config| config.seams = Some(Arc::new(Failing))).await
    }

    /// A server whose clock stands still and whose ids repeat.
    pub(crate) async fn with(adjust: impl FnOnce(&mut Config)) -> Self {
        let (clock, handle) = Clock::manual(START);
        let mut config = Config {
            clock,
            ids: Ids::seeded(1),
            control: true,
            ..Config::default()
        };
        adjust(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async move {
            let _ = stopped.await;
        };
        let task = Some(tokio::spawn(serve(vec![listener], config, stopped)));
        let rest = Rest::new(&ConnectOptions::new(url.parse().unwrap())).unwrap();
        let accounts = AtomicU8::new(0);
        Self {
            url,
            clock: handle,
            rest,
            accounts,
            stop: Some(stop),
            task,
        }
    }

    /// `127.0.0.1:port`.
    pub(crate) fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// A new account.
    pub(crate) async fn account(&self) -> Account<'_> {
        let number = self.accounts.fetch_add(1, Ordering::SeqCst);
        let account = self.rest.account([number; 32]).await.unwrap();
        Account {
            server: self,
            token: account.token,
        }
    }

    /// An HTTP request; status and body.
    pub(crate) async fn http(
        &self,
        method: &str,
        path: &str,
        token: Option<&Secret>,
        body: Option<Value>,
    ) -> (u16, Value) {
        let answer = self
            .rest
            .request(method, path, token, body.as_ref())
            .await
            .unwrap();
        (answer.status, answer.body)
    }

    /// Asks the server to end.
    pub(crate) fn stop(&mut self) -> JoinHandle<std::io::Result<()>> {
        drop(self.stop.take());
        self.task.take().expect("the server is stopped once")
    }
}

pub(crate) struct Account<'s> {
    pub(crate) server: &'s Server,
    pub(crate) token: Secret,
}

impl Account<'_> {
    pub(crate) async fn http(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let body = (!body.is_null()).then_some(body);
        self.server
            .http(method, path, Some(&self.token), body)
            .await
    }

    /// A request that must succeed.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.http("POST", path, body).await;
        assert_eq!(status, 200, "POST {path}: {answer}");
        answer
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.http("GET", path, Value::Null).await;
        assert_eq!(status, 200, "GET {path}: {answer}");
        answer
    }

    /// The id of the session with this tag.
    pub(crate) async fn session(&self, tag: &str) -> String {
        let answer = self
            .post("/v1/sessions", json!({ "tag": tag, "metadata": "m0" }))
            .await;
        answer["session"]["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn machine(&self, id: &str) -> String {
        let body = json!({ "id": id, "metadata": "m1", "daemonState": "d1" });
        self.post("/v1/machines", body).await;
        id.to_owned()
    }

    pub(crate) async fn id(&self) -> String {
        self.get("/v1/account/profile").await["id"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub(crate) fn options(&self, auth: Value) -> ConnectOptions {
        let mut auth = auth;
        auth["token"] = self.token.expose().into();
        ConnectOptions::new(self.server.url.parse().unwrap()).auth(auth)
    }

    pub(crate) async fn user(&self) -> Client {
        Client::connect(&self.options(json!({ "clientType": "user-scoped" }))).await
    }

    pub(crate) async fn on_session(&self, id: &str) -> Client {
        let auth = json!({ "clientType": "session-scoped", "sessionId": id });
        Client::connect(&self.options(auth)).await
    }

    pub(crate) async fn on_machine(&self, id: &str) -> Client {
        let auth = json!({ "clientType": "machine-scoped", "machineId": id });
        Client::connect(&self.options(auth)).await
    }
}

/// What a client received: an event's name and its first argument.
pub(crate) type Seen = (String, Value);

pub(crate) struct Client {
    pub(crate) socket: Socket,
    pub(crate) events: Events,
}

impl Client {
    pub(crate) async fn connect(options: &ConnectOptions) -> Self {
        Self::try_connect(options)
            .await
            .unwrap_or_else(|error| panic!("cannot connect: {error}"))
    }

    pub(crate) async fn try_connect(options: &ConnectOptions) -> Result<Self, ConnectError> {
        let (socket, events) = connect(options).await?;
        Ok(Self { socket, events })
    }

    /// The same kind of client over another transport.
    pub(crate) async fn over(transport: Transport, options: ConnectOptions) -> Self {
        Self::connect(&options.transport(transport)).await
    }

    pub(crate) async fn emit(&self, event: &str, data: Value) {
        self.socket.emit(event, data).await.unwrap();
    }

    /// An event with a callback; what it is answered.
    pub(crate) async fn call(&self, event: &str, data: Value) -> Value {
        let reply = self.socket.call(event, data, DEADLINE).await;
        reply
            .unwrap_or_else(|error| panic!("{error}"))
            .data()
            .unwrap()
    }

    /// Waits until the server has handled everything that this client sent.
    pub(crate) async fn handled(&self) {
        self.call("ping", Value::Null).await;
    }

    /// The next event.
    pub(crate) async fn next(&mut self) -> Seen {
        let event = within("event", self.events.recv()).await.unwrap();
        (event.name().to_owned(), event.data().unwrap())
    }

    /// The next event of a name; others before it are dropped.
    pub(crate) async fn next_of(&mut self, name: &str) -> Value {
        loop {
            let (event, data) = self.next().await;
            if event == name {
                return data;
            }
        }
    }

    /// Everything that was sent to this client before now: the server answers a ping behind it.
    pub(crate) async fn seen(&mut self) -> Vec<Seen> {
        self.handled().await;
        let mut seen = Vec::new();
        while let Some(Ok(event)) = self.events.try_recv() {
            seen.push((event.name().to_owned(), event.data().unwrap()));
        }
        seen
    }

    /// The bodies of the updates that were sent to this client before now.
    pub(crate) async fn updates(&mut self) -> Vec<Value> {
        let seen = self.seen().await;
        seen.into_iter()
            .filter(|(name, _)| name == "update")
            .map(|(_, data)| data["body"].clone())
            .collect()
    }

    /// The ephemerals that were sent to this client before now.
    pub(crate) async fn ephemerals(&mut self) -> Vec<Value> {
        let seen = self.seen().await;
        seen.into_iter()
            .filter(|(name, _)| name == "ephemeral")
            .map(|(_, data)| data)
            .collect()
    }

    /// How the connection ended; events before the end are dropped.
    pub(crate) async fn ended(&mut self) -> touchstone_client::End {
        within("end of the connection", async {
            loop {
                if let Err(end) = self.events.recv().await {
                    return end;
                }
            }
        })
        .await
    }
}
