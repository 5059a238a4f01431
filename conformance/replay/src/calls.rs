//! What clients did to which value, from when to when, and which of it was under way at the same time.
//!
//! A call is under way until its answer. One that has none is so until what it causes has come, or
//! until a later call of its connection was answered; else for ever: nobody knows when it took effect.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use touchstone_client::trace::Traced;
use touchstone_fixtures::{
    BROADCASTS, Level, Subject, ack_variants, broadcast, caused_by, schema, subject_of,
};

use super::{
    heard::{Heard, What, type_of},
    script::{Act, Recording},
};

/// One thing that a client did.
pub(super) struct Call {
    /// The event, or method and route, [`CONNECT`] or [`LEAVES`].
    pub(super) name: String,
    pub(super) data: Value,
    /// Whether the contract knows what it sent.
    pub(super) is_known: bool,
    pub(super) from_us: u64,
    until_us: u64,
    /// What it touches, see [`aspect`]. A request for a list touches [`EVERYTHING`].
    pub(super) keys: Vec<String>,
    /// The id that broadcasts about it have, where the client knows it.
    pub(super) subject: Option<String>,
    pub(super) conn: String,
    account: Option<String>,
}

/// A machine's connection is opened, or closed.
pub(super) const CONNECT: &str = "connect";
pub(super) const LEAVES: &str = "leaves";
/// What a request touches that lists what an account has.
const EVERYTHING: &str = "*";
/// What a request may touch of the entity that it names.
const ASPECTS: [&str; 5] = ["", "metadata", "state", "messages", "presence"];

/// One value of an entity: each has versions or numbers of its own.
pub(super) fn aspect(aspect: &str, id: &str) -> String {
    format!("{aspect} of {id}")
}

/// An RPC method of an account.
pub(super) fn method_key(account: Option<&str>, method: &str) -> String {
    format!("method {method} of {account:?}")
}

/// A message, which has one `localId` however often it is sent, or at least one content.
fn message_key(session: &str, local_id: &Value, content: &Value) -> String {
    let name = local_id.as_str().or(content.as_str()).unwrap_or_default();
    format!("message {name} of {session}")
}

/// The message that the body of a `new-message` tells of.
pub(super) fn told_message(body: &Value) -> Option<String> {
    let (session, message) = (body["sid"].as_str()?, &body["message"]);
    Some(message_key(
        session,
        &message["localId"],
        &message["content"]["c"],
    ))
}

/// The settings of an account.
pub(super) fn settings_key(account: Option<&str>) -> String {
    format!("settings of {account:?}")
}

/// What was done in a recording.
pub(super) struct Calls {
    pub(super) all: Vec<Call>,
    /// The calls that have answers, by connection and ack id, and requests by their index.
    pub(super) by_ack: HashMap<(String, u64), usize>,
    pub(super) by_request: HashMap<usize, usize>,
    /// Since when several touched a value at the same time.
    contended: HashMap<String, u64>,
    /// The same of any value of an account.
    accounts: HashMap<Option<String>, u64>,
    /// Requests for lists that met a change.
    met: HashSet<usize>,
}

impl Calls {
    pub(super) fn new(recording: &Recording) -> Self {
        let mut calls = Self {
            all: Vec::with_capacity(recording.steps.len()),
            by_ack: HashMap::new(),
            by_request: HashMap::new(),
            contended: HashMap::new(),
            accounts: HashMap::new(),
            met: HashSet::new(),
        };
        calls.read(recording);
        calls.end(&recording.heard);
        calls.meet();
        calls.name(&recording.heard);
        calls
    }

    /// Whether a call met another one about the same value, or came after such.
    pub(super) fn is_contended(&self, at: usize, until_us: u64) -> bool {
        let call = &self.all[at];
        let is_list = call.keys.iter().any(|key| key == EVERYTHING);
        let has_met = |since: Option<&u64>| since.is_some_and(|since| *since <= until_us);
        self.met.contains(&at)
            || (is_list && has_met(self.accounts.get(&call.account)))
            || call.keys.iter().any(|key| self.is_raced(key, until_us))
    }

