use std::collections::HashMap;

use super::*;
use crate::scenario::{EventKind, Role, Scope};

/// A scenario in which everything happens.
const EVERYTHING: &str = "
description = 'for tests'
[population]
accounts = 5
users = 7
sessions = 13
machines = 6
[connect]
ramp = '2s'
[session]
registrations = 2
[[phases]]
name = 'ramp'
duration = '5s'
load = [0, 2]
counted = false
[[phases]]
name = 'steady'
duration = '20s'
[[traffic]]
from = 'session'
event = 'message'
every = '500ms'
size = { median = 1200, p95 = 16000, p999 = 200000 }
[[traffic]]
from = 'session'
event = 'session-alive'
every = '2s'
timing = 'periodic'
[[traffic]]
from = 'user'
event = 'update-state'
every = '1s'
burst = 3
[[traffic]]
from = 'machine'
event = 'machine-update-state'
every = '1s'
share = 0.5
[[traffic]]
from = 'user'
event = 'rpc-call'
every = '700ms'
[[churn]]
from = 'user'
share = 0.5
online = '3s'
offline = '1s'
[[herd]]
at = '12s'
from = ['session', 'machine']
back-after = '1s'
back-jitter = '2s'
how = 'abort'
[[slow]]
from = 'user'
share = 0.3
every = '4s'
stop = '1s'
[[half-open]]
from = 'machine'
share = 0.2
at = '15s'
";

/// Turns and shifts, besides everything else.
const LIFE: &str = "
[[turn]]
share = 0.9
lasts = '2s'
pause = '1s'
[[shift]]
share = 0.4
online = '6s'
";

fn life() -> String {
    EVERYTHING.to_owned() + LIFE
}

fn schedule(text: &str, seed: u64, shard: &str) -> Schedule {
    Schedule::new(
        Scenario::parse("test", text).unwrap(),
        seed,
        shard.parse().unwrap(),
    )
}

#[test]
fn the_digest_is_the_same_on_every_machine() {
    let digest = |seed| {
        schedule(EVERYTHING, seed, "1/1")
            .summary()
            .digest
            .to_string()
    };
    // Not to be updated lightly: with another value, older reports cannot be compared any more.
    insta::assert_snapshot!(digest(7), @"57c9fa7e3d7597fa2827826d01e991838f5745b5ae52d0a569c6e6890814319a");
    assert_ne!(digest(7), digest(8));
    let life = schedule(&life(), 7, "1/1").summary().digest.to_string();
    insta::assert_snapshot!(life, @"d68381d3fcc12a001a27349626931d312bddc42c43bbf8eb6780730f2ec1ace2");
}

#[test]
fn the_digest_notices_every_change() {
    let digest = |text: &str| schedule(text, 7, "1/1").summary().digest;
    let life = life();
    for (from, to) in [
        ("users = 7", "users = 8"),
        ("every = '2s'", "every = '2.001s'"),
        ("p95 = 16000", "p95 = 16001"),
        ("online = '3s'", "online = '4s'"),
        ("how = 'abort'", "how = 'disconnect'"),
        ("stop = '1s'", "stop = '2s'"),
        ("load = [0, 2]", "load = [0, 1.9]"),
        ("lasts = '2s'", "lasts = '2.001s'"),
        ("pause = '1s'", "pause = '1.1s'"),
        ("online = '6s'", "online = '6.1s'"),
    ] {
        let changed = life.replace(from, to);
        assert_ne!(changed, life, "{from}");
        assert_ne!(digest(&changed), digest(&life), "{from}");
    }
}

#[test]
fn shards_are_exactly_the_whole() {
    let life = life();
    let whole = schedule(&life, 7, "1/1").summary();
    for of in [2, 4, 9] {
        let mut digest = Digest::default();
        let (mut accounts, mut emits, mut deliveries) = (0, 0, 0);
        for part in 1..=of {
            let shard = schedule(&life, 7, &format!("{part}/{of}")).summary();
            digest = digest.combined(shard.digest);
            accounts += shard.accounts;
            emits += shard.emits;
            deliveries += shard.deliveries;
        }
        assert_eq!(digest, whole.digest, "{of} shards");
        assert_eq!(
            (accounts, emits, deliveries),
            (whole.accounts, whole.emits, whole.deliveries)
        );
    }
}

