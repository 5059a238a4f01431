//! What a payload says about itself: its type, what it is about, its numbers.
//!
//! Reading only; whether it is right is for the lints.

use std::sync::Arc;

use serde_json::Value;
use touchstone_fixtures::{
    CLIENT_EVENTS, EPHEMERAL_TYPES, SERVER_EVENTS, Subject, UPDATE_TYPES, broadcast, subject_of,
};

use crate::event::{Entity, Kind};

/// What is known of an event from its name and payload.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Facts {
    pub(super) kind: Kind,
    pub(super) event: Arc<str>,
    pub(super) entity: Option<Entity>,
    pub(super) seq: Option<u64>,
    pub(super) id: Option<Arc<str>>,
}

/// The facts of an event by its name and first argument.
pub(super) fn of_event(name: &str, payload: &Value) -> Facts {
    match name {
        "update" => of_update(payload),
        "ephemeral" => of_ephemeral(payload),
        _ => Facts {
            kind: if name.starts_with("rpc-") {
                Kind::Rpc
            } else {
                Kind::Call
            },
            event: name.into(),
            entity: of_call(name, payload),
            seq: None,
            id: None,
        },
    }
}

/// The name of the event, or the type in its payload, where the specification does not list it in either
/// direction.
pub(super) fn unknown_type<'a>(name: &'a str, payload: &'a Value) -> Option<&'a str> {
    match name {
        "update" => payload["body"]["t"]
            .as_str()
            .filter(|t| !UPDATE_TYPES.contains(t)),
        "ephemeral" => payload["type"]
            .as_str()
            .filter(|t| !EPHEMERAL_TYPES.contains(t)),
        _ => {
            Some(name).filter(|name| !SERVER_EVENTS.contains(name) && !CLIENT_EVENTS.contains(name))
        }
    }
}

fn of_update(payload: &Value) -> Facts {
    let body = &payload["body"];
    let t = body["t"].as_str().unwrap_or("update");
    let entity = about(t, body);
    let seq = payload["seq"].as_u64();
    Facts {
        kind: Kind::Update,
        event: t.into(),
        entity,
        seq: seq.or_else(|| payload.pointer("/body/message/seq")?.as_u64()),
        id: text(payload, "id"),
    }
}

fn of_ephemeral(payload: &Value) -> Facts {
    let name = payload["type"].as_str().unwrap_or("ephemeral");
    let entity = about(name, payload);
    Facts {
        kind: Kind::Ephemeral,
        event: name.into(),
        entity,
        seq: None,
        id: None,
    }
}

/// What an update or ephemeral of this type is about; one that is not known may have an id all the same.
fn about(name: &str, body: &Value) -> Option<Entity> {
    match broadcast(name) {
        Some(known) => known.id(body).map(|(subject, id)| entity(subject, id)),
        None => text(body, "id").map(Entity::Other),
    }
}

/// What a client's event is about, with the session or the machine where that is all that it names.
fn of_call(name: &str, data: &Value) -> Option<Entity> {
    let (subject, key) = subject_of(name)?;
    let named = data.get(key).and_then(Value::as_str);
    match named {
        Some(id) => Some(entity(subject, id)),
        None => text(data, "machineId").map(Entity::Machine),
    }
}

fn entity(subject: Subject, id: &str) -> Entity {
    let id = id.into();
    match subject {
        Subject::Session => Entity::Session(id),
        Subject::Machine => Entity::Machine(id),
        Subject::Artifact => Entity::Artifact(id),
        Subject::Method => Entity::Method(id),
        Subject::Other => Entity::Other(id),
    }
}

fn text(object: &Value, key: &str) -> Option<Arc<str>> {
    object.get(key)?.as_str().map(Into::into)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use touchstone_fixtures::{TYPICAL, golden};

    use super::*;

    #[track_caller]
    fn check(schema: &str, name: &str, expected: &str) {
        let payload = golden(schema, TYPICAL).unwrap_or_else(|| panic!("no golden {schema}"));
        let payload = match schema.strip_prefix("update/") {
            Some(_) => serde_json::json!({"id": "u1", "seq": 5, "body": payload}),
            None => payload.clone(),
        };
        let facts = of_event(name, &payload);
        let entity = match &facts.entity {
            None => "-",
            Some(Entity::Session(_)) => "session",
            Some(Entity::Machine(_)) => "machine",
            Some(Entity::Artifact(_)) => "artifact",
            Some(Entity::Method(_)) => "method",
            Some(Entity::Other(_)) => "other",
        };
        assert_eq!(format!("{} {entity}", facts.kind), expected, "{schema}");
        let t = schema.split_once('/').map_or(schema, |(_, t)| t);
        assert_eq!(&*facts.event, t);
    }

    #[test]
    fn every_type_says_what_it_is_about() {
        for t in UPDATE_TYPES {
            let entity = match t {
                "kv-batch-update" => "-",
                "relationship-updated" | "new-feed-post" | "update-account" => "other",
                t if t.contains("machine") => "machine",
                t if t.contains("artifact") => "artifact",
                _ => "session",
            };
            check(
                &format!("update/{t}"),
                "update",
                &format!("update {entity}"),
            );
        }
        for name in EPHEMERAL_TYPES {
            let entity = if name.starts_with("machine") {
                "machine"
            } else {
                "session"
            };
            check(
                &format!("ephemeral/{name}"),
                "ephemeral",
                &format!("ephemeral {entity}"),
            );
        }
        check("event/update-metadata", "update-metadata", "call session");
        check("event/machine-alive", "machine-alive", "call machine");
        check("event/artifact-create", "artifact-create", "call artifact");
        check("event/artifact-read", "artifact-read", "call artifact");
        check("event/rpc-call", "rpc-call", "rpc method");
    }

    #[test]
    fn what_is_no_event_is_taken_as_it_is() {
        let facts = of_event("update", &Value::Null);
        assert_eq!((&*facts.event, facts.seq, facts.id), ("update", None, None));
        for (name, payload, expected) in [
            ("rpc-request", Value::Null, None),
            ("message", Value::Null, None),
            ("shout", Value::Null, Some("shout")),
            ("update", json!({"body": {"t": "new-message"}}), None),
            ("update", json!({"body": {"t": "shiny"}}), Some("shiny")),
            ("update", json!({"body": 1}), None),
            ("ephemeral", json!({"type": "shiny"}), Some("shiny")),
        ] {
            assert_eq!(unknown_type(name, &payload), expected, "{name} {payload}");
        }
    }
}
