//! What looks wrong about what is seen, while it is seen.
//!
//! Hints for a person who watches, never verdicts: a monitor sees one part of the traffic and cannot
//! ask again. Shapes, and who should get what, are those of `touchstone-fixtures`.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value;
use touchstone_fixtures::{
    EventKind, Filter, Violation, broadcast, validate_ack, validate_ephemeral, validate_update,
};

use crate::event::{Entity, Lint, LintKind, Scope};
use crate::source::recent::Recent;

/// How many connections and sessions the lints remember.
const REMEMBERED: usize = 10_000;
/// How many violations of one payload are told; one mistake often breaks many rules.
const TOLD: usize = 5;

/// What the shape of an `update` or `ephemeral` shows, whoever gets it.
pub(crate) fn of_payload(name: &str, payload: &Value) -> Vec<Lint> {
    let report = match name {
        "update" => validate_update(payload),
        "ephemeral" => validate_ephemeral(payload),
        _ => return Vec::new(),
    };
    let mut lints = violated(&report.violations);
    if let EventKind::Unknown(t) = report.kind {
        lints.push(unknown(&t));
    }
    lints
}

/// What the shape of an answer to a client's event shows.
pub(crate) fn of_answer(event: &str, answer: &Value) -> Vec<Lint> {
    validate_ack(event, answer).map_or_else(Vec::new, |report| violated(&report.violations))
}

/// An event that the specification does not list.
pub(crate) fn unknown(name: &str) -> Lint {
    Lint {
        kind: LintKind::UnknownType,
        text: format!("{name} is no type of the specification"),
    }
}

fn violated(violations: &[Violation]) -> Vec<Lint> {
    let one = |violation: &Violation| Lint {
        kind: LintKind::Schema,
        text: violation.to_string(),
    };
    violations.iter().take(TOLD).map(one).collect()
}

/// What the lints need to know of an event that a connection got.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrived<'a> {
    /// The connection's label.
    pub(crate) conn: &'a Arc<str>,
    pub(crate) scope: &'a Scope,
    /// The type: `t` or `type`.
    pub(crate) event: &'a str,
    pub(crate) entity: Option<&'a Entity>,
    /// The whole payload.
    pub(crate) payload: &'a Value,
}

/// What can only be seen over time: numbers that go back.
#[derive(Debug)]
pub(crate) struct Lints {
    updates: Recent<Arc<str>, u64>,
    messages: Recent<(Arc<str>, Arc<str>), u64>,
    /// The types of events that connections of a scope were seen to get without need.
    wide: HashSet<(&'static str, &'static str)>,
    /// What was said of types that the specification does not list.
    unknown: HashSet<String>,
}

/// How many types are told to be unknown: beyond that, a server makes names up.
const UNKNOWN: usize = 200;

impl Default for Lints {
    fn default() -> Self {
        Self {
            updates: Recent::new(REMEMBERED),
            messages: Recent::new(REMEMBERED),
            wide: HashSet::new(),
            unknown: HashSet::new(),
        }
    }
}

impl Lints {
    /// What is wrong with this connection getting this event now. A repeated delivery must not come
    /// here: it says nothing about order.
    pub(crate) fn of_arrival(&mut self, arrived: Arrived<'_>) -> Vec<Lint> {
        let mut lints = Vec::new();
        lints.extend(surplus(arrived, |width| self.wide.insert(width)));
        lints.extend(self.update_back(arrived));
        lints.extend(self.message_back(arrived));
        lints
    }

    /// Leaves out types that were said before to be unknown: newer servers send more than is listed.
    pub(crate) fn keep_new_types(&mut self, lints: &mut Vec<Lint>) {
        lints.retain(|lint| {
            lint.kind != LintKind::UnknownType
                || self.unknown.len() < UNKNOWN && self.unknown.insert(lint.text.clone())
        });
    }

    /// A connection that is opened anew begins anew.
    pub(crate) fn forget(&mut self, conn: &Arc<str>) {
        self.updates.take(conn);
    }

