//! Plans from seeds: strategies of `proptest`, whose value trees make a plan smaller again.

use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::subsequence,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use crate::plan::{
    ACCOUNTS, Act, Actor, Callee, Expect, Foreign, MACHINES, Part, Plan, SESSIONS, SPARE, Scope,
    Step, Text, Wire,
};
use crate::values::{LOCALS, METHODS, ODD, USAGES, VALUES};

/// How many connections a plan may have besides the observers.
const CAST: u8 = 8;

/// A plan, with the ways in which it can be made smaller.
pub(crate) type Tree = Box<dyn ValueTree<Value = Plan>>;

/// The plan of a seed.
pub(crate) fn tree(seed: u64) -> Tree {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let tree = plans().new_tree(&mut runner);
    // None of the strategies rejects anything.
    tree.unwrap_or_else(|reason| unreachable!("{reason}"))
}

/// What most steps of a plan are about. Where everything happens a little, hardly anything meets.
#[derive(Debug, Clone, Copy)]
enum Theme {
    Mixed,
    Messages,
    Values,
    Presence,
    Rows,
    Calls,
    /// Who has which method.
    Methods,
    Requests,
    Connections,
    /// So many messages or changes that what is rare happens.
    Crowd,
}

/// The phases come first: they are the first to be made smaller.
fn plans() -> BoxedStrategy<Plan> {
    let theme = prop_oneof![
        4 => Just(Theme::Mixed),
        2 => Just(Theme::Messages),
        2 => Just(Theme::Values),
        1 => Just(Theme::Presence),
        4 => Just(Theme::Rows),
        3 => Just(Theme::Calls),
        3 => Just(Theme::Methods),
        4 => Just(Theme::Requests),
        2 => Just(Theme::Connections),
        1 => Just(Theme::Crowd),
    ];
    let plan = |(phases, cast)| Plan { cast, phases };
    let plans = move |theme| (phases(theme), cast(theme)).prop_map(plan);
    theme.no_shrink().prop_flat_map(plans).boxed()
}

/// How many connections there may be besides the observers: methods and rows change hands among few.
fn people(theme: Theme) -> u8 {
    match theme {
        Theme::Methods | Theme::Rows | Theme::Requests => 4,
        _ => CAST,
    }
}

fn cast(theme: Theme) -> impl Strategy<Value = Vec<Actor>> {
    let actor = (
        0..ACCOUNTS + 1,
        prop_oneof![
            3 => Just(Scope::User),
            1 => Just(Scope::Surplus),
            1 => Just(Scope::Foreign),
            1 => Just(Scope::ForeignSession),
            3 => (0..SESSIONS).prop_map(Scope::Session),
            2 => (0..MACHINES).prop_map(Scope::Machine),
        ],
        prop_oneof![
            6 => Just(Wire::WebSocket),
            1 => Just(Wire::Polling),
            1 => Just(Wire::Upgrade),
        ],
    );
    let all = vec(actor.no_shrink(), usize::from(people(theme))).no_shrink();
    let actors = all.prop_map(|all| {
        let numbered = (ACCOUNTS..).zip(all);
        let actor = |(id, (account, scope, wire)): (u8, (u8, Scope, Wire))| Actor {
            id,
            // Most of them are of the first account: connections of one account meet.
            account: account.saturating_sub(1),
            scope,
            wire,
        };
        numbered.map(actor).collect::<Vec<_>>()
    });
    actors.prop_flat_map(move |actors| {
        let how_many = match theme {
            Theme::Crowd => 1..=3,
            _ => 3..=actors.len(),
        };
        subsequence(actors, how_many)
    })
}

fn phases(theme: Theme) -> BoxedStrategy<Vec<Vec<Step>>> {
    match theme {
        // They come at the same time, and are enough for one account.
        Theme::Crowd => vec(vec(crowded(), 1..4), 1..2).boxed(),
        // Who has not registered anything is not called.
        Theme::Calls | Theme::Methods => (
            vec(registered(theme), 1..4),
            vec(vec(step(theme), 1..8), 1..7),
        )
            .prop_map(|(first, rest)| [vec![first], rest].concat())
            .boxed(),
        // What happens to rows takes several acts with the same one.
        Theme::Rows | Theme::Requests => vec(vec(step(theme), 4..16), 3..9).boxed(),
        theme => vec(vec(step(theme), 1..8), 1..8).boxed(),
    }
}

