//! Machines: provisioned by their own id, listed, read.

use axum::Json;
use axum::extract::Path;
use serde_json::{Value, json};

use super::check::{Fields, Kind};
use super::{Answer, ApiError, Body, Caller, newest_first};
use crate::builders::MachineRow;
use crate::decide::machine_create;
use crate::store::{Machine, Store};

/// `POST /v1/machines`: the machine of an id, made and announced at first sight, in two updates.
pub(super) async fn create(Caller { app, account }: Caller, Body(body): Body) -> Answer {
    let fields = Fields::check(
        &body,
        &[
            ("id", Kind::Text),
            ("metadata", Kind::Text),
            ("daemonState", Kind::OptionalText),
            ("dataEncryptionKey", Kind::OptionalText),
        ],
    )?;
    let id = fields.text("id");
    let asked = |is_foreign| machine_create::Create {
        id: id.to_owned(),
        metadata: fields.text("metadata").to_owned(),
        daemon_state: fields.owned("daemonState"),
        key: fields.owned("dataEncryptionKey"),
        is_foreign,
    };
    let is_foreign = |store: &Store| store.is_foreign_machine(id, &account);
    let row = app
        .create(
            &account,
            "machine-create",
            &body,
            is_foreign,
            |cx, foreign| machine_create::decide(cx, asked(foreign)),
        )
        .await;
    let row = row.ok_or_else(|| ApiError::conflict("Machine belongs to another account"))?;
    Ok(Json(json!({ "machine": without_seq(&row) })))
}

/// `GET /v1/machines`: a bare array, the latest active first.
pub(super) async fn list(Caller { app, account }: Caller) -> Answer {
    let mut rows: Vec<_> = app
        .read(&account, |cx| {
            cx.rows.machines.values().map(Machine::row).collect()
        })
        .await;
    newest_first(&mut rows, |row| (row.active_at, &row.id));
    Ok(Json(json!(rows)))
}

/// `GET /v1/machines/:id`.
pub(super) async fn read(Caller { app, account }: Caller, Path(id): Path<String>) -> Answer {
    let machine = app.read(&account, |cx| cx.rows.machine(&id)).await;
    let machine = machine.ok_or_else(|| ApiError::not_found("Machine not found"))?;
    Ok(Json(json!({ "machine": machine })))
}

/// Creation has always been answered without the seq.
fn without_seq(row: &MachineRow) -> Value {
    let mut row = json!(row);
    if let Some(fields) = row.as_object_mut() {
        fields.shift_remove("seq");
    }
    row
}
