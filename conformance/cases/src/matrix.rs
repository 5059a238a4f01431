//! The recipient matrix: every event that a socket can cause, sent from a connection of every scope.
//!
//! Who receives an event follows from what it is about, never from who caused it; only a message
//! spares the connection that sent it. Each case also measures, for the dialect card, whom the server
//! really tells. The judgments are those of the events' own modules.

use serde_json::{Value, json};
use tokio::time::Instant;

pub(crate) use super::recipients::REQUIREMENTS;
use super::{
    artifact, machine, message, own_machine::OwnMachine, presence, session, usage, versioned::Cas,
};
use super::{
    cast::USERS,
    recipients::{ANY_CONNECTION, MATRIX, Rule, Sent, judge, note},
};
use touchstone_harness::{
    case::{Flow, case_table},
    ctx::Ctx,
    ledger::Requirement,
    peer::Peer,
    stage::{Delivery, Role, Stage, Wanted},
};

case_table! {
    /// Changes a session's metadata and agentState from connections of five kinds: user-scoped, of the
    /// session, of another session, of a machine, of another machine.
    ///
    /// Accepted is success each time, one `update-session` for all user-scoped connections and those of
    /// the session, and none for others. Typical cause of a failure: a handler takes the session from
    /// the connection instead of the data.
    "matrix.update-session" judges [
        session::METADATA_REACHES, session::STATE_REACHES, session::NARROW, ANY_CONNECTION, MATRIX
    ] => update_session;

    /// Changes a machine's metadata and daemonState from connections of five kinds.
    ///
    /// Accepted is success each time, one `update-machine` for all user-scoped connections and the
    /// machine's own, and none for others. Typical cause of a failure: a handler takes the machine from the
    /// connection instead of the data, or is attached to machine-scoped connections only.
    "matrix.update-machine" judges [
        machine::METADATA_REACHES, machine::STATE_REACHES, machine::NARROW, ANY_CONNECTION, MATRIX
    ] => update_machine;

    /// Sends a message to one session from connections of five kinds.
    ///
    /// Accepted is one `new-message` for every user-scoped connection and every connection of the session
    /// except the one that sent it, and none for others. A sender that is itself of another session or of a
    /// machine receives nothing. Typical cause of a failure: a handler takes the session from the
    /// connection instead of the data, or skips all connections of the sender's kind.
    "matrix.new-message" judges [
        message::REACHES, message::SKIPS_SENDER, message::WRONG_SESSION, message::NOT_MACHINES,
        ANY_CONNECTION, MATRIX
    ] => new_message;

    /// Creates, changes and deletes an artifact from connections of five kinds.
    ///
    /// Accepted is success each time, and one update for each step to all user-scoped connections only,
    /// also where the sender is not one of them. Typical cause of a failure: the sender is told by its
    /// room, so that a session or machine which is not user-scoped receives its own update.
    "matrix.artifact" judges [
        artifact::CREATE_REACHES, artifact::UPDATE_REACHES, artifact::DELETE_REACHES, artifact::NARROW,
        ANY_CONNECTION, MATRIX
    ] => artifacts;

    /// Reports usage of one session from connections of five kinds.
    ///
    /// Accepted is success each time, and one ephemeral `usage` to all user-scoped connections only.
    /// Typical cause of a failure: the handler is attached to session-scoped connections only, or the
    /// report goes to the session's room as well.
    "matrix.usage" judges [usage::REACHES, usage::NARROW, ANY_CONNECTION, MATRIX] => usages;

    /// Sends `session-alive` for a session each from connections of five kinds, once through the
    /// session's own connection and once through a user-scoped one for a session that listens.
    ///
    /// Accepted is one ephemeral `activity` for each to all user-scoped connections only; not to the
    /// session that it is about. Typical cause of a failure: the handler takes the session from the
    /// connection and ignores `sid`, or the activity goes to the session's room as well.
    "matrix.session-alive" judges [presence::ALIVE, presence::NARROW, ANY_CONNECTION, MATRIX]
        => session_alive;

    /// Sends `session-end` for a session each from connections of five kinds.
    ///
    /// Accepted is one ephemeral `activity` for each to all user-scoped connections only. Typical cause of
    /// a failure: the handler takes the session from the connection and ignores `sid`, or is attached to
    /// session-scoped connections only.
    "matrix.session-end" judges [presence::ENDED, presence::NARROW, ANY_CONNECTION, MATRIX]
        => session_end;

    /// Sends `machine-alive` through a machine's own connection, and for a machine each from connections of
    /// five other kinds.
    ///
    /// Accepted is one ephemeral `machine-activity` to all user-scoped connections only, not to the machine
    /// that it is about. A server may ignore a heartbeat that does not come from the machine itself.
    /// Typical cause of a failure: the activity goes to all connections of the account instead of the
    /// user-scoped ones.
    "matrix.machine-alive" judges [
        presence::MACHINE_ALIVE, presence::MACHINE_ALIVE_BY_OTHERS, presence::NARROW, MATRIX
    ] => machine_alive;
}

