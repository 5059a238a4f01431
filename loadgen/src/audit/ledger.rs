//! The ledger of one account's events in flight.

use std::collections::{HashMap, VecDeque};

use super::{bits::Bits, wide::Wide};
use crate::{
    report::model::{Counts, Outcome},
    scenario::{EventKind, Role, Scope},
    schedule::{Account, Peer},
};

/// How many events that were given up are remembered, so that what comes later still is told apart
/// from a duplicate.
const REMEMBERED: usize = 1_024;

/// What the audit goes by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// What may reach connections of the account that do not need it.
    pub(crate) wide: Wide,
    /// What takes longer from the planned time is late.
    pub(crate) late_after: u64,
    /// What has not arrived so long after it was sent is lost, once what was sent so much later has
    /// arrived at the same connection, or nothing at all has for that long.
    pub(crate) lost_after: u64,
    /// So long after its CONNECT answer, a connection may miss events; and what it sends so shortly
    /// before DISCONNECT, servers on the official library drop where they read both at once.
    pub(crate) grace: u64,
}

/// An event at the moment when it is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) kind: EventKind,
    pub(crate) sender: u32,
    pub(crate) target: u32,
    pub(crate) choice: u32,
    pub(crate) planned: u64,
    pub(crate) sent: u64,
    /// Whether a right server may ignore it, such as a heartbeat that is older than another.
    pub(crate) is_optional: bool,
}

/// An event that has arrived where it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) kind: EventKind,
    pub(crate) planned: u64,
    pub(crate) sent: u64,
    pub(crate) choice: u32,
    /// Whether it counts: not where the recipient came or went, nor where it was slow on purpose.
    pub(crate) counts: bool,
}

/// Something that the audit has found out, for counts and examples.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finding {
    pub(crate) found: Found,
    pub(crate) recipient: u32,
    /// The event's number among those of the account.
    pub(crate) number: u32,
    /// The event, where it is not too long ago to be known.
    pub(crate) entry: Option<Entry>,
}

/// What can be found out about a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// It arrived in time.
    Delivered,
    /// It will not be known whether it should have arrived.
    Uncertain,
    /// Something of its type has arrived that does not say which event it is.
    Untraced,
    /// It went wrong.
    Wrong(Outcome),
    /// What was taken for lost has arrived after all.
    Returned,
    /// What was taken for delivered must not have been.
    Retracted,
}

impl Found {
    /// Adds it to the counts.
    pub(crate) fn count(self, counts: &mut Counts) {
        match self {
            Self::Delivered => counts.delivered += 1,
            Self::Uncertain => counts.uncertain += 1,
            Self::Untraced => counts.untraced += 1,
            Self::Returned => {
                counts.lost = counts.lost.saturating_sub(1);
                counts.delivered += 1;
                counts.late += 1;
            }
            Self::Retracted => counts.delivered = counts.delivered.saturating_sub(1),
            Self::Wrong(outcome) => match outcome {
                Outcome::Late => counts.late += 1,
                Outcome::Lost => counts.lost += 1,
                Outcome::Duplicated => counts.duplicated += 1,
                Outcome::Reordered => counts.reordered += 1,
                Outcome::Misrouted => counts.misrouted += 1,
            },
        }
        counts.expected = counts.delivered + counts.lost;
    }
}

/// Whether a connection receives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It is not there.
    #[default]
    Away,
    /// It has been there since then.
    Since(u64),
    /// It reads nothing for a while.
    Stopped,
    /// It never reads again.
    Silent,
}

#[derive(Debug)]
struct Record {
    entry: Entry,
    state: State,
    /// The next event that the same sender sent of the same kind about the same thing.
    next: Option<u32>,
    expected: Bits,
    arrived: Bits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The server has to take it.
    Binding,
    /// Whether the server took it depends on an answer that has not come.
    Unanswered,
    /// The server said no: nobody must hear of it.
    Refused,
    /// Nobody knows whether the server has got it, or taken it.
    Unknown,
}

/// An event that was given up with these still missing.
#[derive(Debug)]
struct GivenUp {
    number: u32,
    entry: Entry,
    missing: Bits,
}

