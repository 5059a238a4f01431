//! The report as the expressions of objectives see it.

use cel::{Context, Env, Value};
use serde_json::Value as Json;
use touchstone_fixtures::{EPHEMERAL_TYPES, UPDATE_TYPES};

use crate::report::model::Report;

/// The fields that an expression can name. The others are bulk, or made from objectives.
pub(super) const FIELDS: [&str; 14] = [
    "durationMs",
    "seed",
    "scenario",
    "schedule",
    "interrupted",
    "audit",
    "latencyUs",
    "naiveUs",
    "events",
    "answers",
    "connections",
    "errors",
    "generator",
    "phases",
];

/// Where expressions find the fields of a report.
pub(super) fn context(document: &Json) -> Context<'static, 'static> {
    let mut context = Context::with_env(std::sync::Arc::new(Env::stdlib()));
    for (name, value) in document.as_object().into_iter().flatten() {
        context.add_variable_from_value(name.clone(), cel_value(value));
    }
    context
}

/// The report as expressions see it: every type of event is there, so that one which did not occur
/// counts as 0 deliveries.
pub(super) fn document(report: &Report) -> Json {
    let mut report = report.clone();
    for name in UPDATE_TYPES.iter().chain(&EPHEMERAL_TYPES) {
        report.events.entry((*name).to_owned()).or_default();
    }
    // A report is made of maps with text keys, numbers and texts, which JSON can always hold.
    let mut all = serde_json::to_value(&report).unwrap_or_default();
    if let Some(fields) = all.as_object_mut() {
        fields.retain(|name, _| FIELDS.contains(&name.as_str()));
    }
    all
}

/// An empty report whose figures can be divided by.
pub(super) fn with_ones(json: Json) -> Json {
    match json {
        Json::Number(_) => 1.into(),
        Json::Array(all) => all.into_iter().map(with_ones).collect(),
        Json::Object(all) => all
            .into_iter()
            .map(|(name, value)| (name, with_ones(value)))
            .collect(),
        other => other,
    }
}

/// All whole numbers become `int`, so that people need not write `0u`.
fn cel_value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => number.as_i64().map_or_else(
            || Value::Float(number.as_f64().unwrap_or(f64::NAN)),
            Value::Int,
        ),
        Json::String(text) => text.as_str().into(),
        Json::Array(all) => all.iter().map(cel_value).collect::<Vec<_>>().into(),
        Json::Object(all) => all
            .iter()
            .map(|(name, value)| (name.clone(), cel_value(value)))
            .collect::<std::collections::HashMap<_, _>>()
            .into(),
    }
}

pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::List(_) => "a list",
        Value::Map(_) => "a part of the report",
        Value::Int(_) | Value::UInt(_) | Value::Float(_) => "a number",
        Value::String(_) | Value::Bytes(_) => "a text",
        Value::Null => "nothing",
        _ => "something else",
    }
}
