//! What is kept of a value, and what else answers and events hold.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Value, json};
use touchstone_reference_server::Config;
use touchstone_reference_server::seams::{
    Admission, Asked, Call, Flow, HttpAnswer, HttpRequest, Seams, Server,
};

/// Times have a resolution of a second.
#[derive(Debug)]
pub(super) struct CoarseTimes;

/// Milliseconds of a second.
const SECOND: i64 = 1_000;

impl Seams for CoarseTimes {
    fn settings(&self, config: &mut Config) {
        config.clock = config.clock.rounded_to(SECOND);
    }

    fn call(&self, _server: &Server, call: &mut Call<'_>) -> Flow {
        if let Some(time) = call.data.get_mut("time")
            && let Some(exact) = time.as_i64()
        {
            *time = exact.div_euclid(SECOND).saturating_mul(SECOND).into();
        }
        Flow::Handle
    }
}

/// Values of the key-value store are bytes, which are shown as base64.
#[derive(Debug)]
pub(super) struct Base64Kv;

/// What another text decodes to, as far as it can be decoded, encoded again.
fn reencoded(text: &str) -> String {
    let lenient = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let lenient = GeneralPurpose::new(&base64::alphabet::STANDARD, lenient);
    let mut known: String = text
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "+/".contains(*c))
        .collect();
    if known.len() % 4 == 1 {
        known.pop();
    }
    STANDARD.encode(lenient.decode(known).unwrap_or_default())
}

/// Puts bytes in the place of the `value` of each entry.
fn reencode(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(text)) = fields.get_mut("value") {
                *text = reencoded(text);
            }
            fields.values_mut().for_each(reencode);
        }
        Value::Array(items) => items.iter_mut().for_each(reencode),
        _ => {}
    }
}

impl Seams for Base64Kv {
    fn payload(&self, _event: &str, payload: &mut Value) {
        if payload["body"]["t"] == "kv-batch-update" {
            reencode(&mut payload["body"]["changes"]);
        }
    }

    fn response(&self, _server: &Server, request: &HttpRequest<'_>, answer: &mut HttpAnswer) {
        if request.uri.path().starts_with("/v1/kv")
            && let Some(body) = &mut answer.body
        {
            reencode(body);
        }
    }
}

/// Of a usage report only the figures are kept that the server knows.
#[derive(Debug)]
pub(super) struct KnownUsage;

const USAGE: &[(&str, &[&str])] = &[
    (
        "tokens",
        &["total", "input", "output", "cache_creation", "cache_read"],
    ),
    ("cost", &["total", "input", "output"]),
];

impl Seams for KnownUsage {
    fn call(&self, _server: &Server, call: &mut Call<'_>) -> Flow {
        if call.event == "usage-report" {
            for (part, known) in USAGE {
                if let Some(Value::Object(figures)) = call.data.get_mut(*part) {
                    // What is no number is refused, known or not.
                    figures.retain(|name, figure| {
                        known.contains(&name.as_str()) || !figure.is_number()
                    });
                }
            }
        }
        Flow::Handle
    }
}

/// A new session starts without the agent state that it is posted with.
#[derive(Debug)]
pub(super) struct AgentStateIgnored;

impl Seams for AgentStateIgnored {
    fn settings(&self, config: &mut Config) {
        config.policy.state_at_creation = false;
    }
}

/// Machines and artifacts of two accounts may have the same id.
#[derive(Debug)]
pub(super) struct IdsPerAccount;

impl Seams for IdsPerAccount {
    fn settings(&self, config: &mut Config) {
        config.policy.ids_per_account = true;
    }
}

/// What an answer may hold besides what it always holds.
const OPTIONAL: &[(&str, &[&str])] = &[
    ("update-metadata", &["version", "metadata"]),
    ("update-state", &["version", "agentState"]),
    (
        "machine-update-metadata",
        &["message", "version", "metadata"],
    ),
    (
        "machine-update-state",
        &["message", "version", "daemonState"],
    ),
    ("artifact-read", &["message", "artifact"]),
    ("artifact-create", &["message", "artifact"]),
    ("artifact-update", &["message", "header", "body"]),
    ("artifact-delete", &["message"]),
    ("access-key-get", &["error", "accessKey"]),
    (
        "usage-report",
        &["error", "reportId", "createdAt", "updatedAt"],
    ),
    ("rpc-call", &["error", "result"]),
];

