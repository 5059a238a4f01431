//! Artifacts, by HTTP: the same operations as those of the socket.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::check::{Fields, Kind};
use super::{Answer, ApiError, Body, Caller, newest_first};
use crate::app::App;
use crate::faults::Fault;
use crate::handlers::artifact::{self, CreateError, Part, PartChange, Updated};
use crate::store::Artifact;

/// `GET /v1/artifacts`: a bare array without bodies, the latest changed first.
pub(super) async fn list(State(app): State<Arc<App>>, Caller(account): Caller) -> Answer {
    let mut rows: Vec<_> = account
        .lock()
        .artifacts
        .values()
        .map(Artifact::row)
        .collect();
    newest_first(&mut rows, |row| (row.updated_at, &row.id));
    let listed = rows.iter().map(|row| {
        let mut row = json!(row);
        if let Some(fields) = row.as_object_mut()
            && !app.faults().on(Fault::ArtifactListBodies)
        {
            fields.retain(|field, _| field != "body" && field != "bodyVersion");
        }
        row
    });
    Ok(Json(Value::Array(listed.collect())))
}

/// `GET /v1/artifacts/:id`.
pub(super) async fn read(Caller(account): Caller, Path(id): Path<String>) -> Answer {
    let state = account.lock();
    let artifact = state.artifacts.get(&id).ok_or_else(not_found)?;
    Ok(Json(json!(artifact.row())))
}

/// `POST /v1/artifacts`: the existing artifact if the account has one of this id.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    Caller(account): Caller,
    Body(body): Body,
) -> Answer {
    let fields = Fields::check(
        &body,
        &[
            ("id", Kind::Text),
            ("header", Kind::Text),
            ("body", Kind::Text),
            ("dataEncryptionKey", Kind::Text),
        ],
    )?;
    let id = fields.text("id");
    if !is_uuid(id) {
        return Err(ApiError::invalid("body/id Invalid uuid"));
    }
    let (header, content, key) = (
        fields.text("header"),
        fields.text("body"),
        fields.text("dataEncryptionKey"),
    );
    match artifact::create(&app, &account, id, header, content, key) {
        Ok(row) => Ok(Json(json!(row))),
        Err(CreateError::Foreign) => Err(ApiError::conflict(
            "Artifact with this ID already exists for another account",
        )),
        Err(CreateError::NotBase64) => Err(not_base64()),
    }
}

/// `POST /v1/artifacts/:id`: a part is written if its version is named; with no part nothing happens.
pub(super) async fn update(
    State(app): State<Arc<App>>,
    Caller(account): Caller,
    Path(id): Path<String>,
    Body(body): Body,
) -> Answer {
    let fields = Fields::check(
        &body,
        &[
            ("header", Kind::OptionalText),
            ("expectedHeaderVersion", Kind::OptionalNumber),
            ("body", Kind::OptionalText),
            ("expectedBodyVersion", Kind::OptionalNumber),
        ],
    )?;
    let change = |part: Part, version| {
        let (data, expected) = (fields.owned(part.name())?, fields.number(version)?);
        Some(PartChange {
            part,
            data,
            expected,
        })
    };
    let changes = [
        change(Part::Header, "expectedHeaderVersion"),
        change(Part::Body, "expectedBodyVersion"),
    ];
    let changes: Vec<PartChange> = changes.into_iter().flatten().collect();
    match artifact::update(&app, &account, &id, changes) {
        Updated::Missing => Err(not_found()),
        Updated::NotBase64 => Err(not_base64()),
        Updated::Stale(stale) => {
            let mut answer = json!({ "success": false, "error": "version-mismatch" });
            for (part, now) in stale {
                let name = capitalized(part);
                answer[format!("current{name}Version")] = json!(now.version);
                answer[format!("current{name}")] = json!(now.value);
            }
            Ok(Json(answer))
        }
        Updated::Written(written) => {
            let mut answer = json!({ "success": true });
            for (part, now) in written {
                answer[format!("{}Version", part.name())] = json!(now.version);
            }
            Ok(Json(answer))
        }
    }
}

/// `DELETE /v1/artifacts/:id`.
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    Caller(account): Caller,
    Path(id): Path<String>,
) -> Answer {
    if !artifact::delete(&app, &account, &id) {
        return Err(not_found());
    }
    Ok(Json(json!({ "success": true })))
}

fn not_found() -> ApiError {
    ApiError::not_found("Artifact not found")
}

fn not_base64() -> ApiError {
    ApiError::invalid("body Expected base64 with padding")
}

fn capitalized(part: Part) -> &'static str {
    match part {
        Part::Header => "Header",
        Part::Body => "Body",
    }
}

/// The textual form of a UUID, of any version.
fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups
            .iter()
            .all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
