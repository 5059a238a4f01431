//! How long to wait, learnt from the server under test.
//!
//! Deadlines only bound how long a failing case takes, so they are generous, and grow with the pace of
//! the server: a slow network or a busy machine must never look like a fault. What counts is what is
//! usual for the run, not its worst moment: one event that a faulty server kept back must not make all
//! cases wait for half a minute. The settle window is the last resort where no sentinel exists.
//!
//! What is waited for has a kind: the answer to an event with data of some shape, an update of some type.
//! A kind that never came is waited for in full once. Later waits for it are shorter, and still many
//! times what was measured; as soon as it comes once, it is waited for in full again. No kind has a say
//! in how long another one is waited for, except by the general pace.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The least time that is waited for something that must come, unless the target says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The most time that is waited for something that must come, without any progress.
const PATIENCE_LIMIT: Duration = Duration::from_secs(20);

/// How much slower than the slow ones so far something may be before it counts as missing.
const PATIENCE_FACTOR: u32 = 10;

/// The part of the least patience that a kind of thing which never came is granted, once that is known.
const BRIEF_PART: u32 = 5;

/// How much slower than the slow ones so far it may be: it was waited for in full before.
const BRIEF_FACTOR: u32 = 3;

/// So many kinds of calls of one event were waited for in full, and none of it was ever answered, before
/// other kinds of its calls are waited for briefly at once.
const SILENT_KINDS: u32 = 2;

/// How much longer something large may take.
const LARGE: Duration = Duration::from_secs(5);

/// The least settle window: brokers deliver up to 180 ms after the ack.
const SETTLE: Duration = Duration::from_millis(250);

/// The settle window as a multiple of the slow deliveries.
const SETTLE_FACTOR: u32 = 4;

/// One in so many may be slower than what counts as slow.
const SLOW_ONE_IN: u64 = 20;

/// How many times the median the slow ones may take before they are held for accidents: a network has
/// a pace, a server that keeps something back has none.
const SLOW_OVER_MEDIAN: u32 = 16;

/// What is known about the pace of the server; shared by all cases of a run.
#[derive(Debug)]
pub struct Pace {
    seen: Mutex<Seen>,
    patience: Duration,
    settle: Option<Duration>,
}

/// Apart, since a server that fans out through a broker answers at once and delivers later: mixed, the
/// many answers would hide how slow its deliveries are.
#[derive(Debug, Default)]
struct Seen {
    answers: Times,
    deliveries: Times,
    kinds: HashMap<String, Kind>,
}

/// What is known of one kind of thing.
#[derive(Debug, Default)]
struct Kind {
    times: Times,
    /// How many times it was waited for in full, and did not come.
    missed: u32,
}

impl Kind {
    fn never_came(&self) -> bool {
        self.missed > 0 && self.times.is_empty()
    }
}

impl Pace {
    /// Starts knowing nothing. `patience` is the least that is waited for what must come; `settle`
    /// overrides the adaptive window.
    pub fn new(patience: Duration, settle: Option<Duration>) -> Self {
        Self {
            seen: Mutex::default(),
            patience: patience.min(PATIENCE_LIMIT),
            settle,
        }
    }

    /// A connection was admitted, or a call answered, after `took`.
    pub(crate) fn saw_answer(&self, took: Duration) {
        self.seen().answers.add(took);
    }

    /// An event that was waited for came `took` after what caused it.
    pub(crate) fn saw_delivery(&self, took: Duration) {
        self.seen().deliveries.add(took);
    }

    /// Something of this kind came after `took`.
    pub fn came(&self, kind: &str, took: Duration) {
        let mut seen = self.seen();
        match seen.kinds.get_mut(kind) {
            Some(known) => known.times.add(took),
            None => {
                let mut known = Kind::default();
                known.times.add(took);
                seen.kinds.insert(kind.to_owned(), known);
            }
        }
    }

    /// Something of this kind was waited for, for as long as [`patience_for`](Self::patience_for) it,
    /// and did not come.
    pub fn missed(&self, kind: &str) {
        self.seen().kinds.entry(kind.to_owned()).or_default().missed += 1;
    }

    /// A call of this event was answered after `took`; `kind` is that of the call.
    pub(crate) fn answered(&self, event: &str, kind: &str, took: Duration) {
        self.came(kind, took);
        self.came(&all_calls(event), took);
    }

    /// As [`missed`](Self::missed), for the answer to a call of this event.
    pub(crate) fn unanswered(&self, event: &str, kind: &str) {
        if !self.never_came(kind) {
            self.missed(&all_calls(event));
        }
        self.missed(kind);
    }

