//! The messages of a session, by HTTP: the same rows as those of the socket's `message`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::check::{Fields, Kind};
use super::sessions::limit;
use super::{Answer, ApiError, Body, Caller};
use crate::app::App;
use crate::builders::MessageRow;
use crate::connection::Connection;
use crate::faults::Fault;
use crate::handlers::session::post_message;
use crate::router::{Routed as _, Scope};
use crate::store::{Account, Posted};

/// Messages that the list without cursor shows.
const LATEST: usize = 150;
/// Messages that one POST may carry.
const BATCH: usize = 100;

/// `GET /v1/sessions/:id/messages`: the latest, newest first.
pub(super) async fn latest(
    State(app): State<Arc<App>>,
    Caller(account): Caller,
    Path(id): Path<String>,
) -> Answer {
    let mut messages = messages(&owner_of(&app, account, &id), &id)?;
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
    State(app): State<Arc<App>>,
    Caller(account): Caller,
    Path(id): Path<String>,
    Query(query): Query<PageQuery>,
) -> Answer {
    let limit = limit(query.limit.as_deref(), 100, 500)?;
    let mut messages = messages(&owner_of(&app, account, &id), &id)?;
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
    State(app): State<Arc<App>>,
    Caller(account): Caller,
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
    let account = owner_of(&app, account, &id);
    let mut state = account.lock();
    if !state.sessions.contains_key(&id) {
        return Err(ApiError::not_found("Session not found"));
    }
    if app.faults().on(Fault::PostAnswersEarly) {
        drop(state);
        return Ok(Json(answered_early(&app, &account, id, &batch)));
    }
    let is_skipped = |other: &&Arc<Connection>| {
        app.faults().on(Fault::PostSkipsUser) && *other.scope() == Scope::User
    };
    let skipped = state.registry.iter().find(is_skipped).map(|user| user.id());
    let mut places = Vec::new();
    for message in batch {
        let (text, local_id) = (message.text("content"), message.owned("localId"));
        match post_message(&app, &account, &mut state, &id, text, local_id, skipped) {
            Some(Posted::New(place) | Posted::Known(place)) if !places.contains(&place) => {
                places.push(place);
            }
            _ => {}
        }
    }
    let stored = &state.sessions[&id].messages;
    let answer: Vec<Value> = places
        .iter()
        .map(|&place| receipt(&stored[place]))
        .collect();
    Ok(Json(json!({ "messages": answer })))
}

/// How long a batch waits that has been answered already.
const LATE: Duration = Duration::from_millis(50);

/// Answers the seqs that a batch will have, and stores it later.
fn answered_early(
    app: &Arc<App>,
    account: &Arc<Account>,
    id: String,
    batch: &[Fields<'_>],
) -> Value {
    let first = account.lock().sessions[&id].messages.len() + 1;
    let seqs: Vec<Value> = (first..first + batch.len())
        .map(|seq| json!({ "seq": seq }))
        .collect();
    let batch: Vec<_> = batch
        .iter()
        .map(|message| (message.text("content").to_owned(), message.owned("localId")))
        .collect();
    let (app, account) = (Arc::clone(app), Arc::clone(account));
    tokio::spawn(async move {
        tokio::time::sleep(LATE).await;
        let mut state = account.lock();
        for (text, local_id) in batch {
            post_message(&app, &account, &mut state, &id, &text, local_id, None);
        }
    });
    json!({ "messages": seqs })
}

/// The account whose session is meant: the caller's, but for the fault that does not ask.
fn owner_of(app: &App, account: Arc<Account>, id: &str) -> Arc<Account> {
    if !app.faults().on(Fault::MessagesForeign) {
        return account;
    }
    let owner = app
        .store
        .account_with(|rows| rows.sessions.contains_key(id));
    owner.unwrap_or(account)
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

fn messages(account: &Account, id: &str) -> Result<Vec<MessageRow>, ApiError> {
    let state = account.lock();
    let session = state
        .sessions
        .get(id)
        .ok_or_else(|| ApiError::not_found("Session not found"))?;
    Ok(session.messages.clone())
}

fn cursor(text: Option<&str>, name: &str) -> Result<Option<u64>, ApiError> {
    text.map(|text| {
        text.parse()
            .map_err(|_| ApiError::invalid(&format!("querystring/{name} Expected number")))
    })
    .transpose()
}
