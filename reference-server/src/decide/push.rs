//! Devices that want notifications, and what they would be told. This server sends none; it keeps the
//! list, and tells connections.

use super::{Context, Outcome};
use crate::announce::Event;
use crate::builders;
use crate::router::RecipientFilter;
use crate::store::{Change, PushToken};

/// `POST /v1/push-tokens`: registers a device once.
pub(crate) fn add(cx: &Context<'_>, token: &str) -> Outcome<()> {
    if cx.rows.push_tokens.iter().any(|known| known.token == token) {
        return Outcome::of(());
    }
    let token = PushToken {
        id: cx.new_id(),
        token: token.to_owned(),
        created_at: cx.now,
    };
    Outcome::of(()).change(Change::PushTokenAdded(token))
}

/// `DELETE /v1/push-tokens/:token`.
pub(crate) fn remove(token: String) -> Outcome<()> {
    Outcome::of(()).change(Change::PushTokenRemoved(token))
}

/// `POST /v1/sessions/:id/push-event`: what is answered as the result; `None` if the account has no
/// such session.
pub(crate) fn event(
    cx: &Context<'_>,
    id: String,
    [kind, title, text]: [&str; 3],
) -> Outcome<Option<&'static str>> {
    if !cx.rows.sessions.contains_key(&id) {
        return Outcome::of(None);
    }
    let told = builders::session_event(&id, kind, title, text, cx.now);
    let has_devices = !cx.rows.push_tokens.is_empty();
    let result = if has_devices { "not_sent" } else { "no_tokens" };
    Outcome::of(Some(result)).event(Event {
        filter: RecipientFilter::AllInterestedInSession { session_id: id },
        ..Event::ephemeral(told)
    })
}
