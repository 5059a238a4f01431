//! Plays a recording against a server: sends what the clients sent, in the recorded order, and
//! judges what comes back. `README.md` says by which rules. It must not know how the server works.

use std::collections::HashMap;

use serde_json::{Value, json};
use tokio::{
    task::JoinHandle,
    time::{Duration, timeout},
};
use touchstone_client::{Clock, ConnectOptions, End, Reply, provision::Rest};

use super::{
    Failure,
    connection::{Class, Connection, SENTINEL},
    format::{Recording, Step},
    values::{Bindings, shown},
};

/// How much was judged, so that a test notices when a recording has lost its lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// HTTP requests whose answers were compared.
    pub(crate) requests: usize,
    /// Acks that were awaited and compared.
    pub(crate) acks: usize,
    /// Updates, counted per recipient.
    pub(crate) updates: usize,
    /// Ephemerals, calls of an RPC method and confirmed registrations.
    pub(crate) others: usize,
}

/// Replays a recording against the server of `base`.
///
/// `deadline` bounds every single wait. The heartbeats' times come from `clock`.
///
/// # Errors
/// The first thing that went otherwise than recorded.
pub(crate) async fn replay(
    recording: &Recording,
    base: &ConnectOptions,
    clock: Clock,
    deadline: Duration,
) -> Result<Tally, Failure> {
    let mut player = Player {
        base: base.clone(),
        rest: Rest::new(base).map_err(|error| failure(recording.name, "", &error.to_string()))?,
        deadline,
        bindings: Bindings::new(clock),
        connections: HashMap::new(),
        observer: None,
        inflight: HashMap::new(),
        optional: Vec::new(),
        sentinels: 0,
        tally: Tally::default(),
    };
    let mut phase = "start";
    for (line, step) in &recording.lines {
        if let Step::Phase { text } = step {
            phase = text;
        }
        let place = format!("{}:{line}", recording.name);
        let played = player.play(step, &place).await;
        played.map_err(|problem| failure(&place, phase, &problem))?;
    }
    player.finish().await
}

fn failure(place: &str, phase: &str, problem: &str) -> Failure {
    Failure {
        place: place.to_owned(),
        phase: phase.to_owned(),
        problem: problem.to_owned(),
    }
}

/// A request on its way, to its status and body.
type Call = JoinHandle<Result<(u16, Value), String>>;

struct Player {
    base: ConnectOptions,
    rest: Rest,
    deadline: Duration,
    bindings: Bindings,
    connections: HashMap<String, Connection>,
    /// Session-scoped with an id of its own: nothing that is recorded may reach it. It causes the
    /// sentinels.
    observer: Option<Connection>,
    inflight: HashMap<String, Call>,
    /// Updates that may come to a connection that has left.
    optional: Vec<(String, Value)>,
    sentinels: u32,
    tally: Tally,
}

impl Player {
    async fn play(&mut self, step: &Step, place: &str) -> Result<(), String> {
        match step {
            Step::Phase { .. } => Ok(()),
            Step::Request {
                by,
                id,
                method,
                path,
                token,
                body,
                status,
                answer,
            } => {
                let call = self.request(method, path, token.as_deref(), body.as_ref())?;
                match (id, status, answer) {
                    (Some(id), None, None) => {
                        self.inflight.insert(id.clone(), call);
                        Ok(())
                    }
                    (None, Some(status), Some(answer)) => {
                        let judged = self.judge(call, *status, answer).await;
                        judged.map_err(|problem| format!("{method} {path} by {by}: {problem}"))
                    }
                    _ => Err("a request has either an id or its answer".to_owned()),
                }
            }
            Step::Response { to, status, answer } => {
                let call = self
                    .inflight
                    .remove(to)
                    .ok_or_else(|| format!("no request {to}"))?;
                let judged = self.judge(call, *status, answer).await;
                judged.map_err(|problem| format!("answer to {to}: {problem}"))
            }
            Step::Connect { on, auth } => self.connect(on, auth, place).await,
            Step::Emit {
                on,
                event,
                args,
                ack,
            } => self.emit(on, event, args, *ack).await,
            Step::Acked { on, to, args } => self.acked(on, *to, args).await,
            Step::Register {
                on,
                prefix,
                methods,
            } => self.register(on, prefix, methods).await,
            Step::Registered { on } => self.registered(on).await,
            Step::Update {
                on,
                name,
                body,
                may,
            } => {
                let update = json!({
                    "id": format!("<id:{name}>"),
                    "seq": format!("<seq:{name}>"),
                    "body": body,
                    "createdAt": "<ts>",
                });
                if *may {
                    self.optional
                        .extend(on.iter().map(|on| (on.clone(), update.clone())));
                    return Ok(());
                }
                for on in on {
                    self.receive(on, "update", std::slice::from_ref(&update))
                        .await?;
                    self.tally.updates += 1;
                }
                Ok(())
            }
            Step::Receive {
                on,
                event,
                args,
                ack,
            } => {
                let asked = self.receive(on, event, args).await?;
                self.tally.others += 1;
                match (ack, asked) {
                    (Some(recorded), Some(id)) => {
                        self.on(on)?.asked.insert(*recorded, id);
                        Ok(())
                    }
                    (None, None) => Ok(()),
                    (Some(_), None) => Err(format!("{on} got {event} that wants no ack")),
                    (None, Some(_)) => Err(format!("{on} got {event} that wants an ack")),
                }
            }
            Step::Answer { on, to, args } => {
                let args = self.filled(args)?;
                let connection = self.on(on)?;
                let id = connection
                    .asked
                    .remove(to)
                    .ok_or_else(|| format!("nobody asked {to}"))?;
                connection
                    .socket
                    .answer(id, args)
                    .await
                    .map_err(|end| gone(on, &end))
            }
            Step::Disconnect { on } => {
                let connection = self.on(on)?;
                connection.place = place.to_owned();
                connection.socket.disconnect().await;
                connection.drain().await
            }
            Step::Drop { on } => {
                self.prove_silence(on).await?;
                let connection = self.on(on)?;
                connection.place = place.to_owned();
                connection.socket.abort();
                connection.drain().await
            }
        }
    }

