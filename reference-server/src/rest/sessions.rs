//! Sessions: created by tag, listed, archived, deleted.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query};
use serde::Deserialize;
use serde_json::{Value, json};

use super::check::{Fields, Kind};
use super::{Answer, ApiError, Body, Caller, newest_first};
use crate::app::App;
use crate::builders::SessionRow;
use crate::decide::{Context, session_create, session_delete, session_end};
use crate::store::{Account, Session};

/// Sessions that a list without pages shows.
const LIST: usize = 150;
/// How recently a session must have been active to be in the list of active ones.
const ACTIVE_WITHIN_MS: i64 = 15 * 60 * 1000;
const CURSOR: &str = "cursor_v1_";

/// `POST /v1/sessions`: the session of a tag, made and announced at first sight. All in one lock, so
/// that parallel requests make one session and one event.
pub(super) async fn create(Caller { app, account }: Caller, Body(body): Body) -> Answer {
    let fields = Fields::check(
        &body,
        &[
            ("tag", Kind::Text),
            ("metadata", Kind::Text),
            ("agentState", Kind::OptionalText),
            ("dataEncryptionKey", Kind::OptionalText),
        ],
    )?;
    let asked = session_create::Create {
        tag: fields.text("tag").to_owned(),
        metadata: fields.text("metadata").to_owned(),
        agent_state: fields.owned("agentState"),
        key: fields.owned("dataEncryptionKey"),
    };
    let row = app
        .decide(&account, "session-create", &body, |cx| {
            session_create::decide(cx, asked)
        })
        .await;
    Ok(Json(json!({ "session": listed(&row) })))
}

/// `GET /v1/sessions`: the latest ones.
pub(super) async fn list(Caller { app, account }: Caller) -> Answer {
    let mut rows = rows(&app, &account).await;
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
    Caller { app, account }: Caller,
    Query(query): Query<PageQuery>,
) -> Answer {
    let limit = limit(query.limit.as_deref(), LIST, 500)?;
    let since = app.now() - ACTIVE_WITHIN_MS;
    let mut rows = rows(&app, &account).await;
    let shows_all = app.config.policy.active_list_all;
    rows.retain(|row| shows_all || row.active && row.active_at > since);
    newest_first(&mut rows, |row| (row.active_at, &row.id));
    rows.truncate(limit);
    Ok(Json(json!({ "sessions": rows })))
}

/// `GET /v2/sessions`: pages of sessions, latest created first. A cursor names the last one seen.
pub(super) async fn page(
    Caller { app, account }: Caller,
    Query(query): Query<PageQuery>,
) -> Answer {
    let limit = limit(query.limit.as_deref(), 50, 200)?;
    let mut rows = rows(&app, &account).await;
    newest_first(&mut rows, |row| (row.created_at, &row.id));
    if let Some(cursor) = &query.cursor {
        let last = cursor
            .strip_prefix(CURSOR)
            .ok_or_else(|| ApiError::invalid("Invalid cursor format"))?;
        let seen = rows
            .iter()
            .position(|row| row.id == last)
            .map_or(rows.len(), |index| {
                index + usize::from(!app.config.policy.page_repeats)
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
pub(super) async fn delete(Caller { app, account }: Caller, Path(id): Path<String>) -> Answer {
    let decide = |cx: &Context<'_>| session_delete::decide(cx, &id);
    let is_there = app.decide(&account, "session-delete", &Value::Null, decide);
    gone(is_there.await)
}

/// `POST /v1/sessions/:id/archive`: ends a session, each time it is asked for.
pub(super) async fn archive(Caller { app, account }: Caller, Path(id): Path<String>) -> Answer {
    let decide = |cx: &Context<'_>| session_end::decide(cx, &id, cx.now);
    let is_there = app.decide(&account, "session-archive", &Value::Null, decide);
    gone(is_there.await)
}

fn gone(is_there: bool) -> Answer {
    if is_there {
        Ok(Json(json!({ "success": true })))
    } else {
        Err(ApiError::not_found(
            "Session not found or not owned by user",
        ))
    }
}

async fn rows(app: &Arc<App>, account: &Arc<Account>) -> Vec<SessionRow> {
    let rows = |cx: &Context<'_>| cx.rows.sessions.values().map(Session::row).collect();
    app.read(account, rows).await
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
