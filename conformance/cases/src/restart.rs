//! What holds over a restart of the server. `touchstone explore --crash` judges the same in the middle of
//! traffic.
//!
//! What a server keeps is its promise to make: without one it stands on the dialect card and is judged by
//! nobody.

use std::time::Duration;

use serde_json::json;
use touchstone_client::provision::Provisioner;
use touchstone_harness::{
    case::{Flow, Stop, case_table},
    ctx::{Ctx, Scope},
    ledger::requirement_table,
    opaque,
    peer::{Arrival, Peer},
    stage::{Role, Stage, Wanted},
    words,
};

use crate::{artifact::Artifact, machine, message, presence, readback::Watched, session, usage};

requirement_table! {
    KEPT = "restart.acknowledged-kept", Should, Decision,
        "A server that promises it has every session, value and posted message that it acknowledged after it was \
         killed and started again; whatever was not answered is there or is not.";
    NUMBERS = "restart.numbers", Should, Decision,
        "After a restart the seq of updates, and that of a session's messages, go on above those that were told \
         before.";
    LOCAL_IDS = "restart.local-ids", Should, Decision,
        "After a restart a localId that is known makes no second message.";
    TOKENS = "restart.tokens", Should, Decision,
        "After a restart a token is as good as before.";
    OFFLINE = "restart.machines-offline", Should, Decision,
        "After a restart a machine without a connection counts as active for no longer than the presence \
         time-out.";
}

case_table! {
    /// One of everything is written and read, a message is sent, and the server is killed (SIGKILL) and
    /// started again: once while nothing is under way, and once while messages are. The token is good, all
    /// rows are read as before, the message is sent again with its localId and makes no second one, and the
    /// numbers of the next message and its update are higher than those of before.
    ///
    /// Needs `--spawn`, since only a server that was started here may be killed. Judged where `--durable`
    /// says that the server promises to keep what it acknowledged; of any other, what it keeps stands on
    /// the dialect card (`restart.keeps`: `all`, also what was never acknowledged, `acknowledged`, `some`
    /// or `nothing`).
    ///
    /// Typical causes of a failure: an answer leaves before its transaction has, or a counter lives in memory.
    "restart.keeps" needs [Restart], hazardous judges [KEPT, NUMBERS, LOCAL_IDS, TOKENS] => keeps;
    /// A machine sends a heartbeat, and the server is killed and started again. At most one presence time-out
    /// later the machine, which has no connection, is listed as inactive. Runs where `--durable` and
    /// `--presence-timeout` are stated.
    ///
    /// Typical cause of a failure: that a machine is active is stored, and nothing looks after the start for
    /// machines that have no connection.
    "restart.machines-offline" needs [Restart, Rest], hazardous judges [OFFLINE] => machines_offline;
}

/// How many messages are on their way when the server is killed.
const UNANSWERED: usize = 20;

/// How often real servers look for machines that went silent, and some more.
const SWEEP_INTERVAL: Duration = Duration::from_secs(65);

async fn keeps(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::S1, Role::S2, Role::M1]).await?;
    let artifact = written(cx, &stage).await?;
    let (local_id, text) = (cx.marker("local"), cx.marker("before"));
    let message = json!({"sid": stage.s1.id, "message": text, "localId": local_id});
    cx.emit(stage.peer(Role::S1), "message", message.clone())
        .await?;
    let first = heard(cx, stage.peer(Role::U1), &text).await?;
    let mut watched = Watched::of(&stage);
    watched.artifact = Some(&artifact);
    let rows = watched.read(cx).await?;
    let user = restarted(cx, &stage, "back").await?;
    watched.owner = &user;
    let mut changed = watched.changed(cx, &rows).await?;
    let unanswered = cx.marker("unanswered");
    let again;
    if changed.is_empty() {
        again = restarted_midway(cx, &stage, &unanswered).await?;
        watched.owner = &again;
        changed = watched.changed(cx, &rows).await?;
    }
    let owner = watched.owner;
    if !cx.shared.target.durable {
        let kept = match changed.is_empty() {
            true if all_there(cx, &stage, &unanswered).await? => "all",
            true => "acknowledged",
            false => "some",
        };
        return Err(unpromised(cx, kept));
    }
    cx.held(&TOKENS);
    let expected = "everything that was acknowledged before the server was killed";
    cx.check(&KEPT, changed.is_empty(), expected, words::list(changed));

    let told =
        [stage.peer(Role::U1), &user].map(|peer| peer.all(|arrival| arrival.name == "update"));
    let told = told.concat();
    // The same message once more, and another one behind it on the same road.
    let scope = Scope::Session(&stage.s1.id);
    let sender = cx
        .connect("back-as-session", stage.account.token(), scope)
        .await?;
    cx.emit(&sender, "message", message).await?;
    let next = cx.marker("after");
    let data = json!({"sid": stage.s1.id, "message": next});
    cx.emit(&sender, "message", data).await?;
    let next = heard(cx, owner, &next).await?;
    let repeated = owner.all(|arrival| arrival.raw.contains(&text));
    cx.check(
        &LOCAL_IDS,
        repeated.is_empty(),
        "no second message",
        format!("{} more", repeated.len()),
    );
    let seq = |arrival: &Arrival| arrival.data["seq"].as_i64();
    let of_message = |arrival: &Arrival| arrival.data["body"]["message"]["seq"].as_i64();
    for (what, before, now) in [
        ("the update", told.iter().filter_map(seq).max(), seq(&next)),
        ("the message", of_message(&first), of_message(&next)),
    ] {
        let shown =
            |seq: Option<i64>| seq.map_or_else(|| "no number".to_owned(), |seq| seq.to_string());
        let expected = format!("a seq of {what} above {}", shown(before));
        cx.check(&NUMBERS, now > before, expected, shown(now));
    }
    Ok(())
}

