//! How often what arrives: one series per type, one bucket per second of the last minute.
//!
//! Counts by the time of the screen's clock, or by that of the recording that is played, never by
//! times of payloads.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::{Entry, Kind};

/// Seconds that are kept.
pub(crate) const SECONDS: usize = 60;

/// Types that are told apart. A server that invents types must not fill the memory with them.
const MOST: usize = 64;

/// Seconds after which the types are put in order again.
const ORDERED: u64 = 10;

/// The seconds that a rate is the mean of.
const MEAN: usize = 5;

/// What arrived in the last minute, by type.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    /// The second that the newest bucket is for.
    second: u64,
    began: Option<u64>,
    all: Series,
    types: BTreeMap<(Kind, Arc<str>), Series>,
    /// The types in the order in which they are shown.
    order: Vec<(Kind, Arc<str>)>,
    /// The second in which they were put in order, unless one has come since.
    ordered: Option<u64>,
}

/// Counts of one type.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    /// A circle; the bucket of a second is at its remainder.
    buckets: [u32; SECONDS],
    pub(crate) total: u64,
}

impl Default for Series {
    fn default() -> Self {
        Self {
            buckets: [0; SECONDS],
            total: 0,
        }
    }
}

impl Rates {
    /// Time went by: seconds that came anew are empty.
    pub(crate) fn advance(&mut self, t_us: u64) {
        let second = t_us / 1_000_000;
        self.began.get_or_insert(second);
        let passed = second.saturating_sub(self.second).min(SECONDS as u64);
        for step in 0..passed {
            let slot = slot(second - step);
            self.all.buckets[slot] = 0;
            for series in self.types.values_mut() {
                series.buckets[slot] = 0;
            }
        }
        self.second = self.second.max(second);
    }

    /// Begins anew, at whatever time comes next.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn count(&mut self, entry: &Entry) {
        let slot = slot(self.second);
        // What the monitor says itself is nothing that a server sent.
        if matches!(entry.kind, Kind::Gap | Kind::Note | Kind::Connection) {
            return;
        }
        self.all.add(slot);
        // One lookup for what is known, which is nearly everything.
        let key = (entry.kind, Arc::clone(&entry.event));
        if let Some(series) = self.types.get_mut(&key) {
            series.add(slot);
            return;
        }
        let key = match self.types.len() {
            0..MOST => key,
            _ => (Kind::Note, "other types".into()),
        };
        if !self.types.contains_key(&key) {
            self.order.push(key.clone());
            self.ordered = None;
        }
        self.types.entry(key).or_default().add(slot);
    }

    pub(crate) fn total(&self) -> u64 {
        self.all.total
    }

    /// Events per second, the mean of the last full seconds.
    pub(crate) fn per_second(&self) -> f64 {
        self.mean(&self.all)
    }

    /// Puts the types in order, the most frequent of the last minute first, where a type is new or some
    /// time has gone by. Between two calls the rows stay where they are.
    pub(crate) fn put_in_order(&mut self) {
        let is_due = |ordered: u64| self.second.abs_diff(ordered) >= ORDERED;
        if self.ordered.is_some_and(|ordered| !is_due(ordered)) {
            return;
        }
        self.ordered = Some(self.second);
        let frequency = |key: &(Kind, Arc<str>)| {
            let series = &self.types[key];
            let minute: u64 = series.buckets.iter().map(|n| u64::from(*n)).sum();
            (minute, series.total)
        };
        self.order.sort_by(|a, b| {
            let by_frequency = frequency(b).cmp(&frequency(a));
            by_frequency.then_with(|| a.cmp(b))
        });
    }

    /// The types, in the order in which they were put; those that came since are the last.
    pub(crate) fn rows(&self) -> impl ExactSizeIterator<Item = (Kind, &Arc<str>, &Series)> {
        let rows = self.order.iter();
        rows.map(|key| (key.0, &key.1, &self.types[key]))
    }

    /// The mean of a series over the last full seconds, as far as the monitor runs that long.
    pub(crate) fn mean(&self, series: &Series) -> f64 {
        let age = self
            .second
            .saturating_sub(self.began.unwrap_or(self.second));
        let seconds = age.min(MEAN as u64);
        if seconds == 0 {
            return f64::from(series.buckets[slot(self.second)]);
        }
        let sum: u64 = (1..=seconds)
            .map(|back| u64::from(series.buckets[slot(self.second - back)]))
            .sum();
        // Both are far below what a float holds exactly.
        sum as f64 / seconds as f64
    }

    /// The last `width` full seconds of a series, oldest first.
    pub(crate) fn history(&self, series: &Series, width: usize) -> Vec<u32> {
        let width = width.min(SECONDS - 1) as u64;
        (1..=width)
            .rev()
            .map(|back| match self.second.checked_sub(back) {
                Some(second) => series.buckets[slot(second)],
                None => 0,
            })
            .collect()
    }
}

