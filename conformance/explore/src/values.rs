//! The catalogues of values that servers have changed on their way: texts, params, results, method names.

use serde_json::{Value, json};

/// How many methods there are.
pub(crate) const METHODS: u8 = 10;
/// How many values the catalogue of params and results has.
pub(crate) const VALUES: u8 = 24;
/// How many forms of odd texts there are.
pub(crate) const ODD: u8 = 6;

/// How many localIds are used again, and how many keys of reports of usage.
pub(crate) const LOCALS: u8 = 5;
pub(crate) const USAGES: u8 = 4;

/// A localId, the last of which differs in case from the first.
pub(crate) fn local(index: u8) -> String {
    match index {
        4 => "Local-0".to_owned(),
        index => format!("local-{index}"),
    }
}

/// The key of a report of usage. The last differs in case from the first.
pub(crate) fn usage(index: u8) -> String {
    match index {
        3 => "Key-0".to_owned(),
        index => format!("key-{index}"),
    }
}

/// A text in one of the forms that servers have cut, trimmed or re-encoded.
pub(crate) fn odd(form: u8, plain: &str) -> String {
    match form {
        0 => format!("  {plain}\t\n"),
        1 => format!("{plain}: žluťoučký 漢字 😀 e\u{301}"),
        2 => format!("{plain} {}", "x".repeat(70_000)),
        3 => format!("{{\"text\": \"{plain}\"}}"),
        4 => format!("{plain} \\ \" ' <&> \u{2028}"),
        _ => format!("{plain}\u{7f}\u{1}"),
    }
}

/// A value of params and results.
pub(crate) fn value(index: u8) -> Value {
    match index {
        0 => Value::Null,
        1 => json!(false),
        2 => json!(0),
        3 => json!(""),
        4 => json!([]),
        5 => json!({}),
        6 => json!({"ok": false, "error": "of the callee"}),
        7 => json!({"ok": true, "result": 1}),
        8 => json!("{\"a\": [1, 2]}"),
        9 => json!("17"),
        10 => json!(1_753_000_000_123_u64),
        11 => json!(9_007_199_254_740_991_u64),
        12 => json!(-3_000_000_000_i64),
        13 => json!(0.1),
        14 => json!(1e-7),
        15 => json!([null, [null]]),
        16 => json!("null"),
        17 => json!({"a": {"b": {"c": [1, {"d": "é"}]}}}),
        18 => json!("  blanks  "),
        19 => json!({"__proto__": 1, "constructor": 2}),
        20 => json!(4_294_967_296_u64),
        21 => json!("😀 \u{2028}"),
        22 => json!([1, 2, 3]),
        _ => json!(true),
    }
}

/// The name of a method. Some differ in little.
pub(crate) fn method(index: u8) -> String {
    match index {
        3 => "Method-0".to_owned(),
        4 => " method-0 ".to_owned(),
        5 => format!("{}a", "long".repeat(80)),
        6 => format!("{}b", "long".repeat(80)),
        7 => "méthode: 漢字".to_owned(),
        8 => "a method with blanks/and$signs".to_owned(),
        9 => "constructor".to_owned(),
        index => format!("method-{index}"),
    }
}
