//! `artifactUpdateHandler`: reading, creating, changing and deleting artifacts. The REST surface
//! calls the same operations.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{Answer, Call, Data, INTERNAL_ERROR, failed};
use crate::app::App;
use crate::builders::{self, ArtifactRow, Versioned};
use crate::faults::{Fault, Faults};
use crate::router::RecipientFilter;
use crate::store::{Account, AccountState, Artifact, Cell};

/// `artifact-read`.
pub(super) fn on_read(call: &Call<'_>) -> Answer {
    let Some(id) = call.data.name("artifactId") else {
        return refuse("Invalid parameters");
    };
    let state = call.account().lock();
    state.artifacts.get(id).map_or_else(
        || refuse("Artifact not found"),
        |artifact| succeed(&artifact.row()),
    )
}

/// `artifact-create`: the existing artifact if the account has one of this id.
pub(super) fn on_create(call: &Call<'_>) -> Answer {
    let text = |field| call.data.text(field);
    let (Some(id), Some(header), Some(body), Some(key)) = (
        call.data.name("id"),
        text("header"),
        text("body"),
        text("dataEncryptionKey"),
    ) else {
        return refuse("Invalid parameters");
    };
    match create(call.app, call.account(), id, header, body, key) {
        Ok(artifact) => succeed(&artifact),
        Err(CreateError::Foreign) => {
            refuse("Artifact with this ID already exists for another account")
        }
        Err(CreateError::NotBase64) => refuse(INTERNAL_ERROR),
    }
}

/// `artifact-update`: header, body or both; a mismatch of one stops both.
pub(super) fn on_update(call: &Call<'_>) -> Answer {
    let Some(id) = call.data.name("artifactId") else {
        return refuse("Invalid parameters");
    };
    let mut changes = Vec::new();
    for (part, problem) in [
        (Part::Header, "Invalid header parameters"),
        (Part::Body, "Invalid body parameters"),
    ] {
        match asked(&call.data, part) {
            Asked::Nothing => {}
            Asked::Change(change) => changes.push(change),
            Asked::Nonsense => return refuse(problem),
        }
    }
    if changes.is_empty() && call.faults().on(Fault::ArtifactNoUpdates) {
        return Answer::Now(json!({ "result": "success" }));
    }
    if changes.is_empty() {
        return refuse("No updates provided");
    }
    match update(call.app, call.account(), id, changes) {
        Updated::Missing => refuse("Artifact not found"),
        Updated::NotBase64 => refuse(INTERNAL_ERROR),
        Updated::Stale(stale) => Answer::Now(mismatch(&stale)),
        Updated::Written(written) => {
            let mut answer = json!({ "result": "success" });
            for (part, now) in written {
                answer[part.name()] = json!({ "version": now.version, "data": now.value });
            }
            Answer::Now(answer)
        }
    }
}

/// `artifact-delete`.
pub(super) fn on_delete(call: &Call<'_>) -> Answer {
    let Some(id) = call.data.name("artifactId") else {
        return refuse("Invalid parameters");
    };
    if delete(call.app, call.account(), id) {
        Answer::Now(json!({ "result": "success" }))
    } else {
        refuse("Artifact not found")
    }
}

fn refuse(message: &str) -> Answer {
    Answer::Now(failed(message))
}

/// The interface has no `dataEncryptionKey` in these answers.
fn succeed(artifact: &ArtifactRow) -> Answer {
    let mut row = json!(artifact);
    if let Some(fields) = row.as_object_mut() {
        fields.shift_remove("dataEncryptionKey");
    }
    Answer::Now(json!({ "result": "success", "artifact": row }))
}

/// The parts that mismatch, and only those. The interface wants `version` and `data` in every part
/// and adds `current…` on a mismatch; both say what is stored now.
fn mismatch(stale: &[(Part, Versioned)]) -> Value {
    let mut answer = Map::new();
    answer.insert("result".to_owned(), "version-mismatch".into());
    for (part, now) in stale {
        let fields = json!({
            "version": now.version,
            "currentVersion": now.version,
            "data": now.value,
            "currentData": now.value,
        });
        answer.insert(part.name().to_owned(), fields);
    }
    Value::Object(answer)
}

/// One of the two parts of an artifact that change by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// What lists show.
    Header,
    /// The content.
    Body,
}

impl Part {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Body => "body",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Header => Self::Body,
            Self::Body => Self::Header,
        }
    }

    fn of(self, artifact: &mut Artifact) -> &mut Cell {
        match self {
            Self::Header => &mut artifact.header,
            Self::Body => &mut artifact.body,
        }
    }
}

/// A part to write, and the version that its writer has seen.
pub(crate) struct PartChange {
    pub(crate) part: Part,
    pub(crate) data: String,
    pub(crate) expected: f64,
}

enum Asked {
    Nothing,
    Change(PartChange),
    Nonsense,
}

fn asked(data: &Data, part: Part) -> Asked {
    let fields = match data.get(part.name()) {
        None | Some(Value::Null) => return Asked::Nothing,
        Some(value) => value,
    };
    match (fields["data"].as_str(), fields["expectedVersion"].as_f64()) {
        (Some(data), Some(expected)) => Asked::Change(PartChange {
            part,
            data: data.to_owned(),
            expected,
        }),
        _ => Asked::Nonsense,
    }
}

