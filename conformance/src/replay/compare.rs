//! What the server did then and now, side by side. A pure function.
//!
//! Answers are told by what they answer. Deliveries are told by connection, type and content, in
//! whatever order they came, since only the order of one sender's messages and that of `seq` are
//! promised; both are looked at behind. What has no counterpart is missing or extra, unless the
//! recording leaves it to chance, the contract leaves it to the server, or it rests on a step that could
//! not be replayed.

use std::collections::{HashMap, HashSet, VecDeque};

use serde_json::Value;
use touchstone_client::trace::Traced;

use super::barrier::{Barrier, Barriers};
use super::chance::{self, Chance};
use super::drive::Played;
use super::liberty::Liberties;
use super::names::Names;
use super::order;
use super::payload::{Alike, Difference, compared, message_seq, shown};
use super::race::Races;
use super::report::Unsent;
use super::script::{Act, Heard, Recording, What, type_of};

/// How many deliveries of one kind ahead are looked through for the counterpart of one.
const AHEAD: usize = 256;

/// One thing that the server did then, now, or both times.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The connection, as the recording calls it.
    pub conn: String,
    /// What it is, for people: `answer to update-metadata #3`, `update new-message`.
    pub what: String,
    /// When it came in the recording or, where it is extra, in the replay, in microseconds.
    pub t_us: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of one thing.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The server did the same.
    Same,
    /// It did something else.
    Different(Vec<Difference>),
    /// It did nothing of the kind. Holds what was recorded.
    Missing(Value),
    /// It did what it had not done. Holds what came.
    Extra(Value),
    /// It is otherwise, and may be.
    Excused {
        /// Whose choice it was.
        by: Excuse,
        /// Why it may be.
        why: String,
        /// Where it differs, if it came both times.
        differences: Vec<Difference>,
        /// What was recorded, or what came where nothing was.
        seen: Value,
    },
}

/// Why something may be otherwise than it was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excuse {
    /// The recording does not settle it: things happened at the same time.
    Chance,
    /// The contract leaves it to the server.
    Contract,
    /// It rests on a step that could not be replayed.
    Blocked,
}

/// What a comparison brought.
pub(super) struct Verdicts {
    pub(super) items: Vec<Item>,
    /// Steps that turned out to mean nothing to this server.
    pub(super) unsent: Vec<Unsent>,
}

/// Holds what was heard in a replay against the recording.
pub(super) fn compare(recording: &Recording, played: &Played, chance: &Chance) -> Verdicts {
    let then = told_once(recording, &recording.heard);
    let now = told_once(recording, &played.heard);
    let mut judge = Judge::new(recording, played, chance, &now);
    judge.settle(&then);
    judge.verdicts(&then)
}

/// What was heard, with the two forms of a refusal made one, and without ends that the client asked for.
fn told_once(recording: &Recording, heard: &[Heard]) -> Vec<Heard> {
    let farewells: HashSet<&str> = recording
        .steps
        .iter()
        .filter(|step| matches!(step.act, Act::Send(Traced::Disconnect | Traced::Close)))
        .map(|step| step.conn.as_str())
        .collect();
    let mut of_conn: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, one) in heard.iter().enumerate() {
        of_conn.entry(&one.conn).or_default().push(at);
    }
    let mut dropped: HashSet<usize> = HashSet::new();
    let mut refusals: HashMap<usize, Value> = HashMap::new();
    for (conn, places) in of_conn {
        let is_end = |at: &usize| matches!(heard[*at].what, What::Ended(_));
        if farewells.contains(conn) {
            dropped.extend(places.iter().copied().filter(is_end));
        }
        for three in places.windows(3) {
            if let (What::Admitted(_), What::Event { name, args, .. }, What::Ended(_)) = (
                &heard[three[0]].what,
                &heard[three[1]].what,
                &heard[three[2]].what,
            ) && name == "error"
            {
                refusals.insert(three[0], args[0].clone());
                dropped.extend(&three[1..]);
            }
        }
    }
    let kept = heard
        .iter()
        .enumerate()
        .filter(|(at, _)| !dropped.contains(at));
    kept.map(|(at, one)| match refusals.remove(&at) {
        Some(reason) => Heard {
            what: What::Refused(reason),
            ..one.clone()
        },
        None => one.clone(),
    })
    .collect()
}