fn step(theme: Theme) -> BoxedStrategy<Step> {
    let themed = match theme {
        Theme::Messages => messages(),
        Theme::Values => versioned(),
        Theme::Presence => presence(),
        Theme::Rows => prop_oneof![4 => rows(), 1 => presence()].boxed(),
        Theme::Calls => calls(),
        Theme::Methods => methods(),
        Theme::Requests => requests(),
        Theme::Connections => connections(),
        Theme::Mixed | Theme::Crowd => act(),
    };
    let times = match theme {
        // An answer is mistaken for another one only where many are under way.
        Theme::Calls => times([60, 20, 20, 1]),
        _ => times([200, 30, 10, 1]),
    };
    let actor = || 0..ACCOUNTS + people(theme);
    let themed_weight = match theme {
        Theme::Rows | Theme::Requests => 20,
        _ => 4,
    };
    let what = prop_oneof![
        2 => (actor(), act()),
        themed_weight => (actor(), themed),
        // One kind of act by many: races and crowds.
        1 => (actor(), raced()),
    ];
    (what.no_shrink(), times)
        .prop_map(|((actor, act), times)| Step { actor, act, times })
        .boxed()
}

fn registered(theme: Theme) -> impl Strategy<Value = Step> {
    let what = prop_oneof![
        3 => (0_u8..2).prop_map(|method| Act::Register { method }),
        1 => Just(Act::RegisterAll),
    ];
    let what = (0..ACCOUNTS + people(theme), what);
    what.no_shrink().prop_map(|(actor, act)| Step {
        actor,
        act,
        times: 1,
    })
}

fn raced() -> BoxedStrategy<Act> {
    prop_oneof![
        Just(Act::WriteSession {
            session: 0,
            part: Part::First,
            expect: Expect::Current,
            text: Text::Plain,
        }),
        Just(Act::Message {
            session: 0,
            local: None,
            differs: false,
            text: Text::Plain,
        }),
    ]
    .boxed()
}

fn crowded() -> impl Strategy<Value = Step> {
    let what = (0..ACCOUNTS, prop_oneof![3 => messages(), 1 => raced()]);
    let times = 400_u16..1500;
    (what.no_shrink(), times).prop_map(|((actor, act), times)| Step { actor, act, times })
}

/// How often, by the weights of once, some times, many times, and very many times.
fn times([once, some, many, crowd]: [u32; 4]) -> impl Strategy<Value = u16> {
    prop_oneof![
        once => Just(1_u16),
        some => 2_u16..8,
        many => 8_u16..60,
        crowd => 60_u16..400,
    ]
}

fn text() -> impl Strategy<Value = Text> {
    prop_oneof![8 => Just(Text::Plain), 1 => (0..ODD).prop_map(Text::Odd)]
}

fn expect() -> impl Strategy<Value = Expect> {
    prop_oneof![
        8 => Just(Expect::Current),
        2 => Just(Expect::Stale),
        1 => Just(Expect::Future),
        1 => Just(Expect::Wide),
    ]
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![Just(Part::First), Just(Part::Second)]
}

fn callee() -> impl Strategy<Value = Callee> {
    prop_oneof![
        40 => Just(Callee::Echo),
        40 => (0..VALUES).prop_map(Callee::Value),
        20 => Just(Callee::Slow),
        3 => Just(Callee::Late),
        4 => Just(Callee::Empty),
        2 => Just(Callee::Dies),
        1 => Just(Callee::Silent),
    ]
}

fn act() -> BoxedStrategy<Act> {
    prop_oneof![
        6 => messages(),
        8 => versioned(),
        5 => presence(),
        4 => rows(),
        8 => calls(),
        5 => requests(),
        2 => connections(),
    ]
    .boxed()
}

fn messages() -> BoxedStrategy<Act> {
    let local = option::weighted(0.5, 0..LOCALS);
    (0..SESSIONS, local, any::<bool>(), text())
        .prop_map(|(session, local, differs, text)| Act::Message {
            session,
            local,
            differs,
            text,
        })
        .boxed()
}

fn versioned() -> BoxedStrategy<Act> {
    prop_oneof![
        4 => (0..SESSIONS, part(), expect(), text()).prop_map(|(session, part, expect, text)| {
            Act::WriteSession { session, part, expect, text }
        }),
        3 => (0..MACHINES, part(), expect(), text()).prop_map(|(machine, part, expect, text)| {
            Act::WriteMachine { machine, part, expect, text }
        }),
        1 => (0..SESSIONS).prop_map(|session| Act::ClearState { session }),
        1 => foreign().prop_map(Act::Foreign),
    ]
    .boxed()
}

fn foreign() -> impl Strategy<Value = Foreign> {
    prop_oneof![
        part().prop_map(Foreign::Session),
        part().prop_map(Foreign::Machine),
        Just(Foreign::AccessKey),
        Just(Foreign::MakeAccessKey),
        Just(Foreign::Usage),
        Just(Foreign::TakeMachine),
        Just(Foreign::TakeArtifact),
    ]
}

