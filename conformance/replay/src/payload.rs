//! Two payloads side by side, one of the recording and one of the replay.
//!
//! Ids are the same when they are names of the same thing, and times when they are times of their run.
//! The numbers of updates are not compared, since accounts count on their own, and that of a message is
//! a difference of its own ([`message_number`]): two messages may be the same but for it. Nothing here
//! decides whether a difference matters.

use std::collections::HashMap;

use serde_json::{Value, json};
use touchstone_client::trace::without_tokens;

use super::{
    heard::What,
    names::{Names, is_id},
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

/// What comparing two payloads brought.
#[derive(Default)]
pub(super) struct Compared {
    pub(super) differences: Vec<Difference>,
    /// Names that this payload has shown: a name must be the same thing throughout.
    pub(super) learned: HashMap<String, String>,
}

/// A payload for a report, which shows no secret: what is heard in a replay is kept as it came.
pub(super) fn seen(what: &What) -> Value {
    without_tokens(&shown(what))
}

/// A payload by itself.
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

/// Where a message has its number.
pub(super) const MESSAGE_SEQ: &str = "/body/message/seq";

/// How the numbers of two messages differ, if they do.
pub(super) fn message_number(then: &What, now: &What) -> Option<Difference> {
    let number = |what: &What| {
        let seq = shown(what).pointer(MESSAGE_SEQ).cloned();
        seq.filter(Value::is_u64)
    };
    let (recorded, replayed) = (number(then)?, number(now)?);
    (recorded != replayed).then(|| Difference {
        path: MESSAGE_SEQ.to_owned(),
        recorded: Some(recorded),
        replayed: Some(replayed),
    })
}

/// Compares what was recorded with what came.
pub(super) fn compared(names: &Names, then: &What, now: &What) -> Compared {
    // Servers tell ends in different words, which no client reads.
    if let (What::Ended(_), What::Ended(_)) = (then, now) {
        return Compared::default();
    }
    let (then, now) = (shown(then), shown(now));
    let mut context = Context {
        names,
        compared: Compared::default(),
    };
    context.walk("", "", Some(&then), Some(&now));
    context.compared
}

struct Context<'a> {
    names: &'a Names,
    compared: Compared,
}

impl Context<'_> {
    fn walk(&mut self, path: &str, key: &str, then: Option<&Value>, now: Option<&Value>) {
        match (then, now) {
            (Some(Value::Object(a)), Some(Value::Object(b))) => {
                let counts = is_update(a) && is_update(b);
                let new = b.keys().filter(|key| !a.contains_key(*key));
                for key in a.keys().chain(new) {
                    let (then, now) = (a.get(key), b.get(key));
                    let path = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
                    let is_number = counts && key == "seq" || path == MESSAGE_SEQ;
                    if is_number && both_numbers(then, now) {
                        continue;
                    }
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
            (Some(a), Some(b)) if self.equal(key, a, b) => {}
            (then, now) => self.differ(path, then, now),
        }
    }

    fn differ(&mut self, path: &str, then: Option<&Value>, now: Option<&Value>) {
        if self.compared.differences.len() < TOLD {
            let key = path.rsplit('/').next().unwrap_or_default();
            // What is secret by its key has to stand under it to be known.
            let told = |value: &Value| without_tokens(&json!({ key: value }))[key].take();
            self.compared.differences.push(Difference {
                path: path.to_owned(),
                recorded: then.map(told),
                replayed: now.map(told),
            });
        }
    }

    /// Connections in whatever order.
    fn sets(&mut self, path: &str, then: &[Value], now: &[Value]) {
        let mut left: Vec<&Value> = now.iter().collect();
        for (index, one) in then.iter().enumerate() {
            let renamed = one.as_str().map(|id| self.names.renamed(id));
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

    fn equal(&mut self, key: &str, then: &Value, now: &Value) -> bool {
        if same_json(then, now) || self.names.are_times(then, now) {
            return true;
        }
        let (Some(then), Some(now)) = (then.as_str(), now.as_str()) else {
            return false;
        };
        // Tokens are shown by their names alone.
        key == "token"
            || self.names.renamed(then) == now
            || (is_id(key) && self.names.may_be(then, now) && self.is_consistent(then, now))
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
