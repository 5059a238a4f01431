//! Faults that change what an update or an ephemeral says, after a builder has made it right.

use serde_json::{Map, Value};
use touchstone_reference_server::seams::Seams;

use crate::{Fault, Faults};

/// Keys of a body or an ephemeral that a fault gives another name: the fault, the types that it
/// concerns, the right key, the wrong key.
const RENAMED: &[(Fault, &[&str], &str, &str)] = &[
    (Fault::SidKey, &["update-session"], "id", "sid"),
    (Fault::NewSessionKey, &["new-session"], "id", "sid"),
    (Fault::DeleteSessionKey, &["delete-session"], "sid", "id"),
    (Fault::MessageKey, &["new-message"], "sid", "id"),
    (
        Fault::MachineKey,
        &["new-machine", "update-machine"],
        "machineId",
        "id",
    ),
    (Fault::ArtifactKey, &["update-artifact"], "artifactId", "id"),
    (Fault::NewArtifactKey, &["new-artifact"], "artifactId", "id"),
    (
        Fault::DeleteArtifactKey,
        &["delete-artifact"],
        "artifactId",
        "id",
    ),
    (Fault::AccountKey, &["update-account"], "id", "userId"),
    (Fault::ActivityKey, &["activity"], "id", "sid"),
    (
        Fault::MachineActivityKey,
        &["machine-activity"],
        "id",
        "machineId",
    ),
    (Fault::UsageKey, &["usage"], "id", "sessionId"),
];

/// Keys that a fault leaves out: the fault, the type that it concerns, the object that has the key,
/// the key.
const DROPPED: &[(Fault, &str, &str, &str)] = &[
    (Fault::NewSessionShort, "new-session", "", "metadata"),
    (
        Fault::NewSessionNoVersion,
        "new-session",
        "",
        "metadataVersion",
    ),
    (Fault::FeedNoCursor, "new-feed-post", "", "cursor"),
    (Fault::NewMachineShort, "new-machine", "", "metadata"),
    (
        Fault::NewMachineNoVersion,
        "new-machine",
        "",
        "metadataVersion",
    ),
    (Fault::NewArtifactShort, "new-artifact", "", "body"),
    (Fault::MessageNoId, "new-message", "/message", "id"),
    (Fault::MessageNoSeq, "new-message", "/message", "seq"),
    (Fault::LocalIdAbsent, "new-message", "/message", "localId"),
    (Fault::NoThinking, "activity", "", "thinking"),
    (Fault::ActivityNoTime, "activity", "", "activeAt"),
    (
        Fault::MachineActivityNoTime,
        "machine-activity",
        "",
        "activeAt",
    ),
    (Fault::UsageNoCost, "usage", "", "cost"),
];

/// Parts that stay null instead of absent: the fault, the type that it concerns, the parts.
const NULLED: &[(Fault, &str, &[&str])] = &[
    (
        Fault::NullOptionals,
        "update-session",
        &["metadata", "agentState"],
    ),
    (
        Fault::NullMachineParts,
        "update-machine",
        &["metadata", "daemonState"],
    ),
    (
        Fault::NullArtifactParts,
        "update-artifact",
        &["header", "body"],
    ),
];

/// Values that a fault puts in the place of the right ones: the fault, the types that it concerns, a
/// pointer to the value, and what makes the wrong one of it.
type Rewrite = (
    Fault,
    &'static [&'static str],
    &'static str,
    fn(&Value) -> Value,
);

const VERSIONED: &[&str] = &["update-session", "update-machine", "update-artifact"];

const REWRITTEN: &[Rewrite] = &[
    (Fault::TextVersions, VERSIONED, "/metadata/version", as_text),
    (
        Fault::TextVersions,
        VERSIONED,
        "/agentState/version",
        as_text,
    ),
    (
        Fault::TextVersions,
        VERSIONED,
        "/daemonState/version",
        as_text,
    ),
    (Fault::TextVersions, VERSIONED, "/header/version", as_text),
    (Fault::OldVersions, VERSIONED, "/metadata/version", one_less),
    (
        Fault::OldVersions,
        VERSIONED,
        "/agentState/version",
        one_less,
    ),
    (
        Fault::OldVersions,
        VERSIONED,
        "/daemonState/version",
        one_less,
    ),
    (Fault::OldVersions, VERSIONED, "/header/version", one_less),
    (Fault::BareValues, VERSIONED, "/metadata", bare),
    (Fault::BareValues, VERSIONED, "/agentState", bare),
    (Fault::BareValues, VERSIONED, "/daemonState", bare),
    (Fault::BareValues, VERSIONED, "/header", bare),
    (
        Fault::NewSessionStateless,
        &["new-session"],
        "/agentState",
        |_| Value::Null,
    ),
    (
        Fault::MessagePlain,
        &["new-message"],
        "/message/content",
        plain,
    ),
    (
        Fault::MessageSeconds,
        &["new-message"],
        "/message/createdAt",
        in_seconds,
    ),
    (Fault::ThinkingText, &["activity"], "/thinking", as_text),
    (Fault::ThinkingStuck, &["activity"], "/thinking", |_| {
        Value::Bool(false)
    }),
    (
        Fault::ActivitySeconds,
        &["activity", "machine-activity"],
        "/activeAt",
        in_seconds,
    ),
    (
        Fault::NewMachineSeconds,
        &["new-machine"],
        "/activeAt",
        in_seconds,
    ),
    (
        Fault::KvChangesMap,
        &["kv-batch-update"],
        "/changes",
        by_key,
    ),
    (Fault::EndActive, &["activity"], "/active", |_| {
        Value::Bool(true)
    }),
    (Fault::UsageTotals, &["usage"], "/tokens", |tokens| {
        tokens["total"].clone()
    }),
];

