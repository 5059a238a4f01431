//! Makes entries of what is seen: numbers it, puts copies of one event together, and finds out what
//! belongs together and how long it took.
//!
//! All memory here is bounded, and time comes with what is seen. This module must not do any IO.

mod cause;
mod decision;
mod exchange;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use self::cause::{cause_of, effects_of, rpc_key};
use self::exchange::change_of;
use super::recent::Recent;
use super::{Origin, What, facts};
use crate::event::{
    Amendment, Direction, Entity, Entry, Input, Kind, Lint, Receipt, Recipients, UNANSWERED,
};
use crate::lint::{Decided, Unknown};

/// How many events, calls and causes are remembered.
const REMEMBERED: usize = 16_384;
/// How long two equal ephemerals on two connections are copies of one.
const COPIES_WITHIN_US: u64 = 1_000_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Desk {
    next: u64,
    patience_us: u64,
    unknown: Unknown,
    decided: Decided,
    /// What was seen before, and by whom: updates by account and id, ephemerals by account and text.
    seen: Recent<Arc<str>, Seen>,
    /// Calls that wait for their answer, by connection, asking side and ack id.
    calls: Recent<CallKey, Call>,
    /// RPC calls that nobody was asked yet, by account, method and parameters.
    asked: Recent<String, u64>,
    /// RPC calls in the order in which their time runs out.
    due: VecDeque<(u64, CallKey)>,
    /// What clients did that causes an update, by account and what the update will hold.
    causes: Recent<String, (u64, u64)>,
    /// Updates without a known cause, by account and what they changed: HTTP answers come later.
    uncaused: Recent<String, (u64, u64)>,
    /// Whose connection a socket id is, as far as CONNECT told: decisions of a router speak of ids.
    sids: Recent<Arc<str>, Origin>,
    /// The labels of accounts, by the sessions that they made and by what the router calls them.
    accounts: Recent<Arc<str>, Arc<str>>,
}

type CallKey = (Arc<str>, Direction, u64);

#[derive(Debug)]
struct Seen {
    number: u64,
    first_us: u64,
    by: Vec<Arc<str>>,
}

#[derive(Debug, Clone)]
struct Call {
    link: u64,
    event: Arc<str>,
    entity: Option<Entity>,
    at_us: u64,
}

/// What is known of what is seen, before what it is: where, when, and whether the judge has found
/// something wrong with it.
struct Draft<'a> {
    at_ms: u64,
    t_us: u64,
    origin: &'a Origin,
    is_wrong: bool,
}

impl Desk {
    pub(super) fn new(rpc_patience: Duration) -> Self {
        Self {
            next: 0,
            patience_us: u64::try_from(rpc_patience.as_micros()).unwrap_or(u64::MAX),
            unknown: Unknown::default(),
            decided: Decided::default(),
            seen: Recent::new(REMEMBERED),
            calls: Recent::new(REMEMBERED),
            asked: Recent::new(REMEMBERED),
            due: VecDeque::new(),
            causes: Recent::new(REMEMBERED),
            uncaused: Recent::new(REMEMBERED),
            sids: Recent::new(REMEMBERED),
            accounts: Recent::new(REMEMBERED),
        }
    }

    /// Looks at one thing, of which the judge says `lints`, and adds what is to be told of it to `out`.
    pub(super) fn see(
        &mut self,
        (at_ms, t_us): (u64, u64),
        origin: &Origin,
        what: &What,
        lints: Vec<Lint>,
        out: &mut Vec<Input>,
    ) {
        let draft = Draft {
            at_ms,
            t_us,
            origin,
            is_wrong: !lints.is_empty(),
        };
        let before = out.len();
        self.take(&draft, what, out);
        match out.get_mut(before) {
            Some(Input::Entry(entry)) => entry.lints.extend(lints),
            Some(Input::Amend(amendment)) => amendment.lints.extend(lints),
            _ => {}
        }
    }

