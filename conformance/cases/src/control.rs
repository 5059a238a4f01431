//! The router and the builders, where the target lets the suite hand payloads to them (docs/control.md).

use futures_util::future::join_all;
use serde_json::{Value, json};
use touchstone_client::provision::rest::Answer;
use touchstone_harness::own;

use touchstone_harness::{
    case::{Flow, case_table},
    ctx::Ctx,
    focus::Clue,
    ledger::requirement_table,
    opaque,
    peer::Arrival,
    stage::{Role, Stage},
};

requirement_table! {
    FILTERS = "router.recipient-filters", Must, Specification,
        "Each recipient filter reaches the connections that it names, once each, and no other.";
    DEFAULT = "router.default-filter", Must, Specification,
        "Without a recipient filter an event reaches every connection of the account.";
    SKIP = "router.skip-sender", Must, Specification,
        "skipSenderConnection leaves out that one connection, and no other.";
    AS_IT_IS = "router.payload", Must, Specification,
        "The router sends a payload as it is, as the event update or ephemeral.";
    BUILT = "builders.body", Must, Specification,
        "Each builder makes the event that it is named for, with the fields that it was given.";
    BUILT_KEYS = "builders.keys", Should, Decision,
        "Each builder names its fields as clients expect them.";
    TELLS = "control.answer", Should, Decision,
        "The control extension answers with the payload, the recipients and who was skipped.";
}

case_table! {
    /// Hands each of the 17 builders' events to the router with each of the 4 recipient filters and without
    /// any, skipping nobody, a user-scoped and a session-scoped connection.
    ///
    /// Accepted is that every event reaches just the connections that its filter names, less the one that
    /// is skipped, and nobody of another account. Typical cause of a failure: a recipient filter tests the
    /// kind of a connection but not its session or machine id, or the connection to skip is looked for
    /// among the connections of one filter only.
    "router.matrix" needs [Rest, Control] judges [
        FILTERS, DEFAULT, SKIP, BUILT, BUILT_KEYS, TELLS, own::ISOLATED
    ] => matrix;

    /// Hands the router payloads of the suite's own making.
    ///
    /// Accepted is that they arrive unchanged. Typical cause of a failure: the router parses a payload into
    /// a type of its own and writes it again, and drops what that type does not know.
    "router.payload" needs [Rest, Control] judges [AS_IT_IS] => payload;
}

const CAST: [Role; 10] = Role::ALL;

/// A recipient filter, and who of the first account it names.
fn filters(stage: &Stage) -> Vec<(Option<Value>, Vec<Role>)> {
    let s1 = &stage.s1.id;
    let own = CAST.into_iter().take(7);
    let users = [Role::U1, Role::U2];
    let with = |more: &[Role]| [&users[..], more].concat();
    vec![
        (None, own.clone().collect()),
        (
            Some(json!({"type": "all-user-authenticated-connections"})),
            own.collect(),
        ),
        (Some(json!({"type": "user-scoped-only"})), users.to_vec()),
        (
            Some(json!({"type": "all-interested-in-session", "sessionId": s1})),
            with(&[Role::S1, Role::S1B]),
        ),
        (
            Some(json!({"type": "machine-scoped-only", "machineId": stage.m1_id()})),
            with(&[Role::M1]),
        ),
    ]
}

