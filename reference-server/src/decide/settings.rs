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
    let (value, version, at) = (now.value.clone(), now.version, cx.now);
    let part = Part::Settings;
    Outcome::of(write)
        .change(Change::Written {
            part,
            value,
            version,
            at,
        })
        .event(Event::update(told, RecipientFilter::UserScopedOnly))
}
