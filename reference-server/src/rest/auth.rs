//! Signing in with a key, and pairing a terminal that another device signs in.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Verifier as _, VerifyingKey};
use serde::Deserialize;
use serde_json::{Value, json};

use super::check::{Fields, Kind};
use super::{Answer, ApiError, Body, Caller};
use crate::app::App;
use crate::decide::{Context, pairing};
use crate::store::PublicKey;

/// `POST /v1/auth`: whoever can sign for a key has its account.
pub(super) async fn sign_in(State(app): State<Arc<App>>, Body(body): Body) -> Answer {
    let fields = Fields::check(
        &body,
        &[
            ("publicKey", Kind::Text),
            ("challenge", Kind::Text),
            ("signature", Kind::Text),
        ],
    )?;
    let key = public_key(fields.text("publicKey"))?;
    let is_signed = || {
        let challenge = STANDARD.decode(fields.text("challenge")).ok()?;
        let signature = STANDARD.decode(fields.text("signature")).ok()?;
        let signature = Signature::from_slice(&signature).ok()?;
        VerifyingKey::from_bytes(&key)
            .ok()?
            .verify(&challenge, &signature)
            .ok()
    };
    is_signed().ok_or_else(|| ApiError::unauthorized("Invalid signature"))?;
    // As many as sign in at the same time may come beyond it.
    let most = app.config.max_accounts;
    if app.store.count() >= most && app.store.account_of_key(&key).is_none() {
        let reason = format!("no more accounts are made: the limit is {most}");
        return Err(ApiError::unavailable(&reason));
    }
    let (account, receipt) = app.signed_in(key);
    receipt.wait().await;
    Ok(Json(json!({ "success": true, "token": account.token() })))
}

/// `POST /v1/auth/request`: a terminal asks to be signed in, again and again until it is.
pub(super) async fn request(State(app): State<Arc<App>>, Body(body): Body) -> Answer {
    let fields = Fields::check(&body, &[("publicKey", Kind::Text)])?;
    let key = public_key(fields.text("publicKey"))?;
    let supports_v2 = body["supportsV2"] == true;
    let pairing = app
        .decide(&app.store.nobody, "auth-request", &Value::Null, |cx| {
            pairing::request(cx, key, supports_v2)
        })
        .await;
    let token = |account: &str| {
        let account = app.store.account(account);
        account.map(|account| account.token().to_owned())
    };
    Ok(Json(match pairing.response {
        None => json!({ "state": "requested" }),
        Some((response, account)) => {
            json!({ "state": "authorized", "token": token(&account), "response": response })
        }
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusQuery {
    public_key: Option<String>,
}

/// `GET /v1/auth/request/status`: how a pairing stands, for the device that is to answer it.
pub(super) async fn status(
    State(app): State<Arc<App>>,
    Query(query): Query<StatusQuery>,
) -> Answer {
    let key = query
        .public_key
        .ok_or_else(|| ApiError::invalid("querystring/publicKey Required"))?;
    // A `+` in a query stands for a space, but clients put base64 there as it is.
    let key = public_key(&key.replace(' ', "+"))?;
    let known = |cx: &Context<'_>| cx.rows.pairings.get(&key).cloned();
    let pairing = app.read(&app.store.nobody, known).await;
    let (status, supports_v2) = match &pairing {
        None => ("not_found", false),
        Some(pairing) if pairing.response.is_none() => ("pending", pairing.supports_v2),
        Some(pairing) => ("authorized", pairing.supports_v2),
    };
    Ok(Json(json!({ "status": status, "supportsV2": supports_v2 })))
}

/// `POST /v1/auth/response`: a signed-in device lets a terminal into its account.
pub(super) async fn respond(Caller { app, account }: Caller, Body(body): Body) -> Answer {
    let fields = Fields::check(
        &body,
        &[("publicKey", Kind::Text), ("response", Kind::Text)],
    )?;
    let key = public_key(fields.text("publicKey"))?;
    let response = fields.text("response");
    let is_there = app
        .decide(&app.store.nobody, "auth-response", &Value::Null, |cx| {
            pairing::respond(cx, key, response, account.id())
        })
        .await;
    if !is_there {
        return Err(ApiError::not_found("Request not found"));
    }
    Ok(Json(json!({ "success": true })))
}

fn public_key(text: &str) -> Result<PublicKey, ApiError> {
    let key = STANDARD
        .decode(text)
        .ok()
        .and_then(|bytes| bytes.try_into().ok());
    key.ok_or_else(|| ApiError::unauthorized("Invalid public key"))
}
