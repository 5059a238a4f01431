//! Machines: `machine-update-metadata`, `machine-update-state`, and what their creation announces.

use serde_json::{Value, json};

use super::{
    cas,
    machine_values::{
        METADATA_ANSWER, METADATA_CURRENT, METADATA_RACE, METADATA_STALE, ODD_VERSION,
        ONE_BROADCAST, RACE_LOSERS, SILENT_MISMATCH, STATE_ANSWER, STATE_CURRENT, STATE_RACE,
        STATE_STALE, VERSION_STEP,
    },
    malformed,
    versioned::Cas,
};
use touchstone_harness::{
    case::{Flow, case_table},
    ctx::Ctx,
    ledger::{Requirement, requirement_table},
    stage::{Delivery, Role, Stage, Wanted},
};

pub(crate) use super::machine_values::{METADATA, STATE};

requirement_table! {
    METADATA_REACHES = "machine.update-metadata.recipients", Must, Decision,
        "A change of machine metadata reaches all user-scoped connections and those of the machine, \
         the sender included, exactly once.";
    STATE_REACHES = "machine.update-state.recipients", Must, Decision,
        "A change of daemonState reaches all user-scoped connections and those of the machine, the \
         sender included, exactly once.";
    INDEPENDENT = "machine.parts-independent", Must, Specification,
        "Metadata and daemonState have a version each: a change of one leaves version and value of the \
         other alone.";
    ERROR_TEXTS = "machine.error-texts", Should, Decision,
        "An update that lacks a field, or has a null daemonState, is answered with the error `Invalid \
         parameters`, one of an unknown machine with `Machine not found`.";
    MARKS_ACTIVE = "machine.state-marks-active", Info, Decision,
        "A change of the daemonState may make the machine active.";
    NARROW = "machine.narrow", Should, Decision,
        "What concerns a machine does not reach other machines and sessions.";
    BODY = "update-machine.body", Must, Specification,
        "The body of update-machine names the machine and carries what changed as value and version, \
         as the sender was told.";
    BODY_EXTRAS = "update-machine.optional", Should, Decision,
        "Parts of update-machine that did not change are absent.";
    UNKNOWN = "machine.unknown", Should, Decision,
        "An update of a machine that does not exist, or is another account's, is answered with an error.";
    FOREIGN = "machine.foreign-is-untouched", Must, Decision,
        "An account cannot change or announce anything about another account's machine.";
    MALFORMED = "machine.malformed", Should, Decision,
        "Malformed data of the machine updates is answered with an error.";
    CONTENTION = "machine.contention", Must, Decision,
        "While several connections change one machine, each success is announced, once.";
    CREATED = "machine.created", Must, Decision,
        "A new machine is announced to the user-scoped connections, once.";
    CREATED_BODY = "new-machine.body", Must, Specification,
        "The body of new-machine has the fields of the event, with the stored values.";
    CREATED_OPTIONAL = "new-machine.optional", Should, Decision,
        "The body of new-machine has what clients need beyond the fields of the event.";
    CREATED_TWICE = "machine.created-again", Should, Decision,
        "Creating a machine that exists answers the stored one unchanged and announces nothing.";
    TAKEN_ID = "machine.taken-id", Should, Decision,
        "Where ids are global, the id of another account's machine is answered with 409.";
    TAKEN_ID_OWN = "machine.taken-id-own", Must, Decision,
        "Who posts the id of another account's machine is never answered with the row of that one.";
}

