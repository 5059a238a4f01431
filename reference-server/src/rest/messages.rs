//! The messages of a session, by HTTP: the same rows as those of the socket's `message`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query};
use serde::Deserialize;
use serde_json::{Value, json};

use super::check::{Fields, Kind};
use super::sessions::limit;
use super::{Answer, ApiError, Body, Caller};
use crate::app::App;
use crate::builders::MessageRow;
use crate::decide::message::{self, Post};
use crate::store::Account;

/// Messages that the list without cursor shows.
const LATEST: usize = 150;
/// Messages that one POST may carry.
const BATCH: usize = 100;

/// `GET /v1/sessions/:id/messages`: the latest, newest first.
pub(super) async fn latest(Caller { app, account }: Caller, Path(id): Path<String>) -> Answer {
    let mut messages = messages(&app, &account, &id).await?;
    messages.reverse();
    messages.truncate(LATEST);
    Ok(Json(json!({ "messages": messages })))
}

#[derive(Deserialize)]
pub(super) struct PageQuery {
    after_seq: Option<String>,
    before_seq: Option<String>,
    limit: Option<String>,
}

/// `GET /v3/sessions/:id/messages`: a page in ascending order: those after `after_seq` (0 if there is
/// no cursor), or the last ones before `before_seq`. `hasMore` tells whether there are others further
/// on in that direction.
pub(super) async fn page(
    Caller { app, account }: Caller,
    Path(id): Path<String>,
    Query(query): Query<PageQuery>,
) -> Answer {
    let limit = limit(query.limit.as_deref(), 100, 500)?;
    let mut messages = messages(&app, &account, &id).await?;
    let has_more;
    if let Some(before) = cursor(query.before_seq.as_deref(), "before_seq")? {
        messages.retain(|message| message.seq < before);
        has_more = messages.len() > limit;
        messages.drain(..messages.len().saturating_sub(limit));
    } else {
        let after = cursor(query.after_seq.as_deref(), "after_seq")?.unwrap_or(0);
        messages.retain(|message| message.seq > after);
        has_more = messages.len() > limit;
        messages.truncate(limit);
    }
    Ok(Json(json!({ "messages": messages, "hasMore": has_more })))
}

/// `POST /v3/sessions/:id/messages`: stores a batch and answers where each message is. Everybody
/// interested has been sent each of them by then, the poster's own connections included.
pub(super) async fn post(
    Caller { app, account }: Caller,
    Path(id): Path<String>,
    Body(body): Body,
) -> Answer {
    let batch = Fields::check(&body, &[("messages", Kind::List)])?.list("messages");
    if batch.is_empty() || batch.len() > BATCH {
        return Err(ApiError::invalid(&format!(
            "body/messages Expected 1 to {BATCH} elements"
        )));
    }
    let batch = batch
        .iter()
        .enumerate()
        .map(|(index, message)| {
            let path = format!("body/messages/{index}");
            let kinds = [("content", Kind::Text), ("localId", Kind::OptionalText)];
            Fields::check_at(&path, message, &kinds)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let posts = batch.iter().map(|message| Post {
        text: message.text("content"),
        local_id: message.owned("localId"),
    });
    let posts = posts.collect();
    let rows = app
        .decide(&account, "message-post", &body, |cx| {
            message::decide(cx, &id, posts, None)
        })
        .await
        .ok_or_else(|| ApiError::not_found("Session not found"))?;
    let receipts: Vec<Value> = rows.iter().map(receipt).collect();
    Ok(Json(json!({ "messages": receipts })))
}

/// A message without its content, which the poster knows.
fn receipt(message: &MessageRow) -> Value {
    json!({
        "id": message.id,
        "seq": message.seq,
        "localId": message.local_id,
        "createdAt": message.created_at,
        "updatedAt": message.updated_at,
    })
}

async fn messages(
    app: &Arc<App>,
    account: &Arc<Account>,
    id: &str,
) -> Result<Vec<MessageRow>, ApiError> {
    app.read(account, |cx| {
        let session = cx.rows.sessions.get(id);
        session.map(|session| session.messages.clone())
    })
    .await
    .ok_or_else(|| ApiError::not_found("Session not found"))
}

fn cursor(text: Option<&str>, name: &str) -> Result<Option<u64>, ApiError> {
    text.map(|text| {
        text.parse()
            .map_err(|_| ApiError::invalid(&format!("querystring/{name} Expected number")))
    })
    .transpose()
}
