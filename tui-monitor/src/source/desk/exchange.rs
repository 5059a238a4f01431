//! HTTP exchanges: what they are about, and which updates they caused.
//!
//! An answer names what was changed: the id of what is new or gone, the version of what was written.
//! The update of that change names the same, and no other update does, so that the two find each
//! other without guessing. A repetition that changes nothing is answered alike, but what it names was
//! seen before it began. Answers that name nothing of that kind are linked with nothing.

use serde_json::{Value, json};
use touchstone_client::trace::Exchange;
use touchstone_fixtures::broadcast;

use super::{Amendment, Desk, Draft};
use crate::event::{Cause, Direction, Entity, Input, Kind};

impl Desk {
    pub(super) fn exchange(
        &mut self,
        draft: &Draft<'_>,
        exchange: &Exchange,
        out: &mut Vec<Input>,
    ) {
        let event = format!("{} {}", exchange.method, exchange.url);
        let body = |body: &Option<Value>| body.clone().unwrap_or(Value::Null);
        let raw = json!({
            "status": exchange.status,
            "request": body(&exchange.request),
            "response": body(&exchange.response),
        });
        let mut entry = self.entry(draft, Kind::Http, &event, &raw.to_string());
        let took = exchange.us.unwrap_or(exchange.ms.saturating_mul(1_000));
        entry.direction = Direction::Sent;
        entry.latency_us = Some(took);
        entry.entity = entity_of(exchange);
        if let (Some(Entity::Session(id)), false) = (&entry.entity, entry.account.is_empty()) {
            self.accounts.put(id, entry.account.clone());
        }

        // Milliseconds were rounded down.
        let began = match exchange.us {
            Some(us) => draft.t_us.saturating_sub(us),
            None => draft.t_us.saturating_sub(took + 1_000),
        };
        let (link, mut late) = (entry.number, Vec::new());
        for change in changes_of(exchange) {
            entry.link = Some(link);
            let key = format!("{} {change}", entry.account);
            match self.uncaused.take(&key) {
                None => drop(self.causes.put(&key, (link, began))),
                Some((number, at)) if at >= began => late.push(Amendment {
                    number,
                    receipt: None,
                    routed: None,
                    cause: Some(Cause {
                        link,
                        latency_us: at - began,
                    }),
                    lints: Vec::new(),
                }),
                // It was there before: this exchange has found it and changed nothing.
                Some(_) => {}
            }
        }
        out.push(entry.into());
        out.extend(late.into_iter().map(Input::Amend));
    }
}

/// What it is about: what its path names, or what it made.
fn entity_of(exchange: &Exchange) -> Option<Entity> {
    let named = |value: &Value| value.as_str().map(Into::into);
    let made = &exchange.response.as_ref().unwrap_or(&Value::Null);
    match (exchange.method.as_str(), path_of(&exchange.url).as_slice()) {
        ("POST", ["sessions"]) => named(&made["session"]["id"]).map(Entity::Session),
        ("POST", ["machines"]) => named(&made["machine"]["id"]).map(Entity::Machine),
        ("POST", ["artifacts"]) => named(&made["id"]).map(Entity::Artifact),
        (_, ["sessions" | "access-keys", id, ..]) if *id != "active" => {
            Some(Entity::Session((*id).into()))
        }
        (_, ["machines", id, ..]) => Some(Entity::Machine((*id).into())),
        (_, ["artifacts", id, ..]) => Some(Entity::Artifact((*id).into())),
        _ => None,
    }
}

/// The parts of a path behind its version, without host and query.
fn path_of(url: &str) -> Vec<&str> {
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => url,
    };
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let parts = path.split('/').filter(|part| !part.is_empty());
    parts.skip(1).collect()
}