fn as_text(value: &Value) -> Value {
    Value::String(value.to_string())
}

fn one_less(value: &Value) -> Value {
    value
        .as_i64()
        .map_or(Value::Null, |version| Value::from(version - 1))
}

fn bare(part: &Value) -> Value {
    part["value"].clone()
}

fn plain(content: &Value) -> Value {
    content["c"].clone()
}

fn by_key(changes: &Value) -> Value {
    let changes = changes.as_array().map_or(&[][..], Vec::as_slice);
    let entry = |change: &Value| Some((change["key"].as_str()?.to_owned(), change.clone()));
    Value::Object(changes.iter().filter_map(entry).collect())
}

fn in_seconds(at: &Value) -> Value {
    at.as_i64().map_or(Value::Null, |at| Value::from(at / 1000))
}

/// What events say.
#[derive(Debug)]
pub(crate) struct Payloads(pub(crate) Faults);

impl Seams for Payloads {
    fn payload(&self, event: &str, payload: &mut Value) {
        let faults = &self.0;
        if event == "update" {
            update(faults, payload);
        } else {
            ephemeral(faults, payload);
        }
    }
}

fn update(faults: &Faults, payload: &mut Value) {
    let event_type = payload["body"]["t"].as_str().unwrap_or_default().to_owned();
    if let Some(body) = payload.get_mut("body") {
        parts(faults, &event_type, body);
    }
    if faults.on(Fault::Seconds) {
        payload["createdAt"] = in_seconds(&payload["createdAt"]);
    }
    if faults.on(Fault::SeqText) {
        payload["seq"] = as_text(&payload["seq"]);
    }
    if faults.on(Fault::SameEnvelopeId) {
        payload["id"] = Value::from("update");
    }
    let Some(envelope) = payload.as_object_mut() else {
        return;
    };
    for (fault, key) in [
        (Fault::NoEnvelopeId, "id"),
        (Fault::NoEnvelopeSeq, "seq"),
        (Fault::NoCreatedAt, "createdAt"),
    ] {
        if faults.on(fault) {
            envelope.shift_remove(key);
        }
    }
    if faults.on(Fault::FlatBody)
        && let Some(Value::Object(body)) = envelope.shift_remove("body")
    {
        envelope.extend(
            body.into_iter()
                .filter(|(key, _)| key != "id" && key != "seq"),
        );
    }
}

fn ephemeral(faults: &Faults, payload: &mut Value) {
    let event_type = payload["type"].as_str().unwrap_or_default().to_owned();
    parts(faults, &event_type, payload);
    if faults.on(Fault::EphemeralTypeKey)
        && let Some(fields) = payload.as_object_mut()
    {
        rename(fields, "type", "t");
    }
}

/// What the tables say of one type of event.
fn parts(faults: &Faults, event_type: &str, body: &mut Value) {
    for (fault, types, pointer, wrong) in REWRITTEN {
        if faults.on(*fault)
            && types.contains(&event_type)
            && let Some(value) = body.pointer_mut(pointer)
        {
            *value = wrong(value);
        }
    }
    for (fault, concerned, pointer, key) in DROPPED {
        if faults.on(*fault)
            && *concerned == event_type
            && let Some(fields) = body.pointer_mut(pointer).and_then(Value::as_object_mut)
        {
            fields.shift_remove(*key);
        }
    }
    let Some(fields) = body.as_object_mut() else {
        return;
    };
    if faults.on(Fault::MachineActiveSeconds) && event_type == "update-machine" {
        fields.insert("activeAt".to_owned(), Value::from(1_800_000_000));
    }
    for (fault, concerned, parts) in NULLED {
        if faults.on(*fault) && *concerned == event_type {
            for part in *parts {
                fields.entry(*part).or_insert(Value::Null);
            }
        }
    }
    for (fault, types, right, wrong) in RENAMED {
        if faults.on(*fault) && types.contains(&event_type) {
            rename(fields, right, wrong);
        }
    }
}

fn rename(fields: &mut Map<String, Value>, right: &str, wrong: &str) {
    if let Some(value) = fields.shift_remove(right) {
        fields.insert(wrong.to_owned(), value);
    }
}
