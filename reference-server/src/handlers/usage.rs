//! `usageHandler`: what clients report to have spent.

use serde_json::{Value, json};

use super::{Answer, Call, INTERNAL_ERROR};
use crate::builders;
use crate::faults::{Fault, Faults};

/// `usage-report`: stores the figures of a key, per session if one is named, and announces those of
/// a session. Problems are told in the order key, tokens, cost, sessionId.
pub(super) fn report(call: &Call<'_>) -> Answer {
    let Some(key) = call.data.name("key") else {
        return refuse("Invalid key");
    };
    let faults = call.faults();
    if faults.on(Fault::UsageErrorOrder) && figures(call.data.get("cost"), faults).is_none() {
        return refuse("Invalid cost object - must include total");
    }
    let Some(tokens) = figures(call.data.get("tokens"), faults) else {
        return refuse("Invalid tokens object - must include total");
    };
    let Some(cost) = figures(call.data.get("cost"), faults) else {
        return refuse("Invalid cost object - must include total");
    };
    let session_id = match call.data.get("sessionId") {
        None | Some(Value::Null) if faults.on(Fault::UsageSessionRequired) => {
            return refuse("Invalid sessionId");
        }
        None | Some(Value::Null) => None,
        Some(Value::String(id)) if id.is_empty() => None,
        Some(Value::String(id)) => Some(id.clone()),
        Some(_) => return refuse("Invalid sessionId"),
    };
    let mut state = call.account().lock();
    if session_id
        .as_ref()
        .is_some_and(|id| !state.sessions.contains_key(id))
    {
        return refuse("Session not found");
    }
    let report = state.report_usage(key.to_owned(), session_id, tokens, cost, call.faults());
    let answer = json!({
        "success": true,
        "reportId": report.id,
        "createdAt": report.created_at,
        "updatedAt": report.updated_at,
    });
    let everywhere = call.faults().on(Fault::UsageEverywhere).then_some("");
    if let Some(session_id) = report.session_id.as_deref().or(everywhere) {
        let payload = builders::usage(
            session_id,
            key,
            &report.tokens,
            &report.cost,
            report.updated_at,
        );
        call.app.ephemeral(call.account(), &state, payload);
    }
    Answer::Now(answer)
}

/// Figures as the interface has them: numbers only, a total among them.
fn figures(value: Option<&Value>, faults: &Faults) -> Option<Value> {
    let fields = value?.as_object()?;
    let has_total = fields.contains_key("total") || faults.on(Fault::UsageTotalOptional);
    (has_total && fields.values().all(Value::is_number)).then(|| value.cloned())?
}

fn refuse(error: &str) -> Answer {
    Answer::Now(json!({ "success": false, "error": error }))
}

pub(super) fn internal_error() -> Value {
    json!({ "success": false, "error": INTERNAL_ERROR })
}