/// Who acts: a connection of each kind. The first two are those from which everything is judged by the
/// event's own requirements; the rest show that it does not depend on the sender.
const SENDERS: [Role; 5] = [Role::U1, Role::S1, Role::S2, Role::M1, Role::M2];

const SESSION: &[Role] = &[Role::U1, Role::U2, Role::S1, Role::S1B];
const MACHINE: &[Role] = &[Role::U1, Role::U2, Role::M1];
/// Changes a versioned value through `peer`, whatever its version is. An answer other than success breaks
/// `by`, and gives false.
async fn change(
    cx: &mut Ctx,
    by: &'static Requirement,
    peer: &Peer,
    cas: &Cas,
    id: &str,
    value: &Value,
) -> Flow<bool> {
    let mut answer = Value::Null;
    for _ in 0..3 {
        let data = cas.data(id, value, &json!(cx.version(id, cas.field)));
        answer = cx.call(by, peer, cas.event, data).await?;
        if let Some(version) = answer["version"].as_i64() {
            cx.saw_version(id, cas.field, version);
        }
        if answer["result"] != "version-mismatch" {
            break;
        }
    }
    let expected = format!("success for {} through {}", cas.event, peer.who);
    Ok(cx.check(by, answer["result"] == "success", expected, answer))
}

/// Carries out and judges the changes of one versioned value by each sender.
async fn changes(
    cx: &mut Ctx,
    stage: &Stage,
    cas: &Cas,
    id: &str,
    name: &str,
    rule: &Rule,
) -> Flow {
    for senders in [&SENDERS[..2], &SENDERS[2..]] {
        let mut batch = Vec::new();
        for &sender in senders {
            let marker = cx.marker("matrix");
            let by = if senders.len() == 2 {
                cas.answers
            } else {
                &ANY_CONNECTION
            };
            if change(cx, by, stage.peer(sender), cas, id, &json!(marker)).await? {
                let wanted = Wanted::update(cas.update, marker);
                batch.push(Sent {
                    sender,
                    wanted,
                    rule,
                });
            }
        }
        if !judge(cx, stage, Some(name), &batch).await? {
            break;
        }
    }
    Ok(())
}

async fn update_session(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &Role::ALL).await?;
    let rows = [
        (
            &session::METADATA,
            "update-session.metadata",
            &session::METADATA_REACHES,
        ),
        (
            &session::STATE,
            "update-session.agent-state",
            &session::STATE_REACHES,
        ),
    ];
    for (cas, name, by) in rows {
        let rule = Rule {
            reaches: SESSION,
            by,
            spares: vec![(&[Role::S2, Role::M1, Role::M2], &session::NARROW)],
            skips_sender: None,
        };
        changes(cx, &stage, cas, &stage.s1.id, name, &rule).await?;
    }
    Ok(())
}

async fn update_machine(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &Role::ALL).await?;
    let rows = [
        (
            &machine::METADATA,
            "update-machine.metadata",
            &machine::METADATA_REACHES,
        ),
        (
            &machine::STATE,
            "update-machine.daemon-state",
            &machine::STATE_REACHES,
        ),
    ];
    for (cas, name, by) in rows {
        let rule = Rule {
            reaches: MACHINE,
            by,
            spares: vec![(&[Role::M2, Role::S1, Role::S1B, Role::S2], &machine::NARROW)],
            skips_sender: None,
        };
        changes(cx, &stage, cas, stage.m1_id(), name, &rule).await?;
    }
    Ok(())
}

