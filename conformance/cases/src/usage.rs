//! `usage-report`.

use crate::readback::Watched;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::malformed;
use touchstone_harness::{
    case::{Flow, case_table},
    ctx::Ctx,
    ledger::requirement_table,
    stage::{Delivery, Role, Stage, Wanted},
    words,
};

requirement_table! {
    ANSWER = "usage.answer", Must, Specification,
        "A valid usage-report is answered with success, the report's id and its times.";
    REACHES = "usage.recipients", Should, Decision,
        "A usage report of a session reaches the user-scoped connections as an ephemeral, once.";
    BODY = "usage.body", Must, Specification,
        "The ephemeral usage names session and key, and repeats tokens and cost.";
    NARROW = "usage.narrow", Should, Decision,
        "Usage does not reach session- and machine-scoped connections.";
    SAME_REPORT = "usage.same-report", Should, Decision,
        "A second report for the same session and key keeps id and createdAt and renews updatedAt.";
    OTHER_REPORT = "usage.other-report", Should, Decision,
        "Reports for different keys, or for different sessions, are different reports.";
    AGAIN_ANNOUNCED = "usage.again-announced", Should, Decision,
        "A second report for the same session and key is announced with its own figures.";
    MALFORMED = "usage.malformed", Should, Decision,
        "Malformed data of usage-report is answered with an error, and announced to nobody.";
    WITHOUT_SESSION = "usage.without-session", Must, Specification,
        "A report without a sessionId, which is optional, is stored.";
    WITHOUT_SESSION_SILENT = "usage.without-session-silent", Should, Decision,
        "A report without a sessionId is not broadcast.";
    ERRORS = "usage.errors", Must, Specification,
        "An invalid report is answered with success false and an error.";
    ERROR_TEXTS = "usage.error-texts", Should, Decision,
        "The errors are checked in the order key, tokens, cost, sessionId, and told by their texts.";
    FOREIGN = "usage.foreign", Must, Decision,
        "An account cannot report usage for another account's session.";
}

case_table! {
    /// Reports usage of a session while connections of every kind listen.
    ///
    /// Accepted is `{success: true, reportId, createdAt, updatedAt}`, and one ephemeral `usage` with the
    /// same figures for user-scoped connections. A total of zero is a total. Typical cause of a failure: a
    /// total of zero is taken for a missing one, or the report is announced to the session's connections
    /// instead of the user-scoped ones.
    "usage.report" judges [ANSWER, REACHES, BODY, NARROW] => report;

    /// Reports again for the same session and key, then for another key and another session.
    ///
    /// Accepted is the same `reportId` and `createdAt` with a later `updatedAt` for the same pair, announced
    /// with the new figures, and a report of its own for each other pair. Typical cause of a failure: the
    /// key alone is unique.
    "usage.again" judges [SAME_REPORT, AGAIN_ANNOUNCED, OTHER_REPORT] => again;

    /// Sends `usage-report` with every key missing, null, and of several wrong types.
    ///
    /// Accepted is `{success: false, error}` for each, and silence. Typical cause of a failure: the handler
    /// returns, or throws, before the callback is called where a field is missing.
    "usage.malformed" judges [MALFORMED] => malformed_data;

    /// Reports usage without a session.
    ///
    /// Accepted is success and silence: the interface declares sessionId as optional. Several real servers
    /// fail here, since their table demands a session. Typical cause of a failure: the column of the
    /// session must not be null, or a missing session is looked up like an id.
    "usage.without-session" judges [WITHOUT_SESSION, WITHOUT_SESSION_SILENT] => without_session;

    /// Reports that lack a key, a total, or name a session that is not there.
    ///
    /// Accepted is `{success: false, error}` with the text for the first thing that is wrong. Typical cause
    /// of a failure: fields are checked in another order, or the text of the validation library or of the
    /// database is answered.
    "usage.errors" judges [ERRORS, ERROR_TEXTS] => errors;

    /// Another account reports usage for this account's session.
    ///
    /// Accepted is an error, and silence on this account's connections. Typical cause of a failure: the
    /// session is looked up by its id alone, without the account.
    "usage.foreign" judges [FOREIGN] => foreign;
}

const EVENT: &str = "usage-report";