/// How far a connection has got with what is sent to it.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// The latest event that has arrived, by its number.
    latest: u32,
    /// When that was sent.
    front: u64,
    /// When something arrived last.
    at: u64,
}

/// The ledger of one account's events in flight, and who of the account is there.
#[derive(Debug)]
pub(crate) struct Ledger {
    account: Account,
    rules: Rules,
    /// The number of the first record.
    base: u32,
    records: VecDeque<Record>,
    given_up: VecDeque<GivenUp>,
    presence: Vec<Presence>,
    /// Until when each connection was slow on purpose; what was planned before does not count.
    slow_until: Vec<u64>,
    /// What has arrived at each connection until now.
    progress: Vec<Progress>,
    /// When the latest of the events was sent that have arrived anywhere.
    front: u64,
    /// When things arrived that do not say which event they are, by their type and connection.
    untraced: HashMap<(&'static str, u32), VecDeque<u64>>,
    /// The last event of each stream that has a record.
    last: HashMap<(u32, EventKind, u32), u32>,
}

impl Ledger {
    pub(crate) fn new(account: Account, rules: Rules) -> Self {
        let connections = account.connections() as usize;
        Self {
            account,
            rules,
            base: 0,
            records: VecDeque::new(),
            given_up: VecDeque::new(),
            presence: vec![Presence::Away; connections],
            slow_until: vec![0; connections],
            progress: vec![Progress::default(); connections],
            front: 0,
            untraced: HashMap::new(),
            last: HashMap::new(),
        }
    }

    /// The number that the next event will have.
    pub(crate) fn next_number(&self) -> u32 {
        self.base + u32::try_from(self.records.len()).unwrap_or(u32::MAX)
    }

    /// Whether a connection must receive what an event causes.
    fn must_receive(&self, entry: &Entry, peer: u32) -> bool {
        let Peer { role, subject } = self.account.peer(peer);
        let concerned = |of| role == Role::User || role == of && subject == entry.target;
        match entry.kind.scope() {
            Scope::Nobody => false,
            Scope::Users => role == Role::User,
            Scope::Session => concerned(Role::Session),
            Scope::SessionWithoutSender => concerned(Role::Session) && peer != entry.sender,
            Scope::Machine => concerned(Role::Machine),
            Scope::Callee => peer == entry.target,
        }
    }

    /// Whether a connection of the account may receive what it does not need.
    fn may_receive(&self, entry: &Entry, peer: u32) -> bool {
        let Peer { role, .. } = self.account.peer(peer);
        match entry.kind.scope() {
            _ if !self.rules.wide.has(entry.kind) => false,
            // Not even where all else goes to everyone.
            Scope::SessionWithoutSender => role == Role::Machine,
            Scope::Callee | Scope::Nobody => false,
            Scope::Users | Scope::Session | Scope::Machine => true,
        }
    }

    /// Whether the sender has opened another connection since. Only the one that sent a message is
    /// left out, so that a server which broadcasts a moment later may send it to the next one.
    fn has_returned(&self, entry: &Entry, peer: u32) -> bool {
        let by_another = Entry {
            sender: u32::MAX,
            ..*entry
        };
        let is_later =
            matches!(self.presence[peer as usize], Presence::Since(at) if at > entry.sent);
        is_later && peer == entry.sender && self.must_receive(&by_another, peer)
    }

    /// The connections that an event concerns, in ascending order, without looking at all others.
    fn concerned(&self, entry: &Entry) -> impl Iterator<Item = u32> + use<> {
        let users = 0..self.account.users;
        let others = match entry.kind.scope() {
            Scope::Session | Scope::SessionWithoutSender => {
                self.account.connections_of(Role::Session, entry.target)
            }
            Scope::Machine => self.account.connections_of(Role::Machine, entry.target),
            Scope::Callee => entry.target..entry.target + 1,
            Scope::Users | Scope::Nobody => 0..0,
        };
        let users = if entry.kind.scope() == Scope::Callee {
            0..0
        } else {
            users
        };
        users.chain(others)
    }

