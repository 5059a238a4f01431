use super::*;
use crate::{
    report::model::{Counts, Outcome},
    scenario::{EventKind, Scenario},
    schedule::{Account, Schedule},
};

const SECOND: u64 = 1_000_000;
/// Users 0 and 1, session 0 with 2 and 3, session 1 with 4 and 5, machines 6 and 7.
const USER: u32 = 0;
const OTHER_USER: u32 = 1;
const AGENT: u32 = 2;
const SIBLING: u32 = 3;
const OTHER_AGENT: u32 = 4;
const MACHINE: u32 = 6;
const OTHER_MACHINE: u32 = 7;

fn account() -> Account {
    let text = "
description = ''
[population]
accounts = 1
users = 2
sessions = 2
per-session = 2
machines = 2
[[phases]]
name = 'a'
duration = '1s'
";
    let scenario = Scenario::parse("test", text).unwrap();
    let schedule = Schedule::new(scenario, 1, "1/1".parse().unwrap());
    schedule.accounts().next().unwrap()
}

/// A ledger of which everybody has long been there, and what it finds.
struct Desk {
    ledger: Ledger,
    counts: Counts,
}

impl Desk {
    fn new(wide: Wide) -> Self {
        let rules = Rules {
            wide,
            late_after: 2 * SECOND,
            lost_after: 15 * SECOND,
            grace: SECOND / 4,
        };
        let mut desk = Self {
            ledger: Ledger::new(account(), rules),
            counts: Counts::default(),
        };
        for peer in 0..account().connections() {
            desk.presence(peer, Presence::Since(0), 0);
        }
        desk
    }

    fn narrow() -> Self {
        Self::new(Wide::default())
    }

    fn send(&mut self, kind: EventKind, sender: u32, target: u32, at: u64) -> u32 {
        let number = self.ledger.next_number();
        let entry = Entry {
            kind,
            sender,
            target,
            choice: 0,
            planned: at,
            sent: at,
            is_optional: false,
        };
        let counts = &mut self.counts;
        self.ledger
            .enter(entry, &mut |finding| finding.found.count(counts));
        number
    }

    fn message(&mut self, at: u64) -> u32 {
        self.send(EventKind::Message, AGENT, 0, at)
    }

    fn arrive(&mut self, number: u32, peers: &[u32], at: u64) {
        let counts = &mut self.counts;
        for peer in peers {
            let note = &mut |finding: Finding| finding.found.count(counts);
            self.ledger.arrived(number, *peer, at, note);
        }
    }

    fn presence(&mut self, peer: u32, presence: Presence, at: u64) {
        self.leave(peer, presence, at, at);
    }

    fn leave(&mut self, peer: u32, presence: Presence, handled: u64, at: u64) {
        let counts = &mut self.counts;
        let note = &mut |finding: Finding| finding.found.count(counts);
        self.ledger.set_presence(peer, presence, handled, at, note);
    }

    fn answer(&mut self, number: u32, taken: bool) {
        let counts = &mut self.counts;
        let note = &mut |finding: Finding| finding.found.count(counts);
        self.ledger.answered(number, taken, note);
    }

    fn sweep(&mut self, at: u64) {
        let counts = &mut self.counts;
        self.ledger
            .sweep(at, &mut |finding| finding.found.count(counts));
    }

