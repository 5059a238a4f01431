//! Faults in what becomes of what is refused, and what they remember for that: whose rows there are, what
//! was refused, who is connected with ids too many, which calls are under way.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use touchstone_reference_server::seams::{
    Account, Admission, Asked, Call, Connection, ConnectionId, Emission, Frame, HttpAnswer,
    HttpRequest, Routed as _, Scope, Seams, Server,
};

use crate::{Fault, Faults};

/// Everything that is remembered.
#[derive(Debug, Default)]
pub(crate) struct Records {
    /// What making a machine or artifact was answered last, over HTTP.
    pub(crate) last_made: Option<Value>,
    /// What artifact-create was answered last.
    last_artifact: Option<Value>,
    /// The account that a session, machine or artifact belongs to, by its id.
    owners: HashMap<String, String>,
    /// What lists say of a row instead of the truth, by its id.
    stored: HashMap<String, Map<String, Value>>,
    /// Messages that lists have beside the right ones, by session.
    messages: HashMap<String, Vec<Value>>,
    /// The accounts that valid tokens have opened, by the beginning of these.
    tokens: HashMap<String, Arc<Account>>,
    /// The session that a user-scoped connection has named which has sent nothing yet, by account.
    coming: HashMap<String, String>,
    /// Those that have: the connection and the session.
    surplus: Vec<(Arc<Connection>, String)>,
    /// The connections that have sent something.
    served: HashSet<ConnectionId>,
    /// How many writers have expected a version, by row, field and version.
    writers: HashMap<String, u32>,
    /// What a message says that was sent last with a localId.
    contents: HashMap<String, Value>,
    /// Who has registered a method first, by account and method.
    registrants: HashMap<String, ConnectionId>,
    /// How many calls are under way.
    calls: u64,
    /// How many refused reports of usage an account has, by account.
    usage: HashMap<String, u64>,
    /// What was to be written last, by key.
    asked: HashMap<String, Value>,
    /// The data of access keys that was refused, by the data that was kept.
    refused_keys: HashMap<String, Value>,
    /// What a call was answered last.
    last_answer: Option<Value>,
}

/// Where the fields of an event go that changes a row: the event, the key of its id, the fields.
const CHANGES: &[(&str, &str, &[&str])] = &[
    ("update-metadata", "sid", &["metadata"]),
    ("update-state", "sid", &["agentState"]),
    ("machine-update-metadata", "machineId", &["metadata"]),
    ("machine-update-state", "machineId", &["daemonState"]),
    ("artifact-update", "artifactId", &["header", "body"]),
];

/// How much of a token the fault `token-end-unchecked` looks at, in percent.
const LOOKED_AT: usize = 50;

/// How many writers make a race.
const RACE: u32 = 3;

/// What tells writers of one version of a field from others.
fn version_of(id: &str, field: &str, version: i64) -> String {
    format!("{id} {field} {version}")
}

fn beginning(token: &str) -> String {
    token.chars().take(token.len() * LOOKED_AT / 100).collect()
}

impl Records {
    /// A client has sent CONNECT.
    fn admit(&mut self, faults: &Faults, auth: &Value, right: Admission) -> Admission {
        let token = auth["token"].as_str().unwrap_or_default();
        match right {
            Admission::Admitted { account, scope } => {
                if faults.on(Fault::TokenEndUnchecked) {
                    self.tokens.insert(beginning(token), Arc::clone(&account));
                }
                let is_user = matches!(scope, Scope::User);
                if let Some(session) = auth["sessionId"].as_str().filter(|_| is_user) {
                    let account = account.id().to_owned();
                    self.coming.insert(account, session.to_owned());
                }
                Admission::Admitted { account, scope }
            }
            right => match self.tokens.get(&beginning(token)) {
                Some(account) if token.len() > 20 => Admission::Admitted {
                    account: Arc::clone(account),
                    scope: Scope::User,
                },
                _ => right,
            },
        }
    }