    /// Whether several touched a value at the same time, by then.
    pub(super) fn is_raced(&self, key: &str, until_us: u64) -> bool {
        self.contended
            .get(key)
            .is_some_and(|since| *since <= until_us)
    }

    fn read(&mut self, recording: &Recording) {
        let mut machines: HashMap<&str, &str> = HashMap::new();
        let mut methods: HashMap<&str, Vec<String>> = HashMap::new();
        let mut owners: HashMap<String, &str> = HashMap::new();
        for step in &recording.steps {
            let conn = step.conn.as_str();
            let account = recording.account_of(conn);
            let mut call = Call {
                name: String::new(),
                data: Value::Null,
                is_known: true,
                from_us: step.t_us,
                until_us: u64::MAX,
                keys: Vec::new(),
                subject: None,
                conn: conn.to_owned(),
                account,
            };
            match &step.act {
                Act::Send(Traced::Connect(auth)) => {
                    let Some(machine) = auth["machineId"].as_str() else {
                        continue;
                    };
                    machines.insert(conn, machine);
                    CONNECT.clone_into(&mut call.name);
                    call.keys = vec![aspect("presence", machine)];
                    call.subject = Some(machine.to_owned());
                }
                Act::Close => {
                    LEAVES.clone_into(&mut call.name);
                    call.subject = machines.get(conn).map(|&machine| machine.to_owned());
                    let presence = call.subject.as_deref().map(|id| aspect("presence", id));
                    call.keys.extend(presence);
                    call.keys.extend(methods.remove(conn).unwrap_or_default());
                    if call.keys.is_empty() {
                        continue;
                    }
                }
                Act::Send(Traced::Event {
                    name, args, ack, ..
                }) => {
                    let data = args.data();
                    call.is_known = data.as_ref().is_ok_and(|data| is_known(name, data));
                    call.data = data.unwrap_or_default();
                    call.keys = touched(call.account.as_deref(), name, &call.data);
                    let id = subject_of(name).map(|(_, key)| &call.data[key]);
                    call.subject = id.and_then(Value::as_str).map(str::to_owned);
                    call.name.clone_from(name);
                    if name == "rpc-register"
                        && let [key] = &call.keys[..]
                    {
                        let owner = owners.entry(key.clone()).or_insert(conn);
                        if *owner != conn {
                            // Which of them is asked is the server's choice.
                            self.contended.entry(key.clone()).or_insert(step.t_us);
                        }
                        methods.entry(conn).or_default().push(key.clone());
                    }
                    if let Some(id) = ack.filter(|_| is_answered(name)) {
                        self.by_ack
                            .entry((conn.to_owned(), id))
                            .or_insert(self.all.len());
                    }
                }
                Act::Http(index, exchange) => {
                    let path = exchange.url.split('?').next().unwrap_or_default();
                    call.data = exchange.request.clone().unwrap_or_default();
                    let entity = path.split('/').nth(3);
                    let named = ["id", "tag"]
                        .iter()
                        .find_map(|key| call.data[*key].as_str());
                    let of_store = keys_of_store(path, &call.data);
                    call.keys = match entity.or(named) {
                        _ if !of_store.is_empty() => of_store,
                        Some("settings") => vec![settings_key(call.account.as_deref())],
                        Some(id) => ASPECTS.iter().map(|one| aspect(one, id)).collect(),
                        None if exchange.method == "GET" => vec![EVERYTHING.to_owned()],
                        None => vec![path.to_owned()],
                    };
                    if let Some(session) = entity {
                        let posted = call.data["messages"].as_array().into_iter().flatten();
                        let posted = posted.map(|message| {
                            message_key(session, &message["localId"], &message["content"])
                        });
                        call.keys.extend(posted);
                    }
                    call.name = format!("{} {path}", exchange.method);
                    call.subject = call.data["id"].as_str().map(str::to_owned);
                    if let Some(entity) = entity.filter(|_| causes(&call.name).next().is_none()) {
                        call.name = call.name.replacen(&format!("/{entity}"), "/:id", 1);
                        call.subject = Some(entity.to_owned());
                    }
                    self.by_request.insert(*index, self.all.len());
                }
                _ => continue,
            }
            self.all.push(call);
        }
    }