    /// Enters an event that is being sent, under [`next_number`](Self::next_number).
    pub(crate) fn enter(&mut self, entry: Entry, findings: &mut impl FnMut(Finding)) {
        let number = self.next_number();
        let bound = self.account.connections();
        let mut expected = Bits::none(bound);
        for peer in self.concerned(&entry) {
            if !self.must_receive(&entry, peer) {
                continue;
            }
            match self.presence[peer as usize] {
                Presence::Since(since) if since + self.rules.grace <= entry.sent => {
                    expected.insert(peer);
                }
                Presence::Stopped => {
                    expected.insert(peer);
                }
                Presence::Since(_) => findings(finding(Found::Uncertain, number, &entry, peer)),
                Presence::Away | Presence::Silent => {}
            }
        }
        if entry.kind.is_ordered() {
            let stream = (entry.sender, entry.kind, entry.target);
            if let Some(previous) = self.last.insert(stream, number)
                && let Some(record) = self.record(previous)
            {
                record.next = Some(number);
            }
        }
        let answered = entry.kind.is_acked() && entry.kind != EventKind::RpcCall;
        let state = if entry.is_optional {
            State::Unknown
        } else if answered {
            State::Unanswered
        } else {
            State::Binding
        };
        self.records.push_back(Record {
            entry,
            state,
            next: None,
            expected,
            arrived: Bits::none(bound),
        });
    }

    fn record(&mut self, number: u32) -> Option<&mut Record> {
        let index = number.checked_sub(self.base)?;
        self.records.get_mut(index as usize)
    }

    /// An event has arrived at a connection. Returns it where that is right and new.
    pub(crate) fn arrived(
        &mut self,
        number: u32,
        peer: u32,
        at: u64,
        findings: &mut impl FnMut(Finding),
    ) -> Option<Arrival> {
        if number < self.base {
            self.arrived_late(number, peer, findings);
            return None;
        }
        let index = (number - self.base) as usize;
        let entry = self.records.get(index)?.entry;
        let mut found = |found| findings(finding(found, number, &entry, peer));
        if !self.must_receive(&entry, peer) {
            if !self.may_receive(&entry, peer) && !self.has_returned(&entry, peer) {
                found(Found::Wrong(Outcome::Misrouted));
            }
            return None;
        }
        let record = &mut self.records[index];
        if !record.arrived.insert(peer) {
            found(Found::Wrong(Outcome::Duplicated));
            return None;
        }
        let progress = &mut self.progress[peer as usize];
        progress.latest = number.max(progress.latest);
        progress.front = entry.sent.max(progress.front);
        progress.at = at;
        self.front = entry.sent.max(self.front);
        if record.state == State::Refused {
            found(Found::Wrong(Outcome::Misrouted));
            return None;
        }
        let is_expected = record.expected.contains(peer);
        let was_slow = self.slow_until[peer as usize] > entry.planned
            || self.presence[peer as usize] == Presence::Stopped;
        if is_expected {
            found(Found::Delivered);
            if at.saturating_sub(entry.planned) > self.rules.late_after && !was_slow {
                found(Found::Wrong(Outcome::Late));
            }
            if self.overtaken(index, peer) {
                found(Found::Wrong(Outcome::Reordered));
            }
        }
        Some(Arrival {
            kind: entry.kind,
            planned: entry.planned,
            sent: entry.sent,
            choice: entry.choice,
            counts: is_expected && !was_slow,
        })
    }

    /// Whether a later event of the same stream has arrived at the connection already. Many may be
    /// under way, so only those are looked at that are not later than all that has arrived there.
    fn overtaken(&self, index: usize, peer: u32) -> bool {
        let latest = self.progress[peer as usize].latest;
        let mut next = self.records[index].next;
        while let Some(number) = next.filter(|number| *number <= latest) {
            let Some(record) = self.records.get((number - self.base) as usize) else {
                return false;
            };
            if record.arrived.contains(peer) {
                return true;
            }
            next = record.next;
        }
        false
    }

    /// Whether an event has arrived at a connection.
    pub(crate) fn has_arrived(&self, number: u32, peer: u32) -> bool {
        let index = number.checked_sub(self.base);
        let record = index.and_then(|index| self.records.get(index as usize));
        record.is_none_or(|record| record.arrived.contains(peer))
    }