    fn update_back(&mut self, arrived: Arrived<'_>) -> Option<Lint> {
        let seq = arrived
            .payload
            .get("body")
            .and(arrived.payload["seq"].as_u64())?;
        let before = self.updates.put(arrived.conn, seq)?;
        (seq <= before).then(|| Lint {
            kind: LintKind::SeqBack,
            text: format!("seq {seq} came after {before} on {}", arrived.conn),
        })
    }

    fn message_back(&mut self, arrived: Arrived<'_>) -> Option<Lint> {
        let Some(Entity::Session(session)) = arrived.entity else {
            return None;
        };
        let seq = arrived.payload.pointer("/body/message/seq")?.as_u64()?;
        let key = (Arc::clone(arrived.conn), Arc::clone(session));
        let before = self.messages.put(&key, seq)?;
        (seq <= before).then(|| Lint {
            kind: LintKind::SeqBack,
            text: format!("message seq {seq} came after {before} in session {session}"),
        })
    }
}

/// Whether a connection of this scope does not need this. Messages must not go to other sessions; of all
/// else, servers without narrow filters send more than is needed, which only wastes traffic: that is told
/// where `is_new` says that it was not yet, by type and scope.
fn surplus(
    arrived: Arrived<'_>,
    mut is_new: impl FnMut((&'static str, &'static str)) -> bool,
) -> Option<Lint> {
    let broadcast = broadcast(arrived.event)?;
    let filter = broadcast.filter;
    let id = arrived.entity.map(Entity::id);
    let meant = match arrived.scope {
        Scope::None | Scope::User => true,
        Scope::Session(own) => filter == Filter::AllInterestedInSession && id == Some(&**own),
        Scope::Machine(own) => filter == Filter::MachineScopedOnly && id == Some(&**own),
    };
    let kind = match broadcast.name {
        _ if meant => return None,
        "new-message" => LintKind::Misrouted,
        name if is_new((name, arrived.scope.as_str())) => LintKind::Wide,
        _ => return None,
    };
    Some(Lint {
        kind,
        text: format!(
            "{} is for {}, and {} is {}-scoped{}",
            arrived.event,
            filter.as_str(),
            arrived.conn,
            arrived.scope.as_str(),
            match (arrived.scope, id) {
                (Scope::Session(own) | Scope::Machine(own), Some(id)) if id != &**own =>
                    format!(" to {own}"),
                _ => String::new(),
            }
        ),
    })
}

