//! Faults in what calls carry, method names among it, and in the parts of answers that do not apply.

use serde_json::{Map, Number, Value};
use touchstone_reference_server::seams::{Asked, Connection, Frame, Seams, Server};

use crate::{Fault, Faults};

/// How many characters of a method's name the fault `rpc-names-cut` keeps.
const NAME: usize = 255;

/// Puts what the faults that are on register in the place of a method's name.
pub(crate) fn register(faults: &Faults, fields: &mut Map<String, Value>) {
    let Some(Value::String(method)) = fields.get_mut("method") else {
        return;
    };
    if faults.on(Fault::RpcNamesFolded) {
        *method = method.to_lowercase();
    }
    if faults.on(Fault::RpcNamesTrimmed) {
        *method = method.trim().to_owned();
    }
    if faults.on(Fault::RpcNamesCut) {
        *method = method.chars().take(NAME).collect();
    }
}

/// Puts what the faults that are on understand in the place of a version.
#[expect(
    clippy::cast_possible_truncation,
    reason = "cutting is what this fault does"
)]
pub(crate) fn version(faults: &Faults, fields: &mut Map<String, Value>) {
    if faults.on(Fault::VersionsCut)
        && let Some(version) = fields.get_mut("expectedVersion")
        && let Some(whole) = version.as_i64()
    {
        *version = Value::from(whole as i32);
    }
}

/// Parts that an answer has only where they apply, by events.
const OPTIONAL: &[(&[&str], &[&str])] = &[
    (
        &["update-metadata", "update-state"],
        &["message", "version"],
    ),
    (
        &["machine-update-metadata", "machine-update-state"],
        &["message", "version"],
    ),
    (
        &[
            "artifact-read",
            "artifact-create",
            "artifact-update",
            "artifact-delete",
        ],
        &["message"],
    ),
    (&["access-key-get", "usage-report", "rpc-call"], &["error"]),
];

/// What a text says, if that is JSON and more than a text.
fn parsed(text: &str) -> Option<Value> {
    serde_json::from_str(text)
        .ok()
        .filter(|value: &Value| !value.is_null())
}

/// What calls are answered, and the parts of answers that do not apply.
#[derive(Debug)]
pub(crate) struct Results(pub(crate) Faults);

impl Seams for Results {
    fn answer(&self, _server: &Server, asked: &Asked<'_>, mut answer: Value) -> Option<Value> {
        let (faults, event) = (&self.0, asked.event);
        if event == "rpc-call" {
            if faults.on(Fault::RpcResultParsed)
                && let Some(parsed) = answer["result"].as_str().and_then(parsed)
            {
                answer["result"] = parsed;
            }
            if faults.on(Fault::RpcResultAnswer) && answer["result"].get("ok").is_some() {
                return Some(answer["result"].take());
            }
        }
        if faults.on(Fault::NullAbsentParts)
            && let Some((_, parts)) = OPTIONAL.iter().find(|(events, _)| events.contains(&event))
            && let Some(fields) = answer.as_object_mut()
        {
            for part in *parts {
                fields.entry(*part).or_insert(Value::Null);
            }
        }
        Some(answer)
    }
}

/// A packet is about to be sent; false where another has been sent instead.
pub(crate) fn send(faults: &Faults, connection: &Connection, frame: &Frame) -> bool {
    if !frame.contains("[\"rpc-request\",") {
        return true;
    }
    faults.records().requested();
    if faults.strikes(Fault::RpcNthTwice) {
        connection.push(frame.clone());
    }
    match request(faults, frame) {
        Some(changed) => {
            connection.push(changed.into());
            false
        }
        None => true,
    }
}

/// What an `rpc-request` becomes, if a fault changes it.
fn request(faults: &Faults, frame: &str) -> Option<String> {
    if !faults.on(Fault::RpcIntsCut) && !faults.on(Fault::RpcFloatsShort) {
        return None;
    }
    let start = frame.find("[\"rpc-request\",")?;
    let (head, args) = frame.split_at(start);
    let mut args: Value = serde_json::from_str(args).ok()?;
    numbers(faults, args.get_mut(1)?.get_mut("params")?);
    Some(format!("{head}{args}"))
}

/// Changes each number within `value`.
fn numbers(faults: &Faults, value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| numbers(faults, item)),
        Value::Object(fields) => fields.values_mut().for_each(|field| numbers(faults, field)),
        Value::Number(number) => {
            if let Some(shorter) = shorter(faults, number) {
                *value = shorter;
            }
        }
        _ => {}
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "cutting is what these faults do"
)]
fn shorter(faults: &Faults, number: &Number) -> Option<Value> {
    match number.as_i64() {
        Some(whole) => faults
            .on(Fault::RpcIntsCut)
            .then(|| Value::from(whole as i32)),
        None if faults.on(Fault::RpcFloatsShort) => {
            let short = number.as_f64()? as f32;
            Number::from_f64(f64::from(short)).map(Value::Number)
        }
        None => None,
    }
}