/// Why an artifact was not created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CreateError {
    /// Another account has one of this id.
    Foreign,
    /// A part is no standard base64 with padding.
    NotBase64,
}

/// Creates and announces an artifact, or finds the one that the account has under this id.
pub(crate) fn create(
    app: &App,
    account: &Arc<Account>,
    id: &str,
    header: &str,
    body: &str,
    key: &str,
) -> Result<ArtifactRow, CreateError> {
    let mut state = account.lock();
    if let Some(artifact) = state.artifacts.get(id)
        && !app.faults().on(Fault::ArtifactOverwrite)
    {
        let row = artifact.row();
        if app.faults().on(Fault::ArtifactAnnouncedAgain) {
            announce(app, account, &mut state, &row);
        }
        return Ok(row);
    }
    let is_taken = app.faults().on(Fault::ArtifactTaken);
    if app.store.is_foreign_artifact(id, account) && !is_taken {
        return Err(CreateError::Foreign);
    }
    if ![header, body, key]
        .iter()
        .all(|text| is_base64(text, app.faults()))
    {
        return Err(CreateError::NotBase64);
    }
    if !app.store.claim_artifact(id, account) && !is_taken {
        return Err(CreateError::Foreign);
    }
    let row = state
        .create_artifact(
            id.to_owned(),
            header.to_owned(),
            body.to_owned(),
            key.to_owned(),
        )
        .row();
    announce(app, account, &mut state, &row);
    Ok(row)
}

fn announce(app: &App, account: &Account, state: &mut AccountState, row: &ArtifactRow) {
    app.update(
        account,
        state,
        RecipientFilter::UserScopedOnly,
        None,
        |stamp| builders::new_artifact(row, stamp),
    );
}

/// What became of a change of an artifact.
pub(crate) enum Updated {
    /// The account has no such artifact.
    Missing,
    /// A part is no standard base64 with padding.
    NotBase64,
    /// These parts are at another version than expected; nothing was written.
    Stale(Vec<(Part, Versioned)>),
    /// What the parts are now.
    Written(Vec<(Part, Versioned)>),
}

/// Writes all parts and announces them, or none.
pub(crate) fn update(app: &App, account: &Account, id: &str, changes: Vec<PartChange>) -> Updated {
    let faults = app.faults();
    let mut state = account.lock();
    let Some(artifact) = state.artifacts.get_mut(id) else {
        return Updated::Missing;
    };
    if !changes.iter().all(|change| is_base64(&change.data, faults)) {
        return Updated::NotBase64;
    }
    let (fresh, stale): (Vec<_>, Vec<_>) = changes
        .into_iter()
        .partition(|change| change.part.of(artifact).is_current(change.expected, faults));
    let lists_all = !stale.is_empty() && faults.on(Fault::ArtifactMismatchAll);
    let stale: Vec<_> = stale
        .iter()
        .chain(fresh.iter().filter(|_| lists_all))
        .map(|change| (change.part, change.part.of(artifact).versioned()))
        .collect();
    if !stale.is_empty() && !faults.on(Fault::ArtifactPartial) {
        return Updated::Stale(stale);
    }
    let mut written = Vec::new();
    for change in fresh {
        let cell = change.part.of(artifact);
        cell.write(Some(change.data), faults);
        written.push((change.part, cell.versioned()));
    }
    if let [(part, _)] = written[..]
        && faults.on(Fault::VersionsShared)
    {
        part.other().of(artifact).raise();
    }
    if !written.is_empty() {
        artifact.seq += u64::from(!faults.on(Fault::ArtifactSeqStuck));
        artifact.updated_at = app.now();
        let find = |part| {
            written
                .iter()
                .find(|(written, _)| *written == part)
                .map(|(_, now)| now)
        };
        let (header, body) = (find(Part::Header), find(Part::Body));
        app.update(
            account,
            &mut state,
            RecipientFilter::UserScopedOnly,
            None,
            |stamp| builders::update_artifact(id, header, body, stamp),
        );
    }
    if stale.is_empty() {
        Updated::Written(written)
    } else {
        Updated::Stale(stale)
    }
}

/// Deletes and announces an artifact; false if the account has none of this id.
pub(crate) fn delete(app: &App, account: &Account, id: &str) -> bool {
    let mut state = account.lock();
    if !state.artifacts.contains_key(id) {
        return false;
    }
    if !app.faults().on(Fault::ArtifactStays) {
        state.artifacts.remove(id);
        app.store.release_artifact(id);
    }
    if !app.faults().on(Fault::DeleteSilent) {
        app.update(
            account,
            &mut state,
            RecipientFilter::UserScopedOnly,
            None,
            |stamp| builders::delete_artifact(id, stamp),
        );
    }
    true
}

/// Standard alphabet, with padding, and nothing else.
pub(crate) fn is_base64(text: &str, faults: &Faults) -> bool {
    faults.on(Fault::Base64Unchecked) || STANDARD.decode(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: bool) {
        assert_eq!(is_base64(text, &Faults::default()), expected, "{text}");
    }

    #[test]
    fn base64_is_standard_and_padded() {
        for good in ["", "aGk=", "YmR5", "+/+/", "AA=="] {
            check(good, true);
        }
        for bad in ["aGk", "!!!", "-_-_", "aGk= ", "aGk=\n", "AB==", "é"] {
            check(bad, false);
        }
    }
}
