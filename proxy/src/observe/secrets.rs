//! What of an exchange nobody is to see: tokens of others, and what a pairing hands over.
//!
//! The token that an account is told apart by stays until the recorder gives it a name; so do signatures
//! and challenges, which the recorder hides.

use serde_json::Value;
use touchstone_client::trace::{HIDDEN, Recorder};
use touchstone_client::{SECRET_WORDS, Secret, is_secret_key};
use url::form_urlencoded;

/// The routes whose `token` is the one that clients then connect with.
const SIGN_IN: [&str; 3] = ["/v1/auth", "/v1/auth/request", "/v1/auth/account/request"];
/// Below this, `response` is what a pairing hands over.
const PAIRING: &str = "/v1/auth/";
/// Below these, the next part of the path is a secret.
const IN_PATH: [&str; 1] = ["/v1/push-tokens/"];

/// The path and query of a request, with secret values hidden.
pub(crate) fn hidden_in_target(target: &str) -> String {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let mut shown = IN_PATH
        .iter()
        .find_map(|prefix| {
            let end = path.find(prefix)? + prefix.len();
            Some(format!("{}{HIDDEN}", &path[..end]))
        })
        .unwrap_or_else(|| path.to_owned());
    if let Some(query) = query {
        let mut separator = '?';
        for part in query.split('&') {
            let key = part.split('=').next().unwrap_or_default();
            let name = form_urlencoded::parse(key.as_bytes()).next();
            let is_secret = name.is_some_and(|(name, _)| is_secret_key(&name)) || key == "code";
            shown.push(separator);
            match is_secret {
                true => shown.extend([key, "=", HIDDEN]),
                false => shown.push_str(part),
            }
            separator = '&';
        }
    }
    shown
}

/// Puts the label of a token in its place in the auth of a CONNECT.
pub(crate) fn label_token(recorder: &Recorder, auth: &mut Value) {
    if let Some(Value::String(token)) = auth.get_mut("token")
        && !token.is_empty()
    {
        *token = recorder.know(&Secret::new(token.as_str()));
    }
}

/// Hides what is secret in the body of a request to `target`, or of its answer.
pub(super) fn hide_in_body(target: &str, body: &mut Value) {
    let path = target.split('?').next().unwrap_or_default();
    let has_token = SIGN_IN.iter().any(|route| path.ends_with(route));
    let is_pairing = path.contains(PAIRING);
    hide(body, |key| match key {
        "token" => !has_token,
        "response" => is_pairing,
        _ => is_secret_key(key),
    });
}

/// Hides the strings of an object whose keys are so, and further below all that are secret.
fn hide(value: &mut Value, is_hidden: impl Fn(&str) -> bool) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| hide(item, is_secret_key)),
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    // That there was none has to be seen.
                    Value::String(text) if !text.is_empty() && is_hidden(key) => {
                        HIDDEN.clone_into(text);
                    }
                    other => hide(other, is_secret_key),
                }
            }
        }
        _ => {}
    }
}

/// A body that is no JSON, or whose end is missing. Nobody knows where a secret in it would end: what is said
/// where accounts sign in and are paired, and what gives a value to a secret name, is hidden as a whole.
pub(super) fn hidden_text(target: &str, text: String) -> String {
    let path = target.split('?').next().unwrap_or_default();
    let lower = text.to_ascii_lowercase();
    let is_part_of_name = |c: char| c.is_alphanumeric() || "_-\"' ".contains(c);
    let gives_value = |word: &&str| {
        lower.match_indices(*word).any(|(at, word)| {
            let rest = &lower[at + word.len()..];
            rest.trim_start_matches(is_part_of_name)
                .starts_with([':', '='])
        })
    };
    let is_secret = path.contains(SIGN_IN[0])
        || ["token", "jwt"]
            .iter()
            .chain(&SECRET_WORDS)
            .any(gives_value);
    match is_secret {
        true => HIDDEN.to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bodies_that_are_no_json() {
        #[track_caller]
        fn check(target: &str, text: &str, expected: &str) {
            assert_eq!(hidden_text(target, text.to_owned()), expected);
        }
        check("/v1/x", "a=1&access_token=abc", "…");
        check("/v1/x", r#"{"a":1,"token": "ab"#, "…");
        check("/v1/x", r#"{"a":1,"b": "ab"#, r#"{"a":1,"b": "ab"#);
        check("/v1/x", "Invalid token", "Invalid token");
        check("/p/v1/auth/response?a=1", "publicKey", "…");
    }

    #[test]
    fn targets() {
        #[track_caller]
        fn check(target: &str, expected: &str) {
            assert_eq!(hidden_in_target(target), expected);
        }
        check("/v1/sessions?limit=3", "/v1/sessions?limit=3");
        check("/v1/x?token=abc&a=1", "/v1/x?token=…&a=1");
        check(
            "/v1/github/callback?code=abc&state=s",
            "/v1/github/callback?code=…&state=s",
        );
        check("/p/v1/push-tokens/abc", "/p/v1/push-tokens/…");
    }

    #[test]
    fn bodies() {
        #[track_caller]
        fn check(target: &str, mut body: Value, expected: &Value) {
            hide_in_body(target, &mut body);
            assert_eq!(&body, expected, "{target}");
        }
        let signed_in = json!({"success": true, "token": "abc"});
        check("/v1/auth", signed_in.clone(), &signed_in);
        check(
            "/v1/connect/x/register",
            json!({"token": "abc"}),
            &json!({"token": "…"}),
        );
        check(
            "/v1/auth/request",
            json!({"state": "authorized", "token": "abc", "response": "secret"}),
            &json!({"state": "authorized", "token": "abc", "response": "…"}),
        );
        check(
            "/v1/auth/response",
            json!({"publicKey": "k", "response": "secret"}),
            &json!({"publicKey": "k", "response": "…"}),
        );
        check(
            "/v1/x",
            json!([{"pushToken": "abc", "tokens": {"total": 1}, "token": ""}]),
            &json!([{"pushToken": "…", "tokens": {"total": 1}, "token": ""}]),
        );
    }
}
