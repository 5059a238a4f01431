//! Axes: where a value stands, and which values get a label.

/// The least value that a logarithmic axis begins at, in milliseconds: nothing that crosses a socket
/// is faster, and an axis down to a lone zero would squeeze everything else.
const LEAST: f64 = 0.01;

/// How values become places between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// Evenly from 0.
    Linear {
        /// The value at 1.
        end: f64,
    },
    /// By powers of ten.
    Log {
        /// The exponent at 0.
        from: i32,
        /// The exponent at 1.
        to: i32,
    },
}

impl Scale {
    /// A linear scale from 0 that ends at a round value which is not less than `largest`.
    pub(super) fn linear(largest: f64) -> Self {
        let step = step(largest);
        Self::Linear {
            end: (largest / step).ceil().max(1.0) * step,
        }
    }

    /// A linear scale that ends exactly at `end`.
    pub(super) fn exact(end: f64) -> Self {
        Self::Linear {
            end: end.max(f64::MIN_POSITIVE),
        }
    }

    /// A logarithmic scale around positive values; those below [`LEAST`] stand at the edge.
    pub(super) fn log(smallest: f64, largest: f64) -> Self {
        let from = smallest.max(LEAST).log10().floor();
        let to = largest.max(LEAST).log10().ceil();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "exponents of numbers are small"
        )]
        let (from, to) = (from as i32, to as i32);
        Self::Log {
            from,
            to: to.max(from + 1),
        }
    }

    /// Where a value stands, from 0 to 1; what is outside stands at the edge.
    pub(super) fn place(self, value: f64) -> f64 {
        let place = match self {
            Self::Linear { end } => value / end,
            Self::Log { from, to } => {
                (value.max(1e-12).log10() - f64::from(from)) / f64::from(to - from)
            }
        };
        place.clamp(0.0, 1.0)
    }

    /// The values that get a line and a label.
    pub(super) fn ticks(self) -> Vec<f64> {
        match self {
            Self::Linear { end } => {
                let step = step(end);
                let mut ticks = vec![0.0];
                let mut at = 1.0;
                while at * step <= end * (1.0 + 1e-9) {
                    ticks.push(at * step);
                    at += 1.0;
                }
                ticks
            }
            Self::Log { from, to } => (from..=to).map(|exponent| 10f64.powi(exponent)).collect(),
        }
    }
}

/// A round distance that divides a range into three to six parts.
fn step(range: f64) -> f64 {
    if range <= 0.0 {
        return 1.0;
    }
    let rough = range / 4.0;
    let power = 10f64.powf(rough.log10().floor());
    let factor = match rough / power {
        mantissa if mantissa < 1.5 => 1.0,
        mantissa if mantissa < 3.5 => 2.0,
        mantissa if mantissa < 7.5 => 5.0,
        _ => 10.0,
    };
    factor * power
}

/// A label: whole numbers in groups, others with as few digits as they need.
pub(super) fn label(value: f64) -> String {
    if value >= 1.0 && (value - value.round()).abs() < 1e-9 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "axes end far below 2^64 and do not go below 0"
        )]
        let whole = value.round() as u64;
        return touchstone_output::text::grouped(whole);
    }
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text.is_empty() { "0" } else { text }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(scale: Scale, expected: &[&str]) {
        let labels: Vec<_> = scale.ticks().into_iter().map(label).collect();
        assert_eq!(labels, expected);
    }

    #[test]
    fn labels_are_round() {
        check(Scale::linear(0.0), &["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        check(Scale::linear(7.0), &["0", "2", "4", "6", "8"]);
        check(Scale::linear(5_550.0), &["0", "2 000", "4 000", "6 000"]);
        check(Scale::linear(0.3), &["0", "0.1", "0.2", "0.3"]);
        check(Scale::exact(61.0), &["0", "20", "40", "60"]);
        check(Scale::log(0.3, 84.0), &["0.1", "1", "10", "100"]);
        check(Scale::log(1.0, 1.0), &["1", "10"]);
        check(Scale::log(0.0, 9.0), &["0.01", "0.1", "1", "10"]);
    }

    #[test]
    fn values_stand_between_the_edges() {
        let linear = Scale::linear(8.0);
        assert!((linear.place(4.0) - 0.5).abs() < 1e-9);
        assert!((linear.place(99.0) - 1.0).abs() < 1e-9);
        let log = Scale::log(1.0, 100.0);
        assert!((log.place(10.0) - 0.5).abs() < 1e-9);
        assert!(log.place(0.0).abs() < 1e-9);
    }
}