async fn new_message(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &Role::ALL).await?;
    let rule = Rule {
        reaches: SESSION,
        by: &message::REACHES,
        spares: vec![
            (&[Role::S2], &message::WRONG_SESSION),
            (&[Role::M1, Role::M2], &message::NOT_MACHINES),
        ],
        skips_sender: Some(&message::SKIPS_SENDER),
    };
    for senders in [&SENDERS[..2], &SENDERS[2..]] {
        let mut batch = Vec::new();
        for &sender in senders {
            let marker = cx.marker("matrix");
            let data = json!({"sid": stage.s1.id, "message": marker});
            cx.emit(stage.peer(sender), "message", data).await?;
            let wanted = Wanted::update("new-message", marker);
            batch.push(Sent {
                sender,
                wanted,
                rule: &rule,
            });
        }
        if !judge(cx, &stage, Some("new-message"), &batch).await? {
            break;
        }
    }
    Ok(())
}

async fn artifacts(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &Role::ALL).await?;
    let created = Rule::users(&artifact::CREATE_REACHES, &artifact::NARROW);
    let updated = Rule::users(&artifact::UPDATE_REACHES, &artifact::NARROW);
    let deleted = Rule::users(&artifact::DELETE_REACHES, &artifact::NARROW);
    for senders in [&SENDERS[..2], &SENDERS[2..]] {
        let own = senders.len() == 2;
        let mut batches: [Vec<Sent<'_>>; 3] = Default::default();
        for &sender in senders {
            let peer = stage.peer(sender);
            let new = artifact::Artifact::new(cx);
            let steps = [
                (
                    "artifact-create",
                    "new-artifact",
                    &artifact::CREATE,
                    &created,
                ),
                (
                    "artifact-update",
                    "update-artifact",
                    &artifact::UPDATE,
                    &updated,
                ),
                (
                    "artifact-delete",
                    "delete-artifact",
                    &artifact::DELETE,
                    &deleted,
                ),
            ];
            let mut known = Value::Null;
            for (step, (event, kind, answers, rule)) in steps.into_iter().enumerate() {
                let by = if own { answers } else { &ANY_CONNECTION };
                let data = match event {
                    "artifact-create" => new.request(),
                    "artifact-update" => {
                        let header = json!({"data": artifact::encoded("new"), "expectedVersion": known["headerVersion"]});
                        json!({"artifactId": new.id, "header": header})
                    }
                    _ => json!({"artifactId": new.id}),
                };
                let answer = cx.call(by, peer, event, data).await?;
                let expected = format!("success for {event} through {}", peer.who);
                cx.require(by, answer["result"] == "success", expected, &answer)?;
                if step == 0 {
                    known = answer["artifact"].clone();
                }
                let wanted = Wanted::update(kind, &new.id);
                batches[step].push(Sent {
                    sender,
                    wanted,
                    rule,
                });
            }
        }
        let names = ["new-artifact", "update-artifact", "delete-artifact"];
        for (name, batch) in names.into_iter().zip(&batches) {
            if !judge(cx, &stage, Some(name), batch).await? {
                return Ok(());
            }
        }
    }
    Ok(())
}

async fn usages(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &Role::ALL).await?;
    let rule = Rule::users(&usage::REACHES, &usage::NARROW);
    for senders in [&SENDERS[..2], &SENDERS[2..]] {
        let by = if senders.len() == 2 {
            &usage::ANSWER
        } else {
            &ANY_CONNECTION
        };
        let mut batch = Vec::new();
        for &sender in senders {
            let peer = stage.peer(sender);
            let key = cx.marker("matrix");
            let data = usage::usage(&key, Some(&stage.s1.id), 1);
            let answer = cx.call(by, peer, "usage-report", data).await?;
            let expected = format!("success for usage-report through {}", peer.who);
            cx.require(by, answer["success"] == true, expected, &answer)?;
            let wanted = Wanted::ephemeral("usage", key);
            batch.push(Sent {
                sender,
                wanted,
                rule: &rule,
            });
        }
        if !judge(cx, &stage, Some("usage"), &batch).await? {
            break;
        }
    }
    Ok(())
}