#[test]
fn actions_are_in_order_and_only_those_who_are_there_act() {
    let schedule = schedule(&life(), 7, "1/1");
    let mut seen: HashMap<&str, u32> = HashMap::new();
    for account in schedule.accounts() {
        let mut open: HashMap<u32, bool> = HashMap::new();
        let mut last = 0;
        for action in schedule.actions(account) {
            assert!(action.at >= last && action.at < schedule.end_us());
            last = action.at;
            let here = open.get(&action.peer).copied().unwrap_or_default();
            let (name, expected) = match action.what {
                What::Connect => ("connect", false),
                What::Drop(_) => ("drop", true),
                What::StopReading => ("stop", true),
                What::ResumeReading => ("resume", true),
                What::FallSilent => ("silent", true),
                What::Emit(emit) => (emit.kind.name(), true),
                What::Leave => ("leave", true),
            };
            assert_eq!(here, expected, "{action:?}");
            *seen.entry(name).or_default() += 1;
            match action.what {
                What::Connect => drop(open.insert(action.peer, true)),
                What::Drop(_) | What::FallSilent | What::Leave => {
                    open.insert(action.peer, false);
                }
                _ => {}
            }
        }
    }
    for name in [
        "connect",
        "drop",
        "stop",
        "resume",
        "silent",
        "message",
        "session-alive",
        "update-state",
        "machine-update-state",
        "rpc-call",
        "session-end",
        "leave",
    ] {
        assert!(seen.contains_key(name), "{name} never happens: {seen:?}");
    }
}

/// The planned number of recipients against a naive count of who is there.
#[test]
fn recipients_are_those_that_the_rules_name() {
    let schedule = schedule(&life(), 7, "1/1");
    for account in schedule.accounts() {
        let mut here = vec![false; account.connections() as usize];
        for action in schedule.actions(account) {
            match action.what {
                What::Connect => here[action.peer as usize] = true,
                What::Drop(_) | What::FallSilent | What::Leave => {
                    here[action.peer as usize] = false;
                }
                What::Emit(emit) => {
                    let must = |peer: &u32| {
                        let Peer { role, subject } = account.peer(*peer);
                        let user = role == Role::User;
                        let concerned = |of| user || role == of && subject == emit.target;
                        match emit.kind.scope() {
                            Scope::Nobody => false,
                            Scope::Users => user,
                            Scope::Session => concerned(Role::Session),
                            Scope::SessionWithoutSender => {
                                concerned(Role::Session) && *peer != action.peer
                            }
                            Scope::Machine => concerned(Role::Machine),
                            Scope::Callee => *peer == emit.target,
                        }
                    };
                    let count = (0..account.connections())
                        .filter(|peer| here[*peer as usize] && must(peer))
                        .count();
                    assert_eq!(emit.recipients as usize, count, "{action:?}");
                }
                What::StopReading | What::ResumeReading => {}
            }
        }
    }
}

/// One account whose agents all take shifts and turns, and do nothing but say so; each agent with its
/// actions.
fn agents(text: &str) -> Vec<Vec<(u64, What)>> {
    let schedule = schedule(text, 7, "1/1");
    let account = schedule.accounts().next().unwrap();
    let mut agents = vec![Vec::new(); account.connections() as usize];
    for action in schedule.actions(account) {
        agents[action.peer as usize].push((action.at, action.what));
    }
    agents
}

const AGENTS: &str = "
description = ''
[population]
accounts = 1
sessions = 400
[connect]
ramp = '100ms'
[[phases]]
name = 'idle'
duration = '20s'
load = 0
[[phases]]
name = 'work'
duration = '60s'
";

/// Who ends says so in the order of real clients, all at one moment and nothing after it, and never
/// comes back; and about as many are there at any time once the first ones have ended.
#[test]
fn agents_end_for_good_and_say_so() {
    let text = format!("{AGENTS}{LIFE}")
        .replace("0.4", "1")
        .replace("0.9", "0");
    let herd = "[[herd]]\nat = '40s'\nfrom = ['session']\nback-after = '1s'";
    let agents = agents(&(text + herd));
    let mut ended = 0;
    let mut kept = 0;
    for actions in &agents {
        let Some((end, What::Leave)) = actions.last() else {
            kept += 1;
            continue;
        };
        ended += 1;
        let said: Vec<_> = actions
            .iter()
            .filter_map(|(at, what)| match what {
                What::Emit(emit) => Some((*at, emit.kind.name())),
                _ => None,
            })
            .collect();
        let farewell = ["update-metadata", "session-end", "ping"].map(|name| (*end, name));
        assert_eq!(said, farewell);
    }
    // Those who end after the run stay, and those who were to end while the herd was away are gone.
    assert!(ended > 250 && kept > 20, "{ended} ended, {kept} did not");
    let begins = agents.iter().filter_map(|actions| actions.first());
    let early = begins.filter(|(at, _)| *at < 40_000_000).count();
    assert!((170..230).contains(&early), "{early}");
}

