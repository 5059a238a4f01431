//! Access keys: one for each session and machine of an account.

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::account::{Account, App, Link};
use crate::refusal::{Outcome, Refusal, filled};
use crate::request::Body;
use crate::sql::sql;

/// The key of a session and a machine, `null` where they have none.
async fn read(app: &App, account: &Account, session: &str, machine: &str) -> Outcome {
    let pair = "SELECT data, dataVersion, accessKeys.createdAt, accessKeys.updatedAt FROM sessions \
        JOIN machines ON machines._account = sessions._account AND machines.id = ? \
        LEFT JOIN accessKeys ON _session = sessions.id AND _machine = machines.id \
        WHERE sessions._account = ? AND sessions.id = ?";
    let key = sql!(&app.pool, pair, machine, &*account.id, session).await?.pop();
    let key = key.ok_or(Refusal::NotFound("Session or machine not found"))?;
    Ok(if key["data"].is_null() { Value::Null } else { key })
}

/// `access-key-get`
pub(crate) async fn get(app: &App, link: &Link, data: &Value) -> Outcome {
    const REQUIRED: &str = "Invalid parameters: sessionId and machineId are required";
    let (session, machine) =
        (filled(data, "sessionId", REQUIRED)?, filled(data, "machineId", REQUIRED)?);
    let key = read(app, &link.account, session, machine).await?;
    Ok(json!({"ok": true, "accessKey": key}))
}

type Pair = Path<(String, String)>;

/// `GET /v1/access-keys/:session/:machine`
pub(crate) async fn show(app: State<App>, account: Account, pair: Pair) -> Outcome {
    let key = read(&app, &account, &pair.0.0, &pair.0.1).await?;
    Ok(json!({"success": true, "accessKey": key}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Data {
    data: String,
    expected_version: Option<i64>,
}

/// `POST /v1/access-keys/:session/:machine`
pub(crate) async fn create(
    app: State<App>,
    account: Account,
    Path((session, machine)): Pair,
    Body(new): Body<Data>,
) -> Outcome {
    read(&app, &account, &session, &machine).await?;
    let mut change = app.change(&account).await?;
    let (own, now) = (&*account.id, change.now);
    let insert = "INSERT INTO accessKeys (_account, _session, _machine, data, createdAt, updatedAt) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?5) ON CONFLICT DO NOTHING RETURNING *";
    let made = sql!(change.db(), insert, own, session, machine, new.data, now).await?.pop();
    change.commit().await?;
    let key = made.ok_or(Refusal::Conflict("Access key already exists"))?;
    Ok(json!({"success": true, "accessKey": key}))
}

/// `PUT /v1/access-keys/:session/:machine`
pub(crate) async fn edit(
    app: State<App>,
    account: Account,
    Path((session, machine)): Pair,
    Body(edit): Body<Data>,
) -> Outcome {
    let mut change = app.change(&account).await?;
    let (own, now, expected) = (&*account.id, change.now, edit.expected_version);
    let write = "UPDATE accessKeys SET data = ?, dataVersion = dataVersion + 1, updatedAt = ? \
        WHERE _account = ? AND _session = ? AND _machine = ? AND dataVersion = ? \
        RETURNING dataVersion AS version";
    let done = sql!(change.db(), write, edit.data, now, own, &session, &machine, expected).await?;
    change.commit().await?;
    if let [row] = &done[..] {
        return Ok(json!({"success": true, "version": row["version"]}));
    }
    let key = read(&app, &account, &session, &machine).await?;
    Ok(json!({
        "success": false, "error": "version-mismatch",
        "currentVersion": key["dataVersion"], "currentData": key["data"],
    }))
}
