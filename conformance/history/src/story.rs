//! What happened, as rules want to hear it: connections with their scopes, calls with their answers,
//! deliveries, and exchanges over HTTP, each with the interval in which it took place.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use serde_json::Value;
use touchstone_client::{
    Direction,
    trace::{
        CONTRIVED, DROPPED, Exchange, Kind, QUIET, RESTARTED, RESTARTED_DURABLE, Record, Traced,
    },
};

use crate::account::{Account, Accounts, label};

/// How many unanswered calls and requests of one connection are remembered. Whoever has more of them waits
/// for none of the oldest.
const OPEN: usize = 10_000;

/// How many answered calls of one connection are.
const ANSWERED: usize = 1_000;

/// How many routes are remembered that have answered: a server has fewer.
const ROUTES: usize = 1_000;

/// When something was recorded, and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Microseconds since the trace began.
    pub(crate) at: u64,
    /// The record, counted from 1.
    pub(crate) record: u64,
}

/// For which entity a connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    User,
    Session(String),
    Machine(String),
    /// Another word than the specification has, or none: admitted as user-scoped, or otherwise.
    Unknown,
}

/// A connection that asked to be admitted.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Counted from 1: a name can be used again.
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) account: Account,
    pub(crate) scope: Scope,
    /// Whether it named more than its scope needs, so that a server may serve it for that as well.
    pub(crate) has_surplus: bool,
}

/// A client's event.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) connection: Arc<Connection>,
    pub(crate) event: String,
    pub(crate) data: Value,
    /// Whether it asks for an answer.
    pub(crate) asks: bool,
    /// Whether it was sent before CONNECT was answered, so that it may be lost.
    pub(crate) is_early: bool,
    pub(crate) began: Moment,
}

/// A server's `rpc-request`.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) connection: Arc<Connection>,
    pub(crate) data: Value,
    pub(crate) began: Moment,
}

/// An exchange over HTTP.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    /// The account that it was authorised for, if any.
    pub(crate) account: Option<Account>,
    pub(crate) method: &'a str,
    /// From `/v1`, `/v2` or `/v3` on, without a query.
    pub(crate) path: &'a str,
    /// Whether the answer says that it was done.
    pub(crate) is_done: bool,
    /// Whether it says that there is no such row: 404 where the route is there, which others show that
    /// it did answer. A server may lack any route.
    pub(crate) is_missed: bool,
    pub(crate) exchange: &'a Exchange,
    pub(crate) began: u64,
    pub(crate) ended: Moment,
}

impl<'a> Asked<'a> {
    /// The account that made a session by it, and the session's id.
    pub(crate) fn made_session(&self) -> Option<(Account, &'a str)> {
        if !self.is_done || self.method != "POST" || self.path != "/v1/sessions" {
            return None;
        }
        let answer = self.exchange.response.as_ref()?;
        let id = answer.pointer("/session/id")?.as_str()?;
        Some((self.account?, id))
    }

    /// The account that has a machine of this id from then on, since it posted it.
    pub(crate) fn posted_machine(&self) -> Option<(Account, &'a str)> {
        if !self.is_done || self.method != "POST" || self.path != "/v1/machines" {
            return None;
        }
        let id = self.exchange.request.as_ref()?.get("id")?.as_str()?;
        Some((self.account?, id))
    }
}

