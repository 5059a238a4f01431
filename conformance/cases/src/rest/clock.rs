//! The clocks of a server: that of its rows, and that of its HTTP answers.

use std::time::UNIX_EPOCH;

use serde_json::json;

use touchstone_harness::{
    case::{Flow, case_table},
    ctx::Ctx,
    ledger::requirement_table,
};

requirement_table! {
    CLOCK = "rest.clock", Info, Decision,
        "The createdAt of what was made just now is near the time in the header Date of the answer.";
}

case_table! {
    /// Makes a session, and holds its `createdAt` against the header `Date` of the answer.
    ///
    /// Nothing here is judged: how far they are apart is noted on the dialect card. Clients show `createdAt`, and
    /// sort by it. Typical cause of a failure: local time is stored as if it were UTC.
    "rest.clock" needs [Rest] judges [CLOCK] => clock;
}

/// How far they may be apart: a header has whole seconds, and requests take their time.
const TOLERANCE_MS: i64 = 10_000;

async fn clock(cx: &mut Ctx) -> Flow {
    let account = cx.account().await?;
    let body = json!({"tag": cx.marker("tag"), "metadata": cx.marker("metadata")});
    let made = cx.rest_any(&account, "POST", "/v1/sessions", &body).await?;
    let created = made.body["session"]["createdAt"].as_i64();
    let date = made.date.as_deref().and_then(unix_ms);
    let (Some(created), Some(date)) = (created, date) else {
        cx.held(&CLOCK);
        return Ok(());
    };
    let ahead = created - date;
    let told = match ahead / 1_000 {
        _ if ahead.abs() <= TOLERANCE_MS => "near".to_owned(),
        seconds @ 0.. => format!("{seconds} s ahead"),
        seconds => format!("{} s behind", -seconds),
    };
    let expected = format!("createdAt of about {date}");
    cx.check(&CLOCK, ahead.abs() <= TOLERANCE_MS, expected, created);
    cx.fact("clock.created-at-and-date", told);
    Ok(())
}

/// The time of a header `Date`.
fn unix_ms(date: &str) -> Option<i64> {
    let time = httpdate::parse_http_date(date).ok()?;
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
}
