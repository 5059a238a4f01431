//! `usage-report`.

use serde_json::{Value, json};

use crate::{
    case::{Flow, case_table},
    ctx::Ctx,
    ledger::requirement_table,
    stage::{Delivery, Role, Stage, Wanted},
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
    /// Reports usage of a session while connections of every kind listen, then again.
    ///
    /// Accepted is `{success: true, reportId, createdAt, updatedAt}`, one ephemeral `usage` with the same
    /// figures for user-scoped connections, and the same report for the second request.
    "usage.report" judges [ANSWER, REACHES, BODY, NARROW, SAME_REPORT] => report;

    /// Reports usage without a session.
    ///
    /// Accepted is success and silence: the interface declares sessionId as optional. Several real servers
    /// fail here, since their table demands a session.
    "usage.without-session" judges [WITHOUT_SESSION, WITHOUT_SESSION_SILENT] => without_session;

    /// Reports that lack a key, a total, or name a session that is not there.
    ///
    /// Accepted is `{success: false, error}` with the text for the first thing that is wrong.
    "usage.errors" judges [ERRORS, ERROR_TEXTS] => errors;

    /// Another account reports usage for this account's session.
    ///
    /// Accepted is an error, and silence on this account's connections.
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
    let again = usage(&key, Some(&stage.s1.id), 12);
    let second = cx
        .call(&SAME_REPORT, stage.peer(Role::S1), EVENT, again)
        .await?;
    let kept = second["reportId"] == first["reportId"] && second["createdAt"] == first["createdAt"];
    cx.check(
        &SAME_REPORT,
        kept,
        "the same reportId and createdAt",
        format!("{first} {second}"),
    );
    let renewed = second["updatedAt"].as_u64() >= first["updatedAt"].as_u64();
    cx.check(
        &SAME_REPORT,
        renewed,
        "a later updatedAt",
        format!("{first} {second}"),
    );
    Ok(())
}

async fn without_session(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::S1]).await?;
    let key = cx.marker("usage");
    let request = usage(&key, None, 5);
    let answer = cx
        .call(&WITHOUT_SESSION, stage.peer(Role::U1), EVENT, request)
        .await?;
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
    let good = usage("key", Some(&stage.s1.id), 1);
    let with = |key: &str, value: Value| {
        let mut report = good.clone();
        report[key] = value;
        report
    };
    let tokens = "Invalid tokens object - must include total";
    let cost = "Invalid cost object - must include total";
    let mut everything = with("key", json!(""));
    everything["tokens"] = json!(1);
    everything["cost"] = json!(1);
    let rows = [
        (with("key", json!("")), "Invalid key"),
        (with("key", json!(7)), "Invalid key"),
        (everything, "Invalid key"),
        (with("tokens", json!({"input": 1})), tokens),
        (with("tokens", Value::Null), tokens),
        (with("tokens", json!({"total": "1"})), tokens),
        (with("cost", json!({})), cost),
        (with("cost", json!("free")), cost),
        (with("sessionId", json!(5)), "Invalid sessionId"),
        (
            with("sessionId", json!("no-such-session")),
            "Session not found",
        ),
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
        let told = format!("the error {text:?} for {request}");
        cx.check(&ERROR_TEXTS, answer["error"] == text, told, &answer);
    }
    Ok(())
}

async fn foreign(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::S1, Role::V1]).await?;
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
        .await
}