case_table! {
    /// Changes the metadata of a machine with the current version.
    ///
    /// Accepted is `{result: "success", version, metadata}`, one `update-machine` for both user-scoped
    /// connections and the machine's own (the sender is one of them), and none for another machine, a
    /// session, or another account. Typical cause of a failure: the update goes to connections of the
    /// machine or of users only, not to both; or the answer repeats the version of the request instead of
    /// the next one.
    "machine.update-metadata.success" judges [
        METADATA_ANSWER, VERSION_STEP, METADATA_REACHES, NARROW, BODY, BODY_EXTRAS
    ] => metadata_success;

    /// Changes machine metadata with versions that are not the current one.
    ///
    /// Accepted is `version-mismatch` with the current version and metadata, and no broadcast. Typical
    /// causes of a failure: the version is compared with `<`, or not at all; the answer is built from the
    /// request instead of the row.
    "machine.update-metadata.stale" judges [
        METADATA_STALE, METADATA_CURRENT, ODD_VERSION, SILENT_MISMATCH
    ] => metadata_stale;

    /// Twenty writers change the same machine metadata with the same expectedVersion.
    ///
    /// Accepted is one success, nineteen mismatches that tell the winner's value, one broadcast. Typical
    /// cause of a failure: the version is checked in one database call and written in another, without a
    /// condition on the version in the second one.
    "machine.update-metadata.race" judges [METADATA_RACE, RACE_LOSERS, ONE_BROADCAST]
        => metadata_race;

    /// Changes the daemonState of a machine with the current version.
    ///
    /// Accepted is `{result: "success", version, daemonState}`, one `update-machine` for both user-scoped
    /// connections and the machine's own, and none for others. Typical cause of a failure: the update goes
    /// to connections of the machine or of users only, not to both; or the code was copied from the
    /// metadata and still writes or names that part.
    "machine.update-state.success" judges [
        STATE_ANSWER, VERSION_STEP, STATE_REACHES, NARROW, BODY, BODY_EXTRAS
    ] => state_success;

    /// Changes the daemonState with versions that are not the current one.
    ///
    /// Accepted is `version-mismatch` with the current version and daemonState, and no broadcast. Typical
    /// causes of a failure: the version is not compared, or is that of the metadata instead of the
    /// daemonState; a mismatch answers what the request holds.
    "machine.update-state.stale" judges [
        STATE_STALE, STATE_CURRENT, ODD_VERSION, SILENT_MISMATCH
    ] => state_stale;

    /// Twenty writers change the same daemonState with the same expectedVersion.
    ///
    /// Accepted is one success, nineteen mismatches that tell the winner's value, one broadcast. Typical
    /// cause of a failure: the version is checked in one database call and written in another, without a
    /// condition on the version in the second one.
    "machine.update-state.race" judges [STATE_RACE, RACE_LOSERS, ONE_BROADCAST] => state_race;

    /// Updates a machine that does not exist.
    ///
    /// Accepted is the error answer; its message is expected to be `Machine not found`. Typical cause of a
    /// failure: an update that changes no row is answered as success or as a mismatch, or not at all.
    "machine.unknown" judges [UNKNOWN, ERROR_TEXTS] => unknown;

    /// Another account updates this account's machine, with the right version.
    ///
    /// Accepted is any answer but success, no broadcast, and an unchanged value. Typical cause of a
    /// failure: the machine is looked up by its id alone, without the account.
    "machine.foreign" judges [FOREIGN] => foreign;

    /// Sends both machine updates with every key missing, null, and of several wrong types.
    ///
    /// Accepted is the error answer for each, and no broadcast; unlike an agentState, a daemonState cannot
    /// be null. Typical cause of a failure: a missing or null field is stored as it is, or it throws before
    /// the callback is called.
    "machine.malformed" judges [MALFORMED] => malformed_data;

    /// Sends both machine updates with each field missing, and with a null daemonState.
    ///
    /// Accepted is the error `Invalid parameters`. Typical cause of a failure: the text of the validation
    /// library is answered, or one text for all errors.
    "machine.error-texts" judges [ERROR_TEXTS] => error_texts;

    /// Changes the metadata while the daemonState stays, and the other way round.
    ///
    /// Accepted is that version and value of the part that was not written are what they were. Typical
    /// cause of a failure: one version serves both parts, or an update writes the whole row as it was read
    /// before.
    "machine.parts-independent" judges [INDEPENDENT] => independent;

    /// Changes the daemonState of a machine that nobody is connected as, and reads it over HTTP.
    ///
    /// Accepted is anything; whether the machine is active then is noted on the dialect card. Typical cause
    /// of a failure: the state is written through a function that also sets the time of the last sign of
    /// life, and fails for a machine without a connection.
    "machine.state-marks-active" needs [Rest] judges [MARKS_ACTIVE] => marks_active;

    /// Four writers on three connections change the metadata, and then the daemonState, of one machine, each
    /// with the version that it was told last, until each has succeeded eight times.
    ///
    /// Accepted are as many announcements as successes, and as many versions. Typical cause of a failure: a
    /// transaction that conflicts is carried out again and announces twice, or gives up and announces
    /// nothing.
    "machine.contention" judges [CONTENTION] => contention;

    /// Creates a machine over HTTP while others listen, then again, then with another account.
    ///
    /// Accepted is one `new-machine` for user-scoped connections with the given values, the stored machine
    /// for the second request, and for the stranger either 409, or a machine of its own where ids are per
    /// account. Typical cause of a failure: the second request inserts again or announces again, or the id
    /// is unique for all accounts and the stranger is given the first account's row.
    "machine.create" needs [Rest] judges [
        CREATED, CREATED_BODY, CREATED_OPTIONAL, NARROW, CREATED_TWICE, TAKEN_ID, TAKEN_ID_OWN
    ] => create;
}