/// The data of a correct report.
pub(crate) fn usage(key: &str, session: Option<&str>, total: u32) -> Value {
    let mut report = json!({
        "key": key,
        "tokens": {"total": total, "input": 3},
        "cost": {"total": 0.25, "input": 0.125},
    });
    if let Some(session) = session {
        report["sessionId"] = json!(session);
    }
    report
}

async fn report(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &Role::ALL).await?;
    let key = cx.marker("usage");
    let request = usage(&key, Some(&stage.s1.id), 11);
    let first = cx
        .call(&ANSWER, stage.peer(Role::S1), EVENT, request.clone())
        .await?;
    cx.schema(&ANSWER, &ANSWER, "ack/usage-report.success", &first)?;
    let spares = [(
        &[Role::S1, Role::S1B, Role::S2, Role::M1, Role::M2][..],
        &NARROW,
    )];
    let delivery = Delivery {
        wanted: Wanted::ephemeral("usage", &key),
        reaches: &[Role::U1, Role::U2],
        by: &REACHES,
        spares: &spares,
    };
    let seen = stage.observe(cx, &[delivery]).await?;
    let body = &seen[0].data;
    cx.schema(&BODY, &BODY, "ephemeral/usage", body)?;
    cx.equal(&BODY, "id", &json!(stage.s1.id), &body["id"]);
    for part in ["tokens", "cost"] {
        cx.equal(&BODY, part, &request[part], &body[part]);
    }
    // More than 32 bits count, and fractions that 32 bits do not hold; a server may refuse them.
    let key = cx.marker("usage");
    let mut large = usage(&key, Some(&stage.s1.id), 0);
    large["tokens"]["total"] = json!(4_294_967_301_i64);
    large["cost"]["total"] = json!(1234.567);
    let answer = cx
        .call(&ANSWER, stage.peer(Role::S1), EVENT, large.clone())
        .await?;
    if answer["success"] == true {
        let delivery = Delivery {
            wanted: Wanted::ephemeral("usage", &key),
            reaches: &[Role::U1, Role::U2],
            by: &REACHES,
            spares: &[],
        };
        let seen = stage.observe(cx, &[delivery]).await?;
        for part in ["tokens", "cost"] {
            cx.equal(&BODY, part, &large[part], &seen[0].data[part]);
        }
    }
    let nothing = usage(&cx.marker("usage"), Some(&stage.s1.id), 0);
    let answer = cx
        .call(&ANSWER, stage.peer(Role::S1), EVENT, nothing)
        .await?;
    cx.schema(&ANSWER, &ANSWER, "ack/usage-report.success", &answer)?;
    Ok(())
}

async fn again(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    let peer = stage.peer(Role::U1);
    let key = cx.marker("usage");
    let session = Some(stage.s1.id.as_str());
    let first = cx
        .call(&SAME_REPORT, peer, EVENT, usage(&key, session, 11))
        .await?;
    // Clocks have steps: the answer is renewed as soon as the server's clock has moved on.
    let deadline = cx.deadline();
    let mut total = 11;
    let second = loop {
        total += 1;
        let second = cx
            .call(&SAME_REPORT, peer, EVENT, usage(&key, session, total))
            .await?;
        let renewed = second["updatedAt"].as_f64() > first["updatedAt"].as_f64();
        if renewed || Instant::now() > deadline {
            break second;
        }
    };
    for part in ["reportId", "createdAt"] {
        cx.equal(&SAME_REPORT, part, &first[part], &second[part]);
    }
    let renewed = second["updatedAt"].as_f64() > first["updatedAt"].as_f64();
    let told = format!("{first} and then {second}");
    cx.check(&SAME_REPORT, renewed, "a later updatedAt", told);
    stage.prove_silence(cx).await?;
    let wanted = Wanted::ephemeral("usage", &key);
    let announced = stage.peer(Role::U2).wait_for(cx.deadline(), |arrival| {
        wanted.matches(arrival) && arrival.data["tokens"]["total"] == total
    });
    let held = announced.await.is_some();
    let expected = format!("a usage with the total {total}");
    cx.check(&AGAIN_ANNOUNCED, held, expected, "none");
    let other_key = cx.marker("usage");
    let other_session = cx.session(&stage.account).await?.id;
    let rows = [
        ("another key", usage(&other_key, session, 1)),
        ("another session", usage(&key, Some(&other_session), 1)),
    ];
    for (told, report) in rows {
        let answer = cx.call(&OTHER_REPORT, peer, EVENT, report).await?;
        let held = answer["reportId"].is_string() && answer["reportId"] != first["reportId"];
        let told = format!("a reportId of its own for {told}");
        cx.check(&OTHER_REPORT, held, told, answer);
    }
    Ok(())
}