/// One thing that happened.
#[derive(Debug)]
pub(crate) enum Happening<'a> {
    /// A connection was admitted.
    Admitted(&'a Arc<Connection>),
    /// A connection ended, or can no longer be relied on: it stopped reading, say. If it was ended by a packet,
    /// this is when.
    Faded(&'a Arc<Connection>, Option<Moment>),
    /// A client sent an event.
    Called(&'a Arc<Call>),
    /// A client sent an event that cannot be read: with attachments, or as JSON that nobody parses.
    Unclear(&'a Arc<Connection>),
    /// A client's event was answered, with this as the first argument.
    Answered(&'a Call, &'a Value, Moment),
    /// A client's event was answered once more.
    AnsweredAgain(&'a Arc<Connection>, Moment),
    /// A server sent an event with this as the first argument.
    Received(&'a Arc<Connection>, &'a str, &'a Value, Moment),
    /// A server sent an `rpc-request`.
    Requested(&'a Arc<Request>),
    /// A client answered an `rpc-request`, with this as the first argument, if there is one that can be read.
    Replied(&'a Request, Option<&'a Value>, Moment),
    /// An exchange over HTTP ended.
    Asked(&'a Asked<'a>),
    /// Whatever was caused before has arrived by now.
    Quiet(Moment),
    /// The server was ended and started again, and whether it says that it keeps what it acknowledged.
    Restarted(bool, Moment),
    /// Records are missing before this one.
    Dropped,
    /// From now on the server sends what nothing of the history causes.
    Contrived,
}

#[derive(Debug, Default)]
pub(crate) struct Story {
    pub(crate) accounts: Accounts,
    open: HashMap<String, Open>,
    /// The accounts of connections and requests.
    seen: HashSet<Account>,
    /// The methods and folders of the requests that were done.
    routes: HashSet<(String, String)>,
    records: u64,
    connections: u64,
}

/// What is under way on a connection.
#[derive(Debug)]
struct Open {
    connection: Arc<Connection>,
    is_admitted: bool,
    calls: VecDeque<(u64, Arc<Call>)>,
    requests: VecDeque<(u64, Arc<Request>)>,
    /// The numbers of the last calls that were answered.
    answered: VecDeque<u64>,
}

impl Story {
    /// How many records there were.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// How many connections asked to be admitted.
    pub(crate) fn connections(&self) -> u64 {
        self.connections
    }

    /// How many accounts connections and requests were of.
    pub(crate) fn accounts(&self) -> usize {
        let roots: HashSet<_> = self
            .seen
            .iter()
            .map(|account| self.accounts.root(*account))
            .collect();
        roots.len()
    }

    /// Tells what `record` means, if it means anything.
    pub(crate) fn tell(
        &mut self,
        record: &Record,
        mut hear: impl FnMut(&Happening<'_>, &Accounts),
    ) {
        self.records += 1;
        let now = Moment {
            at: record.t_us,
            record: self.records,
        };
        match &record.kind {
            Kind::Packet(Direction::Sent, Traced::Connect(auth)) => {
                self.connect(&record.conn, auth);
            }
            Kind::Packet(direction, packet) => {
                self.packet(&record.conn, *direction, packet, now, &mut hear);
            }
            Kind::Http(exchange) => self.exchange(&record.conn, exchange, now, &mut hear),
            Kind::Mark(text) if text == QUIET => hear(&Happening::Quiet(now), &self.accounts),
            Kind::Mark(text) if text == RESTARTED || text == RESTARTED_DURABLE => {
                let names: Vec<String> = self.open.keys().cloned().collect();
                names
                    .iter()
                    .for_each(|name| self.fade(name, true, None, &mut hear));
                hear(
                    &Happening::Restarted(text == RESTARTED_DURABLE, now),
                    &self.accounts,
                );
            }
            Kind::Mark(text) if text == CONTRIVED => hear(&Happening::Contrived, &self.accounts),
            Kind::Mark(text) if text.starts_with(DROPPED) => {
                hear(&Happening::Dropped, &self.accounts);
            }
            Kind::Mark(text) => {
                // Its conduct hurts what it hears, and its end ends it.
                if text.starts_with("ended") || record.kind.as_conduct().is_some() {
                    self.fade(&record.conn, text.starts_with("ended"), None, &mut hear);
                }
            }
        }
    }

    fn connect(&mut self, name: &str, auth: &Value) {
        let text = |key: &str| auth.get(key).and_then(Value::as_str);
        let account = self.accounts.of_token(text("token"), name);
        self.seen.insert(account);
        let id = |key: &str| text(key).unwrap_or_default().to_owned();
        let (scope, surplus): (_, &[&str]) = match text("clientType") {
            Some("session-scoped") => (Scope::Session(id("sessionId")), &["machineId"]),
            Some("machine-scoped") => (Scope::Machine(id("machineId")), &["sessionId"]),
            Some("user-scoped") | None => (Scope::User, &["sessionId", "machineId"]),
            Some(_) => (Scope::Unknown, &["sessionId", "machineId"]),
        };
        self.connections += 1;
        let connection = Connection {
            number: self.connections,
            name: name.to_owned(),
            account,
            scope,
            has_surplus: surplus.iter().any(|key| auth.get(key).is_some()),
        };
        let open = Open {
            connection: Arc::new(connection),
            is_admitted: false,
            calls: VecDeque::new(),
            requests: VecDeque::new(),
            answered: VecDeque::new(),
        };
        self.open.insert(name.to_owned(), open);
    }

    fn packet(
        &mut self,
        name: &str,
        direction: Direction,
        packet: &Traced,
        now: Moment,
        hear: &mut impl FnMut(&Happening<'_>, &Accounts),
    ) {
        let Some(open) = self.open.get_mut(name) else {
            return;
        };
        let connection = Arc::clone(&open.connection);
        match (direction, packet) {
            (Direction::Received, Traced::Connect(_)) => {
                open.is_admitted = true;
                hear(&Happening::Admitted(&connection), &self.accounts);
            }
            (Direction::Received, Traced::ConnectError(_))
            | (_, Traced::Disconnect | Traced::Close) => {
                self.fade(name, true, Some(now), hear);
            }
            (
                _,
                Traced::Event {
                    name: event,
                    args,
                    ack,
                    attachments,
                },
            ) => {
                let Some(data) = args.data().ok().filter(|_| *attachments == 0) else {
                    if direction == Direction::Sent {
                        hear(&Happening::Unclear(&connection), &self.accounts);
                    }
                    return;
                };
                if direction == Direction::Sent {
                    let call = Arc::new(Call {
                        connection,
                        event: event.clone(),
                        data,
                        asks: ack.is_some(),
                        is_early: !open.is_admitted,
                        began: now,
                    });
                    remember(&mut open.calls, *ack, &call);
                    hear(&Happening::Called(&call), &self.accounts);
                } else if event == "rpc-request" {
                    let request = Arc::new(Request {
                        connection,
                        data,
                        began: now,
                    });
                    remember(&mut open.requests, *ack, &request);
                    hear(&Happening::Requested(&request), &self.accounts);
                } else {
                    hear(
                        &Happening::Received(&connection, event, &data, now),
                        &self.accounts,
                    );
                }
            }
            (
                _,
                Traced::Ack {
                    id,
                    args,
                    attachments,
                },
            ) => {
                let values = args.values().ok().filter(|_| *attachments == 0);
                let first = values.as_ref().and_then(|values| values.first());
                if direction == Direction::Received {
                    let call = recall(&mut open.calls, *id);
                    if call.is_some() {
                        open.answered.push_back(*id);
                        if open.answered.len() > ANSWERED {
                            open.answered.pop_front();
                        }
                    } else if open.answered.contains(id) {
                        hear(&Happening::AnsweredAgain(&connection, now), &self.accounts);
                    }
                    if let (Some(call), Some(answer)) = (call, first) {
                        hear(&Happening::Answered(&call, answer, now), &self.accounts);
                    }
                } else if let Some(request) = recall(&mut open.requests, *id) {
                    hear(&Happening::Replied(&request, first, now), &self.accounts);
                }
            }
            _ => {}
        }
    }

    fn fade(
        &mut self,
        name: &str,
        has_ended: bool,
        by_packet: Option<Moment>,
        hear: &mut impl FnMut(&Happening<'_>, &Accounts),
    ) {
        if let Some(open) = self.open.get(name) {
            let connection = Arc::clone(&open.connection);
            if open.is_admitted {
                hear(&Happening::Faded(&connection, by_packet), &self.accounts);
            }
            if has_ended {
                self.open.remove(name);
            }
        }
    }

    fn exchange(
        &mut self,
        conn: &str,
        exchange: &Exchange,
        ended: Moment,
        hear: &mut impl FnMut(&Happening<'_>, &Accounts),
    ) {
        let label = conn.strip_prefix("http/").and_then(label);
        let account = label.map(|label| self.accounts.named(label));
        self.seen.extend(account);
        let path = path_of(&exchange.url);
        self.accounts.learn(account, path, exchange);
        // Milliseconds are rounded down: it may have begun one earlier.
        let took = exchange.us.unwrap_or((exchange.ms + 1) * 1000);
        let refusal = exchange
            .response
            .as_ref()
            .and_then(|body| body.get("success"));
        let is_done = exchange
            .status
            .is_some_and(|status| (200..300).contains(&status))
            && refusal != Some(&Value::Bool(false));
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let route = (exchange.method.clone(), folder.to_owned());
        let is_missed = exchange.status == Some(404) && self.routes.contains(&route);
        if is_done && self.routes.len() < ROUTES {
            self.routes.insert(route);
        }
        let asked = Asked {
            account,
            method: &exchange.method,
            path,
            is_done,
            is_missed,
            exchange,
            began: ended.at.saturating_sub(took),
            ended,
        };
        hear(&Happening::Asked(&asked), &self.accounts);
    }
}

/// From `/v1`, `/v2` or `/v3` on, without a query: a URL may be whole, and behind a prefix.
fn path_of(url: &str) -> &str {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let starts = ["/v1/", "/v2/", "/v3/"]
        .into_iter()
        .filter_map(|version| url.find(version));
    starts.min().map_or(url, |at| &url[at..])
}

fn remember<T>(open: &mut VecDeque<(u64, Arc<T>)>, ack: Option<u64>, item: &Arc<T>) {
    if let Some(ack) = ack {
        open.push_back((ack, Arc::clone(item)));
        if open.len() > OPEN {
            open.pop_front();
        }
    }
}

fn recall<T>(open: &mut VecDeque<(u64, Arc<T>)>, ack: u64) -> Option<Arc<T>> {
    let at = open.iter().position(|(id, _)| *id == ack)?;
    open.remove(at).map(|(_, item)| item)
}
