//! The account's own profile and settings.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Map, json};

use super::check::{Fields, Kind};
use super::{Answer, ApiError, Body, Caller};
use crate::app::App;
use crate::builders;
use crate::router::RecipientFilter;

/// `GET /v1/account/profile`: this server knows only ids; people have no names here.
pub(super) async fn profile(State(app): State<Arc<App>>, Caller(account): Caller) -> Answer {
    Ok(Json(json!({
        "id": account.id(),
        "timestamp": app.now(),
        "firstName": null,
        "lastName": null,
        "username": null,
        "avatar": null,
        "github": null,
        "connectedServices": [],
    })))
}

/// `GET /v1/account/settings`.
pub(super) async fn settings(Caller(account): Caller) -> Answer {
    let state = account.lock();
    Ok(Json(
        json!({ "settings": state.settings.value(), "settingsVersion": state.settings.version() }),
    ))
}

/// `POST /v1/account/settings`: with `expectedVersion`, like everything that has versions.
pub(super) async fn set_settings(
    State(app): State<Arc<App>>,
    Caller(account): Caller,
    Body(body): Body,
) -> Answer {
    let fields = Fields::check(
        &body,
        &[
            ("settings", Kind::NullableText),
            ("expectedVersion", Kind::Number),
        ],
    )?;
    let expected = fields.number("expectedVersion").unwrap_or(-1.0);
    if expected < 0.0 {
        return Err(ApiError::invalid(
            "body/expectedVersion Number must be greater than or equal to 0",
        ));
    }
    let mut state = account.lock();
    if !state.settings.is_current(expected, app.faults()) {
        let version = state.settings.version();
        let mut answer =
            json!({ "success": false, "error": "version-mismatch", "currentVersion": version });
        answer["currentSettings"] = json!(state.settings.value());
        return Ok(Json(answer));
    }
    state.settings.write(fields.owned("settings"), app.faults());
    let settings = state.settings.versioned();
    let profile = Map::from_iter([("settings".to_owned(), json!(settings))]);
    app.update(
        &account,
        &mut state,
        RecipientFilter::UserScopedOnly,
        None,
        |stamp| builders::update_account(account.id(), &profile, stamp),
    );
    Ok(Json(
        json!({ "success": true, "version": settings.version }),
    ))
}
