//! Usage reports: one row for each session and key.

use serde_json::{Value, json};

use crate::account::{App, Audience, Link, id};
use crate::refusal::{Outcome, Refusal, filled};
use crate::session;
use crate::sql::sql;

/// `usage-report`
pub(crate) async fn report(app: &App, link: &Link, data: &Value) -> Outcome {
    let key = filled(data, "key", "Invalid key")?;
    let known = ["total", "input", "output", "cache_creation", "cache_read"];
    let tokens = totalled(&data["tokens"], &known)
        .ok_or(Refusal::Invalid("Invalid tokens object - must include total"))?;
    let cost = totalled(&data["cost"], &known[..3])
        .ok_or(Refusal::Invalid("Invalid cost object - must include total"))?;
    let sid = match &data["sessionId"] {
        Value::Null => "",
        Value::String(sid) => sid,
        _ => return Err(Refusal::Invalid("Invalid sessionId")),
    };
    if !sid.is_empty() {
        session::require(app, &link.account, sid).await?;
    }
    let mut change = app.change(&link.account).await?;
    let (own, now) = (&*link.account.id, change.now);
    let write = "INSERT INTO usageReports (id, _account, _session, key, tokens, cost, createdAt, \
        updatedAt) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7) ON CONFLICT (_account, _session, key) \
        DO UPDATE SET tokens = ?5, cost = ?6, updatedAt = ?7 \
        RETURNING id AS reportId, createdAt, updatedAt";
    let (told, paid) = (tokens.to_string(), cost.to_string());
    let report = sql!(change.db(), write, id(), own, sid, key, told, paid, now).await?.pop();
    if !sid.is_empty() {
        let usage = json!({
            "type": "usage", "id": sid, "key": key, "tokens": tokens, "cost": cost, "timestamp": now,
        });
        change.ephemeral(Audience::Users, usage);
    }
    change.commit().await?;
    let mut report = report.unwrap_or_default();
    report["success"] = json!(true);
    Ok(report)
}

/// The known amounts of an object, which has to have a total.
fn totalled(amounts: &Value, known: &[&str]) -> Option<Value> {
    let known = known.iter().filter(|key| amounts[**key].is_number());
    let known = known.map(|key| ((*key).to_owned(), amounts[*key].clone())).collect::<Value>();
    known.get("total").is_some().then_some(known)
}
