//! Signing in, what happens without, and the answers that all routes share.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rand::Rng as _;
use serde_json::{Value, json};
use touchstone_client::Secret;

use super::told;
use touchstone_harness::{
    case::{Flow, case_table},
    ctx::Ctx,
    ledger::requirement_table,
};

requirement_table! {
    BAD_SIGNATURE = "rest.auth.bad-signature", Must, Decision,
        "Nobody is signed in by a signature that is not that of the key over the challenge.";
    BAD_SIGNATURE_TEXT = "rest.auth.bad-signature-text", Should, Decision,
        "A bad signature is answered 401 `Invalid signature`.";
    SAME_ACCOUNT = "rest.auth.same-account", Should, Decision,
        "Signing in with the same key again leads to the same account.";
    TOKEN_REQUIRED = "rest.token-required", Must, Decision,
        "Without a good bearer token no route gives or changes anything of an account.";
    TOKEN_TEXTS = "rest.token-texts", Should, Decision,
        "A request without a token is answered 401 `Missing authorization header`, one with a bad token \
         401 `Invalid token`.";
    UNKNOWN_ROUTE = "rest.unknown-route", Should, Decision,
        "A route that does not exist is answered 404.";
    SCHEMA = "rest.bad-body", Should, Decision,
        "A body that lacks a required field is answered 400 with error, message and statusCode.";
    HEALTH = "rest.health", Should, Decision,
        "GET /health answers that the status is ok.";
    PAIRING = "rest.pairing", Should, Decision,
        "A terminal asks to be paired, is told requested until a signed-in account answers, and then \
         authorized with a token of that account and the response.";
}

case_table! {
    /// Signs in with a signature of zeros, and with one that was made over another challenge.
    ///
    /// Accepted is 401 `Invalid signature`, and never a token. Typical cause of a failure: the signature is
    /// verified over the challenge that the request brings, without a check of the result; or an exception
    /// of the verifier becomes 500.
    "rest.bad-signature" needs [Rest] judges [BAD_SIGNATURE, BAD_SIGNATURE_TEXT] => bad_signature;

    /// Signs in twice with one key; makes a session with the first token and looks for it with the second.
    ///
    /// Accepted is that it is there. Typical cause of a failure: an account is made at each sign-in,
    /// instead of being looked up by its public key; or the key is compared in another encoding.
    "rest.same-account" needs [Rest] judges [SAME_ACCOUNT] => same_account;

    /// Reads and writes without a token, with an empty one and with an invented one.
    ///
    /// Accepted is 401 with the text for each, and no session. Typical cause of a failure: a route is
    /// registered before the middleware that checks tokens, or an empty token passes.
    "rest.no-token" needs [Rest] judges [TOKEN_REQUIRED, TOKEN_TEXTS] => no_token;

    /// Asks for a route that does not exist, sends bodies that lack a field, and asks for the health.
    ///
    /// Accepted are 404, 400 with `{error, message, statusCode}`, and `{status: "ok"}`. Typical cause of a
    /// failure: the framework's own error pages and validation texts are answered as they are.
    "rest.answers" needs [Rest] judges [UNKNOWN_ROUTE, SCHEMA, HEALTH] => answers;

    /// A new terminal asks to be paired, twice; an account answers it, and the terminal asks again.
    ///
    /// Accepted are `requested`, `requested`, then `authorized` with the response and a token that opens
    /// the account. In between, the account is told that the request is pending. Typical cause of a
    /// failure: the second request makes a new row instead of finding the first by its public key, or the
    /// token belongs to the terminal instead of the account that approved.
    "rest.pairing" needs [Rest, Pairing] judges [PAIRING] => pairing;
}

/// The first key of the test vectors of RFC 8032, and its signature over the empty message: a good
/// signature, but over no challenge that this case sends.
const KEY: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
const SIGNATURE: &str =
    "5VZDAMNgrHKQhuLMgG6CioSHfx645dl02HPgZSJJAVVfuIIVkKM7rMYeOXAc+bRr0lv18FlbviRlUUFDjnoQCw==";

async fn bad_signature(cx: &mut Ctx) -> Flow {
    for signature in [BASE64_STANDARD.encode([0; 64]), SIGNATURE.to_owned()] {
        let body = json!({
            "publicKey": KEY,
            "challenge": BASE64_STANDARD.encode([1; 32]),
            "signature": signature,
        });
        let answer = cx.rest_as(None, "POST", "/v1/auth", &body).await?;
        let refused = answer.status >= 400 && answer.body.get("token").is_none();
        cx.check(
            &BAD_SIGNATURE,
            refused,
            "a refusal without a token",
            answer.status,
        );
        let text = answer.status == 401 && answer.body["error"] == "Invalid signature";
        let expected = "401 Invalid signature";
        cx.check(
            &BAD_SIGNATURE_TEXT,
            text,
            expected,
            format!("{} {}", answer.status, answer.body["error"]),
        );
    }
    Ok(())
}

