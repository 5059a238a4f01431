//! What the server did then and now, side by side. A pure function.
//!
//! Whatever has a counterpart is judged where that is found (`pairing`), in whatever order it came, since
//! only the order of one sender's messages and that of `seq` are promised; both are looked at behind.
//! What has none is missing or extra, unless the recording leaves it to chance, the contract leaves it to
//! the server, or it rests on a step that could not be replayed.

use std::collections::{HashMap, HashSet};

use super::{
    barrier::{Barriers, lacking_routes},
    chance::{self, Chance, Changes},
    drive::Played,
    heard::{Heard, What, told_once},
    liberty::Liberties,
    order,
    outcome::{Excuse, Item, Outcome, call_names, excused, item},
    pairing::Pairing,
    payload::shown,
    read::MIDWAY,
    report::Unsent,
    script::Recording,
};

/// What a comparison brought.
pub(super) struct Verdicts {
    pub(super) items: Vec<Item>,
    /// Steps that turned out to mean nothing to this server.
    pub(super) unsent: Vec<Unsent>,
}

/// Holds what was heard in a replay against the recording. Afterwards neither has it any more.
pub(super) fn compare(recording: &mut Recording, played: &mut Played, chance: &Chance) -> Verdicts {
    let liberties = Liberties::new(recording);
    let changes = Changes::new(recording, &played.sent_us, &played.heard);
    let then = told_once(&recording.steps, std::mem::take(&mut recording.heard));
    let now = told_once(&recording.steps, std::mem::take(&mut played.heard));
    let judge = Judge {
        recording,
        played,
        chance,
        changes,
        liberties: &liberties,
        found: Pairing::new(recording, played.names.clone(), &liberties, &then, &now),
    };
    judge.verdicts(&then)
}

struct Judge<'a> {
    recording: &'a Recording,
    played: &'a Played,
    chance: &'a Chance,
    /// When connections were opened and closed in the replay.
    changes: Changes,
    liberties: &'a Liberties,
    found: Pairing<'a>,
}

impl Judge<'_> {
    /// Names what has no counterpart, and excuses what may be otherwise.
    fn verdicts(mut self, then: &[Heard]) -> Verdicts {
        let pairs: Vec<order::Pair<'_>> = self
            .found
            .pairs
            .iter()
            .map(|(at, came)| order::Pair {
                at: *at,
                then: &then[*at],
                now: came.heard,
                place: came.place,
            })
            .collect();
        for (at, difference) in order::broken(self.recording, &pairs) {
            if let Some(Outcome::Same) = self.found.outcomes.get(&at) {
                let different = Outcome::Different(vec![difference]);
                self.found.outcomes.insert(at, different);
            }
        }
        let unsent = lacking_routes(self.recording, &pairs);
        let barriers = Barriers::new(self.recording, self.played, &unsent);
        let calls = call_names(self.recording);
        // When the last thing with a counterpart came, by connection and road: what goes to many may come
        // through a broker, and an answer that came behind it proves nothing then.
        let mut last_known: HashMap<(&str, bool), u64> = HashMap::new();
        for now in self.found.pairs.values() {
            let heard = now.heard;
            for road in [heard.what.goes_to_many(), false] {
                let last = last_known.entry((heard.conn.as_str(), road)).or_default();
                *last = heard.t_us.max(*last);
            }
        }
        // What came behind the last step was not waited for.
        let cut_us = self.played.interrupted.then(|| {
            let last = self.played.sent_us.len().checked_sub(1);
            last.map_or(0, |last| self.recording.steps[last].t_us)
        });
        let mut items = Vec::with_capacity(then.len());
        for (at, heard) in then.iter().enumerate() {
            let outcome = self.found.outcomes.remove(&at);
            if outcome.is_none() && cut_us.is_some_and(|cut| heard.t_us >= cut) {
                continue;
            }
            let outcome = match outcome {
                None => self.missing(heard),
                Some(outcome) => outcome,
            };
            let outcome = barriers.over(self.recording, heard, false, outcome);
            items.push(item(heard, &calls, outcome));
        }
        let is_admission = |one: &&Heard| matches!(one.what, What::Admitted(_));
        let admitted = then.iter().filter(is_admission);
        let admitted: HashSet<&str> = admitted.map(|one| one.conn.as_str()).collect();
        let mut extras: Vec<&Heard> = self.found.now.take_rest();
        extras.sort_by_key(|heard| heard.t_us);
        for heard in extras {
            let is_last = last_known
                .get(&(heard.conn.as_str(), heard.what.goes_to_many()))
                .is_none_or(|known| heard.t_us > *known);
            let outcome = self.extra(heard, admitted.contains(heard.conn.as_str()), is_last);
            let outcome = barriers.over(self.recording, heard, true, outcome);
            items.push(item(heard, &calls, outcome));
        }
        for heard in &self.recording.midway {
            let outcome = excused(Excuse::Blocked, MIDWAY, Vec::new(), &heard.what);
            items.push(item(heard, &calls, outcome));
        }
        items.sort_by_key(|item| item.t_us);
        Verdicts { items, unsent }
    }

    fn missing(&self, heard: &Heard) -> Outcome {
        let ended_now = self.found.now.ended.contains_key(heard.conn.as_str());
        let refusal = matches!(heard.what, What::Refused(_));
        if self.chance.is_presence(heard) {
            excused(Excuse::Chance, chance::PRESENCE, Vec::new(), &heard.what)
        } else if !refusal && self.chance.met_its_end(heard, ended_now) {
            excused(Excuse::Chance, chance::END, Vec::new(), &heard.what)
        } else if let Some(why) = self.liberties.may_miss(heard) {
            excused(Excuse::Contract, why, Vec::new(), &heard.what)
        } else {
            Outcome::Missing(shown(&heard.what))
        }
    }

    fn extra(&self, heard: &Heard, admitted: bool, is_last: bool) -> Outcome {
        let ended_us = self.found.now.ended.get(heard.conn.as_str()).copied();
        let reason = if self
            .chance
            .is_new_presence(heard, &self.changes, &self.found.names)
        {
            Some((Excuse::Chance, chance::PRESENCE))
        } else if self.chance.meets_its_end(heard, self.played, ended_us) {
            Some((Excuse::Chance, chance::END))
        } else if self.chance.is_later(heard, self.played, is_last) {
            Some((Excuse::Chance, chance::LATER))
        } else {
            self.liberties
                .may_come(heard, admitted, &self.found.names)
                .map(|why| (Excuse::Contract, why))
        };
        match reason {
            Some((by, why)) => excused(by, why, Vec::new(), &heard.what),
            None => Outcome::Extra(shown(&heard.what)),
        }
    }
}