    /// Whether an event must arrive at a connection and has not.
    pub(crate) fn is_missing(&self, number: u32, peer: u32) -> bool {
        let index = number.checked_sub(self.base);
        let record = index.and_then(|index| self.records.get(index as usize));
        record.is_some_and(|of| {
            let is_awaited = of.expected.contains(peer) && !of.arrived.contains(peer);
            of.state == State::Binding && is_awaited
        })
    }

    /// Something of this type has arrived that does not say which event it is.
    pub(crate) fn arrived_untraced(&mut self, delivered_as: &'static str, peer: u32, at: u64) {
        self.progress[peer as usize].at = at;
        let arrivals = self.untraced.entry((delivered_as, peer)).or_default();
        if arrivals.len() == REMEMBERED {
            arrivals.pop_front();
        }
        arrivals.push_back(at);
    }

    /// Whether what was sent may have arrived without a trace; each arrival stands for one event.
    fn take_untraced(&mut self, entry: &Entry, peer: u32) -> bool {
        let Some(name) = entry.kind.delivered_as() else {
            return false;
        };
        let Some(arrivals) = self.untraced.get_mut(&(name, peer)) else {
            return false;
        };
        // Events are given up in the order of sending, so that nobody asks for older ones again.
        while arrivals.front().is_some_and(|at| *at < entry.sent) {
            arrivals.pop_front();
        }
        arrivals.pop_front().is_some()
    }

    /// When the latest of the events was sent that have arrived anywhere: a server that is behind has
    /// not come further than that.
    pub(crate) fn front(&self) -> u64 {
        self.front
    }

    fn arrived_late(&mut self, number: u32, peer: u32, findings: &mut impl FnMut(Finding)) {
        let given_up = self
            .given_up
            .iter_mut()
            .find(|given_up| given_up.number == number);
        let Some(given_up) = given_up else {
            // Everyone had it, or it is so long ago that it does not matter which.
            return findings(Finding {
                found: Found::Wrong(Outcome::Duplicated),
                recipient: peer,
                number,
                entry: None,
            });
        };
        let entry = given_up.entry;
        let outcome = if given_up.missing.remove(peer) {
            Found::Returned
        } else {
            Found::Wrong(Outcome::Duplicated)
        };
        findings(finding(outcome, number, &entry, peer));
    }

    /// The server has answered an event that depends on an answer.
    pub(crate) fn answered(
        &mut self,
        number: u32,
        taken: bool,
        findings: &mut impl FnMut(Finding),
    ) {
        let Some(record) = self.record(number) else {
            return;
        };
        if record.state != State::Unanswered {
            return;
        }
        if taken {
            record.state = State::Binding;
            return;
        }
        record.state = State::Refused;
        for peer in record.arrived.iter() {
            if record.expected.contains(peer) {
                findings(finding(Found::Retracted, number, &record.entry, peer));
            }
            let misrouted = Found::Wrong(Outcome::Misrouted);
            findings(finding(misrouted, number, &record.entry, peer));
        }
    }

    /// A connection comes, goes, stops or resumes. What it sent until `handled` the server has surely
    /// handled; if it goes, what it sent later may have been lost with it.
    pub(crate) fn set_presence(
        &mut self,
        peer: u32,
        presence: Presence,
        handled: u64,
        at: u64,
        findings: &mut impl FnMut(Finding),
    ) {
        let was = std::mem::replace(&mut self.presence[peer as usize], presence);
        if was == Presence::Stopped {
            self.slow_until[peer as usize] = at;
        }
        let gone = matches!(presence, Presence::Away | Presence::Silent);
        if !gone || matches!(was, Presence::Away | Presence::Silent) {
            return;
        }
        // What it sends from now on it sends on another connection, which may overtake this one.
        self.last.retain(|(sender, ..), _| *sender != peer);
        // A server that is behind owes nothing yet of what it has not come to.
        let lately = at.min(self.front).saturating_sub(self.rules.late_after);
        // One that was stopped has read nothing of late, however long that was.
        let owed_since = if was == Presence::Stopped { 0 } else { lately };
        for (number, record) in (self.base..).zip(&mut self.records) {
            let Record {
                entry,
                state,
                expected,
                arrived,
                ..
            } = record;
            if entry.sent >= owed_since && expected.contains(peer) && !arrived.contains(peer) {
                expected.remove(peer);
                findings(finding(Found::Uncertain, number, entry, peer));
            }
            let in_doubt = match *state {
                State::Unanswered => entry.sent >= lately,
                State::Binding => entry.sent > handled,
                State::Refused | State::Unknown => false,
            };
            if entry.sender == peer && in_doubt {
                *state = State::Unknown;
            }
        }
    }

