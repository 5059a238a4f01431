//! The account's own profile and settings.

use axum::Json;
use serde_json::json;

use super::check::{Fields, Kind};
use super::{Answer, ApiError, Body, Caller};
use crate::decide::settings;
use crate::decide::versioned::Write;

/// `GET /v1/account/profile`: this server knows only ids; people have no names here.
pub(super) async fn profile(Caller { app, account }: Caller) -> Answer {
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
pub(super) async fn settings(Caller { app, account }: Caller) -> Answer {
    let now = app.read(&account, |cx| cx.rows.settings.versioned()).await;
    Ok(Json(
        json!({ "settings": now.value, "settingsVersion": now.version }),
    ))
}

/// `POST /v1/account/settings`: with `expectedVersion`, like everything that has versions.
pub(super) async fn set_settings(Caller { app, account }: Caller, Body(body): Body) -> Answer {
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
    let settings = fields.owned("settings");
    let write = app
        .decide(&account, "settings", &body, |cx| {
            settings::decide(cx, settings, expected)
        })
        .await;
    Ok(Json(match write {
        Write::Next(now) => json!({ "success": true, "version": now.version }),
        Write::Stale(now) => json!({
            "success": false,
            "error": "version-mismatch",
            "currentVersion": now.version,
            "currentSettings": now.value,
        }),
    }))
}
