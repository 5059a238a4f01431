//! Faults in pages and lists of rows, and in what making a row is answered.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use touchstone_reference_server::seams::{HttpAnswer, HttpRequest, Seams, Server};

use crate::{Fault, Faults};

const HOUR_MS: i64 = 3_600_000;

/// Pages and lists of rows, and what making a row is answered.
#[derive(Debug)]
pub(crate) struct Pages(pub(crate) Faults);

impl Seams for Pages {
    fn response(&self, _server: &Server, request: &HttpRequest<'_>, answer: &mut HttpAnswer) {
        let faults = &self.0;
        let path = request.uri.path();
        if request.method == Method::POST {
            match path {
                "/v1/machines" if faults.on(Fault::MachineTakenRow) => taken(faults, answer),
                "/v1/artifacts" if faults.on(Fault::ArtifactTaken) => taken(faults, answer),
                "/v1/sessions" => made(faults, answer),
                _ => {}
            }
        }
        if path.starts_with("/v3/sessions/") && path.ends_with("/messages") {
            messages(faults, request, answer);
        }
    }
}

/// An id that is taken is answered with what was made last.
fn taken(faults: &Faults, answer: &mut HttpAnswer) {
    let mut records = faults.records();
    let last = &mut records.last_made;
    match answer.status {
        StatusCode::OK => *last = answer.body.clone(),
        StatusCode::CONFLICT if last.is_some() => {
            answer.status = StatusCode::OK;
            answer.body = last.clone();
        }
        _ => {}
    }
}

/// The answer to making a session.
fn made(faults: &Faults, answer: &mut HttpAnswer) {
    let body = answer.body.as_mut();
    let Some(session) = body.and_then(|body| body.get_mut("session")) else {
        return;
    };
    if faults.on(Fault::StateAtCreationChanged)
        && let Some(state) = session["agentState"].as_str()
    {
        session["agentState"] = Value::from(format!("{state} "));
    }
    if faults.on(Fault::CreatedAhead)
        && let Some(at) = session["createdAt"].as_i64()
    {
        session["createdAt"] = Value::from(at + HOUR_MS);
    }
}

/// The answer to posting messages, or to asking for a page of them.
fn messages(faults: &Faults, request: &HttpRequest<'_>, answer: &mut HttpAnswer) {
    let Some(body) = &mut answer.body else {
        return;
    };
    let Some(rows) = body.get_mut("messages").and_then(Value::as_array_mut) else {
        return;
    };
    let count = rows.len();
    if request.method == Method::POST {
        if faults.on(Fault::PostSeqless) {
            for row in rows.iter_mut().filter_map(Value::as_object_mut) {
                row.shift_remove("seq");
            }
        }
        if faults.on(Fault::BatchFifty) && count > 50 {
            answer.status = StatusCode::BAD_REQUEST;
            *body = json!({"error": "too many messages"});
        }
    } else if faults.on(Fault::PageMore) {
        let query = request.uri.query().unwrap_or_default();
        let limit = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("limit="));
        if limit.and_then(|limit| limit.parse().ok()) == Some(count) {
            body["hasMore"] = Value::Bool(true);
        }
    }
}
