//! Small routes: health, version, push tokens.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::check::{Fields, Kind};
use super::{Answer, ApiError, Body, Caller};
use crate::app::App;
use crate::builders;
use crate::router::RecipientFilter;
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
pub(super) async fn push_tokens(Caller(account): Caller) -> Answer {
    let state = account.lock();
    let tokens: Vec<Value> = state
        .push_tokens
        .iter()
        .map(|PushToken { id, token, created_at }| {
            json!({ "id": id, "token": token, "createdAt": created_at, "updatedAt": created_at })
        })
        .collect();
    Ok(Json(json!({ "tokens": tokens })))
}

/// `POST /v1/push-tokens`: registers a device once.
pub(super) async fn add_push_token(
    State(app): State<Arc<App>>,
    Caller(account): Caller,
    Body(body): Body,
) -> Answer {
    let token = Fields::check(&body, &[("token", Kind::Text)])?.text("token");
    let mut state = account.lock();
    if state.push_tokens.iter().all(|known| known.token != token) {
        let (id, created_at) = (app.config.ids.record(), app.now());
        state.push_tokens.push(PushToken {
            id,
            token: token.to_owned(),
            created_at,
        });
    }
    Ok(Json(json!({ "success": true })))
}

/// `DELETE /v1/push-tokens/:token`.
pub(super) async fn remove_push_token(
    Caller(account): Caller,
    Path(token): Path<String>,
) -> Answer {
    account
        .lock()
        .push_tokens
        .retain(|known| known.token != token);
    Ok(Json(json!({ "success": true })))
}

/// `POST /v1/sessions/:id/push-event`: connections are told of it, as newer servers do; this server
/// sends no notifications, and says so.
pub(super) async fn push_event(
    State(app): State<Arc<App>>,
    Caller(account): Caller,
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
    let state = account.lock();
    if !state.sessions.contains_key(&id) {
        return Err(ApiError::not_found("Session not found"));
    }
    let [kind, title, text] = ["kind", "title", "body"].map(|field| fields.text(field));
    let payload = builders::session_event(&id, kind, title, text, app.now());
    let filter = RecipientFilter::AllInterestedInSession { session_id: id };
    app.ephemeral_to(&account, &state, &filter, payload);
    let result = if state.push_tokens.is_empty() {
        "no_tokens"
    } else {
        "not_sent"
    };
    Ok(Json(json!({ "success": true, "result": result })))
}
