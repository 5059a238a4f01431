//! Faults that change what is answered to an event.

use serde_json::{Value, json};
use touchstone_reference_server::seams::{Asked, Frame, Routed as _, Seams, Server};

use crate::{Fault, Faults, rpc};

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

/// Events that are answers of their own.
const NOTICES: &[&str] = &["rpc-registered", "rpc-unregistered", "rpc-error"];

/// What is answered to events.
#[derive(Debug)]
pub(crate) struct Answers(pub(crate) Faults);

impl Seams for Answers {
    fn answer(&self, server: &Server, asked: &Asked<'_>, answer: Value) -> Option<Value> {
        let faults = &self.0;
        let event = asked.event;
        if event == "rpc-call" {
            rpc::answered(faults, asked, &answer);
        }
        if NOTICES.contains(&event) {
            let is_silent = event == "rpc-registered" && faults.on(Fault::RpcRegisterSilent)
                || event == "rpc-unregistered" && faults.on(Fault::RpcUnregisterSilent);
            if faults.on(Fault::RpcNoticesPublic) {
                let frame = Frame::from(format!("2{}", json!([event, answer])));
                let (me, account) = (asked.connection.id(), asked.connection.account_id());
                for other in server.connections() {
                    if other.id() != me && other.account_id() == account {
                        other.push(frame.clone());
                    }
                }
            }
            if is_silent {
                return None;
            }
        } else if faults.on(Fault::NoAck) {
            return None;
        }
        let answer = match event {
            "access-key-get" if faults.on(Fault::AccessKeyCached) => cached(faults, asked, answer),
            _ => answer,
        };
        if answer["result"] == "version-mismatch" && faults.on(Fault::MismatchSeq) {
            faults.memory().skip_seq(asked.connection.account_id());
        }
        let answer = of_fields(
            faults,
            event,
            of_mismatches(faults, event, of_calls(faults, event, answer)?),
        )?;
        let is_wrapped = faults.on(Fault::AckWrapped) && !NOTICES.contains(&event);
        Some(if is_wrapped { json!([answer]) } else { answer })
    }
}

/// The first access key that the account was answered.
fn cached(faults: &Faults, asked: &Asked<'_>, answer: Value) -> Value {
    if answer["accessKey"].is_null() {
        return answer;
    }
    let account = asked.connection.account_id().to_owned();
    let mut memory = faults.memory();
    memory.access_keys.entry(account).or_insert(answer).clone()
}

/// Answers of `ping`, `rpc-call` and `access-key-get`.
fn of_calls(faults: &Faults, event: &str, mut answer: Value) -> Option<Value> {
    let error = answer["error"].as_str().unwrap_or_default();
    let is_lost = ["RPC target disconnected", "operation has timed out"].contains(&error);
    let is_unknown = error == "Session or machine not found";
    let is_keyless = answer["ok"] == true && answer["accessKey"].is_null();
    match event {
        "ping" if faults.on(Fault::PingData) => answer = Value::Null,
        "rpc-call" if is_lost && faults.on(Fault::RpcHang) => return None,
        "rpc-call" if faults.on(Fault::RpcResultWrapped) => {
            if let Some(result) = answer.get_mut("result") {
                *result = json!([result]);
            }
        }
        "access-key-get" if is_keyless && faults.on(Fault::AccessKeyMissing) => {
            answer = json!({ "ok": false, "error": "Access key not found" });
        }
        "access-key-get" if is_unknown && faults.on(Fault::AccessKeyUnknown) => {
            answer = json!({ "ok": true, "accessKey": null });
        }
        _ => {}
    }
    Some(answer)
}

/// Answers that say that a version was not the current one.
fn of_mismatches(faults: &Faults, event: &str, mut answer: Value) -> Value {
    if answer["result"] != "version-mismatch" {
        return answer;
    }
    if faults.on(Fault::MismatchAsError) {
        return match event {
            "artifact-update" => json!({ "result": "error", "message": "Version mismatch" }),
            _ => json!({ "result": "error" }),
        };
    }
    if faults.on(Fault::NoMismatchData) {
        for part in ["", "/header", "/body"] {
            let fields = answer.pointer_mut(part).and_then(Value::as_object_mut);
            if let Some(fields) = fields {
                fields.retain(|key, _| !VALUES.contains(&key.as_str()));
            }
        }
    }
    answer
}

/// Fields that tell the current value.
const VALUES: &[&str] = &[
    "metadata",
    "agentState",
    "daemonState",
    "data",
    "currentData",
];

fn of_fields(faults: &Faults, event: &str, mut answer: Value) -> Option<Value> {
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
    if faults.on(Fault::RpcFalsyNull) && event == "rpc-call" {
        let is_falsy = matches!(&answer["result"], Value::Bool(false))
            || answer["result"] == 0
            || answer["result"] == "";
        if is_falsy {
            answer["result"] = Value::Null;
        }
    }
    Some(answer)
}
