//! What a finding says in words, read for where in a trace to look.

use serde_json::Value;

use crate::marks::CUT;

/// The least length of a text that is looked for as it is.
pub(super) const TELLING: usize = 6;

/// The JSON in a text that says more than a word: it occurs in nothing else.
pub(super) fn json_in(text: &str) -> Option<Value> {
    let value = match whole(text) {
        Some(value) => value,
        None => {
            let start = text.find(['{', '['])?;
            let end = text.rfind(['}', ']'])?;
            serde_json::from_str(text.get(start..=end)?).ok()?
        }
    };
    let says_something = match &value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::String(text) => text.len() > TELLING,
        _ => false,
    };
    says_something.then_some(value)
}

/// The beginning of JSON whose middle was left out of a text.
pub(super) fn beginning_in(text: &str) -> Option<&str> {
    let (head, _) = text.split_once(CUT)?;
    let json = &head[head.find(['{', '['])?..];
    (json.len() > TELLING * TELLING).then_some(json)
}

/// Whether a finding says that something did not come, or says of what came that it is all.
pub(super) fn is_absence(told: &str) -> bool {
    let begins = |word: &&str| told.starts_with(word);
    told.is_empty() || ["nothing", "none", "no ", "only "].iter().any(begins)
}

/// A text that is JSON, but for how often it was found.
pub(super) fn whole(text: &str) -> Option<Value> {
    let text = match text.rsplit_once(" (") {
        Some((head, tail)) if tail.ends_with(" times)") => head,
        _ => text,
    };
    serde_json::from_str(text).ok()
}

/// Whether `text` names `word`, and not only a longer one that holds it.
pub(super) fn names(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !word.is_empty()
        && text.match_indices(word).any(|(at, _)| {
            !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part)
        })
}
