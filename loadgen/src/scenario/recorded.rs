//! A scenario of what was recorded: who was connected, and how often each role emitted what, of which size.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

use serde_json::Value;
use touchstone_client::Direction;
use touchstone_client::trace::{Kind, Record, Traced};

use super::{EventKind, Role, Scenario, ScenarioError, Span};

/// Gaps that differ less than this from their mean are those of a timer.
const STEADY: f64 = 0.25;
/// The largest content that a scenario may have.
const LARGEST: u32 = 900_000;

/// What a recording has of it so far.
#[derive(Debug, Default)]
pub struct Recorded {
    connections: HashMap<String, Connection>,
    accounts: BTreeSet<String>,
    open: BTreeMap<Role, Open>,
    traffic: BTreeMap<(Role, EventKind), Stream>,
    /// Remote calls that a callee has not answered yet: their connection, id and time.
    requests: HashMap<(String, u64), u64>,
    handled_us: Vec<u64>,
    registrations: BTreeMap<Role, u32>,
    /// Events that no scenario has.
    others: BTreeMap<String, u64>,
    first_us: Option<u64>,
    last_us: u64,
}

#[derive(Debug)]
struct Connection {
    role: Role,
    /// The account, or what of it the connection is for.
    of: String,
    since_us: u64,
    last_us: HashMap<EventKind, u64>,
}

/// The connections of a role.
#[derive(Debug, Default)]
struct Open {
    /// By what they are for: how many there are now.
    now: BTreeMap<String, u32>,
    /// The most that there were at once, of things and of connections.
    most: (usize, u32),
    count: u32,
    time_us: u64,
}

/// The emits of one event by a role.
#[derive(Debug, Default)]
struct Stream {
    sizes: Vec<u32>,
    gaps_us: Vec<u64>,
    emitters: BTreeSet<String>,
}

impl Recorded {
    /// Looks at the next record.
    pub fn see(&mut self, record: &Record) {
        self.first_us.get_or_insert(record.t_us);
        self.last_us = self.last_us.max(record.t_us);
        match &record.kind {
            Kind::Packet(Direction::Sent, Traced::Connect(auth)) => self.connect(record, auth),
            Kind::Packet(Direction::Sent, Traced::Event { name, args, .. }) => {
                let data = args.data().unwrap_or(Value::Null);
                self.emit(record, name, &data);
            }
            Kind::Packet(
                Direction::Received,
                Traced::Event {
                    name,
                    ack: Some(id),
                    ..
                },
            ) if name == "rpc-request" => {
                let request = (record.conn.clone(), *id);
                self.requests.insert(request, record.t_us);
            }
            Kind::Packet(Direction::Sent, Traced::Ack { id, .. }) => {
                if let Some(began) = self.requests.remove(&(record.conn.clone(), *id)) {
                    self.handled_us.push(record.t_us.saturating_sub(began));
                }
            }
            Kind::Packet(_, Traced::Disconnect | Traced::Close) => self.end(record),
            Kind::Mark(text) if text.starts_with("ended") => self.end(record),
            _ => {}
        }
    }

    fn connect(&mut self, record: &Record, auth: &Value) {
        let text = |key: &str| auth[key].as_str().unwrap_or_default().to_owned();
        let account = text("token");
        let (role, of) = match auth["clientType"].as_str() {
            Some("session-scoped") => (Role::Session, text("sessionId")),
            Some("machine-scoped") => (Role::Machine, text("machineId")),
            _ => (Role::User, account.clone()),
        };
        self.end(record);
        self.accounts.insert(account);
        let open = self.open.entry(role).or_default();
        *open.now.entry(of.clone()).or_default() += 1;
        open.count += 1;
        let connections = open.now.values().sum::<u32>();
        open.most = (
            open.most.0.max(open.now.len()),
            open.most.1.max(connections),
        );
        let connection = Connection {
            role,
            of,
            since_us: record.t_us,
            last_us: HashMap::new(),
        };
        self.connections.insert(record.conn.clone(), connection);
    }

    fn end(&mut self, record: &Record) {
        let Some(connection) = self.connections.remove(&record.conn) else {
            return;
        };
        self.leave(&connection, record.t_us);
    }

