//! Artifacts over HTTP: the same things as over the socket, with the same events.

use crate::artifact;
use serde_json::{Value, json};

use super::{UNSEEN, different, far_ahead, find, status, told};
use crate::cast::{CAST, SCOPED, USERS};
use touchstone_harness::{
    case::{Flow, case_table},
    ctx::Ctx,
    ledger::requirement_table,
    stage::{Delivery, Role, Stage, Wanted},
};

requirement_table! {
    MADE = "rest.artifact.made", Should, Decision,
        "A POST makes an artifact and announces it; again, it answers the stored one and announces nothing.";
    READ = "rest.artifact.read", Should, Decision,
        "An artifact is read whole, and listed without its body.";
    CHANGED = "rest.artifact.changed", Should, Decision,
        "A POST with the present versions writes the given parts, raises their versions and announces them.";
    STALE = "rest.artifact.stale", Should, Decision,
        "A POST with another version of one part writes nothing, and answers what is stored of that part.";
    DELETED = "rest.artifact.deleted", Should, Decision,
        "A DELETE is announced by delete-artifact, and the artifact is gone.";
    FOREIGN = "rest.artifact.foreign", Must, Decision,
        "Another account can neither read, change nor delete an artifact over HTTP.";
}

case_table! {
    /// Makes an artifact twice, reads, lists, changes, changes with a stale version, and deletes it, while
    /// others listen; another account tries each.
    ///
    /// Accepted are `new-artifact`, `update-artifact` and `delete-artifact`, once each, for user-scoped
    /// connections, and 404 or 409 for the stranger. Typical cause of a failure: the routes have code of
    /// their own beside the socket handlers, which announces nothing or does not check the account.
    "rest.artifact" needs [Rest, Artifacts] judges [
        MADE, READ, CHANGED, STALE, DELETED, FOREIGN, artifact::NARROW
    ] => lifecycle;
}

const HEADER: &str = "aGVhZGVy";
const BODY: &str = "Ym9keQ==";
const NEW_HEADER: &str = "bmV3IGhlYWRlcg==";

async fn announced(cx: &mut Ctx, stage: &Stage, kind: &'static str, id: &str) -> Flow<Value> {
    let by = match kind {
        "new-artifact" => &MADE,
        "update-artifact" => &CHANGED,
        _ => &DELETED,
    };
    let update = Delivery {
        wanted: Wanted::update(kind, id),
        reaches: &USERS,
        by,
        spares: &[(&SCOPED, &artifact::NARROW)],
    };
    let seen = stage.observe(cx, &[update]).await?;
    Ok(seen[0].data["body"].clone())
}

async fn lifecycle(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &CAST).await?;
    let account = &stage.account;
    let stranger = cx.account().await?;
    let id = cx.uuid();
    let path = format!("/v1/artifacts/{id}");
    let new = json!({"id": id, "header": HEADER, "body": BODY, "dataEncryptionKey": "a2V5"});
    let made = cx
        .rest(&MADE, account, "POST", "/v1/artifacts", &new)
        .await?;
    let body = announced(cx, &stage, "new-artifact", &id).await?;
    cx.schema(&MADE, &MADE, "update/new-artifact", &body)?;
    for key in ["header", "body", "headerVersion", "bodyVersion"] {
        cx.equal(&MADE, key, &made[key], &body[key]);
    }
    let mut other = new.clone();
    other["header"] = json!(NEW_HEADER);
    let again = cx
        .rest(&MADE, account, "POST", "/v1/artifacts", &other)
        .await?;
    cx.equal(&MADE, "header", &json!(HEADER), &again["header"]);

    let read = cx.rest(&READ, account, "GET", &path, &Value::Null).await?;
    for (key, value) in [("header", HEADER), ("body", BODY)] {
        cx.equal(&READ, key, &json!(value), &read[key]);
    }
    let listed = cx
        .rest(&READ, account, "GET", "/v1/artifacts", &Value::Null)
        .await?;
    let row = find(&listed, "id", &id).cloned().unwrap_or_default();
    let slim = row["header"] == HEADER && row.get("body").is_none();
    cx.check(
        &READ,
        slim,
        "the artifact with its header and no body",
        &listed,
    );

    let (header, body) = (&made["headerVersion"], &made["bodyVersion"]);
    let attempts = [
        ("GET", path.as_str(), Value::Null),
        ("DELETE", path.as_str(), Value::Null),
        (
            "POST",
            path.as_str(),
            json!({"header": NEW_HEADER, "expectedHeaderVersion": header}),
        ),
    ];
    for (method, path, body) in &attempts {
        let answer = cx.rest_any(&stranger, method, path, body).await?;
        let expected = format!("a refusal of {method} {path} for the stranger");
        cx.check(&FOREIGN, answer.status >= 400, expected, told(&answer));
    }
    // Where ids are per account, the stranger gets an artifact of its own.
    let answer = cx
        .rest_any(&stranger, "POST", "/v1/artifacts", &other)
        .await?;
    let own = answer.body["header"] == NEW_HEADER && !answer.body.to_string().contains(HEADER);
    let expected = "a refusal of the id, or an artifact with what the stranger sent";
    cx.check(
        &FOREIGN,
        answer.status >= 400 || own,
        expected,
        told(&answer),
    );

    let change = json!({"header": NEW_HEADER, "expectedHeaderVersion": header});
    let changed = cx.rest(&CHANGED, account, "POST", &path, &change).await?;
    let next = header.as_i64().unwrap_or_default() + 1;
    let held = changed["success"] == true && changed["headerVersion"] == next;
    cx.check(
        &CHANGED,
        held,
        format!("success with headerVersion {next}"),
        &changed,
    );
    let update = announced(cx, &stage, "update-artifact", &id).await?;
    let part = json!({"value": NEW_HEADER, "version": next});
    cx.equal(&CHANGED, "header", &part, &update["header"]);

    let stale = json!({
        "header": HEADER, "expectedHeaderVersion": header,
        "body": HEADER, "expectedBodyVersion": body,
    });
    let answer = cx.rest(&STALE, account, "POST", &path, &stale).await?;
    let held = answer["success"] == false
        && answer["error"] == "version-mismatch"
        && answer["currentHeaderVersion"] == next
        && answer["currentHeader"] == NEW_HEADER;
    let expected = format!("version-mismatch with header version {next} and {NEW_HEADER}");
    cx.check(&STALE, held, expected, &answer);
    let ahead = json!({"header": HEADER, "expectedHeaderVersion": next + UNSEEN});
    far_ahead(cx, &STALE, account, ("POST", &path, &ahead)).await?;
    let read = cx.rest(&STALE, account, "GET", &path, &Value::Null).await?;
    cx.equal(&STALE, "body", &json!(BODY), &read["body"]);

    cx.rest(&DELETED, account, "DELETE", &path, &Value::Null)
        .await?;
    announced(cx, &stage, "delete-artifact", &id).await?;
    status(cx, &DELETED, account, ("GET", &path, &Value::Null), 404).await?;
    let count = different(&stage, Role::U2, &Wanted::update("new-artifact", &id));
    cx.check(
        &MADE,
        count == 1,
        "one new-artifact",
        format!("{count} of them"),
    );
    let count = different(&stage, Role::U2, &Wanted::update("update-artifact", &id));
    cx.check(
        &STALE,
        count == 1,
        "no second update-artifact",
        format!("{count} of them"),
    );
    Ok(())
}
