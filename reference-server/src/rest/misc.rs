//! Small routes: health, version, push tokens.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::check::{Fields, Kind};
use super::{Answer, ApiError, Body, Caller};
use crate::app::App;
use crate::decide::push;
use crate::store::PushToken;

/// `GET /`.
pub(super) async fn root() -> Answer {
    Ok(Json(json!({ "status": "ok" })))
}

/// `GET /health`: `timestamp` is Unix milliseconds.
pub(super) async fn health(State(app): State<Arc<App>>) -> Answer {
    let service = "touchstone-reference-server";
    Ok(Json(
        json!({ "status": "ok", "timestamp": app.now(), "service": service }),
    ))
}

/// `POST /v1/version`: no client is ever too old for this server.
pub(super) async fn version(Body(body): Body) -> Answer {
    Fields::check(
        &body,
        &[
            ("platform", Kind::Text),
            ("version", Kind::Text),
            ("app_id", Kind::Text),
        ],
    )?;
    Ok(Json(json!({ "updateUrl": null })))
}

/// `GET /v1/push-tokens`.
pub(super) async fn push_tokens(Caller { app, account }: Caller) -> Answer {
    let tokens: Vec<Value> = app
        .read(&account, |cx| {
            cx.rows.push_tokens.iter().map(shown).collect()
        })
        .await;
    Ok(Json(json!({ "tokens": tokens })))
}

fn shown(
    PushToken {
        id,
        token,
        created_at,
    }: &PushToken,
) -> Value {
    json!({ "id": id, "token": token, "createdAt": created_at, "updatedAt": created_at })
}

/// `POST /v1/push-tokens`.
pub(super) async fn add_push_token(Caller { app, account }: Caller, Body(body): Body) -> Answer {
    let token = Fields::check(&body, &[("token", Kind::Text)])?.text("token");
    app.decide(&account, "push-token-add", &body, |cx| push::add(cx, token))
        .await;
    Ok(Json(json!({ "success": true })))
}

/// `DELETE /v1/push-tokens/:token`.
pub(super) async fn remove_push_token(
    Caller { app, account }: Caller,
    Path(token): Path<String>,
) -> Answer {
    app.decide(&account, "push-token-remove", &Value::Null, |_| {
        push::remove(token)
    })
    .await;
    Ok(Json(json!({ "success": true })))
}

/// `POST /v1/sessions/:id/push-event`: connections are told of it, as newer servers do; this server
/// sends no notifications, and says so.
pub(super) async fn push_event(
    Caller { app, account }: Caller,
    Path(id): Path<String>,
    Body(body): Body,
) -> Answer {
    let fields = Fields::check(
        &body,
        &[
            ("kind", Kind::Text),
            ("title", Kind::Text),
            ("body", Kind::Text),
        ],
    )?;
    let told = ["kind", "title", "body"].map(|field| fields.text(field));
    let result = app
        .decide(&account, "push-event", &body, |cx| {
            push::event(cx, id, told)
        })
        .await
        .ok_or_else(|| ApiError::not_found("Session not found"))?;
    Ok(Json(json!({ "success": true, "result": result })))
}
