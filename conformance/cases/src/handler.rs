//! What holds for every handler alike: unknown fields, missing callbacks, events that have no answer,
//! and calls without any data.
//!
//! What a single handler makes of its data is judged in its own module.

use futures_util::{
    FutureExt as _,
    future::{Either, join_all, select},
};
use serde_json::{Value, json};
use touchstone_client::CallError;
use touchstone_fixtures::{AckVariant, CLIENT_EVENTS, ack_variants, validate_ack};

use super::{
    artifact,
    artifact::{Artifact, encoded},
    machine, message,
    own_machine::OwnMachine,
    presence, session, usage,
};
use touchstone_harness::{
    absent,
    case::{Flow, case_table},
    ctx::{Ctx, Scope},
    ledger::requirement_table,
    peer::{Arrival, Peer},
    stage::{Delivery, Role, Stage, Wanted},
};

requirement_table! {
    EXTRA_FIELDS = "handler.extra-fields", Should, Decision,
        "Fields that the server does not know are ignored: newer clients send more than an older server \
         understands.";
    NO_CALLBACK = "handler.no-callback", Should, Decision,
        "An event that asks for no acknowledgement takes effect all the same.";
    NEVER_ANSWERED = "handler.never-acknowledged", Must, Specification,
        "message, session-alive, session-end and machine-alive have no answer, even where the client \
         asks for one.";
    ACKNOWLEDGED_ONCE = "handler.acknowledged-once", Should, Decision,
        "A call is acknowledged once: client libraries that use their numbers again hand a second answer \
         to another call.";
    ABSENT_PARTS = "handler.absent-parts", Should, Decision,
        "Parts of an answer that do not apply are absent, not null.";
    NO_DATA = "handler.no-data", Info, Decision,
        "A call without any data may be answered with the handler's error, or not at all.";
}

case_table! {
    /// Sends every event of the handlers with correct data and a field that nobody knows beside it.
    ///
    /// Accepted is what correct data causes: success in the answer, or the event that the others receive.
    /// Typical cause of a failure: a schema that forbids additional properties.
    "handler.extra-fields" judges [EXTRA_FIELDS] => extra_fields;

    /// Changes a machine, creates, changes and deletes an artifact, and reports usage, all without a
    /// callback.
    ///
    /// Accepted are the events, as if a callback had been there. Clients report usage without waiting.
    /// Typical cause of a failure: the handler calls the callback that is not there before it announces
    /// the change, or takes the callback for a required parameter.
    "handler.no-callback" judges [NO_CALLBACK] => no_callback;

    /// Sends `message`, `session-alive`, `machine-alive` and `session-end` with a callback.
    ///
    /// Accepted is their effect, and no acknowledgement by the time that it has arrived and a later ping of
    /// the same connection has been answered. Typical cause of a failure: one wrapper around all handlers
    /// calls the callback at the end, also for events that have no answer.
    "handler.never-acknowledged" judges [NEVER_ANSWERED] => never_answered;

    /// Calls `ping`, changes a session, reads an artifact that is not there, and pings again.
    ///
    /// Accepted is one acknowledgement for each call, by the time that the last one has come.
    /// Typical cause of a failure: a handler that answers in its error path, and again at its end.
    "handler.acknowledged-once" judges [ACKNOWLEDGED_ONCE] => acknowledged_once;

    /// Makes calls that succeed, that mismatch, and that fail, and looks at what their answers do not have.
    ///
    /// Accepted is that a part which does not apply, such as the message of an error in a success, is absent.
    /// All other cases take a null for absent. Typical cause of a failure: a record with optional fields whose
    /// serializer writes each of them.
    "handler.absent-parts" judges [ABSENT_PARTS] => absent_parts;

    /// Calls every event that has an answer with a callback and nothing else.
    ///
    /// Accepted is the error answer, or silence: many servers take the callback for the data then. What
    /// this one does is noted on the dialect card. Typical cause of a failure: the callback is taken for
    /// the data, and its properties are read.
    "handler.no-data" judges [NO_DATA] => no_data;
}

/// `data` with a field that no server knows.
fn with_extra(mut data: Value) -> Value {
    data["unknownField"] = json!({"nested": [1, null, "x"]});
    data
}

