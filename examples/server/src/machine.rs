//! Machines: their rows, and whether they are there.

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::account::{Account, App, Audience, Change, Link, Scope};
use crate::refusal::{Outcome, Refusal, text};
use crate::request::Body;
use crate::session::heartbeat;
use crate::sql::sql;

const STORED: &str = "SELECT * FROM machines WHERE _account = ? AND id = ?";
const NOT_FOUND: Refusal = Refusal::NotFound("Machine not found");

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct New {
    id: String,
    metadata: String,
    daemon_state: Option<String>,
    data_encryption_key: Option<String>,
}

/// `POST /v1/machines`: the machine of this id, which is made if there is none. Each account has ids
/// of its own.
pub(crate) async fn create(app: State<App>, account: Account, Body(new): Body<New>) -> Outcome {
    let mut change = app.change(&account).await?;
    let (now, state) = (change.now, i64::from(new.daemon_state.is_some()));
    let insert = "INSERT INTO machines (_account, id, metadata, daemonState, daemonStateVersion, \
        dataEncryptionKey, activeAt, createdAt, updatedAt) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?7) ON CONFLICT DO NOTHING RETURNING *";
    let (own, key) = (&*account.id, new.data_encryption_key);
    let made =
        sql!(change.db(), insert, own, &new.id, new.metadata, new.daemon_state, state, key, now);
    if let Some(mut body) = made.await?.pop() {
        body["machineId"] = json!(new.id);
        let metadata = json!({"value": body["metadata"], "version": body["metadataVersion"]});
        change.update(Audience::Users, "new-machine", body).await?;
        let body = json!({"machineId": new.id, "metadata": metadata});
        change.update(Audience::Machine(new.id.clone()), "update-machine", body).await?;
    }
    let machine = sql!(change.db(), STORED, own, new.id).await?.pop();
    change.commit().await?;
    Ok(json!({"machine": machine}))
}

/// `GET /v1/machines`
pub(crate) async fn list(app: State<App>, account: Account) -> Outcome {
    let all = "SELECT * FROM machines WHERE _account = ? ORDER BY id";
    Ok(json!(sql!(&app.pool, all, &*account.id).await?))
}

/// `GET /v1/machines/:id`
pub(crate) async fn read(app: State<App>, account: Account, id: Path<String>) -> Outcome {
    let machine = sql!(&app.pool, STORED, &*account.id, &*id).await?.pop().ok_or(NOT_FOUND)?;
    Ok(json!({"machine": machine}))
}

/// Announces whether a machine is active.
pub(crate) fn announce(change: &mut Change, id: &Value, active: bool, active_at: &Value) {
    let activity =
        json!({"type": "machine-activity", "id": id, "active": active, "activeAt": active_at});
    change.ephemeral(Audience::Users, activity);
}

/// `machine-alive`
pub(crate) async fn alive(app: &App, link: &Link, data: &Value) -> Result<(), Refusal> {
    let id = text(data, "machineId", "")?;
    let mut change = app.change(&link.account).await?;
    let Some(time) = heartbeat(data, change.now) else { return Ok(()) };
    let beat = "UPDATE machines SET active = TRUE, activeAt = max(activeAt, ?) \
        WHERE _account = ? AND id = ? RETURNING id, activeAt";
    if let Some(row) = sql!(change.db(), beat, time, &*link.account.id, id).await?.pop() {
        announce(&mut change, &row["id"], true, &row["activeAt"]);
    }
    Ok(change.commit().await?)
}

/// A machine's connection has come, or its last one has gone.
pub(crate) async fn online(app: &App, link: &Link, active: bool) -> Result<(), Refusal> {
    let Scope::Machine(id) = &link.connection.scope else { return Ok(()) };
    let mut change = app.change(&link.account).await?;
    let now = change.now;
    let set = "UPDATE machines SET active = ?, activeAt = ? WHERE _account = ? AND id = ?";
    sql!(change.db(), set, active, now, &*link.account.id, id).await?;
    announce(&mut change, &json!(id), active, &json!(now));
    Ok(change.commit().await?)
}