/// Everyone of the account who does not hear of a change of machine M1.
const OTHERS: [Role; 3] = [Role::M2, Role::S1, Role::S2];

const CAST: [Role; 9] = [
    Role::U1,
    Role::U2,
    Role::S1,
    Role::S2,
    Role::M1,
    Role::M2,
    Role::V1,
    Role::VS,
    Role::VM,
];

async fn metadata_success(cx: &mut Ctx) -> Flow {
    change(cx, &METADATA, &METADATA_REACHES).await
}

async fn state_success(cx: &mut Ctx) -> Flow {
    change(cx, &STATE, &STATE_REACHES).await
}

async fn change(cx: &mut Ctx, cas: &Cas, reaches: &'static Requirement) -> Flow {
    let stage = Stage::set(cx, &CAST).await?;
    let marker = cx.marker("changed");
    let value = json!(marker);
    let id = stage.m1_id();
    let version = cas.succeed(cx, stage.peer(Role::M1), id, &value).await?;
    let spares = [(&OTHERS[..], &NARROW)];
    let update = Delivery {
        wanted: Wanted::update("update-machine", &marker),
        reaches: &[Role::U1, Role::U2, Role::M1],
        by: reaches,
        spares: &spares,
    };
    let seen = stage.observe(cx, &[update]).await?;
    let body = &seen[0].data["body"];
    cx.schema(&BODY, &BODY_EXTRAS, "update/update-machine", body)?;
    let expected = json!({"value": value, "version": version});
    cx.equal(&BODY, cas.field, &expected, &body[cas.field]);
    cx.equal(&BODY, "machineId", &json!(id), &body["machineId"]);
    Ok(())
}

/// A cast that can write and listen for a machine.
const WRITERS: [Role; 4] = [Role::U1, Role::U2, Role::S1, Role::M1];

async fn metadata_stale(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &WRITERS).await?;
    METADATA.mismatch(cx, &stage, stage.m1_id()).await
}

async fn state_stale(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &WRITERS).await?;
    STATE.mismatch(cx, &stage, stage.m1_id()).await
}

async fn metadata_race(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &WRITERS).await?;
    METADATA.race(cx, &stage, stage.m1_id()).await
}

async fn state_race(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &WRITERS).await?;
    STATE.race(cx, &stage, stage.m1_id()).await
}

async fn unknown(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1]).await?;
    let id = cx.marker("no-such-machine");
    for cas in [&METADATA, &STATE] {
        let data = cas.data(&id, &json!(cx.marker("nobody")), &json!(0));
        let answer = cx
            .call(&UNKNOWN, stage.peer(Role::U1), cas.event, data)
            .await?;
        let refused = answer["result"] == "error";
        let told = format!(
            "an error for {} of a machine that does not exist",
            cas.event
        );
        if cx.check(&UNKNOWN, refused, told, &answer) {
            let expected = json!("Machine not found");
            cx.equal(&ERROR_TEXTS, "message", &expected, &answer["message"]);
        }
    }
    Ok(())
}

async fn foreign(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::M1, Role::V1]).await?;
    let strangers = cx.machine(stage.other_account()).await?;
    let rows = [stage.m1_id(), &strangers.id];
    cas::foreign(cx, &stage, [&METADATA, &STATE], rows, &FOREIGN).await
}

async fn malformed_data(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::M1]).await?;
    for cas in [&METADATA, &STATE] {
        let keys = ["machineId", cas.field, "expectedVersion"];
        let rows = |good: &Value| malformed::variations(good, &keys);
        cas.malformed(cx, &stage, stage.m1_id(), rows, &MALFORMED)
            .await?;
    }
    Ok(())
}

async fn error_texts(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::M1]).await?;
    let null_state = STATE.data(stage.m1_id(), &Value::Null, &json!(0));
    let mut rows = vec![(&STATE, null_state)];
    for cas in [&METADATA, &STATE] {
        for key in ["machineId", cas.field, "expectedVersion"] {
            let mut row = cas.data(stage.m1_id(), &json!(cx.marker("incomplete")), &json!(0));
            if let Some(fields) = row.as_object_mut() {
                fields.remove(key);
            }
            rows.push((cas, row));
        }
    }
    let expected = json!({"result": "error", "message": "Invalid parameters"});
    for (cas, row) in rows {
        let told = format!("{expected} for {} {row}", cas.event);
        let answer = cx
            .call(&ERROR_TEXTS, stage.peer(Role::U1), cas.event, row)
            .await?;
        let held =
            answer["result"] == expected["result"] && answer["message"] == expected["message"];
        cx.check(&ERROR_TEXTS, held, told, answer);
    }
    Ok(())
}