    /// How long to wait for the answer to a call of this event.
    pub(crate) fn patience_for_call(&self, event: &str, kind: &str) -> Duration {
        let silent = |known: &Kind| known.never_came() && known.missed >= SILENT_KINDS;
        let is_silent = self.seen().kinds.get(&all_calls(event)).is_some_and(silent);
        match is_silent {
            true => self.brief(),
            false => self.patience_for(kind),
        }
    }

    /// Whether something of this kind was waited for and has not come once so far.
    pub(crate) fn never_came(&self, kind: &str) -> bool {
        self.seen().kinds.get(kind).is_some_and(Kind::never_came)
    }

    /// How long to wait for something of this kind.
    pub fn patience_for(&self, kind: &str) -> Duration {
        let own = {
            let seen = self.seen();
            let known = seen.kinds.get(kind);
            if known.is_some_and(Kind::never_came) {
                None
            } else {
                Some(known.map_or(Duration::ZERO, |known| known.times.slow()))
            }
        };
        match own {
            None => self.brief(),
            Some(slow) => self
                .patience()
                .max((slow * PATIENCE_FACTOR).min(PATIENCE_LIMIT)),
        }
    }

    /// How long to wait for something of this kind that is large, and may take its time on a slow network.
    pub fn patience_for_large(&self, kind: &str) -> Duration {
        match self.never_came(kind) {
            true => self.brief(),
            false => self.patience_for(kind) + LARGE,
        }
    }

    /// How long to wait for what is not expected to come any more.
    fn brief(&self) -> Duration {
        let patience = self.patience();
        (self.slow() * BRIEF_FACTOR).clamp((self.patience / BRIEF_PART).min(patience), patience)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slow(&self) -> Duration {
        let seen = self.seen();
        seen.answers.slow().max(seen.deliveries.slow())
    }

    /// How long to wait for something that must come.
    pub fn patience(&self) -> Duration {
        (self.slow() * PATIENCE_FACTOR).clamp(self.patience, PATIENCE_LIMIT)
    }

    /// How long to wait for a sentinel before another one is tried: less than the patience, since
    /// trying again costs nothing.
    pub fn sentinel(&self) -> Duration {
        (self.slow() * PATIENCE_FACTOR / 2).clamp(self.patience / 4, PATIENCE_LIMIT)
    }

    /// How long silence must last where no sentinel can prove it.
    pub fn settle(&self) -> Duration {
        self.settle
            .unwrap_or_else(|| (self.slow() * SETTLE_FACTOR).max(SETTLE))
    }
}

/// The kind that all calls of an event are.
fn all_calls(event: &str) -> String {
    format!("any {event}")
}

/// How many classes an octave of times is divided into.
const CLASSES_PER_OCTAVE: f64 = 4.0;

/// Enough classes for a minute and more, in microseconds.
const CLASSES: usize = 112;

/// How often something took how long, in classes that are a fifth wider each than the one before.
#[derive(Debug)]
struct Times([u64; CLASSES]);

impl Default for Times {
    fn default() -> Self {
        Self([0; CLASSES])
    }
}

impl Times {
    fn is_empty(&self) -> bool {
        self.0.iter().all(|count| *count == 0)
    }

    fn add(&mut self, took: Duration) {
        let micros = took.as_micros().max(1) as f64;
        let class = (micros.log2() * CLASSES_PER_OCTAVE).ceil() as usize;
        self.0[class.min(CLASSES - 1)] += 1;
    }

    /// The upper end of the class that holds the `rank`-th of the times; zero where there are fewer.
    fn ranked(&self, rank: u64) -> Duration {
        let mut below = 0;
        let class = self.0.iter().position(|count| {
            below += count;
            rank > 0 && below >= rank
        });
        class.map_or(Duration::ZERO, |class| {
            Duration::from_micros((class as f64 / CLASSES_PER_OCTAVE).exp2() as u64)
        })
    }

