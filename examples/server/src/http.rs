//! The HTTP side: routes, and signing in.

use axum::extract::State;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use ed25519_dalek::{Signature, VerifyingKey};
use serde::Deserialize;
use serde_json::json;

use crate::account::{App, id, now};
use crate::refusal::{Outcome, Refusal};
use crate::request::Body;
use crate::sql::sql;
use crate::{access_key, machine, message, session};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignIn {
    public_key: String,
    challenge: String,
    signature: String,
}

/// `POST /v1/auth`: who can sign with a key has the account of that key
async fn sign_in(app: State<App>, Body(sign_in): Body<SignIn>) -> Outcome {
    verified(&sign_in).ok_or(Refusal::Unauthorized("Invalid signature"))?;
    let token = id() + &id();
    let account = "INSERT INTO accounts (id, _publicKey) VALUES (?1, ?2) \
        ON CONFLICT (_publicKey) DO UPDATE SET _publicKey = ?2 RETURNING id";
    let account =
        sql!(&app.pool, account, id(), sign_in.public_key).await?.pop().unwrap_or_default();
    let insert = "INSERT INTO tokens (token, account) VALUES (?, ?)";
    sql!(&app.pool, insert, &token, account["id"].as_str()).await?;
    Ok(json!({"success": true, "token": token}))
}

fn verified(sign_in: &SignIn) -> Option<()> {
    let bytes = |text: &str| BASE64_STANDARD.decode(text).ok();
    let key = VerifyingKey::try_from(&*bytes(&sign_in.public_key)?).ok()?;
    let signature = Signature::from_slice(&bytes(&sign_in.signature)?).ok()?;
    key.verify_strict(&bytes(&sign_in.challenge)?, &signature).ok()
}

async fn health() -> Outcome {
    Ok(json!({"status": "ok", "timestamp": now(), "service": "example-server"}))
}

/// A handler whose outcome is answered as JSON.
macro_rules! to {
    ($handler:path $(, $argument:ident)*) => {
        async |$($argument),*| $handler($($argument),*).await.map(Json)
    };
}

/// All routes; `s` is the state, `a` the account, `p` the path, `q` the query and `b` the body.
pub(crate) fn routes(app: App) -> Router {
    let access_key = get(to!(access_key::show, s, a, p))
        .post(to!(access_key::create, s, a, p, b))
        .put(to!(access_key::edit, s, a, p, b));
    let messages = get(to!(message::list, s, a, p, q)).post(to!(message::post, s, a, p, b));
    Router::new()
        .route("/health", get(to!(health)))
        .route("/v1/auth", post(to!(sign_in, s, b)))
        .route("/v1/sessions", get(to!(session::list, s, a)).post(to!(session::create, s, a, b)))
        .route("/v1/sessions/{id}", delete(to!(session::delete, s, a, p)))
        .route("/v1/sessions/{id}/archive", post(to!(session::archive, s, a, p)))
        .route("/v1/sessions/{id}/messages", get(to!(message::list, s, a, p, q)))
        .route("/v3/sessions/{id}/messages", messages)
        .route("/v1/machines", get(to!(machine::list, s, a)).post(to!(machine::create, s, a, b)))
        .route("/v1/machines/{id}", get(to!(machine::read, s, a, p)))
        .route("/v1/access-keys/{session}/{machine}", access_key)
        .fallback(async || Refusal::NotFound("Not found"))
        .with_state(app)
}
