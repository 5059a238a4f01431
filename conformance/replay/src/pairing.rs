//! Which recorded thing is which thing now.
//!
//! Answers are told by what they answer. Deliveries are told by connection, type and content, in
//! whatever order they came. What stands beside its counterpart gets its outcome here, and teaches the
//! names by which the rest is found; what has no counterpart is left to `compare`.

use std::collections::{HashMap, HashSet};

use super::{
    chance,
    heard::{Heard, What},
    liberty::Liberties,
    names::Names,
    order,
    outcome::{Excuse, Outcome, excused},
    payload::{Alike, compared, message_seq, shown},
    race::Races,
    script::Recording,
    waiting::{Came, Waiting},
};

/// What has been paired, and what is left.
pub(super) struct Pairing<'a> {
    liberties: &'a Liberties,
    races: Races,
    /// Ids of the recording and of now, as far as they have been learned.
    pub(super) names: Names,
    /// What came now and has no counterpart yet.
    pub(super) now: Waiting<'a>,
    /// The counterpart of each recorded thing.
    pub(super) pairs: HashMap<usize, Came<'a>>,
    /// What became of recorded things that have one.
    pub(super) outcomes: HashMap<usize, Outcome>,
}

impl<'a> Pairing<'a> {
    /// Finds the counterpart of everything that was recorded, as far as it has one.
    pub(super) fn new(
        recording: &Recording,
        names: Names,
        liberties: &'a Liberties,
        then: &[Heard],
        now: &'a [Heard],
    ) -> Self {
        let mut pairing = Self {
            liberties,
            races: Races::new(recording, then),
            names,
            now: Waiting::new(now),
            pairs: HashMap::new(),
            outcomes: HashMap::new(),
        };
        pairing.settle(then);
        pairing
    }

    fn settle(&mut self, then: &[Heard]) {
        let mut raced = HashSet::new();
        for group in self.races.groups() {
            raced.extend(group.answers.iter().copied());
        }
        // What has only one possible counterpart comes first, since ids are learned from it.
        let is_event = |at: usize| matches!(then[at].what, What::Event { .. });
        let mut deferred = HashSet::new();
        for at in (0..then.len()).filter(|at| !is_event(*at)) {
            let Some(now) = self.now.take_first(&then[at]) else {
                continue;
            };
            self.pairs.insert(at, now);
            if !self.pair(then, at, now.heard, true) && raced.contains(&at) {
                deferred.insert(at);
            }
        }
        self.hand_out(then, &deferred);
        self.tell_messages_apart(then);
        let mut waiting: Vec<usize> = Vec::new();
        for at in (0..then.len()).filter(|at| is_event(*at)) {
            let found = self.take_equal(&then[at], &then[at].conn, false);
            let found = found.or_else(|| self.take_equal(&then[at], &then[at].conn, true));
            match found {
                Some(now) => {
                    self.pair(then, at, now.heard, true);
                    self.pairs.insert(at, now);
                }
                None => waiting.push(at),
            }
        }
        waiting.retain(|at| !self.elsewhere(then, *at));
        // What has no equal may still be told by what it is about.
        for at in waiting {
            if let Some(now) = self.now.take_about(&then[at], &self.names) {
                self.pair(then, at, now.heard, true);
                self.pairs.insert(at, now);
            }
        }
    }

    /// Compares two counterparts, and tells whether they are the same.
    fn pair(&mut self, then: &[Heard], at: usize, now: &Heard, raced: bool) -> bool {
        let alike = self.alike(raced);
        let compared = compared(alike, &then[at].what, &now.what);
        let mut outcome = Outcome::Same;
        if !compared.differences.is_empty() {
            let may = self
                .liberties
                .may_differ(&then[at], &now.what, &compared.differences);
            let Some(why) = may else {
                let different = Outcome::Different(compared.differences);
                self.outcomes.insert(at, different);
                return false;
            };
            let what = &then[at].what;
            outcome = excused(Excuse::Contract, why, compared.differences, what);
        }
        let (then, now) = (shown(&then[at].what), shown(&now.what));
        self.names.learn_all(&then, &now);
        let learned = compared.learned.into_iter();
        for (old, new) in learned.filter(|(old, _)| !self.races.is_reused(old)) {
            self.names.learn(&old, &new);
        }
        if let (Some(then), Some(now)) = (message_seq(&then), message_seq(&now)) {
            self.names.learn(&then, &now);
        }
        self.outcomes.insert(at, outcome);
        true
    }

    fn alike(&self, raced: bool) -> Alike<'_> {
        Alike {
            names: &self.names,
            races: raced.then_some(&self.races),
        }
    }

    fn take_equal(&mut self, then: &Heard, conn: &str, raced: bool) -> Option<Came<'a>> {
        let Self {
            now, names, races, ..
        } = self;
        let alike = Alike {
            names,
            races: raced.then_some(&*races),
        };
        now.take_where(conn, &then.what, |one| {
            compared(alike, &then.what, &one.what)
                .differences
                .is_empty()
        })
    }

    /// Of answers to calls that raced, finds those that another caller got.
    fn hand_out(&mut self, then: &[Heard], deferred: &HashSet<usize>) {
        let groups: Vec<Vec<usize>> = self
            .races
            .groups()
            .map(|group| {
                group
                    .answers
                    .iter()
                    .copied()
                    .filter(|at| deferred.contains(at))
                    .collect()
            })
            .collect();
        for group in groups {
            let pairs = group.iter().filter_map(|at| self.pairs.get(at).copied());
            let mut free: Vec<Came<'_>> = pairs.collect();
            for at in group {
                let same = free.iter().position(|now| {
                    let now = &now.heard.what;
                    let found = compared(self.alike(true), &then[at].what, now).differences;
                    found.is_empty() || self.liberties.may_differ(&then[at], now, &found).is_some()
                });
                let Some(found) = same else {
                    continue;
                };
                let now = free.remove(found);
                self.pair(then, at, now.heard, true);
                self.was_raced(at, &then[at].what);
            }
        }
    }

    /// Messages of the same text are told apart by who received them, which is everybody but the
    /// sender, so that each keeps its own id and number on all connections.
    fn tell_messages_apart(&mut self, then: &[Heard]) {
        let mut now = order::messages(self.now.all().map(|came| came.heard), str::to_owned);
        let then = order::messages(then.iter(), |id| self.names.renamed(id));
        for (like, recorded) in then {
            let Some(replayed) = now.remove(&like) else {
                continue;
            };
            if recorded.len() != replayed.len() {
                continue;
            }
            for (old, new) in recorded.iter().zip(&replayed) {
                self.names.learn_all(old, new);
                if let (Some(old), Some(new)) = (message_seq(old), message_seq(new)) {
                    self.names.learn(&old, &new);
                }
            }
        }
    }

    /// A message that raced with its like is delivered to all but its sender, whoever that is.
    fn elsewhere(&mut self, then: &[Heard], at: usize) -> bool {
        let heard = &then[at];
        let others: Vec<String> = self
            .races
            .groups()
            .filter(|group| group.delivers(&heard.what) && group.conns.contains(&heard.conn))
            .flat_map(|group| group.conns.iter().cloned())
            .filter(|conn| *conn != heard.conn)
            .collect();
        for conn in others {
            if let Some(now) = self.take_equal(heard, &conn, true) {
                self.pair(then, at, now.heard, true);
                self.was_raced(at, &heard.what);
                return true;
            }
        }
        false
    }

    fn was_raced(&mut self, at: usize, what: &What) {
        let excused = excused(Excuse::Chance, chance::RACE, Vec::new(), what);
        self.outcomes.insert(at, excused);
    }
}