    /// An event has come in.
    pub(crate) fn call(&mut self, faults: &Faults, call: &mut Call<'_>) {
        if self.served.insert(call.connection.id())
            && let Some(session) = self.coming.remove(call.connection.account_id())
        {
            self.surplus.push((Arc::clone(call.connection), session));
        }
        let account = call.connection.account_id();
        let is_foreign = |id: &str| self.owners.get(id).is_some_and(|owner| owner != account);
        let data = &*call.data;
        match call.event {
            "rpc-register" if faults.on(Fault::RpcUnknownRefused) => {
                if let Scope::Session(id) | Scope::Machine(id) = call.connection.scope()
                    && !self.owners.contains_key(id)
                {
                    // Without a name it is refused.
                    call.data.clear();
                }
            }
            "rpc-register" if faults.on(Fault::RpcSecondRefused) => {
                let method = data.get("method").and_then(Value::as_str);
                let name = format!("{account} {}", method.unwrap_or_default());
                let first = self.registrants.entry(name).or_insert(call.connection.id());
                if *first != call.connection.id() {
                    call.data.clear();
                }
            }
            "message" => {
                if faults.on(Fault::DedupeOverwrites)
                    && let Some(local_id) = data.get("localId").and_then(Value::as_str)
                    && let Some(content) = data.get("message")
                {
                    self.contents.insert(local_id.to_owned(), content.clone());
                }
                let foreign = data.get("sid").and_then(Value::as_str);
                let foreign =
                    foreign.filter(|id| faults.on(Fault::ForeignMessageStored) && is_foreign(id));
                let listed = data.get("sid").and_then(|sid| sid.get(0)?.as_str());
                let listed = listed.filter(|_| faults.on(Fault::MalformedStored));
                if let Some(session) = foreign.or(listed) {
                    let content = json!({"t": "encrypted", "c": data.get("message")});
                    let rows = self.messages.entry(session.to_owned()).or_default();
                    rows.push(
                        json!({"id": "stored", "seq": 0, "content": content, "localId": null}),
                    );
                }
            }
            "usage-report" if faults.on(Fault::UsageForeignStored) => {
                let session = data.get("sessionId").and_then(Value::as_str);
                let owner = session.filter(|id| is_foreign(id));
                if let Some(owner) = owner.and_then(|id| self.owners.get(id)) {
                    *self.usage.entry(owner.clone()).or_default() += 1;
                }
            }
            "session-end" if faults.on(Fault::ForeignEnds) => {
                if let Some(id) = data.get("sid").and_then(Value::as_str)
                    && is_foreign(id)
                {
                    let row = self.stored.entry(id.to_owned()).or_default();
                    row.insert("active".into(), Value::Bool(false));
                }
            }
            event => {
                let Some((_, key, fields)) = CHANGES.iter().find(|(name, ..)| *name == event)
                else {
                    return;
                };
                let version = data.get("expectedVersion");
                if let (Some(id), Some(version)) = (
                    data.get(*key).and_then(Value::as_str),
                    version.and_then(Value::as_i64),
                ) {
                    let name = version_of(id, fields[0], version);
                    *self.writers.entry(name).or_default() += 1;
                }
                let is_negative = version.and_then(Value::as_f64).is_some_and(|at| at < 0.0);
                let is_text = version.is_some_and(Value::is_string);
                let ids: Vec<String> = match data.get(*key) {
                    Some(Value::String(id)) => {
                        let is_stored = faults.on(Fault::ForeignStored) && is_foreign(id)
                            || faults.on(Fault::NegativeStored) && is_negative
                            || faults.on(Fault::MalformedChangeStored) && is_text;
                        is_stored.then(|| id.clone()).into_iter().collect()
                    }
                    Some(Value::Object(_)) if faults.on(Fault::ConditionsMatch) => {
                        let foreign = self.owners.keys().filter(|id| is_foreign(id));
                        foreign.cloned().collect()
                    }
                    _ => Vec::new(),
                };
                for id in ids {
                    let row = self.stored.entry(id).or_default();
                    for field in *fields {
                        let Some(value) = data.get(*field) else {
                            continue;
                        };
                        // The parts of an artifact come with their version.
                        let value = value.get("data").unwrap_or(value);
                        row.insert((*field).to_owned(), value.clone());
                    }
                }
            }
        }
    }

