//! Who may connect, and as what: the decision on a CONNECT packet's auth payload.

use std::sync::Arc;

use serde_json::Value;

use crate::app::App;
use crate::faults::Fault;
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
    let faults = app.faults();
    let has_token = auth["token"]
        .as_str()
        .is_some_and(|token| !token.is_empty());
    if faults.on(Fault::TokenOptional) && !has_token {
        return Ok((app.store.stranger(), Scope::User));
    }
    let token = match &auth["token"] {
        Value::Null | Value::Bool(false) => return Err(Refusal::MissingToken),
        Value::String(token) if token.is_empty() => return Err(Refusal::MissingToken),
        token => token,
    };
    let is_known = |field: &String| {
        ["token", "clientType", "sessionId", "machineId"].contains(&field.as_str())
    };
    let is_extended = auth
        .as_object()
        .is_some_and(|auth| !auth.keys().all(is_known));
    if faults.on(Fault::ExtraAuthRefused) && is_extended {
        return Err(Refusal::InvalidToken);
    }
    let id = |field: &str, is_optional: Fault| {
        auth[field]
            .as_str()
            .filter(|id| !id.is_empty())
            .or(faults.on(is_optional).then_some("unknown"))
            .map(str::to_owned)
    };
    // The scope is judged before the token is looked up: with both wrong, its message is the one.
    let scope = match auth["clientType"].as_str() {
        Some("session-scoped") if faults.on(Fault::SessionTypeUnknown) => {
            return Err(Refusal::InvalidToken);
        }
        Some("machine-scoped") if faults.on(Fault::MachineTypeUnknown) => {
            return Err(Refusal::InvalidToken);
        }
        Some("session-scoped") => {
            Scope::Session(id("sessionId", Fault::SessionIdOptional).ok_or(Refusal::NoSession)?)
        }
        Some("machine-scoped") => {
            Scope::Machine(id("machineId", Fault::MachineIdOptional).ok_or(Refusal::NoMachine)?)
        }
        None if faults.on(Fault::ClientTypeRequired) => return Err(Refusal::InvalidToken),
        Some("user-scoped") if faults.on(Fault::UserTypeUnknown) => {
            return Err(Refusal::InvalidToken);
        }
        _ => Scope::User,
    };
    match token
        .as_str()
        .and_then(|token| app.store.account_of_token(token))
    {
        Some(account) => Ok((account, scope)),
        None if faults.on(Fault::RefusalAdmits) => Ok((app.store.stranger(), scope)),
        None => Err(Refusal::InvalidToken),
    }
}
