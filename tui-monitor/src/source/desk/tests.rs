//! What the desk makes of what is seen.

use serde_json::json;
use touchstone_client::Args;

use super::*;
use crate::event::{MISROUTED, Scope, UNANSWERED, UNKNOWN_TYPE};
use crate::lint::{Inspect, judged};
use crate::source::record::record_of;

pub(super) struct Play {
    inspect: Inspect,
    desk: Desk,
    pub(super) t_us: u64,
}

impl Play {
    pub(super) fn new() -> Self {
        Self {
            inspect: judged(),
            desk: Desk::new(Duration::from_secs(35)),
            t_us: 0,
        }
    }

    /// One thing happens on a connection such as `a1/user` or `a1/session:s`, a millisecond later.
    pub(super) fn all(&mut self, conn: &str, what: &What) -> Vec<Input> {
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
        let record = record_of(self.t_us, &origin, what);
        let lints = record.map_or_else(Vec::new, |record| (self.inspect)(&record));
        self.desk
            .see((0, self.t_us), &origin, what, lints, &mut out);
        out
    }

    /// The connection is let in.
    fn open(&mut self, conn: &str) {
        let (account, scope) = conn.split_once('/').unwrap();
        let mut auth = json!({"token": format!("{account}…"), "clientType": "user-scoped"});
        if let Some((kind, id)) = scope.split_once(':') {
            auth["clientType"] = json!(format!("{kind}-scoped"));
            auth[format!("{kind}Id")] = json!(id);
        }
        self.all(conn, &What::Connect(auth));
        self.all(conn, &What::Accepted(None));
    }

    /// The same for what one thing is told of.
    fn see(&mut self, conn: &str, what: &What) -> Input {
        let mut out = self.all(conn, what);
        assert_eq!(out.len(), 1);
        out.remove(0)
    }

    /// Adds the lints of what happens.
    fn found(&mut self, conn: &str, what: &What, told: &mut Vec<&'static str>) {
        told.extend(lints(&self.see(conn, what)));
    }