/// The comparison while it goes on.
struct Judge<'a> {
    recording: &'a Recording,
    played: &'a Played,
    chance: &'a Chance,
    liberties: Liberties,
    races: Races,
    names: Names,
    now: Heap<'a>,
    /// The counterpart of each recorded thing.
    pairs: HashMap<usize, Came<'a>>,
    outcomes: HashMap<usize, Outcome>,
}

impl<'a> Judge<'a> {
    fn new(
        recording: &'a Recording,
        played: &'a Played,
        chance: &'a Chance,
        now: &'a [Heard],
    ) -> Self {
        Self {
            recording,
            played,
            chance,
            liberties: Liberties::new(recording),
            races: Races::default(),
            names: played.names.clone(),
            now: Heap::new(now),
            pairs: HashMap::new(),
            outcomes: HashMap::new(),
        }
    }

    /// Finds the counterpart of everything that was recorded, as far as it has one.
    fn settle(&mut self, then: &[Heard]) {
        self.races = Races::new(self.recording, then);
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
                self.excuse(
                    at,
                    Excuse::Chance,
                    chance::RACE,
                    Vec::new(),
                    shown(&then[at].what),
                );
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
            .filter(|group| group.is_message && group.conns.contains(&heard.conn))
            .flat_map(|group| group.conns.iter().cloned())
            .filter(|conn| *conn != heard.conn)
            .collect();
        for conn in others {
            if let Some(now) = self.take_equal(heard, &conn, true) {
                self.pair(then, at, now.heard, true);
                self.excuse(
                    at,
                    Excuse::Chance,
                    chance::RACE,
                    Vec::new(),
                    shown(&heard.what),
                );
                return true;
            }
        }
        false
    }

    fn excuse(
        &mut self,
        at: usize,
        by: Excuse,
        why: &str,
        differences: Vec<Difference>,
        seen: Value,
    ) {
        let excused = Outcome::Excused {
            by,
            why: why.to_owned(),
            differences,
            seen,
        };
        self.outcomes.insert(at, excused);
    }

    /// Names what has no counterpart, and excuses what may be otherwise.
    fn verdicts(mut self, then: &[Heard]) -> Verdicts {
        let pairs: Vec<order::Pair<'_>> = self
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
            if let Some(Outcome::Same) = self.outcomes.get(&at) {
                let different = Outcome::Different(vec![difference]);
                self.outcomes.insert(at, different);
            }
        }
        let (barriers, unsent) = self.barriers(then);
        let calls = call_names(self.recording);
        // When the last thing with a counterpart came, by connection.
        let mut last_known: HashMap<&str, u64> = HashMap::new();
        for now in self.pairs.values() {
            let last = last_known.entry(now.heard.conn.as_str()).or_default();
            *last = now.heard.t_us.max(*last);
        }
        let cut_us = self.played.is_cut(self.recording).then(|| {
            self.recording
                .steps
                .get(self.played.sent_us.len())
                .map_or(0, |step| step.t_us)
        });
        let mut items = Vec::with_capacity(then.len());
        for (at, heard) in then.iter().enumerate() {
            let outcome = self.outcomes.remove(&at);
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
        let mut extras: Vec<&Heard> = self.now.take_rest();
        extras.sort_by_key(|heard| heard.t_us);
        for heard in extras {
            let is_last = last_known
                .get(heard.conn.as_str())
                .is_none_or(|known| heard.t_us > *known);
            let outcome = self.extra(then, heard, is_last);
            let outcome = barriers.over(self.recording, heard, true, outcome);
            items.push(item(heard, &calls, outcome));
        }
        items.sort_by_key(|item| item.t_us);
        Verdicts { items, unsent }
    }

