//! `POST /v1/friends/add` and `/remove`: what two accounts have with each other.
//!
//! The reference tells both sides of a changed relation by `relationship-updated`; real servers only
//! post to the other one's feed.

use serde_json::json;

use super::{Context, Outcome};
use crate::announce::{Event, Update};
use crate::builders::RelationshipStatus;
use crate::router::RecipientFilter;
use crate::seams::Effects;
use crate::store::{Change, FeedItem};

/// Posts that a feed has; older ones are forgotten.
const MAX_FEED: usize = 1_000;

use RelationshipStatus::{Friend, None as Stranger, Pending, Requested};

/// What becomes of both accounts, and the status that is answered.
pub(crate) type Related = Outcome<RelationshipStatus, [Effects; 2]>;

/// Asks, or accepts what the other one asked.
pub(crate) fn add(mine: &Context<'_>, theirs: &Context<'_>) -> Related {
    match mine.rows.relation(&theirs.rows.id) {
        Pending => relate(
            [mine, theirs],
            [Friend, Friend],
            Friend,
            Some("friend_accepted"),
        ),
        Friend => relate([mine, theirs], [Friend, Friend], Friend, None),
        Requested => relate([mine, theirs], [Requested, Pending], Requested, None),
        _ => relate(
            [mine, theirs],
            [Requested, Pending],
            Requested,
            Some("friend_request"),
        ),
    }
}

/// A dissolved friendship falls back to a request of the other one, which is what the answer names;
/// anything else is undone.
pub(crate) fn remove(mine: &Context<'_>, theirs: &Context<'_>) -> Related {
    match mine.rows.relation(&theirs.rows.id) {
        Friend => relate([mine, theirs], [Pending, Requested], Requested, None),
        _ => relate([mine, theirs], [Stranger, Stranger], Stranger, None),
    }
}

fn relate(
    [mine, theirs]: [&Context<'_>; 2],
    [my_status, their_status]: [RelationshipStatus; 2],
    answer: RelationshipStatus,
    news: Option<&str>,
) -> Related {
    let my_side = side(mine, &theirs.rows.id, my_status);
    let mut their_side = side(theirs, &mine.rows.id, their_status);
    if let Some(kind) = news {
        let uid = &mine.rows.id;
        let feed = &theirs.rows.feed;
        let item = FeedItem {
            id: theirs.new_id(),
            number: feed.first().map_or(0, |latest| latest.number) + 1,
            body: json!({ "kind": kind, "uid": uid }),
            repeat_key: format!("{kind}_{uid}"),
            created_at: theirs.now,
        };
        let (repeated, others): (Vec<_>, Vec<_>) = feed
            .iter()
            .partition(|known| known.repeat_key == item.repeat_key);
        for gone in repeated
            .into_iter()
            .chain(others.into_iter().skip(MAX_FEED - 1))
        {
            their_side = their_side.change(Change::FeedForgotten(gone.id.clone()));
        }
        let told = Update::NewFeedPost {
            id: item.id.clone(),
            body: item.body.clone(),
            cursor: item.cursor(),
            created_at: item.created_at,
        };
        their_side = their_side
            .change(Change::FeedPosted(item))
            .event(Event::update(told, RecipientFilter::UserScopedOnly));
    }
    Outcome {
        effects: [my_side.effects, their_side.effects],
        answer,
    }
}

/// One side of a relation, which is announced if it changed.
fn side(cx: &Context<'_>, uid: &str, status: RelationshipStatus) -> Outcome<()> {
    if cx.rows.relation(uid) == status {
        return Outcome::of(());
    }
    let told = Update::RelationshipUpdated {
        uid: uid.to_owned(),
        status,
        timestamp: cx.now,
    };
    Outcome::of(())
        .change(Change::Related(uid.to_owned(), status))
        .event(Event::update(told, RecipientFilter::UserScopedOnly))
}