/// Kills the server while messages of the second session are under way, which have `marker` in them, and
/// starts it again.
async fn restarted_midway(cx: &mut Ctx, stage: &Stage, marker: &str) -> Flow<Peer> {
    let id = stage.s2.as_ref().map_or("", |s2| &s2.id);
    let sender = cx
        .connect("busy", stage.account.token(), Scope::Session(id))
        .await?;
    cx.step("messages are under way");
    for number in 0..UNANSWERED {
        let text = opaque::numbered(marker, number);
        let data = json!({"sid": id, "message": text});
        cx.emit(&sender, "message", data).await?;
    }
    restarted(cx, stage, "back-again").await
}

/// Kills the server, starts it again, and connects as the user.
async fn restarted(cx: &mut Ctx, stage: &Stage, name: &str) -> Flow<Peer> {
    cx.restart().await?;
    let user = cx.connect(name, stage.account.token(), Scope::User).await;
    user.map_err(|stop| match stop {
        Stop::Blocked { reason, .. } | Stop::Dropped(reason) if cx.shared.target.durable => {
            cx.broken(&TOKENS, "a token of before to be as good as it was", reason);
            Stop::Judged
        }
        Stop::Blocked { .. } | Stop::Dropped(_) => unpromised(cx, "nothing"),
        stop => stop,
    })
}

/// Writes one of everything, and gives the id of the artifact.
async fn written(cx: &mut Ctx, stage: &Stage) -> Flow<String> {
    let (user, sid, machine) = (stage.peer(Role::U1), &stage.s1.id, stage.m1_id());
    for (cas, id) in [
        (&session::METADATA, sid.as_str()),
        (&session::STATE, sid),
        (&machine::METADATA, machine),
        (&machine::STATE, machine),
    ] {
        let value = json!(cx.marker("kept"));
        cas.write(cx, user, id, &value).await?;
    }
    let key = cx.marker("usage");
    // Whether these can be done is judged elsewhere.
    let _ = cx
        .ask(user, "usage-report", usage::usage(&key, Some(sid), 7))
        .await?;
    let artifact = Artifact::new(cx);
    let _ = cx.ask(user, "artifact-create", artifact.request()).await?;
    Ok(artifact.id)
}

/// The message of this text, which `peer` has to hear.
async fn heard(cx: &Ctx, peer: &Peer, text: &str) -> Flow<Arrival> {
    let wanted = Wanted::update("new-message", text);
    let arrival = peer.wait_for(cx.deadline(), |arrival| wanted.matches(arrival));
    arrival.await.ok_or_else(|| Stop::Blocked {
        parent: &message::REACHES,
        reason: "a message does not arrive".to_owned(),
    })
}

/// Whether all messages are there that were on their way when the server was killed.
async fn all_there(cx: &Ctx, stage: &Stage, marker: &str) -> Flow<bool> {
    let id = stage.s2.as_ref().map_or("", |s2| &s2.id);
    let path = format!("/v1/sessions/{id}/messages");
    let listed = match &cx.shared.target.provisioner {
        Provisioner::Rest(_) => cx.read_aside(&stage.account, &path).await?.body.to_string(),
        _ => return Ok(false),
    };
    Ok((0..UNANSWERED).all(|number| listed.contains(&opaque::numbered(marker, number))))
}

/// What a server keeps that promises nothing is a trait of it.
fn unpromised(cx: &mut Ctx, kept: &str) -> Stop {
    cx.fact("restart.keeps", kept);
    Stop::Skip(format!(
        "it kept {kept}; --durable says that the server promises to keep what it acknowledged"
    ))
}

async fn machines_offline(cx: &mut Ctx) -> Flow {
    let (true, Some(stated)) = (cx.shared.target.durable, cx.shared.target.timeouts.presence)
    else {
        let reason = "whether the server promises to keep anything, or for how long a silent machine counts as \
                      active, is not stated (--durable, --presence-timeout)";
        return Err(Stop::Skip(reason.into()));
    };
    let stage = Stage::set(cx, &[Role::U1, Role::M1]).await?;
    let machine = stage.m1_id().to_owned();
    let time = cx.recent_time();
    let beat = json!({"machineId": machine, "time": time});
    cx.emit(stage.peer(Role::M1), "machine-alive", beat).await?;
    let path = format!("/v1/machines/{machine}");
    let mut tries = cx.tries_within(cx.shared.pace.patience());
    loop {
        let is_last = tries.next().await;
        let listed = active(cx, &stage, &path).await?;
        if listed == Some(true) {
            break;
        }
        if is_last {
            let reason = "a machine with a connection is not listed as active".to_owned();
            let parent = &presence::MACHINE_ALIVE;
            return Err(Stop::Blocked { parent, reason });
        }
    }
    cx.restart().await?;
    let mut tries = cx.tries_within(stated + SWEEP_INTERVAL + cx.shared.pace.patience());
    loop {
        let is_last = tries.next().await;
        let listed = active(cx, &stage, &path).await?;
        let Some(active) = listed else {
            let reason = "the machine is gone".to_owned();
            let parent = &KEPT;
            return Err(Stop::Blocked { parent, reason });
        };
        if !active || is_last {
            cx.check(&OFFLINE, !active, "active false", active);
            return Ok(());
        }
    }
}

/// Whether the machine is listed as active.
async fn active(cx: &Ctx, stage: &Stage, path: &str) -> Flow<Option<bool>> {
    let answer = cx.read_aside(&stage.account, path).await?;
    Ok(answer.body["machine"]["active"].as_bool())
}
