//! Access keys: one per session and machine.

use axum::Json;
use axum::extract::Path;
use serde_json::json;

use super::check::{Fields, Kind};
use super::{Answer, ApiError, Body, Caller};
use crate::decide::access_key::{self, view};
use crate::decide::versioned::Write;
use crate::store::Pair;

/// `GET /v1/access-keys/:sessionId/:machineId`.
pub(super) async fn read(Caller { app, account }: Caller, Path(pair): Path<Pair>) -> Answer {
    let key = app
        .read(&account, |cx| {
            let has_pair = cx.may_have_key(&pair);
            has_pair.then(|| cx.rows.access_keys.get(&pair).map(view))
        })
        .await
        .ok_or_else(no_pair)?;
    Ok(Json(json!({ "accessKey": key })))
}

/// `POST /v1/access-keys/:sessionId/:machineId`.
pub(super) async fn create(
    Caller { app, account }: Caller,
    Path(pair): Path<Pair>,
    Body(body): Body,
) -> Answer {
    let data = Fields::check(&body, &[("data", Kind::Text)])?.text("data");
    let answer = app
        .decide(&account, "access-key-create", &body, |cx| {
            access_key::create(cx, pair, data)
        })
        .await;
    answered(answer)
}

/// `PUT /v1/access-keys/:sessionId/:machineId`.
pub(super) async fn update(
    Caller { app, account }: Caller,
    Path(pair): Path<Pair>,
    Body(body): Body,
) -> Answer {
    let fields = Fields::check(
        &body,
        &[("data", Kind::Text), ("expectedVersion", Kind::Number)],
    )?;
    let expected = fields.number("expectedVersion").unwrap_or(-1.0);
    let answer = app
        .decide(&account, "access-key-update", &body, |cx| {
            access_key::update(cx, pair, fields.text("data"), expected)
        })
        .await;
    answered(answer)
}

fn answered(answer: access_key::Answer) -> Answer {
    Ok(Json(match answer {
        access_key::Answer::NoPair => return Err(no_pair()),
        access_key::Answer::Exists => return Err(ApiError::conflict("Access key already exists")),
        access_key::Answer::Missing => return Err(ApiError::not_found("Access key not found")),
        access_key::Answer::Created(key) => json!({ "success": true, "accessKey": key }),
        access_key::Answer::Written(Write::Next(now)) => {
            json!({ "success": true, "version": now.version })
        }
        access_key::Answer::Written(Write::Stale(now)) => json!({
            "success": false,
            "error": "version-mismatch",
            "currentVersion": now.version,
            "currentData": now.value,
        }),
    }))
}

fn no_pair() -> ApiError {
    ApiError::not_found("Session or machine not found")
}
