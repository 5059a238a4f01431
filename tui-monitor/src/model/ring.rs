//! What is kept: a ring that is bounded in events and in bytes.
//!
//! Numbers go up and may have holes, so an entry is found by binary search. This module must not know
//! what is shown.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::event::Entry;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Entries.
    pub events: usize,
    /// Bytes, by [`Entry::weight`].
    pub bytes: usize,
}

/// The entries that are kept, oldest first.
#[derive(Debug)]
pub(crate) struct Ring {
    entries: VecDeque<Arc<Entry>>,
    weight: usize,
    bounds: Bounds,
}

impl Ring {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            entries: VecDeque::new(),
            weight: 0,
            bounds,
        }
    }

    /// Keeps an entry and lets the oldest go until the bounds hold. The newest is kept in any case.
    pub(crate) fn push(&mut self, entry: Arc<Entry>) {
        self.weight += entry.weight();
        self.entries.push_back(entry);
        while self.entries.len() > 1
            && (self.entries.len() > self.bounds.events || self.weight > self.bounds.bytes)
        {
            self.evict();
        }
    }

    fn evict(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.weight -= entry.weight();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.weight = 0;
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    /// How full it is, by whichever bound is nearer: 0 to 100.
    pub(crate) fn fill_percent(&self) -> usize {
        let events = self.entries.len() * 100 / self.bounds.events.max(1);
        let bytes = self.weight * 100 / self.bounds.bytes.max(1);
        events.max(bytes).min(100)
    }

    /// The number of the oldest entry.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.number)
    }

    pub(crate) fn newest(&self) -> Option<&Arc<Entry>> {
        self.entries.back()
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Arc<Entry>> {
        let index = self.index(number)?;
        self.entries.get(index)
    }

    /// The entry at a place, from the oldest.
    pub(crate) fn at(&self, index: usize) -> Option<&Arc<Entry>> {
        self.entries.get(index)
    }

    /// How many entries have a lower number.
    pub(crate) fn below(&self, number: u64) -> usize {
        self.entries.partition_point(|entry| entry.number < number)
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Entry>> {
        self.entries.iter()
    }

    /// Changes an entry where it is, and returns it. Whoever shares it keeps what it was.
    pub(crate) fn amend(
        &mut self,
        number: u64,
        change: impl FnOnce(&mut Entry),
    ) -> Option<&Arc<Entry>> {
        let index = self.index(number)?;
        let slot = self.entries.get_mut(index)?;
        self.weight -= slot.weight();
        change(Arc::make_mut(slot));
        self.weight += slot.weight();
        Some(slot)
    }

    fn index(&self, number: u64) -> Option<usize> {
        self.entries
            .binary_search_by_key(&number, |entry| entry.number)
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::entry;

    fn ring(events: usize, bytes: usize) -> Ring {
        Ring::new(Bounds { events, bytes })
    }

    #[test]
    fn the_oldest_leave_when_a_bound_is_reached() {
        let mut ring = ring(3, usize::MAX);
        for number in [1, 2, 5, 6] {
            ring.push(Arc::new(entry(number, "new-message")));
        }
        assert_eq!((ring.oldest(), ring.len()), (Some(2), 3));
        assert!(ring.get(1).is_none() && ring.get(3).is_none() && ring.get(5).is_some());
        assert_eq!(ring.below(5), 1);
        assert_eq!(ring.fill_percent(), 100);
    }

    #[test]
    fn bytes_are_bounded_and_the_newest_stays() {
        let weight = entry(1, "new-message").weight();
        let mut ring = ring(100, weight * 2 + 1);
        for number in 1..=5 {
            ring.push(Arc::new(entry(number, "new-message")));
        }
        assert_eq!(ring.len(), 2);
        let mut large = entry(6, "new-message");
        large.raw = "x".repeat(weight * 10).into();
        ring.push(Arc::new(large));
        assert_eq!((ring.len(), ring.oldest()), (1, Some(6)));
    }

    #[test]
    fn the_weight_is_that_of_what_is_kept() {
        let mut ring = ring(10, usize::MAX);
        for number in 1..=30 {
            ring.push(Arc::new(entry(number, "new-message")));
            ring.amend(number, |entry| {
                entry.raw = "longer than it was before".into();
            });
        }
        let sum: usize = ring.iter().map(|entry| entry.weight()).sum();
        assert_eq!(ring.weight(), sum);
        ring.clear();
        assert_eq!(ring.weight(), 0);
    }
}
