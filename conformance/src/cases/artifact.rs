//! Artifacts: create, read, update, delete.

use base64::{Engine as _, prelude::BASE64_STANDARD as STANDARD};
use serde_json::{Value, json};

use super::malformed;
use crate::{
    case::{Flow, Stop, case_table},
    ctx::{Ctx, same_json},
    ledger::requirement_table,
    peer::Peer,
    stage::{Delivery, Role, Stage, Wanted},
};

requirement_table! {
    CREATE = "artifact.create.answer", Must, Specification,
        "artifact-create is answered with the whole artifact as it was given.";
    CREATE_AGAIN = "artifact.create.again", Must, Specification,
        "Creating an artifact that exists for the same account answers the existing one.";
    CREATE_SILENT = "artifact.create.again-silent", Should, Decision,
        "Creating an artifact that exists announces nothing.";
    CREATE_REACHES = "artifact.create.recipients", Should, Decision,
        "A new artifact is announced to the user-scoped connections, once.";
    NEW_BODY = "new-artifact.body", Must, Specification,
        "The body of new-artifact has the fields of the event, with the stored values.";
    TAKEN_ID = "artifact.create.taken-id", Should, Decision,
        "The id of another account's artifact is answered with an error that says so.";
    READ = "artifact.read.answer", Must, Specification,
        "artifact-read answers the whole artifact.";
    UPDATE = "artifact.update.answer", Must, Specification,
        "artifact-update with the current versions is answered with success, and version and data of \
         each part that was given.";
    UPDATE_STEP = "artifact.update.version-step", Should, Decision,
        "Each success raises the version of the written parts by one, and the artifact's seq.";
    UPDATE_REACHES = "artifact.update.recipients", Should, Decision,
        "A change of an artifact reaches the user-scoped connections, the sender included, once.";
    UPDATE_BODY = "update-artifact.body", Must, Specification,
        "The body of update-artifact names the artifact and carries the written parts as value and \
         version.";
    STALE = "artifact.update.stale", Must, Specification,
        "artifact-update with a stale version is answered with version-mismatch.";
    CURRENT = "artifact.update.mismatch-returns-current", Must, Specification,
        "A mismatch tells currentVersion and currentData of the parts that mismatch.";
    ONLY_STALE = "artifact.update.mismatch-lists-stale", Should, Decision,
        "A mismatch lists the parts that mismatch and no other.";
    ATOMIC = "artifact.update.all-or-nothing", Must, Decision,
        "When one part mismatches, nothing is written and nothing is announced.";
    RACE = "artifact.update.one-winner", Must, Decision,
        "Of several artifact-update with the same version at the same time exactly one succeeds.";
    DELETE = "artifact.delete.answer", Must, Specification,
        "artifact-delete is answered with success, and the artifact is gone.";
    DELETE_REACHES = "artifact.delete.recipients", Should, Decision,
        "The deletion of an artifact reaches the user-scoped connections, once.";
    DELETE_BODY = "delete-artifact.body", Must, Specification,
        "The body of delete-artifact names the artifact.";
    NARROW = "artifact.narrow", Should, Decision,
        "What concerns artifacts does not reach session- and machine-scoped connections.";
    FOREIGN = "artifact.foreign", Must, Decision,
        "An account cannot read, change or delete another account's artifact.";
    UNKNOWN = "artifact.unknown", Should, Decision,
        "An unknown artifact is answered with the error `Artifact not found`.";
    NO_UPDATES = "artifact.update.no-updates", Should, Decision,
        "An update without any part is answered with the error `No updates provided`.";
    BASE64 = "artifact.base64", Should, Decision,
        "Parts that are not standard base64 with padding are answered with an error.";
    MALFORMED = "artifact.malformed", Should, Decision,
        "Malformed data of the artifact events is answered with an error.";
}

