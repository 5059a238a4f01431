//! Sessions: created by tag, listed, archived, deleted.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::check::{Fields, Kind};
use super::{Answer, ApiError, Body, Caller, newest_first};
use crate::app::App;
use crate::builders::{self, SessionRow};
use crate::faults::Fault;
use crate::handlers::session::end_session;
use crate::router::RecipientFilter;
use crate::store::{Account, Session};

/// Sessions that a list without pages shows.
const LIST: usize = 150;
/// How recently a session must have been active to be in the list of active ones.
const ACTIVE_WITHIN_MS: i64 = 15 * 60 * 1000;
const CURSOR: &str = "cursor_v1_";

/// `POST /v1/sessions`: the session of a tag, made and announced at first sight. All in one lock, so
/// that parallel requests make one session and one event.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    Caller(account): Caller,
    Body(body): Body,
) -> Answer {
    let fields = Fields::check(
        &body,
        &[
            ("tag", Kind::Text),
            ("metadata", Kind::Text),
            ("agentState", Kind::OptionalText),
            ("dataEncryptionKey", Kind::OptionalText),
        ],
    )?;
    let tag = fields.text("tag");
    let owner = app.faults().owner(Fault::TagsShared, tag, account.id());
    if let Some(other) = owner.filter(|owner| owner != account.id())
        && let Some(session) = app.store.account(&other).and_then(|other| {
            let state = other.lock();
            state.session_of_tag(tag).map(Session::row)
        })
    {
        return Ok(Json(json!({ "session": listed(&session) })));
    }
    let mut state = account.lock();
    let known = state
        .session_of_tag(tag)
        .filter(|_| !app.faults().on(Fault::TagIgnored));
    let (row, is_new) = match known {
        Some(session) => (session.row(), false),
        None => {
            let key = fields.owned("dataEncryptionKey");
            let agent_state = fields
                .owned("agentState")
                .filter(|_| app.config.policy.state_at_creation);
            let metadata = fields.text("metadata").to_owned();
            (
                state
                    .create_session(tag.to_owned(), metadata, agent_state, key)
                    .row(),
                true,
            )
        }
    };
    if is_new || app.faults().on(Fault::TagAnnounced) {
        app.update(
            &account,
            &mut state,
            RecipientFilter::UserScopedOnly,
            None,
            |stamp| builders::new_session(&row, stamp),
        );
    }
    Ok(Json(json!({ "session": listed(&row) })))
}

/// `GET /v1/sessions`: the latest ones.
pub(super) async fn list(Caller(account): Caller) -> Answer {
    let mut rows = rows(&account);
    newest_first(&mut rows, |row| (row.updated_at, &row.id));
    Ok(Json(
        json!({ "sessions": rows.iter().take(LIST).map(listed).collect::<Vec<_>>() }),
    ))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PageQuery {
    cursor: Option<String>,
    limit: Option<String>,
    changed_since: Option<String>,
}

/// `GET /v2/sessions/active`: those active in the last quarter of an hour.
pub(super) async fn active(
    State(app): State<Arc<App>>,
    Caller(account): Caller,
    Query(query): Query<PageQuery>,
) -> Answer {
    let limit = limit(query.limit.as_deref(), LIST, 500)?;
    let since = app.now() - ACTIVE_WITHIN_MS;
    let mut rows = rows(&account);
    let shows_all = app.faults().on(Fault::ActiveListAll);
    rows.retain(|row| shows_all || row.active && row.active_at > since);
    newest_first(&mut rows, |row| (row.active_at, &row.id));
    rows.truncate(limit);
    Ok(Json(json!({ "sessions": rows })))
}

/// `GET /v2/sessions`: pages of sessions, latest created first. A cursor names the last one seen.
pub(super) async fn page(
    State(app): State<Arc<App>>,
    Caller(account): Caller,
    Query(query): Query<PageQuery>,
) -> Answer {
    let limit = limit(query.limit.as_deref(), 50, 200)?;
    let mut rows = rows(&account);
    newest_first(&mut rows, |row| (row.created_at, &row.id));
    if let Some(cursor) = &query.cursor {
        let last = cursor
            .strip_prefix(CURSOR)
            .ok_or_else(|| ApiError::invalid("Invalid cursor format"))?;
        let seen = rows
            .iter()
            .position(|row| row.id == last)
            .map_or(rows.len(), |index| {
                index + usize::from(!app.faults().on(Fault::PageRepeats))
            });
        rows.drain(..seen);
    }
    if let Some(since) = &query.changed_since {
        let since: i64 = since
            .parse()
            .map_err(|_| ApiError::invalid("querystring/changedSince Expected number"))?;
        rows.retain(|row| row.updated_at > since);
    }
    let has_next = rows.len() > limit;
    rows.truncate(limit);
    let next = rows
        .last()
        .filter(|_| has_next)
        .map(|row| format!("{CURSOR}{}", row.id));
    Ok(Json(
        json!({ "sessions": rows, "nextCursor": next, "hasNext": has_next }),
    ))
}

/// `DELETE /v1/sessions/:id`.
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    Caller(account): Caller,
    Path(id): Path<String>,
) -> Answer {
    let mut state = account.lock();
    let is_gone = if app.faults().on(Fault::SessionDeletedStays) {
        state.sessions.contains_key(&id)
    } else {
        state.delete_session(&id)
    };
    if !is_gone {
        return Err(ApiError::not_found(
            "Session not found or not owned by user",
        ));
    }
    if !app.faults().on(Fault::DeleteSilent) {
        app.update(
            &account,
            &mut state,
            RecipientFilter::UserScopedOnly,
            None,
            |stamp| builders::delete_session(&id, stamp),
        );
    }
    Ok(Json(json!({ "success": true })))
}

/// `POST /v1/sessions/:id/archive`: ends a session, each time it is asked for.
pub(super) async fn archive(
    State(app): State<Arc<App>>,
    Caller(account): Caller,
    Path(id): Path<String>,
) -> Answer {
    let now = app.now();
    if app.faults().on(Fault::ArchiveSilent)
        && let Some(session) = account.lock().sessions.get_mut(&id)
    {
        session.active = false;
        session.ended = true;
        return Ok(Json(json!({ "success": true })));
    }
    if !end_session(&app, &account, &mut account.lock(), &id, now) {
        return Err(ApiError::not_found(
            "Session not found or not owned by user",
        ));
    }
    Ok(Json(json!({ "success": true })))
}

fn rows(account: &Account) -> Vec<SessionRow> {
    account.lock().sessions.values().map(Session::row).collect()
}

fn listed(row: &SessionRow) -> Value {
    let mut row = json!(row);
    row["lastMessage"] = Value::Null;
    row
}

/// A limit from the query: a default, and at most `max`.
pub(super) fn limit(asked: Option<&str>, default: usize, max: usize) -> Result<usize, ApiError> {
    let Some(asked) = asked else {
        return Ok(default);
    };
    asked
        .parse()
        .ok()
        .filter(|limit| (1..=max).contains(limit))
        .ok_or_else(|| {
            ApiError::invalid(&format!(
                "querystring/limit Expected a number from 1 to {max}"
            ))
        })
}