    /// Finds out until when each was under way.
    fn end(&mut self, heard: &[Heard]) {
        let mut caused: HashMap<String, Vec<u64>> = HashMap::new();
        let mut answered: HashMap<&str, Vec<(u64, u64)>> = HashMap::new();
        for one in heard {
            let at = match &one.what {
                What::Ack { id, .. } => self.by_ack.get(&(one.conn.clone(), *id)),
                What::Answered(index, Some(_)) => self.by_request.get(index),
                What::Admitted(_) => {
                    let effect = format!("{CONNECT} {}", one.conn);
                    caused.entry(effect).or_default().push(one.t_us);
                    None
                }
                What::Event { name, args, .. } => {
                    if let Some(effect) = effect(name, args) {
                        caused.entry(effect).or_default().push(one.t_us);
                    }
                    None
                }
                _ => None,
            };
            let Some(call) = at.map(|at| &mut self.all[*at]) else {
                continue;
            };
            call.until_us = one.t_us.min(call.until_us);
            answered
                .entry(&one.conn)
                .or_default()
                .push((call.from_us, one.t_us));
        }
        for times in answered.values_mut() {
            times.sort_unstable();
            // Of each the first answer to a call that was made then or later.
            for at in (1..times.len()).rev() {
                times[at - 1].1 = times[at].1.min(times[at - 1].1);
            }
        }
        let is_asked: HashSet<usize> = self.by_ack.values().copied().collect();
        for (at, call) in self.all.iter_mut().enumerate() {
            if is_asked.contains(&at) || call.name.contains(' ') {
                continue;
            }
            let came = call.effect().and_then(|effect| {
                let times = caused.get(&effect)?;
                // Whichever sender a message is of, it is told until then.
                let at = match call.name.as_str() {
                    "message" => times.len() - 1,
                    _ => times.partition_point(|time| *time < call.from_us),
                };
                times.get(at).copied().filter(|at| *at >= call.from_us)
            });
            let later = answered.get(call.conn.as_str()).and_then(|times| {
                let first = times.partition_point(|(from, _)| *from <= call.from_us);
                times.get(first).map(|(_, answered)| *answered)
            });
            call.until_us = came.into_iter().chain(later).min().unwrap_or(call.until_us);
        }
    }

    /// What several make at the same time under one tag is raced by its id, too.
    fn name(&mut self, heard: &[Heard]) {
        for one in heard {
            let What::Answered(index, Some((_, body))) = &one.what else {
                continue;
            };
            let call = self.by_request.get(index).map(|at| &self.all[*at]);
            let Some(call) = call.filter(|call| call.name == "POST /v1/sessions") else {
                continue;
            };
            let raced = call.keys.iter().find_map(|key| self.contended.get(key));
            if let (Some(since), Some(id)) = (raced.copied(), body["session"]["id"].as_str()) {
                for one in ASPECTS {
                    self.contended.entry(aspect(one, id)).or_insert(since);
                }
            }
        }
    }

    /// Finds out what was under way at the same time.
    fn meet(&mut self) {
        let mut open: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut lists: HashMap<&Option<String>, Vec<usize>> = HashMap::new();
        let mut changing: HashMap<&Option<String>, u64> = HashMap::new();
        for (at, call) in self.all.iter().enumerate() {
            let from = call.from_us;
            let lists = lists.entry(&call.account).or_default();
            lists.retain(|list| self.all[*list].until_us >= from);
            if call.keys.iter().any(|key| key == EVERYTHING) {
                if changing
                    .get(&call.account)
                    .is_some_and(|until| *until >= from)
                {
                    self.met.insert(at);
                }
                lists.push(at);
                continue;
            }
            if !call.is_read() && !call.keys.is_empty() {
                self.met.extend(lists.iter());
                let until = changing.entry(&call.account).or_default();
                *until = call.until_us.max(*until);
            }
            for key in &call.keys {
                if self.contended.get(key).is_some_and(|since| *since <= from) {
                    continue;
                }
                let open = open.entry(key).or_default();
                open.retain(|other| self.all[*other].until_us >= from);
                if open.iter().any(|other| call.races(&self.all[*other])) {
                    let since = self.contended.entry(key.clone()).or_insert(from);
                    *since = from.min(*since);
                    let since = self.accounts.entry(call.account.clone()).or_insert(from);
                    *since = from.min(*since);
                }
                open.push(at);
            }
        }
    }
}

