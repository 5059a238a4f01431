//! The server's clock, as far as the server tells it.

/// The server's clock, estimated from the times that it stamps on what it makes.
///
/// The estimate differs from this machine's clock only as far as the stamps force it to. It is never
/// before a stamp that was seen, so that a heartbeat is never older than what it is about; and it runs
/// ahead of the server by less than a request takes.
#[derive(Debug, Default)]
pub(crate) struct ServerClock {
    /// How far the server is ahead of this machine, in milliseconds: at least, and at most.
    ahead: Option<(i64, i64)>,
    /// The last time that was given out.
    last: u64,
}

/// How far before its moment a stamp may lie that has whole seconds only.
const COARSE_MS: i64 = 999;

impl ServerClock {
    /// Learns that the server stamped `stamp` between `asked` and `answered` of this machine's clock.
    pub(crate) fn stamped(&mut self, stamp: u64, asked: u64, answered: u64) {
        let coarse = if stamp.is_multiple_of(1000) {
            COARSE_MS
        } else {
            0
        };
        let (low, high) = self.ahead.unwrap_or((i64::MIN, i64::MAX));
        self.ahead = Some((
            low.max(difference(stamp, answered)),
            high.min(difference(stamp, asked).saturating_add(coarse)),
        ));
    }

    /// A time of about now by the server's clock, after all that were given out before. `here` is now by
    /// this machine's clock.
    pub(crate) fn next(&mut self, here: u64) -> u64 {
        let ahead = self.ahead.map_or(0, |(low, high)| 0_i64.min(high).max(low));
        self.last = here.saturating_add_signed(ahead).max(self.last + 1);
        self.last
    }
}

fn difference(a: u64, b: u64) -> i64 {
    i64::try_from(i128::from(a) - i128::from(b)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `stamps` are stamp, asked and answered.
    #[track_caller]
    fn check(stamps: &[(u64, u64, u64)], here: u64, expected: u64) {
        let mut clock = ServerClock::default();
        for &(stamp, asked, answered) in stamps {
            clock.stamped(stamp, asked, answered);
        }
        assert_eq!(clock.next(here), expected);
        assert_eq!(clock.next(here), expected + 1, "times rise");
    }

    #[test]
    fn the_servers_clock_is_followed_as_far_as_it_must_be() {
        // Without a stamp, and where both clocks may be the same.
        check(&[], 50_000, 50_000);
        check(&[(50_005, 50_000, 50_010)], 50_020, 50_020);
        // Ahead: at least as late as its stamp. Behind: not in its future.
        check(&[(59_005, 50_000, 50_010)], 50_010, 59_005);
        check(&[(40_005, 50_000, 50_010)], 50_010, 40_015);
        // The narrowest of several.
        check(
            &[(59_005, 50_000, 50_010), (60_001, 51_000, 51_002)],
            51_002,
            60_001,
        );
        // Whole seconds say less.
        check(&[(50_000, 50_700, 50_710)], 50_710, 50_710);
        check(&[(48_000, 50_700, 50_710)], 50_710, 49_009);
    }
}
