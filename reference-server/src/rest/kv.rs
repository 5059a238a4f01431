//! The account's key-value store: several keys are written together or not at all.

use axum::Json;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::check::{Fields, Kind};
use super::{Answer, ApiError, Body, Caller};
use crate::builders::KvChange;
use crate::decide::kv;
use crate::store::KvEntry;

#[derive(Deserialize)]
pub(super) struct ListQuery {
    prefix: Option<String>,
}

/// `GET /v1/kv`: the keys with a prefix, in their order.
pub(super) async fn list(
    Caller { app, account }: Caller,
    Query(query): Query<ListQuery>,
) -> Answer {
    let prefix = query.prefix.unwrap_or_default();
    let items: Vec<Value> = app
        .read(&account, |cx| {
            let all = cx
                .rows
                .kv
                .iter()
                .filter(|(key, _)| key.starts_with(&prefix));
            all.filter_map(|(key, entry)| view(key, entry)).collect()
        })
        .await;
    Ok(Json(json!({ "items": items })))
}

/// `GET /v1/kv/:key`.
pub(super) async fn read(Caller { app, account }: Caller, Path(key): Path<String>) -> Answer {
    app.read(&account, |cx| {
        cx.rows.kv(&key).and_then(|entry| view(&key, entry))
    })
    .await
    .map(Json)
    .ok_or_else(|| ApiError::not_found("Key not found"))
}

/// `POST /v1/kv/bulk`: several keys; those that do not exist are left out.
pub(super) async fn bulk(Caller { app, account }: Caller, Body(body): Body) -> Answer {
    let keys = Fields::check(&body, &[("keys", Kind::List)])?.list("keys");
    let values: Vec<Value> = app
        .read(&account, |cx| {
            let keys = keys.iter().filter_map(Value::as_str);
            keys.filter_map(|key| view(key, cx.rows.kv(key)?)).collect()
        })
        .await;
    Ok(Json(json!({ "values": values })))
}

/// `POST /v1/kv`: a version of -1 means a key that never was; a value of null deletes.
pub(super) async fn mutate(Caller { app, account }: Caller, Body(body): Body) -> Answer {
    let asked = Fields::check(&body, &[("mutations", Kind::List)])?.list("mutations");
    if asked.is_empty() {
        return Err(ApiError::invalid(
            "body/mutations Array must contain at least 1 element(s)",
        ));
    }
    let mutations = asked
        .iter()
        .enumerate()
        .map(|(index, mutation)| {
            let path = format!("body/mutations/{index}");
            let kinds = [
                ("key", Kind::Text),
                ("value", Kind::NullableText),
                ("version", Kind::Number),
            ];
            let fields = Fields::check_at(&path, mutation, &kinds)?;
            let version = fields.integer("version");
            let version = version
                .ok_or_else(|| ApiError::invalid(&format!("{path}/version Expected integer")))?;
            Ok(KvChange {
                key: fields.text("key").to_owned(),
                value: fields.owned("value"),
                version,
            })
        })
        .collect::<Result<Vec<_>, ApiError>>()?;
    let mutated = app
        .decide(&account, "kv", &body, |cx| kv::decide(cx, &mutations))
        .await;
    let changes = mutated.map_err(|stale| {
        let errors: Vec<Value> = stale
            .iter()
            .map(|KvChange { key, value, version }| {
                json!({ "key": key, "error": "version-mismatch", "version": version, "value": value })
            })
            .collect();
        ApiError::new(StatusCode::CONFLICT, json!({ "success": false, "errors": errors }))
    })?;
    let results: Vec<Value> = changes
        .iter()
        .map(|change| json!({ "key": change.key, "version": change.version }))
        .collect();
    Ok(Json(json!({ "success": true, "results": results })))
}

/// An entry as answers show it; deleted keys are not shown.
fn view(key: &str, entry: &KvEntry) -> Option<Value> {
    let value = entry.value.as_ref()?;
    Some(json!({ "key": key, "value": value, "version": entry.version }))
}
