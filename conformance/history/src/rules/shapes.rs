//! What a server sends has the shape of the contract.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
};

use serde_json::Value;
use touchstone_fixtures::{
    CLIENT_EVENTS, EventKind, Level, Violation, ack_variants, validate_ack, validate_ephemeral,
    validate_update,
};

use super::{Rule, bounded::Bounded};
use crate::{
    account::{Account, Accounts},
    finding::Findings,
    judge::Knowledge,
    requirement::{self as r, Requirement},
    story::{Call, Happening},
};

pub(crate) static RULE: Rule = Rule {
    name: "history.shapes",
    needs: Knowledge::Partial,
    text: "Updates, ephemerals and answers have the keys and types of the contract, and the events that are \
           never answered are not.",
};

/// How many shapes are remembered as right.
const SHAPES: usize = 10_000;
/// Texts of at most so many bytes may be names that the contract lists.
const NAME: usize = 20;
/// How much of a payload is looked at.
const DEEP: u32 = 6;

/// Most payloads look like one that was seen before, but for ids and contents: those are not judged again.
#[derive(Debug)]
pub(crate) struct Shapes {
    right: Bounded<u64, ()>,
    /// Accounts with a heartbeat that is not as the contract has it: servers may repeat what it says.
    odd: HashSet<Account>,
}

impl Default for Shapes {
    fn default() -> Self {
        Self {
            right: Bounded::new(SHAPES),
            odd: HashSet::new(),
        }
    }
}

impl Shapes {
    pub(crate) fn hear(
        &mut self,
        happening: &Happening<'_>,
        knowledge: Knowledge,
        accounts: &Accounts,
        findings: &mut Findings,
    ) {
        let mut call = None;
        let (name, value, record) = match happening {
            Happening::Called(call) => {
                if is_odd(call) {
                    self.odd.insert(accounts.root(call.connection.account));
                }
                return;
            }
            // Who sent the heartbeat may not be seen.
            Happening::Received(connection, "ephemeral", ..)
                if knowledge == Knowledge::Partial
                    || self.odd.contains(&accounts.root(connection.account)) =>
            {
                return;
            }
            Happening::Received(_, name @ ("update" | "ephemeral"), payload, now) => {
                (*name, *payload, now.record)
            }
            Happening::Answered(asked, answer, now) => {
                call = Some(&asked.data);
                (asked.event.as_str(), *answer, now.record)
            }
            _ => return,
        };
        let shape = print_of_shape(name, value);
        if self.right.get(&shape).is_some() {
            return;
        }
        let broken = match name {
            "update" => {
                let report = validate_update(value);
                of_event(
                    &report.kind,
                    report.violations,
                    [&r::ENVELOPE, &r::ENVELOPE_DETAILS],
                )
            }
            "ephemeral" => {
                let report = validate_ephemeral(value);
                of_event(
                    &report.kind,
                    report.violations,
                    [&r::EPHEMERAL, &r::EPHEMERAL],
                )
            }
            event => of_answer(event, call.unwrap_or(&Value::Null), value),
        };
        if broken.is_empty() {
            self.right.entry(shape, || ());
        }
        for (requirement, text) in broken {
            let words = format!("{}: {text}.", shown(name, value));
            findings.add(RULE.name, requirement, [record], words);
        }
    }
}

/// Whether a heartbeat says what the contract does not know.
fn is_odd(call: &Call) -> bool {
    let thinking = call.data.get("thinking");
    let id = match call.event.as_str() {
        "session-alive" | "session-end" => "sid",
        "machine-alive" => "machineId",
        _ => return false,
    };
    !call.data[id].is_string() || thinking.is_some_and(|thinking| !thinking.is_boolean())
}

fn shown(name: &str, value: &Value) -> String {
    match name {
        "update" => value["body"]["t"]
            .as_str()
            .map_or_else(|| "An update".to_owned(), ToOwned::to_owned),
        "ephemeral" => value["type"]
            .as_str()
            .map_or_else(|| "An ephemeral".to_owned(), ToOwned::to_owned),
        event => format!("The answer to {event}"),
    }
}

