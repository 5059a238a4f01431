//! Two accounts that use the same names: neither meets anything of the other.

use crate::readback::Watched;
use futures_util::FutureExt as _;
use serde_json::{Value, json};
use touchstone_fixtures::broadcast;
use touchstone_harness::own;

use super::{message, own_rows::OwnRows, session, usage};
use touchstone_harness::{
    case::{Flow, Stop, case_table},
    ctx::Ctx,
    ledger::requirement_table,
    stage::{Delivery, Role, Stage, Wanted},
};

requirement_table! {
    TAGS = "isolation.tags", Must, Decision,
        "Two accounts that use the same tag have a session each.";
    LOCAL_IDS = "isolation.local-ids", Must, Decision,
        "A localId of one account says nothing about the messages of another.";
    USAGE_KEYS = "isolation.usage-keys", Must, Decision,
        "Two accounts that report usage under the same key have a report each.";
    KEYS = "isolation.kv-keys", Must, Decision,
        "Two accounts that write the same key have a value each.";
    FOREIGN_IDS = "isolation.foreign-ids", Must, Decision,
        "Whatever event an account sends with another account's ids, it learns and changes nothing there.";
    REST_IDS = "isolation.rest-ids", Must, Decision,
        "Whatever an account asks over HTTP with another account's ids, it learns and changes nothing there.";
}

case_table! {
    /// Two accounts make a session with the same tag.
    ///
    /// Accepted are two ids, each with its own metadata. Typical cause of a failure: the tag alone is
    /// unique in the table, so that the second account is given the first one's session.
    "isolation.tags" needs [Rest] judges [TAGS] => tags;

    /// Two accounts send a message with the same localId, and report usage under the same key.
    ///
    /// Accepted is that each message arrives in its own account, and a report for each with an id of its own.
    /// Typical cause of a failure: a unique index without the account or session in it.
    "isolation.names" judges [LOCAL_IDS, USAGE_KEYS] => names;

    /// Two accounts write the same key.
    ///
    /// Accepted is that both start from nothing, and each reads its own value. Typical cause of a failure:
    /// the key alone is the primary key of the table, without the account.
    "isolation.kv" needs [Rest, KeyValue] judges [KEYS] => keys;

    /// An account sends every event that names a session, machine or artifact with ids of another account,
    /// with and without asking for an answer.
    ///
    /// Accepted is silence on all connections of the other account, and answers that hold nothing of its
    /// data. Typical cause of a failure: rows are looked up by their id alone, and only some handlers
    /// compare the account afterwards.
    "isolation.foreign-ids" judges [FOREIGN_IDS] => foreign_ids;

    /// An account asks over HTTP for a session, machine, access key and messages of another account.
    ///
    /// Accepted is a refusal of each, and that everything is still there afterwards. Typical cause of a
    /// failure: the route checks the token, and not that the row belongs to its account.
    "isolation.rest-ids" needs [Rest] judges [REST_IDS] => rest_ids;

    /// An account does everything that sends something, while another one listens with all kinds of
    /// connections and with the first one's ids.
    ///
    /// Accepted is that nothing which holds a word of the first account's data reaches the other. Typical
    /// cause of a failure: an event is sent to all connections, or to a room whose name does not hold the
    /// account.
    "isolation.silence" needs [Rest] judges [own::ISOLATED] => silence;
}

async fn tags(cx: &mut Ctx) -> Flow {
    let (a, b) = (cx.account().await?, cx.account().await?);
    let tag = cx.marker("tag");
    let mut ids = Vec::new();
    for (account, name) in [(&a, "a"), (&b, "b")] {
        let metadata = cx.marker(name);
        let body = json!({"tag": tag, "metadata": metadata});
        let made = cx
            .rest(&TAGS, account, "POST", "/v1/sessions", &body)
            .await?;
        cx.equal(
            &TAGS,
            "metadata",
            &json!(metadata),
            &made["session"]["metadata"],
        );
        ids.push(made["session"]["id"].clone());
    }
    cx.check(&TAGS, ids[0] != ids[1], "two ids", json!(ids));
    Ok(())
}

async fn names(cx: &mut Ctx) -> Flow {
    let first = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    let second = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    let (local_id, key) = (cx.marker("local"), cx.marker("key"));
    let mut reports = Vec::new();
    for stage in [&first, &second] {
        let marker = cx.marker("message");
        let data = json!({"sid": stage.s1.id, "message": marker, "localId": local_id});
        cx.emit(stage.peer(Role::U1), "message", data).await?;
        let update = Delivery {
            wanted: Wanted::update("new-message", &marker),
            reaches: &[Role::U2],
            by: &LOCAL_IDS,
            spares: &[],
        };
        stage.observe(cx, &[update]).await?;
        let report = json!({
            "key": key, "sessionId": stage.s1.id, "tokens": {"total": 1}, "cost": {"total": 1},
        });
        let answer = cx
            .call(&usage::ANSWER, stage.peer(Role::U1), "usage-report", report)
            .await?;
        if !answer["reportId"].is_string() {
            return Err(Stop::Blocked {
                parent: &usage::ANSWER,
                reason: format!("usage-report is answered with {answer}"),
            });
        }
        reports.push(answer["reportId"].clone());
    }
    cx.check(
        &USAGE_KEYS,
        reports[0] != reports[1],
        "two reports",
        json!(reports),
    );
    Ok(())
}

