//! The key-value store: several keys are written together or not at all.

use crate::readback::Watched;
use serde_json::{Value, json};

use super::{UNSEEN, different, far_ahead, find, status};
use crate::cast::{CAST, SCOPED, USERS};
use touchstone_harness::{
    case::{Flow, case_table},
    ctx::Ctx,
    ledger::requirement_table,
    opaque,
    provide::Account,
    stage::{Delivery, Role, Stage, Wanted},
    words,
};

requirement_table! {
    WRITTEN = "rest.kv.written", Should, Decision,
        "Mutations that all fit are written, each key's version rises by one, and one kv-batch-update \
         tells all of them.";
    REACHES = "rest.kv.recipients", Should, Decision,
        "kv-batch-update reaches the user-scoped connections.";
    NARROW = "rest.kv.narrow", Should, Decision,
        "kv-batch-update does not reach session- and machine-scoped connections.";
    BODY = "kv-batch-update.body", Must, Specification,
        "The body of kv-batch-update lists the changes with key, value or null, and version.";
    ATOMIC = "rest.kv.all-or-nothing", Should, Decision,
        "One stale key refuses all mutations with 409, nothing is written or announced, and every stale \
         key is told with its version and value.";
    DELETED = "rest.kv.deleted", Should, Decision,
        "A value of null deletes the key: it is announced with null, and not read or listed any more.";
    READ = "rest.kv.read", Should, Decision,
        "Keys are read one by one, several at once, and by prefix.";
}

case_table! {
    /// Writes two keys at once, reads them in each way, then writes one of them with a stale version
    /// together with a new key, and deletes one.
    ///
    /// Accepted are one `kv-batch-update` for each success, 409 with the stale key for the other, and that
    /// the new key was not written. Typical cause of a failure: the writes of one request are not in one
    /// transaction, so that the others stay when one of them is stale; or a key is looked for as the URL has
    /// it, or by a pattern.
    "rest.kv" needs [Rest, KeyValue] judges [
        WRITTEN, REACHES, NARROW, BODY, ATOMIC, DELETED, READ
    ] => store;
}

/// A prefix is what a key begins with: no part of it, no pattern, and not without regard to case.
async fn read_by_prefix(cx: &mut Ctx, account: &Account) -> Flow {
    let marker = cx.marker("prefix");
    let meant = format!("{marker}_a");
    let others = [
        format!("{marker}xa"),
        format!("a{marker}_a"),
        format!("{}_A", marker.to_uppercase()),
    ];
    let keys = others.iter().chain([&meant]);
    let mutations: Vec<_> = keys
        .map(|key| json!({"key": key, "value": cx.marker("value"), "version": -1}))
        .collect();
    let body = json!({"mutations": mutations});
    cx.rest(&READ, account, "POST", "/v1/kv", &body).await?;
    let path = format!("/v1/kv?prefix={marker}_");
    let listed = cx.rest(&READ, account, "GET", &path, &Value::Null).await?;
    let rows = listed["items"].as_array().map_or(&[][..], Vec::as_slice);
    let found: Vec<_> = rows.iter().filter_map(|row| row["key"].as_str()).collect();
    let expected = format!("{meant} alone by its prefix");
    cx.check(&READ, found == [&meant], expected, words::list(&found));
    Ok(())
}

/// A key that has to be encoded in a URL is read by its name.
async fn read_encoded(cx: &mut Ctx, account: &Account) -> Flow {
    let (marker, value) = (cx.marker("encoded"), cx.marker("value"));
    let key = format!("{marker} 50% caf\u{e9}");
    let body = json!({"mutations": [{"key": key, "value": value, "version": -1}]});
    cx.rest(&READ, account, "POST", "/v1/kv", &body).await?;
    let path = format!("/v1/kv/{marker}%2050%25%20caf%C3%A9");
    let read = cx.rest(&READ, account, "GET", &path, &Value::Null).await?;
    cx.equal(&READ, "value", &json!(value), &read["value"]);
    Ok(())
}