impl Call {
    fn is_read(&self) -> bool {
        self.name.starts_with("GET ")
            || matches!(self.name.as_str(), "artifact-read" | "access-key-get")
    }

    /// Whether either could come first, and it makes a difference.
    fn races(&self, other: &Self) -> bool {
        let are_messages = self.name == "message" && other.name == "message";
        // The messages of one sender are in order.
        let are_in_order = are_messages && self.conn == other.conn;
        !(are_in_order || self.is_read() && other.is_read())
    }

    /// What shows that it took effect, as [`effect`] calls it.
    fn effect(&self) -> Option<String> {
        let name = match self.name.as_str() {
            CONNECT => return Some(format!("{CONNECT} {}", self.conn)),
            LEAVES => "machine-activity false",
            "message" => {
                let session = self.data["sid"].as_str()?;
                return Some(message_key(
                    session,
                    &self.data["localId"],
                    &self.data["message"],
                ));
            }
            "session-alive" => "activity true",
            "session-end" => "activity false",
            "machine-alive" => "machine-activity true",
            _ => return None,
        };
        Some(format!("{name} {}", self.subject.as_ref()?))
    }
}

/// What an event shows to have happened.
fn effect(name: &str, args: &Value) -> Option<String> {
    let kind = broadcast(type_of(name, args))?;
    let payload = args.get(0)?;
    if kind.name == "new-message" {
        return told_message(&payload["body"]);
    }
    let (_, id) = kind.id(payload)?;
    let is_active = payload["active"].as_bool()?;
    Some(format!("{} {is_active} {id}", kind.name))
}

/// What a request touches that writes or reads several keys of the key-value store.
fn keys_of_store(path: &str, data: &Value) -> Vec<String> {
    let each = |list: &str| data[list].as_array().into_iter().flatten();
    let keys: Vec<_> = match path {
        "/v1/kv" => each("mutations").map(|mutation| &mutation["key"]).collect(),
        "/v1/kv/bulk" => each("keys").collect(),
        _ => Vec::new(),
    };
    let names = keys.into_iter().filter_map(Value::as_str);
    names.map(|key| aspect("", key)).collect()
}

/// Whether the contract knows this event with this data.
fn is_known(name: &str, data: &Value) -> bool {
    let Some(schema) = schema(&format!("event/{name}")) else {
        return false;
    };
    let violations = schema.validate(data).err().unwrap_or_default();
    violations.iter().all(|one| one.level != Level::Must)
}

fn is_answered(name: &str) -> bool {
    !ack_variants(name).is_empty()
}

/// What an event touches.
fn touched(account: Option<&str>, name: &str, data: &Value) -> Vec<String> {
    let Some((subject, key)) = subject_of(name) else {
        return Vec::new();
    };
    let Some(id) = data[key].as_str() else {
        return Vec::new();
    };
    match name {
        "message" => {
            let message = message_key(id, &data["localId"], &data["message"]);
            vec![aspect("messages", id), message]
        }
        "session-alive" | "session-end" | "machine-alive" => vec![aspect("presence", id)],
        "update-metadata" | "machine-update-metadata" => vec![aspect("metadata", id)],
        "update-state" | "machine-update-state" => vec![aspect("state", id)],
        "usage-report" => vec![aspect("usage", &data["key"].to_string())],
        _ if subject == Subject::Method => vec![method_key(account, id)],
        _ => vec![aspect("", id)],
    }
}

/// The broadcasts that a call makes a server send.
pub(super) fn causes(name: &str) -> impl Iterator<Item = &'static str> + use<'_> {
    let by_event = caused_by(name).map(|one| one.name);
    let by_presence = matches!(name, CONNECT | LEAVES).then_some("machine-activity");
    let by_request = BROADCASTS
        .iter()
        .filter(move |one| name.contains(' ') && one.causes.contains(&name));
    by_event
        .into_iter()
        .chain(by_presence)
        .chain(by_request.map(|one| one.name))
}