    /// An update or ephemeral goes out.
    fn route(
        &mut self,
        faults: &Faults,
        (now, timeout): (i64, i64),
        emission: &Emission<'_>,
        recipients: &mut Vec<Arc<Connection>>,
    ) {
        if faults.on(Fault::SweptEarly) && emission.payload["type"] == "activity" {
            let at = emission.payload["activeAt"].as_i64().unwrap_or(now);
            if emission.payload["active"] == true && now - at > timeout / 3 {
                let mut gone = emission.payload.clone();
                gone["active"] = Value::Bool(false);
                let frame = Frame::from(format!("2{}", json!(["ephemeral", gone])));
                recipients.iter().for_each(|one| one.push(frame.clone()));
            }
        }
        let body = &emission.payload["body"];
        let kind = body["t"].as_str().unwrap_or_default();
        let id = ["id", "sid", "machineId", "artifactId"];
        let id = id.iter().find_map(|key| body[*key].as_str());
        let Some(id) = id else { return };
        if matches!(kind, "new-session" | "new-machine" | "new-artifact") {
            self.owners
                .insert(id.to_owned(), emission.account.to_owned());
        }
        if matches!(kind, "update-session" | "update-machine") {
            // The losers come after the winner has been announced, so that it meets the next change.
            let raced = ["metadata", "agentState", "daemonState"]
                .iter()
                .any(|field| {
                    let version = body[*field]["version"].as_i64();
                    let name = version.map(|version| version_of(id, field, version - 2));
                    name.and_then(|name| self.writers.get(&name)) >= Some(&RACE)
                });
            if raced && faults.on(Fault::RaceTwice) {
                recipients.extend_from_within(..);
            }
            if raced && faults.on(Fault::RaceSilent) {
                recipients.clear();
            }
        }
        for (connection, session) in &self.surplus {
            let is_own = connection.account_id() == emission.account;
            if session != id && faults.on(Fault::SurplusNarrows) {
                recipients.retain(|one| one.id() != connection.id());
            }
            let wrong = if is_own {
                Fault::SurplusTwice
            } else {
                Fault::SurplusForeign
            };
            if session == id && faults.on(wrong) {
                recipients.push(Arc::clone(connection));
            }
        }
    }

    /// An answer goes out; `None` keeps it back.
    fn answer(&mut self, faults: &Faults, event: &str, mut answer: Value) -> Option<Value> {
        if event == "artifact-create" && faults.on(Fault::ArtifactTaken) {
            let message = answer["message"].as_str().unwrap_or_default();
            if answer["result"] == "success" {
                self.last_artifact = Some(answer.clone());
            } else if message.ends_with("another account") {
                return self.last_artifact.clone();
            }
        }
        if event == "access-key-get"
            && let Some(data) = answer.pointer_mut("/accessKey/data")
            && let Some(refused) = data.as_str().and_then(|kept| self.refused_keys.get(kept))
        {
            *data = refused.clone();
        }
        if event != "rpc-call" {
            return Some(answer);
        }
        let under_way = self.calls;
        self.calls = self.calls.saturating_sub(1);
        let truth = answer.clone();
        if faults.on(Fault::RpcSwapped)
            && under_way >= faults.argument(Fault::RpcSwapped)
            && let Some(last) = self.last_answer.take()
        {
            answer = last;
        }
        self.last_answer = Some(truth);
        (!faults.strikes(Fault::RpcNthUnanswered)).then_some(answer)
    }

    /// A request goes out to a callee.
    pub(crate) fn requested(&mut self) {
        self.calls += 1;
    }

