//! Access keys: one per session and machine, made and written over HTTP.

use serde_json::{Value, json};

use super::versioned::Write;
use super::{Context, Outcome};
use crate::store::{AccessKey, Change, Pair, Part};

/// An access key as answers show it.
pub(crate) fn view(key: &AccessKey) -> Value {
    json!({
        "data": key.data.value(),
        "dataVersion": key.data.version(),
        "createdAt": key.created_at,
        "updatedAt": key.updated_at,
    })
}

/// What becomes of a key that somebody reads, makes or writes.
pub(crate) enum Answer {
    /// The session or the machine does not exist.
    NoPair,
    /// There is a key already, where one is to be made.
    Exists,
    /// There is no key, where one is to be written.
    Missing,
    /// The key as it was made.
    Created(Value),
    /// What was written, or why not.
    Written(Write),
}

impl Context<'_> {
    /// Whether a pair may have a key.
    pub(crate) fn may_have_key(&self, pair: &Pair) -> bool {
        self.policy().access_key_any_pair || self.rows.has_pair(pair)
    }
}

/// Makes a key.
pub(crate) fn create(cx: &Context<'_>, pair: Pair, data: &str) -> Outcome<Answer> {
    if !cx.may_have_key(&pair) {
        return Outcome::of(Answer::NoPair);
    }
    if cx.rows.access_keys.contains_key(&pair) {
        return Outcome::of(Answer::Exists);
    }
    let key = AccessKey {
        data: cx.new_cell(Some(data.to_owned())),
        created_at: cx.now,
        updated_at: cx.now,
    };
    Outcome::of(Answer::Created(view(&key))).change(Change::AccessKeyCreated(pair, key))
}

/// Writes a key.
pub(crate) fn update(cx: &Context<'_>, pair: Pair, data: &str, expected: f64) -> Outcome<Answer> {
    if !cx.may_have_key(&pair) {
        return Outcome::of(Answer::NoPair);
    }
    let Some(key) = cx.rows.access_keys.get(&pair) else {
        return Outcome::of(Answer::Missing);
    };
    let write = cx.write(&key.data, Some(data.to_owned()), expected);
    let Write::Next(now) = &write else {
        return Outcome::of(Answer::Written(write));
    };
    let part = Part::AccessKey(pair);
    let change = Change::written(part, now, cx.now);
    Outcome::of(Answer::Written(write)).change(change)
}
