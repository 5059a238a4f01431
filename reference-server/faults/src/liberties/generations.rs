//! What servers of other generations send besides, and whole generations.

use std::sync::Arc;

use serde_json::{Value, json};
use touchstone_reference_server::builders;
use touchstone_reference_server::seams::{
    Asked, Cause, Connection, Effects, Emission, Event, Frame, HttpAnswer, HttpRequest,
    RecipientFilter, Reply, Rows, Seams, Server, Update,
};

use super::delivery::frame;
use super::numbers::doubled;

/// Objects have keys that nobody has to know.
#[derive(Debug)]
pub(super) struct ExtraKeys;

fn extend(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.insert("xGeneration".to_owned(), json!({ "of": "later", "at": 1 }));
    }
}

/// What an update, an ephemeral or an answer holds objects at that are rows of the interface.
const ROWS: &[&str] = &[
    "",
    "/body",
    "/body/message",
    "/artifact",
    "/accessKey",
    "/session",
    "/machine",
];

fn extend_rows(value: &mut Value) {
    for place in ROWS {
        if let Some(row) = value.pointer_mut(place) {
            extend(row);
        }
    }
}

impl Seams for ExtraKeys {
    fn payload(&self, _event: &str, payload: &mut Value) {
        extend_rows(payload);
    }

    fn answer(&self, _server: &Server, asked: &Asked<'_>, mut answer: Value) -> Option<Value> {
        // A ping is answered with an empty object, by the specification.
        if asked.event != "ping" {
            extend_rows(&mut answer);
        }
        Some(answer)
    }

    fn response(&self, _server: &Server, request: &HttpRequest<'_>, answer: &mut HttpAnswer) {
        let is_control = request.uri.path().starts_with("/control/");
        if let Some(body) = answer.body.as_mut().filter(|_| !is_control) {
            extend_rows(body);
            for (_, list) in body.as_object_mut().into_iter().flatten() {
                list.as_array_mut().into_iter().flatten().for_each(extend);
            }
        }
    }
}

/// Connections receive events of names and types that nobody has to know.
#[derive(Debug)]
pub(super) struct ExtraEvents;

impl Seams for ExtraEvents {
    fn payload(&self, event: &str, payload: &mut Value) {
        doubled(event, payload);
    }

    fn route(
        &self,
        _server: &Server,
        emission: &Emission<'_>,
        recipients: &mut Vec<Arc<Connection>>,
    ) {
        let Some(seq) = emission.payload["seq"].as_u64() else {
            return;
        };
        let extra = json!({
            "id": format!("x{seq}"),
            "seq": seq - 1,
            "body": { "t": "xnote", "of": "later" },
            "createdAt": emission.payload["createdAt"],
        });
        let (update, ephemeral) = (
            frame("update", &extra),
            frame("ephemeral", &json!({ "type": "xnote", "of": "later" })),
        );
        for connection in recipients {
            connection.send(update.clone());
            connection.send(ephemeral.clone());
        }
    }

    fn send(&self, connection: &Arc<Connection>, packet: &Frame) -> bool {
        let is_connect = packet.starts_with('0');
        if is_connect {
            connection.push(packet.clone());
            connection.push(frame("xhello", &json!({ "of": "later" })));
        }
        !is_connect
    }
}

/// Users are told what happens in a session and which machines are gone.
#[derive(Debug)]
pub(super) struct NewestEvents;

/// What stands for a deleted machine in the one update with an id that the reference server can number.
const GONE: &str = "machine-gone-";

impl NewestEvents {
    /// What a user is to be told of in the session that this is about.
    fn told(cause: &Cause<'_>) -> Option<(String, [&'static str; 3])> {
        let texts = match cause.name {
            "message" | "message-post" => ["message", "New message", "An agent has written"],
            "session-end" => ["done", "Session ended", "An agent is done"],
            _ => return None,
        };
        let sid = cause.data.get("sid").and_then(Value::as_str)?;
        Some((sid.to_owned(), texts))
    }
}

impl Seams for NewestEvents {
    fn outcome(
        &self,
        server: &Arc<Server>,
        cause: &Cause<'_>,
        rows: &Rows,
        effects: &mut Effects,
        _reply: Option<&mut Reply>,
    ) {
        // What is ignored or refused tells nobody anything.
        if effects.events.is_empty() {
            return;
        }
        if let Some((sid, [kind, title, text])) = Self::told(cause)
            && rows.session(&sid).is_some()
        {
            let told = builders::session_event(&sid, kind, title, text, server.now());
            effects.events.push(Event {
                filter: RecipientFilter::AllInterestedInSession { session_id: sid },
                ..Event::ephemeral(told)
            });
        }
        if cause.name == "session-delete" {
            // A machine that only lived for the session, and that nobody has to know.
            let gone = Update::DeleteSession(format!("{GONE}{}", server.now()));
            effects
                .events
                .push(Event::update(gone, RecipientFilter::UserScopedOnly));
        }
    }

    fn payload(&self, _event: &str, payload: &mut Value) {
        let gone = payload.pointer("/body/sid").and_then(Value::as_str);
        let gone = gone.and_then(|sid| sid.strip_prefix(GONE));
        if let Some(id) = gone.map(str::to_owned) {
            payload["body"] = json!({ "t": "delete-machine", "machineId": id });
        }
    }
}
