//! `usage-report`: stores what a client reports to have spent under a key, per session if one is
//! named, and announces that of a session. Problems are told in the order key, tokens, cost, sessionId.

use serde_json::{Value, json};

use super::{Call, Context, INTERNAL_ERROR, Outcome};
use crate::announce::Event;
use crate::builders;
use crate::seams::Reply;
use crate::store::{Change, Usage};

pub(super) fn decide(cx: &Context<'_>, call: &Call<'_>) -> Outcome<Reply> {
    let Some(key) = call.data.name("key") else {
        return refuse("Invalid key");
    };
    let Some(tokens) = figures(call.data.get("tokens")) else {
        return refuse("Invalid tokens object - must include total");
    };
    let Some(cost) = figures(call.data.get("cost")) else {
        return refuse("Invalid cost object - must include total");
    };
    let session_id = match call.data.get("sessionId") {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) if id.is_empty() => None,
        Some(Value::String(id)) if !cx.rows.sessions.contains_key(id) => {
            return refuse("Session not found");
        }
        Some(Value::String(id)) => Some(id.clone()),
        Some(_) => return refuse("Invalid sessionId"),
    };
    // A repeated report keeps its identity, and its update is always later.
    let known = cx.rows.usage(session_id.as_deref(), key);
    let report = Usage {
        id: known.map_or_else(|| cx.new_id(), |known| known.id.clone()),
        session_id,
        tokens,
        cost,
        created_at: known.map_or(cx.now, |known| known.created_at),
        updated_at: known.map_or(cx.now, |known| cx.now.max(known.updated_at + 1)),
    };
    let outcome = Outcome::of(Reply::Ack(json!({
        "success": true,
        "reportId": report.id,
        "createdAt": report.created_at,
        "updatedAt": report.updated_at,
    })));
    let told = report
        .session_id
        .as_ref()
        .map(|id| builders::usage(id, key, &report.tokens, &report.cost, report.updated_at));
    let outcome = outcome.change(Change::UsageReported(key.to_owned(), report));
    match told {
        Some(told) => outcome.event(Event::ephemeral(told)),
        None => outcome,
    }
}

/// Figures as the interface has them: numbers only, a total among them.
fn figures(value: Option<&Value>) -> Option<Value> {
    let fields = value?.as_object()?;
    let is_right = fields.contains_key("total") && fields.values().all(Value::is_number);
    is_right.then(|| value.cloned())?
}

fn refuse(error: &str) -> Outcome<Reply> {
    Outcome::of(Reply::Ack(json!({ "success": false, "error": error })))
}

pub(super) fn internal_error() -> Value {
    json!({ "success": false, "error": INTERNAL_ERROR })
}
