//! Makes entries of what is seen: numbers it, puts copies of one event together, finds out what
//! belongs together and how long it took, and asks the lints.
//!
//! All memory here is bounded, and time comes with what is seen. This module must not do any IO.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::recent::Recent;
use super::{Origin, What, facts};
use crate::event::{
    Amendment, Direction, Entity, Entry, Input, Kind, Lint, LintKind, Receipt, Recipients, Routed,
    Scope,
};
use crate::lint::{self, Arrived, Lints};

/// How many events, calls and causes are remembered.
const REMEMBERED: usize = 16_384;
/// How long two equal ephemerals on two connections are copies of one.
const COPIES_WITHIN_US: u64 = 1_000_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Desk {
    next: u64,
    patience_us: u64,
    lints: Lints,
    /// What was seen before, and by whom: updates by id, ephemerals by account and text.
    seen: Recent<Arc<str>, Seen>,
    /// Calls that wait for their answer, by connection, asking side and ack id.
    calls: Recent<CallKey, Call>,
    /// RPC calls that nobody was asked yet, by account, method and parameters.
    asked: Recent<String, u64>,
    /// RPC calls in the order in which their time runs out.
    due: VecDeque<(u64, CallKey)>,
    /// What clients did that causes an update, by account and what the update will hold.
    causes: Recent<String, (u64, u64)>,
}

type CallKey = (Arc<str>, Direction, u64);

#[derive(Debug)]
struct Seen {
    number: u64,
    account: Arc<str>,
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

/// An entry that knows only where and when; the rest is filled in by what it is.
struct Draft<'a> {
    at_ms: u64,
    t_us: u64,
    origin: &'a Origin,
}

impl Desk {
    pub(super) fn new(rpc_patience: Duration) -> Self {
        Self {
            next: 0,
            patience_us: u64::try_from(rpc_patience.as_micros()).unwrap_or(u64::MAX),
            lints: Lints::default(),
            seen: Recent::new(REMEMBERED),
            calls: Recent::new(REMEMBERED),
            asked: Recent::new(REMEMBERED),
            due: VecDeque::new(),
            causes: Recent::new(REMEMBERED),
        }
    }

