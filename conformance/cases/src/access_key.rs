//! `access-key-get`.

use crate::readback::Watched;
use serde_json::{Value, json};

use super::malformed;
use touchstone_harness::{
    case::{Flow, case_table},
    ctx::Ctx,
    ledger::{Requirement, requirement_table},
    stage::{Role, Stage},
    words,
};

requirement_table! {
    ANSWER = "access-key.answer", Must, Specification,
        "access-key-get answers the key of a session and a machine as it was stored.";
    NONE = "access-key.none", Must, Specification,
        "A pair without a key is answered with ok and a null accessKey.";
    INCOMPLETE = "access-key.incomplete", Should, Decision,
        "A request without sessionId or machineId is answered with an error.";
    UNKNOWN = "access-key.unknown", Should, Decision,
        "An unknown session or machine is answered with an error.";
    ERROR_TEXTS = "access-key.error-texts", Should, Decision,
        "The error for a missing id names both that are required, and the one for an unknown id is `Session \
         or machine not found`.";
    MALFORMED = "access-key.malformed", Should, Decision,
        "Malformed data of access-key-get is answered with an error.";
    FOREIGN = "access-key.foreign", Must, Decision,
        "An account cannot read another account's access keys.";
}

case_table! {
    /// Reads an access key over the socket, before and after it is stored over the provisioner.
    ///
    /// Accepted is `{ok: true, accessKey}` with the stored data, its version and its times. Typical cause
    /// of a failure: the row is answered as it stands in the database: a column has another name there, or
    /// a time is a text instead of milliseconds.
    "access-key.get" needs [AccessKeys] judges [ANSWER] => get;

    /// Reads the key of a session and a machine that have none.
    ///
    /// Accepted is `{ok: true, accessKey: null}`: that there is none is no error. Typical cause of a
    /// failure: a missing row is taken for an error, or `accessKey` is left out of the answer instead of
    /// being null.
    "access-key.none" judges [NONE] => none;

    /// Reads with ids missing and unknown.
    ///
    /// Accepted are `{ok: false}` and the texts that clients show. Typical cause of a failure: all failures
    /// go through one catch-all, which answers the text of the exception; or the ids are looked up before
    /// it is checked that they are there.
    "access-key.errors" judges [INCOMPLETE, UNKNOWN, ERROR_TEXTS] => errors;

    /// Sends `access-key-get` with both ids missing, null, and of several wrong types.
    ///
    /// Accepted is `{ok: false, error}` for each. Typical cause of a failure: an id that is not a text
    /// reaches the database, whose exception ends the handler before it answers.
    "access-key.malformed" judges [MALFORMED] => malformed_data;

    /// Reads with a session of this account and a machine of another one, and the other way round.
    ///
    /// Accepted is the error of an unknown id: what belongs to others does not exist for this account.
    /// Typical cause of a failure: only one of the two ids is looked up together with the account, and the
    /// other one by its id alone.
    "access-key.foreign-half" judges [UNKNOWN, ERROR_TEXTS] => foreign_half;

    /// Another account reads the key of this account's session and machine.
    ///
    /// Accepted is any answer without a key. Typical cause of a failure: the pair is looked up without the
    /// account.
    "access-key.foreign" needs [AccessKeys] judges [FOREIGN] => foreign;
}

const EVENT: &str = "access-key-get";

async fn get(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::M1]).await?;
    let machine = stage.m1.clone().expect("the cast has a machine");
    let data = cx.marker("key");
    let request = json!({"sessionId": stage.s1.id, "machineId": machine.id});
    // What is answered while there is no key is judged elsewhere, and must not be kept.
    let _none = cx.ask(stage.peer(Role::U1), EVENT, request.clone()).await?;
    let data = cx
        .access_key(&stage.account, &stage.s1, &machine, &data)
        .await?;
    let answer = cx
        .call(&ANSWER, stage.peer(Role::U1), EVENT, request)
        .await?;
    cx.schema(&ANSWER, &ANSWER, "ack/access-key-get.success", &answer)?;
    cx.equal(&ANSWER, "data", &json!(data), &answer["accessKey"]["data"]);
    Ok(())
}