async fn acknowledged_once(cx: &mut Ctx) -> Flow {
    let account = cx.account().await?;
    let session = cx.session(&account).await?;
    let peer = cx.connect("u1", account.token(), Scope::User).await?;
    let metadata = cx.marker("metadata");
    let change = json!({"sid": session.id, "metadata": metadata, "expectedVersion": 0});
    let absent = json!({"artifactId": cx.uuid()});
    let mut pinged = cx.round_trip(&peer).await?;
    for (event, data) in [("update-metadata", change), ("artifact-read", absent)] {
        cx.call(&ACKNOWLEDGED_ONCE, &peer, event, data).await?;
    }
    // Its own second answer is not waited for: those of the others have come before its first one.
    pinged &= cx.round_trip(&peer).await?;
    let expected = "an acknowledgement of each ping";
    cx.require(&ACKNOWLEDGED_ONCE, pinged, expected, "none in time")?;
    let stray = peer.socket.stray_acks();
    cx.check(
        &ACKNOWLEDGED_ONCE,
        stray == 0,
        "one acknowledgement for each call",
        format!("{stray} for calls that had theirs already"),
    );
    Ok(())
}

async fn absent_parts(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::M1]).await?;
    let peer = stage.peer(Role::U1);
    let (sid, machine) = (stage.s1.id.clone(), stage.m1_id().to_owned());
    let nobody = cx.marker("nobody");
    let artifact = Artifact::new(cx);
    let header = json!({"data": encoded("header"), "expectedVersion": 1});
    let report = usage::usage(&cx.marker("usage"), Some(&sid), 1);
    let mut calls = vec![
        ("artifact-create", artifact.request()),
        ("artifact-read", json!({"artifactId": artifact.id})),
        (
            "artifact-update",
            json!({"artifactId": artifact.id, "header": header}),
        ),
        (
            "artifact-update",
            json!({"artifactId": artifact.id, "header": header}),
        ),
        ("artifact-delete", json!({"artifactId": artifact.id})),
        ("artifact-read", json!({"artifactId": artifact.id})),
        (
            "access-key-get",
            json!({"sessionId": sid, "machineId": machine}),
        ),
        (
            "access-key-get",
            json!({"sessionId": nobody, "machineId": machine}),
        ),
        ("usage-report", report),
        ("usage-report", json!({"key": ""})),
        ("rpc-call", json!({"method": ""})),
    ];
    for (cas, id) in [
        (&session::METADATA, &sid),
        (&session::STATE, &sid),
        (&machine::METADATA, &machine),
        (&machine::STATE, &machine),
    ] {
        let value = json!(cx.marker("value"));
        let version = cas.write(cx, peer, id, &value).await?;
        // One that succeeds, one that mismatches, one that fails.
        for (id, version) in [(id, version), (id, version), (&nobody, version)] {
            calls.push((cas.event, cas.data(id, &value, &json!(version))));
        }
    }
    let mut told = Vec::new();
    for (event, data) in calls {
        let patience = cx.shared.pace.patience_for("any answer");
        // The answer as it came: what other cases are given has no such nulls. One that does not come is
        // judged elsewhere.
        match peer.call_within(event, data, patience).await {
            Ok(answer) => {
                let nulls = absent::nulls(event, &answer.data);
                if !nulls.is_empty() {
                    told.push(format!("{event}: {}", answer.data));
                }
            }
            Err(CallError::Timeout { .. }) => {}
            Err(CallError::Ended { source, .. }) => return Err(cx.dropped(peer, &source)),
        }
    }
    told.dedup();
    let expected = "no null part in any answer";
    cx.check(&ABSENT_PARTS, told.is_empty(), expected, told.join("; "));
    Ok(())
}