    /// What is answered over HTTP, with what was stored although it was refused.
    fn response(
        &mut self,
        faults: &Faults,
        path: &str,
        owner: Option<&str>,
        answer: &mut HttpAnswer,
    ) {
        let Some(body) = &mut answer.body else { return };
        if path == "/v1/kv" && faults.on(Fault::KvRefusedStored) {
            let errors = body["errors"].as_array().into_iter().flatten();
            for key in errors.filter_map(|error| error["key"].as_str()) {
                if let Some(value) = self.asked.get(key) {
                    let row = self.stored.entry(key.to_owned()).or_default();
                    row.insert("value".into(), value.clone());
                }
            }
        }
        if faults.on(Fault::AccessKeyRefusedStored)
            && let (Some(kept), Some(refused)) =
                (body["currentData"].as_str(), self.asked.get(path))
        {
            self.refused_keys.insert(kept.to_owned(), refused.clone());
        }
        if path == "/v1/usage"
            && let Some(more) = owner.and_then(|owner| self.usage.get(owner))
        {
            let total = body["totalReports"].as_u64().unwrap_or_default();
            body["totalReports"] = Value::from(total + more);
        }
        patch(&self.stored, body);
        let rows = body.get_mut("messages").and_then(Value::as_array_mut);
        for row in rows.into_iter().flatten() {
            let content = row["localId"].as_str().and_then(|id| self.contents.get(id));
            if let Some(content) = content.cloned() {
                row["content"]["c"] = content;
            }
        }
        let session = path
            .strip_suffix("/messages")
            .and_then(|path| path.rsplit('/').next());
        if let Some(rows) = session.and_then(|session| self.messages.get(session))
            && let Some(listed) = body.get_mut("messages").and_then(Value::as_array_mut)
        {
            listed.extend(rows.iter().cloned());
        }
    }
}

/// What becomes of what is refused.
#[derive(Debug)]
pub(crate) struct Refusals(pub(crate) Faults);

impl Seams for Refusals {
    fn admit(&self, _server: &Server, auth: &Value, right: Admission) -> Admission {
        self.0.records().admit(&self.0, auth, right)
    }

    fn route(
        &self,
        server: &Server,
        emission: &Emission<'_>,
        recipients: &mut Vec<Arc<Connection>>,
    ) {
        let timeout = server.config().presence_timeout.as_millis();
        let times = (server.now(), i64::try_from(timeout).unwrap_or(i64::MAX));
        let mut records = self.0.records();
        records.route(&self.0, times, emission, recipients);
    }

    fn answer(&self, _server: &Server, asked: &Asked<'_>, answer: Value) -> Option<Value> {
        self.0.records().answer(&self.0, asked.event, answer)
    }

    fn body(
        &self,
        _server: &Server,
        request: &HttpRequest<'_>,
        body: &mut Value,
    ) -> Option<HttpAnswer> {
        let mut records = self.0.records();
        for mutation in body["mutations"].as_array().into_iter().flatten() {
            if let Some(key) = mutation["key"].as_str() {
                records
                    .asked
                    .insert(key.to_owned(), mutation["value"].clone());
            }
        }
        let path = request.uri.path();
        if path.starts_with("/v1/access-keys/") {
            records.asked.insert(path.to_owned(), body["data"].clone());
        }
        None
    }

    fn response(&self, server: &Server, request: &HttpRequest<'_>, answer: &mut HttpAnswer) {
        let owner = request
            .token
            .and_then(|token| server.account_of_token(token));
        let owner = owner.as_ref().map(|account| account.id());
        let mut records = self.0.records();
        records.response(&self.0, request.uri.path(), owner, answer);
    }
}

/// Puts what is `stored` into each row of its id.
fn patch(stored: &HashMap<String, Map<String, Value>>, value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| patch(stored, item)),
        Value::Object(fields) => {
            let named = ["id", "key"].map(|name| fields.get(name).and_then(Value::as_str));
            let row = named
                .into_iter()
                .flatten()
                .find_map(|name| stored.get(name));
            if let Some(row) = row {
                for (key, value) in row {
                    if let Some(field) = fields.get_mut(key) {
                        *field = value.clone();
                    }
                }
            }
            fields.values_mut().for_each(|field| patch(stored, field));
        }
        _ => {}
    }
}