async fn same_account(cx: &mut Ctx) -> Flow {
    let mut key = [0; 32];
    cx.names().fill_bytes(&mut key);
    let first = cx.sign_in(key).await?;
    let second = cx.sign_in(key).await?;
    let session = cx.session(&first).await?;
    let listed = cx
        .rest(&SAME_ACCOUNT, &second, "GET", "/v1/sessions", &Value::Null)
        .await?;
    let found = super::find(&listed["sessions"], "id", &session.id).is_some();
    let expected = format!("session {} for the second token", session.id);
    cx.check(&SAME_ACCOUNT, found, expected, listed);
    Ok(())
}

async fn no_token(cx: &mut Ctx) -> Flow {
    let account = cx.account().await?;
    let session = cx.session(&account).await?;
    let tag = cx.marker("tag");
    let delete = format!("/v1/sessions/{}", session.id);
    let new = json!({"tag": tag, "metadata": cx.marker("metadata")});
    let requests = [
        ("GET", "/v1/sessions", Value::Null),
        ("POST", "/v1/sessions", new),
        ("GET", "/v1/machines", Value::Null),
        ("DELETE", delete.as_str(), Value::Null),
    ];
    let invented = Secret::new(cx.marker("no-token"));
    for (method, path, body) in &requests {
        for (token, text) in [
            (None, "Missing authorization header"),
            (Some(&invented), "Invalid token"),
        ] {
            let answer = cx.rest_as(token, method, path, body).await?;
            // A server without the route may say so before it looks at the token.
            if matches!(answer.status, 404 | 405 | 501) {
                continue;
            }
            let refused = answer.status >= 400;
            cx.check(&TOKEN_REQUIRED, refused, "a refusal", told(&answer));
            let told_so = answer.status == 401 && answer.body["error"] == text;
            cx.check(&TOKEN_TEXTS, told_so, format!("401 {text}"), told(&answer));
        }
    }
    let listed = cx
        .rest(
            &TOKEN_REQUIRED,
            &account,
            "GET",
            "/v1/sessions",
            &Value::Null,
        )
        .await?;
    let there = super::find(&listed["sessions"], "id", &session.id).is_some();
    cx.check(&TOKEN_REQUIRED, there, "the session as it was", listed);
    Ok(())
}

async fn answers(cx: &mut Ctx) -> Flow {
    let account = cx.account().await?;
    let path = format!("/v1/{}", cx.marker("nowhere"));
    let unknown = cx.rest_any(&account, "GET", &path, &Value::Null).await?;
    cx.check(&UNKNOWN_ROUTE, unknown.status == 404, "404", told(&unknown));
    for (path, body) in [
        ("/v1/sessions", json!({"metadata": cx.marker("notag")})),
        (
            "/v1/sessions",
            json!({"tag": 17, "metadata": cx.marker("wrongtag")}),
        ),
        ("/v1/machines", json!({"metadata": cx.marker("noid")})),
        ("/v1/auth", json!({"publicKey": "no challenge"})),
    ] {
        let answer = cx.rest_any(&account, "POST", path, &body).await?;
        let shaped = answer.status == 400
            && answer.body["statusCode"] == 400
            && answer.body["error"].is_string()
            && answer.body["message"].is_string();
        let expected = format!("400 with error, message and statusCode for {path} {body}");
        cx.check(&SCHEMA, shaped, expected, told(&answer));
    }
    let health = cx.rest_as(None, "GET", "/health", &Value::Null).await?;
    let well = health.status == 200 && health.body["status"] == "ok";
    cx.check(&HEALTH, well, "200 with status ok", told(&health));
    Ok(())
}

async fn pairing(cx: &mut Ctx) -> Flow {
    let account = cx.account().await?;
    let session = cx.session(&account).await?;
    let mut key = [0; 32];
    cx.names().fill_bytes(&mut key);
    let key = BASE64_STANDARD.encode(key);
    let ask = json!({"publicKey": key, "supportsV2": true});
    for _ in 0..2 {
        let answer = cx.rest_as(None, "POST", "/v1/auth/request", &ask).await?;
        let waits = answer.body["state"] == "requested" && answer.body.get("token").is_none();
        cx.check(
            &PAIRING,
            waits,
            "state requested, without a token",
            told(&answer),
        );
    }
    let response = cx.marker("response");
    let answer = json!({"publicKey": key, "response": response});
    cx.rest(&PAIRING, &account, "POST", "/v1/auth/response", &answer)
        .await?;
    let answer = cx.rest_as(None, "POST", "/v1/auth/request", &ask).await?;
    let let_in = answer.body["state"] == "authorized" && answer.body["response"] == response;
    // The answer holds a token, so it is not shown.
    cx.require(
        &PAIRING,
        let_in,
        "authorized, with the response",
        "something else",
    )?;
    let token = Secret::new(answer.body["token"].as_str().unwrap_or_default());
    let listed = cx
        .rest_as(Some(&token), "GET", "/v1/sessions", &Value::Null)
        .await?;
    let same = super::find(&listed.body["sessions"], "id", &session.id).is_some();
    cx.check(
        &PAIRING,
        same,
        "a token that opens the account",
        told(&listed),
    );
    Ok(())
}
