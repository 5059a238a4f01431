//! The values of a session: `update-metadata` and `update-state`.

use serde_json::{Value, json};

use super::{
    cas, malformed,
    session_values::{
        METADATA_ANSWER, METADATA_CURRENT, METADATA_RACE, METADATA_STALE, ODD_VERSION,
        ONE_BROADCAST, RACE_LOSERS, SILENT_MISMATCH, STATE_ANSWER, STATE_CURRENT, STATE_RACE,
        STATE_STALE, VERSION_STEP,
    },
    versioned::Cas,
};
use touchstone_harness::{
    case::{Flow, case_table},
    ctx::Ctx,
    ledger::{Requirement, requirement_table},
    stage::{Delivery, Role, Stage, Wanted},
};

pub(crate) use super::session_values::{METADATA, STATE};

requirement_table! {
    METADATA_REACHES = "session.update-metadata.recipients", Must, Decision,
        "A change of metadata reaches all user-scoped connections and those of the session, the sender \
         included, exactly once.";
    STATE_REACHES = "session.update-state.recipients", Must, Decision,
        "A change of agentState reaches all user-scoped connections and those of the session, the \
         sender included, exactly once.";
    STATE_CLEARED = "session.update-state.cleared", Must, Specification,
        "A null agentState clears the state: so it is announced, and so it is told to whoever asks \
         afterwards.";
    INDEPENDENT = "session.parts-independent", Must, Specification,
        "Metadata and agentState have a version each: a change of one leaves version and value of the \
         other alone.";
    NARROW = "session.narrow", Should, Decision,
        "A change of a session does not reach connections of other sessions and of machines.";
    BODY = "update-session.body", Must, Specification,
        "The body of update-session carries what changed as value and version, as the sender was told.";
    WIRE_KEYS = "update-session.keys", Should, Decision,
        "The body of update-session names the session `id`.";
    UNKNOWN = "session.unknown-is-answered", Should, Decision,
        "An update of a session that does not exist, or is another account's, is answered with an \
         error: a client that waits for the answer would hang otherwise.";
    FOREIGN = "session.foreign-is-untouched", Must, Decision,
        "An account cannot change or announce anything about another account's session.";
    MALFORMED = "session.malformed", Should, Decision,
        "Malformed data of update-metadata and update-state is answered with an error.";
    NO_CALLBACK = "session.no-callback", Should, Decision,
        "An update that asks for no acknowledgement takes effect all the same.";
    CONTENTION = "session.contention", Must, Decision,
        "While several connections change one session, each success is announced, once.";
}

