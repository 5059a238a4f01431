//! Two payloads side by side, one of the recording and one of the replay.
//!
//! Ids are the same when they are names of the same thing, times when they are times of their run, and
//! the numbers of updates and messages when nothing contradicts it: accounts count on their own. Nothing
//! here decides whether a difference matters.

use std::collections::HashMap;

use serde_json::Value;

use super::{
    heard::What,
    names::{Names, is_id},
    race::Races,
};
use touchstone_harness::ctx::same_json;

/// How many differences of one payload are told.
const TOLD: usize = 20;

/// One place where two payloads differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// JSON Pointer, empty for the whole.
    pub path: String,
    /// The recorded value; `None` where there was none.
    pub recorded: Option<Value>,
    /// The value now.
    pub replayed: Option<Value>,
}

impl Difference {
    /// Where it is, for people.
    pub(super) fn place(&self) -> &str {
        match self.path.as_str() {
            "" => "all",
            path => path,
        }
    }
}

/// What is taken for the same beside what is equal.
#[derive(Clone, Copy)]
pub(super) struct Alike<'a> {
    pub(super) names: &'a Names,
    /// Values of which a race decides, where it may have been decided otherwise.
    pub(super) races: Option<&'a Races>,
}

/// What comparing two payloads brought.
#[derive(Default)]
pub(super) struct Compared {
    pub(super) differences: Vec<Difference>,
    /// Names that this payload has shown: a name must be the same thing throughout.
    pub(super) learned: HashMap<String, String>,
}

/// A payload for a report.
pub(super) fn shown(what: &What) -> Value {
    match what {
        What::Admitted(_) => Value::String("admitted".into()),
        What::Refused(data) => data.clone(),
        What::Event { args, .. } | What::Ack { args, .. } => match args {
            Value::Array(items) if items.len() == 1 => items[0].clone(),
            other => other.clone(),
        },
        What::Ended(why) => Value::String(why.clone()),
        What::Answered(_, None) => Value::Null,
        What::Answered(_, Some((status, body))) => {
            serde_json::json!({"status": status, "body": body})
        }
    }
}

/// The number of a message within its session, as a name: of senders at the same time, either may come
/// first, and then the number is another, but no two messages share one.
pub(super) fn message_seq(payload: &Value) -> Option<String> {
    let session = payload.pointer("/body/sid")?.as_str()?;
    let seq = payload.pointer("/body/message/seq")?.as_u64()?;
    Some(format!("message {session} {seq}"))
}

/// Compares what was recorded with what came.
pub(super) fn compared(alike: Alike<'_>, then: &What, now: &What) -> Compared {
    // Servers tell ends in different words, which no client reads.
    if let (What::Ended(_), What::Ended(_)) = (then, now) {
        return Compared::default();
    }
    let (then, now) = (shown(then), shown(now));
    let mut context = Context {
        alike,
        compared: Compared::default(),
        same_message: match (message_seq(&then), message_seq(&now)) {
            (Some(then), Some(now)) => alike.names.may_be(&then, &now),
            _ => false,
        },
    };
    context.walk("", "", Some(&then), Some(&now));
    context.compared
}

struct Context<'a> {
    alike: Alike<'a>,
    compared: Compared,
    same_message: bool,
}

impl Context<'_> {
    fn walk(&mut self, path: &str, key: &str, then: Option<&Value>, now: Option<&Value>) {
        match (then, now) {
            (Some(Value::Object(a)), Some(Value::Object(b))) => {
                let counts = is_update(a) && is_update(b);
                let new = b.keys().filter(|key| !a.contains_key(*key));
                for key in a.keys().chain(new) {
                    let (then, now) = (a.get(key), b.get(key));
                    // That the numbers of updates rise is looked at elsewhere.
                    if counts && key == "seq" && both_numbers(then, now) {
                        continue;
                    }
                    let path = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
                    self.walk(&path, key, then, now);
                }
            }
            (Some(Value::Array(a)), Some(Value::Array(b))) if key == "recipients" => {
                self.sets(path, a, b);
            }
            (Some(Value::Array(a)), Some(Value::Array(b))) => {
                for index in 0..a.len().max(b.len()) {
                    let path = format!("{path}/{index}");
                    self.walk(&path, key, a.get(index), b.get(index));
                }
            }
            (Some(a), Some(b)) if self.equal(path, key, a, b) => {}
            (then, now) => self.differ(path, then, now),
        }
    }

    fn differ(&mut self, path: &str, then: Option<&Value>, now: Option<&Value>) {
        if self.compared.differences.len() < TOLD {
            self.compared.differences.push(Difference {
                path: path.to_owned(),
                recorded: then.cloned(),
                replayed: now.cloned(),
            });
        }
    }

    /// Connections in whatever order.
    fn sets(&mut self, path: &str, then: &[Value], now: &[Value]) {
        let mut left: Vec<&Value> = now.iter().collect();
        for (index, one) in then.iter().enumerate() {
            let renamed = one.as_str().map(|id| self.alike.names.renamed(id));
            match left
                .iter()
                .position(|other| other.as_str() == renamed.as_deref())
            {
                Some(found) => drop(left.remove(found)),
                None => self.differ(&format!("{path}/{index}"), Some(one), None),
            }
        }
        for other in left {
            self.differ(&format!("{path}/-"), None, Some(other));
        }
    }

    fn equal(&mut self, path: &str, key: &str, then: &Value, now: &Value) -> bool {
        let Alike { names, races } = self.alike;
        if let (Some(races), Some(text)) = (races, then.as_str())
            && then == now
            && races.decide_of(text)
            && !races.is_reused(text)
        {
            return self.may_be(text, text);
        }
        if same_json(then, now) || names.are_times(then, now) {
            return true;
        }
        if self.same_message && path == "/body/message/seq" {
            return true;
        }
        let (Some(then), Some(now)) = (then.as_str(), now.as_str()) else {
            return false;
        };
        if names.renamed(then) == now {
            return true;
        }
        if key == "token" {
            // Both are shown by their names alone.
            return true;
        }
        if races.is_some_and(|races| {
            races.are_rivals(then, now) && (races.is_reused(then) || races.is_reused(now))
        }) {
            return self.is_consistent(then, now);
        }
        let raced = races.is_some_and(|races| races.are_rivals(then, now));
        (raced || is_id(key)) && self.may_be(then, now)
    }

    fn may_be(&mut self, then: &str, now: &str) -> bool {
        self.alike.names.may_be(then, now) && self.is_consistent(then, now)
    }

    /// Whether the payload does not call it something else elsewhere.
    fn is_consistent(&mut self, then: &str, now: &str) -> bool {
        let known = self
            .compared
            .learned
            .entry(then.to_owned())
            .or_insert_with(|| now.to_owned());
        known == now
    }
}

/// Whether an object is the envelope of an update, wherever it stands.
fn is_update(map: &serde_json::Map<String, Value>) -> bool {
    map.contains_key("createdAt") && map.get("body").is_some_and(|body| body["t"].is_string())
}

fn both_numbers(then: Option<&Value>, now: Option<&Value>) -> bool {
    then.is_some_and(Value::is_u64) && now.is_some_and(Value::is_u64)
}
