//! `artifact-update`, and `POST /v1/artifacts/:id`: header, body or both. A mismatch of one stops both.

use serde_json::{Value, json};

use super::artifact_create::is_base64;
use super::versioned::Write;
use super::{Call, Context, INTERNAL_ERROR, Outcome, failed};
use crate::announce::{Event, Update};
use crate::builders::Versioned;
use crate::router::RecipientFilter;
use crate::seams::Reply;
use crate::store::{Change, Part};

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

/// The names of header and body.
pub(crate) const NAMES: [&str; 2] = ["header", "body"];

pub(super) fn on_event(cx: &Context<'_>, call: &Call<'_>) -> Outcome<Reply> {
    let Some(id) = call.data.name("artifactId") else {
        return failed("Invalid parameters");
    };
    let mut wanted = [None, None];
    for (index, problem) in ["Invalid header parameters", "Invalid body parameters"]
        .into_iter()
        .enumerate()
    {
        let part = call.data.get(NAMES[index]).filter(|part| !part.is_null());
        let Some(part) = part else { continue };
        match (part["data"].as_str(), part["expectedVersion"].as_f64()) {
            (Some(data), Some(expected)) => wanted[index] = Some((data.to_owned(), expected)),
            _ => return failed(problem),
        }
    }
    if wanted == [None, None] {
        return failed("No updates provided");
    }
    decide(cx, id, wanted).map(|updated| match updated {
        Updated::Missing => failed("Artifact not found").answer,
        Updated::NotBase64 => failed(INTERNAL_ERROR).answer,
        Updated::Stale(stale) => answer("version-mismatch", stale, |now| {
            let Versioned { value, version } = now;
            json!({ "version": version, "currentVersion": version, "data": value, "currentData": value })
        }),
        Updated::Written(written) => answer("success", written, |now| {
            json!({ "version": now.version, "data": now.value })
        }),
    })
}

fn answer(result: &str, parts: Parts<Versioned>, show: fn(Versioned) -> Value) -> Reply {
    let mut answer = json!({ "result": result });
    for (name, part) in NAMES.into_iter().zip(parts) {
        if let Some(part) = part {
            answer[name] = show(part);
        }
    }
    Reply::Ack(answer)
}

pub(crate) fn decide(cx: &Context<'_>, id: &str, wanted: Parts<Wanted>) -> Outcome<Updated> {
    let Some(artifact) = cx.rows.artifacts.get(id) else {
        return Outcome::of(Updated::Missing);
    };
    if !wanted.iter().flatten().all(|(data, _)| is_base64(cx, data)) {
        return Outcome::of(Updated::NotBase64);
    }
    let (mut written, mut stale) = ([None, None], [None, None]);
    let cells = [&artifact.header, &artifact.body];
    for (index, (cell, wanted)) in cells.into_iter().zip(wanted).enumerate() {
        match wanted.map(|(data, expected)| cx.write(cell, Some(data), expected)) {
            None => {}
            Some(Write::Next(now)) => written[index] = Some(now),
            Some(Write::Stale(now)) => stale[index] = Some(now),
        }
    }
    let is_stale = stale.iter().any(Option::is_some);
    if is_stale && !cx.policy().artifact_partial || written == [None, None] {
        return Outcome::of(if is_stale {
            Updated::Stale(stale)
        } else {
            Updated::Written(written)
        });
    }
    let seq = artifact.seq + 1;
    let (artifact_id, at) = (id.to_owned(), cx.now);
    let mut outcome = Outcome::of(()).change(Change::ArtifactRaised {
        id: artifact_id.clone(),
        seq,
    });
    let parts = [
        Part::ArtifactHeader(id.to_owned()),
        Part::ArtifactBody(id.to_owned()),
    ];
    for (part, now) in parts.into_iter().zip(&written) {
        if let Some(Versioned { value, version }) = now.clone() {
            outcome = outcome.change(Change::Written {
                part,
                value,
                version,
                at,
            });
        }
    }
    let [header, body] = written.clone();
    let told = Update::UpdateArtifact {
        artifact_id,
        header,
        body,
    };
    outcome
        .event(Event::update(told, RecipientFilter::UserScopedOnly))
        .map(|()| {
            if is_stale {
                Updated::Stale(stale)
            } else {
                Updated::Written(written)
            }
        })
}
