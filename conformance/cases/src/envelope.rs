//! The shape of everything that a server sends: each event that a socket can cause, envelope and body,
//! as every connection receives it.
//!
//! The other modules look at one arrival of one event; this one looks at all of them.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{
    artifact, delivery, machine, message, own_machine::OwnMachine, presence, session, usage,
};
use touchstone_harness::{
    case::{Flow, case_table},
    ctx::Ctx,
    ledger::{Requirement, requirement_table},
    peer::Arrival,
    stage::{Delivery, Role, Stage, Wanted},
};

requirement_table! {
    UNIQUE_ID = "update.id-unique", Should, Decision,
        "Different updates have different ids.";
    ABSENT = "update.absent-not-null", Should, Decision,
        "Optional parts that do not apply to an event are absent, not null.";
    NAMES = "update.known-names", Must, Specification,
        "What a socket causes is announced as `update` or `ephemeral` of the type that the \
         specification gives it.";
}

case_table! {
    /// Causes every event that a socket can cause, while connections of every kind listen: changes of a
    /// session and a machine, a message, an artifact's life, heartbeats, a usage report.
    ///
    /// Accepted is, on every connection, an envelope and a body of the specified shape for each event that
    /// arrives, a type for each cause, an id for each update, and no null for a part that does not apply.
    /// Clients drop an event without a word when a key that they need is missing. Typical cause of a
    /// failure: one builder of several names a key differently, or its serializer writes null for a part
    /// that does not apply.
    "envelope.every-event" judges [
        delivery::ENVELOPE, delivery::ENVELOPE_DETAILS, delivery::EPHEMERAL, NAMES, UNIQUE_ID, ABSENT,
        session::BODY, session::WIRE_KEYS, machine::BODY, machine::BODY_EXTRAS, message::BODY,
        message::KEYS, artifact::NEW_BODY, artifact::UPDATE_BODY, artifact::DELETE_BODY,
        presence::ALIVE_BODY, presence::THINKING, presence::MACHINE_BODY, usage::BODY,
    ] => every_event;
}

/// Whose requirements the body of an event breaks: what the specification gives, and what clients need.
fn owners(kind: &str) -> Option<(&'static Requirement, &'static Requirement)> {
    Some(match kind {
        "update-session" => (&session::BODY, &session::WIRE_KEYS),
        "update-machine" => (&machine::BODY, &machine::BODY_EXTRAS),
        "new-message" => (&message::BODY, &message::KEYS),
        "new-artifact" => (&artifact::NEW_BODY, &artifact::NEW_BODY),
        "update-artifact" => (&artifact::UPDATE_BODY, &artifact::UPDATE_BODY),
        "delete-artifact" => (&artifact::DELETE_BODY, &artifact::DELETE_BODY),
        "activity" => (&presence::ALIVE_BODY, &presence::THINKING),
        "machine-activity" => (&presence::MACHINE_BODY, &presence::MACHINE_BODY),
        "usage" => (&usage::BODY, &usage::BODY),
        _ => return None,
    })
}

/// Parts that are there only when they changed.
const OPTIONAL: [(&str, &[&str]); 3] = [
    ("update-session", &["metadata", "agentState"]),
    ("update-machine", &["metadata", "daemonState", "activeAt"]),
    ("update-artifact", &["header", "body"]),
];

const LISTENERS: [Role; 7] = [
    Role::U1,
    Role::U2,
    Role::S1,
    Role::S1B,
    Role::S2,
    Role::M1,
    Role::M2,
];

async fn every_event(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &LISTENERS).await?;
    let machine = OwnMachine::connect(cx, &stage).await?;
    let mut end = Ok(());
    let caused = cause(cx, &stage, &machine, &mut end).await?;
    let deliveries: Vec<_> = caused
        .into_iter()
        .map(|wanted| Delivery {
            wanted,
            reaches: &[Role::U2],
            by: &NAMES,
            spares: &[],
        })
        .collect();
    // What reaches nobody does not keep the rest from being looked at.
    let seen = stage.observe(cx, &deliveries).await;
    Ctx::part(&mut end, seen)?;
    for role in LISTENERS {
        let log = stage.peer(role).all(|arrival| arrival.kind().is_some());
        for arrival in &log {
            judge(cx, arrival)?;
        }
        unique(cx, &log);
    }
    end
}