    /// What is slow, and still usual.
    fn slow(&self) -> Duration {
        let count: u64 = self.0.iter().sum();
        let slow = self.ranked(count - count / SLOW_ONE_IN);
        slow.min(self.ranked(count.div_ceil(2)) * SLOW_OVER_MEDIAN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Classes are coarse, and only ever err towards waiting longer.
    #[track_caller]
    fn assert_about(told: Duration, expected: Duration) {
        let most = expected.mul_f64(1.19);
        assert!(
            told >= expected && told <= most,
            "{told:?}, expected {expected:?}"
        );
    }

    /// `deliveries` are pairs of how many and how slow.
    #[track_caller]
    fn check(deliveries: &[(usize, u64)], patience: Duration, settle: Duration) {
        let pace = Pace::new(PATIENCE, None);
        for &(count, slow) in deliveries {
            (0..count).for_each(|_| pace.saw_delivery(ms(slow)));
        }
        assert_about(pace.patience(), patience);
        assert_about(pace.settle(), settle);
    }

    #[test]
    fn grows_with_slow_deliveries() {
        check(&[], PATIENCE, SETTLE);
        check(&[(1, 0)], PATIENCE, SETTLE);
        check(&[(50, 1)], PATIENCE, SETTLE);
        check(&[(10, 200)], PATIENCE, ms(800));
        check(&[(1, 800), (1, 400)], ms(8_000), ms(3_200));
        check(&[(3, 5_000)], PATIENCE_LIMIT, ms(20_000));
        check(&[(1, 600_000)], PATIENCE_LIMIT, ms(4 * 224_000));
    }

    #[test]
    fn accidents_change_nothing() {
        check(&[(99, 1), (1, 5_000)], PATIENCE, SETTLE);
        check(&[(99, 800), (1, 10_000)], ms(8_000), ms(3_200));
        // Not even several of them, since none of it is usual.
        check(&[(9, 1), (1, 5_000)], PATIENCE, SETTLE);
    }

    #[test]
    fn many_quick_answers_do_not_hide_slow_deliveries() {
        let pace = Pace::new(PATIENCE, None);
        (0..10_000).for_each(|_| pace.saw_answer(ms(1)));
        (0..10).for_each(|_| pace.saw_delivery(ms(800)));
        assert_about(pace.patience(), ms(8_000));
        assert_about(pace.settle(), ms(3_200));
    }

    #[test]
    fn a_lower_patience_grows_all_the_same() {
        let pace = Pace::new(Duration::from_secs(1), None);
        assert_eq!(pace.patience(), Duration::from_secs(1));
        assert_eq!(pace.sentinel(), ms(250));
        pace.saw_answer(ms(400));
        assert_about(pace.patience(), ms(4_000));
    }

    #[test]
    fn what_never_came_is_waited_for_in_full_once() {
        let pace = Pace::new(PATIENCE, None);
        (0..10).for_each(|_| pace.saw_answer(ms(5)));
        assert_eq!(pace.patience_for("a"), PATIENCE);
        pace.missed("a");
        assert_eq!(pace.patience_for("a"), ms(1_000));
        assert!(pace.never_came("a"));
        // Nobody else is waited for less.
        assert_eq!(pace.patience_for("b"), PATIENCE);
        assert!(!pace.never_came("b"));
        // The shorter wait grows with the pace of the server as well.
        (0..90).for_each(|_| pace.saw_answer(ms(300)));
        assert_eq!(pace.patience_for("a"), ms(1_000));
        (0..900).for_each(|_| pace.saw_answer(ms(700)));
        assert_about(pace.patience_for("a"), ms(2_100));
        // It came at last.
        pace.came("a", ms(4_000));
        assert!(!pace.never_came("a"));
        assert_eq!(pace.patience_for("a"), PATIENCE_LIMIT);
        pace.missed("a");
        assert_eq!(pace.patience_for("a"), PATIENCE_LIMIT);
    }

    #[test]
    fn an_event_that_is_never_answered_is_waited_for_in_full_twice() {
        let pace = Pace::new(PATIENCE, None);
        pace.unanswered("write", "write a");
        pace.unanswered("write", "write a");
        assert_eq!(pace.patience_for_call("write", "write a"), ms(1_000));
        assert_eq!(pace.patience_for_call("write", "write b"), PATIENCE);
        pace.unanswered("write", "write b");
        assert_eq!(pace.patience_for_call("write", "write c"), ms(1_000));
        assert_eq!(pace.patience_for_call("read", "read a"), PATIENCE);
        // An answer to any of them, and what was not waited for yet has its time.
        pace.answered("write", "write b", ms(10));
        assert_eq!(pace.patience_for_call("write", "write c"), PATIENCE);
        assert_eq!(pace.patience_for_call("write", "write a"), ms(1_000));
    }

    #[test]
    fn a_slow_kind_has_more_time_than_others() {
        let pace = Pace::new(PATIENCE, None);
        (0..100).for_each(|_| pace.saw_answer(ms(5)));
        (0..3).for_each(|_| pace.came("slow", ms(900)));
        assert_about(pace.patience_for("slow"), ms(9_000));
        assert_eq!(pace.patience_for("other"), PATIENCE);
    }

    #[test]
    fn an_explicit_settle_window_wins() {
        let pace = Pace::new(PATIENCE, Some(ms(40)));
        pace.saw_delivery(Duration::from_secs(3));
        assert_eq!(pace.settle(), ms(40));
    }
}
