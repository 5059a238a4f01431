//! Compare and set: values that only somebody who knows their version may change.

use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteConnection;

use crate::account::{App, Audience, Link};
use crate::refusal::{Outcome, Refusal, text};
use crate::sql::{int, sql};

/// What became of an attempt to write: the new version, or what is stored, with its version.
pub(crate) enum Written {
    Done(i64),
    Stale(Value, i64),
}

/// Writes a column of a table, whose version is in a column beside it. The `UPDATE` itself decides whether
/// the version is the expected one. Of any number of writers who expect the same, one changes a row.
pub(crate) async fn set(
    db: &mut SqliteConnection,
    (table, field): (&str, &str),
    (account, id): (&str, &str),
    (value, expected): (Option<&str>, i64),
    now: i64,
) -> sqlx::Result<Option<Written>> {
    let write = AssertSqlSafe(format!(
        "UPDATE {table} SET {field} = ?, updatedAt = ?, {field}Version = {field}Version + 1 \
        WHERE _account = ? AND id = ? AND {field}Version = ? RETURNING {field}Version AS version"
    ));
    if let [row] = &sql!(&mut *db, write, value, now, account, id, expected).await?[..] {
        return Ok(Some(Written::Done(int(&row["version"]))));
    }
    let read = AssertSqlSafe(format!(
        "SELECT {field} AS value, {field}Version AS version FROM {table} \
        WHERE _account = ? AND id = ?"
    ));
    let stored = sql!(db, read, account, id).await?.pop();
    Ok(stored.map(|mut row| Written::Stale(row["value"].take(), int(&row["version"]))))
}

/// `update-metadata` and `update-state`, `machine-update-metadata` and `machine-update-state`
pub(crate) async fn update(app: &App, link: &Link, event: &str, data: &Value) -> Outcome {
    const INVALID: &str = "Invalid parameters";
    let machine = event.starts_with("machine-");
    let (table, key, named, kind, missing) = match machine {
        true => ("machines", "machineId", "machineId", "update-machine", "Machine not found"),
        false => ("sessions", "sid", "id", "update-session", "Session not found"),
    };
    let field = match event {
        "update-state" => "agentState",
        "machine-update-state" => "daemonState",
        _ => "metadata",
    };
    let id = text(data, key, INVALID)?;
    let value = match data.get(field) {
        Some(Value::Null) if field == "agentState" => None,
        _ => Some(text(data, field, INVALID)?),
    };
    if !data["expectedVersion"].is_number() {
        return Err(Refusal::Invalid(INVALID));
    }
    let new = (value, int(&data["expectedVersion"]));
    let mut change = app.change(&link.account).await?;
    let (own, now) = ((&*link.account.id, id), change.now);
    match set(change.db(), (table, field), own, new, now).await? {
        Some(Written::Done(version)) => {
            let body = json!({named: id, field: {"value": value, "version": version}});
            let audience = match machine {
                true => Audience::Machine(id.into()),
                false => Audience::Session(id.into(), None),
            };
            change.update(audience, kind, body).await?;
            change.commit().await?;
            Ok(json!({"result": "success", "version": version, field: value}))
        }
        Some(Written::Stale(value, version)) => {
            Ok(json!({"result": "version-mismatch", "version": version, field: value}))
        }
        None => Err(Refusal::NotFound(missing)),
    }
}
