//! `access-key-get`: the key that lets a machine read a session, or null if the pair has none.

use serde_json::json;

use super::access_key::view;
use super::{Call, Context, Outcome};
use crate::seams::Reply;

pub(super) fn decide(cx: &Context<'_>, call: &Call<'_>) -> Outcome<Reply> {
    let (Some(session), Some(machine)) = (call.data.name("sessionId"), call.data.name("machineId"))
    else {
        return refuse("Invalid parameters: sessionId and machineId are required");
    };
    let pair = (session.to_owned(), machine.to_owned());
    if !cx.rows.has_pair(&pair) {
        return refuse("Session or machine not found");
    }
    let key = cx.rows.access_keys.get(&pair).map(view);
    Outcome::of(Reply::Ack(json!({ "ok": true, "accessKey": key })))
}

fn refuse(error: &str) -> Outcome<Reply> {
    Outcome::of(Reply::Ack(json!({ "ok": false, "error": error })))
}
