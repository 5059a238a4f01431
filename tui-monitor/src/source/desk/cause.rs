//! What causes what: the keys by which a client's event and the updates that it causes find each other.
//!
//! No id travels from the one to the other, so both are described by what they have in common: the
//! account, the entity and the new value.

use serde_json::Value;
use touchstone_fixtures::{broadcast, caused_by, subject_of};

use crate::source::Origin;

/// What tells one remote call of an account from another.
pub(super) fn rpc_key(origin: &Origin, data: &Value) -> String {
    format!("{} {} {}", origin.account, data["method"], data["params"])
}

/// The updates that a client's event causes, by what tells them apart.
pub(super) fn effects_of(origin: &Origin, name: &str, data: &Value) -> Vec<String> {
    let (Some(effect), Some((_, id))) = (caused_by(name), subject_of(name)) else {
        return Vec::new();
    };
    let key = |what: &str, value: &Value| {
        format!(
            "{} {} {} {what} {value}",
            origin.account, effect.name, data[id]
        )
    };
    let written = |part| vec![key(part, &data[part])];
    match name {
        "message" if data["localId"].is_string() => vec![key("message", &data["localId"])],
        "message" => written("message"),
        "update-metadata" | "machine-update-metadata" => written("metadata"),
        "update-state" => written("agentState"),
        "machine-update-state" => written("daemonState"),
        "artifact-create" | "artifact-delete" => vec![key("all", &Value::Null)],
        "artifact-update" => ["header", "body"]
            .into_iter()
            .filter_map(|part| Some(key(part, data.get(part)?.get("data")?)))
            .collect(),
        _ => Vec::new(),
    }
}

/// The same text for the update that was caused.
pub(super) fn cause_of(account: &str, body: &Value) -> Option<String> {
    let effect = broadcast(body["t"].as_str()?)?;
    let (_, id) = effect.about?;
    let key = |what: &str, value: &Value| {
        format!("{account} {} {} {what} {value}", effect.name, body[id])
    };
    let part = |parts: [&str; 2]| {
        let part = parts.into_iter().find(|part| body.get(part).is_some())?;
        Some(key(part, &body[part]["value"]))
    };
    match effect.name {
        "new-message" => {
            let message = &body["message"];
            Some(match &message["localId"] {
                Value::Null => key("message", &message["content"]["c"]),
                local => key("message", local),
            })
        }
        "update-session" => part(["metadata", "agentState"]),
        "update-machine" => part(["metadata", "daemonState"]),
        "update-artifact" => part(["header", "body"]),
        "new-artifact" | "delete-artifact" => Some(key("all", &Value::Null)),
        _ => None,
    }
}
