//! Which entries are listed, where the cursor is, and what the window shows.
//!
//! Everything is held by number rather than by place, so that neither what arrives below nor what
//! leaves above moves the cursor. A new filter is applied from the newest entry up, a slice at a
//! time, so that the screen answers meanwhile. This module must not draw.

use std::collections::VecDeque;

use super::ring::Ring;
use crate::filter::Filter;

/// How many entries one slice of work looks at.
const SLICE: usize = 4_000;

/// The listed entries and the cursor.
#[derive(Debug)]
pub(crate) struct List {
    /// Numbers of the entries that pass the filter, in order.
    shown: VecDeque<u64>,
    /// Entries below this number have not been looked at since the filter changed.
    unfiltered: Option<u64>,
    selected: Option<u64>,
    /// The number of the first row of the window.
    top: u64,
    /// Whether the cursor rides on the newest entry.
    follow: bool,
    /// While paused: entries above this number are kept and not listed.
    held: Option<u64>,
    /// The highest number that has been in the window.
    seen: u64,
    /// Rows of the window.
    height: usize,
}

impl List {
    pub(crate) fn new() -> Self {
        Self {
            shown: VecDeque::new(),
            unfiltered: None,
            selected: None,
            top: 0,
            follow: true,
            held: None,
            seen: 0,
            height: 1,
        }
    }

    pub(crate) fn clear(&mut self) {
        let height = self.height;
        *self = Self {
            follow: self.follow,
            height,
            ..Self::new()
        };
    }

    pub(crate) fn following(&self) -> bool {
        self.follow && self.held.is_none()
    }

    pub(crate) fn paused(&self) -> bool {
        self.held.is_some()
    }

    pub(crate) fn selected(&self) -> Option<u64> {
        self.selected
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        match self.held {
            Some(held) => self.shown.partition_point(|number| *number <= held),
            None => self.shown.len(),
        }
    }

    /// How many entries are listed once the pause ends.
    pub(crate) fn held_back(&self) -> usize {
        self.shown.len() - self.len()
    }

    /// How many listed entries below the window have never been in it.
    pub(crate) fn new_below(&self) -> usize {
        let unseen = self.shown.partition_point(|number| *number <= self.seen);
        self.len().saturating_sub(unseen)
    }

    /// Whether old entries still wait for the new filter.
    pub(crate) fn filtering(&self) -> bool {
        self.unfiltered.is_some()
    }

    /// The numbers in the window, from the top.
    pub(crate) fn window(&self) -> impl Iterator<Item = u64> {
        let first = self.position(self.top);
        let last = self.len().min(first + self.height);
        self.shown.range(first.min(last)..last).copied()
    }

    /// All listed numbers.
    pub(crate) fn numbers(&self) -> impl DoubleEndedIterator<Item = u64> {
        self.shown.range(..self.len()).copied()
    }

