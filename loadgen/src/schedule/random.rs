//! Random numbers that are the same on every machine and with every version of every library.
//!
//! SplitMix64, and distributions made of integer arithmetic and of the four basic operations of
//! `f64`, which IEEE 754 fixes to the bit. Functions of the platform's math library are not.

use crate::scenario::{Size, Span};

/// A stream of random numbers, eight bytes small, so that every connection can have several.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stream(u64);

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Stream {
    /// The stream that belongs to a path of numbers, such as seed, account, connection, rule.
    pub(crate) fn of(path: [u64; 4]) -> Self {
        let step = |state: u64, part: u64| mix(state.wrapping_add(GAMMA) ^ mix(part));
        Self(path.into_iter().fold(0, step))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        mix(self.0)
    }

    /// Below `bound`, which must not be 0. The bias is below `bound / 2^64`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or_default()
    }

    /// From 0 to `most`, both included.
    pub(crate) fn up_to(&mut self, most: u64) -> u64 {
        self.below(most.saturating_add(1))
    }

    /// Exponentially distributed with this mean, at least 1: the gaps of a Poisson process.
    pub(crate) fn gap(&mut self, mean: u64) -> u64 {
        // Never 0, whose logarithm is infinite.
        let uniform = unit(self.next() >> 11 | 1);
        rounded(-ln(uniform) * wide(mean)).max(1)
    }

    /// Bytes of opaque content.
    pub(crate) fn size(&mut self, size: Size) -> u32 {
        match size {
            Size::Fixed(size) => size,
            Size::Skewed { median, p95, p999 } => {
                let at = unit(self.next() >> 11);
                skewed(at, median, p95, p999)
            }
        }
    }
}

/// A random part of a length of time, the same for the same numbers: jitter of what cannot be
/// planned, such as the return of a connection that the server has ended.
pub(crate) fn scatter([account, peer, at]: [u64; 3], most: Span) -> Span {
    Span::from_us(Stream::of([at, account, peer, 0]).up_to(most.us()))
}

/// From 53 bits to [0, 1).
fn unit(bits: u64) -> f64 {
    wide(bits) / wide(1 << 53)
}

fn wide(number: u64) -> f64 {
    number as f64
}

fn rounded(number: f64) -> u64 {
    (number + 0.5) as u64
}

/// The natural logarithm of a normal, positive number, to about 12 digits.
fn ln(x: f64) -> f64 {
    const LN_2: f64 = std::f64::consts::LN_2;
    let bits = x.to_bits();
    let exponent = i32::try_from(bits >> 52).unwrap_or_default() - 1023;
    let mantissa = f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52);
    // The series of the inverse hyperbolic tangent; its argument is at most 1/3.
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let mut sum = 0.0;
    for term in (0..13).rev() {
        sum = sum * square + 1.0 / f64::from(2 * term + 1);
    }
    2.0 * s * sum + f64::from(exponent) * LN_2
}

/// `e^x` for moderate x, to about 12 digits.
fn exp(x: f64) -> f64 {
    // e^x = (e^(x/256))^256, and the series of the inner one converges at once.
    let small = x / 256.0;
    let mut sum = 1.0;
    for term in (1..8).rev() {
        sum = 1.0 + sum * small / f64::from(term);
    }
    for _ in 0..8 {
        sum *= sum;
    }
    sum
}

/// The value at a quantile of a distribution that is geometric between its known quantiles, and
/// whose lower half mirrors the upper one.
fn skewed(at: f64, median: u32, p95: u32, p999: u32) -> u32 {
    let middle = ln(f64::from(median));
    let (above, upper) = if at < 0.5 {
        (1.0 - at, -1.0)
    } else {
        (at, 1.0)
    };
    let knots = [
        (0.5, middle),
        (0.95, ln(f64::from(p95))),
        (0.999, ln(f64::from(p999))),
        (1.0, ln(f64::from(p999)) + 0.1),
    ];
    let mut height = middle;
    for pair in knots.windows(2) {
        let [(from, low), (to, high)] = [pair[0], pair[1]];
        if above >= from {
            height = low + (high - low) * ((above - from) / (to - from)).min(1.0);
        }
    }
    let value = exp(middle + upper * (height - middle));
    u32::try_from(rounded(value)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        // The reference implementation's first outputs for the state 1234567.
        let mut stream = Stream(1_234_567);
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ];
        assert_eq!(expected.map(|_| stream.next()), expected);
    }

    #[test]
    fn logarithm_and_exponential_are_right() {
        for x in [1e-16, 0.001, 0.5, 1.0, 1.5, 2.0, 1200.0, 200_000.0, 1e15] {
            assert!(
                (ln(x) - f64::ln(x)).abs() < 1e-11 * f64::ln(x).abs().max(1.0),
                "{x}"
            );
        }
        for x in [-3.0, 0.0, 0.1, 1.0, 7.09, 12.2] {
            assert!((exp(x) / f64::exp(x) - 1.0).abs() < 1e-11, "{x}");
        }
    }

    #[test]
    fn gaps_have_their_mean() {
        let mut stream = Stream::of([1, 2, 3, 4]);
        let count = 200_000;
        let sum: u64 = (0..count).map(|_| stream.gap(1_000_000)).sum();
        let mean = sum / count;
        assert!((990_000..1_010_000).contains(&mean), "{mean}");
    }

    #[test]
    fn sizes_have_their_quantiles() {
        let size = Size::Skewed {
            median: 1_200,
            p95: 16_000,
            p999: 200_000,
        };
        let mut stream = Stream::of([1, 2, 3, 4]);
        let mut sizes: Vec<u32> = (0..100_000).map(|_| stream.size(size)).collect();
        sizes.sort_unstable();
        let near = |at: usize, expected: u32| {
            let found = f64::from(sizes[at]) / f64::from(expected);
            assert!(
                (0.9..1.1).contains(&found),
                "{at}: {} for {expected}",
                sizes[at]
            );
        };
        near(5_000, 90);
        near(50_000, 1_200);
        near(95_000, 16_000);
        near(99_900, 200_000);
    }

    #[test]
    fn streams_of_neighbours_differ() {
        let first = |path| Stream::of(path).next();
        let all = [
            first([7, 0, 0, 0]),
            first([7, 1, 0, 0]),
            first([7, 0, 1, 0]),
            first([7, 0, 0, 1]),
            first([8, 0, 0, 0]),
        ];
        let distinct: std::collections::HashSet<_> = all.into_iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
