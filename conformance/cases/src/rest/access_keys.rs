//! Access keys over HTTP: made once, changed with versions, read by the socket as well.

use crate::readback::Watched;
use serde_json::{Value, json};

use super::{UNSEEN, far_ahead, status, told};
use touchstone_harness::{
    case::{Flow, case_table},
    ctx::{Ctx, Scope},
    ledger::requirement_table,
};

requirement_table! {
    MADE = "rest.access-key.made", Should, Decision,
        "A POST makes the access key of a pair, answers it, and a second one is answered 409.";
    CHANGED = "rest.access-key.changed", Should, Decision,
        "A PUT with the present version writes and raises it by one, and the socket reads the new data.";
    STALE = "rest.access-key.stale", Should, Decision,
        "A PUT with another version writes nothing, and answers the present version and data.";
    PAIR = "rest.access-key.pair", Should, Decision,
        "A pair with a session or machine that the account does not have is answered 404.";
}

case_table! {
    /// Makes an access key twice, changes it, changes it with the version from before, and reads it over
    /// HTTP and over the socket before and after the change. Another account reads, makes and changes it.
    ///
    /// Accepted are the key, 409, the next version, `version-mismatch` with what is stored, and the same
    /// data on both ways. Typical cause of a failure: the pair is not unique in the table, the version is
    /// written without a condition on the one that was given, or one way keeps what it has read.
    "rest.access-key" needs [Rest, AccessKeys] judges [MADE, CHANGED, STALE, PAIR] => access_key;
}

async fn access_key(cx: &mut Ctx) -> Flow {
    let account = cx.account().await?;
    let session = cx.session(&account).await?;
    let machine = cx.machine(&account).await?;
    let path = format!("/v1/access-keys/{}/{}", session.id, machine.id);
    let none = cx.rest(&MADE, &account, "GET", &path, &Value::Null).await?;
    cx.equal(&MADE, "accessKey", &Value::Null, &none["accessKey"]);
    let (first, second) = (cx.marker("key"), cx.marker("key"));
    let body = json!({"data": first});
    let made = cx.rest(&MADE, &account, "POST", &path, &body).await?;
    cx.equal(&MADE, "data", &json!(first), &made["accessKey"]["data"]);
    let version = made["accessKey"]["dataVersion"]
        .as_i64()
        .unwrap_or_default();
    status(cx, &MADE, &account, ("POST", &path, &body), 409).await?;

    let peer = cx.connect("u1", account.token(), Scope::User).await?;
    let pair = json!({"sessionId": session.id, "machineId": machine.id});
    let none = Value::Null;
    let read = cx.rest(&MADE, &account, "GET", &path, &none).await?;
    let over = cx
        .call(&MADE, &peer, "access-key-get", pair.clone())
        .await?;
    for (read, way) in [(read, "data"), (over, "data over the socket")] {
        cx.equal(&MADE, way, &json!(first), &read["accessKey"]["data"]);
    }

    let body = json!({"data": second, "expectedVersion": version});
    let changed = cx.rest(&CHANGED, &account, "PUT", &path, &body).await?;
    let held = changed["success"] == true && changed["version"] == version + 1;
    cx.check(
        &CHANGED,
        held,
        format!("success with version {}", version + 1),
        &changed,
    );
    let read = cx
        .rest(&CHANGED, &account, "GET", &path, &Value::Null)
        .await?;
    cx.equal(&CHANGED, "data", &json!(second), &read["accessKey"]["data"]);
    let read = cx.call(&CHANGED, &peer, "access-key-get", pair).await?;
    cx.equal(
        &CHANGED,
        "data over the socket",
        &json!(second),
        &read["accessKey"]["data"],
    );

    let watched = Watched {
        account: &account,
        owner: &peer,
        session: &session.id,
        machine: Some(&machine.id),
        artifact: None,
    };
    let before = watched.read(cx).await?;
    let body = json!({"data": cx.marker("key"), "expectedVersion": version});
    let stale = cx.rest(&STALE, &account, "PUT", &path, &body).await?;
    let held = stale["success"] == false
        && stale["error"] == "version-mismatch"
        && stale["currentVersion"] == version + 1
        && stale["currentData"] == json!(second);
    let expected = format!("version-mismatch with version {} and {second}", version + 1);
    cx.check(&STALE, held, expected, &stale);
    let body = json!({"data": cx.marker("key"), "expectedVersion": version + 1 + UNSEEN});
    far_ahead(cx, &STALE, &account, ("PUT", &path, &body)).await?;
    watched.unchanged(cx, &before, &STALE).await?;

    let unknown = format!("/v1/access-keys/{}/{}", cx.marker("nosession"), machine.id);
    let data = json!({"data": cx.marker("key")});
    let answer = cx.rest_any(&account, "POST", &unknown, &data).await?;
    cx.check(&PAIR, answer.status == 404, "404", told(&answer));
    let stranger = cx.account().await?;
    let before = watched.read(cx).await?;
    let stolen = json!({"data": cx.marker("key"), "expectedVersion": version + 1});
    for (method, body) in [("GET", &Value::Null), ("POST", &stolen), ("PUT", &stolen)] {
        status(cx, &PAIR, &stranger, (method, &path, body), 404).await?;
    }
    watched.unchanged(cx, &before, &PAIR).await
}