    fn leave(&mut self, connection: &Connection, at_us: u64) {
        let open = self.open.entry(connection.role).or_default();
        open.time_us += at_us.saturating_sub(connection.since_us);
        if let Some(now) = open.now.get_mut(&connection.of) {
            *now -= 1;
            if *now == 0 {
                open.now.remove(&connection.of);
            }
        }
    }

    fn emit(&mut self, record: &Record, name: &str, data: &Value) {
        let Some(connection) = self.connections.get_mut(&record.conn) else {
            return;
        };
        if name == "rpc-register" {
            *self.registrations.entry(connection.role).or_default() += 1;
            return;
        }
        let mut kinds = EventKind::ALL.into_iter();
        // A session's end is no traffic of its own.
        let kind = kinds.find(|kind| kind.name() == name && *kind != EventKind::SessionEnd);
        let Some(kind) = kind else {
            *self.others.entry(name.to_owned()).or_default() += 1;
            return;
        };
        let stream = self.traffic.entry((connection.role, kind)).or_default();
        if let Some(last_us) = connection.last_us.insert(kind, record.t_us) {
            stream.gaps_us.push(record.t_us.saturating_sub(last_us));
        }
        stream.emitters.insert(record.conn.clone());
        stream.sizes.push(content(data));
    }

    /// The scenario as text, with the name of what it was made from.
    ///
    /// # Errors
    /// The recording has no connection, or comes to no scenario.
    pub fn scenario(mut self, from: &str) -> Result<String, ScenarioError> {
        let problem = |problem: &str| ScenarioError {
            name: from.to_owned(),
            problem: problem.to_owned(),
        };
        let end_us = self.last_us;
        for connection in std::mem::take(&mut self.connections).into_values() {
            self.leave(&connection, end_us);
        }
        if self.open.is_empty() {
            return Err(problem("it has no CONNECT of a client"));
        }
        let text = self.text(from);
        Scenario::parse(from, &text).map(|_| text)
    }

