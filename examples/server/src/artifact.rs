//! Artifacts: two versioned parts, which are written together or not at all.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::account::{App, Audience, Link};
use crate::cas::{Written, set};
use crate::refusal::{Outcome, Refusal, text};
use crate::sql::{int, sql};

const INVALID: &str = "Invalid parameters";
const NOT_FOUND: Refusal = Refusal::NotFound("Artifact not found");
const TAKEN: &str = "Artifact with this ID already exists for another account";
const STORED: &str = "SELECT * FROM artifacts WHERE _account = ? AND id = ?";
const PARTS: [(&str, Refusal); 2] = [
    ("header", Refusal::Invalid("Invalid header parameters")),
    ("body", Refusal::Invalid("Invalid body parameters")),
];

fn is_base64(text: &str) -> bool {
    BASE64_STANDARD.decode(text).is_ok()
}

/// `artifact-create`: the artifact of this id, which is made if there is none
pub(crate) async fn create(app: &App, link: &Link, data: &Value) -> Outcome {
    let given = |key| text(data, key, INVALID);
    let (id, header, body) = (given("id")?, given("header")?, given("body")?);
    let key = given("dataEncryptionKey")?;
    if ![header, body, key].into_iter().all(is_base64) {
        return Err(Refusal::Invalid(INVALID));
    }
    let mut change = app.change(&link.account).await?;
    let (own, now) = (&*link.account.id, change.now);
    let insert = "INSERT INTO artifacts (id, _account, header, body, dataEncryptionKey, createdAt, \
        updatedAt) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6) ON CONFLICT DO NOTHING RETURNING *";
    let made = sql!(change.db(), insert, id, own, header, body, key, now).await?.pop();
    if let Some(mut body) = made {
        body["artifactId"] = json!(id);
        change.update(Audience::Users, "new-artifact", body).await?;
    }
    let artifact = sql!(change.db(), STORED, own, id).await?.pop();
    let artifact = artifact.ok_or(Refusal::Invalid(TAKEN))?;
    change.commit().await?;
    Ok(json!({"result": "success", "artifact": artifact}))
}

/// `artifact-read`
pub(crate) async fn read(app: &App, link: &Link, data: &Value) -> Outcome {
    let id = text(data, "artifactId", INVALID)?;
    let artifact = sql!(&app.pool, STORED, &*link.account.id, id).await?.pop().ok_or(NOT_FOUND)?;
    Ok(json!({"result": "success", "artifact": artifact}))
}

/// `artifact-update`: a stale part leaves the change without a commit, so that nothing is written
pub(crate) async fn update(app: &App, link: &Link, data: &Value) -> Outcome {
    let id = text(data, "artifactId", INVALID)?;
    let mut given = Vec::new();
    for (part, invalid) in PARTS {
        let new = &data[part];
        match (new["data"].as_str(), &new["expectedVersion"]) {
            _ if new.is_null() => {}
            (Some(text), Value::Number(_)) if is_base64(text) => {
                given.push((part, text, int(&new["expectedVersion"])));
            }
            _ => return Err(invalid),
        }
    }
    if given.is_empty() {
        return Err(Refusal::Invalid("No updates provided"));
    }
    let mut change = app.change(&link.account).await?;
    let (own, now) = ((&*link.account.id, id), change.now);
    let mut done = json!({"result": "success"});
    let mut stale = json!({"result": "version-mismatch"});
    let mut body = json!({"artifactId": id});
    for (part, text, expected) in given {
        let written =
            set(change.db(), ("artifacts", part), own, (Some(text), expected), now).await?;
        match written.ok_or(NOT_FOUND)? {
            Written::Done(version) => {
                done[part] = json!({"version": version, "data": text});
                body[part] = json!({"value": text, "version": version});
            }
            Written::Stale(value, version) => {
                stale[part] = json!({"currentVersion": version, "currentData": value});
            }
        }
    }
    if stale.as_object().is_some_and(|parts| parts.len() > 1) {
        return Ok(stale);
    }
    sql!(change.db(), "UPDATE artifacts SET seq = seq + 1 WHERE id = ?", id).await?;
    change.update(Audience::Users, "update-artifact", body).await?;
    change.commit().await?;
    Ok(done)
}

/// `artifact-delete`
pub(crate) async fn delete(app: &App, link: &Link, data: &Value) -> Outcome {
    let id = text(data, "artifactId", INVALID)?;
    let mut change = app.change(&link.account).await?;
    let delete = "DELETE FROM artifacts WHERE _account = ? AND id = ? RETURNING id";
    sql!(change.db(), delete, &*link.account.id, id).await?.pop().ok_or(NOT_FOUND)?;
    change.update(Audience::Users, "delete-artifact", json!({"artifactId": id})).await?;
    change.commit().await?;
    Ok(json!({"result": "success"}))
}