    /// The listed numbers after `number` if `down`, else those before it from the nearest on.
    pub(crate) fn from(&self, number: u64, down: bool) -> Box<dyn Iterator<Item = u64> + '_> {
        if down {
            let first = self.shown.partition_point(|shown| *shown <= number);
            let last = self.len().max(first);
            Box::new(self.shown.range(first..last).copied())
        } else {
            let last = self.position(number).min(self.len());
            Box::new(self.shown.range(..last).rev().copied())
        }
    }

    /// Where the cursor is, from 1.
    pub(crate) fn rank(&self) -> usize {
        self.selected.map_or(0, |number| self.position(number) + 1)
    }

    /// The listed number at a place in the window.
    pub(crate) fn at_row(&self, row: usize) -> Option<u64> {
        self.window().nth(row)
    }

    /// The place of a number, or of the next higher one.
    fn position(&self, number: u64) -> usize {
        self.shown.partition_point(|shown| *shown < number)
    }

    /// A new entry arrived and passes the filter.
    pub(crate) fn push(&mut self, number: u64) {
        self.shown.push_back(number);
    }

    /// An entry was amended: it may pass the filter now, or no longer.
    pub(crate) fn reconsider(&mut self, number: u64, passes: bool) {
        if self.unfiltered.is_some_and(|below| number < below) {
            return;
        }
        let at = self.position(number);
        match (self.shown.get(at) == Some(&number), passes) {
            (false, true) => self.shown.insert(at, number),
            (true, false) => drop(self.shown.remove(at)),
            _ => {}
        }
    }

    /// Entries below `oldest` have left the ring.
    pub(crate) fn forget_below(&mut self, oldest: u64) {
        while self.shown.front().is_some_and(|number| *number < oldest) {
            self.shown.pop_front();
        }
    }

    /// Begins to list by another filter.
    pub(crate) fn refilter(&mut self, ring: &Ring, filter: &Filter) {
        self.shown.clear();
        self.unfiltered = ring.newest().map(|entry| entry.number + 1);
        self.work(ring, filter);
    }

    /// Looks at one more slice of the entries that wait for the filter.
    pub(crate) fn work(&mut self, ring: &Ring, filter: &Filter) {
        let Some(below) = self.unfiltered else { return };
        let end = ring.below(below);
        let begin = end.saturating_sub(SLICE);
        for index in (begin..end).rev() {
            if let Some(entry) = ring.at(index)
                && filter.matches(entry)
            {
                self.shown.push_front(entry.number);
            }
        }
        self.unfiltered = match begin {
            0 => None,
            _ => ring.at(begin).map(|entry| entry.number),
        };
    }

    pub(crate) fn hold(&mut self, newest: u64) {
        self.held = Some(newest);
    }

    pub(crate) fn release(&mut self) {
        self.held = None;
    }

    /// Moves the cursor by rows; moving down past the end does nothing, and only [`Self::go_to_end`]
    /// follows again.
    pub(crate) fn step(&mut self, rows: isize) {
        let last = self.len().saturating_sub(1);
        let at = self.position(self.selected.unwrap_or(0)).min(last);
        let to = at.saturating_add_signed(rows).min(last);
        self.follow = self.follow && to == last && rows > 0;
        self.selected = self.shown.get(to).copied();
    }

    pub(crate) fn page(&mut self, pages: isize) {
        let rows = isize::try_from(self.height.saturating_sub(1).max(1)).unwrap_or(1);
        self.step(rows * pages);
    }

    pub(crate) fn go_to_start(&mut self) {
        self.follow = false;
        self.selected = self.shown.front().copied();
    }

    pub(crate) fn go_to_end(&mut self) {
        self.follow = true;
    }

    pub(crate) fn stop_following(&mut self) {
        self.follow = false;
    }

    /// Puts the cursor on an entry, whether listed or not; the nearest listed one gets it.
    pub(crate) fn select(&mut self, number: u64) {
        self.follow = false;
        self.selected = Some(number);
    }

    /// Brings the cursor onto a listed entry and the window around it, in `height` rows.
    pub(crate) fn settle(&mut self, height: usize) {
        self.height = height.max(1);
        let len = self.len();
        let Some(last) = len.checked_sub(1) else {
            // Entries that wait for the filter may bring the cursor's entry back.
            if self.unfiltered.is_none() && self.shown.is_empty() {
                self.selected = None;
            }
            return;
        };
        let at = if self.following() || self.selected.is_none() {
            last
        } else {
            self.position(self.selected.unwrap_or(0)).min(last)
        };
        let waits = |number: u64| self.unfiltered.is_some_and(|below| number < below);
        if self.following() || !self.selected.is_some_and(waits) {
            self.selected = self.shown.get(at).copied();
        }
        // The window is full as long as there are enough rows.
        let lowest_top = len.saturating_sub(self.height);
        let top = self.position(self.top).min(lowest_top);
        let top = top.clamp((at + 1).saturating_sub(self.height), at);
        self.top = self.shown.get(top).copied().unwrap_or_default();
        let bottom = (top + self.height).min(len) - 1;
        let bottom = self.shown.get(bottom).copied().unwrap_or_default();
        self.seen = self.seen.max(bottom);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::ring::Bounds;
    use crate::model::testing::entry;

    fn list(numbers: std::ops::RangeInclusive<u64>) -> List {
        let mut list = List::new();
        for number in numbers {
            list.push(number);
        }
        list.settle(5);
        list
    }

    fn window(list: &List) -> Vec<u64> {
        list.window().collect()
    }

    #[test]
    fn the_cursor_follows_until_it_is_moved_and_is_never_stolen() {
        let mut list = list(1..=10);
        assert_eq!(
            (list.selected(), window(&list)),
            (Some(10), vec![6, 7, 8, 9, 10])
        );
        list.push(11);
        list.settle(5);
        assert_eq!(list.selected(), Some(11));

        list.step(-2);
        for number in 12..=100 {
            list.push(number);
        }
        list.settle(5);
        assert_eq!(list.selected(), Some(9));
        assert_eq!(window(&list), [7, 8, 9, 10, 11]);
        assert_eq!(list.new_below(), 89);

        list.go_to_end();
        list.settle(5);
        assert_eq!((list.selected(), list.new_below()), (Some(100), 0));
    }

    #[test]
    fn what_leaves_above_does_not_move_the_window() {
        let mut list = list(1..=20);
        list.select(12);
        list.settle(5);
        let before = window(&list);
        list.forget_below(9);
        list.settle(5);
        assert_eq!(
            window(&list),
            before
                .iter()
                .copied()
                .filter(|n| *n >= 9)
                .collect::<Vec<_>>()
        );
        list.forget_below(15);
        list.settle(5);
        assert_eq!(list.selected(), Some(15));
    }

    #[test]
    fn a_pause_keeps_what_arrives() {
        let mut list = list(1..=10);
        list.hold(10);
        list.push(11);
        list.push(12);
        list.settle(5);
        assert_eq!(
            (list.selected(), list.held_back(), list.len()),
            (Some(10), 2, 10)
        );
        list.step(1);
        list.settle(5);
        assert_eq!(list.selected(), Some(10));
        list.release();
        list.go_to_end();
        list.settle(5);
        assert_eq!((list.selected(), list.held_back()), (Some(12), 0));
    }

    #[test]
    fn a_filter_is_applied_from_the_newest_up_in_slices() {
        let mut ring = Ring::new(Bounds {
            events: 100_000,
            bytes: usize::MAX,
        });
        let mut list = List::new();
        for number in 1..=10_000 {
            let name = if number % 100 == 0 {
                "new-message"
            } else {
                "activity"
            };
            ring.push(Arc::new(entry(number, name)));
            list.push(number);
        }
        list.select(5_000);
        list.settle(5);
        let filter = Filter::parse("new-message").unwrap();
        list.refilter(&ring, &filter);
        list.settle(5);
        assert!(list.filtering());
        assert_eq!((list.len(), list.selected()), (40, Some(5_000)));
        // What arrives meanwhile goes to the end.
        ring.push(Arc::new(entry(10_001, "new-message")));
        list.push(10_001);
        let mut slices = 0;
        while list.filtering() {
            list.work(&ring, &filter);
            slices += 1;
        }
        list.settle(5);
        assert_eq!((slices, list.len(), list.selected()), (2, 101, Some(5_000)));
        assert!(list.numbers().is_sorted());
    }

    #[test]
    fn an_amended_entry_comes_and_goes() {
        let mut list = list(1..=3);
        list.reconsider(2, false);
        assert_eq!(list.numbers().collect::<Vec<_>>(), [1, 3]);
        list.reconsider(2, true);
        list.reconsider(2, true);
        assert_eq!(list.numbers().collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn an_empty_list_has_no_cursor() {
        let mut list = List::new();
        list.settle(5);
        list.step(1);
        list.page(-1);
        assert_eq!(
            (list.selected(), list.rank(), list.at_row(0)),
            (None, 0, None)
        );
    }
}
