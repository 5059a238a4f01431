//! Faults that change what is understood of an event's data.

use serde_json::{Map, Value};

use crate::{Fault, Faults};

/// Fields that hold what a client wants kept as it is.
const KEPT: &[&str] = &["metadata", "agentState", "daemonState", "message"];

/// Every field that some event knows.
const KNOWN: &[&str] = &[
    "sid",
    "metadata",
    "agentState",
    "daemonState",
    "expectedVersion",
    "message",
    "localId",
    "time",
    "thinking",
    "machineId",
    "sessionId",
    "artifactId",
    "id",
    "header",
    "body",
    "dataEncryptionKey",
    "key",
    "tokens",
    "cost",
    "method",
    "params",
];

/// The length, in characters, that the fault `values-short` cuts values to.
const SHORT: usize = 64 * 1024;

/// Puts what the faults that are on understand in the place of an event's data.
pub(crate) fn rewrite(faults: &Faults, fields: &mut Map<String, Value>) {
    if faults.on(Fault::ExtraRefused) && fields.keys().any(|key| !KNOWN.contains(&key.as_str())) {
        fields.clear();
    }
    for key in KEPT {
        let Some(Value::String(text)) = fields.get_mut(*key) else {
            continue;
        };
        if faults.on(Fault::ValuesTrimmed) {
            *text = text.trim().to_owned();
        }
        if faults.on(Fault::ValuesNulCut) {
            text.retain(|letter| letter != '\0');
        }
        if faults.on(Fault::ValuesAscii) {
            *text = text
                .chars()
                .map(|c| if c.is_ascii() { c } else { '?' })
                .collect();
        }
        if faults.on(Fault::ValuesShort) && text.len() > SHORT {
            *text = text.chars().take(SHORT).collect();
        }
    }
}
