//! Rounds of a comparison: two measurements side by side, several times, and what they come to.
//!
//! Pure: it knows numbers and text. A ratio is taken within each round, so that what disturbs the
//! machine for longer than a round disturbs both sides of it.

use std::fmt;

/// CPU time per delivered event of both sides in one round, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Round {
    /// Of our server.
    pub ours: f64,
    /// Of the peer.
    pub peer: f64,
}

impl Round {
    /// Ours by the peer's: below 1, ours is cheaper.
    #[must_use]
    pub fn ratio(self) -> f64 {
        self.ours / self.peer
    }
}

/// All rounds of one scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// What was done, for the heading.
    pub title: String,
    /// The ratio that the project aims at.
    pub aim: f64,
    /// The rounds in the order in which they ran.
    pub rounds: Vec<Round>,
}

/// The middle and the ends of several ratios.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// The spread of `values`, or nothing where there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let upper = sorted[sorted.len() / 2];
        let lower = sorted[(sorted.len() - 1) / 2];
        Some(Self {
            median: f64::midpoint(lower, upper),
            min,
            max,
        })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} ({:.3}..{:.3})", self.median, self.min, self.max)
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        writeln!(f, "  round  touchstone us/event  node us/event  ratio")?;
        for (index, round) in self.rounds.iter().enumerate() {
            let (ours, peer) = (round.ours / 1000.0, round.peer / 1000.0);
            let number = index + 1;
            writeln!(
                f,
                "  {number:>5}  {ours:>19.3}  {peer:>13.3}  {:>5.3}",
                round.ratio()
            )?;
        }
        match Spread::of(self.rounds.iter().map(|round| round.ratio())) {
            Some(spread) => writeln!(f, "  median ratio {spread}, aim {:.2}", self.aim),
            None => writeln!(f, "  no round was finished"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: &[f64], expected: Option<(f64, f64, f64)>) {
        let spread = Spread::of(values.iter().copied());
        assert_eq!(
            spread.map(|s| (s.median, s.min, s.max)),
            expected,
            "{values:?}"
        );
    }

    #[test]
    fn spreads() {
        check(&[], None);
        check(&[3.0], Some((3.0, 3.0, 3.0)));
        check(&[4.0, 1.0], Some((2.5, 1.0, 4.0)));
        check(&[9.0, 1.0, 2.0], Some((2.0, 1.0, 9.0)));
        check(&[5.0, 1.0, 2.0, 4.0], Some((3.0, 1.0, 5.0)));
    }

    #[test]
    fn a_comparison_shows_each_round_and_the_median() {
        let rounds = vec![
            Round {
                ours: 2_000.0,
                peer: 5_000.0,
            },
            Round {
                ours: 2_100.0,
                peer: 4_200.0,
            },
            Round {
                ours: 312.5,
                peer: 12_500.0,
            },
        ];
        let shown = Comparison {
            title: "single events to 100".to_owned(),
            aim: 0.4,
            rounds,
        };
        insta::assert_snapshot!(shown, @r"
        single events to 100
          round  touchstone us/event  node us/event  ratio
              1                2.000          5.000  0.400
              2                2.100          4.200  0.500
              3                0.312         12.500  0.025
          median ratio 0.400 (0.025..0.500), aim 0.40
        ");
        let nothing = Comparison {
            rounds: Vec::new(),
            ..shown
        };
        insta::assert_snapshot!(nothing, @r"
        single events to 100
          round  touchstone us/event  node us/event  ratio
          no round was finished
        ");
    }
}
