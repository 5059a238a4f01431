//! The shape of a call's data: calls of one event that a server treats alike have the same one.
//!
//! A server that never answers some of its calls answers others, and it is the data that tells them
//! apart: whether a key is there, of which type its value is, and whether an id exists.

use serde_json::Value;
use touchstone_client::Args;

/// Data of more bytes is of one shape: nobody tells apart what is inside.
const LARGE: usize = 64 << 10;

/// How deep data is looked into.
const DEPTH: u32 = 3;

/// The shape of `args`. `exists` tells of a text whether it is the id of something that was made.
pub(crate) fn shape(args: &Args, exists: impl Fn(&str) -> bool) -> String {
    let mut shape = String::new();
    if args.as_str().len() > LARGE {
        shape.push_str("large");
        return shape;
    }
    match args.values() {
        Ok(values) => values
            .iter()
            .for_each(|value| describe(value, &exists, DEPTH, &mut shape)),
        Err(_) => shape.push('?'),
    }
    shape
}

fn describe(value: &Value, exists: &impl Fn(&str) -> bool, depth: u32, shape: &mut String) {
    match value {
        Value::Null => shape.push('-'),
        Value::Bool(_) => shape.push('b'),
        Value::Number(number) if number.is_u64() => shape.push('n'),
        Value::Number(_) => shape.push('f'),
        Value::String(text) if text.is_empty() => shape.push('e'),
        Value::String(text) if exists(text) => shape.push('i'),
        Value::String(_) => shape.push('t'),
        Value::Array(_) => shape.push('a'),
        Value::Object(_) if depth == 0 => shape.push('o'),
        Value::Object(object) => {
            shape.push('{');
            let mut members: Vec<_> = object.iter().collect();
            members.sort_unstable_by_key(|(key, _)| *key);
            for (key, value) in members {
                shape.push_str(key);
                shape.push(':');
                describe(value, exists, depth - 1, shape);
                shape.push(',');
            }
            shape.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn calls_are_told_apart_by_keys_types_and_ids() {
        #[track_caller]
        #[expect(
            clippy::needless_pass_by_value,
            reason = "the rows below read better so"
        )]
        fn check(a: Value, b: Value, same: bool) {
            let of = |value: &Value| shape(&Args::from(vec![value.clone()]), |id| id == "known");
            assert_eq!(of(&a) == of(&b), same, "{a} and {b}");
        }
        check(
            json!({"sid": "a", "v": 1}),
            json!({"v": 2, "sid": "b"}),
            true,
        );
        check(json!({"sid": "a"}), json!({"sid": "known"}), false);
        check(json!({"sid": "a"}), json!({"sid": null}), false);
        check(json!({"sid": "a"}), json!({"sid": ""}), false);
        check(json!({"sid": "a"}), json!({}), false);
        check(json!({"v": 1}), json!({"v": -1}), false);
        check(json!({"v": 1}), json!({"v": true}), false);
        check(json!({"a": {"b": 1}}), json!({"a": {"b": "1"}}), false);
        check(json!(null), json!({}), false);
        check(json!("x".repeat(LARGE)), json!(["y".repeat(LARGE)]), true);
    }

    #[test]
    fn no_argument_is_a_shape_of_its_own() {
        let of = |args: Args| shape(&args, |_| false);
        assert_ne!(of(Args::from(())), of(Args::from(vec![Value::Null])));
    }
}
