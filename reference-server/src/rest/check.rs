//! Checks the shape of a body, and says everything that is wrong with it in one message, in the words
//! that clients of this interface know.

use serde_json::{Map, Value};

use super::ApiError;

/// What a field may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A text.
    Text,
    /// A text, null, or nothing.
    OptionalText,
    /// A text or null.
    NullableText,
    /// A number.
    Number,
    /// A number, null, or nothing.
    OptionalNumber,
    /// A list.
    List,
}

impl Kind {
    fn accepts(self, value: Option<&Value>) -> bool {
        matches!(
            (self, value),
            (
                Self::Text | Self::OptionalText | Self::NullableText,
                Some(Value::String(_))
            ) | (Self::NullableText, Some(Value::Null))
                | (Self::Number | Self::OptionalNumber, Some(Value::Number(_)))
                | (Self::List, Some(Value::Array(_)))
                | (
                    Self::OptionalText | Self::OptionalNumber,
                    None | Some(Value::Null)
                )
        )
    }

    fn name(self) -> &'static str {
        match self {
            Self::Text | Self::OptionalText | Self::NullableText => "string",
            Self::Number | Self::OptionalNumber => "number",
            Self::List => "array",
        }
    }
}

fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A body whose fields have the kinds that were asked for.
#[derive(Debug)]
pub(super) struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// Checks a body.
    pub(super) fn check(body: &'a Value, kinds: &[(&str, Kind)]) -> Result<Self, ApiError> {
        Self::check_at("body", body, kinds)
    }

    /// Checks a value somewhere in a body.
    pub(super) fn check_at(
        path: &str,
        value: &'a Value,
        kinds: &[(&str, Kind)],
    ) -> Result<Self, ApiError> {
        let Value::Object(fields) = value else {
            let found = name_of(value);
            return Err(ApiError::invalid(&format!(
                "{path} Expected object, received {found}"
            )));
        };
        let complaints: Vec<String> = kinds
            .iter()
            .filter(|(field, kind)| !kind.accepts(fields.get(*field)))
            .map(|(field, kind)| match fields.get(*field) {
                None => format!("{path}/{field} Required"),
                Some(value) => {
                    format!(
                        "{path}/{field} Expected {}, received {}",
                        kind.name(),
                        name_of(value)
                    )
                }
            })
            .collect();
        if complaints.is_empty() {
            Ok(Self(fields))
        } else {
            Err(ApiError::invalid(&complaints.join(", ")))
        }
    }

    /// A text; empty if there is none.
    pub(super) fn text(&self, field: &str) -> &'a str {
        self.optional_text(field).unwrap_or_default()
    }

    pub(super) fn optional_text(&self, field: &str) -> Option<&'a str> {
        self.0.get(field).and_then(Value::as_str)
    }

    pub(super) fn owned(&self, field: &str) -> Option<String> {
        self.optional_text(field).map(str::to_owned)
    }

    pub(super) fn number(&self, field: &str) -> Option<f64> {
        self.0.get(field).and_then(Value::as_f64)
    }

    /// A whole number; `None` also for a fraction.
    pub(super) fn integer(&self, field: &str) -> Option<i64> {
        self.0.get(field).and_then(Value::as_i64)
    }

    pub(super) fn list(&self, field: &str) -> &'a [Value] {
        self.0
            .get(field)
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(body: &Value, expected: &str) {
        let kinds = [
            ("tag", Kind::Text),
            ("state", Kind::OptionalText),
            ("version", Kind::Number),
            ("list", Kind::List),
        ];
        let message = match Fields::check(body, &kinds) {
            Ok(_) => String::new(),
            Err(error) => error.body["message"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        };
        assert_eq!(message, expected, "{body}");
    }

    #[test]
    fn complaints_name_every_field() {
        check(&json!({ "tag": "", "version": 1, "list": [] }), "");
        check(
            &json!({ "tag": "", "state": null, "version": -1.5, "list": [], "more": 1 }),
            "",
        );
        check(&json!(null), "body Expected object, received null");
        check(&json!([]), "body Expected object, received array");
        check(
            &json!({ "state": 1, "version": "1", "list": {} }),
            "body/tag Required, body/state Expected string, received number, \
             body/version Expected number, received string, body/list Expected array, received object",
        );
    }
}
