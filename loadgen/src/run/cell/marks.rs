//! What tells events apart that have no opaque content to be stamped: of heartbeats and the ends of
//! sessions the time, of usage reports the tokens.

use std::collections::BTreeSet;

use crate::scenario::EventKind;

/// The resolutions, in milliseconds, that a server may keep times in.
const RESOLUTIONS: [u64; 3] = [1_000, 100, 10];

/// The events of an account that are in flight, by what their recipients see of them: the kind, the
/// session or machine, and the mark. Several may have the same.
#[derive(Debug, Default)]
pub(super) struct Marks(BTreeSet<(EventKind, u32, u64, u32)>);

impl Marks {
    /// Adds an event under its number.
    pub(super) fn insert(&mut self, kind: EventKind, subject: u32, mark: u64, number: u32) {
        self.0.insert((kind, subject, mark, number));
    }

    /// The numbers of the events that a mark may be of, the likeliest first.
    pub(super) fn find(
        &self,
        kind: EventKind,
        subject: u32,
        mark: u64,
    ) -> impl Iterator<Item = u32> + '_ {
        let width = match kind {
            EventKind::UsageReport => 1,
            _ => resolution(mark),
        };
        let first = (kind, subject, mark, 0);
        let behind = (kind, subject, mark + width, 0);
        self.0.range(first..behind).map(|(.., number)| *number)
    }

    /// Forgets what has a number before this one, once there is much more than `in_flight`.
    pub(super) fn forget_before(&mut self, number: u32, in_flight: usize) {
        if self.0.len() > 2 * in_flight + 16 {
            self.0.retain(|(.., of)| *of >= number);
        }
    }
}

/// The coarsest resolution that a time may have been rounded down to.
fn resolution(time: u64) -> u64 {
    let mut all = RESOLUTIONS.into_iter();
    all.find(|by| time.is_multiple_of(*by)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_rounded_down_is_found_as_well() {
        let mut marks = Marks::default();
        for (mark, number) in [(4_000, 1), (4_321, 2), (4_999, 3), (5_000, 4), (4_321, 5)] {
            marks.insert(EventKind::SessionAlive, 7, mark, number);
        }
        marks.insert(EventKind::SessionEnd, 7, 4_500, 6);
        marks.insert(EventKind::UsageReport, 7, 3_001, 8);
        let check = |marks: &Marks, kind, subject, mark, expected: &[u32]| {
            let found: Vec<_> = marks.find(kind, subject, mark).collect();
            assert_eq!(found, expected, "{kind:?} {subject} {mark}");
        };
        check(&marks, EventKind::SessionAlive, 7, 4_321, &[2, 5]);
        check(&marks, EventKind::SessionAlive, 7, 4_322, &[]);
        check(&marks, EventKind::SessionAlive, 7, 4_320, &[2, 5]);
        check(&marks, EventKind::SessionAlive, 7, 4_000, &[1, 2, 5, 3]);
        check(&marks, EventKind::SessionEnd, 7, 4_000, &[6]);
        check(&marks, EventKind::SessionAlive, 8, 4_000, &[]);
        check(&marks, EventKind::MachineAlive, 7, 4_000, &[]);
        check(&marks, EventKind::UsageReport, 7, 3_001, &[8]);
        check(&marks, EventKind::UsageReport, 7, 3_000, &[]);
        marks.forget_before(4, 0);
        check(&marks, EventKind::SessionAlive, 7, 5_000, &[4]);
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let mut marks = Marks::default();
        for number in 0..20 {
            marks.insert(EventKind::MachineAlive, 0, 9_999, number);
        }
        marks.forget_before(15, 5);
        assert_eq!(marks.find(EventKind::MachineAlive, 0, 9_999).count(), 20);
        marks.forget_before(15, 1);
        assert_eq!(marks.find(EventKind::MachineAlive, 0, 9_999).count(), 5);
    }
}