/// A builder, the schema of what it makes, and its parameters, with `marker` somewhere in them.
fn builders(marker: &str) -> Vec<(&'static str, &'static str, Value)> {
    let time = 1_800_000_000_000_u64;
    let part = json!({"value": marker, "version": 3});
    let times = |mut row: Value| {
        for key in ["createdAt", "updatedAt", "activeAt"] {
            row[key] = json!(time);
        }
        row
    };
    let session = times(json!({
        "id": marker, "seq": 1, "metadata": "bQ==", "metadataVersion": 0, "agentState": null,
        "agentStateVersion": 0, "dataEncryptionKey": null, "active": true,
    }));
    let machine = times(json!({
        "id": marker, "seq": 1, "metadata": "bQ==", "metadataVersion": 1, "daemonState": null,
        "daemonStateVersion": 0, "dataEncryptionKey": null, "active": true,
    }));
    let message = json!({
        "id": marker, "seq": 1, "content": {"t": "encrypted", "c": "Yw=="}, "localId": null,
        "createdAt": time, "updatedAt": time,
    });
    let artifact = json!({
        "id": marker, "seq": 1, "header": "aA==", "headerVersion": 1, "body": "Yg==", "bodyVersion": 1,
        "dataEncryptionKey": "aw==", "createdAt": time, "updatedAt": time,
    });
    let feed = json!({"id": marker, "body": {"kind": "text"}, "cursor": "c1", "createdAt": time});
    let relation = json!({"uid": marker, "status": "friend", "timestamp": time});
    let changes = json!([{"key": marker, "value": null, "version": 2}]);
    let total = json!({"total": 1});
    vec![
        (
            "buildNewSessionUpdate",
            "update/new-session",
            json!({"session": session}),
        ),
        (
            "buildNewMessageUpdate",
            "update/new-message",
            json!({"message": message, "sessionId": "s"}),
        ),
        (
            "buildUpdateSessionUpdate",
            "update/update-session",
            json!({"sessionId": "s", "metadata": part}),
        ),
        (
            "buildDeleteSessionUpdate",
            "update/delete-session",
            json!({"sessionId": marker}),
        ),
        (
            "buildUpdateAccountUpdate",
            "update/update-account",
            json!({"userId": "u", "profile": {"settings": part}}),
        ),
        (
            "buildNewMachineUpdate",
            "update/new-machine",
            json!({"machine": machine}),
        ),
        (
            "buildUpdateMachineUpdate",
            "update/update-machine",
            json!({"machineId": "m", "daemonState": part}),
        ),
        (
            "buildNewArtifactUpdate",
            "update/new-artifact",
            json!({"artifact": artifact}),
        ),
        (
            "buildUpdateArtifactUpdate",
            "update/update-artifact",
            json!({"artifactId": marker, "header": {"value": "bmV3", "version": 3}}),
        ),
        (
            "buildDeleteArtifactUpdate",
            "update/delete-artifact",
            json!({"artifactId": marker}),
        ),
        (
            "buildRelationshipUpdatedEvent",
            "update/relationship-updated",
            json!({"data": relation}),
        ),
        (
            "buildNewFeedPostUpdate",
            "update/new-feed-post",
            json!({"feedItem": feed}),
        ),
        (
            "buildKVBatchUpdateUpdate",
            "update/kv-batch-update",
            json!({"changes": changes}),
        ),
        (
            "buildSessionActivityEphemeral",
            "ephemeral/activity",
            json!({"sessionId": marker, "active": true, "activeAt": time, "thinking": true}),
        ),
        (
            "buildMachineActivityEphemeral",
            "ephemeral/machine-activity",
            json!({"machineId": marker, "active": true, "activeAt": time}),
        ),
        (
            "buildUsageEphemeral",
            "ephemeral/usage",
            json!({"sessionId": marker, "key": "k", "tokens": total, "cost": total}),
        ),
        (
            "buildMachineStatusEphemeral",
            "ephemeral/machine-status",
            json!({"machineId": marker, "online": true}),
        ),
    ]
}

/// One event that was handed to the router, and who has to receive it.
struct Emitted {
    marker: String,
    told: String,
    reaches: Vec<Role>,
    by_default: bool,
    skips: bool,
}

async fn matrix(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &CAST).await?;
    let mut emitted = Vec::new();
    for (filter, named) in filters(&stage) {
        for skipped in [None, Some(Role::U1), Some(Role::S1)] {
            let marker = cx.marker("built");
            let told = filter.as_ref().map_or_else(
                || "without a recipient filter".to_owned(),
                |filter| format!("with the recipient filter {filter}"),
            );
            let told = match skipped {
                Some(role) => format!("{told}, skipping {}", role.described()),
                None => told,
            };
            let reaches: Vec<_> = named
                .iter()
                .copied()
                .filter(|role| Some(*role) != skipped)
                .collect();
            let mut schemas = Vec::new();
            let mut requests = Vec::new();
            for place in 0..builders("").len() {
                let marker = opaque::numbered(&marker, place);
                let (builder, schema, args) = builders(&marker).swap_remove(place);
                let mut request =
                    json!({"token": stage.account.token(), "builder": builder, "args": args});
                if let Some(filter) = &filter {
                    request["recipientFilter"] = filter.clone();
                }
                if let Some(role) = skipped {
                    request["skipSenderConnection"] = json!(stage.peer(role).socket.id());
                }
                schemas.push(schema);
                requests.push(request);
                emitted.push(Emitted {
                    marker,
                    told: format!("{builder} {told}"),
                    reaches: reaches.clone(),
                    by_default: filter.is_none(),
                    skips: skipped.is_some(),
                });
            }
            // Side by side: one after the other, they would take minutes over a slow network.
            let posts = requests
                .iter()
                .map(|request| cx.rest_any(&stage.account, "POST", "/control/emit", request));
            for (schema, answer) in schemas.into_iter().zip(join_all(posts).await) {
                judge_answer(cx, schema, &answer?, reaches.len())?;
            }
        }
    }
    stage.prove_silence(cx).await?;
    for event in emitted {
        judge(cx, &stage, &event);
    }
    Ok(())
}

