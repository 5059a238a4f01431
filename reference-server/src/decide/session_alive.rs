//! `session-alive`: a heartbeat. One that is missing its time, too old, or of an ended session is
//! ignored.
//!
//! A session that was ended or archived stays so: nothing in the interface reopens it, posting its
//! tag again answers it unchanged, and clients start a new session with a new tag. Heartbeats that
//! were under way when it ended must not bring it back.

use serde_json::Value;

use super::session_update::NO_SESSION;
use super::{Call, Context, Outcome};
use crate::announce::Event;
use crate::builders;
use crate::seams::Reply;
use crate::store::Change;

/// Why heartbeats of sessions are ignored, for the log.
pub(super) const NO_TIME: &str = "sid or time is missing, of a wrong type, or too old";

pub(super) fn decide(cx: &Context<'_>, call: &Call<'_>) -> Outcome<Reply> {
    let time = cx.heartbeat_time(call.data.number("time"));
    let (Some(id), Some(at)) = (call.data.text("sid"), time) else {
        return Outcome::of(Reply::Ignored(NO_TIME));
    };
    let Some(session) = cx.rows.sessions.get(id) else {
        return Outcome::of(Reply::Ignored(NO_SESSION));
    };
    if session.ended && !cx.policy().revive_ended {
        return Outcome::of(Reply::Ignored("the session has ended"));
    }
    let thinking = is_truthy(call.data.get("thinking"));
    let (id, active, ended) = (id.to_owned(), true, session.ended);
    let told = builders::session_activity(&id, active, at, Some(thinking));
    Outcome::of(Reply::Nothing)
        .change(Change::SessionPresence {
            id,
            active,
            ended,
            at,
        })
        .event(Event::ephemeral(told))
}

/// Whether JavaScript, in which the clients are written, would take a value for true.
fn is_truthy(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Number(number)) => number.as_f64().is_some_and(|number| number != 0.0),
        Some(Value::String(text)) => !text.is_empty(),
        Some(_) => true,
    }
}