async fn keys(cx: &mut Ctx) -> Flow {
    let (a, b) = (cx.account().await?, cx.account().await?);
    let key = cx.marker("key");
    let path = format!("/v1/kv/{key}");
    let values = [(&a, cx.marker("a")), (&b, cx.marker("b"))];
    for (account, value) in &values {
        let body = json!({"mutations": [{"key": key, "value": value, "version": -1}]});
        cx.rest(&KEYS, account, "POST", "/v1/kv", &body).await?;
    }
    for (account, value) in &values {
        let read = cx.rest(&KEYS, account, "GET", &path, &Value::Null).await?;
        cx.equal(&KEYS, "value", &json!(value), &read["value"]);
    }
    Ok(())
}

async fn foreign_ids(cx: &mut Ctx) -> Flow {
    let cast = [Role::U1, Role::S1, Role::M1, Role::V1];
    let stage = Stage::set(cx, &cast).await?;
    let secret = cx.marker("secret");
    let owner = stage.peer(Role::U1);
    let value = json!(secret);
    session::METADATA
        .write(cx, owner, &stage.s1.id, &value)
        .await?;
    let artifact = cx.uuid();
    let text = "c2VjcmV0";
    let new = json!({"id": artifact, "header": text, "body": text, "dataEncryptionKey": text});
    // Whether artifacts can be made is judged elsewhere; an absent one is no less foreign.
    let _ = cx.ask(owner, "artifact-create", new).await?;
    let (sid, machine) = (stage.s1.id.as_str(), stage.m1_id());
    let marker = cx.marker("foreign");
    let time = cx.recent_time();
    let part = json!({"data": "Zm9yZWlnbg==", "expectedVersion": 1});
    let total = json!({"total": 1});
    let events = [
        (
            "update-metadata",
            json!({"sid": sid, "metadata": marker, "expectedVersion": 1}),
        ),
        (
            "update-state",
            json!({"sid": sid, "agentState": marker, "expectedVersion": 0}),
        ),
        (
            "session-alive",
            json!({"sid": sid, "time": time, "thinking": true}),
        ),
        ("session-end", json!({"sid": sid, "time": time})),
        ("message", json!({"sid": sid, "message": marker})),
        ("machine-alive", json!({"machineId": machine, "time": time})),
        (
            "machine-update-metadata",
            json!({"machineId": machine, "metadata": marker, "expectedVersion": 1}),
        ),
        (
            "machine-update-state",
            json!({"machineId": machine, "daemonState": marker, "expectedVersion": 0}),
        ),
        (
            "access-key-get",
            json!({"sessionId": sid, "machineId": machine}),
        ),
        ("artifact-read", json!({"artifactId": artifact})),
        (
            "artifact-update",
            json!({"artifactId": artifact, "header": part, "body": part}),
        ),
        ("artifact-delete", json!({"artifactId": artifact})),
        (
            "usage-report",
            json!({"key": marker, "sessionId": sid, "tokens": total, "cost": total}),
        ),
    ];
    let watched = Watched {
        artifact: Some(&artifact),
        ..Watched::of(&stage)
    };
    let own = OwnRows::make(cx, &stage).await?;
    let rows = watched.read(cx).await?;
    stage.prove_silence(cx).await?;
    let before = everything(&stage);
    let stranger = stage.peer(Role::V1);
    let mut pending = Vec::new();
    for (event, data) in &events {
        let senders = match *event {
            "machine-alive" => vec![stranger, &own.daemon],
            _ => vec![stranger],
        };
        for sender in senders {
            cx.emit(sender, event, data.clone()).await?;
            let asked = sender.socket.request(event, data.clone()).await;
            pending.push((event, asked.map_err(|end| cx.dropped(sender, &end))?));
        }
    }
    own.each_event(cx, &stage).await?;
    // Twice: a server that handles events side by side may be slower with the one under judgment.
    stage.prove_silence(cx).await?;
    stage.prove_silence(cx).await?;
    for (event, asked) in pending {
        // Heartbeats and messages are never acknowledged, and some servers do not answer here: whether
        // they should is judged by the cases of each event.
        if let Some(Ok(reply)) = asked.now_or_never() {
            let answer = reply.data().unwrap_or(Value::Null);
            let leaks = answer.to_string().contains(&secret) || answer.to_string().contains(text);
            let done = answer["result"] == "success" || answer["success"] == true;
            let expected = format!("an answer to {event} without another account's data");
            cx.check(&FOREIGN_IDS, !leaks && !done, expected, &answer);
        }
    }
    let sentinels = |raw: &String| raw.contains("sentinel");
    let new: Vec<_> = everything(&stage)
        .into_iter()
        .filter(|raw| !before.contains(raw) && !sentinels(raw))
        .filter(|raw| concerns(raw, &[&marker, sid, machine, &artifact]))
        .collect();
    let expected = "nothing for the connections of the other account";
    cx.check(&FOREIGN_IDS, new.is_empty(), expected, new.join("; "));
    watched.unchanged(cx, &rows, &FOREIGN_IDS).await
}