case_table! {
    /// Creates an artifact while connections of every kind listen, and creates it again.
    ///
    /// Accepted is the artifact in the answer, one `new-artifact` for user-scoped connections, and for the
    /// second request the artifact as it is, with no announcement.
    "artifact.create" judges [
        CREATE, CREATE_AGAIN, CREATE_SILENT, CREATE_REACHES, NEW_BODY, NARROW
    ] => create;

    /// Reads an artifact that was created before.
    ///
    /// Accepted is header and body as they were given, with their versions.
    "artifact.read" judges [READ] => read;

    /// Updates header and body, then the header alone, with the current versions.
    ///
    /// Accepted is success with version and data of each written part, and one `update-artifact` with
    /// just these parts for user-scoped connections.
    "artifact.update" judges [UPDATE, UPDATE_STEP, UPDATE_REACHES, UPDATE_BODY, NARROW] => update;

    /// Updates with a stale version, and with one stale and one current version together.
    ///
    /// Accepted is `version-mismatch` with `currentVersion` and `currentData` of the stale part, and an
    /// artifact that is unchanged in both. Typical cause of a failure: the parts are written one after
    /// the other.
    "artifact.update-stale" judges [STALE, CURRENT, ONLY_STALE, ATOMIC] => stale;

    /// Twenty updates of the header with the same version at the same time.
    ///
    /// Accepted is exactly one success.
    "artifact.update-race" judges [RACE] => race;

    /// Deletes an artifact while connections of every kind listen.
    ///
    /// Accepted is success, one `delete-artifact` for user-scoped connections, and an artifact that can no
    /// longer be read.
    "artifact.delete" judges [DELETE, DELETE_REACHES, DELETE_BODY, NARROW] => delete;

    /// Another account reads, updates, deletes and creates an artifact by its id.
    ///
    /// Accepted is the error answer each time, and an unchanged artifact.
    "artifact.foreign" judges [FOREIGN, TAKEN_ID] => foreign;

    /// Reads, updates and deletes an artifact that does not exist, and updates one without any part.
    ///
    /// Accepted are the error answers.
    "artifact.errors" judges [UNKNOWN, NO_UPDATES] => errors;

    /// Creates and updates with text that is no base64.
    ///
    /// Accepted is an error answer, and an artifact that is unchanged.
    "artifact.base64" judges [BASE64] => base64;

    /// Sends the artifact events with every key missing, null, and of a wrong type.
    ///
    /// Accepted is the error answer for each.
    "artifact.malformed" judges [MALFORMED] => malformed_data;
}

/// Standard base64 with padding, which is the form on the wire.
pub(crate) fn encoded(text: &str) -> String {
    STANDARD.encode(text)
}

/// An artifact as it was asked for.
pub(crate) struct Artifact {
    pub(crate) id: String,
    pub(crate) header: String,
    pub(crate) body: String,
}

impl Artifact {
    /// A new one, whose parts occur in nothing else.
    pub(crate) fn new(cx: &mut Ctx) -> Self {
        Self {
            id: cx.uuid(),
            header: encoded(&cx.marker("header")),
            body: encoded(&cx.marker("body")),
        }
    }

    /// The data of `artifact-create`.
    pub(crate) fn request(&self) -> Value {
        let Self { id, header, body } = self;
        json!({"id": id, "header": header, "body": body, "dataEncryptionKey": encoded("key")})
    }

    /// Whether `view` shows this artifact, unchanged.
    pub(crate) fn is(&self, view: &Value) -> bool {
        view["id"] == json!(self.id)
            && view["header"] == json!(self.header)
            && view["body"] == json!(self.body)
    }
}

/// An artifact that exists, and what the server said about it.
pub(crate) async fn existing(cx: &mut Ctx, peer: &Peer) -> Flow<(Artifact, Value)> {
    let artifact = Artifact::new(cx);
    let answer = cx
        .call(&CREATE, peer, "artifact-create", artifact.request())
        .await?;
    if answer["result"] != "success" {
        return Err(Stop::Blocked {
            parent: &CREATE,
            reason: format!("artifact-create is answered with {answer}"),
        });
    }
    Ok((artifact, answer["artifact"].clone()))
}