fn judge_answer(cx: &mut Ctx, schema: &str, answer: &Answer, count: usize) -> Flow {
    let Answer {
        status,
        body: answer,
        ..
    } = answer;
    let succeeds = (200..300).contains(status);
    let expected = "POST /control/emit to succeed";
    cx.require(&TELLS, succeeds, expected, format!("{status} {answer}"))?;
    let payload = &answer["payload"];
    let body = if schema.starts_with("update/") {
        &payload["body"]
    } else {
        payload
    };
    cx.schema(&BUILT, &BUILT_KEYS, schema, body)?;
    let listed = answer["recipients"].as_array().map(Vec::len);
    let expected = format!("{count} recipients");
    cx.check(
        &TELLS,
        listed == Some(count),
        expected,
        &answer["recipients"],
    );
    Ok(())
}

fn judge(cx: &mut Ctx, stage: &Stage, event: &Emitted) {
    let count = |role: &Role| {
        let is_it = |arrival: &Arrival| arrival.raw.contains(&event.marker);
        stage.peer(*role).all(is_it).len()
    };
    let own = CAST.into_iter().take(7);
    let wrong: Vec<_> = own
        .map(|role| {
            (
                role,
                count(&role),
                usize::from(event.reaches.contains(&role)),
            )
        })
        .filter(|(_, got, expected)| got != expected)
        .collect();
    let told: Vec<_> = wrong
        .iter()
        .map(|(role, got, expected)| {
            format!("{} received {got} instead of {expected}", role.described())
        })
        .collect();
    let named = |is_more: bool| {
        let rows = wrong.iter();
        rows.filter(move |(_, got, expected)| (got > expected) == is_more)
            .map(|(role, ..)| role.name())
    };
    let clue = Clue::of([&event.marker])
        .wrong(named(true))
        .missing(named(false));
    let by = match event {
        event if event.skips => &SKIP,
        event if event.by_default => &DEFAULT,
        _ => &FILTERS,
    };
    cx.check_by(clue, by, wrong.is_empty(), &event.told, told.join(", "));
    let overheard = stage.overheard(&event.marker);
    let expected = "nothing for another account";
    cx.check(
        &own::ISOLATED,
        overheard.is_empty(),
        expected,
        overheard.join("; "),
    );
}

async fn payload(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    for (kind, event) in [("update", "update"), ("ephemeral", "ephemeral")] {
        let marker = cx.marker("payload");
        let payload = json!({
            "id": marker, "seq": 7, "type": "custom", "createdAt": 1, "body": {"t": "custom", "x": [1, null, {}]},
        });
        let request = json!({"token": stage.account.token(), "kind": kind, "payload": payload});
        cx.rest(&AS_IT_IS, &stage.account, "POST", "/control/emit", &request)
            .await?;
        let deadline = cx.deadline();
        let is_it = |arrival: &Arrival| arrival.raw.contains(&marker);
        let Some(arrival) = stage.peer(Role::U2).wait_for(deadline, is_it).await else {
            cx.broken(&AS_IT_IS, format!("an event {event}"), "nothing");
            continue;
        };
        cx.check(
            &AS_IT_IS,
            arrival.name == event,
            format!("the event {event}"),
            &arrival.name,
        );
        cx.equal(&AS_IT_IS, "payload", &payload, &arrival.data);
    }
    Ok(())
}