async fn independent(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::M1]).await?;
    let (peer, id) = (stage.peer(Role::U1), stage.m1_id());
    METADATA
        .leaves_alone(cx, peer, id, &STATE, &INDEPENDENT)
        .await?;
    STATE
        .leaves_alone(cx, peer, id, &METADATA, &INDEPENDENT)
        .await
}

async fn marks_active(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1]).await?;
    let machine = cx.machine(&stage.account).await?;
    let path = format!("/v1/machines/{}", machine.id);
    let mut seen = Vec::new();
    for _ in 0..2 {
        let answer = cx
            .rest_any(&stage.account, "GET", &path, &Value::Null)
            .await?;
        seen.push(answer.body["machine"]["active"].clone());
        let state = json!(cx.marker("state"));
        STATE
            .write(cx, stage.peer(Role::U1), &machine.id, &state)
            .await?;
    }
    let told = match seen.as_slice() {
        [Value::Bool(true), _] => "active from the start",
        [_, Value::Bool(true)] => "yes",
        [_, Value::Bool(false)] => "no",
        _ => "unknown",
    };
    cx.fact("machine.state-marks-active", told);
    cx.held(&MARKS_ACTIVE);
    Ok(())
}

async fn contention(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::S1]).await?;
    let id = cx.machine(&stage.account).await?.id;
    for cas in [&METADATA, &STATE] {
        cas.contention(cx, &stage, &id, &CONTENTION).await?;
    }
    Ok(())
}

async fn create(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &CAST).await?;
    let (id, metadata) = (cx.marker("machine"), cx.marker("metadata"));
    let request = json!({"id": id, "metadata": metadata});
    let created = cx
        .rest(&CREATED, &stage.account, "POST", "/v1/machines", &request)
        .await?;
    let spares = [(&[Role::M1, Role::M2, Role::S1, Role::S2][..], &NARROW)];
    let update = Delivery {
        wanted: Wanted::update("new-machine", &metadata),
        reaches: &[Role::U1, Role::U2],
        by: &CREATED,
        spares: &spares,
    };
    let seen = stage.observe(cx, &[update]).await?;
    let body = &seen[0].data["body"];
    cx.schema(&CREATED_BODY, &CREATED_OPTIONAL, "update/new-machine", body)?;
    cx.equal(&CREATED_BODY, "machineId", &json!(id), &body["machineId"]);
    for key in ["metadata", "metadataVersion", "daemonStateVersion"] {
        cx.equal(&CREATED_BODY, key, &created["machine"][key], &body[key]);
    }
    let again = json!({"id": id, "metadata": cx.marker("other")});
    let repeated = cx
        .rest(
            &CREATED_TWICE,
            &stage.account,
            "POST",
            "/v1/machines",
            &again,
        )
        .await?;
    cx.equal(
        &CREATED_TWICE,
        "metadata",
        &json!(metadata),
        &repeated["machine"]["metadata"],
    );
    let stranger = cx.account().await?;
    let foreign = json!({"id": id, "metadata": cx.marker("foreign")});
    let answer = cx
        .rest_any(&stranger, "POST", "/v1/machines", &foreign)
        .await?;
    let shown = format!("{} {}", answer.status, answer.body);
    if (200..300).contains(&answer.status) {
        let own = answer.body["machine"]["metadata"] == foreign["metadata"]
            && !answer.body.to_string().contains(&metadata);
        let expected = "409, or a machine with what the stranger posted";
        cx.check(&TAKEN_ID_OWN, own, expected, shown);
        cx.held(&TAKEN_ID);
        cx.fact("machine.ids", "per account");
        let kept = cx
            .rest(
                &TAKEN_ID_OWN,
                &stage.account,
                "POST",
                "/v1/machines",
                &again,
            )
            .await?;
        let expected = json!(metadata);
        cx.equal(
            &TAKEN_ID_OWN,
            "metadata",
            &expected,
            &kept["machine"]["metadata"],
        );
    } else {
        cx.check(&TAKEN_ID, answer.status == 409, "status 409", &shown);
        let leaks = shown.contains(&metadata);
        cx.check(&TAKEN_ID_OWN, !leaks, "nothing of the machine", shown);
        cx.fact("machine.ids", "global");
    }
    stage.prove_silence(cx).await?;
    let mut envelopes: Vec<_> = stage
        .peer(Role::U2)
        .all(|arrival| Wanted::update("new-machine", &id).matches(arrival))
        .iter()
        .map(|arrival| arrival.envelope_id().map(ToOwned::to_owned))
        .collect();
    envelopes.dedup();
    let count = envelopes.len();
    cx.check(
        &CREATED_TWICE,
        count <= 1,
        "no second new-machine",
        format!("{count} in all"),
    );
    Ok(())
}