case_table! {
    /// Changes the metadata of a session with the current version, twice.
    ///
    /// Accepted is `{result: "success", version, metadata}` with the next version and the metadata as it
    /// was sent, one `update-session` for both user-scoped connections and both connections of the session
    /// (the sender is one of them), and none for another session, a machine, or another account. The
    /// update's body must repeat value and version of the answer. Typical cause of a failure: the sender is
    /// left out of the broadcast as it is with messages, or the update's version is the one of the request
    /// instead of the next one.
    "session.update-metadata.success" judges [
        METADATA_ANSWER, VERSION_STEP, METADATA_REACHES, NARROW, BODY, WIRE_KEYS
    ] => metadata_success;

    /// Changes the metadata with versions that are not the current one: the one before, one far ahead, a
    /// negative one, a fraction.
    ///
    /// Accepted is `version-mismatch` each time, with the current version and metadata, and no broadcast.
    /// Typical causes of a failure: the version is compared with `<`, or not at all; the answer is built
    /// from the request.
    "session.update-metadata.stale" judges [
        METADATA_STALE, METADATA_CURRENT, ODD_VERSION, SILENT_MISMATCH
    ] => metadata_stale;

    /// Twenty writers on three connections change the same metadata with the same expectedVersion.
    ///
    /// Accepted is one success, nineteen mismatches that tell the winner's version and value, and one
    /// broadcast. Typical cause of a failure: the version is checked in one database call and written in
    /// another; or the loser answers what it had read before.
    "session.update-metadata.race" judges [METADATA_RACE, RACE_LOSERS, ONE_BROADCAST]
        => metadata_race;

    /// Changes the agentState of a session with the current version, to a text and then to null.
    ///
    /// Accepted is `{result: "success", version, agentState}` with the next version, one `update-session`
    /// for both user-scoped connections and both connections of the session, and none for others. Null is a
    /// value: it clears the state. Typical cause of a failure: null is taken for a missing field and
    /// refused, or the code was copied from the metadata and still writes or names that part.
    "session.update-state.success" judges [
        STATE_ANSWER, VERSION_STEP, STATE_REACHES, NARROW, BODY, WIRE_KEYS
    ] => state_success;

    /// Sets the agentState of a session and then clears it with null.
    ///
    /// Accepted is an `update-session` with `agentState: {value: null, version}`, and null in the mismatch
    /// that a later writer is told. Typical cause of a failure: null is taken for "not given", and the old
    /// state stays.
    "session.update-state.clear" judges [STATE_CLEARED] => state_cleared;

    /// Changes the metadata while the agentState stays, and the other way round.
    ///
    /// Accepted is that version and value of the part that was not written are what they were. Typical
    /// cause of a failure: one version for the whole session.
    "session.parts-independent" judges [INDEPENDENT] => independent;

    /// Changes the agentState with versions that are not the current one: the one before, one far ahead, a
    /// negative one, a fraction.
    ///
    /// Accepted is `version-mismatch` each time, with the current version and agentState, and no broadcast.
    /// Typical causes of a failure: the version is not compared, or is that of the metadata instead of the
    /// agentState; a mismatch answers what the request holds.
    "session.update-state.stale" judges [
        STATE_STALE, STATE_CURRENT, ODD_VERSION, SILENT_MISMATCH
    ] => state_stale;

    /// Twenty writers on three connections change the same agentState with the same expectedVersion.
    ///
    /// Accepted is one success, nineteen mismatches that tell the winner's version and value, and one
    /// broadcast. Typical cause of a failure: the version is checked in one database call and written in
    /// another, without a condition on the version in the second one.
    "session.update-state.race" judges [STATE_RACE, RACE_LOSERS, ONE_BROADCAST] => state_race;

    /// Updates metadata and state of a session id that does not exist.
    ///
    /// Accepted is `{result: "error"}`. No answer at all leaves a client hanging that waits without a
    /// timeout, as the real one does. Typical cause of a failure: the handler returns without calling the
    /// callback where no row is found.
    "session.unknown" judges [UNKNOWN] => unknown;

    /// Another account updates metadata and state of this account's session, with the right version.
    ///
    /// Accepted is any answer but success, no broadcast, and an unchanged value. Typical cause of a
    /// failure: the record is looked up by its id alone.
    "session.foreign" judges [FOREIGN] => foreign;

    /// Sends `update-metadata` and `update-state` with every key missing, null, and of several wrong
    /// types, an expectedVersion that is a text among them.
    ///
    /// Accepted is `{result: "error"}` for each, and no broadcast. Typical cause of a failure: the handler
    /// returns without calling the callback where a field is missing, or a text is compared with a number
    /// by a language that converts it.
    "session.malformed" judges [MALFORMED] => malformed_data;

    /// Sends `update-metadata` and `update-state` without a callback.
    ///
    /// Accepted is the broadcast, as if a callback had been there. Typical cause of a failure: the
    /// handler calls the callback that is not there before it announces the change.
    "session.no-callback" judges [NO_CALLBACK] => no_callback;

    /// Four writers on three connections change the metadata, and then the agentState, of one session, each with
    /// the version that it was told last, until each has succeeded eight times.
    ///
    /// Accepted are as many announcements as successes, and as many versions. Typical cause of a failure: a
    /// transaction that conflicts is carried out again and announces again, or gives up and announces nothing.
    "session.contention" judges [CONTENTION] => contention;
}

/// Everyone who hears of a change of session S1.
const INTERESTED: [Role; 4] = [Role::U1, Role::U2, Role::S1, Role::S1B];

/// Everyone of the account who does not.
const OTHERS: [Role; 3] = [Role::S2, Role::M1, Role::M2];

async fn metadata_success(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &Role::ALL).await?;
    let marker = cx.marker("metadata");
    let value = json!(marker);
    change(cx, &stage, &METADATA, &METADATA_REACHES, &value, &marker).await
}

async fn state_success(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &Role::ALL).await?;
    let marker = cx.marker("state");
    let value = json!(marker);
    change(cx, &stage, &STATE, &STATE_REACHES, &value, &marker).await?;
    // Null has no marker; the answer alone is judged.
    STATE
        .succeed(cx, stage.peer(Role::S1), &stage.s1.id, &Value::Null)
        .await?;
    Ok(())
}

async fn change(
    cx: &mut Ctx,
    stage: &Stage,
    cas: &Cas,
    reaches: &'static Requirement,
    value: &Value,
    marker: &str,
) -> Flow {
    let version = cas
        .succeed(cx, stage.peer(Role::S1), &stage.s1.id, value)
        .await?;
    let spares = [(&OTHERS[..], &NARROW)];
    let update = Delivery {
        wanted: Wanted::update(cas.update, marker),
        reaches: &INTERESTED,
        by: reaches,
        spares: &spares,
    };
    let seen = stage.observe(cx, &[update]).await?;
    let body = &seen[0].data["body"];
    cx.schema(&BODY, &WIRE_KEYS, "update/update-session", body)?;
    let expected = json!({"value": value, "version": version});
    cx.equal(&BODY, cas.field, &expected, &body[cas.field]);
    let id = body.get("id");
    let right = id.is_none_or(|id| *id == json!(stage.s1.id));
    cx.check(&BODY, right, format!("the id {}", stage.s1.id), body);
    Ok(())
}

