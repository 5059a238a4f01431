//! `session-end`, and `POST /v1/sessions/:id/archive`: the session is inactive from now on.

use super::session_alive::NO_TIME;
use super::session_update::NO_SESSION;
use super::{Call, Context, Outcome};
use crate::announce::Event;
use crate::builders;
use crate::seams::Reply;
use crate::store::Change;

pub(super) fn on_event(cx: &Context<'_>, call: &Call<'_>) -> Outcome<Reply> {
    let time = cx.heartbeat_time(call.data.number("time"));
    let (Some(id), Some(at)) = (call.data.text("sid"), time) else {
        return Outcome::of(Reply::Ignored(NO_TIME));
    };
    decide(cx, id, at).map(|is_there| match is_there {
        true => Reply::Nothing,
        false => Reply::Ignored(NO_SESSION),
    })
}

/// Ends a session, each time it is asked for; false if the account has none of this id.
pub(crate) fn decide(cx: &Context<'_>, id: &str, at: i64) -> Outcome<bool> {
    if !cx.rows.sessions.contains_key(id) {
        return Outcome::of(false);
    }
    let (id, active, ended) = (id.to_owned(), false, true);
    let told = builders::session_activity(&id, active, at, None);
    Outcome::of(true)
        .change(Change::SessionPresence {
            id,
            active,
            ended,
            at,
        })
        .event(Event::ephemeral(told))
}