    fn missing(&self, heard: &Heard) -> Outcome {
        let ended_now = self.now.ended.contains(heard.conn.as_str());
        let refusal = matches!(heard.what, What::Refused(_));
        if self.chance.is_presence(heard, None) {
            excused(Excuse::Chance, chance::PRESENCE, Vec::new(), &heard.what)
        } else if !refusal && self.chance.met_its_end(heard, ended_now) {
            excused(Excuse::Chance, chance::END, Vec::new(), &heard.what)
        } else if let Some(why) = self.liberties.may_miss(heard) {
            excused(Excuse::Contract, why, Vec::new(), &heard.what)
        } else {
            Outcome::Missing(shown(&heard.what))
        }
    }

    fn extra(&self, then: &[Heard], heard: &Heard, is_last: bool) -> Outcome {
        let admitted = then
            .iter()
            .any(|one| one.conn == heard.conn && matches!(one.what, What::Admitted(_)));
        let reason = if self.chance.is_presence(heard, Some(&self.names)) {
            Some((Excuse::Chance, chance::PRESENCE))
        } else if self.chance.meets_its_end(heard, self.played) {
            Some((Excuse::Chance, chance::END))
        } else if self.chance.is_later(heard, self.played, is_last) {
            Some((Excuse::Chance, chance::LATER))
        } else {
            self.liberties
                .may_come(heard, admitted, &self.names)
                .map(|why| (Excuse::Contract, why))
        };
        match reason {
            Some((by, why)) => excused(by, why, Vec::new(), &heard.what),
            None => Outcome::Extra(shown(&heard.what)),
        }
    }

    /// The steps that could not be replayed, those among them that the server has no route for.
    fn barriers(&self, then: &[Heard]) -> (Barriers, Vec<Unsent>) {
        let requests = self.recording.requests();
        let mut lacking = Vec::new();
        for (at, now) in &self.pairs {
            let (What::Answered(index, answer), What::Answered(_, Some((status, body)))) =
                (&then[*at].what, &now.heard.what)
            else {
                continue;
            };
            let had = |status: u16, body: &Value| {
                !(matches!(status, 404 | 501) && body.get("path").is_some())
            };
            let had_it = answer
                .as_ref()
                .is_none_or(|(status, body)| had(*status, body));
            let refused = answer
                .as_ref()
                .is_some_and(|(recorded, _)| recorded == status);
            if had_it
                && !refused
                && !had(*status, body)
                && let Some(request) = requests.get(index)
            {
                lacking.push(Unsent {
                    conn: then[*at].conn.clone(),
                    what: format!("{} {}", request.method, request.url),
                    why: format!("the server has no such route ({status})"),
                    step: Some(request.step),
                });
            }
        }
        lacking.sort_by_key(|one| one.step);
        let all = self.played.unsent.iter().chain(&lacking);
        let barriers = all
            .map(|one| Barrier::new(one, self.recording, self.played))
            .chain(
                self.recording
                    .watched_only()
                    .into_iter()
                    .map(Barrier::watched),
            )
            .collect();
        (Barriers(barriers), lacking)
    }
}

fn excused(by: Excuse, why: &str, differences: Vec<Difference>, what: &What) -> Outcome {
    Outcome::Excused {
        by,
        why: why.to_owned(),
        differences,
        seen: shown(what),
    }
}

/// The events that ack ids were asked with, and the requests, by connection.
fn call_names(recording: &Recording) -> HashMap<(String, u64), String> {
    let mut calls = HashMap::new();
    for step in &recording.steps {
        match &step.act {
            Act::Send(Traced::Event {
                name,
                ack: Some(id),
                ..
            }) => {
                calls.insert((step.conn.clone(), *id), name.clone());
            }
            Act::Http(index, exchange) => {
                let name = format!("{} {}", exchange.method, exchange.url);
                calls.insert((step.conn.clone(), *index as u64), name);
            }
            _ => {}
        }
    }
    calls
}

