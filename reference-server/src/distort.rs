//! Faults that change what an update says, after a builder has made it right.

use serde_json::Value;

use crate::builders::{EphemeralPayload, UpdatePayload};
use crate::faults::{Fault, Faults};

/// Applies the payload faults that are on.
pub(crate) fn update(faults: &Faults, UpdatePayload(payload): &mut UpdatePayload) {
    let t = payload["body"]["t"].as_str().unwrap_or_default().to_owned();
    if faults.on(Fault::Seconds)
        && let Some(at) = payload["createdAt"].as_i64()
    {
        payload["createdAt"] = Value::from(at / 1000);
    }
    if faults.on(Fault::NoEnvelopeId)
        && let Some(envelope) = payload.as_object_mut()
    {
        envelope.shift_remove("id");
    }
    let Some(body) = payload["body"].as_object_mut() else {
        return;
    };
    if t == "update-session" {
        if faults.on(Fault::SidKey)
            && let Some(id) = body.shift_remove("id")
        {
            body.insert("sid".to_owned(), id);
        }
        if faults.on(Fault::NullOptionals) {
            for part in ["metadata", "agentState"] {
                body.entry(part).or_insert(Value::Null);
            }
        }
    }
    if faults.on(Fault::TextVersions) && (t == "update-session" || t == "update-machine") {
        for part in body.values_mut().filter_map(Value::as_object_mut) {
            if let Some(version) = part.get_mut("version") {
                *version = Value::String(version.to_string());
            }
        }
    }
}

/// Applies the payload faults of ephemerals that are on.
pub(crate) fn ephemeral(faults: &Faults, EphemeralPayload(payload): &mut EphemeralPayload) {
    if faults.on(Fault::NoThinking)
        && payload["type"] == "activity"
        && let Some(fields) = payload.as_object_mut()
    {
        fields.shift_remove("thinking");
    }
}
