//! `ping`, and what keeps a connection alive.

use serde_json::{Value, json};
use touchstone_harness::own::{PING, STAYS_OPEN, VALID_PACKETS};

use super::malformed::not_an_object;
use touchstone_harness::{
    case::{Flow, case_table},
    ctx::{Ctx, Scope},
    ledger::requirement_table,
    stage::{Role, Stage},
};

requirement_table! {
    PING_WITH_DATA = "ping.with-data", Should, Decision,
        "A ping that carries data before its callback is acknowledged as well.";
}

case_table! {
    /// Sends `ping` without data.
    ///
    /// Accepted is the acknowledgement `{}`. Clients ping once more before they exit, and wait for the
    /// answer to know that everything before it was handled. Typical cause of a failure: no handler for
    /// `ping` is there, since Engine.IO has pings of its own; or its callback is called without `{}`.
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

    /// Reads all that the server sends on connections of three kinds while a session changes, messages pass
    /// and calls are answered.
    ///
    /// Accepted are packets that a client can read. One that is empty, of an unknown type, or without
    /// valid JSON ends the connection of every client, whatever that has sent. Typical cause of a
    /// failure: packets that are put together by hand.
    "connection.valid-packets" judges [VALID_PACKETS] => valid_packets;
}

/// How many times everything is sent: enough for a server that garbles one packet in ten.
const PACKETS: usize = 10;

async fn valid_packets(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::S1, Role::M1]).await?;
    let user = stage.peer(Role::U1);
    for _ in 0..PACKETS {
        let message = cx.marker("message");
        let data = json!({"sid": stage.s1.id, "message": message});
        cx.emit(user, "message", data).await?;
        // Whether any of this is answered, and whom it reaches, is judged elsewhere.
        cx.ask(user, "ping", ()).await?.ok();
        stage.prove_silence(cx).await?;
    }
    cx.held(&VALID_PACKETS);
    Ok(())
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