/// What the answer says was changed, in the words of [`change_of`].
fn changes_of(exchange: &Exchange) -> Vec<String> {
    let (Some(200..=299), Some(answer)) = (exchange.status, &exchange.response) else {
        return Vec::new();
    };
    if answer["success"] == false {
        return Vec::new();
    }
    let each = |list: &Value, one: fn(&Value) -> Option<String>| {
        let list = list.as_array().map_or(&[][..], Vec::as_slice);
        list.iter().map(one).collect()
    };
    let changes: Vec<Option<String>> =
        match (exchange.method.as_str(), path_of(&exchange.url).as_slice()) {
            ("POST", ["sessions"]) => vec![new("session", &answer["session"]["id"])],
            ("DELETE", ["sessions", id]) => vec![gone("session", &json!(id))],
            ("POST", ["sessions", _, "messages"]) => {
                each(&answer["messages"], |one| message(&one["id"]))
            }
            ("POST", ["machines"]) => {
                let machine = &answer["machine"];
                // A new machine is announced twice, the second time with its metadata.
                let first = (machine["metadataVersion"] == 1)
                    .then(|| version("machine", &machine["id"], "metadata", &json!(1)));
                vec![new("machine", &machine["id"]), first.flatten()]
            }
            ("POST", ["artifacts"]) => vec![new("artifact", &answer["id"])],
            ("POST", ["artifacts", id]) => {
                let id = json!(id);
                vec![
                    version("artifact", &id, "header", &answer["headerVersion"]),
                    version("artifact", &id, "body", &answer["bodyVersion"]),
                ]
            }
            ("DELETE", ["artifacts", id]) => vec![gone("artifact", &json!(id))],
            ("POST", ["kv"]) => each(&answer["results"], value),
            ("POST", ["account", "settings"]) => vec![settings(&answer["version"])],
            _ => Vec::new(),
        };
    changes.into_iter().flatten().collect()
}

/// What an update says was changed; nothing where that could be said of other updates as well.
pub(super) fn change_of(body: &Value) -> Option<String> {
    let name = body["t"].as_str()?;
    let about = broadcast(name)?.about;
    let id = about.map_or(&Value::Null, |(_, key)| &body[key]);
    let part = |kind: &str, parts: [&str; 2]| {
        let told = parts.into_iter().find(|part| body[*part].is_object())?;
        version(kind, id, told, &body[told]["version"])
    };
    match name {
        "new-session" => new("session", id),
        "delete-session" => gone("session", id),
        "new-message" => message(&body["message"]["id"]),
        "new-machine" => new("machine", id),
        "update-machine" => part("machine", ["metadata", "daemonState"]),
        "new-artifact" => new("artifact", id),
        "update-artifact" => part("artifact", ["header", "body"]),
        "delete-artifact" => gone("artifact", id),
        // What is deleted has no version of its own.
        "kv-batch-update" => body["changes"].as_array()?.iter().find_map(value),
        "update-account" => settings(&body["settings"]["version"]),
        _ => None,
    }
}

fn new(kind: &str, id: &Value) -> Option<String> {
    Some(format!("new {kind} {:?}", id.as_str()?))
}

fn gone(kind: &str, id: &Value) -> Option<String> {
    Some(format!("gone {kind} {:?}", id.as_str()?))
}

fn message(id: &Value) -> Option<String> {
    Some(format!("message {:?}", id.as_str()?))
}

fn value(one: &Value) -> Option<String> {
    version("kv", &one["key"], "value", &one["version"])
}

fn settings(number: &Value) -> Option<String> {
    version("account", &json!("own"), "settings", number)
}