fn item(heard: &Heard, calls: &HashMap<(String, u64), String>, outcome: Outcome) -> Item {
    let call = |id: u64| {
        let call = calls.get(&(heard.conn.clone(), id));
        call.map_or("nothing", String::as_str)
    };
    let what = match &heard.what {
        What::Admitted(_) | What::Refused(_) => "answer to CONNECT".to_owned(),
        What::Event { name, args, .. } => format!("{name} {}", type_of(name, args)),
        What::Ack { id, .. } => format!("answer to {} #{id}", call(*id)),
        What::Ended(_) => "end of the connection".to_owned(),
        What::Answered(index, _) => format!("answer to {}", call(*index as u64)),
    };
    Item {
        conn: heard.conn.clone(),
        what: what.trim_end().to_owned(),
        t_us: heard.t_us,
        outcome,
    }
}

/// What was heard now, by connection and class, until it has found its counterpart.
struct Heap<'a> {
    waiting: HashMap<(String, String), VecDeque<Came<'a>>>,
    ended: HashSet<&'a str>,
}

/// Something that came now, and the how-manieth of all it was.
#[derive(Clone, Copy)]
struct Came<'a> {
    place: u64,
    heard: &'a Heard,
}

impl<'a> Heap<'a> {
    fn new(heard: &'a [Heard]) -> Self {
        let mut heap = Self {
            waiting: HashMap::new(),
            ended: HashSet::new(),
        };
        for (place, heard) in (0..).zip(heard) {
            let key = (heard.conn.clone(), heard.what.class());
            let queue = heap.waiting.entry(key).or_default();
            queue.push_back(Came { place, heard });
            if matches!(heard.what, What::Ended(_)) {
                heap.ended.insert(&heard.conn);
            }
        }
        heap
    }

    fn queue(&mut self, conn: &str, what: &What) -> Option<&mut VecDeque<Came<'a>>> {
        self.waiting.get_mut(&(conn.to_owned(), what.class()))
    }

    fn take_first(&mut self, like: &Heard) -> Option<Came<'a>> {
        self.queue(&like.conn, &like.what)?.pop_front()
    }

    /// One of the same kind about the same session, machine or artifact, or about none.
    fn take_about(&mut self, like: &Heard, names: &Names) -> Option<Came<'a>> {
        let about = entity(&like.what).map(|id| names.renamed(id));
        self.take_where(&like.conn, &like.what, |one| {
            entity(&one.what) == about.as_deref()
        })
    }

    fn take_where(
        &mut self,
        conn: &str,
        what: &What,
        fits: impl Fn(&Heard) -> bool,
    ) -> Option<Came<'a>> {
        let queue = self.queue(conn, what)?;
        let found = queue.iter().take(AHEAD).position(|one| fits(one.heard))?;
        queue.remove(found)
    }

    /// Everything that waits, in order of arrival.
    fn all(&self) -> impl Iterator<Item = Came<'a>> + use<'a> {
        let mut all: Vec<_> = self.waiting.values().flatten().copied().collect();
        all.sort_by_key(|came| came.place);
        all.into_iter()
    }

    fn take_rest(&mut self) -> Vec<&'a Heard> {
        let rest = self.waiting.drain().flat_map(|(_, queue)| queue);
        rest.map(|one| one.heard).collect()
    }
}

fn entity(what: &What) -> Option<&str> {
    let What::Event { name, args, .. } = what else {
        return None;
    };
    let data = args.get(0)?;
    let body = if name == "update" {
        &data["body"]
    } else {
        data
    };
    ["sid", "machineId", "artifactId", "uid", "method", "id"]
        .into_iter()
        .find_map(|key| body.get(key)?.as_str())
}
