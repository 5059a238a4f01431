//! Artifacts, by HTTP: the same decisions as those of the socket.

use axum::Json;
use axum::extract::Path;
use serde_json::{Value, json};

use super::check::{Fields, Kind};
use super::{Answer, ApiError, Body, Caller, newest_first};
use crate::builders::Versioned;
use crate::decide::artifact_create::{self, Create, CreateError, FOREIGN};
use crate::decide::artifact_delete;
use crate::decide::artifact_update::{self, Parts, Updated};
use crate::store::{Artifact, Store};

/// `GET /v1/artifacts`: a bare array without bodies, the latest changed first.
pub(super) async fn list(Caller { app, account }: Caller) -> Answer {
    let mut rows: Vec<_> = app
        .read(&account, |cx| {
            cx.rows.artifacts.values().map(Artifact::row).collect()
        })
        .await;
    newest_first(&mut rows, |row| (row.updated_at, &row.id));
    let listed = rows.iter().map(|row| {
        let mut row = json!(row);
        if let Some(fields) = row.as_object_mut()
            && !app.config.policy.artifact_list_bodies
        {
            fields.retain(|field, _| field != "body" && field != "bodyVersion");
        }
        row
    });
    Ok(Json(Value::Array(listed.collect())))
}

/// `GET /v1/artifacts/:id`.
pub(super) async fn read(Caller { app, account }: Caller, Path(id): Path<String>) -> Answer {
    let artifact = app.read(&account, |cx| cx.rows.artifact(&id)).await;
    Ok(Json(json!(artifact.ok_or_else(not_found)?)))
}

/// `POST /v1/artifacts`: the existing artifact if the account has one of this id.
pub(super) async fn create(Caller { app, account }: Caller, Body(body): Body) -> Answer {
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
    let asked = |is_foreign| Create {
        id,
        header: fields.text("header"),
        body: fields.text("body"),
        key: fields.text("dataEncryptionKey"),
        is_foreign,
    };
    let is_foreign = |store: &Store| store.is_foreign_artifact(id, &account);
    let created = app
        .create(
            &account,
            "artifact-create",
            &body,
            is_foreign,
            |cx, foreign| artifact_create::decide(cx, &asked(foreign)),
        )
        .await;
    match created {
        Ok(row) => Ok(Json(json!(row))),
        Err(CreateError::Foreign) => Err(ApiError::conflict(FOREIGN)),
        Err(CreateError::NotBase64) => Err(not_base64()),
    }
}

/// `POST /v1/artifacts/:id`: a part is written if its version is named; with no part nothing happens.
pub(super) async fn update(
    Caller { app, account }: Caller,
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
    let wanted = |part, version| Some((fields.owned(part)?, fields.number(version)?));
    let wanted = [
        wanted("header", "expectedHeaderVersion"),
        wanted("body", "expectedBodyVersion"),
    ];
    let updated = app
        .decide(&account, "artifact-update", &body, |cx| {
            artifact_update::decide(cx, &id, wanted)
        })
        .await;
    let parts = |parts: Parts<Versioned>| {
        let named = [("header", "Header"), ("body", "Body")]
            .into_iter()
            .zip(parts);
        named.filter_map(|(names, part)| Some((names, part?)))
    };
    match updated {
        Updated::Missing => Err(not_found()),
        Updated::NotBase64 => Err(not_base64()),
        Updated::Stale(stale) => {
            let mut answer = json!({ "success": false, "error": "version-mismatch" });
            for ((_, name), now) in parts(stale) {
                answer[format!("current{name}Version")] = json!(now.version);
                answer[format!("current{name}")] = json!(now.value);
            }
            Ok(Json(answer))
        }
        Updated::Written(written) => {
            let mut answer = json!({ "success": true });
            for ((name, _), now) in parts(written) {
                answer[format!("{name}Version")] = json!(now.version);
            }
            Ok(Json(answer))
        }
    }
}

/// `DELETE /v1/artifacts/:id`.
pub(super) async fn delete(Caller { app, account }: Caller, Path(id): Path<String>) -> Answer {
    let is_there = app
        .decide(&account, "artifact-delete", &Value::Null, |cx| {
            artifact_delete::decide(cx, &id)
        })
        .await;
    if !is_there {
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

/// The textual form of a UUID, of any version.
fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups
            .iter()
            .all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
