//! `artifact-update`, and `POST /v1/artifacts/:id`: header, body or both. A mismatch of one stops both.

use super::artifact_create::is_base64;
use super::versioned::Write;
use super::{Context, Outcome};
use crate::announce::{Event, Update};
use crate::builders::Versioned;
use crate::router::RecipientFilter;
use crate::store::{Change, Part};

mod event;

pub(super) use event::on_event;

/// Header and body, as far as they are meant.
pub(crate) type Parts<T> = [Option<T>; 2];

/// A part to write, and the version that its writer has seen.
pub(crate) type Wanted = (String, f64);

/// What becomes of an update.
pub(crate) enum Updated {
    /// The account has no such artifact.
    Missing,
    /// A part is not standard base64 with padding.
    NotBase64,
    /// These parts are at another version than expected.
    Stale(Parts<Versioned>),
    /// What the parts are now.
    Written(Parts<Versioned>),
}

pub(crate) fn decide(cx: &Context<'_>, id: &str, wanted: Parts<Wanted>) -> Outcome<Updated> {
    let Some(artifact) = cx.rows.artifacts.get(id) else {
        return Outcome::of(Updated::Missing);
    };
    let mut texts = wanted.iter().flatten().map(|(text, _)| text);
    if !texts.all(|text| is_base64(cx, text)) {
        return Outcome::of(Updated::NotBase64);
    }
    let (mut written, mut stale) = ([None, None], [None, None]);
    let cells = [&artifact.header, &artifact.body];
    for (index, (cell, wanted)) in cells.into_iter().zip(wanted).enumerate() {
        match wanted.map(|(text, expected)| cx.write(cell, Some(text), expected)) {
            None => {}
            Some(Write::Next(now)) => written[index] = Some(now),
            Some(Write::Stale(now)) => stale[index] = Some(now),
        }
    }
    let (is_stale, (id, at)) = (stale != [None, None], (id.to_owned(), cx.now));
    let is_stopped = is_stale && !cx.policy().artifact_partial || written == [None, None];
    let parts = [
        Part::ArtifactHeader(id.clone()),
        Part::ArtifactBody(id.clone()),
    ];
    let [header, body] = written.clone();
    let answer = if is_stale {
        Updated::Stale(stale)
    } else {
        Updated::Written(written)
    };
    let mut outcome = Outcome::of(answer);
    if is_stopped {
        return outcome;
    }
    let (raised, seq) = (id.clone(), artifact.seq + 1);
    outcome = outcome.change(Change::ArtifactRaised { id: raised, seq });
    for (part, now) in parts.into_iter().zip([&header, &body]) {
        if let Some(now) = now {
            outcome = outcome.change(Change::written(part, now, at));
        }
    }
    let artifact_id = id;
    let told = Update::UpdateArtifact {
        artifact_id,
        header,
        body,
    };
    outcome.event(Event::update(told, RecipientFilter::UserScopedOnly))
}