type Broken = Vec<(&'static Requirement, String)>;

/// The requirements that violations of an event break: those of its body, and else those of the envelope.
fn of_event(
    kind: &EventKind,
    violations: Vec<Violation>,
    envelope: [&'static Requirement; 2],
) -> Broken {
    let name = match kind {
        EventKind::Known(name) => name,
        EventKind::Unknown(_) | EventKind::Missing => "",
    };
    let body: Option<[&'static Requirement; 2]> = match name {
        "new-message" => Some([&r::MESSAGE_BODY, &r::MESSAGE_KEYS]),
        "new-session" => Some([&r::NEW_SESSION, &r::NEW_SESSION_KEYS]),
        "update-session" => Some([&r::SESSION_BODY, &r::SESSION_KEYS]),
        "update-account" => Some([&r::ACCOUNT_BODY, &r::ACCOUNT_KEYS]),
        "new-machine" => Some([&r::NEW_MACHINE, &r::NEW_MACHINE_PARTS]),
        "update-machine" => Some([&r::MACHINE_BODY, &r::MACHINE_PARTS]),
        "new-artifact" => Some([&r::NEW_ARTIFACT, &r::ABSENT]),
        "update-artifact" => Some([&r::ARTIFACT_BODY, &r::ABSENT]),
        "delete-artifact" => Some([&r::ARTIFACT_GONE, &r::ABSENT]),
        "delete-session" => Some([&r::SESSION_GONE, &r::SESSION_GONE]),
        "kv-batch-update" => Some([&r::KV_BODY, &r::ABSENT]),
        "new-feed-post" => Some([&r::FEED_BODY, &r::ABSENT]),
        "activity" => Some([&r::ACTIVITY_BODY, &r::THINKING]),
        "machine-activity" => Some([&r::MACHINE_ACTIVITY_BODY, &r::MACHINE_ACTIVITY_BODY]),
        "usage" => Some([&r::USAGE_BODY, &r::USAGE_BODY]),
        // Nobody was ever seen to send the others.
        _ => None,
    };
    let told = |violation: Violation| {
        let [must, should] = if violation.path.starts_with("/body") || envelope[0] == &r::EPHEMERAL
        {
            body.unwrap_or(envelope)
        } else {
            envelope
        };
        let requirement = if violation.level == Level::Must {
            must
        } else {
            should
        };
        (requirement, violation.to_string())
    };
    violations.into_iter().map(told).collect()
}

/// The requirement about the answer to an event, if it has one.
pub(super) fn answer_of(event: &str) -> Option<&'static Requirement> {
    Some(match event {
        "update-metadata" => &r::METADATA_ANSWER,
        "update-state" => &r::STATE_ANSWER,
        "machine-update-metadata" => &r::MACHINE_METADATA_ANSWER,
        "machine-update-state" => &r::MACHINE_STATE_ANSWER,
        "artifact-create" => &r::ARTIFACT_MADE,
        "artifact-read" => &r::ARTIFACT_READ,
        "artifact-update" => &r::ARTIFACT_ANSWER,
        "artifact-delete" => &r::ARTIFACT_DELETED,
        "access-key-get" => &r::ACCESS_KEY,
        "usage-report" => &r::USAGE_ANSWER,
        "rpc-call" => &r::RPC_ANSWER,
        "ping" => &r::PING,
        _ => return None,
    })
}

/// The requirements that the answer to a call with this data breaks.
fn of_answer(event: &str, data: &Value, answer: &Value) -> Broken {
    let Some(requirement) = answer_of(event) else {
        let is_never = CLIENT_EVENTS.contains(&event)
            && ack_variants(event).is_empty()
            && !event.starts_with("rpc-");
        return match is_never {
            true => vec![(&r::NEVER_ANSWERED, "it came, and there is none".to_owned())],
            false => Vec::new(),
        };
    };
    let violations = validate_ack(event, answer).map(|report| report.violations);
    let told = |violation: Violation| {
        let is_absent = event == "artifact-update"
            && ["/header", "/body"].contains(&violation.path.as_str())
            && answer.pointer(&violation.path) == Some(&Value::Null)
            && (answer["result"] != "success" || data.pointer(&violation.path).is_none());
        let requirement = if violation.level == Level::Must && !is_absent {
            requirement
        } else {
            &r::ABSENT_PARTS
        };
        (requirement, violation.to_string())
    };
    violations
        .unwrap_or_default()
        .into_iter()
        .map(told)
        .collect()
}

/// A fingerprint of all that the contract can look at.
fn print_of_shape(name: &str, value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    feed(value, DEEP, &mut hasher);
    hasher.finish()
}

fn feed(value: &Value, deep: u32, hasher: &mut DefaultHasher) {
    match value {
        Value::Null => 0_u8.hash(hasher),
        Value::Bool(value) => (1_u8, value).hash(hasher),
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or(f64::NAN);
            // Times are told from other numbers by their size.
            (2_u8, number < 0.0, number.fract() == 0.0, number >= 1e12).hash(hasher);
        }
        Value::String(text) if text.len() <= NAME => (3_u8, text).hash(hasher),
        Value::String(text) => {
            let is_base64 = text.len() % 4 == 0
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
            // Where the signs at the end stand decides whether it is one.
            let end =
                is_base64.then(|| text.bytes().rev().take_while(|byte| *byte == b'=').count());
            let has_more = is_base64 && text.trim_end_matches('=').contains('=');
            (4_u8, end, has_more).hash(hasher);
        }
        Value::Array(_) | Value::Object(_) if deep == 0 => value.to_string().hash(hasher),
        Value::Array(items) => {
            (5_u8, items.len()).hash(hasher);
            items.iter().for_each(|item| feed(item, deep - 1, hasher));
        }
        Value::Object(members) => {
            (6_u8, members.len()).hash(hasher);
            for (key, value) in members {
                key.hash(hasher);
                feed(value, deep - 1, hasher);
            }
        }
    }
}
