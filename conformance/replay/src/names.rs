//! Which id of the recording is which id now, and which times are the same.
//!
//! Ids that a server gives are learned where an answer stands beside the recorded one; ids that a
//! client chooses are made anew, since a server may remember the old ones.

use std::collections::HashMap;

use serde_json::Value;

/// Keys whose values are ids that a server may choose.
const ID_KEYS: &[&str] = &[
    "id",
    "sid",
    "sessionId",
    "machineId",
    "artifactId",
    "uid",
    "userId",
    "accountId",
    "reportId",
    "cursor",
    "nextCursor",
    "messageId",
];

/// How far from the beginning of the recording, or of the replay, a number still is a time of it.
const A_TIME_MS: u64 = 30 * 24 * 3_600_000;

/// Names of the recording, and what they are now.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    now: HashMap<String, String>,
    /// The other way round.
    then: HashMap<String, String>,
    recorded_ms: u64,
    replayed_ms: u64,
}

impl Names {
    /// With the times, in Unix milliseconds, at which recording and replay began.
    pub(super) fn new(recorded_ms: u64, replayed_ms: u64) -> Self {
        Self {
            recorded_ms,
            replayed_ms,
            ..Self::default()
        }
    }

    /// `old` is `new` from now on, unless either is something else already.
    pub(super) fn learn(&mut self, old: &str, new: &str) -> bool {
        if let Some(known) = self.now.get(old) {
            return known == new;
        }
        if old.is_empty() || new.is_empty() || self.then.contains_key(new) {
            return false;
        }
        self.now.insert(old.to_owned(), new.to_owned());
        self.then.insert(new.to_owned(), old.to_owned());
        true
    }

    /// Whether `old` may be `new`: it is, or neither is known.
    pub(super) fn may_be(&self, old: &str, new: &str) -> bool {
        match self.now.get(old) {
            Some(known) => known == new,
            None => old == new || !self.then.contains_key(new),
        }
    }

    /// Learns all ids that stand at the same places of two payloads.
    pub(super) fn learn_all(&mut self, old: &Value, new: &Value) {
        self.walk(old, new, "");
    }

    fn walk(&mut self, old: &Value, new: &Value, key: &str) {
        match (old, new) {
            (Value::Object(a), Value::Object(b)) => {
                for (key, a) in a {
                    if let Some(b) = b.get(key) {
                        self.walk(a, b, key);
                    }
                }
            }
            (Value::Array(a), Value::Array(b)) => {
                for (a, b) in a.iter().zip(b) {
                    self.walk(a, b, key);
                }
            }
            (Value::String(a), Value::String(b)) if is_id(key) => {
                self.learn(a, b);
            }
            _ => {}
        }
    }

    /// A text in which every known name is replaced, also inside of others such as
    /// `<session>:<method>` or a path.
    pub(super) fn renamed(&self, text: &str) -> String {
        replaced(&self.now, text)
    }

    /// A path in which every known name is replaced, also where it is encoded: keys have characters that
    /// are none of a path's. Times in its query are as far from now as they were from then.
    pub(super) fn renamed_path(&self, path: &str, t_us: u64, now_ms: u64) -> String {
        let moved = |piece: &str| {
            let number = piece.trim_end_matches(|c: char| !c.is_ascii_digit());
            match number.parse() {
                Ok(at) if self.was_then(at) => {
                    let at = self.moved(at, t_us, now_ms);
                    format!("{at}{}", &piece[number.len()..])
                }
                _ => piece.to_owned(),
            }
        };
        let pieces = self.renamed(path);
        let pieces = pieces.split_inclusive(['?', '&', '=']);
        let mut renamed: String = pieces.map(moved).collect();
        for (old, new) in &self.now {
            if old.contains(['+', '/', '=']) {
                renamed = renamed.replace(&encoded(old), &encoded(new));
            }
        }
        renamed
    }