    /// Sends a request; the answer is awaited by whoever holds what is returned.
    fn request(
        &mut self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Call, String> {
        let rest = self.rest.clone();
        let method = method.to_owned();
        let path = self.bindings.fill_path(path)?;
        let token = token.map(|token| self.bindings.token(token)).transpose()?;
        let body = body.map(|body| self.bindings.fill(body)).transpose()?;
        Ok(tokio::spawn(async move {
            let answered = rest
                .request(&method, &path, token.as_ref(), body.as_ref())
                .await;
            answered
                .map(|got| (got.status, got.body))
                .map_err(|error| error.to_string())
        }))
    }

    async fn judge(&mut self, call: Call, status: u16, answer: &Value) -> Result<(), String> {
        let joined = timeout(self.deadline, call)
            .await
            .map_err(|_| "no answer in time")?;
        let (got, body) = joined.map_err(|error| error.to_string())??;
        if got != status {
            let body = shown(&body);
            return Err(format!("expected status {status}, got {got} with {body}"));
        }
        self.tally.requests += 1;
        self.bindings.compare(answer, &body)
    }

    async fn connect(&mut self, on: &str, auth: &Value, place: &str) -> Result<(), String> {
        let auth = self.bindings.fill(auth)?;
        if self.observer.is_none() {
            let scope = json!({
                "token": auth["token"],
                "clientType": "session-scoped",
                "sessionId": SENTINEL,
            });
            let options = self.base.clone().auth(scope);
            let opened = Connection::open("the observer", place, options, self.deadline).await;
            self.observer = Some(opened?);
        }
        let options = self.base.clone().auth(auth);
        let opened = Connection::open(on, place, options, self.deadline).await?;
        self.connections.insert(on.to_owned(), opened);
        Ok(())
    }

    async fn emit(
        &mut self,
        on: &str,
        event: &str,
        args: &[Value],
        ack: Option<u64>,
    ) -> Result<(), String> {
        let args = self.filled(args)?;
        let connection = self.on(on)?;
        let Some(recorded) = ack else {
            return connection
                .socket
                .emit(event, args)
                .await
                .map_err(|end| gone(on, &end));
        };
        let pending = connection.socket.request(event, args).await;
        connection
            .pending
            .insert(recorded, pending.map_err(|end| gone(on, &end))?);
        Ok(())
    }

    async fn acked(&mut self, on: &str, to: u64, args: &[Value]) -> Result<(), String> {
        let deadline = self.deadline;
        let pending = self.on(on)?.pending.remove(&to);
        let pending =
            pending.ok_or_else(|| format!("{on} has sent nothing that wants ack {to}"))?;
        let reply = pending
            .within(deadline)
            .await
            .map_err(|error| format!("{on}: {error}"))?;
        self.tally.acks += 1;
        let judged = self.compare(args, &values(&reply)?);
        judged.map_err(|problem| format!("ack {to} to {on}: {problem}"))
    }

    async fn register(&mut self, on: &str, prefix: &str, methods: &[String]) -> Result<(), String> {
        let whole = methods
            .iter()
            .map(|method| json!({"method": format!("{prefix}{method}")}));
        let burst = self.filled(&whole.collect::<Vec<_>>())?;
        let connection = self.on(on)?;
        for data in &burst {
            let sent = connection.socket.emit("rpc-register", data).await;
            sent.map_err(|end| gone(on, &end))?;
        }
        connection.registering = burst;
        Ok(())
    }

    async fn registered(&mut self, on: &str) -> Result<(), String> {
        for data in std::mem::take(&mut self.on(on)?.registering) {
            self.receive(on, "rpc-registered", &[data]).await?;
            self.tally.others += 1;
        }
        Ok(())
    }

    /// Waits for the oldest event of its class and compares it. Returns the id under which the
    /// server wants an ack.
    async fn receive(
        &mut self,
        on: &str,
        event: &str,
        args: &[Value],
    ) -> Result<Option<u64>, String> {
        let class = Class::of(event, args);
        let arrived = self.on(on)?.take(&class).await?;
        let judged = self.compare(args, &arrived.args);
        judged.map_err(|problem| format!("{event} to {on}: {problem}"))?;
        Ok(arrived.ack)
    }

    fn compare(&mut self, expected: &[Value], got: &[Value]) -> Result<(), String> {
        self.bindings
            .compare(&Value::from(expected), &Value::from(got))
    }

    fn filled(&mut self, args: &[Value]) -> Result<Vec<Value>, String> {
        args.iter().map(|arg| self.bindings.fill(arg)).collect()
    }

    fn on(&mut self, name: &str) -> Result<&mut Connection, String> {
        self.connections
            .get_mut(name)
            .ok_or_else(|| format!("no connection {name}"))
    }

    /// Causes an event that must reach a connection after everything that was sent to it before:
    /// for a user-scoped one an update through the router; for the others, whose updates would all
    /// change recorded versions, a call of a method of its own. When it has come, what has not come
    /// before was not sent.
    async fn prove_silence(&mut self, on: &str) -> Result<(), String> {
        let deadline = self.deadline;
        self.sentinels += 1;
        let sentinel = format!("{SENTINEL}-{}", self.sentinels);
        let connection = self.connections.get_mut(on).ok_or("no such connection")?;
        let observer = self.observer.as_ref().ok_or("no observer")?.socket.clone();
        if connection.user_scoped {
            let artifact = json!({
                "id": sentinel,
                "header": "AAAA",
                "body": "AAAA",
                "dataEncryptionKey": "AAAA",
            });
            let created = observer.call("artifact-create", artifact, deadline).await;
            created.map_err(|error| error.to_string())?;
            connection.sentinel("update", &sentinel).await?;
            return Ok(());
        }
        let method = json!({"method": sentinel, "params": null});
        let sent = connection
            .socket
            .emit("rpc-register", json!({"method": sentinel}))
            .await;
        sent.map_err(|end| gone(on, &end))?;
        connection.sentinel("rpc-registered", &sentinel).await?;
        let called = observer.request("rpc-call", &method).await;
        let called = called.map_err(|end| gone("the observer", &end))?;
        let ack = connection.sentinel("rpc-request", &sentinel).await?;
        let id = ack.ok_or("the sentinel's call wants no ack")?;
        connection
            .socket
            .answer(id, json!(null))
            .await
            .map_err(|end| gone(on, &end))?;
        let reply = called
            .within(deadline)
            .await
            .map_err(|error| error.to_string())?;
        self.compare(&[json!({"ok": true, "result": null})], &values(&reply)?)
    }

    /// After the last line: every connection that is still open gets a sentinel, and nothing may
    /// be left over anywhere.
    async fn finish(mut self) -> Result<Tally, Failure> {
        for (on, update) in std::mem::take(&mut self.optional) {
            let judged = self.judge_optional(&on, &update);
            judged.map_err(|problem| failure(&self.place_of(&on), "at the end", &problem))?;
        }
        let mut names: Vec<String> = self.connections.keys().cloned().collect();
        names.sort();
        for name in &names {
            let ended = self.end(name).await;
            ended.map_err(|problem| failure(&self.place_of(name), "at the end", &problem))?;
        }
        let Some(mut observer) = self.observer.take() else {
            return Ok(self.tally);
        };
        observer.socket.disconnect().await;
        let drained = observer.drain().await;
        let left = drained.err().or_else(|| observer.leftover());
        match left {
            Some(problem) => Err(failure(&observer.place, "at the end", &problem)),
            None => Ok(self.tally),
        }
    }

    /// An update to a connection that has left by now: it may have come or not.
    fn judge_optional(&mut self, on: &str, update: &Value) -> Result<(), String> {
        let expected = std::slice::from_ref(update);
        let class = Class::of("update", expected);
        match self.on(on)?.take_if_here(&class) {
            Some(arrived) => self.compare(expected, &arrived.args),
            None => Ok(()),
        }
    }

    /// Where a connection was opened or left.
    fn place_of(&self, name: &str) -> String {
        self.connections
            .get(name)
            .map(|connection| connection.place.clone())
            .unwrap_or_default()
    }

    async fn end(&mut self, name: &str) -> Result<(), String> {
        if self.on(name)?.socket.end().is_none() {
            self.prove_silence(name).await?;
            let connection = self.on(name)?;
            connection.socket.disconnect().await;
            connection.drain().await?;
        }
        let connection = self.on(name)?;
        match (connection.leftover(), connection.socket.stray_acks()) {
            (Some(leftover), _) => Err(leftover),
            (None, 0) => Ok(()),
            (None, stray) => Err(format!("{name} got acks that nobody waits for: {stray}")),
        }
    }
}

fn values(reply: &Reply) -> Result<Vec<Value>, String> {
    reply.args.values().map_err(|error| error.to_string())
}

fn gone(name: &str, end: &End) -> String {
    format!("{name} is gone: {end}")
}