    #[track_caller]
    fn check(mut self, expected: [(&str, u64); 3]) {
        let counts = &mut self.counts;
        self.ledger
            .close(false, &mut |finding| finding.found.count(counts));
        let all = [
            ("delivered", counts.delivered),
            ("late", counts.late),
            ("lost", counts.lost),
            ("duplicated", counts.duplicated),
            ("reordered", counts.reordered),
            ("misrouted", counts.misrouted),
            ("uncertain", counts.uncertain),
            ("untraced", counts.untraced),
        ];
        assert_eq!(counts.expected, counts.delivered + counts.lost);
        let mut found: Vec<_> = all.into_iter().filter(|(_, count)| *count > 0).collect();
        let mut expected: Vec<_> = expected
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}

const NONE: (&str, u64) = ("", 0);

/// Each kind of event against who must receive it, may, and must not.
#[test]
fn recipients() {
    #[track_caller]
    fn check(kind: EventKind, sender: u32, target: u32, must: &[u32], may_in_wide: &[u32]) {
        for wide in [Wide::default(), Wide::ALL] {
            let mut desk = Desk::new(wide);
            let number = desk.send(kind, sender, target, 10 * SECOND);
            desk.answer(number, true);
            let everyone: Vec<u32> = (0..account().connections()).collect();
            desk.arrive(number, &everyone, 10 * SECOND);
            let may = if wide.is_empty() {
                0
            } else {
                may_in_wide.len()
            };
            let wrong = everyone.len() - must.len() - may;
            let expected = [
                ("delivered", must.len() as u64),
                ("misrouted", wrong as u64),
                NONE,
            ];
            desk.check(expected);

            let mut silent = Desk::new(wide);
            let number = silent.send(kind, sender, target, 10 * SECOND);
            silent.answer(number, true);
            silent.check([("lost", must.len() as u64), NONE, NONE]);
        }
    }
    use EventKind as E;
    check(E::Message, AGENT, 0, &[0, 1, 3], &[6, 7]);
    check(E::Message, USER, 1, &[1, 4, 5], &[6, 7]);
    check(E::UpdateState, AGENT, 0, &[0, 1, 2, 3], &[4, 5, 6, 7]);
    check(
        E::UpdateMetadata,
        OTHER_AGENT,
        1,
        &[0, 1, 4, 5],
        &[2, 3, 6, 7],
    );
    check(
        E::MachineUpdateState,
        MACHINE,
        0,
        &[0, 1, 6],
        &[2, 3, 4, 5, 7],
    );
    check(E::SessionAlive, AGENT, 0, &[0, 1], &[2, 3, 4, 5, 6, 7]);
    check(E::SessionEnd, AGENT, 0, &[0, 1], &[2, 3, 4, 5, 6, 7]);
    check(E::UsageReport, AGENT, 0, &[0, 1], &[2, 3, 4, 5, 6, 7]);
    check(E::ArtifactCreate, USER, 0, &[0, 1], &[2, 3, 4, 5, 6, 7]);
    check(E::RpcCall, USER, OTHER_MACHINE, &[7], &[]);
}

#[test]
fn duplicates_are_counted_each() {
    let mut desk = Desk::narrow();
    let number = desk.message(10 * SECOND);
    desk.arrive(
        number,
        &[USER, OTHER_USER, SIBLING, USER, USER],
        10 * SECOND,
    );
    desk.check([("delivered", 3), ("duplicated", 2), NONE]);
}

#[test]
fn late_is_beyond_the_bound_from_the_planned_time() {
    let mut desk = Desk::narrow();
    let number = desk.message(10 * SECOND);
    desk.arrive(number, &[USER], 12 * SECOND);
    desk.arrive(number, &[OTHER_USER, SIBLING], 12 * SECOND + 1);
    desk.check([("delivered", 3), ("late", 2), NONE]);
}

#[test]
fn reordering_is_per_sender_and_recipient() {
    let mut desk = Desk::narrow();
    let [first, second, third] = [1, 2, 3].map(|at| desk.message(10 * SECOND + at));
    desk.arrive(first, &[USER], 11 * SECOND);
    desk.arrive(third, &[USER], 11 * SECOND);
    desk.arrive(second, &[USER], 11 * SECOND);
    // Another recipient has them in order, and another sender is nobody's concern.
    for number in [first, second, third] {
        desk.arrive(number, &[OTHER_USER, SIBLING], 11 * SECOND);
    }
    let other = desk.send(EventKind::Message, OTHER_AGENT, 1, 10 * SECOND);
    desk.arrive(other, &[USER, OTHER_USER, 5], 11 * SECOND);
    desk.check([("delivered", 12), ("reordered", 1), NONE]);
}

#[test]
fn calls_may_overtake_each_other() {
    let mut desk = Desk::narrow();
    let calls = [0, 1].map(|_| desk.send(EventKind::RpcCall, USER, AGENT, 10 * SECOND));
    for call in calls.into_iter().rev() {
        desk.arrive(call, &[AGENT], 11 * SECOND);
    }
    desk.check([("delivered", 2), NONE, NONE]);
}

#[test]
fn what_is_lost_may_come_back_late() {
    let mut desk = Desk::narrow();
    let number = desk.message(10 * SECOND);
    desk.arrive(number, &[OTHER_USER, SIBLING], 10 * SECOND);
    desk.sweep(25 * SECOND - 1);
    assert_eq!(desk.counts.lost, 0);
    desk.sweep(25 * SECOND);
    assert_eq!((desk.counts.lost, desk.ledger.in_flight()), (1, 0));
    desk.arrive(number, &[USER], 26 * SECOND);
    assert_eq!((desk.counts.lost, desk.counts.late), (0, 1));
    desk.arrive(number, &[USER], 26 * SECOND);
    desk.check([("delivered", 3), ("late", 1), ("duplicated", 1)]);
}

/// A server that is far behind and goes on delivering has lost nothing.
#[test]
fn as_long_as_a_connection_is_given_older_events_newer_ones_are_under_way() {
    let mut desk = Desk::narrow();
    let sent = |nth: u32| (10 + u64::from(nth)) * SECOND;
    let numbers: Vec<_> = (0..40).map(|nth| desk.message(sent(nth))).collect();
    // One is sent each second, and one arrives each second, 60 s late.
    for (nth, number) in (0..).zip(numbers) {
        let now = sent(nth) + 60 * SECOND;
        desk.sweep(now);
        desk.arrive(number, &[USER, OTHER_USER, SIBLING], now);
    }
    desk.check([("delivered", 120), ("late", 120), NONE]);
}

#[test]
fn what_is_overtaken_by_far_or_followed_by_silence_is_lost() {
    let mut overtaken = Desk::narrow();
    overtaken.message(10 * SECOND);
    let later = overtaken.message(25 * SECOND);
    overtaken.arrive(later, &[USER, OTHER_USER, SIBLING], 25 * SECOND);
    overtaken.sweep(25 * SECOND);
    assert_eq!(overtaken.counts.lost, 3);

    let mut silent = Desk::narrow();
    silent.message(10 * SECOND);
    let later = silent.message(20 * SECOND);
    silent.arrive(later, &[USER, OTHER_USER, SIBLING], 20 * SECOND);
    silent.sweep(35 * SECOND - 1);
    assert_eq!(silent.counts.lost, 0);
    silent.sweep(35 * SECOND);
    assert_eq!(silent.counts.lost, 3);
}

#[test]
fn what_the_run_did_not_wait_for_is_not_lost() {
    let mut desk = Desk::narrow();
    let number = desk.message(10 * SECOND);
    desk.arrive(number, &[USER], 10 * SECOND);
    let counts = &mut desk.counts;
    desk.ledger
        .close(true, &mut |finding| finding.found.count(counts));
    desk.check([("delivered", 1), ("uncertain", 2), NONE]);
}

/// A server that has not come to an event yet has not lost it with the connection that it is for, or
/// that it is from.
#[test]
fn a_server_that_is_behind_owes_nothing_to_one_that_left() {
    let mut desk = Desk::narrow();
    let first = desk.message(10 * SECOND);
    let second = desk.message(11 * SECOND);
    desk.arrive(first, &[USER, OTHER_USER, SIBLING], 19 * SECOND);
    assert_eq!(desk.ledger.front(), 10 * SECOND);
    desk.presence(USER, Presence::Away, 20 * SECOND);
    desk.arrive(second, &[OTHER_USER, SIBLING], 21 * SECOND);
    desk.check([("delivered", 5), ("late", 5), ("uncertain", 1)]);
}

/// A new connection of a sender may overtake the backlog of its old one.
#[test]
fn order_is_that_of_one_connection_of_the_sender() {
    for (reconnects, reordered) in [(false, 1), (true, 0)] {
        let mut desk = Desk::narrow();
        let first = desk.message(10 * SECOND);
        if reconnects {
            desk.presence(AGENT, Presence::Away, 10 * SECOND);
            desk.presence(AGENT, Presence::Since(10 * SECOND), 10 * SECOND);
        }
        let second = desk.message(10 * SECOND + 1);
        for number in [second, first] {
            desk.arrive(number, &[OTHER_USER, SIBLING], 11 * SECOND);
        }
        for number in [second, first] {
            desk.arrive(number, &[USER], 11 * SECOND);
        }
        desk.check([("delivered", 6), ("reordered", 3 * reordered), NONE]);
    }
}

/// No order is promised to ephemerals, which a server may handle side by side.
#[test]
fn only_updates_are_in_order() {
    for kind in EventKind::ALL {
        let mut desk = Desk::narrow();
        let numbers = [0, 1].map(|_| {
            let number = desk.send(kind, AGENT, 0, 10 * SECOND);
            desk.answer(number, true);
            number
        });
        for number in numbers.into_iter().rev() {
            desk.arrive(number, &[USER], 11 * SECOND);
        }
        let promised = kind
            .delivered_as()
            .is_some_and(|name| name.starts_with("update-") || name.starts_with("new-"));
        assert_eq!(desk.counts.reordered, u64::from(promised), "{kind:?}");
    }
}

#[test]
fn what_a_server_may_ignore_is_never_lost() {
    let mut desk = Desk::narrow();
    let mut send = |sent| {
        let number = desk.ledger.next_number();
        let entry = Entry {
            kind: EventKind::MachineAlive,
            sender: USER,
            target: 0,
            choice: 0,
            planned: sent,
            sent,
            is_optional: true,
        };
        desk.ledger
            .enter(entry, &mut |_| panic!("nothing is found"));
        number
    };
    let (taken, _ignored) = (send(10 * SECOND), send(11 * SECOND));
    assert_eq!(desk.ledger.first_awaited(0), None);
    desk.arrive(taken, &[USER, OTHER_USER], 11 * SECOND);
    desk.check([("delivered", 2), ("uncertain", 2), NONE]);
}

/// An arrival that does not say which event it is stands for one that was sent before it.
#[test]
fn what_cannot_be_traced_is_not_lost() {
    let mut desk = Desk::narrow();
    let usage = EventKind::UsageReport;
    let arrive = |desk: &mut Desk, peer, at| {
        desk.ledger.arrived_untraced("usage", peer, at);
    };
    arrive(&mut desk, USER, 9 * SECOND);
    for at in [10, 11] {
        desk.send(usage, AGENT, 0, at * SECOND);
    }
    arrive(&mut desk, USER, 12 * SECOND);
    arrive(&mut desk, OTHER_USER, 12 * SECOND);
    arrive(&mut desk, OTHER_USER, 12 * SECOND);
    // Not of this type.
    desk.message(12 * SECOND);
    desk.arrive(2, &[USER, OTHER_USER, SIBLING], 13 * SECOND);
    desk.check([("delivered", 3), ("untraced", 3), ("lost", 1)]);
}

#[test]
fn memory_is_what_is_in_flight() {
    let mut desk = Desk::narrow();
    for at in 0..100_000 {
        let number = desk.message(at * SECOND / 10);
        desk.arrive(number, &[USER, OTHER_USER, SIBLING], at * SECOND / 10);
        desk.sweep(at * SECOND / 10);
        assert!(desk.ledger.in_flight() <= 151);
    }
    // The first ones met connections that had only just come.
    desk.check([("delivered", 299_991), ("uncertain", 9), NONE]);
}

#[test]
fn who_has_just_come_may_miss_something() {
    let mut desk = Desk::narrow();
    desk.presence(USER, Presence::Away, 5 * SECOND);
    desk.presence(USER, Presence::Since(10 * SECOND), 10 * SECOND);
    let early = desk.message(10 * SECOND + SECOND / 8);
    let settled = desk.message(10 * SECOND + SECOND / 4);
    for number in [early, settled] {
        desk.arrive(number, &[OTHER_USER, SIBLING], 11 * SECOND);
    }
    // One is nobody's fault, the other is.
    desk.check([("delivered", 4), ("uncertain", 1), ("lost", 1)]);
}

#[test]
fn what_was_under_way_to_one_that_left_is_uncertain() {
    let mut desk = Desk::narrow();
    let old = desk.message(10 * SECOND);
    let under_way = desk.message(13 * SECOND);
    desk.arrive(old, &[OTHER_USER, SIBLING], 10 * SECOND);
    desk.arrive(under_way, &[OTHER_USER, SIBLING], 13 * SECOND);
    desk.presence(USER, Presence::Away, 13 * SECOND + 1);
    desk.message(14 * SECOND);
    let last = desk.ledger.next_number() - 1;
    desk.arrive(last, &[OTHER_USER, SIBLING], 14 * SECOND);
    // The old one had its time, and nothing is expected of who is away.
    desk.check([("delivered", 6), ("uncertain", 1), ("lost", 1)]);
}

#[test]
fn what_the_server_may_not_have_handled_when_its_sender_left_is_uncertain() {
    let sent = 10 * SECOND;
    for (handled, expected) in [(sent, "lost"), (sent - 1, "uncertain")] {
        let mut desk = Desk::narrow();
        desk.message(sent);
        desk.leave(AGENT, Presence::Away, handled, sent + 1);
        desk.check([(expected, 3), NONE, NONE]);
    }
}

/// Only the connection that sent a message must not see it. One that the message does not concern must
/// not, either way.
#[test]
fn a_sender_that_returns_may_see_its_own_message() {
    for (sender, before, after, lost) in [(AGENT, 1, 0, 3), (MACHINE, 1, 1, 4)] {
        for (has_returned, misrouted) in [(false, before), (true, after)] {
            let mut desk = Desk::narrow();
            let number = desk.send(EventKind::Message, sender, 0, 10 * SECOND);
            if has_returned {
                desk.presence(sender, Presence::Away, 11 * SECOND);
                desk.presence(sender, Presence::Since(12 * SECOND), 12 * SECOND);
            }
            desk.arrive(number, &[sender], 13 * SECOND);
            desk.check([("misrouted", misrouted), ("lost", lost), NONE]);
        }
    }
}

#[test]
fn a_refused_change_must_not_be_announced() {
    let mut desk = Desk::narrow();
    let refused = desk.send(EventKind::UpdateState, AGENT, 0, 10 * SECOND);
    desk.answer(refused, false);
    // Before and after the answer.
    let announced = desk.send(EventKind::UpdateState, AGENT, 0, 11 * SECOND);
    desk.arrive(announced, &[USER], 11 * SECOND);
    desk.answer(announced, false);
    desk.arrive(announced, &[OTHER_USER], 11 * SECOND);
    desk.check([("misrouted", 2), NONE, NONE]);
}

#[test]
fn an_unanswered_change_is_uncertain() {
    let mut desk = Desk::narrow();
    let number = desk.send(EventKind::UpdateState, AGENT, 0, 10 * SECOND);
    desk.arrive(number, &[USER], 10 * SECOND);
    assert!(desk.ledger.first_awaited(0).is_some());
    desk.check([("delivered", 1), ("uncertain", 3), NONE]);
}

#[test]
fn one_that_stalls_on_purpose_is_not_late() {
    let mut desk = Desk::narrow();
    desk.presence(USER, Presence::Stopped, 9 * SECOND);
    let number = desk.message(10 * SECOND);
    desk.arrive(number, &[OTHER_USER, SIBLING], 10 * SECOND);
    assert_eq!(desk.ledger.first_awaited(0), None);
    desk.presence(USER, Presence::Since(0), 14 * SECOND);
    assert!(desk.ledger.first_awaited(0).is_some());
    let counts = &mut desk.counts;
    let note = &mut |finding: Finding| finding.found.count(counts);
    let arrival = desk.ledger.arrived(number, USER, 14 * SECOND, note);
    assert!(arrival.is_some_and(|arrival| !arrival.counts));
    desk.check([("delivered", 3), NONE, NONE]);
}

#[test]
fn examples_name_what_went_wrong() {
    let mut desk = Desk::narrow();
    let number = desk.message(10 * SECOND);
    let mut findings = Vec::new();
    desk.ledger
        .arrived(number, OTHER_AGENT, 11 * SECOND, &mut |found| {
            findings.push(found);
        });
    let [finding] = findings[..] else {
        panic!("{findings:?}");
    };
    assert_eq!(finding.found, Found::Wrong(Outcome::Misrouted));
    assert_eq!((finding.recipient, finding.number), (OTHER_AGENT, number));
    assert_eq!(finding.entry.map(|entry| entry.sender), Some(AGENT));
    assert_eq!(
        account().name(OTHER_AGENT),
        "account 0, session 1, connection 0"
    );
}