async fn create(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &Role::ALL).await?;
    let peer = stage.peer(Role::M1);
    let artifact = Artifact::new(cx);
    let answer = cx
        .call(&CREATE, peer, "artifact-create", artifact.request())
        .await?;
    cx.schema(&CREATE, &CREATE, "ack/artifact-create.success", &answer)?;
    let shown = artifact.is(&answer["artifact"]);
    cx.check(&CREATE, shown, artifact.request(), &answer["artifact"]);
    observe(cx, &stage, "new-artifact", &artifact.id).await?;
    let arrival = stage
        .peer(Role::U1)
        .all(|arrival| Wanted::update("new-artifact", &artifact.id).matches(arrival));
    if let Some(arrival) = arrival.first() {
        let body = &arrival.data["body"];
        cx.schema(&NEW_BODY, &NEW_BODY, "update/new-artifact", body)?;
        for key in ["header", "headerVersion", "body", "bodyVersion"] {
            cx.equal(&NEW_BODY, key, &answer["artifact"][key], &body[key]);
        }
    }
    let mut again = artifact.request();
    again["header"] = json!(encoded("another header"));
    let repeated = cx
        .call(&CREATE_AGAIN, peer, "artifact-create", again)
        .await?;
    let same = repeated["result"] == "success" && artifact.is(&repeated["artifact"]);
    cx.check(&CREATE_AGAIN, same, artifact.request(), repeated);
    stage.prove_silence(cx).await?;
    let announced = different(&stage, "new-artifact", &artifact.id);
    let told = format!("{announced} announcements");
    cx.check(&CREATE_SILENT, announced == 1, "one announcement", told);
    Ok(())
}

/// Different updates of a kind that u2 received about an id.
fn different(stage: &Stage, kind: &'static str, id: &str) -> usize {
    let wanted = Wanted::update(kind, id);
    let mut ids: Vec<_> = stage
        .peer(Role::U2)
        .all(|arrival| wanted.matches(arrival))
        .iter()
        .map(|arrival| arrival.envelope_id().map(ToOwned::to_owned))
        .collect();
    ids.dedup();
    ids.len()
}

/// Judges who received an artifact's update: the user-scoped connections.
async fn observe(cx: &mut Ctx, stage: &Stage, kind: &'static str, marker: &str) -> Flow<Value> {
    let by = match kind {
        "new-artifact" => &CREATE_REACHES,
        "delete-artifact" => &DELETE_REACHES,
        _ => &UPDATE_REACHES,
    };
    let spares = [(
        &[Role::S1, Role::S1B, Role::S2, Role::M1, Role::M2][..],
        &NARROW,
    )];
    let update = Delivery {
        wanted: Wanted::update(kind, marker),
        reaches: &[Role::U1, Role::U2],
        by,
        spares: &spares,
    };
    let seen = stage.observe(cx, &[update]).await?;
    Ok(seen[0].data["body"].clone())
}

async fn read(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1]).await?;
    let peer = stage.peer(Role::U1);
    let (artifact, _) = existing(cx, peer).await?;
    let request = json!({"artifactId": artifact.id});
    let answer = cx.call(&READ, peer, "artifact-read", request).await?;
    cx.schema(&READ, &READ, "ack/artifact-read.success", &answer)?;
    cx.check(
        &READ,
        artifact.is(&answer["artifact"]),
        artifact.request(),
        &answer["artifact"],
    );
    Ok(())
}

async fn update(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &Role::ALL).await?;
    let peer = stage.peer(Role::U1);
    let (artifact, mut known) = existing(cx, peer).await?;
    for parts in [&["header", "body"][..], &["header"][..]] {
        let mut request = json!({"artifactId": artifact.id});
        let mut marker = String::new();
        for &part in parts {
            marker = encoded(&cx.marker(part));
            let expected = &known[format!("{part}Version")];
            request[part] = json!({"data": marker, "expectedVersion": expected});
        }
        let answer = cx
            .call(&UPDATE, peer, "artifact-update", request.clone())
            .await?;
        cx.schema(&UPDATE, &UPDATE, "ack/artifact-update.success", &answer)?;
        let body = observe(cx, &stage, "update-artifact", &marker).await?;
        cx.schema(&UPDATE_BODY, &UPDATE_BODY, "update/update-artifact", &body)?;
        cx.equal(
            &UPDATE_BODY,
            "artifactId",
            &json!(artifact.id),
            &body["artifactId"],
        );
        for &part in parts {
            let (told, data) = (&answer[part], &request[part]["data"]);
            cx.equal(&UPDATE, part, data, &told["data"]);
            let version = known[format!("{part}Version")]
                .as_i64()
                .map(|version| version + 1);
            cx.equal(&UPDATE_STEP, part, &json!(version), &told["version"]);
            let expected = json!({"value": data, "version": told["version"]});
            cx.equal(&UPDATE_BODY, part, &expected, &body[part]);
            known[format!("{part}Version")] = told["version"].clone();
        }
        let read = json!({"artifactId": artifact.id});
        let read = cx.call(&READ, peer, "artifact-read", read).await?;
        let seq = known["seq"].as_i64().map(|seq| seq + 1);
        cx.equal(&UPDATE_STEP, "seq", &json!(seq), &read["artifact"]["seq"]);
        known["seq"] = read["artifact"]["seq"].clone();
    }
    Ok(())
}