async fn none(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::M1]).await?;
    let request = json!({"sessionId": stage.s1.id, "machineId": stage.m1_id()});
    let answer = cx.call(&NONE, stage.peer(Role::U1), EVENT, request).await?;
    let held = answer["ok"] == true && answer.get("accessKey").is_some_and(|key| key.is_null());
    cx.check(&NONE, held, json!({"ok": true, "accessKey": null}), answer);
    Ok(())
}

async fn errors(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::M1]).await?;
    let (session, machine) = (stage.s1.id.clone(), stage.m1_id().to_owned());
    let nobody = cx.marker("nobody");
    let incomplete = "Invalid parameters: sessionId and machineId are required";
    let unknown = "Session or machine not found";
    let rows = [
        (json!({"sessionId": session}), &INCOMPLETE, incomplete),
        (json!({"machineId": machine}), &INCOMPLETE, incomplete),
        (json!({}), &INCOMPLETE, incomplete),
        (
            json!({"sessionId": session, "machineId": nobody}),
            &UNKNOWN,
            unknown,
        ),
        (
            json!({"sessionId": nobody, "machineId": machine}),
            &UNKNOWN,
            unknown,
        ),
    ];
    for (request, by, error) in rows {
        let answer = cx
            .call(by, stage.peer(Role::U1), EVENT, request.clone())
            .await?;
        judge(cx, by, error, &request, &answer);
    }
    Ok(())
}

/// Judges an answer that has to be an error.
fn judge(cx: &mut Ctx, by: &'static Requirement, text: &str, request: &Value, answer: &Value) {
    let refused = answer["ok"] == false && answer["error"].is_string();
    let expected = format!("ok false and an error for {request}");
    if cx.check(by, refused, expected, answer) {
        let expected = format!("the error {} for {request}", words::quoted(text));
        cx.check(&ERROR_TEXTS, answer["error"] == text, expected, answer);
    }
}

async fn malformed_data(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::M1]).await?;
    let good = json!({"sessionId": stage.s1.id, "machineId": stage.m1_id()});
    let rows = malformed::variations(&good, &["sessionId", "machineId"]);
    malformed::check(cx, &MALFORMED, stage.peer(Role::U1), EVENT, rows).await
}

async fn foreign_half(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::M1]).await?;
    let stranger = cx.account().await?;
    let session = cx.session(&stranger).await?;
    let machine = cx.machine(&stranger).await?;
    let rows = [
        json!({"sessionId": stage.s1.id, "machineId": machine.id}),
        json!({"sessionId": session.id, "machineId": stage.m1_id()}),
    ];
    for request in rows {
        let answer = cx
            .call(&UNKNOWN, stage.peer(Role::U1), EVENT, request.clone())
            .await?;
        let text = "Session or machine not found";
        judge(cx, &UNKNOWN, text, &request, &answer);
    }
    Ok(())
}

async fn foreign(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::M1, Role::V1]).await?;
    let machine = stage.m1.clone().expect("the cast has a machine");
    let data = cx.marker("key");
    cx.access_key(&stage.account, &stage.s1, &machine, &data)
        .await?;
    let watched = Watched::of(&stage);
    let before = watched.read(cx).await?;
    let request = json!({"sessionId": stage.s1.id, "machineId": machine.id});
    let answer = cx
        .call(&FOREIGN, stage.peer(Role::V1), EVENT, request)
        .await?;
    // That there is no error is judged by access-key.foreign-half.
    let held = answer.get("accessKey").is_none_or(Value::is_null);
    cx.check(&FOREIGN, held, "no accessKey", answer);
    watched.unchanged(cx, &before, &FOREIGN).await
}