    pub(super) fn entry(&mut self, conn: &str, what: &What) -> Entry {
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

pub(super) fn got(name: &str, data: &Value) -> What {
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

fn kinds(entry: &Entry) -> Vec<&'static str> {
    entry.lints.iter().map(|lint| lint.rule).collect()
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
    for conn in ["a1/user", "a1/session:t", "a2/user"] {
        play.open(conn);
    }
    let first = play.entry("a1/user", &got("update", &deletion(1)));
    let again = play.entry("a1/user", &got("update", &deletion(1)));
    assert_eq!(
        (kinds(&again), again.link),
        (vec!["delivery.no-duplicate"], Some(first.number))
    );
    let wide = play.entry("a1/session:t", &got("update", &deletion(1)));
    assert_eq!(
        (kinds(&wide), wide.link),
        (vec!["session.created-narrow"], Some(first.number))
    );
    // Another account may have the same id.
    let other = play.entry("a2/user", &got("update", &deletion(1)));
    assert_eq!((kinds(&other).len(), other.link), (0, None));
    let unknown = play.entry("a1/user", &got("shout", &json!(1)));
    assert_eq!(kinds(&unknown), ["unknown-type"]);
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
        (vec![UNANSWERED], Some(call.number))
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
    assert_eq!(kinds(&entry), [MISROUTED]);
    let Recipients::Routed(routed) = &entry.recipients else {
        panic!("{entry:?}");
    };
    assert_eq!(routed.skipped.as_deref(), Some("C"));
    assert_eq!(routed.recipients.len(), 2);
}

/// What each lint makes of right traffic and of what it is for.
#[test]
fn each_lint_tells_what_it_is_for_and_is_silent_otherwise() {
    use Direction::{Received, Sent};
    let message = |seq: u64, number: u64| {
        json!({"id": format!("u{seq}"), "seq": seq, "createdAt": 1_800_000_000_000_u64, "body": {
            "t": "new-message", "sid": "s", "message": {"id": format!("m{number}"), "seq": number,
                "localId": null, "content": {"t": "encrypted", "c": "eA=="},
                "createdAt": 1_800_000_000_000_u64, "updatedAt": 1_800_000_000_000_u64}}})
    };
    let activity = json!({"type": "activity", "id": "s", "active": true,
        "activeAt": 1_800_000_000_000_u64, "thinking": false});
    let call = json!({"method": "m", "params": "p"});
    let right = [
        ("a1/user", got("update", &message(1, 1))),
        ("a1/session:s", got("update", &message(1, 1))),
        ("a1/user", got("ephemeral", &activity)),
        ("a1/user", got("update", &message(3, 2))),
        ("a1/user", event(Sent, "rpc-call", &call, Some(1))),
        (
            "a1/machine:m",
            event(Received, "rpc-request", &call, Some(0)),
        ),
        ("a1/machine:m", answer(Sent, 0, &json!("r"))),
        (
            "a1/user",
            answer(Received, 1, &json!({"ok": true, "result": "r"})),
        ),
    ];
    #[track_caller]
    fn check(right: &[(&str, What)], wrong: &[(&str, What)], expected: &[&'static str]) {
        let mut play = Play::new();
        for conn in ["a1/user", "a1/session:s", "a1/session:t", "a1/machine:m"] {
            play.open(conn);
        }
        let mut told = Vec::new();
        for (conn, what) in right {
            play.found(conn, what, &mut told);
        }
        assert_eq!(told, [""; 0], "right traffic");
        for (conn, what) in wrong {
            play.found(conn, what, &mut told);
        }
        let mut late = Vec::new();
        play.desk.look_for_unanswered(0, 60_000_000, &mut late);
        told.extend(late.iter().flat_map(lints));
        assert_eq!(told, expected);
    }
    let user = |what: What| [("a1/user", what)];
    check(&right, &[], &[]);
    let mut bent = message(4, 3);
    bent["body"]["message"]["seq"] = json!("3");
    check(&right, &user(got("update", &bent)), &["new-message.body"]);
    let again = got("update", &message(3, 2));
    check(&right, &user(again), &["delivery.no-duplicate"]);
    let shout = json!({"type": "shout"});
    check(&right, &user(got("ephemeral", &shout)), &[UNKNOWN_TYPE]);
    let astray = ("a1/session:t", got("update", &message(3, 2)));
    check(&right, &[astray], &["message.wrong-session"]);
    let again = event(Sent, "rpc-call", &call, Some(2));
    check(&right, &user(again), &[UNANSWERED]);
}

/// The lints of whatever is told.
fn lints(input: &Input) -> Vec<&'static str> {
    let lints = match input {
        Input::Entry(entry) => &entry.lints,
        Input::Amend(amendment) => &amendment.lints,
        other => panic!("{other:?}"),
    };
    lints.iter().map(|lint| lint.rule).collect()
}

#[test]
fn a_decision_on_what_our_connections_got_belongs_to_it() {
    let mut play = Play::new();
    for (conn, sid) in [("a1/user", "A"), ("a1/session:s", "B")] {
        play.see(conn, &What::Accepted(Some(sid.into())));
    }
    let decision = |payload: &Value, event: &str| {
        What::Decision(
            json!({"account": "c1", "event": event, "payload": payload,
                "filter": {"type": "user-scoped-only"}, "recipients": ["A", "Z"], "skipped": "B"})
            .to_string(),
        )
    };
    let activity = json!({"type": "activity", "id": "s", "active": true,
        "activeAt": 1_800_000_000_000_u64, "thinking": false});
    for (event, payload) in [("update", deletion(1)), ("ephemeral", activity)] {
        let mut entry = play.entry("a1/user", &got(event, &payload));
        let Input::Amend(amendment) = play.see("/tap", &decision(&payload, event)) else {
            panic!("{event} has a second entry");
        };
        assert_eq!((amendment.number, amendment.lints.len()), (entry.number, 0));
        amendment.apply(&mut entry);
        let Recipients::Routed(routed) = &entry.recipients else {
            panic!("{entry:?}");
        };
        let meant: Vec<&str> = routed.recipients.iter().map(|conn| &**conn).collect();
        assert_eq!(
            (meant, routed.skipped.as_deref()),
            (vec!["a1/user", "Z"], Some("a1/session:s"))
        );
        assert_eq!(&*routed.receipts[0].conn, "a1/user");
    }
}

#[test]
fn a_copy_may_come_after_the_decision_on_it() {
    let mut play = Play::new();
    play.see("a1/user", &What::Accepted(Some("A".into())));
    let decision = json!({"account": "c1", "event": "update", "payload": deletion(1),
        "filter": {"type": "user-scoped-only"}, "recipients": ["A"], "skipped": null});
    let mut entry = play.entry("/tap", &What::Decision(decision.to_string()));
    assert_eq!(&*entry.account, "a1");
    let Input::Amend(amendment) = play.see("a1/user", &got("update", &deletion(1))) else {
        panic!("a second entry");
    };
    amendment.apply(&mut entry);
    assert_eq!(entry.recipients.receipts().len(), 1);
}
