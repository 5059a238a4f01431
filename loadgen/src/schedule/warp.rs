//! How much load has been asked for by when: phases bend time, so that a stream with a constant
//! rate of its own comes out with ramps and steps.

use crate::scenario::Phase;

/// Load-weighted time, in thousandths of microseconds: at load 1 it passes 1000 per microsecond.
pub(crate) type Warped = u64;

/// What a microsecond at load 1 weighs.
pub(crate) const UNIT: Warped = 1000;

/// The map from load-weighted time to the time of the run.
#[derive(Debug, Clone)]
pub(crate) struct Warp {
    pieces: Vec<Piece>,
    /// The end of the run.
    end: u64,
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    /// Microseconds from the start of the run.
    start: u64,
    length: u64,
    /// Load-weighted time at its start, and how much passes in it.
    before: Warped,
    weight: Warped,
    from: u64,
    to: u64,
}

impl Warp {
    pub(crate) fn new(phases: &[Phase]) -> Self {
        let mut pieces = Vec::with_capacity(phases.len());
        let (mut start, mut before) = (0, 0);
        for phase in phases {
            let length = phase.duration.us();
            // The mean of both ends; halves are rounded down, once per phase.
            let weight = u128::from(length) * u128::from(phase.load.from + phase.load.to) / 2;
            let weight = u64::try_from(weight).unwrap_or(u64::MAX);
            pieces.push(Piece {
                start,
                length,
                before,
                weight,
                from: phase.load.from,
                to: phase.load.to,
            });
            start += length;
            before = before.saturating_add(weight);
        }
        Self { pieces, end: start }
    }

    /// The end of the run, in microseconds.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// When so much load has been asked for; nothing where the run ends before.
    pub(crate) fn at(&self, warped: Warped) -> Option<u64> {
        let next = self.pieces.partition_point(|piece| piece.before <= warped);
        let piece = self.pieces[..next]
            .iter()
            .rev()
            .find(|piece| piece.weight > 0)?;
        let rest = warped - piece.before;
        // Beyond its weight, the next piece with any begins; there is none if this was the last.
        (rest < piece.weight).then(|| piece.start + piece.after(rest))
    }
}

impl Piece {
    /// The time `x` after which so much has passed: the root of `from x + (to - from) x² / 2l`.
    fn after(&self, rest: Warped) -> u64 {
        let (from, to) = (i128::from(self.from), i128::from(self.to));
        let (rest, length) = (i128::from(rest), i128::from(self.length));
        let slope = to - from;
        let x = if slope == 0 {
            rest / from.max(1)
        } else {
            // In units of 1/1024, so that the root keeps fractions that the division needs.
            let under = from * from + 2 * slope * rest / length;
            let root = (under.max(0) << 20).isqrt();
            ((root - (from << 10)) * length / slope) >> 10
        };
        u64::try_from(x.clamp(0, length - 1)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Load, Span};

    fn phase(secs: u64, from: u64, to: u64) -> Phase {
        Phase {
            name: String::new(),
            duration: Span::from_secs(secs),
            load: Load { from, to },
            counted: true,
        }
    }

    const SECOND: u64 = 1_000_000;

    #[track_caller]
    fn check(phases: &[Phase], load_seconds: f64, expected: Option<f64>) {
        let warped = (load_seconds * 1e9) as u64;
        let at = Warp::new(phases).at(warped);
        let shown = at.map(|at| at as f64 / SECOND as f64);
        match (shown, expected) {
            (Some(at), Some(expected)) => assert!((at - expected).abs() < 0.02, "{at}"),
            (at, expected) => assert_eq!(at, expected),
        }
    }

    #[test]
    fn steady_load_is_plain_time() {
        let steady = [phase(10, 1000, 1000)];
        check(&steady, 0.0, Some(0.0));
        check(&steady, 7.5, Some(7.5));
        check(&steady, 10.0, None);
        check(&[phase(10, 500, 500)], 1.0, Some(2.0));
    }

    #[test]
    fn nothing_happens_without_load() {
        let late = [phase(5, 0, 0), phase(10, 1000, 1000), phase(3, 0, 0)];
        check(&late, 0.0, Some(5.0));
        check(&late, 9.0, Some(14.0));
        check(&late, 10.0, None);
        check(&[phase(5, 0, 0)], 0.0, None);
    }

    #[test]
    fn ramps_are_linear_in_load() {
        let up = [phase(10, 0, 1000)];
        // x² / 20 = 1.25
        check(&up, 1.25, Some(5.0));
        check(&up, 4.999, Some(9.999));
        let down = [phase(10, 1000, 0)];
        check(&down, 3.75, Some(5.0));
        // x + x² / 4 = 3
        check(&[phase(4, 1000, 3000)], 3.0, Some(2.0));
    }

    #[test]
    fn time_never_goes_back() {
        let phases = [
            phase(3, 0, 2000),
            phase(1, 0, 0),
            phase(3, 2000, 100),
            phase(2, 700, 700),
        ];
        let warp = Warp::new(&phases);
        let mut last = 0;
        for step in 0..100_000_u64 {
            let Some(at) = warp.at(step * 100_000) else {
                break;
            };
            assert!(at >= last, "{step}: {at} after {last}");
            last = at;
        }
        assert!(last > 8 * SECOND, "{last}");
    }
}