fn presence() -> BoxedStrategy<Act> {
    prop_oneof![
        2 => (0..SESSIONS, option::of(any::<bool>()))
            .prop_map(|(session, thinking)| Act::SessionAlive { session, thinking }),
        1 => (0..SESSIONS).prop_map(|session| Act::SessionEnd { session }),
        1 => (0..MACHINES).prop_map(|machine| Act::MachineAlive { machine }),
        1 => Just(Act::Ping),
        1 => (option::of(0..SESSIONS), mostly_first(USAGES)).prop_map(|(session, key)| Act::Usage { session, key }),
    ]
    .boxed()
}

/// Mostly the first of several: what everybody does with others never meets.
fn mostly_first(count: u8) -> impl Strategy<Value = u8> {
    prop_oneof![4 => Just(0), 1 => 0..count]
}

fn rows() -> BoxedStrategy<Act> {
    prop_oneof![
        1 => (mostly_first(SESSIONS), mostly_first(MACHINES))
            .prop_map(|(session, machine)| Act::AccessKey { session, machine }),
        3 => foreign().prop_map(Act::Foreign),
        4 => mostly_first(3).prop_map(|artifact| Act::ArtifactCreate { artifact }),
        4 => mostly_first(3).prop_map(|artifact| Act::ArtifactRead { artifact }),
        4 => (mostly_first(3), option::of(expect()), option::of(expect()))
            .prop_map(|(artifact, header, body)| Act::ArtifactUpdate { artifact, header, body }),
        1 => mostly_first(3).prop_map(|artifact| Act::ArtifactDelete { artifact }),
    ]
    .boxed()
}

fn calls() -> BoxedStrategy<Act> {
    // The first methods are met more often than the odd ones.
    let method = || prop_oneof![4 => 0_u8..2, 1 => 0..METHODS];
    prop_oneof![
        4 => method().prop_map(|method| Act::Register { method }),
        1 => method().prop_map(|method| Act::Unregister { method }),
        12 => (method(), callee(), 0..VALUES)
            .prop_map(|(method, callee, value)| Act::Call { method, callee, value }),
    ]
    .boxed()
}

fn methods() -> BoxedStrategy<Act> {
    let callee =
        prop_oneof![14 => Just(Callee::Echo), 1 => Just(Callee::Late), 1 => Just(Callee::Silent)];
    prop_oneof![
        4 => (0_u8..2).prop_map(|method| Act::Register { method }),
        1 => Just(Act::RegisterAll),
        5 => (0_u8..2).prop_map(|method| Act::Unregister { method }),
        3 => Just(Act::Leave),
        3 => Just(Act::Return),
        4 => (0_u8..2, callee)
            .prop_map(|(method, callee)| Act::Call { method, callee, value: 2 }),
    ]
    .boxed()
}

fn requests() -> BoxedStrategy<Act> {
    prop_oneof![
        3 => mostly_first(2).prop_map(|tag| Act::PostSession { tag }),
        1 => mostly_first(2).prop_map(|tag| Act::DeleteSession { tag }),
        1 => (0..SESSIONS).prop_map(|session| Act::ArchiveSession { session }),
        2 => (0..SESSIONS, option::of(0..LOCALS))
            .prop_map(|(session, local)| Act::PostMessages { session, local }),
        1 => (0..MACHINES + SPARE).prop_map(|machine| Act::PostMachine { machine }),
        1 => mostly_first(3).prop_map(|artifact| Act::PostArtifact { artifact }),
        1 => (mostly_first(3), expect()).prop_map(|(artifact, expect)| Act::ChangeArtifact { artifact, expect }),
        1 => mostly_first(3).prop_map(|artifact| Act::RemoveArtifact { artifact }),
        2 => (mostly_first(SESSIONS), mostly_first(MACHINES))
            .prop_map(|(session, machine)| Act::PostAccessKey { session, machine }),
        2 => (mostly_first(SESSIONS), mostly_first(MACHINES), expect())
            .prop_map(|(session, machine, expect)| Act::PutAccessKey { session, machine, expect }),
        2 => (mostly_first(3), expect(), any::<bool>())
            .prop_map(|(key, expect, other)| Act::WriteKv { key, expect, other }),
        2 => expect().prop_map(|expect| Act::WriteSettings { expect }),
    ]
    .boxed()
}

fn connections() -> BoxedStrategy<Act> {
    prop_oneof![
        2 => Just(Act::Drop),
        2 => Just(Act::Leave),
        1 => Just(Act::HalfClose),
        1 => Just(Act::StopReading),
        4 => Just(Act::Return),
    ]
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_has_one_plan() {
        for seed in 0..50 {
            assert_eq!(tree(seed).current(), tree(seed).current());
        }
        assert_ne!(tree(1).current(), tree(2).current());
    }

    #[test]
    fn a_plan_becomes_smaller() {
        let mut tree = tree(7);
        let before = tree.current().effective().len();
        while tree.simplify() {}
        let after = tree.current().effective();
        assert!(after.len() < before.max(4), "{before} {after:?}");
    }
}