async fn extra_fields(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::S1, Role::M1]).await?;
    let peer = stage.peer(Role::U1);
    let mut calls = Vec::new();
    let versioned = [
        (&session::METADATA, stage.s1.id.as_str()),
        (&session::STATE, &stage.s1.id),
        (&machine::METADATA, stage.m1_id()),
        (&machine::STATE, stage.m1_id()),
    ];
    for (cas, id) in versioned {
        let start = json!(cx.marker("before"));
        let version = cas.write(cx, peer, id, &start).await?;
        let value = json!(cx.marker("changed"));
        calls.push((cas.event, cas.data(id, &value, &json!(version))));
    }
    let succeeds = |event: &str, answer: &Value| {
        let variant = validate_ack(event, answer).and_then(|report| report.variant);
        variant == Some(AckVariant::Success)
    };
    let (plain, artifact) = (Artifact::new(cx), Artifact::new(cx));
    let [known, named] = [&plain, &artifact].map(|one| json!({"artifactId": one.id}));
    let pair = json!({"sessionId": stage.s1.id, "machineId": stage.m1_id()});
    let [first, second] = ["plain", "usage"].map(|what| cx.marker(what));
    let [first, second] = [first, second].map(|key| usage::usage(&key, Some(&stage.s1.id), 1));
    // Each with data that is correct, by which it is seen whether the event works at all.
    for (event, correct, data) in [
        ("artifact-create", plain.request(), artifact.request()),
        ("artifact-read", known.clone(), named.clone()),
        ("artifact-delete", known, named),
        ("access-key-get", pair.clone(), pair),
        ("usage-report", first, second),
    ] {
        let works = match cx.ask(peer, event, correct).await? {
            Ok(answer) => succeeds(event, &answer.data),
            Err(_) => false,
        };
        if works {
            calls.push((event, data));
        } else {
            cx.note(format!(
                "{event} does not succeed, with or without such a field"
            ));
        }
    }
    for (event, data) in calls {
        let answer = cx
            .call(&EXTRA_FIELDS, peer, event, with_extra(data))
            .await?;
        let told = format!("success for {event} with a field that nobody knows");
        cx.check(&EXTRA_FIELDS, succeeds(event, &answer), told, answer);
    }
    let machine = OwnMachine::connect(cx, &stage).await?;
    for (event, sender, wanted, data) in unanswered(cx, &stage, &machine).await? {
        cx.emit(sender, event, with_extra(data)).await?;
        let delivery = Delivery {
            wanted,
            reaches: &[Role::U2],
            by: &EXTRA_FIELDS,
            spares: &[],
        };
        stage.observe(cx, &[delivery]).await?;
    }
    Ok(())
}

/// The events that have no answer: name, sender, what tells that they were handled, and data.
async fn unanswered<'a>(
    cx: &mut Ctx,
    stage: &'a Stage,
    machine: &'a OwnMachine,
) -> Flow<Vec<(&'static str, &'a Peer, Wanted, Value)>> {
    let peer = stage.peer(Role::U1);
    let marker = cx.marker("message");
    let alive = cx.session(&stage.account).await?;
    let ended = cx.session(&stage.account).await?;
    Ok(vec![
        (
            "message",
            peer,
            Wanted::update("new-message", &marker),
            json!({"sid": stage.s1.id, "message": marker}),
        ),
        (
            "session-alive",
            peer,
            Wanted::ephemeral("activity", &alive.id),
            json!({"sid": alive.id, "time": cx.recent_time()}),
        ),
        (
            "session-end",
            peer,
            Wanted::ephemeral("activity", &ended.id),
            json!({"sid": ended.id, "time": cx.recent_time()}),
        ),
        (
            "machine-alive",
            &machine.peer,
            machine.heartbeat(),
            json!({"machineId": machine.id, "time": cx.recent_time()}),
        ),
    ])
}

async fn no_callback(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::M1]).await?;
    let peer = stage.peer(Role::U1);
    for cas in [&machine::METADATA, &machine::STATE] {
        let start = json!(cx.marker("before"));
        let version = cas.write(cx, peer, stage.m1_id(), &start).await?;
        let marker = cx.marker("quiet");
        let data = cas.data(stage.m1_id(), &json!(marker), &json!(version));
        cx.emit(peer, cas.event, data).await?;
        arrives(cx, &stage, Wanted::update(cas.update, marker)).await?;
    }
    let mut end = Ok(());
    let lived = quiet_artifact(cx, &stage).await;
    Ctx::part(&mut end, lived)?;
    let key = cx.marker("usage");
    let report = usage::usage(&key, Some(&stage.s1.id), 1);
    cx.emit(peer, "usage-report", report).await?;
    arrives(cx, &stage, Wanted::ephemeral("usage", key)).await?;
    end
}