/// Causes one event of every kind, and tells by what each can be recognised.
async fn cause(
    cx: &mut Ctx,
    stage: &Stage,
    machine: &OwnMachine,
    end: &mut Flow,
) -> Flow<Vec<Wanted>> {
    let peer = stage.peer(Role::U1);
    let mut caused = Vec::new();
    let versioned = [
        (&session::METADATA, stage.s1.id.as_str()),
        (&session::STATE, &stage.s1.id),
        (&machine::METADATA, stage.m1_id()),
        (&machine::STATE, stage.m1_id()),
    ];
    for (cas, id) in versioned {
        let marker = cx.marker("changed");
        cas.write(cx, peer, id, &json!(marker)).await?;
        caused.push(Wanted::update(cas.update, marker));
    }
    let marker = cx.marker("message");
    let data = json!({"sid": stage.s1.id, "message": marker});
    cx.emit(peer, "message", data).await?;
    caused.push(Wanted::update("new-message", marker));
    let lived = artifact_life(cx, stage).await;
    caused.extend(Ctx::part(end, lived)?.unwrap_or_default());
    let (alive, ended) = (
        cx.session(&stage.account).await?,
        cx.session(&stage.account).await?,
    );
    for (event, id) in [("session-alive", alive.id), ("session-end", ended.id)] {
        let data = json!({"sid": id, "time": cx.recent_time()});
        cx.emit(peer, event, data).await?;
        caused.push(Wanted::ephemeral("activity", id));
    }
    let data = json!({"machineId": machine.id, "time": cx.recent_time()});
    cx.emit(&machine.peer, "machine-alive", data).await?;
    caused.push(machine.heartbeat());
    let key = cx.marker("usage");
    let report = usage::usage(&key, Some(&stage.s1.id), 1);
    let reported = cx.call(&usage::ANSWER, peer, "usage-report", report).await;
    if Ctx::part(end, reported)?.is_some() {
        caused.push(Wanted::ephemeral("usage", key));
    }
    Ok(caused)
}

/// Creates an artifact, changes its header, its body and both, and deletes it.
async fn artifact_life(cx: &mut Ctx, stage: &Stage) -> Flow<Vec<Wanted>> {
    let peer = stage.peer(Role::U1);
    let (new, mut known) = artifact::existing(cx, peer).await?;
    let mut caused = vec![Wanted::update("new-artifact", &new.id)];
    for parts in [&["header"][..], &["body"], &["header", "body"]] {
        let mut request = json!({"artifactId": new.id});
        let mut marker = String::new();
        for &part in parts {
            marker = artifact::encoded(&cx.marker(part));
            let version = &known[format!("{part}Version")];
            request[part] = json!({"data": marker, "expectedVersion": version});
        }
        let answer = cx
            .call(&artifact::UPDATE, peer, "artifact-update", request)
            .await?;
        for &part in parts {
            known[format!("{part}Version")] = answer[part]["version"].clone();
        }
        caused.push(Wanted::update("update-artifact", marker));
    }
    let request = json!({"artifactId": new.id});
    cx.call(&artifact::DELETE, peer, "artifact-delete", request)
        .await?;
    caused.push(Wanted::update("delete-artifact", new.id));
    Ok(caused)
}

/// Judges envelope and body of one arrival.
fn judge(cx: &mut Ctx, arrival: &Arrival) -> Flow {
    let kind = arrival.kind().unwrap_or_default();
    let is_update = arrival.name == "update";
    let body = if is_update {
        &arrival.data["body"]
    } else {
        &arrival.data
    };
    let (envelope, by) = match is_update {
        true => ("envelope/update", &delivery::ENVELOPE),
        false => ("envelope/ephemeral", &delivery::EPHEMERAL),
    };
    cx.schema(by, &delivery::ENVELOPE_DETAILS, envelope, &arrival.data)?;
    if let Some((must, should)) = owners(kind) {
        cx.schema(must, should, &format!("{}/{kind}", arrival.name), body)?;
    }
    for (_, parts) in OPTIONAL.iter().filter(|(optional, _)| *optional == kind) {
        let nulls: Vec<_> = parts
            .iter()
            .filter(|part| body.get(part).is_some_and(Value::is_null))
            .collect();
        cx.check(
            &ABSENT,
            nulls.is_empty(),
            format!("no null part in {kind}"),
            body,
        );
    }
    Ok(())
}

/// Judges that no two different updates of one connection share an id.
fn unique(cx: &mut Ctx, log: &[Arrival]) {
    let mut bodies: HashMap<&str, &Value> = HashMap::new();
    let mut reused = Vec::new();
    for arrival in log {
        if let Some(id) = arrival.envelope_id()
            && let Some(other) = bodies.insert(id, &arrival.data["body"])
            && *other != arrival.data["body"]
        {
            reused.push(id);
        }
    }
    cx.check(
        &UNIQUE_ID,
        reused.is_empty(),
        "an id of its own for each update",
        format!("used twice: {}", reused.join(", ")),
    );
}