async fn state_cleared(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    let (peer, listener) = (stage.peer(Role::U1), stage.peer(Role::U2));
    let mut unannounced = 0;
    for _ in 0..3 {
        // A session that sentinels do not touch.
        let id = cx.session(&stage.account).await?.id;
        let value = json!(cx.marker("state"));
        STATE.write(cx, peer, &id, &value).await?;
        STATE.write(cx, peer, &id, &Value::Null).await?;
        stage.prove_silence(cx).await?;
        let update = Wanted::update("update-session", &id);
        let cleared = listener.all(|arrival| {
            let part = &arrival.data["body"]["agentState"];
            update.matches(arrival) && part.get("value").is_some_and(Value::is_null)
        });
        unannounced += u32::from(cleared.is_empty());
        let (_, value) = STATE.peek(cx, peer, &id).await?;
        cx.check(&STATE_CLEARED, value.is_null(), "null to be stored", value);
    }
    // A server that loses single updates does not lose each of these.
    let expected = "update-session with a null agentState";
    let told = format!("none for u2 after {unannounced} of 3 times");
    cx.check(&STATE_CLEARED, unannounced < 3, expected, told);
    Ok(())
}

async fn independent(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1]).await?;
    let (peer, id) = (stage.peer(Role::U1), &stage.s1.id);
    METADATA
        .leaves_alone(cx, peer, id, &STATE, &INDEPENDENT)
        .await?;
    STATE
        .leaves_alone(cx, peer, id, &METADATA, &INDEPENDENT)
        .await
}

async fn metadata_stale(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::S1]).await?;
    METADATA.mismatch(cx, &stage, &stage.s1.id).await
}

async fn state_stale(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::S1]).await?;
    STATE.mismatch(cx, &stage, &stage.s1.id).await
}

async fn metadata_race(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::S1]).await?;
    METADATA.race(cx, &stage, &stage.s1.id).await
}

async fn state_race(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::S1]).await?;
    STATE.race(cx, &stage, &stage.s1.id).await
}

async fn unknown(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1]).await?;
    let id = cx.marker("no-such-session");
    for cas in [&METADATA, &STATE] {
        let data = cas.data(&id, &json!(cx.marker("nobody")), &json!(0));
        let expected = format!(
            "{{\"result\":\"error\"}} for {} of an unknown session",
            cas.event
        );
        match cx.ask(stage.peer(Role::U1), cas.event, data).await? {
            Ok(answer) => {
                cx.check(
                    &UNKNOWN,
                    answer.data["result"] == "error",
                    expected,
                    answer.data,
                );
            }
            Err(silent) => {
                let after = silent.after.as_secs_f64();
                cx.broken(&UNKNOWN, expected, format!("no answer within {after:.1} s"));
            }
        }
    }
    Ok(())
}

async fn foreign(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::S1, Role::V1]).await?;
    let rows = [&*stage.s1.id, stage.other_session()];
    cas::foreign(cx, &stage, [&METADATA, &STATE], rows, &FOREIGN).await
}

async fn malformed_data(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    for cas in [&METADATA, &STATE] {
        let keys = ["sid", cas.field, "expectedVersion"];
        let rows = |good: &Value| {
            let mut rows = malformed::variations(good, &keys);
            // Null is a value for agentState.
            rows.retain(|row| row.get("agentState") != Some(&Value::Null));
            rows
        };
        cas.malformed(cx, &stage, &stage.s1.id, rows, &MALFORMED)
            .await?;
    }
    Ok(())
}

async fn no_callback(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::S1]).await?;
    for cas in [&METADATA, &STATE] {
        let start = json!(cx.marker("before"));
        let version = cas
            .write(cx, stage.peer(Role::U1), &stage.s1.id, &start)
            .await?;
        let marker = cx.marker("quiet");
        let data = cas.data(&stage.s1.id, &json!(marker), &json!(version));
        cx.emit(stage.peer(Role::U1), cas.event, data).await?;
        let update = Delivery {
            wanted: Wanted::update(cas.update, marker),
            reaches: &[Role::U1, Role::U2, Role::S1],
            by: &NO_CALLBACK,
            spares: &[],
        };
        stage.observe(cx, &[update]).await?;
        cx.saw_version(&stage.s1.id, cas.field, version + 1);
    }
    Ok(())
}

async fn contention(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::S1]).await?;
    let id = cx.session(&stage.account).await?.id;
    for cas in [&METADATA, &STATE] {
        cas.contention(cx, &stage, &id, &CONTENTION).await?;
    }
    Ok(())
}
