//! The keys of a payload, from its schema, for a table that people read.

use serde_json::{Map, Value};
use touchstone_fixtures::types;

/// One key, with the path to it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// Such as `message.id`.
    pub(super) path: String,
    /// Of which type it is, in words.
    pub(super) kind: String,
    /// Whether it has to be there: MUST, SHOULD or optional.
    pub(super) needed: &'static str,
}

/// The keys of an object, in the order of its schema.
pub(super) fn keys(schema: &Value) -> Vec<Key> {
    let mut found = Vec::new();
    collect(schema, "", &mut found);
    found
}

fn collect(schema: &Value, prefix: &str, found: &mut Vec<Key>) {
    let parts: Vec<&Value> = std::iter::once(schema)
        .chain(schema["allOf"].as_array().into_iter().flatten())
        .collect();
    let needed = |name: &str| {
        let level = parts.iter().filter_map(|part| {
            let required = part["required"].as_array()?;
            let is_should = part["x-level"] == "should";
            required
                .iter()
                .any(|one| one == name)
                .then_some(if is_should { "SHOULD" } else { "MUST" })
        });
        level.min().unwrap_or("optional")
    };
    // What a part only required has no type of its own.
    let named = parts.iter().flat_map(|part| {
        let properties = part["properties"]
            .as_object()
            .into_iter()
            .flat_map(Map::iter);
        let required = part["required"].as_array().into_iter().flatten();
        let bare = required.filter_map(|name| Some((name.as_str()?, &Value::Null)));
        properties
            .map(|(name, value)| (name.as_str(), value))
            .chain(bare)
    });
    for (name, value) in named {
        let path = format!("{prefix}{name}");
        if found.iter().any(|key| key.path == path) {
            continue;
        }
        found.push(Key {
            kind: kind(value),
            needed: needed(name),
            path: path.clone(),
        });
        if value["$ref"].is_null() {
            collect(value, &format!("{path}."), found);
        }
    }
}

/// The name of a value type that a schema refers to.
pub(super) fn referred(schema: &Value) -> Option<&str> {
    let (_, name) = schema["$ref"].as_str()?.rsplit_once('/')?;
    Some(name)
}

fn kind(schema: &Value) -> String {
    if let Some(name) = referred(schema) {
        return format!("[{name}](#value-types)");
    }
    if let Some(constant) = schema.get("const") {
        return format!("`{constant}`");
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
        return values.join(" or ");
    }
    match &schema["type"] {
        Value::String(one) => one.clone(),
        Value::Array(several) => {
            let several: Vec<_> = several.iter().filter_map(Value::as_str).collect();
            several.join(" or ")
        }
        _ => "any".to_owned(),
    }
}

/// The value types, by name.
pub(super) fn value_types() -> impl Iterator<Item = (&'static str, &'static Value)> {
    let types = types()["$defs"].as_object();
    types
        .into_iter()
        .flat_map(Map::iter)
        .map(|(name, schema)| (name.as_str(), schema))
}

#[cfg(test)]
mod tests {
    use touchstone_fixtures::schema;

    use super::*;

    #[test]
    fn a_key_tells_its_type_and_level() {
        #[track_caller]
        fn check(name: &str, expected: &[(&str, &str, &str)]) {
            let keys = keys(schema(name).expect("a schema").document());
            let keys: Vec<_> = keys
                .iter()
                .map(|key| (key.path.as_str(), key.kind.as_str(), key.needed))
                .collect();
            assert_eq!(keys, expected);
        }
        check(
            "event/rpc-call",
            &[
                ("method", "[id](#value-types)", "MUST"),
                ("params", "any", "SHOULD"),
            ],
        );
        check(
            "update/update-session",
            &[
                ("t", "`\"update-session\"`", "MUST"),
                ("metadata", "[clearablePart](#value-types)", "optional"),
                ("agentState", "[clearablePart](#value-types)", "optional"),
                ("id", "[id](#value-types)", "SHOULD"),
            ],
        );
    }
}