/// Whether an event may be of the call that was refused: newer servers send events of kinds that nobody
/// knows, which say nothing as long as they name nothing of it.
fn concerns(raw: &str, named: &[&str]) -> bool {
    let payload: Value = serde_json::from_str(raw).unwrap_or_default();
    let kind = payload.pointer("/body/t").unwrap_or(&payload["type"]);
    let is_known = kind.as_str().is_none_or(|kind| broadcast(kind).is_some());
    is_known || named.iter().any(|name| raw.contains(name))
}

/// All that the connections of the first account have received.
fn everything(stage: &Stage) -> Vec<String> {
    [Role::U1, Role::S1, Role::M1]
        .iter()
        .flat_map(|role| {
            stage
                .peer(*role)
                .all(|a| matches!(a.name.as_str(), "update" | "ephemeral"))
        })
        .map(|arrival| arrival.raw)
        .collect()
}

async fn rest_ids(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::M1]).await?;
    let stranger = cx.account().await?;
    let (sid, machine) = (stage.s1.id.clone(), stage.m1_id().to_owned());
    let key = format!("/v1/access-keys/{sid}/{machine}");
    let foreign = cx.marker("foreign");
    let data = json!({"data": foreign, "expectedVersion": 1});
    let batch = json!({"messages": [{"content": foreign, "localId": cx.marker("local")}]});
    let watched = Watched::of(&stage);
    let before = watched.read(cx).await?;
    let attempts = [
        ("GET", format!("/v1/sessions/{sid}/messages"), Value::Null),
        ("GET", format!("/v3/sessions/{sid}/messages"), Value::Null),
        ("POST", format!("/v3/sessions/{sid}/messages"), batch),
        ("POST", format!("/v1/sessions/{sid}/archive"), json!({})),
        ("GET", format!("/v1/machines/{machine}"), Value::Null),
        ("GET", key.clone(), Value::Null),
        ("POST", key.clone(), data.clone()),
        ("PUT", key, data),
        ("DELETE", format!("/v1/sessions/{sid}"), Value::Null),
    ];
    for (method, path, body) in &attempts {
        let answer = cx.rest_any(&stranger, method, path, body).await?;
        let told = format!("{} {}", answer.status, answer.body);
        cx.check(
            &REST_IDS,
            answer.status >= 400,
            format!("a refusal of {method} {path}"),
            told,
        );
    }
    for path in ["/v1/sessions", "/v1/machines"] {
        let listed = cx
            .rest(&REST_IDS, &stranger, "GET", path, &Value::Null)
            .await?;
        let text = listed.to_string();
        let own = !text.contains(&sid) && !text.contains(&machine);
        cx.check(
            &REST_IDS,
            own,
            format!("nothing of the other account in {path}"),
            listed,
        );
    }
    watched.unchanged(cx, &before, &REST_IDS).await
}

async fn silence(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &Role::ALL).await?;
    let word = cx.marker("word");
    let owner = stage.peer(Role::U1);
    let value = json!(word);
    let (sid, machine) = (stage.s1.id.clone(), stage.m1_id().to_owned());
    session::METADATA.write(cx, owner, &sid, &value).await?;
    session::STATE.write(cx, owner, &sid, &value).await?;
    super::machine::METADATA
        .write(cx, owner, &machine, &value)
        .await?;
    super::machine::STATE
        .write(cx, owner, &machine, &value)
        .await?;
    let data = json!({"sid": sid, "message": word});
    cx.emit(owner, "message", data).await?;
    let total = json!({"total": 1});
    let report = json!({"key": word, "sessionId": sid, "tokens": total, "cost": total});
    cx.emit(owner, "usage-report", report).await?;
    let account = &stage.account;
    let body = json!({"tag": word, "metadata": word});
    cx.rest_any(account, "POST", "/v1/sessions", &body).await?;
    let body = json!({"id": cx.marker("machine"), "metadata": word});
    cx.rest_any(account, "POST", "/v1/machines", &body).await?;
    let body = json!({"settings": word, "expectedVersion": 0});
    cx.rest_any(account, "POST", "/v1/account/settings", &body)
        .await?;
    let body = json!({"mutations": [{"key": word, "value": word, "version": -1}]});
    cx.rest_any(account, "POST", "/v1/kv", &body).await?;
    let update = Delivery {
        wanted: Wanted::update("new-message", &word),
        reaches: &[Role::U2],
        by: &message::REACHES,
        spares: &[],
    };
    stage.observe(cx, &[update]).await?;
    // The connections that stand for the first account's ids may have been refused.
    let overheard = stage.overheard(&word);
    let expected = "nothing with a word of the first account for the other";
    cx.check(
        &own::ISOLATED,
        overheard.is_empty(),
        expected,
        overheard.join("; "),
    );
    Ok(())
}
