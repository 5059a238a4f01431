//! `artifact-read`.

use super::artifact_create::shown;
use super::{Call, Context, Outcome, failed};
use crate::seams::Reply;

pub(super) fn decide(cx: &Context<'_>, call: &Call<'_>) -> Outcome<Reply> {
    let Some(id) = call.data.name("artifactId") else {
        return failed("Invalid parameters");
    };
    match cx.rows.artifact(id) {
        Some(artifact) => Outcome::of(shown(&artifact)),
        None => failed("Artifact not found"),
    }
}