fn version(kind: &str, id: &Value, part: &str, number: &Value) -> Option<String> {
    let (id, number) = (id.as_str()?, number.as_u64()?);
    Some(format!("{kind} {id:?} {part} version {number}"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Play, got};
    use super::*;
    use crate::event::Entry;
    use crate::source::What;

    const TAKES_US: u64 = 5_000;

    fn http(call: &str, status: u16, response: &Value) -> What {
        let (method, url) = call.split_once(' ').unwrap();
        What::Http(Exchange {
            method: method.to_owned(),
            url: url.to_owned(),
            status: Some(status),
            request: None,
            response: Some(response.clone()),
            ms: TAKES_US / 1_000,
            us: Some(TAKES_US),
        })
    }

    fn update(body: &Value) -> What {
        let id = format!("u {body}");
        got(
            "update",
            &json!({"id": id, "seq": 1, "body": body, "createdAt": 1}),
        )
    }

    /// The entry of an exchange, and what it tells of updates before it.
    fn answered(play: &mut Play, conn: &str, what: &What) -> (Entry, Vec<Amendment>) {
        let mut entry = None;
        let mut told = Vec::new();
        for input in play.all(conn, what) {
            match input {
                Input::Entry(one) => entry = Some(*one),
                Input::Amend(amendment) => told.push(amendment),
                other => panic!("{other:?}"),
            }
        }
        (entry.unwrap(), told)
    }

    /// Whether an exchange and an update find each other, whichever is seen first.
    #[track_caller]
    fn check(call: &str, response: &Value, body: &Value, expected: bool) {
        let exchange = http(call, 200, response);
        let mut play = Play::new();
        play.t_us = TAKES_US;
        let before = play.entry("a1/user", &update(body));
        let (entry, told) = answered(&mut play, "a1/http", &exchange);
        let causes: Vec<_> = told.iter().map(|one| (one.number, one.cause)).collect();
        let cause = Cause {
            link: entry.number,
            latency_us: TAKES_US - 1_000,
        };
        let wanted = match expected {
            true => vec![(before.number, Some(cause))],
            false => Vec::new(),
        };
        assert_eq!(causes, wanted, "{call}: the update came first");

        let mut play = Play::new();
        play.t_us = TAKES_US;
        let (entry, told) = answered(&mut play, "a1/http", &exchange);
        assert_eq!(told, []);
        let after = play.entry("a1/user", &update(body));
        let linked = after.link.is_some() && after.link == entry.link;
        assert_eq!(linked, expected, "{call}: the answer came first");
        let latency = expected.then_some(TAKES_US + 1_000);
        assert_eq!(after.latency_us, latency, "{call}");

        let mut play = Play::new();
        answered(&mut play, "a2/http", &exchange);
        let foreign = play.entry("a1/user", &update(body));
        assert_eq!(foreign.link, None, "{call}: another account");
    }

    #[test]
    fn an_exchange_and_what_it_changed_find_each_other() {
        let session = json!({"session": {"id": "s1"}});
        let new = json!({"t": "new-session", "id": "s1"});
        check("POST /v1/sessions", &session, &new, true);
        check("POST http://host:1/v1/sessions?x=1", &session, &new, true);
        check("GET /v1/sessions", &session, &new, false);
        let other = json!({"t": "new-session", "id": "s2"});
        check("POST /v1/sessions", &session, &other, false);

        let done = json!({"success": true});
        let gone = json!({"t": "delete-session", "sid": "s1"});
        check("DELETE /v1/sessions/s1", &done, &gone, true);
        check("DELETE /v1/sessions/s2", &done, &gone, false);
        let failed = json!({"success": false});
        check("DELETE /v1/sessions/s1", &failed, &gone, false);

        let sent = json!({"messages": [{"id": "m1", "seq": 1}, {"id": "m2", "seq": 2}]});
        let message = json!({"t": "new-message", "sid": "s1", "message": {"id": "m2", "seq": 2}});
        check("POST /v3/sessions/s1/messages", &sent, &message, true);

        let machine = |version| json!({"machine": {"id": "m", "metadataVersion": version}});
        let new = json!({"t": "new-machine", "machineId": "m"});
        let first = |version| json!({"t": "update-machine", "machineId": "m", "metadata": {"value": "x", "version": version}});
        check("POST /v1/machines", &machine(1), &new, true);
        check("POST /v1/machines", &machine(1), &first(1), true);
        check("POST /v1/machines", &machine(1), &first(2), false);
        // Somebody else has changed it, or it would not be that far.
        check("POST /v1/machines", &machine(2), &first(2), false);

        let artifact = json!({"id": "a", "headerVersion": 1, "bodyVersion": 1});
        let new = json!({"t": "new-artifact", "artifactId": "a"});
        check("POST /v1/artifacts", &artifact, &new, true);
        let written = json!({"success": true, "bodyVersion": 4});
        let body = |version| json!({"t": "update-artifact", "artifactId": "a", "body": {"value": "x", "version": version}});
        check("POST /v1/artifacts/a", &written, &body(4), true);
        check("POST /v1/artifacts/a", &written, &body(3), false);
        let gone = json!({"t": "delete-artifact", "artifactId": "a"});
        check("DELETE /v1/artifacts/a", &done, &gone, true);

        let stored = json!({"success": true, "results": [{"key": "k", "version": 2}]});
        let batch = |version| json!({"t": "kv-batch-update", "changes": [{"key": "k", "value": "x", "version": version}]});
        check("POST /v1/kv", &stored, &batch(2), true);
        check("POST /v1/kv", &stored, &batch(-1), false);

        let written = json!({"success": true, "version": 3});
        let settings = |version| json!({"t": "update-account", "id": "c", "settings": {"value": "x", "version": version}});
        check("POST /v1/account/settings", &written, &settings(3), true);
        check("POST /v1/account/settings", &written, &settings(4), false);
    }

    #[test]
    fn what_was_there_before_an_exchange_began_is_not_its_doing() {
        let mut play = Play::new();
        play.entry("a1/user", &update(&json!({"t": "new-session", "id": "s1"})));
        play.t_us += TAKES_US;
        let again = http("POST /v1/sessions", 200, &json!({"session": {"id": "s1"}}));
        let (_, told) = answered(&mut play, "a1/http", &again);
        assert_eq!(told, []);
    }

    #[test]
    fn what_failed_is_no_cause() {
        let mut play = Play::new();
        let failed = http("POST /v1/sessions", 500, &json!({"session": {"id": "s1"}}));
        answered(&mut play, "a1/http", &failed);
        let new = play.entry("a1/user", &update(&json!({"t": "new-session", "id": "s1"})));
        assert_eq!(new.link, None);
    }

    #[test]
    fn several_updates_belong_to_one_exchange() {
        let mut play = Play::new();
        for id in ["m1", "m2"] {
            let body = json!({"t": "new-message", "sid": "s1", "message": {"id": id}});
            play.entry("a1/user", &update(&body));
        }
        let sent = json!({"messages": [{"id": "m1"}, {"id": "m2"}]});
        let call = http("POST /v3/sessions/s1/messages", 200, &sent);
        let (entry, told) = answered(&mut play, "a1/http", &call);
        let links: Vec<_> = told.iter().map(|one| Some(one.cause?.link)).collect();
        assert_eq!(links, [Some(entry.number), Some(entry.number)]);
    }

    #[track_caller]
    fn about(call: &str, response: &Value, expected: Option<&Entity>) {
        let (entry, _) = answered(&mut Play::new(), "a1/http", &http(call, 200, response));
        assert_eq!(entry.entity.as_ref(), expected, "{call}");
    }

    #[test]
    fn what_an_exchange_is_about() {
        let session = Entity::Session("s1".into());
        about(
            "POST /v1/sessions",
            &json!({"session": {"id": "s1"}}),
            Some(&session),
        );
        about(
            "GET /v3/sessions/s1/messages?limit=2",
            &json!(null),
            Some(&session),
        );
        about("PUT /v1/access-keys/s1/m1", &json!(null), Some(&session));
        about("GET /v2/sessions/active", &json!(null), None);
        about("GET /v1/sessions", &json!(null), None);
        let machine = Entity::Machine("m1".into());
        about(
            "POST /v1/machines",
            &json!({"machine": {"id": "m1"}}),
            Some(&machine),
        );
        about("GET /v1/machines/m1", &json!(null), Some(&machine));
        let artifact = Entity::Artifact("a".into());
        about("DELETE /v1/artifacts/a", &json!(null), Some(&artifact));
        about("GET /v1/kv/k", &json!(null), None);
    }

    #[test]
    fn decisions_nobody_got_are_of_the_account_that_made_the_session() {
        let mut play = Play::new();
        let made = http("POST /v1/sessions", 200, &json!({"session": {"id": "s1"}}));
        let (made, _) = answered(&mut play, "a1/http", &made);
        let mut decided = |body: Value| {
            let payload = json!({"id": body["t"], "seq": 1, "body": body, "createdAt": 1});
            let decision = json!({"account": "c99", "event": "update", "payload": payload,
                "filter": {"type": "user-scoped-only"}, "recipients": [], "skipped": null});
            play.entry("-/-", &What::Decision(decision.to_string()))
        };
        let new = decided(json!({"t": "new-session", "id": "s1"}));
        assert_eq!((&*new.account, new.link), ("a1", Some(made.number)));
        // From then on it is known how the router calls that account.
        let machine = decided(json!({"t": "new-machine", "machineId": "m"}));
        assert_eq!(&*machine.account, "a1");
    }
}