/// Creates, changes and deletes an artifact without a callback.
async fn quiet_artifact(cx: &mut Ctx, stage: &Stage) -> Flow {
    let peer = stage.peer(Role::U1);
    // That artifacts can be created at all is judged elsewhere.
    artifact::existing(cx, peer).await?;
    let artifact = Artifact::new(cx);
    cx.emit(peer, "artifact-create", artifact.request()).await?;
    let created = arrives(cx, stage, Wanted::update("new-artifact", &artifact.id)).await?;
    let version = &created.data["body"]["headerVersion"];
    let header = json!({"data": encoded("quiet"), "expectedVersion": version});
    let update = json!({"artifactId": artifact.id, "header": header});
    cx.emit(peer, "artifact-update", update).await?;
    arrives(cx, stage, Wanted::update("update-artifact", &artifact.id)).await?;
    let delete = json!({"artifactId": artifact.id});
    cx.emit(peer, "artifact-delete", delete).await?;
    arrives(cx, stage, Wanted::update("delete-artifact", &artifact.id)).await?;
    Ok(())
}

/// The event that shows that something took effect although nobody asked for an answer.
async fn arrives(cx: &mut Ctx, stage: &Stage, wanted: Wanted) -> Flow<Arrival> {
    let delivery = Delivery {
        wanted,
        reaches: &[Role::U2],
        by: &NO_CALLBACK,
        spares: &[],
    };
    let mut seen = stage.observe(cx, &[delivery]).await?;
    Ok(seen.remove(0))
}

async fn never_answered(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    let machine = OwnMachine::connect(cx, &stage).await?;
    for (event, peer, wanted, data) in unanswered(cx, &stage, &machine).await? {
        let by = match event {
            "message" => &message::REACHES,
            "machine-alive" => &presence::MACHINE_ALIVE,
            "session-end" => &presence::ENDED,
            _ => &presence::ALIVE,
        };
        let patience = cx.shared.pace.patience() * 4;
        let call = Box::pin(peer.socket.call(event, data, patience));
        let delivery = [Delivery {
            wanted,
            reaches: &[Role::U2],
            by,
            spares: &[],
        }];
        let effect = Box::pin(async {
            stage.observe(cx, &delivery).await?;
            cx.round_trip(peer).await
        });
        let answer = match select(call, effect).await {
            Either::Left((answer, effect)) => {
                effect.await?;
                Some(answer)
            }
            // An answer that arrived before that of the ping is there already.
            Either::Right((effect, call)) => {
                effect?;
                call.now_or_never()
            }
        };
        let answer = match answer {
            Some(Ok(reply)) => Some(reply.args.as_str().to_owned()),
            Some(Err(CallError::Ended { source, .. })) => return Err(cx.dropped(peer, &source)),
            Some(Err(CallError::Timeout { .. })) | None => None,
        };
        let told = answer.map_or_else(String::new, |args| {
            format!("{event} is answered with {args}")
        });
        let held = told.is_empty();
        cx.check(&NEVER_ANSWERED, held, "no acknowledgement", told);
    }
    Ok(())
}

async fn no_data(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1]).await?;
    let peer = stage.peer(Role::U1);
    let events: Vec<_> = CLIENT_EVENTS
        .into_iter()
        .filter(|event| *event != "ping" && !ack_variants(event).is_empty())
        .collect();
    // Nothing follows from silence here, so that a settle window is enough.
    let window = cx.shared.pace.settle();
    let calls = events
        .iter()
        .map(|event| cx.ask_within(peer, event, Vec::<Value>::new(), window));
    let answers = join_all(calls).await;
    let mut unanswered = 0;
    for answer in answers {
        unanswered += usize::from(answer?.is_err());
    }
    let told = match unanswered {
        0 => "answered",
        some if some == events.len() => "unanswered",
        _ => "partly-answered",
    };
    cx.fact("handler.no-data", told);
    cx.held(&NO_DATA);
    Ok(())
}
