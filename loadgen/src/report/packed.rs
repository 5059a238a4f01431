//! Histograms of microseconds, and their packed form in reports: HdrHistogram's V2 encoding,
//! deflated, in base64, which every HdrHistogram library reads.
//!
//! All have the same bounds and precision, so that adding them loses nothing.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer, Serializer as _, V2DeflateSerializer},
};
use serde::{Deserialize, Serialize, de};

use super::model::Summary;

/// The largest value, in microseconds: an hour. What took longer counts as an hour.
pub const LARGEST_US: u64 = 3_600_000_000;

/// Decimal digits that a value keeps: an error of at most one in a thousand.
pub const DIGITS: u8 = 3;

/// An empty histogram as all of a run are; record into it with `saturating_record`.
///
/// # Panics
/// Never: the bounds are constants that the library accepts.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LARGEST_US, DIGITS).expect("these bounds are valid")
}

/// A histogram in its packed form, which takes some hundred bytes instead of a hundred kilobytes.
/// Only what can be unpacked becomes one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Packed(String);

/// A text is no packed histogram of ours.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackedError {
    /// It is no base64.
    #[error("the histogram is no base64")]
    Base64(#[from] base64::DecodeError),
    /// It is no histogram.
    #[error("the histogram cannot be decoded: {0}")]
    Encoding(String),
    /// It has other bounds or another precision, so that adding would lose something.
    #[error("the histogram is not one of microseconds with {DIGITS} digits up to {LARGEST_US}")]
    Bounds,
}

impl Packed {
    /// Packs a histogram that [`histogram`] made.
    ///
    /// # Panics
    /// Never for such a histogram: the encoding goes to memory and its size is bounded.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(histogram, &mut bytes)
            .expect("a bounded histogram can be encoded");
        Self(BASE64_STANDARD.encode(bytes))
    }

    /// Takes a text from outside.
    ///
    /// # Errors
    /// It is no such histogram.
    pub fn parse(text: &str) -> Result<Self, PackedError> {
        unpack(text)?;
        Ok(Self(text.to_owned()))
    }

    /// The histogram.
    ///
    /// # Panics
    /// Never: a packed histogram was unpacked once, or made here.
    #[must_use]
    pub fn unpack(&self) -> Histogram<u64> {
        unpack(&self.0).expect("a packed histogram can be unpacked")
    }

    /// Its distribution in short.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary::of(&self.unpack())
    }

    /// Both in one.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let mut sum = self.unpack();
        // All have the same bounds, which is the only thing that adding can fail for.
        sum.add(other.unpack()).expect("bounds are equal");
        Self::of(&sum)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn unpack(text: &str) -> Result<Histogram<u64>, PackedError> {
    let bytes = BASE64_STANDARD.decode(text)?;
    let unpacked: Histogram<u64> = Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .map_err(|error| PackedError::Encoding(error.to_string()))?;
    if (unpacked.low(), unpacked.high(), unpacked.sigfig()) != (1, LARGEST_US, DIGITS) {
        return Err(PackedError::Bounds);
    }
    Ok(unpacked)
}

impl Default for Packed {
    fn default() -> Self {
        Self::of(&histogram())
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

impl Summary {
    /// The summary of a histogram of microseconds.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        Self {
            count: histogram.len(),
            min: histogram.min(),
            mean: (histogram.mean() * 10.0).round() / 10.0,
            p50: histogram.value_at_quantile(0.5),
            p90: histogram.value_at_quantile(0.9),
            p99: histogram.value_at_quantile(0.99),
            p999: histogram.value_at_quantile(0.999),
            max: histogram.max(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[u64]) -> Packed {
        let mut histogram = histogram();
        for value in values {
            histogram.saturating_record(*value);
        }
        Packed::of(&histogram)
    }

    #[test]
    fn a_packed_histogram_keeps_everything() {
        let packed = of(&[1, 900, 1_000_000, LARGEST_US, u64::MAX]);
        assert_eq!(Packed::of(&packed.unpack()), packed);
        assert_eq!(packed.unpack().len(), 5);
        assert_eq!(packed.unpack().count_at(900), 1);
    }

    #[test]
    fn adding_is_exact() {
        assert_eq!(of(&[1, 20]).plus(&of(&[300, 20])), of(&[1, 20, 20, 300]));
        assert_eq!(of(&[7]).plus(&Packed::default()), of(&[7]));
    }

    #[test]
    fn the_summary_of_a_thousand_values() {
        let all: Vec<u64> = (1..=1000).collect();
        let summary = of(&all).summary();
        assert_eq!((summary.count, summary.min, summary.max), (1000, 1, 1000));
        assert_eq!(
            (summary.p50, summary.p90, summary.p99, summary.p999),
            (500, 900, 990, 999)
        );
        assert_eq!(Packed::default().summary(), Summary::default());
    }

    #[track_caller]
    fn check_refused(text: &str, expected: &str) {
        let error = Packed::parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }

    #[test]
    fn other_texts_are_refused() {
        check_refused("***", "no base64");
        check_refused("aGVsbG8=", "cannot be decoded");
        let other = Histogram::<u64>::new_with_bounds(1, 1000, 2).unwrap();
        check_refused(Packed::of(&other).as_str(), "3 digits");
    }
}
