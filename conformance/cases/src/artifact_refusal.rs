//! Artifact events that must be refused: of strangers, of unknown ids, of data that makes no sense.

use crate::readback::Watched;
use serde_json::{Value, json};

use super::{
    artifact::{Artifact, READ, encoded, existing},
    malformed,
};
use touchstone_harness::{
    case::{Flow, case_table},
    ctx::Ctx,
    ledger::{Requirement, requirement_table},
    stage::{Role, Stage, Wanted},
    words,
};

requirement_table! {
    TAKEN_ID = "artifact.create.taken-id", Should, Decision,
        "Where ids are global, the id of another account's artifact is answered with an error.";
    FOREIGN = "artifact.foreign", Must, Decision,
        "An account cannot read, change or delete another account's artifact.";
    UNKNOWN = "artifact.unknown", Should, Decision,
        "An unknown artifact is answered with an error.";
    NO_UPDATES = "artifact.update.no-updates", Should, Decision,
        "An update without any part is answered with an error.";
    ERROR_TEXTS = "artifact.error-texts", Should, Decision,
        "Errors say what is wrong: `Invalid parameters`, `Invalid header parameters`, `Invalid body \
         parameters`, `No updates provided`, `Artifact not found`, and `Artifact with this ID already \
         exists for another account`.";
    BASE64 = "artifact.base64", Should, Decision,
        "Parts that are not standard base64 with padding are answered with an error.";
    MALFORMED = "artifact.malformed", Should, Decision,
        "Malformed data of the artifact events is answered with an error, and writes and announces \
         nothing.";
}

case_table! {
    /// Another account reads, updates, deletes and creates an artifact by its id.
    ///
    /// Accepted is the error answer each time, no announcement for the owner, and an unchanged artifact.
    /// Where ids are per account, creating makes an artifact of the stranger's own. Typical cause of a
    /// failure: the artifact is looked up by its id without the account, or the error of a taken id tells
    /// what stands under it.
    "artifact.foreign" judges [FOREIGN, TAKEN_ID, ERROR_TEXTS] => foreign;

    /// Reads, updates and deletes an artifact that does not exist, and updates one without any part.
    ///
    /// Accepted are the error answers with their texts. Typical cause of a failure: a row that is not there
    /// gives an exception, and the handler answers nothing or the text of the exception.
    "artifact.errors" judges [UNKNOWN, NO_UPDATES, ERROR_TEXTS] => errors;

    /// Sends the artifact events with each field missing, and updates with incomplete parts.
    ///
    /// Accepted are the error answers with the text that names what is wrong. Typical cause of a failure:
    /// texts of the validation library, or of the database, are answered as they are.
    "artifact.error-texts" judges [ERROR_TEXTS] => error_texts;

    /// Creates and updates with text that is no base64: other characters, no padding, the alphabet for
    /// URLs, a line break.
    ///
    /// Accepted is an error answer, and an artifact that is unchanged. Typical cause of a failure: a
    /// lenient decoder, which drops what it does not know and stores what is left.
    "artifact.base64" judges [BASE64] => base64;

    /// Sends the artifact events with every key missing, null, and of several wrong types.
    ///
    /// Accepted is the error answer for each, and silence. Typical cause of a failure: a value of a wrong
    /// type is only noticed by the database or the decoder, outside of the handler's own error path.
    "artifact.malformed" judges [MALFORMED] => malformed_data;
}