/// Turns bring a heartbeat at each change, in step with the load, and all between them tell it.
#[test]
fn heartbeats_tell_who_is_in_a_turn() {
    let turns = LIFE.replace("0.4", "0").replace("0.9", "1");
    let beats = "[[traffic]]\nfrom = 'session'\nevent = 'session-alive'\nevery = '700ms'\n";
    let (mut changes, mut told) = (0, [0, 0]);
    for actions in agents(&format!("{AGENTS}{turns}")) {
        let mut last = None;
        for (at, what) in actions {
            let What::Emit(emit) = what else { continue };
            assert!(at >= 20_000_000, "a turn begins without load");
            assert_ne!(last, Some(emit.thinking), "two changes to the same");
            last = Some(emit.thinking);
            changes += 1;
        }
    }
    // Two in three seconds, of each of 400 for 60 seconds.
    assert!((15_000..17_000).contains(&changes), "{changes}");
    for actions in agents(&format!("{AGENTS}{turns}{beats}")) {
        let mut last = None;
        let mut early = [0, 0];
        for (_, what) in actions {
            let What::Emit(emit) = what else { continue };
            let is_change = emit.size == 0;
            if !is_change {
                told[usize::from(emit.thinking)] += 1;
                early[usize::from(emit.thinking)] += u32::from(last.is_none());
                assert!(last.is_none_or(|last| last == emit.thinking));
            } else if let Some(was) = last.replace(emit.thinking) {
                assert_ne!(was, emit.thinking);
            }
        }
        assert!(early[0] == 0 || early[1] == 0, "a change is not told");
    }
    // Two thirds of the time, from the beginning on.
    let share = told[1] * 100 / (told[0] + told[1]);
    assert!((62..72).contains(&share), "{told:?}");
}

#[test]
fn rates_follow_the_phases() {
    let text = "
description = ''
[population]
accounts = 50
sessions = 1000
[connect]
ramp = '100ms'
[[phases]]
name = 'idle'
duration = '2s'
load = 0
[[phases]]
name = 'up'
duration = '10s'
load = [0, 1]
[[phases]]
name = 'steady'
duration = '10s'
[[phases]]
name = 'double'
duration = '5s'
load = 2
[[traffic]]
from = 'session'
event = 'message'
every = '1s'
";
    let per_second = schedule(text, 1, "1/1").summary().emits_per_second;
    #[track_caller]
    fn near(found: u64, expected: u64) {
        assert!(
            found.abs_diff(expected) < expected / 7,
            "{found}, not about {expected}"
        );
    }
    assert_eq!(per_second.len(), 27);
    assert_eq!(per_second[..2], [0, 0]);
    near(per_second[6], 450);
    near(per_second[11], 950);
    near(per_second[12..22].iter().sum(), 10_000);
    near(per_second[22..].iter().sum(), 10_000);
}

#[test]
fn a_share_is_exact() {
    let text = EVERYTHING.replace("users = 7", "users = 400");
    let schedule = schedule(&text, 7, "1/1");
    let churning: u64 = schedule
        .accounts()
        .map(|account| {
            let drops = schedule.actions(account).filter(|action| {
                matches!(action.what, What::Drop(_)) && action.peer < account.users
            });
            let mut peers: Vec<u32> = drops.map(|action| action.peer).collect();
            peers.sort_unstable();
            peers.dedup();
            peers.len() as u64
        })
        .sum();
    // Half of them churn; a few of those stay longer than the run lasts.
    assert!((190..=200).contains(&churning), "{churning}");
}

#[test]
fn kinds_are_counted() {
    let summary = schedule(EVERYTHING, 7, "1/1").summary();
    assert_eq!(
        summary.kinds.iter().map(|kind| kind.emits).sum::<u64>(),
        summary.emits
    );
    assert_eq!(summary.emits_per_second.iter().sum::<u64>(), summary.emits);
    assert_eq!(
        summary.deliveries_per_second.iter().sum::<u64>(),
        summary.deliveries
    );
    assert_eq!(summary.connections, 26);
    assert!(
        summary
            .kinds
            .iter()
            .any(|kind| kind.kind == EventKind::RpcCall)
    );
}

#[test]
fn shards_are_written_and_read() {
    assert_eq!("3/10".parse::<Shard>().unwrap().to_string(), "3/10");
    for wrong in ["", "0/3", "4/3", "1", "1/0", "a/b", "1/2/3"] {
        assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
    }
}