async fn stale(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    let peer = stage.peer(Role::U1);
    let (artifact, known) = existing(cx, peer).await?;
    let version = |part: &str| known[format!("{part}Version")].as_i64().unwrap_or(0);
    let marker = encoded(&cx.marker("refused"));
    let part = |version: i64| json!({"data": marker, "expectedVersion": version});
    let rows = [
        json!({"artifactId": artifact.id, "header": part(version("header") - 1)}),
        json!({"artifactId": artifact.id, "header": part(version("header") + 7)}),
        json!({
            "artifactId": artifact.id,
            "header": part(version("header") - 1),
            "body": part(version("body")),
        }),
    ];
    for request in rows {
        let answer = cx
            .call(&STALE, peer, "artifact-update", request.clone())
            .await?;
        let told = format!("result version-mismatch for {request}");
        cx.require(
            &STALE,
            answer["result"] == "version-mismatch",
            told,
            &answer,
        )?;
        let expected = json!({"currentVersion": version("header"), "currentData": artifact.header});
        let header = &answer["header"];
        let tells = same_json(&header["currentVersion"], &expected["currentVersion"])
            && header["currentData"] == expected["currentData"];
        cx.check(&CURRENT, tells, format!("header {expected}"), &answer);
        // `body` is not stale in any row.
        let listed = answer
            .get("body")
            .is_some_and(|body| body.get("currentVersion").is_some());
        cx.check(&ONLY_STALE, !listed, "no body in the mismatch", &answer);
        let read = json!({"artifactId": artifact.id});
        let read = cx.call(&READ, peer, "artifact-read", read).await?;
        cx.check(
            &ATOMIC,
            artifact.is(&read["artifact"]),
            artifact.request(),
            &read["artifact"],
        );
    }
    stage
        .observe_nothing(
            cx,
            &Wanted::update("update-artifact", &artifact.id),
            &ATOMIC,
        )
        .await
}

async fn race(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::S1]).await?;
    let (artifact, known) = existing(cx, stage.peer(Role::U1)).await?;
    let writers = 20;
    let roles = [Role::U1, Role::U2, Role::S1];
    let calls = (0..writers).map(|writer| {
        let header = encoded(&format!("header {writer}"));
        let header = json!({"data": header, "expectedVersion": known["headerVersion"]});
        let request = json!({"artifactId": artifact.id, "header": header});
        cx.ask(
            stage.peer(roles[writer % roles.len()]),
            "artifact-update",
            request,
        )
    });
    let answers = futures_util::future::join_all(calls).await;
    let mut results = Vec::new();
    for answer in answers {
        results.push(answer?.map_or(Value::Null, |answer| answer.data["result"].clone()));
    }
    let count = |result: &str| results.iter().filter(|found| **found == result).count();
    let (won, lost) = (count("success"), count("version-mismatch"));
    cx.check(
        &RACE,
        won == 1 && lost == writers - 1,
        format!("1 success and {} mismatches", writers - 1),
        format!("{won} successes and {lost} mismatches"),
    );
    Ok(())
}

async fn delete(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &Role::ALL).await?;
    let peer = stage.peer(Role::U1);
    let (artifact, _) = existing(cx, peer).await?;
    let request = json!({"artifactId": artifact.id});
    let answer = cx
        .call(&DELETE, peer, "artifact-delete", request.clone())
        .await?;
    cx.schema(&DELETE, &DELETE, "ack/artifact-delete.success", &answer)?;
    let body = observe(cx, &stage, "delete-artifact", &artifact.id).await?;
    cx.schema(&DELETE_BODY, &DELETE_BODY, "update/delete-artifact", &body)?;
    let read = cx.call(&DELETE, peer, "artifact-read", request).await?;
    cx.check(
        &DELETE,
        read["result"] == "error",
        "an artifact that is gone",
        read,
    );
    Ok(())
}

