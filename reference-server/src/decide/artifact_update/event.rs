//! `artifact-update` as an event has it: its fields, and its answers.

use serde_json::{Value, json};

use super::{Parts, Updated, decide};
use crate::builders::Versioned;
use crate::decide::{Call, Context, INTERNAL_ERROR, Outcome, failed};
use crate::seams::Reply;

/// The names of header and body.
const NAMES: [&str; 2] = ["header", "body"];

pub(crate) fn on_event(cx: &Context<'_>, call: &Call<'_>) -> Outcome<Reply> {
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
