//! `POST /v1/account/settings`: with `expectedVersion`, like everything that has versions.

use serde_json::{Map, json};

use super::versioned::Write;
use super::{Context, Outcome};
use crate::announce::{Event, Update};
use crate::router::RecipientFilter;
use crate::store::{Change, Part};

pub(crate) fn decide(cx: &Context<'_>, settings: Option<String>, expected: f64) -> Outcome<Write> {
    let write = cx.write(&cx.rows.settings, settings, expected);
    let Write::Next(now) = &write else {
        return Outcome::of(write);
    };
    let told = Update::UpdateAccount {
        user_id: cx.rows.id.clone(),
        profile: Map::from_iter([("settings".to_owned(), json!(now))]),
    };
    let change = Change::written(Part::Settings, now, cx.now);
    Outcome::of(write)
        .change(change)
        .event(Event::update(told, RecipientFilter::UserScopedOnly))
}