async fn foreign(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::V1]).await?;
    let (owner, stranger) = (stage.peer(Role::U1), stage.peer(Role::V1));
    let (artifact, known) = existing(cx, owner).await?;
    let id = json!({"artifactId": artifact.id});
    let header = json!({"data": encoded("stolen"), "expectedVersion": known["headerVersion"]});
    let mut update = id.clone();
    update["header"] = header;
    for (event, request) in [
        ("artifact-read", id.clone()),
        ("artifact-update", update),
        ("artifact-delete", id.clone()),
    ] {
        let answer = cx.call(&FOREIGN, stranger, event, request).await?;
        let told = format!("an error for {event}");
        cx.check(&FOREIGN, answer["result"] == "error", told, answer);
    }
    let answer = cx
        .call(&TAKEN_ID, stranger, "artifact-create", artifact.request())
        .await?;
    let expected = json!({
        "result": "error",
        "message": "Artifact with this ID already exists for another account",
    });
    let says_so = answer["result"] == "error" && answer["message"] == expected["message"];
    cx.check(&TAKEN_ID, says_so, expected, &answer);
    let leaked = answer.to_string().contains(&artifact.body);
    cx.check(&FOREIGN, !leaked, "nothing of the artifact", answer);
    let read = cx.call(&READ, owner, "artifact-read", id).await?;
    cx.check(
        &FOREIGN,
        artifact.is(&read["artifact"]),
        artifact.request(),
        read,
    );
    Ok(())
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
        let expected = json!({"result": "error", "message": "Artifact not found"});
        let held = answer["result"] == "error" && answer["message"] == expected["message"];
        cx.check(&UNKNOWN, held, format!("{expected} for {event}"), answer);
    }
    let (artifact, _) = existing(cx, peer).await?;
    let request = json!({"artifactId": artifact.id});
    let answer = cx
        .call(&NO_UPDATES, peer, "artifact-update", request)
        .await?;
    let expected = json!({"result": "error", "message": "No updates provided"});
    let held = answer["result"] == "error" && answer["message"] == expected["message"];
    cx.check(&NO_UPDATES, held, expected, answer);
    Ok(())
}

async fn base64(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1]).await?;
    let peer = stage.peer(Role::U1);
    let (artifact, known) = existing(cx, peer).await?;
    for wrong in ["not base64!", "YQ", "YWJjZA=", "_-__"] {
        let mut create = Artifact::new(cx).request();
        create["body"] = json!(wrong);
        let answer = cx.call(&BASE64, peer, "artifact-create", create).await?;
        cx.check(
            &BASE64,
            answer["result"] == "error",
            format!("an error for {wrong:?}"),
            answer,
        );
        let header = json!({"data": wrong, "expectedVersion": known["headerVersion"]});
        let update = json!({"artifactId": artifact.id, "header": header});
        let answer = cx.call(&BASE64, peer, "artifact-update", update).await?;
        cx.check(
            &BASE64,
            answer["result"] == "error",
            format!("an error for {wrong:?}"),
            answer,
        );
    }
    let read = cx
        .call(
            &READ,
            peer,
            "artifact-read",
            json!({"artifactId": artifact.id}),
        )
        .await?;
    cx.check(
        &BASE64,
        artifact.is(&read["artifact"]),
        artifact.request(),
        read,
    );
    Ok(())
}

async fn malformed_data(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1]).await?;
    let peer = stage.peer(Role::U1);
    let good = Artifact::new(cx).request();
    let keys = ["id", "header", "body", "dataEncryptionKey"];
    let rows = malformed::variations(&good, &keys);
    malformed::check(cx, &MALFORMED, peer, "artifact-create", rows).await?;
    for event in ["artifact-read", "artifact-delete"] {
        let rows = malformed::variations(&json!({"artifactId": "x"}), &["artifactId"]);
        malformed::check(cx, &MALFORMED, peer, event, rows).await?;
    }
    let (artifact, _) = existing(cx, peer).await?;
    let rows = vec![
        json!({"artifactId": artifact.id, "header": {"data": 7, "expectedVersion": 1}}),
        json!({"artifactId": artifact.id, "header": {"data": "", "expectedVersion": "1"}}),
        json!({"artifactId": artifact.id, "body": {"expectedVersion": 1}}),
        json!({"artifactId": artifact.id, "body": "text"}),
    ];
    malformed::check(cx, &MALFORMED, peer, "artifact-update", rows).await
}
