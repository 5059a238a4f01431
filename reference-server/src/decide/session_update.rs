//! `update-metadata` and `update-state`: the two parts of a session that change by themselves.

use serde_json::{Value, json};

use super::versioned::Write;
use super::{Call, Context, Outcome};
use crate::announce::{Event, Update};
use crate::router::RecipientFilter;
use crate::seams::Reply;
use crate::store::{Change, Part};

/// Why events of sessions are refused or ignored, for the log.
pub(super) const WRONG_FIELDS: &str = "a field is missing or of a wrong type";
pub(super) const NO_SESSION: &str = "the account has no session of this id";

/// The error answer; the interface gives it no message.
pub(super) fn error() -> Value {
    json!({ "result": "error" })
}

/// `update-metadata`.
pub(super) fn metadata(cx: &Context<'_>, call: &Call<'_>) -> Outcome<Reply> {
    let value = call.data.text("metadata").map(|text| Some(text.to_owned()));
    decide(cx, call, "metadata", value)
}

/// `update-state`: null clears the state.
pub(super) fn state(cx: &Context<'_>, call: &Call<'_>) -> Outcome<Reply> {
    let value = match call.data.get("agentState") {
        Some(Value::Null) => Some(None),
        _ => call
            .data
            .text("agentState")
            .map(|text| Some(text.to_owned())),
    };
    decide(cx, call, "agentState", value)
}

fn decide(
    cx: &Context<'_>,
    call: &Call<'_>,
    field: &str,
    value: Option<Option<String>>,
) -> Outcome<Reply> {
    let fields = (
        call.data.text("sid"),
        value,
        call.data.number("expectedVersion"),
    );
    let (Some(id), Some(value), Some(expected)) = fields else {
        return Outcome::of(Reply::Refused(error(), WRONG_FIELDS));
    };
    let Some(session) = cx.rows.sessions.get(id) else {
        return Outcome::of(Reply::Refused(error(), NO_SESSION));
    };
    let (session_id, is_metadata) = (id.to_owned(), field == "metadata");
    let (cell, part) = match is_metadata {
        true => (&session.metadata, Part::SessionMetadata(session_id.clone())),
        false => (&session.agent_state, Part::SessionState(session_id.clone())),
    };
    let write = cx.write(cell, value, expected);
    let outcome = Outcome::of(Reply::Ack(write.answer(field)));
    let Write::Next(now) = write else {
        return outcome;
    };
    let change = Change::written(part, &now, cx.now);
    let (metadata, agent_state) = if is_metadata {
        (Some(now), None)
    } else {
        (None, Some(now))
    };
    let filter = RecipientFilter::AllInterestedInSession {
        session_id: session_id.clone(),
    };
    let update = Update::UpdateSession {
        session_id,
        metadata,
        agent_state,
    };
    outcome.change(change).event(Event::update(update, filter))
}
