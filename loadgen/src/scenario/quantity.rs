//! Numbers with units, as scenarios write them and as the schedule computes with them: integers
//! throughout, so that every machine comes to the same plan.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, de};

/// A length of time in whole microseconds, written like `250ms`, `1.5s`, `2m` or `1h`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(u64);

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// So many microseconds.
    pub const fn from_us(us: u64) -> Self {
        Self(us)
    }

    /// So many milliseconds.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms * 1_000)
    }

    /// So many seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs * 1_000_000)
    }

    /// In microseconds.
    pub const fn us(self) -> u64 {
        self.0
    }

    /// As the standard library has it.
    pub const fn std(self) -> std::time::Duration {
        std::time::Duration::from_micros(self.0)
    }
}

const UNITS: [(&str, u64); 5] = [
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
];
/// Longer than any run: what is beyond is a mistake, and would overflow somewhere.
const LONGEST: u64 = 366 * 24 * 3_600_000_000;

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{text:?} is no length of time; write it like 250ms, 1.5s or 2m");
        let unit_at = text
            .find(|c: char| c.is_ascii_alphabetic())
            .ok_or_else(wrong)?;
        let (number, unit) = text.split_at(unit_at);
        let (_, factor) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(wrong)?;
        let us = decimal(number.trim_end(), *factor).ok_or_else(wrong)?;
        if us > LONGEST {
            return Err(format!("{text:?} is longer than a year"));
        }
        Ok(Self(us))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, factor): &&(&str, u64)| self.0 >= *factor && self.0.is_multiple_of(*factor);
        match UNITS.iter().rev().find(fits) {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => f.write_str("0s"),
        }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// `number * factor` for a decimal number without sign, rounded down; nothing where it is none or
/// does not fit.
fn decimal(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let whole: u128 = whole.parse().ok()?;
    let part: u128 = fraction.parse().ok()?;
    let tens = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let scaled = whole
        .checked_mul(u128::from(factor))?
        .checked_add(part * u128::from(factor) / tens)?;
    u64::try_from(scaled).ok()
}

/// A TOML number in thousandths, from 0 to `most`.
fn thousandths(number: f64, most: u64) -> Option<u64> {
    let scaled = (number * 1000.0).round();
    let fits = scaled >= 0.0 && scaled <= most as f64;
    // Within the limits, so nothing is cut off.
    fits.then_some(scaled as u64)
}

/// A share from 0 to 1, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permille(u64);

impl Permille {
    /// So many thousandths.
    pub const fn new(thousandths: u64) -> Self {
        Self(thousandths)
    }

    /// In thousandths.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether `part` is a larger share of `whole` than this.
    pub fn is_passed_by(self, part: u64, whole: u64) -> bool {
        u128::from(part) * 1000 > u128::from(whole) * u128::from(self.0)
    }
}

impl fmt::Display for Permille {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} %", self.0 / 10, self.0 % 10)
    }
}

impl<'de> Deserialize<'de> for Permille {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = f64::deserialize(deserializer)?;
        thousandths(number, 1000).map(Self).ok_or_else(|| {
            de::Error::custom(format!("{number} is no share; write a number from 0 to 1"))
        })
    }
}

/// By what a phase multiplies all rates: from the first to the second number, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// At the beginning of the phase.
    pub from: u64,
    /// At its end.
    pub to: u64,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            from: 1000,
            to: 1000,
        }
    }
}

impl<'de> Deserialize<'de> for Load {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "load is a number, or two as in [0.0, 1.0]")]
        enum Written {
            Steady(f64),
            Ramp([f64; 2]),
        }
        let [from, to] = match Written::deserialize(deserializer)? {
            Written::Steady(load) => [load, load],
            Written::Ramp(ramp) => ramp,
        };
        let parsed = |number: f64| {
            thousandths(number, 1_000_000).ok_or_else(|| {
                de::Error::custom(format!(
                    "a load of {number}; write a number from 0 to 1000, 1 for the rates as they \
                     stand"
                ))
            })
        };
        Ok(Self {
            from: parsed(from)?,
            to: parsed(to)?,
        })
    }
}

/// How many bytes of opaque content an event carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(
    untagged,
    expecting = "a size is a number of bytes, or { median = 1200, p95 = 16000, p999 = 200000 }"
)]
pub enum Size {
    /// Always the same.
    Fixed(u32),
    /// Skewed as real messages are: geometric between these quantiles, and below the median their
    /// mirror image.
    #[serde(rename_all = "kebab-case")]
    Skewed {
        /// Half are smaller.
        median: u32,
        /// One in 20 is larger.
        p95: u32,
        /// One in 1000 is larger; none by more than a little.
        p999: u32,
    },
}

impl Default for Size {
    fn default() -> Self {
        Self::Fixed(120)
    }
}

/// By what a population is multiplied, in millionths; written like `4` or `0.25`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale(u64);

impl Default for Scale {
    fn default() -> Self {
        Self(1_000_000)
    }
}

/// The text is no scale.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no scale; write a number above 0 and up to 1000000, such as 4 or 0.25")]
pub struct ScaleError(String);

impl FromStr for Scale {
    type Err = ScaleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match decimal(text, 1_000_000) {
            Some(millionths) if (1..=1_000_000_000_000).contains(&millionths) => {
                Ok(Self(millionths))
            }
            _ => Err(ScaleError(text.to_owned())),
        }
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl Scale {
    /// For reports.
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// So many of `count`, rounded; at least one where there was one.
    pub(super) fn of(self, count: u32) -> u32 {
        let scaled = (u128::from(count) * u128::from(self.0) + 500_000) / 1_000_000;
        let least = u32::from(count > 0);
        u32::try_from(scaled).unwrap_or(u32::MAX).max(least)
    }
}