    fn take(&mut self, draft: &Draft<'_>, what: &What, out: &mut Vec<Input>) {
        let input = match what {
            What::Event {
                direction,
                name,
                args,
                ack,
            } => {
                let payload = args.data().unwrap_or(Value::Null);
                let raw = args.first_raw().unwrap_or(args.as_str());
                self.event(draft, *direction, name, &payload, raw, *ack)
            }
            What::Ack {
                direction,
                id,
                args,
            } => {
                let raw = args.first_raw().unwrap_or(args.as_str());
                Input::from(self.answer(draft, *direction, *id, raw))
            }
            What::Decision(raw) => self.decision(draft, raw),
            // Whether it was let in is what people want to see.
            What::Connect(_) => return,
            What::Http(exchange) => {
                self.exchange(draft, exchange, out);
                return;
            }
            What::Accepted(sid) => {
                if let Some(sid) = sid {
                    self.sids.put(sid, draft.origin.clone());
                }
                let text = "CONNECT was answered";
                self.entry(draft, Kind::Connection, "connected", text)
                    .into()
            }
            What::Connection(word, text) => self.entry(draft, Kind::Connection, word, text).into(),
            What::Gap(text) => self.entry(draft, Kind::Gap, "gap", text).into(),
            What::Note(text) => self.entry(draft, Kind::Note, "note", text).into(),
        };
        out.push(input);
    }

    /// Adds an entry for each RPC whose time has run out.
    pub(super) fn look_for_unanswered(&mut self, at_ms: u64, t_us: u64, out: &mut Vec<Input>) {
        while let Some((at, _)) = self.due.front()
            && t_us.saturating_sub(*at) >= self.patience_us
        {
            let Some((_, key)) = self.due.pop_front() else {
                return;
            };
            let Some(call) = self.calls.take(&key) else {
                continue;
            };
            let origin = Origin {
                conn: Arc::clone(&key.0),
                ..Origin::none()
            };
            let draft = Draft {
                at_ms,
                t_us,
                origin: &origin,
                is_wrong: true,
            };
            let waited = self.patience_us / 1_000_000;
            let method = call.entity.as_ref().map_or("?", Entity::id);
            let text = format!("{} to {method} has no answer after {waited} s", call.event);
            let mut entry = self.entry(&draft, Kind::Rpc, "unanswered", &text);
            entry.link = Some(call.link);
            entry.entity = call.entity;
            entry.lints.push(Lint::hint(UNANSWERED, text));
            out.push(entry.into());
        }
    }

    fn event(
        &mut self,
        draft: &Draft<'_>,
        direction: Direction,
        name: &str,
        payload: &Value,
        raw: &str,
        ack: Option<u64>,
    ) -> Input {
        let facts = facts::of_event(name, payload);
        let received = direction == Direction::Received;
        let copy = received
            .then(|| copy_key(&draft.origin.account, &facts, raw))
            .flatten();
        let mut first = None;
        let origin = draft.origin;
        let mut is_again = false;
        if let Some(seen) = copy.as_ref().and_then(|key| self.seen.get_mut(key)) {
            let got_it = seen.by.contains(&origin.conn);
            let is_late = draft.t_us.saturating_sub(seen.first_us) >= COPIES_WITHIN_US;
            // Presence that is told again says nothing new, and is no copy.
            if facts.kind == Kind::Update || !got_it && !is_late {
                first = Some(seen.number);
                is_again = got_it;
                seen.by.push(Arc::clone(&origin.conn));
            }
        }
        let receipt = Receipt {
            conn: Arc::clone(&origin.conn),
            scope: origin.scope.clone(),
            t_us: draft.t_us,
        };
        // A right copy belongs to what was shown before; a wrong one has to be seen, and so has one that
        // the same connection got again.
        if let Some(number) = first
            && !draft.is_wrong
            && !is_again
        {
            return Input::Amend(Amendment {
                number,
                receipt: Some(receipt),
                routed: None,
                cause: None,
                lints: Vec::new(),
            });
        }
        let unknown = facts::unknown_type(name, payload).filter(|_| received && first.is_none());
        let unknown = unknown.and_then(|name| self.unknown.say(name));
        let mut entry = self.entry(draft, facts.kind, &facts.event, raw);
        entry.direction = direction;
        entry.seq = facts.seq;
        entry.id = facts.id;
        entry.ack = ack;
        entry.lints.extend(unknown);
        entry.link = first;
        if matches!(facts.kind, Kind::Update | Kind::Ephemeral) {
            entry.recipients = Recipients::Ours(vec![receipt]);
        }
        entry.entity = facts.entity;
        if let Some(key) = copy
            && first.is_none()
        {
            let seen = Seen {
                number: entry.number,
                first_us: draft.t_us,
                by: vec![Arc::clone(&origin.conn)],
            };
            self.seen.put(&key, seen);
        }
        self.connect(draft, direction, name, payload, &mut entry);
        entry.into()
    }

