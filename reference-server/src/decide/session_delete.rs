//! `DELETE /v1/sessions/:id`.

use super::{Context, Outcome};
use crate::announce::{Event, Update};
use crate::router::RecipientFilter;
use crate::store::Change;

/// False if the account has none of this id.
pub(crate) fn decide(cx: &Context<'_>, id: &str) -> Outcome<bool> {
    if !cx.rows.sessions.contains_key(id) {
        return Outcome::of(false);
    }
    let told = Update::DeleteSession(id.to_owned());
    Outcome::of(true)
        .change(Change::SessionDeleted(id.to_owned()))
        .event(Event::update(told, RecipientFilter::UserScopedOnly))
}
