//! Sessions: made over HTTP, alive by heartbeats.

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::account::{Account, App, Audience, Change, Link, id, now};
use crate::refusal::{Outcome, Refusal, text};
use crate::request::Body;
use crate::sql::sql;

const NOT_FOUND: Refusal = Refusal::NotFound("Session not found");

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct New {
    tag: String,
    metadata: String,
    agent_state: Option<String>,
    data_encryption_key: Option<String>,
}

/// `POST /v1/sessions`: the session of this tag, which is made if there is none
pub(crate) async fn create(app: State<App>, account: Account, Body(new): Body<New>) -> Outcome {
    let mut change = app.change(&account).await?;
    let (now, state) = (change.now, i64::from(new.agent_state.is_some()));
    let insert = "INSERT INTO sessions (id, _account, _tag, metadata, agentState, \
        agentStateVersion, dataEncryptionKey, activeAt, createdAt, updatedAt) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, ?8) ON CONFLICT DO NOTHING RETURNING *";
    let (own, tag, key) = (&*account.id, &new.tag, new.data_encryption_key);
    let made =
        sql!(change.db(), insert, id(), own, tag, new.metadata, new.agent_state, state, key, now);
    if let Some(made) = made.await?.pop() {
        change.update(Audience::Users, "new-session", made).await?;
    }
    let stored = "SELECT * FROM sessions WHERE _account = ? AND _tag = ?";
    let mut session = sql!(change.db(), stored, own, tag).await?.pop().ok_or(NOT_FOUND)?;
    change.commit().await?;
    session["lastMessage"] = Value::Null;
    Ok(json!({"session": session}))
}

/// `GET /v1/sessions`
pub(crate) async fn list(app: State<App>, account: Account) -> Outcome {
    let all = "SELECT * FROM sessions WHERE _account = ? ORDER BY updatedAt DESC LIMIT 150";
    Ok(json!({"sessions": sql!(&app.pool, all, &*account.id).await?}))
}

/// `DELETE /v1/sessions/:id`
pub(crate) async fn delete(app: State<App>, account: Account, sid: Path<String>) -> Outcome {
    let mut change = app.change(&account).await?;
    let delete = "DELETE FROM sessions WHERE _account = ? AND id = ? RETURNING id";
    sql!(change.db(), delete, &*account.id, &*sid).await?.pop().ok_or(NOT_FOUND)?;
    change.update(Audience::Users, "delete-session", json!({"sid": *sid})).await?;
    change.commit().await?;
    Ok(json!({"success": true}))
}

/// `POST /v1/sessions/:id/archive`
pub(crate) async fn archive(app: State<App>, account: Account, sid: Path<String>) -> Outcome {
    finish(&app, &account, &sid, now()).await?;
    Ok(json!({"success": true}))
}

/// The time of a heartbeat: not later than now, and nothing where it is too old to be news.
#[expect(clippy::cast_precision_loss, reason = "milliseconds are far below 2^53")]
#[expect(clippy::cast_possible_truncation, reason = "an age of ten minutes fits")]
pub(crate) fn heartbeat(data: &Value, now: i64) -> Option<i64> {
    let age = now as f64 - data["time"].as_f64()?;
    (age <= 600_000.0).then_some(now - age.max(0.0) as i64)
}

/// Announces whether a session is active.
pub(crate) fn announce(change: &mut Change, row: &Value, active: bool, thinking: bool) {
    let activity = json!({
        "type": "activity", "id": row["id"], "active": active, "activeAt": row["activeAt"],
        "thinking": thinking,
    });
    change.ephemeral(Audience::Users, activity);
}

/// `session-alive`
pub(crate) async fn alive(app: &App, link: &Link, data: &Value) -> Result<(), Refusal> {
    let sid = text(data, "sid", "")?;
    let mut change = app.change(&link.account).await?;
    let Some(time) = heartbeat(data, change.now) else { return Ok(()) };
    // What was ended stays ended, whatever comes late.
    let beat = "UPDATE sessions SET active = TRUE, activeAt = max(activeAt, ?) \
        WHERE _account = ? AND id = ? AND NOT _ended RETURNING id, activeAt";
    if let Some(row) = sql!(change.db(), beat, time, &*link.account.id, sid).await?.pop() {
        announce(&mut change, &row, true, data["thinking"].as_bool().unwrap_or(false));
    }
    Ok(change.commit().await?)
}

/// `session-end`
pub(crate) async fn end(app: &App, link: &Link, data: &Value) -> Result<(), Refusal> {
    let sid = text(data, "sid", "")?;
    let Some(time) = heartbeat(data, now()) else { return Ok(()) };
    finish(app, &link.account, sid, time).await
}

/// Ends a session.
async fn finish(app: &App, account: &Account, sid: &str, time: i64) -> Result<(), Refusal> {
    let mut change = app.change(account).await?;
    let end = "UPDATE sessions SET active = FALSE, _ended = TRUE, activeAt = max(activeAt, ?) \
        WHERE _account = ? AND id = ? RETURNING id, activeAt";
    let row = sql!(change.db(), end, time, &*account.id, sid).await?.pop().ok_or(NOT_FOUND)?;
    announce(&mut change, &row, false, false);
    Ok(change.commit().await?)
}

/// Fails where the account does not have this session.
pub(crate) async fn require(app: &App, account: &Account, sid: &str) -> Result<(), Refusal> {
    let found = "SELECT id FROM sessions WHERE _account = ? AND id = ?";
    sql!(&app.pool, found, &*account.id, sid).await?.pop().map(drop).ok_or(NOT_FOUND)
}