async fn malformed_data(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    let peer = stage.peer(Role::U1);
    let key = cx.marker("usage");
    let good = usage(&key, Some(&stage.s1.id), 1);
    let mut rows = malformed::variations(&good, &["key", "tokens", "cost"]);
    for session in [json!(7), json!(true), json!({"not": "this"}), json!([1])] {
        let mut row = good.clone();
        row["sessionId"] = session;
        rows.push(row);
    }
    malformed::check(cx, &MALFORMED, peer, EVENT, rows).await?;
    let wanted = Wanted::ephemeral("usage", key);
    stage.observe_nothing(cx, &wanted, &MALFORMED).await
}

async fn without_session(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::S1]).await?;
    let key = cx.marker("usage");
    let request = usage(&key, None, 5);
    let answer = cx
        .call(&WITHOUT_SESSION, stage.peer(Role::U1), EVENT, request)
        .await?;
    // The shape of success means nothing for an error.
    let stored = answer["success"] == true;
    cx.require(&WITHOUT_SESSION, stored, "success true", &answer)?;
    cx.schema(
        &WITHOUT_SESSION,
        &WITHOUT_SESSION,
        "ack/usage-report.success",
        &answer,
    )?;
    let wanted = Wanted::ephemeral("usage", key);
    stage
        .observe_nothing(cx, &wanted, &WITHOUT_SESSION_SILENT)
        .await
}

async fn errors(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1]).await?;
    let good = usage(&cx.marker("usage"), Some(&stage.s1.id), 1);
    let nobody = cx.marker("nosuchsession");
    let with = |key: &str, value: Value| {
        let mut report = good.clone();
        report[key] = value;
        report
    };
    let tokens = "Invalid tokens object - must include total";
    let cost = "Invalid cost object - must include total";
    let several = |keys: &[&str]| {
        let mut report = good.clone();
        for key in keys {
            // No usable value for any of them.
            report[*key] = json!(1);
        }
        report
    };
    let rows = [
        (with("key", json!("")), "Invalid key"),
        (with("key", json!(7)), "Invalid key"),
        (
            several(&["key", "tokens", "cost", "sessionId"]),
            "Invalid key",
        ),
        (several(&["tokens", "cost", "sessionId"]), tokens),
        (several(&["cost", "sessionId"]), cost),
        (with("tokens", json!({"input": 1})), tokens),
        (with("tokens", Value::Null), tokens),
        (with("tokens", json!({"total": "1"})), tokens),
        (with("cost", json!({})), cost),
        (with("cost", json!("free")), cost),
        (with("sessionId", json!(5)), "Invalid sessionId"),
        (with("sessionId", json!(nobody)), "Session not found"),
    ];
    for (request, text) in rows {
        let answer = cx
            .call(&ERRORS, stage.peer(Role::U1), EVENT, request.clone())
            .await?;
        let refused = answer["success"] == false && answer["error"].is_string();
        cx.check(
            &ERRORS,
            refused,
            format!("success false for {request}"),
            &answer,
        );
        let told = format!("the error {} for {request}", words::quoted(text));
        cx.check(&ERROR_TEXTS, answer["error"] == text, told, &answer);
    }
    Ok(())
}

async fn foreign(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::S1, Role::V1]).await?;
    let watched = Watched::of(&stage);
    let before = watched.read(cx).await?;
    let key = cx.marker("usage");
    let request = usage(&key, Some(&stage.s1.id), 5);
    let answer = cx
        .call(&FOREIGN, stage.peer(Role::V1), EVENT, request)
        .await?;
    cx.check(
        &FOREIGN,
        answer["success"] == false,
        "success false",
        answer,
    );
    stage
        .observe_nothing(cx, &Wanted::ephemeral("usage", key), &FOREIGN)
        .await?;
    watched.unchanged(cx, &before, &FOREIGN).await
}
