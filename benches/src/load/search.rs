//! The search for the highest rate that holds. Pure: whoever calls it does the trying.
//!
//! Rates grow by a factor until one does not hold (or shrink until one does), then the gap between
//! the two is halved, on a scale of factors, until it is small.

/// The step while nothing is known about the other side.
const STEP: f64 = 1.5;
/// The gap between what held and what did not, as a factor, that is small enough.
const PRECISION: f64 = 1.12;
/// More tries than this are not worth their time.
const TRIES: u32 = 10;

/// What a try at a rate came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything arrived in time.
    Held,
    /// The generator was at the end of its core.
    GeneratorFull,
    /// Events were late or unsent though the generator had time left: the server was the limit, or
    /// other programs were.
    OtherLimit,
}

/// The highest rate that was seen to hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Highest {
    /// Events per second.
    pub rate: f64,
    /// Whether the generator might hold more, because what ended the search was not its core.
    pub at_least: bool,
}

/// A search in progress.
#[derive(Debug, Clone)]
pub struct Search {
    next: f64,
    held: Option<f64>,
    failed: Option<(f64, Outcome)>,
    tries: u32,
}

impl Search {
    /// Begins at a rate that is expected to hold.
    #[must_use]
    pub fn from(rate: f64) -> Self {
        Self {
            next: rate,
            held: None,
            failed: None,
            tries: 0,
        }
    }

    /// The rate to try next, or nothing when it is known well enough.
    #[must_use]
    pub fn next(&self) -> Option<f64> {
        let is_close = match (self.held, self.failed) {
            (Some(held), Some((failed, _))) => failed / held <= PRECISION,
            _ => false,
        };
        (!is_close && self.tries < TRIES).then_some(self.next)
    }

    /// Takes what a try at that rate came to.
    pub fn tried(&mut self, rate: f64, outcome: Outcome) {
        self.tries += 1;
        match outcome {
            Outcome::Held => self.held = Some(rate),
            failure => self.failed = Some((rate, failure)),
        }
        self.next = match (self.held, self.failed) {
            (Some(held), Some((failed, _))) => (held * failed).sqrt(),
            (Some(held), None) => held * STEP,
            (None, _) => rate / STEP,
        };
    }

    /// What was found; nothing if no rate held.
    #[must_use]
    pub fn highest(&self) -> Option<Highest> {
        self.held.map(|rate| Highest {
            rate,
            at_least: !matches!(self.failed, Some((_, Outcome::GeneratorFull))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches from `start` for the limit of something that holds up to `limit`.
    #[track_caller]
    fn check(start: f64, limit: f64, failure: Outcome, at_least: bool) {
        let mut search = Search::from(start);
        let mut tries = 0;
        while let Some(rate) = search.next() {
            tries += 1;
            let outcome = if rate <= limit {
                Outcome::Held
            } else {
                failure
            };
            search.tried(rate, outcome);
        }
        let highest = search.highest().expect("something holds");
        assert_eq!(highest.at_least, at_least);
        let rate = highest.rate;
        assert!(
            rate <= limit && limit <= rate * PRECISION,
            "{rate} for {limit}"
        );
        assert!(tries <= 8, "{tries} tries");
    }

    #[test]
    fn limits_are_found() {
        use Outcome::{GeneratorFull, OtherLimit};
        for limit in [900.0, 1_000.0, 1_001.0, 2_345.0, 7_000.0] {
            check(1_000.0, limit, GeneratorFull, false);
            check(1_000.0, limit, OtherLimit, true);
        }
        check(1_000.0, 300.0, GeneratorFull, false);
    }

    #[test]
    fn what_never_holds_has_no_highest_rate() {
        let mut search = Search::from(1_000.0);
        let mut tries = 0;
        while let Some(rate) = search.next() {
            search.tried(rate, Outcome::GeneratorFull);
            tries += 1;
        }
        assert_eq!((search.highest(), tries), (None, TRIES));
    }

    #[test]
    fn what_always_holds_is_told_as_a_lower_bound() {
        let mut search = Search::from(1_000.0);
        while let Some(rate) = search.next() {
            search.tried(rate, Outcome::Held);
        }
        assert!(search.highest().is_some_and(|highest| highest.at_least));
    }
}