/// Optional parts of an answer that do not apply are null instead of absent.
#[derive(Debug)]
pub(super) struct NullParts;

impl Seams for NullParts {
    fn answer(&self, _server: &Server, asked: &Asked<'_>, mut answer: Value) -> Option<Value> {
        let parts = OPTIONAL.iter().find(|(of, _)| *of == asked.event);
        if let (Some((_, parts)), Value::Object(fields)) = (parts, &mut answer) {
            for part in *parts {
                fields.entry(*part).or_insert(Value::Null);
            }
        }
        Some(answer)
    }
}

/// Errors are worded in another way.
#[derive(Debug)]
pub(super) struct ErrorTexts;

/// Another wording, from which one can still tell one error from another.
fn reworded(text: &str) -> String {
    format!(
        "E{:04}",
        text.bytes()
            .fold(7_u32, |sum, byte| (sum * 31 + u32::from(byte)) % 10_000)
    )
}

impl ErrorTexts {
    fn reword(value: &mut Value) {
        for key in ["error", "message"] {
            if let Some(Value::String(text)) = value.get_mut(key) {
                *text = reworded(text);
            }
        }
    }
}

impl Seams for ErrorTexts {
    fn admit(&self, _server: &Server, _auth: &Value, right: Admission) -> Admission {
        match right {
            Admission::Refused(text) => Admission::Refused(reworded(&text)),
            Admission::Expelled(text) => Admission::Expelled(reworded(&text)),
            Admission::Dismissed(text) => Admission::Dismissed(reworded(&text)),
            right => right,
        }
    }

    fn answer(&self, _server: &Server, _asked: &Asked<'_>, mut answer: Value) -> Option<Value> {
        Self::reword(&mut answer);
        Some(answer)
    }

    fn response(&self, _server: &Server, _request: &HttpRequest<'_>, answer: &mut HttpAnswer) {
        if let Some(body) = answer
            .body
            .as_mut()
            .filter(|_| answer.status.as_u16() >= 400)
        {
            Self::reword(body);
        }
    }
}

/// An event that the server does not know is answered with an error.
#[derive(Debug)]
pub(super) struct UnknownAnswered;

/// The events that the server knows.
const EVENTS: &[&str] = &[
    "access-key-get",
    "artifact-create",
    "artifact-delete",
    "artifact-read",
    "artifact-update",
    "machine-alive",
    "machine-update-metadata",
    "machine-update-state",
    "message",
    "ping",
    "rpc-call",
    "rpc-register",
    "rpc-unregister",
    "session-alive",
    "session-end",
    "update-metadata",
    "update-state",
    "usage-report",
];

impl Seams for UnknownAnswered {
    fn call(&self, _server: &Server, call: &mut Call<'_>) -> Flow {
        if EVENTS.contains(&call.event) {
            return Flow::Handle;
        }
        if let Some(ack) = call.ack {
            let answer = json!([{ "error": "Unknown event" }]);
            call.connection.push(format!("3{ack}{answer}").into());
        }
        Flow::Ignore
    }
}

/// An event without any data is not answered.
#[derive(Debug)]
pub(super) struct DatalessSilent;

impl Seams for DatalessSilent {
    fn call(&self, _server: &Server, call: &mut Call<'_>) -> Flow {
        if call.raw.is_none() && call.event != "ping" {
            return Flow::Ignore;
        }
        Flow::Handle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_stays_and_other_texts_become_it() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            assert_eq!(reencoded(text), expected, "{text:?}");
        }
        check("aGFsbG8=", "aGFsbG8=");
        check("", "");
        check("a", "");
        check("ab", "aQ==");
        check("1", "");
        check("not base64!", "notbase6");
    }
}
