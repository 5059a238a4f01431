//! Which parts of what a server sends the contract determines. The rest is its choice: the words of
//! refusals, its health, and whether a machine counts as active that nobody connects.

use serde_json::Value;

use super::{
    heard::{What, type_of},
    payload::{Difference, shown},
    script::Exchanged,
};

/// Whether the contract leaves it to the server that a payload differs in this place.
pub(super) fn leaves(
    then: &What,
    now: &What,
    request: Option<&Exchanged>,
    difference: &Difference,
) -> bool {
    let path = difference.path.as_str();
    match (then, now) {
        (What::Refused(_), What::Refused(_)) => true,
        (What::Ack { .. }, What::Ack { .. }) => of_answer(&shown(then), path),
        (What::Answered(_, Some((status, _))), What::Answered(_, Some((other, _)))) => {
            let url = request.map_or("", |request| &request.url);
            status == other && of_exchange(url, *status, path)
        }
        (What::Event { name, args, .. }, What::Event { .. }) => {
            let is_active = matches!(path, "/body/active" | "/body/activeAt");
            is_active && type_of(name, args) == "new-machine"
        }
        _ => false,
    }
}

/// A refusal says that it is one, and a mismatch of an artifact tells the current part once or twice.
fn of_answer(then: &Value, path: &str) -> bool {
    let says = |key: &str, value: Value| then[key] == value;
    if says("result", "error".into()) || says("ok", false.into()) || says("success", false.into()) {
        return !matches!(path, "" | "/result" | "/ok" | "/success");
    }
    let is_part = path.starts_with("/header") || path.starts_with("/body");
    is_part && says("result", "version-mismatch".into())
}

/// A conflict tells the current value, and every other refusal what it likes.
fn of_exchange(url: &str, status: u16, path: &str) -> bool {
    let route = url.split('?').next().unwrap_or_default();
    let is_refusal = status >= 400 && status != 409;
    let is_active = path.ends_with("/active") || path.ends_with("/activeAt");
    path.starts_with("/body")
        && (is_refusal || route == "/health" || (route.starts_with("/v1/machines") && is_active))
}
