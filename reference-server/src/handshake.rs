//! Who may connect, and as what: the decision on a CONNECT packet's auth payload.

use std::sync::Arc;

use serde_json::Value;

use crate::app::App;
use crate::router::Scope;
use crate::store::Account;

/// The refusals of the specification's decisions, section 1; clients see their text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("Missing authentication token")]
    MissingToken,
    #[error("Invalid authentication token")]
    InvalidToken,
    #[error("Session ID required for session-scoped clients")]
    NoSession,
    #[error("Machine ID required for machine-scoped clients")]
    NoMachine,
}

/// Admits a client to its account, with a scope, or says why not. Whether the named session or
/// machine exists does not matter: an id of another account simply receives nothing.
pub(crate) fn admit(app: &App, auth: &Value) -> Result<(Arc<Account>, Scope), Refusal> {
    let token = match &auth["token"] {
        Value::Null | Value::Bool(false) => return Err(Refusal::MissingToken),
        Value::String(token) if token.is_empty() => return Err(Refusal::MissingToken),
        token => token,
    };
    let id = |field: &str| {
        let id = auth[field].as_str().filter(|id| !id.is_empty());
        id.map(str::to_owned)
    };
    // The scope is judged before the token is looked up: with both wrong, its message is the one.
    let scope = match auth["clientType"].as_str() {
        Some("session-scoped") => Scope::Session(id("sessionId").ok_or(Refusal::NoSession)?),
        Some("machine-scoped") => Scope::Machine(id("machineId").ok_or(Refusal::NoMachine)?),
        _ => Scope::User,
    };
    let account = token
        .as_str()
        .and_then(|token| app.store.account_of_token(token));
    let account = account.ok_or(Refusal::InvalidToken)?;
    Ok((account, scope))
}
