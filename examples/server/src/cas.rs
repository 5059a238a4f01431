//! Compare and set: values that only somebody who knows their version may change.

use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteConnection;

use crate::account::{App, Audience, Link};
use crate::refusal::{Outcome, Refusal, text};
use crate::sql::{int, sql};

/// A versioned value: its table, and its column. The version is in a column beside it.
pub(crate) struct Versioned(pub(crate) &'static str, pub(crate) &'static str);

/// What became of an attempt to write: the new version, or what is stored, with its version.
pub(crate) enum Written {
    Done(i64),
    Stale(Value, i64),
}

impl Versioned {
    /// The `UPDATE` itself decides whether the version is the expected one. Of any number of writers
    /// who expect the same version, one changes a row.
    pub(crate) async fn set(
        &self,
        db: &mut SqliteConnection,
        (account, id): (&str, &str),
        (value, expected): (Option<&str>, i64),
        now: i64,
    ) -> sqlx::Result<Option<Written>> {
        let Self(table, field) = self;
        let write = AssertSqlSafe(format!(
            "UPDATE {table} SET {field} = ?, updatedAt = ?, {field}Version = {field}Version + 1 \
            WHERE _account = ? AND id = ? AND {field}Version = ? RETURNING {field}Version AS version"
        ));
        if let [row] = &sql!(db, write, value, now, account, id, expected).await?[..] {
            return Ok(Some(Written::Done(int(&row["version"]))));
        }
        let read = AssertSqlSafe(format!(
            "SELECT {field} AS value, {field}Version AS version FROM {table} \
            WHERE _account = ? AND id = ?"
        ));
        let stored = sql!(db, read, account, id).await?.pop();
        Ok(stored.map(|mut row| Written::Stale(row["value"].take(), int(&row["version"]))))
    }
}

const SESSION: [Versioned; 2] =
    [Versioned("sessions", "metadata"), Versioned("sessions", "agentState")];
const MACHINE: [Versioned; 2] =
    [Versioned("machines", "metadata"), Versioned("machines", "daemonState")];

/// `update-metadata` and `update-state`, `machine-update-metadata` and `machine-update-state`
pub(crate) async fn update(app: &App, link: &Link, event: &str, data: &Value) -> Outcome {
    const INVALID: &str = "Invalid parameters";
    let machine = event.starts_with("machine-");
    let part = &if machine { MACHINE } else { SESSION }[usize::from(event.ends_with("state"))];
    let field = part.1;
    let id = text(data, if machine { "machineId" } else { "sid" }, INVALID)?;
    let value = match data.get(field) {
        Some(Value::Null) if field == "agentState" => None,
        _ => Some(text(data, field, INVALID)?),
    };
    if !data["expectedVersion"].is_number() {
        return Err(Refusal::Invalid(INVALID));
    }
    let expected = int(&data["expectedVersion"]);
    let mut change = app.change(&link.account).await?;
    let (own, now) = ((&*link.account.id, id), change.now);
    match part.set(change.db(), own, (value, expected), now).await? {
        Some(Written::Done(version)) => {
            let part = json!({"value": value, "version": version});
            let (audience, kind, body) = match machine {
                true => (
                    Audience::Machine(id.into()),
                    "update-machine",
                    json!({"machineId": id, field: part}),
                ),
                false => (
                    Audience::Session(id.into(), None),
                    "update-session",
                    json!({"id": id, field: part}),
                ),
            };
            change.update(audience, kind, body).await?;
            change.commit().await?;
            Ok(json!({"result": "success", "version": version, field: value}))
        }
        Some(Written::Stale(value, version)) => {
            Ok(json!({"result": "version-mismatch", "version": version, field: value}))
        }
        None if machine => Err(Refusal::NotFound("Machine not found")),
        None => Err(Refusal::NotFound("Session not found")),
    }
}
