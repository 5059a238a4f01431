//! Artifacts: create, read, update, delete.
//!
//! What happens to writers that come too late is judged by `artifact_cas`, what is refused by
//! `artifact_refusal`.

use base64::{Engine as _, prelude::BASE64_STANDARD as STANDARD};
use serde_json::{Value, json};
use touchstone_harness::own;

use touchstone_harness::{
    case::{Flow, Stop, case_table},
    ctx::Ctx,
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
    DELETE = "artifact.delete.answer", Must, Specification,
        "artifact-delete is answered with success, and the artifact is gone.";
    DELETE_REACHES = "artifact.delete.recipients", Should, Decision,
        "The deletion of an artifact reaches the user-scoped connections, once.";
    DELETE_BODY = "delete-artifact.body", Must, Specification,
        "The body of delete-artifact names the artifact.";
    NARROW = "artifact.narrow", Should, Decision,
        "What concerns artifacts does not reach session- and machine-scoped connections.";
}

case_table! {
    /// Creates an artifact while connections of every kind listen, and creates it again.
    ///
    /// Accepted is the artifact in the answer, one `new-artifact` for user-scoped connections, and for the
    /// second request the artifact as it is, with no announcement. Typical cause of a failure: a second
    /// creation of the same id is inserted and announced again, or the announcement goes to a room of the
    /// whole account, where sessions and machines listen as well.
    "artifact.create" judges [
        CREATE, CREATE_AGAIN, CREATE_SILENT, CREATE_REACHES, NEW_BODY, NARROW, own::DETAILS
    ] => create;

    /// Reads an artifact that was created before.
    ///
    /// Accepted is header and body as they were given, with their versions. Typical cause of a failure:
    /// header and body are decoded on their way in and not encoded on their way out, or their two versions
    /// are mixed up.
    "artifact.read" judges [READ] => read;

    /// Updates header and body, then the header alone, with the current versions.
    ///
    /// Accepted is success with version and data of each written part, and one `update-artifact` with just
    /// these parts for user-scoped connections. Typical cause of a failure: the part that the request does
    /// not name is written and announced as well, as null or with the old value; or both parts share one
    /// version.
    "artifact.update" judges [UPDATE, UPDATE_STEP, UPDATE_REACHES, UPDATE_BODY, NARROW] => update;

    /// Deletes an artifact while connections of every kind listen.
    ///
    /// Accepted is success, one `delete-artifact` for user-scoped connections, and an artifact that can no
    /// longer be read, changed or deleted. Typical cause of a failure: the row is deleted and nothing is
    /// announced, or it is only marked as deleted and reads do not look at the mark.
    "artifact.delete" judges [DELETE, DELETE_REACHES, DELETE_BODY, NARROW] => delete;

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
        cx.schema(&NEW_BODY, &own::DETAILS, "update/new-artifact", body)?;
        let key = &artifact.request()["dataEncryptionKey"];
        cx.equal(
            &NEW_BODY,
            "dataEncryptionKey",
            key,
            &body["dataEncryptionKey"],
        );
        for key in ["header", "headerVersion", "body", "bodyVersion", "seq"] {
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
pub(crate) fn different(stage: &Stage, kind: &'static str, id: &str) -> usize {
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

async fn delete(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &Role::ALL).await?;
    let peer = stage.peer(Role::U1);
    let (artifact, known) = existing(cx, peer).await?;
    // The same but for the last part.
    let mut neighbour = Artifact::new(cx);
    let (alike, _) = artifact.id.split_at(24);
    neighbour.id = format!("{alike}{}", &neighbour.id[24..]);
    let made = cx
        .call(&CREATE, peer, "artifact-create", neighbour.request())
        .await?;
    cx.require(&CREATE, made["result"] == "success", "success", made)?;
    let request = json!({"artifactId": artifact.id});
    let answer = cx
        .call(&DELETE, peer, "artifact-delete", request.clone())
        .await?;
    cx.schema(&DELETE, &DELETE, "ack/artifact-delete.success", &answer)?;
    let body = observe(cx, &stage, "delete-artifact", &artifact.id).await?;
    cx.schema(&DELETE_BODY, &DELETE_BODY, "update/delete-artifact", &body)?;
    let mut update = request.clone();
    update["header"] = json!({"data": encoded("late"), "expectedVersion": known["headerVersion"]});
    for (event, request) in [
        ("artifact-read", request.clone()),
        ("artifact-update", update),
        ("artifact-delete", request),
    ] {
        let answer = cx.call(&DELETE, peer, event, request).await?;
        let told = format!("an error for {event} of an artifact that is gone");
        cx.check(&DELETE, answer["result"] == "error", told, answer);
    }
    let request = json!({"artifactId": neighbour.id});
    let answer = cx.call(&DELETE, peer, "artifact-read", request).await?;
    let told = "an artifact whose id begins alike, as it was";
    let held = neighbour.is(&answer["artifact"]);
    cx.check(&DELETE, held, told, answer);
    Ok(())
}
