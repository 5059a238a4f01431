//! Faults that change what is answered to an event.

use serde_json::Value;

use crate::{Fault, Faults};

const SESSION: &[&str] = &["update-metadata", "update-state"];
const MACHINE: &[&str] = &["machine-update-metadata", "machine-update-state"];
const VERSIONED: &[&str] = &[
    "update-metadata",
    "update-state",
    "machine-update-metadata",
    "machine-update-state",
];
const ARTIFACT: &[&str] = &[
    "artifact-read",
    "artifact-create",
    "artifact-update",
    "artifact-delete",
];

/// Errors that a fault keeps to itself: whoever waits for the answer waits for ever.
const UNTOLD: &[(Fault, &[&str])] = &[
    (Fault::SessionErrorUntold, SESSION),
    (Fault::MachineErrorUntold, MACHINE),
    (Fault::ArtifactErrorUntold, ARTIFACT),
    (Fault::UsageErrorUntold, &["usage-report"]),
    (Fault::AccessKeyErrorUntold, &["access-key-get"]),
    (Fault::RpcErrorUntold, &["rpc-call"]),
];

/// Keys that a fault leaves out of answers: the fault, the events, the object that has it, the key.
const DROPPED: &[(Fault, &[&str], &str, &str)] = &[
    (Fault::AnswerNoVersion, VERSIONED, "", "version"),
    (Fault::AnswerNoValue, VERSIONED, "", "metadata"),
    (Fault::AnswerNoValue, VERSIONED, "", "agentState"),
    (Fault::AnswerNoValue, VERSIONED, "", "daemonState"),
    (
        Fault::ArtifactAnswerShort,
        ARTIFACT,
        "/artifact",
        "bodyVersion",
    ),
    (
        Fault::ArtifactUpdateShort,
        &["artifact-update"],
        "/header",
        "version",
    ),
    (Fault::UsageAnswerShort, &["usage-report"], "", "reportId"),
    (
        Fault::AccessKeyShort,
        &["access-key-get"],
        "/accessKey",
        "dataVersion",
    ),
    (Fault::RpcNoOk, &["rpc-call"], "", "ok"),
];

/// Puts the answer that the faults that are on have instead; `None` if there is none.
pub(crate) fn rewrite(faults: &Faults, event: &str, mut answer: Value) -> Option<Value> {
    let is_error = event == "rpc-error"
        || answer["result"] == "error"
        || answer["ok"] == false
        || answer["success"] == false;
    if is_error {
        if UNTOLD
            .iter()
            .any(|(fault, events)| faults.on(*fault) && events.contains(&event))
        {
            return None;
        }
        if faults.on(Fault::ErrorText) {
            for key in ["error", "message"] {
                if let Some(text) = answer.get_mut(key) {
                    *text = Value::from("failed");
                }
            }
        }
        if faults.on(Fault::ErrorBare) && event != "rpc-error" {
            return Some(Value::from("error"));
        }
        if faults.on(Fault::RpcErrorOk) && event == "rpc-call" {
            answer["ok"] = Value::Bool(true);
        }
    }
    if faults.on(Fault::AnswerTextVersions)
        && let Some(version) = answer.get_mut("version")
    {
        *version = Value::String(version.to_string());
    }
    if faults.on(Fault::AnswerOk) && answer["result"] == "success" {
        answer["result"] = Value::from("ok");
    }
    for (fault, events, pointer, key) in DROPPED {
        if faults.on(*fault)
            && events.contains(&event)
            && let Some(fields) = answer.pointer_mut(pointer).and_then(Value::as_object_mut)
        {
            fields.shift_remove(*key);
        }
    }
    if faults.on(Fault::AnswerFalsyNull) && event == "rpc-call" {
        let is_falsy = matches!(&answer["result"], Value::Bool(false))
            || answer["result"] == 0
            || answer["result"] == "";
        if is_falsy {
            answer["result"] = Value::Null;
        }
    }
    Some(answer)
}
