//! Lists that do not grow without end.

use super::*;
use crate::store::FeedItem;

/// A feed has one post about the same, and not more than its greatest number of them.
#[test]
fn feeds_forget_what_is_repeated_and_what_is_too_old() {
    let (mine, mut theirs) = (World::new(), World::new());
    theirs.rows.id = "other".to_owned();
    let post = |number: u64, repeat_key: &str| {
        Change::FeedPosted(FeedItem {
            id: number.to_string(),
            number,
            body: Value::Null,
            repeat_key: repeat_key.to_owned(),
            created_at: NOW,
        })
    };
    let forgotten = |theirs: &World| {
        let outcome = friends::add(&mine.context(), &theirs.context());
        let [_, effects] = outcome.effects;
        let gone = effects
            .changes
            .into_iter()
            .filter_map(|change| match change {
                Change::FeedForgotten(id) => Some(id),
                Change::FeedPosted(item) => Some(format!("posted {}", item.number)),
                _ => None,
            });
        gone.collect::<Vec<_>>()
    };
    theirs.rows.apply(post(1, "friend_request_"));
    for number in 2..=1_000 {
        theirs.rows.apply(post(number, &number.to_string()));
    }
    assert_eq!(forgotten(&theirs), ["1", "posted 1001"]);
    theirs.rows.apply(Change::FeedForgotten("1".to_owned()));
    theirs.rows.apply(post(1_001, "new"));
    assert_eq!(forgotten(&theirs), ["2", "posted 1002"]);
}

/// Terminals wait in the order in which they came, and the oldest makes room.
#[test]
fn pairings() {
    let mut world = World::new();
    let key = |number: u32| {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&number.to_le_bytes());
        key
    };
    for number in 0..10_000 {
        world.apply(pairing::request(&world.context(), key(number), true).effects);
    }
    let outcome = pairing::request(&world.context(), key(0), false);
    assert!(outcome.answer.supports_v2, "the first request stays");
    assert!(outcome.effects.changes.is_empty());

    let outcome = pairing::respond(&world.context(), key(0), "sealed", "me");
    assert!(outcome.answer);
    world.apply(outcome.effects);
    let again = pairing::respond(&world.context(), key(0), "other", "you");
    assert!(
        again.answer && again.effects.changes.is_empty(),
        "the first response stays"
    );
    let known = world
        .rows
        .pairings
        .get(&key(0))
        .and_then(|known| known.response.clone());
    assert_eq!(known, Some(("sealed".to_owned(), "me".to_owned())));

    world.apply(pairing::request(&world.context(), key(10_000), true).effects);
    assert!(!pairing::respond(&world.context(), key(0), "sealed", "me").answer);
    assert!(pairing::respond(&world.context(), key(1), "sealed", "me").answer);
}