async fn foreign(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::V1]).await?;
    let (owner, stranger) = (stage.peer(Role::U1), stage.peer(Role::V1));
    let (artifact, known) = existing(cx, owner).await?;
    let watched = Watched {
        artifact: Some(&artifact.id),
        ..Watched::of(&stage)
    };
    let before = watched.read(cx).await?;
    let id = json!({"artifactId": artifact.id});
    let header = json!({"data": encoded("stolen"), "expectedVersion": known["headerVersion"]});
    let mut update = id.clone();
    update["header"] = header;
    for (event, request) in [
        ("artifact-read", id.clone()),
        ("artifact-update", update),
        ("artifact-delete", id),
    ] {
        let answer = cx.call(&FOREIGN, stranger, event, request).await?;
        let told = format!("an error for {event}");
        cx.check(&FOREIGN, answer["result"] == "error", told, answer);
    }
    let own = Artifact {
        id: artifact.id.clone(),
        ..Artifact::new(cx)
    };
    let answer = cx
        .call(&TAKEN_ID, stranger, "artifact-create", own.request())
        .await?;
    if answer["result"] == "success" {
        let expected = "an error, or an artifact with what the stranger sent";
        cx.check(&FOREIGN, own.is(&answer["artifact"]), expected, answer);
        cx.held(&TAKEN_ID);
        cx.held(&ERROR_TEXTS);
        cx.fact("artifact.ids", "per account");
    } else {
        let text = "Artifact with this ID already exists for another account";
        judge(cx, &TAKEN_ID, text, "artifact-create", &answer);
        let leaked = answer.to_string().contains(&artifact.body);
        cx.check(&FOREIGN, !leaked, "nothing of the artifact", answer);
        cx.fact("artifact.ids", "global");
    }
    for kind in ["update-artifact", "delete-artifact"] {
        let wanted = Wanted::update(kind, &artifact.id);
        stage.observe_nothing(cx, &wanted, &FOREIGN).await?;
    }
    watched.unchanged(cx, &before, &FOREIGN).await
}

async fn errors(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1]).await?;
    let peer = stage.peer(Role::U1);
    let nowhere = cx.uuid();
    let header = json!({"data": encoded("x"), "expectedVersion": 1});
    let rows = [
        ("artifact-read", json!({"artifactId": nowhere})),
        (
            "artifact-update",
            json!({"artifactId": nowhere, "header": header}),
        ),
        ("artifact-delete", json!({"artifactId": nowhere})),
    ];
    for (event, request) in rows {
        let answer = cx.call(&UNKNOWN, peer, event, request).await?;
        judge(cx, &UNKNOWN, "Artifact not found", event, &answer);
    }
    let (artifact, _) = existing(cx, peer).await?;
    let request = json!({"artifactId": artifact.id});
    let answer = cx
        .call(&NO_UPDATES, peer, "artifact-update", request)
        .await?;
    let what = "artifact-update without any part";
    judge(cx, &NO_UPDATES, "No updates provided", what, &answer);
    Ok(())
}

/// Judges an answer that has to be an error.
fn judge(cx: &mut Ctx, by: &'static Requirement, text: &str, what: &str, answer: &Value) {
    let expected = format!("an error for {what}");
    if cx.check(by, answer["result"] == "error", expected, answer) {
        let expected = format!("the error {} for {what}", words::quoted(text));
        cx.check(&ERROR_TEXTS, answer["message"] == text, expected, answer);
    }
}

async fn error_texts(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1]).await?;
    let peer = stage.peer(Role::U1);
    let (artifact, known) = existing(cx, peer).await?;
    let mut rows = Vec::new();
    for event in ["artifact-read", "artifact-update", "artifact-delete"] {
        rows.push((event, json!({"other": 1}), "Invalid parameters"));
    }
    for key in ["id", "header", "body", "dataEncryptionKey"] {
        let mut request = Artifact::new(cx).request();
        if let Some(fields) = request.as_object_mut() {
            fields.remove(key);
        }
        rows.push(("artifact-create", request, "Invalid parameters"));
    }
    for (part, text) in [
        ("header", "Invalid header parameters"),
        ("body", "Invalid body parameters"),
    ] {
        let version = &known[format!("{part}Version")];
        for incomplete in [
            json!({"expectedVersion": version}),
            json!({"data": encoded("x")}),
            json!({"data": 7, "expectedVersion": version}),
            json!({"data": encoded("x"), "expectedVersion": "1"}),
        ] {
            let request = json!({"artifactId": artifact.id, part: incomplete});
            rows.push(("artifact-update", request, text));
        }
    }
    for (event, request, text) in rows {
        let expected = format!("the error {} for {event} {request}", words::quoted(text));
        let answer = cx.call(&ERROR_TEXTS, peer, event, request).await?;
        let held = answer["result"] == "error" && answer["message"] == text;
        cx.check(&ERROR_TEXTS, held, expected, answer);
    }
    Ok(())
}

