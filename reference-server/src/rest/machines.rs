//! Machines: provisioned by their own id, listed, read.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::check::{Fields, Kind};
use super::{Answer, ApiError, Body, Caller, newest_first};
use crate::app::App;
use crate::builders::{self, MachineRow};
use crate::faults::Fault;
use crate::router::RecipientFilter;
use crate::store::{Cell, Machine};

/// `POST /v1/machines`: the machine of an id, made and announced at first sight, in two updates.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    Caller(account): Caller,
    Body(body): Body,
) -> Answer {
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
    let mut state = account.lock();
    if let Some(machine) = state.machines.get_mut(id) {
        if app.faults().on(Fault::MachineOverwritten) {
            machine.metadata = Cell::new(fields.owned("metadata"), 1);
        }
        return Ok(Json(json!({ "machine": without_seq(&machine.row()) })));
    }
    if !app.store.claim_machine(id, &account) {
        return Err(ApiError::conflict("Machine belongs to another account"));
    }
    let (daemon_state, key) = (
        fields.owned("daemonState"),
        fields.owned("dataEncryptionKey"),
    );
    let metadata = fields.text("metadata").to_owned();
    let machine = state.create_machine(id.to_owned(), metadata, daemon_state, key);
    let (row, metadata) = (machine.row(), machine.metadata.versioned());
    app.update(
        &account,
        &mut state,
        RecipientFilter::UserScopedOnly,
        None,
        |stamp| builders::new_machine(&row, stamp),
    );
    if !app.faults().on(Fault::MachineOnce) {
        let filter = RecipientFilter::MachineScopedOnly {
            machine_id: id.to_owned(),
        };
        app.update(&account, &mut state, filter, None, |stamp| {
            builders::update_machine(id, Some(&metadata), None, stamp)
        });
    }
    Ok(Json(json!({ "machine": without_seq(&row) })))
}

/// `GET /v1/machines`: a bare array, the latest active first.
pub(super) async fn list(Caller(account): Caller) -> Answer {
    let mut rows: Vec<_> = account.lock().machines.values().map(Machine::row).collect();
    newest_first(&mut rows, |row| (row.active_at, &row.id));
    Ok(Json(json!(rows)))
}

/// `GET /v1/machines/:id`.
pub(super) async fn read(Caller(account): Caller, Path(id): Path<String>) -> Answer {
    let state = account.lock();
    let machine = state
        .machines
        .get(&id)
        .ok_or_else(|| ApiError::not_found("Machine not found"))?;
    Ok(Json(json!({ "machine": machine.row() })))
}

/// Creation has always been answered without the seq.
fn without_seq(row: &MachineRow) -> Value {
    let mut row = json!(row);
    if let Some(fields) = row.as_object_mut() {
        fields.shift_remove("seq");
    }
    row
}
