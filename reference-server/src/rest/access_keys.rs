//! Access keys: one per session and machine.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::check::{Fields, Kind};
use super::{Answer, ApiError, Body, Caller};
use crate::app::App;
use crate::faults::{Fault, Faults};
use crate::store::{AccessKey, AccountState};

type Pair = (String, String);

/// An access key as answers show it, here and over the socket.
pub(crate) fn view(key: &AccessKey) -> Value {
    json!({
        "data": key.data.value(),
        "dataVersion": key.data.version(),
        "createdAt": key.created_at,
        "updatedAt": key.updated_at,
    })
}

/// `GET /v1/access-keys/:sessionId/:machineId`.
pub(super) async fn read(
    State(app): State<Arc<App>>,
    Caller(account): Caller,
    Path(pair): Path<Pair>,
) -> Answer {
    let state = account.lock();
    check_pair(&state, &pair, app.faults())?;
    Ok(Json(
        json!({ "accessKey": state.access_keys.get(&pair).map(view) }),
    ))
}

/// `POST /v1/access-keys/:sessionId/:machineId`.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    Caller(account): Caller,
    Path(pair): Path<Pair>,
    Body(body): Body,
) -> Answer {
    let fields = Fields::check(&body, &[("data", Kind::Text)])?;
    let mut state = account.lock();
    check_pair(&state, &pair, app.faults())?;
    if state.access_keys.contains_key(&pair) {
        return Err(ApiError::conflict("Access key already exists"));
    }
    let now = app.now();
    let data = state.new_cell(fields.text("data").to_owned());
    let key = AccessKey {
        data,
        created_at: now,
        updated_at: now,
    };
    let answer = json!({ "success": true, "accessKey": view(&key) });
    state.access_keys.insert(pair, key);
    Ok(Json(answer))
}

/// `PUT /v1/access-keys/:sessionId/:machineId`.
pub(super) async fn update(
    State(app): State<Arc<App>>,
    Caller(account): Caller,
    Path(pair): Path<Pair>,
    Body(body): Body,
) -> Answer {
    let fields = Fields::check(
        &body,
        &[("data", Kind::Text), ("expectedVersion", Kind::Number)],
    )?;
    let mut state = account.lock();
    check_pair(&state, &pair, app.faults())?;
    let key = state.access_keys.get_mut(&pair);
    let key = key.ok_or_else(|| ApiError::not_found("Access key not found"))?;
    if !key.data.is_current(
        fields.number("expectedVersion").unwrap_or(-1.0),
        app.faults(),
    ) {
        let mut answer = json!({ "success": false, "error": "version-mismatch", "currentVersion": key.data.version() });
        answer["currentData"] = json!(key.data.value());
        return Ok(Json(answer));
    }
    key.data.write(fields.owned("data"), app.faults());
    key.updated_at = app.now();
    Ok(Json(
        json!({ "success": true, "version": key.data.version() }),
    ))
}

fn check_pair(
    state: &AccountState,
    (session, machine): &Pair,
    faults: &Faults,
) -> Result<(), ApiError> {
    if faults.on(Fault::AccessKeyAnyPair)
        || state.sessions.contains_key(session) && state.machines.contains_key(machine)
    {
        return Ok(());
    }
    Err(ApiError::not_found("Session or machine not found"))
}