    /// What a client sends now for what it sent `t_us` into the recording, when it is `now_ms`: names
    /// replaced, and times as far from now as they were from then.
    pub(super) fn translated(&self, value: &Value, t_us: u64, now_ms: u64) -> Value {
        match value {
            Value::String(text) => Value::String(self.renamed(text)),
            Value::Array(items) => items
                .iter()
                .map(|item| self.translated(item, t_us, now_ms))
                .collect(),
            Value::Object(map) => map
                .iter()
                .map(|(key, value)| (self.renamed(key), self.translated(value, t_us, now_ms)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            Value::Number(number) => match number.as_u64().filter(|at| self.was_then(*at)) {
                Some(at) => self.moved(at, t_us, now_ms).into(),
                None => value.clone(),
            },
            other => other.clone(),
        }
    }

    /// Data in which every known name is replaced.
    pub(super) fn renamed_in(&self, value: &Value) -> Value {
        self.translated(value, 0, self.recorded_ms)
    }

    /// What came now, in the names of the recording.
    pub(super) fn formerly(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => replaced(&self.then, text).into(),
            Value::Array(items) => items.iter().map(|item| self.formerly(item)).collect(),
            Value::Object(map) => map
                .iter()
                .map(|(key, value)| (key.clone(), self.formerly(value)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            other => other.clone(),
        }
    }

    /// Whether two numbers are times, one of the recording and one of the replay.
    pub(super) fn are_times(&self, old: &Value, new: &Value) -> bool {
        let time = |value: &Value| value.as_u64();
        match (time(old), time(new)) {
            (Some(old), Some(new)) => {
                self.was_then(old) && new.abs_diff(self.replayed_ms) < A_TIME_MS
            }
            _ => false,
        }
    }

    fn moved(&self, at: u64, t_us: u64, now_ms: u64) -> u64 {
        (now_ms + at).saturating_sub(self.recorded_ms + t_us / 1_000)
    }

    fn was_then(&self, at: u64) -> bool {
        at.abs_diff(self.recorded_ms) < A_TIME_MS
    }
}

fn replaced(names: &HashMap<String, String>, text: &str) -> String {
    if let Some(whole) = names.get(text) {
        return whole.clone();
    }
    let mut replaced = String::with_capacity(text.len());
    for piece in text.split_inclusive(|c: char| !is_of_id(c)) {
        let name = piece.trim_end_matches(|c: char| !is_of_id(c));
        match names.get(name) {
            Some(other) if !name.is_empty() => {
                replaced.push_str(other);
                replaced.push_str(&piece[name.len()..]);
            }
            _ => replaced.push_str(piece),
        }
    }
    replaced
}

/// A text as a part of a URL.
fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Whether values of this key are ids.
pub(super) fn is_id(key: &str) -> bool {
    ID_KEYS.contains(&key)
}

fn is_of_id(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-'
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names() -> Names {
        let mut names = Names::new(1_800_000_000_000, 1_900_000_000_000);
        assert!(names.learn("old-1", "new-1"));
        names
    }

    #[test]
    fn names_are_found_inside_of_texts() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            assert_eq!(names().renamed(text), expected);
        }
        check("old-1", "new-1");
        check("old-1:bash", "new-1:bash");
        check(
            "/v1/sessions/old-1/messages?x=old-1",
            "/v1/sessions/new-1/messages?x=new-1",
        );
        check("friend_of_old-1", "friend_of_new-1");
        check("very-old-1", "very-old-1");
        check("old-12", "old-12");
        check("", "");
    }

    #[test]
    fn a_name_is_one_thing_only() {
        let mut names = names();
        assert!(names.learn("old-1", "new-1"));
        assert!(!names.learn("old-1", "new-2"));
        assert!(!names.learn("old-2", "new-1"));
        assert!(names.may_be("old-2", "new-2") && !names.may_be("old-2", "new-1"));
        assert!(names.may_be("old-1", "new-1") && !names.may_be("old-1", "new-2"));
    }

    #[test]
    fn ids_are_learned_where_answers_stand_side_by_side() {
        let mut names = names();
        let old = json!({"session": {"id": "s-old", "tag": "t"}, "list": [{"sid": "x"}], "seq": 1});
        let new = json!({"session": {"id": "s-new", "tag": "u"}, "list": [{"sid": "y"}], "seq": 2});
        names.learn_all(&old, &new);
        assert_eq!(names.renamed("s-old x t"), "s-new y t");
        assert_eq!(
            names.formerly(&new["session"]),
            json!({"id": "s-old", "tag": "u"})
        );
    }

    #[test]
    fn times_move_along() {
        let names = names();
        let sent = json!({"time": 1_800_000_004_000_u64, "n": 5, "id": "old-1"});
        // Sent five seconds in, it named a moment one second before.
        let now = names.translated(&sent, 5_000_000, 1_900_000_001_000);
        assert_eq!(
            now,
            json!({"time": 1_900_000_000_000_u64, "n": 5, "id": "new-1"})
        );
        let path = names.renamed_path(
            "/v2/sessions?changedSince=1800000004000&limit=5",
            5_000_000,
            1_900_000_001_000,
        );
        assert_eq!(path, "/v2/sessions?changedSince=1900000000000&limit=5");
        assert!(names.are_times(&sent["time"], &now["time"]));
        assert!(!names.are_times(&json!(5), &json!(6)));
        assert!(!names.are_times(&sent["time"], &json!(7)));
    }
}
