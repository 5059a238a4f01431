//! Friends and feed: what two accounts have with each other.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query};
use serde::Deserialize;
use serde_json::{Value, json};

use super::check::{Fields, Kind};
use super::sessions::limit;
use super::{Answer, ApiError, Body, Caller};
use crate::app::App;
use crate::builders::RelationshipStatus;
use crate::decide::{Context, friends as decide};
use crate::store::{Account, FeedItem};

/// `POST /v1/friends/add`: asks, or accepts what the other one asked.
pub(super) async fn add(Caller { app, account }: Caller, Body(body): Body) -> Answer {
    relate(&app, &account, "friends-add", &body, decide::add).await
}

/// `POST /v1/friends/remove`.
pub(super) async fn remove(Caller { app, account }: Caller, Body(body): Body) -> Answer {
    relate(&app, &account, "friends-remove", &body, decide::remove).await
}

async fn relate(
    app: &Arc<App>,
    account: &Arc<Account>,
    name: &str,
    body: &Value,
    decide: fn(&Context<'_>, &Context<'_>) -> decide::Related,
) -> Answer {
    let uid = Fields::check(body, &[("uid", Kind::Text)])?.text("uid");
    let other = app.store.account(uid);
    let Some(other) = other.filter(|other| other.id() != account.id()) else {
        return Ok(Json(json!({ "user": null })));
    };
    let (status, receipts) = app.commit_both([account, &other], name, body, decide);
    for receipt in receipts {
        receipt.wait().await;
    }
    Ok(Json(json!({ "user": profile(other.id(), status) })))
}

/// `GET /v1/friends`: everybody with whom there is something.
pub(super) async fn list(Caller { app, account }: Caller) -> Answer {
    let friends: Vec<Value> = app
        .read(&account, |cx| {
            let known = cx.rows.relations.iter();
            let known = known.filter(|(_, status)| **status != RelationshipStatus::None);
            known.map(|(uid, status)| profile(uid, *status)).collect()
        })
        .await;
    Ok(Json(json!({ "friends": friends })))
}

/// `GET /v1/user/:id`.
pub(super) async fn user(Caller { app, account }: Caller, Path(id): Path<String>) -> Answer {
    let other = app
        .store
        .account(&id)
        .ok_or_else(|| ApiError::not_found("User not found"))?;
    let status = app.read(&account, |cx| cx.rows.relation(other.id())).await;
    Ok(Json(json!({ "user": profile(other.id(), status) })))
}

#[derive(Deserialize)]
pub(super) struct FeedQuery {
    before: Option<String>,
    limit: Option<String>,
}

/// `GET /v1/feed`: newest first; `before` names the cursor of the last post seen.
pub(super) async fn feed(
    Caller { app, account }: Caller,
    Query(query): Query<FeedQuery>,
) -> Answer {
    let limit = limit(query.limit.as_deref(), 50, 200)?;
    let (items, has_more) = app
        .read(&account, |cx| {
            let feed = &cx.rows.feed;
            let seen = query.before.map_or(0, |cursor| {
                let place = feed.iter().position(|item| item.cursor() == cursor);
                place.map_or(feed.len(), |place| place + 1)
            });
            let rest = &feed[seen..];
            let items: Vec<Value> = rest.iter().take(limit).map(shown).collect();
            (items, rest.len() > limit)
        })
        .await;
    Ok(Json(json!({ "items": items, "hasMore": has_more })))
}

fn shown(item: &FeedItem) -> Value {
    json!({
        "id": item.id,
        "body": item.body,
        "repeatKey": item.repeat_key,
        "cursor": item.cursor(),
        "createdAt": item.created_at,
    })
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