async fn store(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &CAST).await?;
    let account = &stage.account;
    let prefix = cx.marker("key");
    let (one, two, three) = (
        opaque::numbered(&prefix, 1),
        opaque::numbered(&prefix, 2),
        opaque::numbered(&prefix, 3),
    );
    let [first, second, third, stale] =
        ["one", "two", "three", "stale"].map(|what| cx.marker(what));
    let new = json!({"mutations": [
        {"key": one, "value": first, "version": -1},
        {"key": two, "value": second, "version": -1},
    ]});
    let written = cx.rest(&WRITTEN, account, "POST", "/v1/kv", &new).await?;
    let results = &written["results"];
    let version = |key: &str| find(results, "key", key).and_then(|row| row["version"].as_i64());
    let fresh = version(&one) == Some(0) && version(&two) == Some(0);
    cx.check(&WRITTEN, fresh, "both keys with version 0", &written);
    let update = Delivery {
        wanted: Wanted::update("kv-batch-update", &one),
        reaches: &USERS,
        by: &REACHES,
        spares: &[(&SCOPED, &NARROW)],
    };
    let seen = stage.observe(cx, &[update]).await?;
    let body = &seen[0].data["body"];
    cx.schema(&BODY, &BODY, "update/kv-batch-update", body)?;
    let both = [(&one, &first), (&two, &second)]
        .into_iter()
        .all(|(key, value)| {
            find(&body["changes"], "key", key)
                .is_some_and(|row| row["value"] == *value && row["version"] == 0)
        });
    cx.check(&WRITTEN, both, "both changes in one update", body);

    let path = format!("/v1/kv/{one}");
    let single = cx.rest(&READ, account, "GET", &path, &Value::Null).await?;
    cx.equal(&READ, "value", &json!(first), &single["value"]);
    let keys = json!({"keys": [one, two, three]});
    let bulk = cx
        .rest(&READ, account, "POST", "/v1/kv/bulk", &keys)
        .await?;
    let listed_path = format!("/v1/kv?prefix={prefix}");
    let listed = cx
        .rest(&READ, account, "GET", &listed_path, &Value::Null)
        .await?;
    for rows in [&bulk["values"], &listed["items"]] {
        let right = find(rows, "key", &two).is_some_and(|row| row["value"] == second)
            && rows.as_array().is_some_and(|rows| rows.len() == 2);
        cx.check(&READ, right, "the two keys", rows);
    }

    read_by_prefix(cx, account).await?;
    read_encoded(cx, account).await?;
    let late = json!({"mutations": [
        {"key": three, "value": third, "version": -1},
        {"key": one, "value": stale, "version": -1},
    ]});
    let watched = Watched::of(&stage);
    let before = watched.read(cx).await?;
    let refused = status(cx, &ATOMIC, account, ("POST", "/v1/kv", &late), 409).await?;
    let told = find(&refused["errors"], "key", &one)
        .is_some_and(|row| row["version"] == 0 && row["value"] == first);
    cx.check(
        &ATOMIC,
        told,
        "the stale key with its version and value",
        &refused,
    );
    let ahead = json!({"mutations": [{"key": one, "value": stale, "version": UNSEEN}]});
    far_ahead(cx, &ATOMIC, account, ("POST", "/v1/kv", &ahead)).await?;
    let unwritten = format!("/v1/kv/{three}");
    status(cx, &ATOMIC, account, ("GET", &unwritten, &Value::Null), 404).await?;
    watched.unchanged(cx, &before, &ATOMIC).await?;

    let delete = json!({"mutations": [{"key": one, "value": null, "version": 0}]});
    cx.rest(&DELETED, account, "POST", "/v1/kv", &delete)
        .await?;
    status(cx, &DELETED, account, ("GET", &path, &Value::Null), 404).await?;
    stage.prove_silence(cx).await?;
    let wanted = Wanted::update("kv-batch-update", &prefix);
    let log = stage.peer(Role::U2).all(|arrival| wanted.matches(arrival));
    let deleted = log.iter().any(|arrival| {
        find(&arrival.data["body"]["changes"], "key", &one)
            .is_some_and(|row| row["value"].is_null())
    });
    cx.check(&DELETED, deleted, "a change to null", "no such update");
    let count = different(&stage, Role::U2, &wanted);
    cx.check(
        &ATOMIC,
        count == 2,
        "two updates for two successes",
        format!("{count} of them"),
    );
    Ok(())
}
