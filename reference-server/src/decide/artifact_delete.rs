//! `artifact-delete`, and `DELETE /v1/artifacts/:id`.

use serde_json::json;

use super::{Call, Context, Outcome, failed};
use crate::announce::{Event, Update};
use crate::router::RecipientFilter;
use crate::seams::Reply;
use crate::store::Change;

pub(super) fn on_event(cx: &Context<'_>, call: &Call<'_>) -> Outcome<Reply> {
    let Some(id) = call.data.name("artifactId") else {
        return failed("Invalid parameters");
    };
    decide(cx, id).map(|is_there| match is_there {
        true => Reply::Ack(json!({ "result": "success" })),
        false => failed("Artifact not found").answer,
    })
}

/// False if the account has none of this id.
pub(crate) fn decide(cx: &Context<'_>, id: &str) -> Outcome<bool> {
    if !cx.rows.artifacts.contains_key(id) {
        return Outcome::of(false);
    }
    let told = Update::DeleteArtifact(id.to_owned());
    Outcome::of(true)
        .change(Change::ArtifactDeleted(id.to_owned()))
        .event(Event::update(told, RecipientFilter::UserScopedOnly))
}
