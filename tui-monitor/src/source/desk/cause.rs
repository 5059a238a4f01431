//! What causes what: the keys by which a client's event and the updates that it causes find each other.
//!
//! No id travels from the one to the other, so both are described by what they have in common: the
//! account, the entity and the new value.

use serde_json::Value;

use crate::source::Origin;

/// What tells one remote call of an account from another.
pub(super) fn rpc_key(origin: &Origin, data: &Value) -> String {
    format!("{} {} {}", origin.account, data["method"], data["params"])
}

/// The updates that a client's event causes, by what tells them apart.
pub(super) fn effects_of(origin: &Origin, name: &str, data: &Value) -> Vec<String> {
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
pub(super) fn cause_of(account: &str, body: &Value) -> Option<String> {
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
