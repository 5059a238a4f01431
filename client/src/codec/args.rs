//! The arguments of an event or of an ack: JSON that stays raw until someone asks.

use std::{fmt, ops::Range};

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use super::Text;

/// Arguments of an event or an ack, as the elements of a JSON array without its brackets.
///
/// One value is one argument, an array or `Vec` of values is that many, `()` is none:
///
/// ```
/// use serde_json::json;
/// use touchstone_client::Args;
/// assert_eq!(Args::from(json!([1, 2])).as_str(), "[1,2]");
/// assert_eq!(Args::from([json!(1), json!(2)]).as_str(), "1,2");
/// assert_eq!(Args::from(()).as_str(), "");
/// ```
///
/// It is a piece of the frame that it came with, so cloning it copies nothing; a long-lived clone
/// keeps the whole frame.
#[derive(Clone)]
pub struct Args {
    frame: Text,
    range: Range<usize>,
}

impl Args {
    /// One argument.
    ///
    /// # Errors
    /// What `value` cannot express in JSON, such as a map with keys that are no strings.
    pub fn one(value: &impl Serialize) -> serde_json::Result<Self> {
        Ok(Self::raw(serde_json::to_string(value)?))
    }

    /// Raw JSON, the elements separated by commas. It is not checked: this is how a suite sends
    /// what is no JSON.
    pub fn raw(elements: impl Into<Text>) -> Self {
        let frame = elements.into();
        let range = 0..frame.len();
        Self { frame, range }
    }

    /// A piece of a frame. `part` must be a slice of `frame`, or empty.
    pub(crate) fn slice(frame: &Text, part: &str) -> Self {
        Self {
            frame: frame.clone(),
            range: range_in(frame, part),
        }
    }

    /// The frame that the arguments are a piece of.
    pub(crate) fn frame(&self) -> &Text {
        &self.frame
    }

    /// The raw JSON, the elements separated by commas.
    pub fn as_str(&self) -> &str {
        &self.frame[self.range.clone()]
    }

    /// Whether there is no argument.
    pub fn is_empty(&self) -> bool {
        self.as_str().trim_ascii().is_empty()
    }

    /// All arguments.
    ///
    /// # Errors
    /// Received arguments have valid syntax, but may be nested too deeply (128) or hold numbers
    /// out of range.
    pub fn values(&self) -> serde_json::Result<Vec<Value>> {
        let mut all: Vec<Value> = serde_json::from_str(&self.to_array())?;
        all.iter_mut().for_each(whole);
        Ok(all)
    }

    /// The first argument, `null` where there is none: nearly every event has exactly one.
    ///
    /// # Errors
    /// As [`values`](Self::values).
    pub fn data(&self) -> serde_json::Result<Value> {
        if self.is_empty() {
            Ok(Value::Null)
        } else {
            let mut first = self.first()?;
            whole(&mut first);
            Ok(first)
        }
    }

    /// The first argument as any type, without looking at the others.
    ///
    /// # Errors
    /// It is missing, or is no `T`.
    pub fn first<'a, T: Deserialize<'a>>(&'a self) -> serde_json::Result<T> {
        T::deserialize(&mut serde_json::Deserializer::from_str(self.as_str()))
    }

    /// The first argument's raw JSON, or nothing where there is none.
    pub fn first_raw(&self) -> Option<&str> {
        self.first::<&RawValue>().ok().map(RawValue::get)
    }

    /// The arguments as a JSON array, with brackets.
    pub fn to_array(&self) -> String {
        format!("[{}]", self.as_str())
    }
}

/// Where in `frame` its slice `part` stands. An empty part may come from anywhere.
pub(crate) fn range_in(frame: &Text, part: &str) -> Range<usize> {
    if part.is_empty() {
        return 0..0;
    }
    let start = part
        .as_ptr()
        .addr()
        .wrapping_sub(frame.as_str().as_ptr().addr());
    debug_assert!(frame.get(start..start + part.len()) == Some(part));
    start..start + part.len()
}

impl From<()> for Args {
    fn from((): ()) -> Self {
        Self::raw("")
    }
}

impl From<&Value> for Args {
    fn from(value: &Value) -> Self {
        Self::raw(value.to_string())
    }
}

impl From<Value> for Args {
    fn from(value: Value) -> Self {
        Self::from(&value)
    }
}

impl From<&[Value]> for Args {
    fn from(values: &[Value]) -> Self {
        Self::raw(
            values
                .iter()
                .map(Value::to_string)
                .collect::<Vec<_>>()
                .join(","),
        )
    }
}

impl From<Vec<Value>> for Args {
    fn from(values: Vec<Value>) -> Self {
        Self::from(values.as_slice())
    }
}

impl<const N: usize> From<[Value; N]> for Args {
    fn from(values: [Value; N]) -> Self {
        Self::from(values.as_slice())
    }
}

impl PartialEq for Args {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Args {}

impl fmt::Debug for Args {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Args({})", self.as_str())
    }
}

/// The largest integer up to which a double holds each.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Puts the integer in the place of each number that is one, however it was written: a server may send
/// `1.0` for `1`, and JSON does not tell them apart.
pub(crate) fn whole(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            let is_whole = |double: &f64| double.fract() == 0.0 && double.abs() <= EXACT;
            if let Some(double) = number.as_f64().filter(is_whole) {
                #[expect(clippy::cast_possible_truncation, reason = "an integer within bounds")]
                let integer = double as i64;
                *number = integer.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole),
        Value::Object(fields) => fields.values_mut().for_each(whole),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_whole_number_is_an_integer_however_it_is_written() {
        let mut value = json!({"a": [1.0, -2.0, 0.5, 1e21], "b": {"c": 1_764_410_123_457.0}});
        whole(&mut value);
        let expected = json!({"a": [1, -2, 0.5, 1e21], "b": {"c": 1_764_410_123_457_i64}});
        assert_eq!(value, expected);
        let received = Args::from(json!({"seq": 3.0}));
        assert_eq!(received.data().expect("JSON")["seq"].as_u64(), Some(3));
    }
}