    /// Looks at one thing and adds what is to be told of it to `out`.
    pub(super) fn see(
        &mut self,
        at_ms: u64,
        t_us: u64,
        origin: &Origin,
        what: &What,
        out: &mut Vec<Input>,
    ) {
        let draft = Draft {
            at_ms,
            t_us,
            origin,
        };
        let input = match what {
            What::Event {
                direction,
                name,
                args,
                ack,
            } => {
                let payload = args.data().unwrap_or(Value::Null);
                let raw = args.first_raw().unwrap_or(args.as_str());
                self.event(&draft, *direction, name, &payload, raw, *ack)
            }
            What::Ack {
                direction,
                id,
                args,
            } => {
                let answer = args.data().unwrap_or(Value::Null);
                let raw = args.first_raw().unwrap_or(args.as_str());
                Input::from(self.answer(&draft, *direction, *id, &answer, raw))
            }
            What::Decision(raw) => self.decision(&draft, raw).into(),
            // Whether it was let in is what people want to see.
            What::Connect(_) => return,
            What::Http(exchange) => {
                let event = format!("{} {}", exchange.method, exchange.url);
                let body = |body: &Option<Value>| body.clone().unwrap_or(Value::Null);
                let raw = serde_json::json!({
                    "status": exchange.status,
                    "request": body(&exchange.request),
                    "response": body(&exchange.response),
                });
                let mut entry = self.entry(&draft, Kind::Http, &event, &raw.to_string());
                entry.direction = Direction::Sent;
                entry.latency_us = Some(exchange.ms.saturating_mul(1_000));
                entry.into()
            }
            What::Connection(word, text) => {
                self.lints.forget(&origin.conn);
                self.entry(&draft, Kind::Connection, word, text).into()
            }
            What::Gap(text) => self.entry(&draft, Kind::Gap, "gap", text).into(),
            What::Note(text) => self.entry(&draft, Kind::Note, "note", text).into(),
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
            };
            let waited = self.patience_us / 1_000_000;
            let method = call.entity.as_ref().map_or("?", Entity::id);
            let text = format!("{} to {method} has no answer after {waited} s", call.event);
            let mut entry = self.entry(&draft, Kind::Rpc, "unanswered", &text);
            entry.link = Some(call.link);
            entry.entity = call.entity;
            entry.lints.push(Lint {
                kind: LintKind::Unanswered,
                text,
            });
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
            .then(|| copy_key(draft.origin, &facts, raw))
            .flatten();
        let mut lints = Vec::new();
        let mut first = None;
        let origin = draft.origin;
        if let Some(key) = &copy {
            match self.seen.get_mut(key) {
                Some(seen) if facts.kind == Kind::Update => {
                    first = Some(seen.number);
                    if seen.by.contains(&origin.conn) {
                        lints.push(Lint {
                            kind: LintKind::Duplicate,
                            text: format!("{} got update {key} twice", origin.conn),
                        });
                    }
                    if seen.account != origin.account {
                        lints.push(Lint {
                            kind: LintKind::Misrouted,
                            text: format!(
                                "update {key} reached account {} and account {}",
                                seen.account, origin.account
                            ),
                        });
                    }
                    seen.by.push(Arc::clone(&origin.conn));
                }
                Some(seen)
                    if !seen.by.contains(&origin.conn)
                        && draft.t_us.saturating_sub(seen.first_us) < COPIES_WITHIN_US =>
                {
                    first = Some(seen.number);
                    seen.by.push(Arc::clone(&origin.conn));
                }
                _ => {}
            }
        }
        if received && lints.is_empty() {
            lints = self.lints.of_arrival(Arrived {
                conn: &origin.conn,
                scope: &origin.scope,
                event: &facts.event,
                entity: facts.entity.as_ref(),
                payload,
            });
        }
        let receipt = Receipt {
            conn: Arc::clone(&origin.conn),
            scope: origin.scope.clone(),
            t_us: draft.t_us,
        };
        // A right copy belongs to what was shown before; a wrong one has to be seen.
        if let Some(number) = first
            && lints.is_empty()
        {
            return Input::Amend(Amendment {
                number,
                receipt: Some(receipt),
                lints,
            });
        }
        if received && first.is_none() {
            lints.extend(lint::of_payload(name, payload));
            if !facts::is_known(name) {
                lints.push(lint::unknown(name));
            }
        }
        let mut entry = self.entry(draft, facts.kind, &facts.event, raw);
        entry.direction = direction;
        entry.seq = facts.seq;
        entry.id = facts.id;
        entry.ack = ack;
        entry.lints = lints;
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
                account: Arc::clone(&origin.account),
                first_us: draft.t_us,
                by: vec![Arc::clone(&origin.conn)],
            };
            self.seen.put(key, seen);
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
                self.asked.put(rpc_key(draft.origin, payload), entry.number);
            }
            ("rpc-request", Direction::Received) => {
                entry.link = self.asked.take(&rpc_key(draft.origin, payload));
            }
            ("update", Direction::Received) => {
                let cause = cause_of(draft.origin, &payload["body"]);
                if let Some((number, at)) = cause.and_then(|key| self.causes.take(&key)) {
                    entry.link = entry.link.or(Some(number));
                    entry.latency_us = Some(draft.t_us.saturating_sub(at));
                }
            }
            (_, Direction::Sent) => {
                for key in effects_of(draft.origin, name, payload) {
                    entry.link = Some(entry.number);
                    self.causes.put(key, (entry.number, draft.t_us));
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
            self.calls.put(key.clone(), call);
            if entry.kind == Kind::Rpc {
                if self.due.len() >= REMEMBERED {
                    self.due.pop_front();
                }
                self.due.push_back((draft.t_us, key));
            }
        }
    }

    fn answer(
        &mut self,
        draft: &Draft<'_>,
        direction: Direction,
        id: u64,
        answer: &Value,
        raw: &str,
    ) -> Entry {
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
            if direction == Direction::Received {
                entry.lints = lint::of_answer(&call.event, answer);
            }
            entry.link = Some(call.link);
            entry.latency_us = Some(draft.t_us.saturating_sub(call.at_us));
            entry.entity = call.entity;
        }
        entry
    }

    fn decision(&mut self, draft: &Draft<'_>, raw: &str) -> Entry {
        let decision: Value = serde_json::from_str(raw).unwrap_or(Value::Null);
        let name = decision["event"].as_str().unwrap_or("update");
        let payload = &decision["payload"];
        let facts = facts::of_event(name, payload);
        let text = |value: &Value| value.as_str().map(Arc::<str>::from);
        let mut entry = self.entry(draft, facts.kind, &facts.event, &payload.to_string());
        entry.account = text(&decision["account"]).unwrap_or_else(|| Arc::clone(&entry.account));
        entry.direction = Direction::Inside;
        entry.seq = facts.seq;
        entry.id = facts.id;
        entry.lints = lint::of_payload(name, payload);
        let filter = decision["filter"]["type"].as_str().unwrap_or_default();
        entry.lints.extend(lint::of_decision(&facts.event, filter));
        // The decisions of an account are in order, as on a connection that gets everything.
        let account = Arc::clone(&entry.account);
        entry.lints.extend(self.lints.of_arrival(Arrived {
            conn: &account,
            scope: &Scope::None,
            event: &facts.event,
            entity: facts.entity.as_ref(),
            payload,
        }));
        entry.entity = facts.entity;
        entry.recipients = Recipients::Routed(Box::new(Routed {
            filter: decision["filter"].to_string().into(),
            recipients: decision["recipients"]
                .as_array()
                .map_or_else(Vec::new, |ids| ids.iter().filter_map(text).collect()),
            skipped: text(&decision["skipped"]),
        }));
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

/// What makes two arrivals the same event: the id of an update; the text of an ephemeral.
fn copy_key(origin: &Origin, facts: &facts::Facts, raw: &str) -> Option<Arc<str>> {
    match facts.kind {
        Kind::Update => facts.id.clone(),
        Kind::Ephemeral => Some(format!("{} {raw}", origin.account).into()),
        _ => None,
    }
}

fn rpc_key(origin: &Origin, data: &Value) -> String {
    format!("{} {} {}", origin.account, data["method"], data["params"])
}

/// The updates that a client's event causes, by what tells them apart.
fn effects_of(origin: &Origin, name: &str, data: &Value) -> Vec<String> {
    let account = &origin.account;
    let value = |kind: &str, id: &str, key: &str| {
        vec![format!("{account} {kind} {} {key} {}", data[id], data[key])]
    };
    match name {
        "message" if data["localId"].is_string() => {
            vec![format!(
                "{account} message {} {}",
                data["sid"], data["localId"]
            )]
        }
        "message" => vec![format!(
            "{account} message {} {}",
            data["sid"], data["message"]
        )],
        "update-metadata" => value("session", "sid", "metadata"),
        "update-state" => value("session", "sid", "agentState"),
        "machine-update-metadata" => value("machine", "machineId", "metadata"),
        "machine-update-state" => value("machine", "machineId", "daemonState"),
        "artifact-create" => vec![format!("{account} artifact {} new", data["id"])],
        "artifact-delete" => vec![format!("{account} artifact {} gone", data["artifactId"])],
        "artifact-update" => ["header", "body"]
            .into_iter()
            .filter_map(|part| {
                let new = data.get(part)?.get("data")?;
                Some(format!(
                    "{account} artifact {} {part} {new}",
                    data["artifactId"]
                ))
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// The same text for the update that was caused.
fn cause_of(origin: &Origin, body: &Value) -> Option<String> {
    let account = &origin.account;
    let part = |kind: &str, id: &str, keys: [&str; 2]| {
        let key = keys.into_iter().find(|key| body.get(key).is_some())?;
        Some(format!(
            "{account} {kind} {} {key} {}",
            body[id], body[key]["value"]
        ))
    };
    match body["t"].as_str()? {
        "new-message" => {
            let message = &body["message"];
            let told = match &message["localId"] {
                Value::Null => &message["content"]["c"],
                local => local,
            };
            Some(format!("{account} message {} {told}", body["sid"]))
        }
        "update-session" => part("session", "id", ["metadata", "agentState"]),
        "update-machine" => part("machine", "machineId", ["metadata", "daemonState"]),
        "update-artifact" => part("artifact", "artifactId", ["header", "body"]),
        "new-artifact" => Some(format!("{account} artifact {} new", body["artifactId"])),
        "delete-artifact" => Some(format!("{account} artifact {} gone", body["artifactId"])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use touchstone_client::Args;

    use super::*;

    struct Play {
        desk: Desk,
        t_us: u64,
    }

    impl Play {
        fn new() -> Self {
            Self {
                desk: Desk::new(Duration::from_secs(35)),
                t_us: 0,
            }
        }

        /// One thing happens on a connection such as `a1/user` or `a1/session:s`, a millisecond later.
        fn see(&mut self, conn: &str, what: &What) -> Input {
            self.t_us += 1_000;
            let (account, scope) = conn.split_once('/').unwrap();
            let origin = Origin {
                account: account.into(),
                conn: conn.into(),
                scope: match scope.split_once(':') {
                    None => Scope::User,
                    Some(("session", id)) => Scope::Session(id.into()),
                    Some((_, id)) => Scope::Machine(id.into()),
                },
            };
            let mut out = Vec::new();
            self.desk.see(0, self.t_us, &origin, what, &mut out);
            assert_eq!(out.len(), 1);
            out.remove(0)
        }

        fn entry(&mut self, conn: &str, what: &What) -> Entry {
            match self.see(conn, what) {
                Input::Entry(entry) => *entry,
                other => panic!("no entry: {other:?}"),
            }
        }
    }

    fn event(direction: Direction, name: &str, data: &Value, ack: Option<u64>) -> What {
        What::Event {
            direction,
            name: name.into(),
            args: Args::from(data),
            ack,
        }
    }

    fn got(name: &str, data: &Value) -> What {
        event(Direction::Received, name, data, None)
    }

    fn answer(direction: Direction, id: u64, data: &Value) -> What {
        What::Ack {
            direction,
            id,
            args: Args::from(data),
        }
    }

    fn deletion(seq: u64) -> Value {
        json!({"id": format!("u{seq}"), "seq": seq, "createdAt": 1_800_000_000_000_u64,
            "body": {"t": "delete-session", "sid": "s"}})
    }

    fn kinds(entry: &Entry) -> Vec<LintKind> {
        entry.lints.iter().map(|lint| lint.kind).collect()
    }

    #[test]
    fn copies_on_other_connections_belong_to_the_first() {
        let mut play = Play::new();
        let first = play.entry("a1/user", &got("update", &deletion(1)));
        assert_eq!((first.recipients.count(), first.lints.len()), (Some(1), 0));
        match play.see("a1/user2", &got("update", &deletion(1))) {
            Input::Amend(amendment) => {
                assert_eq!(amendment.number, first.number);
                assert_eq!(
                    amendment.receipt.map(|one| one.conn).as_deref(),
                    Some("a1/user2")
                );
            }
            other => panic!("{other:?}"),
        }
        let busy = json!({"type": "activity", "id": "s", "active": true, "activeAt": 1_800_000_000_000_u64, "thinking": false});
        let first = play.entry("a1/user", &got("ephemeral", &busy));
        assert!(matches!(
            play.see("a1/user2", &got("ephemeral", &busy)),
            Input::Amend(Amendment { number, .. }) if number == first.number
        ));
        // The same presence again is new, and so is that of another account.
        assert!(matches!(
            play.see("a1/user", &got("ephemeral", &busy)),
            Input::Entry(_)
        ));
        assert!(matches!(
            play.see("a2/user", &got("ephemeral", &busy)),
            Input::Entry(_)
        ));
    }

    #[test]
    fn wrong_copies_are_entries_of_their_own() {
        let mut play = Play::new();
        let first = play.entry("a1/user", &got("update", &deletion(1)));
        let again = play.entry("a1/user", &got("update", &deletion(1)));
        assert_eq!(
            (kinds(&again), again.link),
            (vec![LintKind::Duplicate], Some(first.number))
        );
        let wrong = play.entry("a1/session:s", &got("update", &deletion(1)));
        assert_eq!(kinds(&wrong), [LintKind::Misrouted]);
        let foreign = play.entry("a2/user", &got("update", &deletion(1)));
        assert_eq!(kinds(&foreign), [LintKind::Misrouted]);
        play.entry("a1/user", &got("update", &deletion(5)));
        let back = play.entry("a1/user", &got("update", &deletion(3)));
        assert_eq!(kinds(&back), [LintKind::SeqBack]);
        let unknown = play.entry("a1/user", &got("shout", &json!(1)));
        assert_eq!(kinds(&unknown), [LintKind::UnknownType]);
    }

    #[test]
    fn calls_requests_and_answers_are_linked_and_timed() {
        use Direction::{Received, Sent};
        let mut play = Play::new();
        let data = json!({"method": "m", "params": [1]});
        let call = play.entry("a1/user", &event(Sent, "rpc-call", &data, Some(3)));
        let request = play.entry("a1/user2", &event(Received, "rpc-request", &data, Some(0)));
        let result = play.entry("a1/user2", &answer(Sent, 0, &json!("x")));
        let reply = play.entry(
            "a1/user",
            &answer(Received, 3, &json!({"ok": true, "result": "x"})),
        );
        for entry in [&request, &result, &reply] {
            assert_eq!(entry.link, Some(call.number), "{entry:?}");
            assert_eq!(entry.kind, Kind::Rpc);
        }
        assert_eq!(
            (result.latency_us, reply.latency_us),
            (Some(1_000), Some(3_000))
        );
        assert_eq!(reply.entity, Some(Entity::Method("m".into())));
        assert!(reply.lints.is_empty());
        let stray = play.entry("a1/user", &answer(Received, 9, &json!(1)));
        assert_eq!(
            (stray.kind, &*stray.event, stray.link),
            (Kind::Ack, "ack", None)
        );
    }

    #[test]
    fn changes_and_their_updates_are_linked_and_timed() {
        use Direction::Sent;
        let mut play = Play::new();
        #[track_caller]
        fn check(play: &mut Play, cause: &What, body: &Value) {
            let sent = play.entry("a1/user", cause);
            let seq = play.t_us;
            let update = json!({"id": format!("u{seq}"), "seq": seq, "createdAt": 1_800_000_000_000_u64, "body": body});
            let arrived = play.entry("a1/user2", &got("update", &update));
            assert_eq!(arrived.link, Some(sent.number));
            assert_eq!(arrived.latency_us, Some(1_000));
        }
        let data = json!({"sid": "s", "metadata": "new", "expectedVersion": 0});
        check(
            &mut play,
            &event(Sent, "update-metadata", &data, Some(0)),
            &json!({"t": "update-session", "id": "s", "metadata": {"value": "new", "version": 1}}),
        );
        for local in [json!("l"), Value::Null] {
            let mut data = json!({"sid": "s", "message": "text"});
            if local.is_string() {
                data["localId"] = local.clone();
            }
            let content = json!({"t": "encrypted", "c": "text"});
            check(
                &mut play,
                &event(Sent, "message", &data, None),
                &json!({"t": "new-message", "sid": "s", "message": {"localId": local, "content": content}}),
            );
        }
        let data = json!({"artifactId": "x", "body": {"data": "QQ==", "expectedVersion": 1}});
        check(
            &mut play,
            &event(Sent, "artifact-update", &data, Some(1)),
            &json!({"t": "update-artifact", "artifactId": "x", "body": {"value": "QQ==", "version": 2}}),
        );
    }

    #[test]
    fn an_rpc_without_answer_is_told_once() {
        let mut play = Play::new();
        let data = json!({"method": "m"});
        let call = play.entry(
            "a1/user",
            &event(Direction::Sent, "rpc-call", &data, Some(3)),
        );
        let mut out = Vec::new();
        play.desk.look_for_unanswered(0, 34_000_000, &mut out);
        assert!(out.is_empty());
        play.desk.look_for_unanswered(0, 36_000_000, &mut out);
        play.desk.look_for_unanswered(0, 99_000_000, &mut out);
        let [Input::Entry(entry)] = &out[..] else {
            panic!("{out:?}");
        };
        assert_eq!(
            (kinds(entry), entry.link),
            (vec![LintKind::Unanswered], Some(call.number))
        );
        assert_eq!(&*entry.raw, "rpc-call to m has no answer after 35 s");
    }

    #[test]
    fn decisions_tell_filter_recipients_and_skipped() {
        let mut play = Play::new();
        let decision = json!({"account": "c1", "event": "update", "payload": deletion(4),
            "filter": {"type": "all-user-authenticated-connections"},
            "recipients": ["A", "B"], "skipped": "C"});
        let entry = play.entry("/tap", &What::Decision(decision.to_string()));
        assert_eq!(
            (&*entry.account, &*entry.event, entry.seq),
            ("c1", "delete-session", Some(4))
        );
        assert_eq!(kinds(&entry), [LintKind::Misrouted]);
        let Recipients::Routed(routed) = &entry.recipients else {
            panic!("{entry:?}");
        };
        assert_eq!(routed.skipped.as_deref(), Some("C"));
        assert_eq!(routed.recipients.len(), 2);
    }
}