/// Whether the router used another filter than the contract has for the type. Test harnesses that emit
/// through the control extension choose theirs, and are linted too.
pub(crate) fn of_decision(event: &str, filter: &str) -> Option<Lint> {
    let usual = broadcast(event)?.filter.as_str();
    (usual != filter).then(|| Lint {
        kind: LintKind::Misrouted,
        text: format!("{event} is for {usual}, and was sent to {filter}"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kinds(lints: &[Lint]) -> Vec<&'static str> {
        lints.iter().map(|lint| lint.kind.as_str()).collect()
    }

    fn message(seq: u64, number: u64, sid: &str) -> Value {
        json!({"id": format!("u{seq}"), "seq": seq, "createdAt": 1_800_000_000_000_u64, "body": {
            "t": "new-message", "sid": sid, "message": {
                "id": "m", "seq": number, "localId": null, "createdAt": 1_800_000_000_000_u64, "updatedAt": 1_800_000_000_000_u64,
                "content": {"t": "encrypted", "c": "x"}}}})
    }

    #[test]
    fn shapes() {
        #[track_caller]
        fn check(name: &str, payload: &Value, expected: &[&str]) {
            assert_eq!(kinds(&of_payload(name, payload)), expected, "{payload}");
        }
        check("update", &message(1, 1, "s"), &[]);
        let mut wrong = message(1, 1, "s");
        wrong["seq"] = json!("1");
        check("update", &wrong, &["schema"]);
        check(
            "ephemeral",
            &json!({"type": "activity", "id": "s", "active": true, "activeAt": 1_800_000_000_000_u64, "thinking": false}),
            &[],
        );
        check("ephemeral", &json!({"type": "shiny"}), &["unknown-type"]);
        check("rpc-request", &json!({}), &[]);
        let told = of_payload("update", &wrong)[0].text.clone();
        assert!(told.starts_with("/seq: expected"), "{told}");
        assert_eq!(kinds(&of_answer("ping", &json!({}))), [""; 0]);
        assert_eq!(kinds(&of_answer("rpc-call", &json!({"ok": 1}))), ["schema"]);
    }

    #[test]
    fn numbers_that_go_back() {
        let mut lints = Lints::default();
        let mut check = |conn: &str, seq: u64, number: u64, sid: &str, expected: usize| {
            let entity = Entity::Session(sid.into());
            let found = lints.of_arrival(Arrived {
                conn: &conn.into(),
                scope: &Scope::User,
                event: "new-message",
                entity: Some(&entity),
                payload: &message(seq, number, sid),
            });
            assert_eq!(
                found.len(),
                expected,
                "{conn} {seq} {number} {sid}: {found:?}"
            );
        };
        check("a", 1, 1, "s", 0);
        check("a", 2, 2, "s", 0);
        check("b", 2, 2, "s", 0);
        check("a", 4, 1, "t", 0);
        check("a", 3, 2, "t", 1);
        check("a", 5, 2, "t", 1);
        check("a", 5, 1, "s", 2);
    }

    #[test]
    fn a_server_without_narrow_filters_is_said_to_be_wide_once() {
        let mut lints = Lints::default();
        let mut check = |event: &str, seq: u64, expected: &[&str]| {
            let found = lints.of_arrival(Arrived {
                conn: &"c".into(),
                scope: &Scope::Machine("m".into()),
                event,
                entity: Some(&Entity::Session("s".into())),
                payload: &message(seq, seq, "s"),
            });
            assert_eq!(kinds(&found), expected, "{event} {seq}");
        };
        check("update-session", 1, &["wide"]);
        check("update-session", 2, &[]);
        check("new-session", 3, &["wide"]);
        check("new-message", 4, &["misrouted"]);
        check("new-message", 5, &["misrouted"]);
    }

    #[test]
    fn recipients_that_should_not_have_it() {
        #[track_caller]
        fn check(event: &str, entity: &Entity, scope: &Scope, meant: bool) {
            let arrived = Arrived {
                conn: &"c".into(),
                scope,
                event,
                entity: Some(entity),
                payload: &Value::Null,
            };
            assert_eq!(
                surplus(arrived, |_| true).is_none(),
                meant,
                "{event} {scope:?}"
            );
        }
        let session = Entity::Session("s".into());
        let machine = Entity::Machine("m".into());
        let own_session = Scope::Session("s".into());
        let other_session = Scope::Session("t".into());
        let own_machine = Scope::Machine("m".into());
        for event in ["new-message", "update-session", "new-session", "activity"] {
            check(event, &session, &Scope::User, true);
            check(event, &session, &own_machine, false);
            check(event, &session, &other_session, false);
        }
        check("new-message", &session, &own_session, true);
        check("activity", &session, &own_session, false);
        check("update-machine", &machine, &own_machine, true);
        check(
            "update-machine",
            &machine,
            &Scope::Machine("n".into()),
            false,
        );
        check(
            "new-artifact",
            &Entity::Artifact("x".into()),
            &own_machine,
            false,
        );
        check("shiny", &session, &own_machine, true);
        let told = of_decision("new-message", "user-scoped-only").map(|lint| lint.text);
        assert_eq!(
            told.as_deref(),
            Some("new-message is for all-interested-in-session, and was sent to user-scoped-only")
        );
        assert_eq!(of_decision("shiny", "user-scoped-only"), None);
    }
}
