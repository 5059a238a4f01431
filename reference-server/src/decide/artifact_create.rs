//! `artifact-create`, and `POST /v1/artifacts`: the existing artifact if the account has one of this
//! id, else a new one, which is announced.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{Call, Context, INTERNAL_ERROR, Outcome, failed};
use crate::announce::{Event, Update};
use crate::builders::ArtifactRow;
use crate::router::RecipientFilter;
use crate::seams::Reply;
use crate::store::{Artifact, Change};

/// What is to be created.
pub(crate) struct Create<'a> {
    pub(crate) id: &'a str,
    pub(crate) header: &'a str,
    pub(crate) body: &'a str,
    pub(crate) key: &'a str,
    /// Whether another account has an artifact of this id.
    pub(crate) is_foreign: bool,
}

/// Why an artifact is not created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CreateError {
    /// Another account has one of this id.
    Foreign,
    /// A part is not standard base64 with padding.
    NotBase64,
}

pub(crate) const FOREIGN: &str = "Artifact with this ID already exists for another account";

/// What an event asks to be created; `None` if a field is missing.
pub(crate) fn asked<'a>(call: &Call<'a>) -> Option<Create<'a>> {
    Some(Create {
        id: call.data.name("id")?,
        header: call.data.text("header")?,
        body: call.data.text("body")?,
        key: call.data.text("dataEncryptionKey")?,
        is_foreign: call.is_foreign,
    })
}

pub(super) fn on_event(cx: &Context<'_>, call: &Call<'_>) -> Outcome<Reply> {
    let Some(asked) = asked(call) else {
        return failed("Invalid parameters");
    };
    decide(cx, &asked).map(|created| match created {
        Ok(artifact) => shown(&artifact),
        Err(CreateError::Foreign) => failed(FOREIGN).answer,
        Err(CreateError::NotBase64) => failed(INTERNAL_ERROR).answer,
    })
}

pub(crate) fn decide(
    cx: &Context<'_>,
    asked: &Create<'_>,
) -> Outcome<Result<ArtifactRow, CreateError>> {
    let known = cx.rows.artifact(asked.id);
    if let Some(known) = known.filter(|_| !cx.policy().artifact_overwrite) {
        return Outcome::of(Ok(known));
    }
    if asked.is_foreign {
        return Outcome::of(Err(CreateError::Foreign));
    }
    let parts = [asked.header, asked.body, asked.key];
    if !parts.iter().all(|text| is_base64(cx, text)) {
        return Outcome::of(Err(CreateError::NotBase64));
    }
    let [header, body, key] = parts.map(str::to_owned);
    let artifact = Artifact {
        id: asked.id.to_owned(),
        header: cx.new_cell(Some(header)),
        body: cx.new_cell(Some(body)),
        data_encryption_key: key,
        seq: 0,
        created_at: cx.now,
        updated_at: cx.now,
    };
    let row = artifact.row();
    let told = Update::NewArtifact(row.clone());
    Outcome::of(Ok(row))
        .change(Change::ArtifactCreated(Box::new(artifact)))
        .event(Event::update(told, RecipientFilter::UserScopedOnly))
}

/// Standard alphabet, with padding, and nothing else.
pub(super) fn is_base64(cx: &Context<'_>, text: &str) -> bool {
    cx.policy().base64_unchecked || STANDARD.decode(text).is_ok()
}

/// An artifact as events are answered; the interface has no `dataEncryptionKey` there.
pub(super) fn shown(artifact: &ArtifactRow) -> Reply {
    let mut row = json!(artifact);
    if let Some(fields) = row.as_object_mut() {
        fields.shift_remove("dataEncryptionKey");
    }
    Reply::Ack(json!({ "result": "success", "artifact": row }))
}