    fn text(&self, from: &str) -> String {
        let length_us = self.last_us - self.first_us.unwrap_or(self.last_us);
        // A recording of less than a second says nothing about rates.
        let length = Span::from_millis((length_us / 1_000).max(1_000));
        let most = |role| self.open.get(&role).map_or((0, 0), |open| open.most);
        let accounts = self.accounts.len().max(1);
        let of_others = |subject: Role| {
            let mut streams = self.traffic.keys();
            streams.any(|(role, kind)| {
                *role != subject
                    && (kind.subject() == Some(subject)
                        || *kind == EventKind::AccessKeyGet && subject == Role::Machine)
            })
        };
        // Where connections of other roles do something with sessions or machines, each account has one.
        let things = |role| match of_others(role) {
            true => most(role).0.max(accounts),
            false => most(role).0,
        };
        let (sessions, connections) = (things(Role::Session), most(Role::Session).1 as usize);
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "# Made from {from}: a recording of {length}.\n\
             description = {}\n\n\
             [population]\naccounts = {accounts}\nusers = {}\nsessions = {sessions}\n\
             per-session = {}\nmachines = {}\n",
            Value::from(format!("as recorded in {from}")),
            most(Role::User).1,
            connections.div_ceil(sessions.max(1)).max(1),
            things(Role::Machine),
        );
        let is_called = self
            .traffic
            .keys()
            .any(|(_, kind)| *kind == EventKind::RpcCall);
        let mut registers = false;
        for role in Role::ALL {
            let count = self.registrations.get(&role).copied().unwrap_or(0);
            let of = self.open.get(&role).map_or(0, |open| open.count);
            if count > 0 && of > 0 {
                registers = true;
                let each = count.div_ceil(of);
                let _ = write!(text, "\n[{}]\nregistrations = {each}\n", role.word());
            }
        }
        if is_called && !registers {
            text.push_str(
                "\n# Nobody registered a method while it was recorded, and calls need one.\n",
            );
            text.push_str("[user]\nregistrations = 1\n");
        }
        let mut handled = self.handled_us.clone();
        handled.sort_unstable();
        if let (Some(least), Some(median)) = (handled.first(), quantile(&handled, 0.5)) {
            let jitter = Span::from_us(2 * (median - least));
            let delay = Span::from_us(*least);
            let _ = write!(
                text,
                "\n[rpc]\nhandler-delay = \"{delay}\"\nhandler-jitter = \"{jitter}\"\n"
            );
        }
        let _ = write!(
            text,
            "\n[[phases]]\nname = \"connect\"\nduration = \"2s\"\nload = 0\ncounted = false\n\
             \n[[phases]]\nname = \"recorded\"\nduration = \"{length}\"\n"
        );
        for ((role, kind), stream) in &self.traffic {
            self.traffic_text(&mut text, *role, *kind, stream);
        }
        if !self.others.is_empty() {
            text.push_str("\n# Not in it, since no scenario has them:\n");
            for (name, count) in &self.others {
                let name: String = name
                    .chars()
                    .filter(|char| !char.is_control())
                    .take(60)
                    .collect();
                let _ = writeln!(text, "#   {count} {name}");
            }
        }
        text
    }

    fn traffic_text(&self, text: &mut String, role: Role, kind: EventKind, stream: &Stream) {
        let (time_us, all) = self
            .open
            .get(&role)
            .map_or((0, 1), |open| (open.time_us, open.count));
        let emitters = stream.emitters.len() as u64;
        let permille = (emitters * 1_000)
            .div_ceil(u64::from(all.max(1)))
            .clamp(1, 1_000);
        let count = stream.sizes.len() as u64;
        let every_us =
            u128::from(time_us) * u128::from(permille) / 1_000 / u128::from(count.max(1));
        let every = Span::from_us(u64::try_from(every_us).unwrap_or(u64::MAX).max(10));
        let _ = write!(
            text,
            "\n# {count} in the recording\n[[traffic]]\nfrom = \"{}\"\nevent = \"{}\"\nevery = \"{every}\"\n",
            role.word(),
            kind.name(),
        );
        if is_timer(&stream.gaps_us) {
            text.push_str("timing = \"periodic\"\n");
        }
        if permille < 1_000 {
            let _ = writeln!(text, "share = 0.{permille:03}");
        }
        let mut sizes = stream.sizes.clone();
        sizes.sort_unstable();
        let at = |part| quantile(&sizes, part).unwrap_or(0).clamp(1, LARGEST);
        let (median, p95, p999) = (at(0.5), at(0.95), at(0.999));
        match sizes.last() {
            None | Some(0) => {}
            _ if median == p999 => _ = writeln!(text, "size = {median}"),
            _ => {
                _ = writeln!(
                    text,
                    "size = {{ median = {median}, p95 = {p95}, p999 = {p999} }}"
                );
            }
        }
    }
}

/// The bytes of what is opaque in an event: its longest text that is no id.
fn content(data: &Value) -> u32 {
    let Some(map) = data.as_object() else {
        return 0;
    };
    const OPAQUE: [&str; 7] = [
        "message",
        "metadata",
        "agentState",
        "daemonState",
        "header",
        "body",
        "params",
    ];
    let texts = OPAQUE.iter().filter_map(|key| match map.get(*key)? {
        Value::String(text) => Some(text.len()),
        other => Some(other.to_string().len()),
    });
    u32::try_from(texts.max().unwrap_or(0)).unwrap_or(LARGEST)
}

/// Of sorted values, the one below which this part of them is.
fn quantile<T: Copy>(sorted: &[T], part: f64) -> Option<T> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within the length of a slice"
    )]
    let at = (part * sorted.len() as f64) as usize;
    sorted.get(at.min(sorted.len().checked_sub(1)?)).copied()
}

/// Whether the gaps are about equal.
fn is_timer(gaps_us: &[u64]) -> bool {
    if gaps_us.len() < 3 {
        return false;
    }
    let count = gaps_us.len() as f64;
    let mean = gaps_us.iter().map(|gap| *gap as f64).sum::<f64>() / count;
    let squares = gaps_us.iter().map(|gap| (*gap as f64 - mean).powi(2));
    let deviation = (squares.sum::<f64>() / count).sqrt();
    deviation < STEADY * mean
}

#[cfg(test)]
mod tests;