async fn base64(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1]).await?;
    let peer = stage.peer(Role::U1);
    let (artifact, mut known) = existing(cx, peer).await?;
    for wrong in [
        "not base64!",
        "YQ",
        "YWJjZA=",
        "_-__",
        "YWJj\nZGVm",
        "YQ===",
    ] {
        let mut calls = Vec::new();
        for part in ["header", "body", "dataEncryptionKey"] {
            let mut create = Artifact::new(cx).request();
            create[part] = json!(wrong);
            calls.push(("artifact-create", create));
        }
        for (event, request) in calls {
            let told = format!("an error for {event} {request}");
            let answer = cx.call(&BASE64, peer, event, request).await?;
            cx.check(&BASE64, answer["result"] == "error", told, answer);
        }
        for part in ["header", "body"] {
            let version = &known[format!("{part}Version")];
            let change = json!({"data": wrong, "expectedVersion": version});
            let update = json!({"artifactId": artifact.id, part: change});
            let told = format!("an error for artifact-update {update}");
            let answer = cx.call(&BASE64, peer, "artifact-update", update).await?;
            let refused = cx.check(&BASE64, answer["result"] == "error", told, answer);
            // The row as it is now: what one odd value has changed is not the next one's fault.
            let request = json!({"artifactId": artifact.id});
            let read = cx.call(&READ, peer, "artifact-read", request).await?;
            let read = &read["artifact"];
            if refused {
                let told = format!("{part} unchanged after a refusal");
                cx.check(&BASE64, read[part] == known[part], told, read);
            }
            known = read.clone();
        }
    }
    Ok(())
}

async fn malformed_data(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    let peer = stage.peer(Role::U1);
    let new = Artifact::new(cx);
    let keys = ["id", "header", "body", "dataEncryptionKey"];
    let rows = malformed::variations(&new.request(), &keys);
    malformed::check(cx, &MALFORMED, peer, "artifact-create", rows).await?;
    let (artifact, known) = existing(cx, peer).await?;
    let watched = Watched {
        artifact: Some(&artifact.id),
        ..Watched::of(&stage)
    };
    let before = watched.read(cx).await?;
    let named = json!({"artifactId": artifact.id});
    for event in ["artifact-read", "artifact-delete"] {
        let rows = malformed::variations(&named, &["artifactId"]);
        malformed::check(cx, &MALFORMED, peer, event, rows).await?;
    }
    let mut rows = Vec::new();
    for part in ["header", "body"] {
        let version = &known[format!("{part}Version")];
        let change = json!({"data": encoded("malformed"), "expectedVersion": version});
        let mut good = named.clone();
        good[part] = change.clone();
        rows.extend(malformed::variations(&good, &["artifactId"]));
        for change in malformed::variations(&change, &["data", "expectedVersion"]) {
            good[part] = change;
            rows.push(good.clone());
        }
    }
    malformed::check(cx, &MALFORMED, peer, "artifact-update", rows).await?;
    for (kind, id) in [
        ("new-artifact", &new.id),
        ("update-artifact", &artifact.id),
        ("delete-artifact", &artifact.id),
    ] {
        let wanted = Wanted::update(kind, id);
        stage.observe_nothing(cx, &wanted, &MALFORMED).await?;
    }
    watched.unchanged(cx, &before, &MALFORMED).await
}