impl Series {
    fn add(&mut self, slot: usize) {
        self.buckets[slot] = self.buckets[slot].saturating_add(1);
        self.total += 1;
    }
}

fn slot(second: u64) -> usize {
    // The remainder is below SECONDS.
    usize::try_from(second % SECONDS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::entry;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn a_rate_is_the_mean_of_the_last_full_seconds() {
        let mut rates = Rates::default();
        for second in 100..110 {
            rates.advance(second * SECOND);
            for _ in 0..(second - 99) {
                rates.count(&entry(1, "activity"));
            }
        }
        // 10 in the current second do not count yet; 9, 8, 7, 6 and 5 do.
        assert!((rates.per_second() - 7.0).abs() < 1e-9);
        assert_eq!(rates.total(), 55);
        let (_, name, series) = rates.rows().next().unwrap();
        assert_eq!((&**name, series.total), ("activity", 55));
        assert_eq!(rates.history(series, 4), [6, 7, 8, 9]);

        rates.advance(112 * SECOND);
        assert_eq!(rates.history(&rates.all, 4), [9, 10, 0, 0]);
        rates.advance(1_000 * SECOND);
        assert!(rates.per_second().abs() < 1e-9);
        assert_eq!(rates.total(), 55);
    }

    #[test]
    fn invented_types_are_bounded() {
        let mut rates = Rates::default();
        for number in 0..1_000 {
            rates.count(&entry(number, &format!("invented-{number}")));
        }
        rates.put_in_order();
        assert_eq!(rates.rows().len(), MOST + 1);
        assert_eq!(&**rates.rows().next().unwrap().1, "other types");
    }

    #[test]
    fn the_order_stays_for_a_while() {
        let mut rates = Rates::default();
        let names = |rates: &Rates| {
            let rows = rates.rows().map(|(_, name, _)| name.to_string());
            rows.collect::<Vec<_>>().join(" ")
        };
        let count = |rates: &mut Rates, name: &str, times: usize| {
            for _ in 0..times {
                rates.count(&entry(1, name));
            }
        };
        rates.advance(100 * SECOND);
        count(&mut rates, "activity", 1);
        count(&mut rates, "usage", 2);
        assert_eq!(names(&rates), "activity usage");
        rates.put_in_order();
        assert_eq!(names(&rates), "usage activity");
        count(&mut rates, "activity", 5);
        rates.advance(109 * SECOND);
        rates.put_in_order();
        assert_eq!(names(&rates), "usage activity");
        rates.advance(110 * SECOND);
        rates.put_in_order();
        assert_eq!(names(&rates), "activity usage");
        // What is new finds its place at once.
        count(&mut rates, "new-message", 3);
        assert_eq!(names(&rates), "activity usage new-message");
        rates.put_in_order();
        assert_eq!(names(&rates), "activity new-message usage");
    }
}
