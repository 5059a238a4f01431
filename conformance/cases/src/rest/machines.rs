//! Machines over HTTP: two updates for a new one, and reading them back.

use crate::{delivery, machine};
use serde_json::{Value, json};

use super::{find, told};
use crate::cast::USERS;
use touchstone_harness::{
    case::{Flow, case_table},
    ctx::{Ctx, Scope},
    ledger::requirement_table,
    stage::{Delivery, Role, Stage, Wanted},
    words,
};

requirement_table! {
    SECOND_UPDATE = "rest.machine.second-update", Should, Decision,
        "A new machine is announced by new-machine, and then by an update-machine with its metadata, \
         which has the next seq.";
    SECOND_REACHES = "rest.machine.second-update-recipients", Should, Decision,
        "The update-machine of a new machine reaches the user-scoped connections and those of that \
         machine, also one that connected before the machine existed.";
    LISTED = "rest.machine.listed", Should, Decision,
        "GET /v1/machines is a bare array with the present values of each machine.";
    READ = "rest.machine.read", Should, Decision,
        "GET /v1/machines/:id gives the machine, and 404 where the account has none of that id.";
    UNCHANGED = "rest.machine.unchanged", Should, Decision,
        "Posting a machine that exists answers the stored one with its present values.";
}

case_table! {
    /// Creates a machine while user-scoped connections, and one with the machine's own id, listen.
    ///
    /// Accepted is `new-machine` for the users, then `update-machine` with the metadata and a later `seq`
    /// for them and for the machine's connection. A daemon connects before it has posted its machine.
    /// Typical cause of a failure: only `new-machine` is sent, or the second update is sent before the
    /// first one or with the same `seq`.
    "rest.machine.create" needs [Rest] judges [SECOND_UPDATE, SECOND_REACHES] => create;

    /// Changes a machine over the socket, then lists, reads, and posts it again.
    ///
    /// Accepted are the changed values each time, and 404 for an id that does not exist. Typical cause of a
    /// failure: a machine that is posted again is overwritten, or the list comes from a cache which socket
    /// events do not change.
    "rest.machine.read" needs [Rest] judges [LISTED, READ, UNCHANGED] => read;
}

async fn create(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::M1, Role::S1, Role::V1]).await?;
    let (id, metadata) = (cx.marker("machine"), cx.marker("metadata"));
    // A server may refuse the connection of a machine that it does not have yet.
    let token = stage.account.token();
    let own = cx.connect("own", token, Scope::Machine(&id)).await.ok();
    // Nothing can be sent to a machine that does not exist yet, but a connection that is younger than its
    // own shows how far the server is.
    let younger = cx.connect("younger", token, Scope::User).await?;
    stage.prove_newcomer(cx, &younger).await?;
    let request = json!({"id": id, "metadata": metadata});
    cx.rest(
        &machine::CREATED,
        &stage.account,
        "POST",
        "/v1/machines",
        &request,
    )
    .await?;
    let (new, update) = (
        Wanted::update("new-machine", &metadata),
        Wanted::update("update-machine", &metadata),
    );
    let deliveries = [
        Delivery {
            wanted: new,
            reaches: &USERS,
            by: &machine::CREATED,
            spares: &[(&[Role::M1, Role::S1], &machine::NARROW)],
        },
        Delivery {
            wanted: update.clone(),
            reaches: &USERS,
            by: &SECOND_REACHES,
            spares: &[(&[Role::M1, Role::S1], &machine::NARROW)],
        },
    ];
    let seen = stage.observe(cx, &deliveries).await?;
    let deadline = cx.deadline();
    if let Some(own) = own {
        let reached = own
            .wait_for(deadline, |arrival| update.matches(arrival))
            .await;
        let told = "update-machine for the connection of the machine";
        cx.check(&SECOND_REACHES, reached.is_some(), told, "nothing");
    }
    let body = &seen[1].data["body"];
    let value = json!({"value": metadata});
    let same = body["machineId"] == json!(id) && body["metadata"]["value"] == value["value"];
    cx.check(
        &SECOND_UPDATE,
        same,
        format!("machine {id} with {value}"),
        body,
    );
    let seqs = (seen[0].data["seq"].as_i64(), seen[1].data["seq"].as_i64());
    // What does not rise has nothing to do with machines, and the seq may have holes.
    let rises = matches!(seqs, (Some(first), Some(second)) if second > first);
    cx.check(
        &delivery::SEQ,
        rises,
        "a later seq for the second update",
        words::list_or_none([seqs.0, seqs.1]),
    );
    let order = seen[0].order < seen[1].order;
    cx.check(
        &SECOND_UPDATE,
        order,
        "new-machine before update-machine",
        "the other order",
    );
    Ok(())
}

async fn read(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::M1]).await?;
    let id = stage.m1_id().to_owned();
    let metadata = json!(cx.marker("metadata"));
    let state = json!(cx.marker("state"));
    let driver = stage.peer(Role::M1);
    let version = machine::METADATA.write(cx, driver, &id, &metadata).await?;
    machine::STATE.write(cx, driver, &id, &state).await?;
    let listed = cx
        .rest(&LISTED, &stage.account, "GET", "/v1/machines", &Value::Null)
        .await?;
    let path = format!("/v1/machines/{id}");
    let single = cx
        .rest(&READ, &stage.account, "GET", &path, &Value::Null)
        .await?;
    let again = json!({
        "id": id, "metadata": cx.marker("other"), "daemonState": cx.marker("other"),
    });
    let posted = cx
        .rest(&UNCHANGED, &stage.account, "POST", "/v1/machines", &again)
        .await?;
    let nothing = Value::Null;
    let rows = [
        (&LISTED, find(&listed, "id", &id).unwrap_or(&nothing)),
        (&READ, &single["machine"]),
        (&UNCHANGED, &posted["machine"]),
    ];
    for (by, row) in rows {
        cx.equal(by, "metadata", &metadata, &row["metadata"]);
        cx.equal(
            by,
            "metadataVersion",
            &json!(version),
            &row["metadataVersion"],
        );
        cx.equal(by, "daemonState", &state, &row["daemonState"]);
    }
    let unknown = format!("/v1/machines/{}", cx.marker("no-such-machine"));
    let answer = cx
        .rest_any(&stage.account, "GET", &unknown, &Value::Null)
        .await?;
    cx.check(
        &READ,
        answer.status == 404,
        "404 for an unknown machine",
        told(&answer),
    );
    Ok(())
}
