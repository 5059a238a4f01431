//! Input that has ended real servers. These cases run last and one at a time, so that whoever dies gets
//! the verdict and nobody else.

use serde_json::{Value, json};

use super::connection;
use crate::{
    case::{Flow, case_table},
    ctx::Ctx,
    ledger::requirement_table,
    peer::Peer,
    stage::{Role, Stage},
};

requirement_table! {
    OTHERS_SERVED = "server.others-served", Must, Decision,
        "Whatever one connection sends, the others are served.";
}

case_table! {
    /// Registers and calls RPC methods that are numbers, objects and lists.
    ///
    /// Accepted is an error or silence, and a server that goes on. Servers have ended at a method whose
    /// type they did not check.
    "hazard.rpc-method-types", hazardous judges [connection::SURVIVES, OTHERS_SERVED]
        => method_types;

    /// Sends every event with a number, a text and an object where the callback would be.
    ///
    /// Accepted is silence. Servers have ended by calling what is no function.
    "hazard.no-callback", hazardous judges [connection::SURVIVES, OTHERS_SERVED] => no_callback;

    /// Sends ids that are filter-like objects, lists, and texts with NUL characters.
    ///
    /// Accepted is an error or silence. Such ids have reached databases as conditions, or ended in an
    /// exception that nobody caught.
    "hazard.odd-ids", hazardous judges [connection::SURVIVES, OTHERS_SERVED] => odd_ids;

    /// Sends data that is nested five hundred levels deep.
    ///
    /// Accepted is an error or silence.
    "hazard.deep-json", hazardous judges [connection::SURVIVES, OTHERS_SERVED] => deep_json;
}

/// Both connections are served after what `u1` has sent.
async fn all_served(cx: &mut Ctx, stage: &Stage) -> Flow {
    for role in [Role::U2, Role::U1] {
        let served = cx.round_trip(stage.peer(role)).await?;
        cx.check(
            &OTHERS_SERVED,
            served,
            "a ping that is answered",
            "no answer",
        );
    }
    cx.held(&connection::SURVIVES);
    Ok(())
}

async fn send(cx: &Ctx, peer: &Peer, event: &str, args: Vec<Value>) -> Flow {
    cx.emit(peer, event, args).await
}

async fn method_types(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    for method in [
        json!(7),
        json!({"a": 1}),
        json!([]),
        json!(true),
        json!("\u{0}"),
    ] {
        for event in ["rpc-register", "rpc-call", "rpc-unregister"] {
            send(
                cx,
                stage.peer(Role::U1),
                event,
                vec![json!({"method": method})],
            )
            .await?;
        }
    }
    all_served(cx, &stage).await
}

async fn no_callback(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    for event in touchstone_fixtures::CLIENT_EVENTS {
        for callback in [json!(1), json!("callback"), json!({"call": "me"})] {
            send(
                cx,
                stage.peer(Role::U1),
                event,
                vec![json!({}), callback.clone()],
            )
            .await?;
            send(cx, stage.peer(Role::U1), event, vec![Value::Null, callback]).await?;
        }
    }
    all_served(cx, &stage).await
}

async fn odd_ids(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    let ids = [
        json!({"not": ""}),
        json!({"$ne": null}),
        json!({"contains": ""}),
        json!([stage.s1.id]),
        json!("nul\u{0}nul"),
        json!("x".repeat(10_000)),
    ];
    for id in ids {
        let every = json!({
            "sid": id, "sessionId": id, "machineId": id, "artifactId": id, "id": id, "key": "k",
            "metadata": "x", "agentState": "x", "daemonState": "x", "expectedVersion": 0,
            "message": "x", "time": cx.recent_time(), "localId": id, "method": "m",
            "header": "YQ==", "body": "YQ==", "dataEncryptionKey": "YQ==",
            "tokens": {"total": 1}, "cost": {"total": 1},
        });
        for event in touchstone_fixtures::CLIENT_EVENTS {
            send(cx, stage.peer(Role::U1), event, vec![every.clone()]).await?;
        }
    }
    all_served(cx, &stage).await
}

async fn deep_json(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    // As text: building the value would nest as deeply on this side.
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    let args = format!(
        r#"{{"sid":"{}","message":{deep},"method":"m","params":{deep}}}"#,
        stage.s1.id
    );
    for event in ["message", "rpc-call", "update-metadata", "artifact-create"] {
        cx.emit(
            stage.peer(Role::U1),
            event,
            touchstone_client::Args::raw(args.clone()),
        )
        .await?;
    }
    all_served(cx, &stage).await
}
