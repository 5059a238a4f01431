//! Messages: numbered within their session, stored once for each `localId`.

use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::account::{Account, App, Audience, Change, Link, id};
use crate::refusal::{Outcome, Refusal, text};
use crate::request::Body;
use crate::session;
use crate::sql::sql;

/// `message`
pub(crate) async fn receive(app: &App, link: &Link, data: &Value) -> Result<(), Refusal> {
    let (sid, content) = (text(data, "sid", "")?, text(data, "message", "")?);
    let mut change = app.change(&link.account).await?;
    let audience = Audience::Session(sid.into(), Some(link.sid));
    store(&mut change, &link.account, audience, (sid, content, data["localId"].as_str())).await?;
    Ok(change.commit().await?)
}

/// Stores and announces a message, unless its `localId` is known. The message either way; nothing
/// where the account does not have the session.
async fn store(
    change: &mut Change,
    account: &Account,
    audience: Audience,
    (sid, content, local_id): (&str, &str, Option<&str>),
) -> sqlx::Result<Option<Value>> {
    let (account, now) = (&*account.id, change.now);
    let insert = "INSERT INTO messages (id, _session, seq, content, localId, createdAt, updatedAt) \
        SELECT ?1, id, seq + 1, ?2, ?3, ?4, ?4 FROM sessions WHERE _account = ?5 AND id = ?6 \
        ON CONFLICT (_session, localId) DO NOTHING RETURNING *";
    let made = sql!(change.db(), insert, id(), content, local_id, now, account, sid).await?.pop();
    let Some(made) = made else {
        let known = "SELECT messages.* FROM messages JOIN sessions ON sessions.id = _session \
            WHERE _account = ? AND _session = ? AND localId = ?";
        return Ok(sql!(change.db(), known, account, sid, local_id).await?.pop().map(shown));
    };
    let count = "UPDATE sessions SET seq = seq + 1, updatedAt = ? WHERE id = ?";
    sql!(change.db(), count, now, sid).await?;
    let message = shown(made);
    change.update(audience, "new-message", json!({"sid": sid, "message": message})).await?;
    Ok(Some(message))
}

/// A row as clients see it: the content has a type.
fn shown(mut row: Value) -> Value {
    row["content"] = json!({"t": "encrypted", "c": row["content"]});
    row
}

#[derive(Deserialize)]
pub(crate) struct Page {
    after_seq: Option<i64>,
    before_seq: Option<i64>,
    limit: Option<i64>,
}

/// `GET /v1/sessions/:id/messages` and `GET /v3/sessions/:id/messages`: ascending after a `seq`, else
/// the newest first
pub(crate) async fn list(
    app: State<App>,
    account: Account,
    sid: Path<String>,
    page: Query<Page>,
) -> Outcome {
    session::require(&app, &account, &sid).await?;
    let limit = page.limit.unwrap_or(150).clamp(1, 500);
    let (bound, rows) = match page.after_seq {
        Some(after) => {
            (after, "SELECT * FROM messages WHERE _session = ? AND seq > ? ORDER BY seq LIMIT ?")
        }
        None => (
            page.before_seq.unwrap_or(i64::MAX),
            "SELECT * FROM messages WHERE _session = ? AND seq < ? ORDER BY seq DESC LIMIT ?",
        ),
    };
    let mut rows = sql!(&app.pool, rows, &*sid, bound, limit + 1).await?;
    let more = rows.len() as u64 > limit.unsigned_abs();
    rows.truncate(rows.len() - usize::from(more));
    Ok(json!({"messages": rows.into_iter().map(shown).collect::<Value>(), "hasMore": more}))
}

#[derive(Deserialize)]
pub(crate) struct Batch {
    messages: Vec<Posted>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Posted {
    content: String,
    local_id: Option<String>,
}

/// `POST /v3/sessions/:id/messages`
pub(crate) async fn post(
    app: State<App>,
    account: Account,
    sid: Path<String>,
    Body(batch): Body<Batch>,
) -> Outcome {
    if !(1..=100).contains(&batch.messages.len()) {
        return Err(Refusal::Invalid("messages must have 1 to 100 entries"));
    }
    let mut change = app.change(&account).await?;
    let mut stored = Vec::new();
    for Posted { content, local_id } in &batch.messages {
        let audience = Audience::Session(sid.to_string(), None);
        let message = (&**sid, &**content, local_id.as_deref());
        let message = store(&mut change, &account, audience, message).await?;
        stored.push(message.ok_or(Refusal::NotFound("Session not found"))?);
    }
    change.commit().await?;
    Ok(json!({"messages": stored}))
}