    /// Gives up what was sent too long ago and of which nothing tells that it is still under way.
    pub(crate) fn sweep(&mut self, now: u64, findings: &mut impl FnMut(Finding)) {
        while let Some(record) = self.records.front() {
            if !self.is_over(record, now) {
                break;
            }
            self.retire(false, findings);
        }
        let oldest = self.records.front().map_or(now, |record| record.entry.sent);
        self.untraced.retain(|_, arrivals| {
            arrivals.retain(|at| *at >= oldest);
            !arrivals.is_empty()
        });
        let base = self.base;
        // Streams that have fallen silent are forgotten with their last record.
        if self.last.len() > 2 * self.records.len() + 16 {
            self.last.retain(|_, number| *number >= base);
        }
    }

    /// Whether nothing more is to be expected of an event. As long as a connection is still given what
    /// was sent before, what was sent later is under way to it, however long that takes.
    fn is_over(&self, record: &Record, now: u64) -> bool {
        let lost_after = self.rules.lost_after;
        let over = record.entry.sent + lost_after;
        let mut missing = record.missing();
        now >= over
            && missing.all(|peer| {
                let Progress { front, at, .. } = self.progress[peer as usize];
                front >= over || at + lost_after <= now
            })
    }

    /// Gives up everything that is still in flight. Where the run did not wait to the end, what has not
    /// arrived is not lost: it `is_under_way`.
    pub(crate) fn close(&mut self, is_under_way: bool, findings: &mut impl FnMut(Finding)) {
        while !self.records.is_empty() {
            self.retire(is_under_way, findings);
        }
    }

    fn retire(&mut self, is_under_way: bool, findings: &mut impl FnMut(Finding)) {
        let Some(record) = self.records.pop_front() else {
            return;
        };
        let number = self.base;
        self.base = number + 1;
        let Record {
            entry,
            state,
            expected,
            arrived,
            ..
        } = record;
        if state == State::Refused {
            return;
        }
        let mut missing = Bits::none(self.account.connections());
        for peer in expected.iter().filter(|peer| !arrived.contains(*peer)) {
            let is_stopped = self.presence[peer as usize] == Presence::Stopped;
            let outcome = if self.take_untraced(&entry, peer) {
                Found::Untraced
            } else if state == State::Binding && !is_stopped && !is_under_way {
                missing.insert(peer);
                Found::Wrong(Outcome::Lost)
            } else {
                Found::Uncertain
            };
            findings(finding(outcome, number, &entry, peer));
        }
        if missing.count() > 0 {
            if self.given_up.len() == REMEMBERED {
                self.given_up.pop_front();
            }
            self.given_up.push_back(GivenUp {
                number,
                entry,
                missing,
            });
        }
    }

    /// The first event from this number on that must arrive somewhere still, or be answered.
    pub(crate) fn first_awaited(&self, from: u32) -> Option<u32> {
        let known = usize::try_from(from.saturating_sub(self.base)).unwrap_or(usize::MAX);
        let awaited = |record: &Record| {
            record.state == State::Unanswered
                || record.state == State::Binding
                    && record
                        .missing()
                        .any(|peer| self.presence[peer as usize] != Presence::Stopped)
        };
        let mut rest = (self.base..).zip(&self.records).skip(known);
        rest.find(|(_, record)| awaited(record))
            .map(|(number, _)| number)
    }

    /// The number of the oldest event that is still in flight.
    pub(crate) fn first_number(&self) -> u32 {
        self.base
    }

    /// How many events are in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.records.len()
    }
}

impl Record {
    /// The connections that must receive it and have not.
    fn missing(&self) -> impl Iterator<Item = u32> + '_ {
        let expected = self.expected.iter();
        expected.filter(|peer| !self.arrived.contains(*peer))
    }
}

fn finding(found: Found, number: u32, entry: &Entry, recipient: u32) -> Finding {
    Finding {
        found,
        recipient,
        number,
        entry: Some(*entry),
    }
}
