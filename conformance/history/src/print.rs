//! Fingerprints of values: what has to be compared, and need not be kept.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

/// The fingerprint of a JSON value. Equal for equal values: the order of keys and the spelling of a number
/// make no difference.
pub(crate) fn print(value: &Value) -> u64 {
    prints(&[value])
}

/// The fingerprint of several values together.
pub(crate) fn prints(values: &[&Value]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for value in values {
        feed(value, &mut hasher);
    }
    hasher.finish()
}

fn feed(value: &Value, hasher: &mut DefaultHasher) {
    match value {
        Value::Null => 0_u8.hash(hasher),
        Value::Bool(value) => (1_u8, value).hash(hasher),
        // Two large integers that a float cannot tell apart count as equal: nobody is accused for it.
        Value::Number(value) => {
            (2_u8, value.as_f64().map(|value| (value + 0.0).to_bits())).hash(hasher);
        }
        Value::String(text) => (3_u8, text).hash(hasher),
        Value::Array(items) => {
            (4_u8, items.len()).hash(hasher);
            items.iter().for_each(|item| feed(item, hasher));
        }
        Value::Object(members) => {
            (5_u8, members.len()).hash(hasher);
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(key, _)| *key);
            for (key, value) in members {
                key.hash(hasher);
                feed(value, hasher);
            }
        }
    }
}

/// A whole number that is no less than zero, however it is spelled: versions and seqs.
pub(crate) fn whole(value: Option<&Value>) -> Option<u64> {
    let value = value?;
    value.as_u64().or_else(|| {
        let float = value.as_f64()?;
        let is_whole = (0.0..9e15).contains(&float) && float.fract() == 0.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked just before"
        )]
        is_whole.then_some(float as u64)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_means_the_same_has_the_same_print() {
        let same = |a: Value, b: Value| print(&a) == print(&b);
        assert!(same(
            json!({"a": 1, "b": [2]}),
            json!({"b": [2.0], "a": 1e0})
        ));
        assert!(same(json!(0.0), json!(-0.0)));
        assert!(!same(json!("1"), json!(1)));
        assert!(!same(json!(null), json!(false)));
        assert!(!same(json!(["ab"]), json!(["a", "b"])));
    }

    #[test]
    fn whole_numbers_are_read_in_any_spelling() {
        assert_eq!(whole(Some(&json!(3.0))), Some(3));
        assert_eq!(whole(Some(&json!(-1))), None);
        assert_eq!(whole(Some(&json!(0.5))), None);
        assert_eq!(whole(None), None);
    }
}
