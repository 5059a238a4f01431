//! Friends and feed: what two accounts have with each other.
//!
//! The reference tells both sides of a changed relation by `relationship-updated`; real servers only
//! post to the other one's feed.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::check::{Fields, Kind};
use super::sessions::limit;
use super::{Answer, ApiError, Body, Caller};
use crate::app::App;
use crate::builders::{self, RelationshipStatus};
use crate::faults::Fault;
use crate::router::RecipientFilter;
use crate::store::{Account, AccountState, FeedItem, lock_both};

use RelationshipStatus::{Friend, None as Stranger, Pending, Requested};

/// What becomes of a relation: this side, the other side, how it is answered, and a post to the
/// other's feed.
struct Decision {
    mine: RelationshipStatus,
    theirs: RelationshipStatus,
    answer: RelationshipStatus,
    news: Option<&'static str>,
}

/// `POST /v1/friends/add`: asks, or accepts what the other one asked.
pub(super) async fn add(
    State(app): State<Arc<App>>,
    Caller(account): Caller,
    Body(body): Body,
) -> Answer {
    let at_once = app.faults().on(Fault::FriendsAtOnce);
    relate(&app, &account, &body, |now| match now {
        Pending => Decision {
            mine: Friend,
            theirs: Friend,
            answer: Friend,
            news: Some("friend_accepted"),
        },
        Friend => Decision {
            mine: Friend,
            theirs: Friend,
            answer: Friend,
            news: None,
        },
        _ => {
            let news = (now != Requested).then_some("friend_request");
            let (mine, theirs) = match at_once {
                true => (Friend, Friend),
                false => (Requested, Pending),
            };
            Decision {
                mine,
                theirs,
                answer: mine,
                news,
            }
        }
    })
}

/// `POST /v1/friends/remove`: a dissolved friendship falls back to a request of the other one, which
/// is what the answer names; anything else is undone.
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    Caller(account): Caller,
    Body(body): Body,
) -> Answer {
    relate(&app, &account, &body, |now| match now {
        Friend => Decision {
            mine: Pending,
            theirs: Requested,
            answer: Requested,
            news: None,
        },
        _ => Decision {
            mine: Stranger,
            theirs: Stranger,
            answer: Stranger,
            news: None,
        },
    })
}

fn relate(
    app: &App,
    account: &Account,
    body: &Value,
    decide: impl Fn(RelationshipStatus) -> Decision,
) -> Answer {
    let uid = Fields::check(body, &[("uid", Kind::Text)])?.text("uid");
    let Some(other) = app
        .store
        .account(uid)
        .filter(|other| other.id() != account.id())
    else {
        return Ok(Json(json!({ "user": null })));
    };
    let (mut mine, mut theirs) = lock_both(account, &other);
    let decision = decide(status(&mine, other.id()));
    set(app, account, &mut mine, other.id(), decision.mine);
    set(app, &other, &mut theirs, account.id(), decision.theirs);
    if let Some(kind) = decision.news {
        let post = json!({ "kind": kind, "uid": account.id() });
        let FeedItem {
            id,
            body,
            cursor,
            created_at,
            ..
        } = theirs
            .post_to_feed(post, format!("{kind}_{}", account.id()))
            .clone();
        app.update(
            &other,
            &mut theirs,
            RecipientFilter::UserScopedOnly,
            None,
            |stamp| builders::new_feed_post(&id, &body, &cursor, created_at, stamp),
        );
    }
    Ok(Json(
        json!({ "user": profile(other.id(), decision.answer) }),
    ))
}

fn status(state: &AccountState, uid: &str) -> RelationshipStatus {
    state.relations.get(uid).copied().unwrap_or(Stranger)
}

/// Sets one side of a relation, and announces it if it changed.
fn set(app: &App, account: &Account, state: &mut AccountState, uid: &str, now: RelationshipStatus) {
    if status(state, uid) == now {
        return;
    }
    state.relations.insert(uid.to_owned(), now);
    let timestamp = app.now();
    app.update(
        account,
        state,
        RecipientFilter::UserScopedOnly,
        None,
        |stamp| builders::relationship_updated(uid, now, timestamp, stamp),
    );
}

/// `GET /v1/friends`: everybody with whom there is something.
pub(super) async fn list(Caller(account): Caller) -> Answer {
    let state = account.lock();
    let friends: Vec<Value> = state
        .relations
        .iter()
        .filter(|(_, status)| **status != Stranger)
        .map(|(uid, status)| profile(uid, *status))
        .collect();
    Ok(Json(json!({ "friends": friends })))
}

/// `GET /v1/user/:id`.
pub(super) async fn user(
    State(app): State<Arc<App>>,
    Caller(account): Caller,
    Path(id): Path<String>,
) -> Answer {
    let other = app
        .store
        .account(&id)
        .ok_or_else(|| ApiError::not_found("User not found"))?;
    let status = status(&account.lock(), other.id());
    Ok(Json(json!({ "user": profile(other.id(), status) })))
}

#[derive(Deserialize)]
pub(super) struct FeedQuery {
    before: Option<String>,
    limit: Option<String>,
}

/// `GET /v1/feed`: newest first; `before` names the cursor of the last post seen.
pub(super) async fn feed(Caller(account): Caller, Query(query): Query<FeedQuery>) -> Answer {
    let limit = limit(query.limit.as_deref(), 50, 200)?;
    let state = account.lock();
    let seen = query.before.map_or(0, |cursor| {
        let place = state.feed.iter().position(|item| item.cursor == cursor);
        place.map_or(state.feed.len(), |place| place + 1)
    });
    let rest = &state.feed[seen..];
    let items: Vec<Value> = rest
        .iter()
        .take(limit)
        .map(|item| {
            json!({
                "id": item.id,
                "body": item.body,
                "repeatKey": item.repeat_key,
                "cursor": item.cursor,
                "createdAt": item.created_at,
            })
        })
        .collect();
    Ok(Json(
        json!({ "items": items, "hasMore": rest.len() > limit }),
    ))
}

fn profile(id: &str, status: RelationshipStatus) -> Value {
    json!({
        "id": id,
        "firstName": "",
        "lastName": null,
        "avatar": null,
        "username": "",
        "bio": null,
        "status": status,
    })
}