    /// Finds out what the event belongs to, and remembers what may belong to it.
    fn connect(
        &mut self,
        draft: &Draft<'_>,
        direction: Direction,
        name: &str,
        payload: &Value,
        entry: &mut Entry,
    ) {
        match (name, direction) {
            ("rpc-call", Direction::Sent) => {
                entry.link = Some(entry.number);
                self.asked
                    .put(&rpc_key(draft.origin, payload), entry.number);
            }
            ("rpc-request", Direction::Received) => {
                entry.link = self.asked.take(&rpc_key(draft.origin, payload));
            }
            ("update", Direction::Received) => self.find_cause(draft.t_us, payload, entry),
            (_, Direction::Sent) => {
                for key in effects_of(draft.origin, name, payload) {
                    entry.link = Some(entry.number);
                    self.causes.put(&key, (entry.number, draft.t_us));
                }
            }
            _ => {}
        }
        if let Some(id) = entry.ack {
            let key = (Arc::clone(&draft.origin.conn), direction, id);
            let call = Call {
                link: entry.link.unwrap_or(entry.number),
                event: Arc::clone(&entry.event),
                entity: entry.entity.clone(),
                at_us: draft.t_us,
            };
            entry.link = Some(call.link);
            self.calls.put(&key, call);
            if entry.kind == Kind::Rpc {
                if self.due.len() >= REMEMBERED {
                    self.due.pop_front();
                }
                self.due.push_back((draft.t_us, key));
            }
        }
    }

    /// Finds out what caused an update that is new, by the value that somebody sent, or by what an
    /// HTTP answer says was changed. That answer may be still to come.
    fn find_cause(&mut self, t_us: u64, payload: &Value, entry: &mut Entry) {
        let (account, body) = (&entry.account, &payload["body"]);
        let sent = cause_of(account, body).and_then(|key| self.causes.take(&key));
        let change = change_of(body).map(|change| format!("{account} {change}"));
        let cause = sent.or_else(|| self.causes.take(change.as_ref()?));
        if let Some((number, at)) = cause {
            entry.link = entry.link.or(Some(number));
            entry.latency_us = Some(t_us.saturating_sub(at));
        } else if let (Some(change), None) = (change, entry.link) {
            self.uncaused.put(&change, (entry.number, t_us));
        }
    }

    fn answer(&mut self, draft: &Draft<'_>, direction: Direction, id: u64, raw: &str) -> Entry {
        // The answer to what one side sent comes from the other.
        let asked = match direction {
            Direction::Sent => Direction::Received,
            Direction::Received => Direction::Sent,
            Direction::Inside => Direction::Inside,
        };
        let call = self
            .calls
            .take(&(Arc::clone(&draft.origin.conn), asked, id));
        let event = call.as_ref().map_or("ack", |call| &call.event);
        let kind = match &call {
            Some(call) if call.event.starts_with("rpc-") => Kind::Rpc,
            _ => Kind::Ack,
        };
        let mut entry = self.entry(draft, kind, event, raw);
        entry.direction = direction;
        entry.ack = Some(id);
        if let Some(call) = call {
            entry.link = Some(call.link);
            entry.latency_us = Some(draft.t_us.saturating_sub(call.at_us));
            entry.entity = call.entity;
        }
        entry
    }

    fn entry(&mut self, draft: &Draft<'_>, kind: Kind, event: &str, raw: &str) -> Entry {
        self.next += 1;
        Entry {
            number: self.next,
            at_ms: draft.at_ms,
            t_us: draft.t_us,
            account: Arc::clone(&draft.origin.account),
            conn: Arc::clone(&draft.origin.conn),
            scope: draft.origin.scope.clone(),
            kind,
            direction: Direction::Inside,
            event: event.into(),
            entity: None,
            seq: None,
            id: None,
            ack: None,
            size: u32::try_from(raw.len()).unwrap_or(u32::MAX),
            raw: raw.into(),
            recipients: Recipients::Unknown,
            latency_us: None,
            link: None,
            lints: Vec::new(),
        }
    }
}

impl From<Entry> for Input {
    fn from(entry: Entry) -> Self {
        Self::Entry(Box::new(entry))
    }
}

/// What makes two arrivals on an account the same event: the id of an update, which other accounts may
/// have as well; the text of an ephemeral.
fn copy_key(account: &str, facts: &facts::Facts, raw: &str) -> Option<Arc<str>> {
    match facts.kind {
        Kind::Update => Some(format!("{account} {}", facts.id.as_deref()?).into()),
        Kind::Ephemeral => Some(format!("{account} {raw}").into()),
        _ => None,
    }
}
