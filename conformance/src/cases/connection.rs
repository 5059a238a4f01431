//! `ping`, and what keeps a connection alive.

use serde_json::{Value, json};

use super::malformed::not_an_object;
use crate::{
    case::{Flow, case_table},
    ctx::{Ctx, Scope},
    ledger::requirement_table,
};

requirement_table! {
    PING = "ping.answer", Must, Specification,
        "A ping is acknowledged with an empty object.";
    PING_WITH_DATA = "ping.with-data", Should, Decision,
        "A ping that carries data before its callback is acknowledged as well.";
    STAYS_OPEN = "connection.stays-open", Must, Decision,
        "Nothing that a client sends as an event ends its connection, however wrong the data is.";
    SURVIVES = "server.survives", Must, Decision,
        "No input of a client ends the server.";
}

case_table! {
    /// Sends `ping` without data.
    ///
    /// Accepted is the acknowledgement `{}`. Clients ping once more before they exit, and wait for the
    /// answer to know that everything before it was handled.
    "ping.answer" judges [PING] => ping;

    /// Sends `ping` with an object before the callback.
    ///
    /// Accepted is the acknowledgement `{}`. Typical cause of a failure: the handler takes its first
    /// argument for the callback.
    "ping.with-data" judges [PING_WITH_DATA] => ping_with_data;

    /// Sends each of the 18 events with data of every wrong kind and without a callback, then pings.
    ///
    /// Accepted is silence, and a connection that is served afterwards. Typical cause of a failure: an
    /// exception in a handler that nobody catches.
    "connection.malformed-events" judges [STAYS_OPEN] => malformed_events;
}

async fn ping(cx: &mut Ctx) -> Flow {
    let account = cx.account().await?;
    let peer = cx.connect("u1", account.token(), Scope::User).await?;
    match cx.ask(&peer, "ping", ()).await? {
        Ok(answer) => {
            cx.equal(&PING, "the acknowledgement", &json!({}), &answer.data);
        }
        Err(silent) => {
            cx.broken(
                &PING,
                "the acknowledgement {}",
                format!("none within {:.1} s", silent.after.as_secs_f64()),
            );
        }
    }
    Ok(())
}

async fn ping_with_data(cx: &mut Ctx) -> Flow {
    let account = cx.account().await?;
    let peer = cx.connect("u1", account.token(), Scope::User).await?;
    let answer = cx
        .call(&PING_WITH_DATA, &peer, "ping", json!({"at": 1}))
        .await?;
    cx.equal(&PING_WITH_DATA, "the acknowledgement", &json!({}), &answer);
    Ok(())
}

async fn malformed_events(cx: &mut Ctx) -> Flow {
    let account = cx.account().await?;
    let peer = cx.connect("u1", account.token(), Scope::User).await?;
    for event in touchstone_fixtures::CLIENT_EVENTS {
        for data in not_an_object() {
            cx.emit(&peer, event, vec![data]).await?;
        }
        cx.emit(&peer, event, Vec::<Value>::new()).await?;
    }
    let served = cx.round_trip(&peer).await?;
    cx.check(
        &STAYS_OPEN,
        served,
        "a ping that is answered afterwards",
        "no answer",
    );
    Ok(())
}