async fn session_alive(cx: &mut Ctx) -> Flow {
    let rule = Rule::users(&presence::ALIVE, &presence::NARROW);
    heartbeats(cx, "session-alive", "activity.alive", &rule).await
}

async fn session_end(cx: &mut Ctx) -> Flow {
    let rule = Rule::users(&presence::ENDED, &presence::NARROW);
    heartbeats(cx, "session-end", "activity.ended", &rule).await
}

/// One heartbeat for a session each, since only the session tells an `activity` from another one: the
/// sender's own session, one that listens while somebody else speaks for it, and three that nobody is
/// connected to.
async fn heartbeats(cx: &mut Ctx, event: &str, name: &str, rule: &Rule) -> Flow {
    let stage = Stage::set(cx, &Role::ALL).await?;
    let listening = stage.s2.clone().map_or_else(String::new, |s2| s2.id);
    let mut subjects = vec![(Role::S1, stage.s1.id.clone()), (Role::U1, listening)];
    for sender in [Role::S2, Role::M1, Role::M2] {
        subjects.push((sender, cx.session(&stage.account).await?.id));
    }
    // Kinds of connections are seen from session S1, which the first heartbeat is about.
    let batches = [
        (Some(name), &subjects[..1]),
        (None, &subjects[1..2]),
        (None, &subjects[2..]),
    ];
    for (name, subjects) in batches {
        let mut batch = Vec::new();
        for (sender, id) in subjects {
            let data = json!({"sid": id, "time": cx.recent_time()});
            // Connections of a session may be announced when they come.
            let since = Instant::now();
            cx.emit(stage.peer(*sender), event, data).await?;
            batch.push(Sent {
                sender: *sender,
                wanted: Wanted::ephemeral("activity", id).since(since),
                rule,
            });
        }
        if !judge(cx, &stage, name, &batch).await? {
            break;
        }
    }
    Ok(())
}

async fn machine_alive(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &Role::ALL).await?;
    let rule = Rule::users(&presence::MACHINE_ALIVE, &presence::NARROW);
    let machine = OwnMachine::connect(cx, &stage).await?;
    let data = json!({"machineId": machine.id, "time": cx.recent_time()});
    cx.emit(&machine.peer, "machine-alive", data).await?;
    let own = Delivery {
        wanted: machine.heartbeat(),
        reaches: &USERS,
        by: rule.by,
        spares: &rule.spares,
    };
    stage.observe(cx, &[own]).await?;
    let heard = Sent {
        sender: Role::M1,
        wanted: machine.heartbeat(),
        rule: &rule,
    };
    note(cx, &stage, "machine-activity", &[heard]);
    let reached = machine
        .peer
        .all(|arrival| machine.heartbeat().matches(arrival));
    let narrow = "no machine-activity for the machine that it is about";
    cx.check(
        &presence::NARROW,
        reached.is_empty(),
        narrow,
        "it received its own",
    );

    let mut batch = Vec::new();
    for sender in SENDERS {
        // A machine that nobody is connected as: a connection is announced like a heartbeat.
        let machine = cx.machine(&stage.account).await?;
        let data = json!({"machineId": machine.id, "time": cx.recent_time()});
        cx.emit(stage.peer(sender), "machine-alive", data).await?;
        cx.round_trip(stage.peer(sender)).await?;
        let wanted = Wanted::ephemeral("machine-activity", machine.id);
        batch.push(Sent {
            sender,
            wanted,
            rule: &rule,
        });
    }
    stage.prove_silence(cx).await?;
    let sent = batch.len();
    batch.retain(|sent| {
        let announced = |&role: &Role| {
            let log = stage.peer(role).all(|arrival| sent.wanted.matches(arrival));
            !log.is_empty()
        };
        USERS.iter().any(announced)
    });
    let told = match batch.len() {
        0 => "ignored",
        some if some == sent => "announced",
        _ => "partly announced",
    };
    cx.fact("presence.machine-alive-by-others", told);
    cx.held(&presence::MACHINE_ALIVE_BY_OTHERS);
    if !batch.is_empty() {
        judge(cx, &stage, None, &batch).await?;
    }
    Ok(())
}
