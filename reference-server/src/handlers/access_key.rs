//! `accessKeyHandler`: the key that lets a machine read a session.

use serde_json::{Value, json};

use super::{Answer, Call};

/// `access-key-get`: the key of a session and a machine, or null if the pair has none.
pub(super) fn get(call: &Call<'_>) -> Answer {
    let (Some(session), Some(machine)) = (call.data.name("sessionId"), call.data.name("machineId"))
    else {
        return refuse("Invalid parameters: sessionId and machineId are required");
    };
    let state = call.account().lock();
    if !state.sessions.contains_key(session) || !state.machines.contains_key(machine) {
        return refuse("Session or machine not found");
    }
    let pair = (session.to_owned(), machine.to_owned());
    let key = state.access_keys.get(&pair);
    Answer::Now(json!({ "ok": true, "accessKey": key.map(crate::rest::access_keys::view) }))
}

fn refuse(error: &str) -> Answer {
    let answer: Value = json!({ "ok": false, "error": error });
    Answer::Now(answer)
}
