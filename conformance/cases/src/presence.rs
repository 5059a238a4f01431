//! Heartbeats and ends: what is active, since when, and who is told.

use crate::cast::{CAST, SCOPED, USERS};
use crate::own_machine::{OwnMachine, announced};
use crate::readback::Watched;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use touchstone_harness::{
    case::{Flow, Stop, case_table},
    ctx::{Ctx, Scope},
    ledger::requirement_table,
    peer::{Arrival, Peer},
    stage::{Delivery, Role, Stage, Wanted},
};

requirement_table! {
    ALIVE = "presence.session-alive", Must, Specification,
        "session-alive announces an activity of the session to the user-scoped connections.";
    ALIVE_BODY = "presence.session-alive-body", Must, Specification,
        "The ephemeral activity names the session and tells active, activeAt and thinking.";
    THINKING = "presence.thinking", Should, Decision,
        "thinking is always a boolean, false where the heartbeat does not say.";
    ENDED = "presence.session-end", Must, Specification,
        "session-end announces that the session is not active any more.";
    MACHINE_ALIVE = "presence.machine-alive", Must, Specification,
        "machine-alive from the machine's own connection announces an activity of the machine to the \
         user-scoped connections.";
    MACHINE_ALIVE_BY_OTHERS = "presence.machine-alive-by-others", Info, Decision,
        "machine-alive from another connection than the machine's own may be ignored.";
    MACHINE_BODY = "presence.machine-alive-body", Must, Specification,
        "The ephemeral machine-activity names the machine and tells active and activeAt.";
    NARROW = "presence.narrow", Should, Decision,
        "Activity does not reach session- and machine-scoped connections.";
    CLAMPED = "presence.future-time", Should, Decision,
        "A heartbeat from the future counts as one of now.";
    IGNORED = "presence.stale-time", Should, Decision,
        "A heartbeat that is older than ten minutes, or has no usable time, is ignored.";
    FOREIGN = "presence.foreign", Must, Decision,
        "A heartbeat for another account's session or machine announces nothing.";
    RECENT = "presence.recent-time", Info, Decision,
        "A heartbeat that is older than the last known activity may be ignored, or counts with its own \
         time or the later one.";
    ODD_THINKING = "presence.odd-thinking", Info, Decision,
        "What a heartbeat calls thinking becomes a boolean, whatever it is.";
    SESSION_COMES = "presence.session-connects", Info, Decision,
        "Connections of a session may come and go without being announced.";
    SWEPT_EARLY = "presence.swept-early", Should, Decision,
        "Nothing becomes inactive long before the stated time has passed since its last heartbeat.";
    SWEPT = "presence.swept", Should, Decision,
        "A session or machine without heartbeats becomes inactive after the stated time, which is announced.";
}

case_table! {
    /// A session-scoped connection sends `session-alive`, once with `thinking` and once without.
    ///
    /// Accepted is one ephemeral `activity` for each, for user-scoped connections, with the session's id,
    /// `active: true` and a boolean `thinking`. Typical cause of a failure: the activity is sent to the
    /// session's own room or to everybody instead of the user-scoped connections, or `thinking` is passed
    /// on as it came instead of as a boolean.
    "presence.session-alive" judges [ALIVE, ALIVE_BODY, THINKING, NARROW] => session_alive;

    /// A session-scoped connection sends `session-end`.
    ///
    /// Accepted is one ephemeral `activity` with `active: false` for user-scoped connections. Typical cause
    /// of a failure: the activity is only sent when the connection ends, or with `active: true` by code
    /// that was copied from the heartbeat.
    "presence.session-end" judges [ENDED, ALIVE_BODY, THINKING, NARROW] => session_end;

    /// A machine's own connection sends `machine-alive`.
    ///
    /// Accepted is one ephemeral `machine-activity` with `active: true` for user-scoped connections.
    /// Typical cause of a failure: the machine's id stands under another key, or only the first heartbeat
    /// of a connection is announced.
    "presence.machine-alive" judges [MACHINE_ALIVE, MACHINE_BODY, NARROW] => machine_alive;

    /// Sends heartbeats whose time lies an hour ahead.
    ///
    /// Accepted is an `activeAt` of about now: clients would show a session as active for an hour. Typical
    /// cause of a failure: the time of the heartbeat is stored and announced as it came, without a limit at
    /// the server's own clock.
    "presence.future" judges [CLAMPED] => future;

    /// Sends heartbeats that are eleven minutes old, have no time, or a text for it.
    ///
    /// Accepted is silence. After an outage clients first send one heartbeat that is as old as the outage.
    /// Typical cause of a failure: a missing or unreadable time is replaced by now, or the age of a
    /// heartbeat is not checked at all.
    "presence.stale" judges [IGNORED] => stale;

    /// Sends heartbeats that are nine minutes old, for a session and a machine that are younger.
    ///
    /// Nothing here is judged: whether they count, and with which time, is noted on the dialect card.
    /// Typical cause of a failure: the age of a heartbeat is compared in seconds with a time in
    /// milliseconds, and the handler throws or ends the connection.
    "presence.recent" judges [RECENT] => recent;

    /// Sends heartbeats with a text, a number and an object for `thinking`, and opens and closes a
    /// connection of a session.
    ///
    /// Nothing here is judged: what the server makes of it is noted on the dialect card. Typical cause of a
    /// failure: `thinking` is stored without a conversion, and the database or the serializer throws.
    "presence.traits" judges [ODD_THINKING, SESSION_COMES] => traits;

    /// Sends heartbeats that are nearly as old as the time after which the server takes a session or a
    /// machine for inactive, and waits. Runs where `--presence-timeout` states that time.
    ///
    /// Accepted are announcements with `active: false` for both, within a little more than a minute, and
    /// none for a session whose last heartbeat is half as old. A server that ignores heartbeats which are
    /// older than what it knows is not judged. Typical cause of a failure: no timer looks for sessions and
    /// machines that are silent, or it compares with the time at which the heartbeat came instead of the
    /// time in it.
    "presence.swept", slow judges [SWEPT, SWEPT_EARLY] => swept;

    /// Another account sends heartbeats and ends for this account's session and machine.
    ///
    /// Accepted is silence on all connections of both accounts. Typical cause of a failure: the heartbeat
    /// is announced before it is checked that the session or machine belongs to the account.
    "presence.foreign" judges [FOREIGN] => foreign;
}

async fn session_alive(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &CAST).await?;
    // A session of its own for each heartbeat, so that its id tells them apart.
    for thinking in [Some(true), None] {
        let session = cx.session(&stage.account).await?;
        let mut data = json!({"sid": session.id, "time": cx.recent_time()});
        if let Some(thinking) = thinking {
            data["thinking"] = json!(thinking);
        }
        cx.emit(stage.peer(Role::S1), "session-alive", data).await?;
        let spares = [(&SCOPED[..], &NARROW)];
        let activity = Delivery {
            wanted: Wanted::ephemeral("activity", &session.id),
            reaches: &USERS,
            by: &ALIVE,
            spares: &spares,
        };
        let seen = stage.observe(cx, &[activity]).await?;
        let body = &seen[0].data;
        cx.schema(&ALIVE_BODY, &THINKING, "ephemeral/activity", body)?;
        cx.equal(&ALIVE_BODY, "active", &json!(true), &body["active"]);
        let expected = json!(thinking.unwrap_or(false));
        cx.equal(&THINKING, "thinking", &expected, &body["thinking"]);
    }
    Ok(())
}

async fn session_end(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &CAST).await?;
    let session = cx.session(&stage.account).await?;
    let data = json!({"sid": session.id, "time": cx.recent_time()});
    cx.emit(stage.peer(Role::S1), "session-end", data).await?;
    let spares = [(&SCOPED[..], &NARROW)];
    let activity = Delivery {
        wanted: Wanted::ephemeral("activity", &session.id),
        reaches: &USERS,
        by: &ENDED,
        spares: &spares,
    };
    let seen = stage.observe(cx, &[activity]).await?;
    let body = &seen[0].data;
    cx.schema(&ALIVE_BODY, &THINKING, "ephemeral/activity", body)?;
    cx.equal(&ENDED, "active", &json!(false), &body["active"]);
    Ok(())
}

async fn machine_alive(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &CAST).await?;
    let machine = OwnMachine::connect(cx, &stage).await?;
    let data = json!({"machineId": machine.id, "time": cx.recent_time()});
    cx.emit(&machine.peer, "machine-alive", data).await?;
    let spares = [(&SCOPED[..], &NARROW)];
    let activity = Delivery {
        wanted: machine.heartbeat(),
        reaches: &USERS,
        by: &MACHINE_ALIVE,
        spares: &spares,
    };
    let seen = stage.observe(cx, &[activity]).await?;
    let body = &seen[0].data;
    cx.schema(
        &MACHINE_BODY,
        &MACHINE_BODY,
        "ephemeral/machine-activity",
        body,
    )?;
    cx.equal(&MACHINE_ALIVE, "active", &json!(true), &body["active"]);
    Ok(())
}

/// A heartbeat of the session and one of a machine, both of this time: the event, its sender, its data, and
/// what announces it.
fn heartbeats<'a>(
    stage: &'a Stage,
    machine: &'a OwnMachine,
    time: u64,
) -> [(&'static str, &'a Peer, Value, Wanted); 2] {
    [
        (
            "session-alive",
            stage.peer(Role::U1),
            json!({"sid": stage.s1.id, "time": time}),
            Wanted::ephemeral("activity", &stage.s1.id),
        ),
        (
            "machine-alive",
            &machine.peer,
            json!({"machineId": machine.id, "time": time}),
            machine.heartbeat(),
        ),
    ]
}

async fn future(cx: &mut Ctx) -> Flow {
    const HOUR_MS: u64 = 3_600_000;
    /// Clocks of server and suite may differ.
    const SKEW_MS: u64 = HOUR_MS / 2;
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    let machine = OwnMachine::connect(cx, &stage).await?;
    let now = cx.shared.clock.unix_ms();
    let time = now + HOUR_MS;
    for (event, sender, data, wanted) in heartbeats(&stage, &machine, time) {
        cx.emit(sender, event, data).await?;
        let activity = Delivery {
            wanted,
            reaches: &USERS,
            by: &CLAMPED,
            spares: &[],
        };
        let seen = stage.observe(cx, &[activity]).await?;
        let active_at = seen[0].data["activeAt"].as_u64();
        let clamped = active_at.is_some_and(|at| at < now + SKEW_MS);
        cx.check(
            &CLAMPED,
            clamped,
            format!("activeAt of about {now}"),
            &seen[0].data,
        );
    }
    Ok(())
}

async fn stale(cx: &mut Ctx) -> Flow {
    const ELEVEN_MINUTES_MS: u64 = 660_000;
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    let machine = cx.machine(&stage.account).await?;
    let old = cx.shared.clock.unix_ms() - ELEVEN_MINUTES_MS;
    for time in [
        Some(json!(old)),
        None,
        Some(json!("now")),
        Some(Value::Null),
        Some(json!(true)),
        Some(json!({})),
        Some(json!([old + ELEVEN_MINUTES_MS])),
        Some(json!(0)),
        Some(json!(-1)),
    ] {
        for (event, key, id) in [
            ("session-alive", "sid", &stage.s1.id),
            ("session-end", "sid", &stage.s1.id),
            ("machine-alive", "machineId", &machine.id),
        ] {
            let mut data = json!({key: id});
            if let Some(time) = &time {
                data["time"] = time.clone();
            }
            cx.emit(stage.peer(Role::U1), event, data).await?;
        }
    }
    let other = cx.session(&stage.account).await?;
    heard(cx, &stage, Role::U1, &other.id, Role::U2).await?;
    let sessions = Wanted::ephemeral("activity", &stage.s1.id);
    stage.observe_nothing(cx, &sessions, &IGNORED).await?;
    let machines = Wanted::ephemeral("machine-activity", &machine.id);
    stage.observe_nothing(cx, &machines, &IGNORED).await
}

async fn foreign(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::S1, Role::V1]).await?;
    let machine = cx.machine(&stage.account).await?;
    let own = cx.machine(stage.other_account()).await?;
    let scope = Scope::Machine(&own.id);
    let daemon = cx.connect("daemon", stage.other_token(), scope).await?;
    let watched = Watched::of(&stage);
    let before = watched.read(cx).await?;
    // Connections of a session may be announced when they come.
    let since = Instant::now();
    let time = cx.recent_time();
    for event in ["session-alive", "session-end"] {
        let data = json!({"sid": stage.s1.id, "time": time});
        cx.emit(stage.peer(Role::V1), event, data).await?;
    }
    for sender in [stage.peer(Role::V1), &daemon] {
        let data = json!({"machineId": machine.id, "time": time});
        cx.emit(sender, "machine-alive", data).await?;
    }
    // The same events for what is its own.
    heard(cx, &stage, Role::V1, stage.other_session(), Role::V1).await?;
    let data = json!({"machineId": own.id, "time": cx.recent_time()});
    let (sent, wanted) = (
        (&daemon, "machine-alive", data),
        Wanted::ephemeral("machine-activity", &own.id).since(Instant::now()),
    );
    stage
        .same_road(cx, sent, &wanted, stage.peer(Role::V1))
        .await?;
    let ended = cx.session(stage.other_account()).await?;
    let data = json!({"sid": ended.id, "time": cx.recent_time()});
    let sent = (stage.peer(Role::V1), "session-end", data);
    let wanted = Wanted::ephemeral("activity", &ended.id);
    stage
        .same_road(cx, sent, &wanted, stage.peer(Role::V1))
        .await?;
    let sessions = Wanted::ephemeral("activity", &stage.s1.id).since(since);
    stage.observe_nothing(cx, &sessions, &FOREIGN).await?;
    let machines = Wanted::ephemeral("machine-activity", &machine.id);
    stage.observe_nothing(cx, &machines, &FOREIGN).await?;
    watched.unchanged(cx, &before, &FOREIGN).await
}

/// Sends a heartbeat of the session `id`, and waits until `listener` has heard of it: those that `sender` sent
/// before have been handled.
pub(crate) async fn heard(
    cx: &mut Ctx,
    stage: &Stage,
    sender: Role,
    id: &str,
    listener: Role,
) -> Flow {
    let data = json!({"sid": id, "time": cx.recent_time()});
    let sent = (stage.peer(sender), "session-alive", data);
    let wanted = Wanted::ephemeral("activity", id);
    stage
        .same_road(cx, sent, &wanted, stage.peer(listener))
        .await
}

/// Ten minutes, less a minute for clocks that differ.
const NINE_MINUTES_MS: u64 = 9 * 60 * 1000;

async fn recent(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::S1]).await?;
    let machine = OwnMachine::connect(cx, &stage).await?;
    let time = cx.shared.clock.unix_ms() - NINE_MINUTES_MS;
    for (event, sender, data, wanted) in heartbeats(&stage, &machine, time) {
        cx.emit(sender, event, data).await?;
        cx.round_trip(sender).await?;
        stage.prove_silence(cx).await?;
        let log = stage.peer(Role::U2).all(|arrival| wanted.matches(arrival));
        let active_at = log.first().map(|arrival| arrival.data["activeAt"].as_u64());
        let told = match active_at {
            None => "ignored",
            // Stored times may be as coarse as a second.
            Some(Some(at)) if at <= time => "its own time",
            Some(_) => "the later time",
        };
        cx.fact(&format!("presence.recent-time.{event}"), told);
    }
    cx.held(&RECENT);
    Ok(())
}

async fn traits(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::S1]).await?;
    let rows = [
        ("text", json!("yes")),
        ("number", json!(1)),
        ("object", json!({})),
    ];
    for (name, thinking) in rows {
        let session = cx.session(&stage.account).await?;
        let time = cx.recent_time();
        let data = json!({"sid": session.id, "time": time, "thinking": thinking});
        cx.emit(stage.peer(Role::S1), "session-alive", data).await?;
        // Of the same session once more: where only one of the two is announced, it is this one.
        heard(cx, &stage, Role::S1, &session.id, Role::U2).await?;
        let wanted = Wanted::ephemeral("activity", &session.id);
        let count = |log: &[Arrival]| log.iter().filter(|one| wanted.matches(one)).count();
        let patience = cx.shared.pace.sentinel();
        let listener = stage.peer(Role::U2);
        let announced = listener.wait_while_coming(patience, 2, count).await;
        let log = listener.all(|arrival| wanted.matches(arrival));
        let seen = match log.first() {
            Some(first) if announced > 1 => first.data["thinking"].clone(),
            _ => Value::Null,
        };
        cx.fact(&format!("presence.thinking.{name}"), seen);
    }
    cx.held(&ODD_THINKING);
    let session = cx.session(&stage.account).await?;
    let token = stage.account.token();
    let coming = cx
        .connect("coming", token, Scope::Session(&session.id))
        .await?;
    // A machine that comes and goes after it, which servers announce.
    let machine = OwnMachine::connect(cx, &stage).await?;
    coming.socket.disconnect().await;
    machine.peer.socket.disconnect().await;
    let deadline = Instant::now() + cx.shared.pace.sentinel();
    let gone = announced(&machine.id, false);
    stage.peer(Role::U1).wait_for(deadline, gone).await;
    stage.prove_silence(cx).await?;
    let wanted = Wanted::ephemeral("activity", &session.id);
    let log = stage.peer(Role::U1).all(|arrival| wanted.matches(arrival));
    cx.fact("presence.session-connects-announced", !log.is_empty());
    cx.held(&SESSION_COMES);
    Ok(())
}

/// How much younger than the stated time the last heartbeats are: enough for clocks that differ a little,
/// and for a busy machine.
const SWEEP_MARGIN: Duration = Duration::from_secs(2);

/// How often real servers look for those that went silent, and some more.
const SWEEP_INTERVAL: Duration = Duration::from_secs(65);

async fn swept(cx: &mut Ctx) -> Flow {
    let Some(stated) = cx.shared.target.timeouts.presence else {
        let reason =
            "no time is stated after which a silent session is inactive (--presence-timeout)";
        return Err(Stop::Skip(reason.into()));
    };
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    let machine = OwnMachine::connect(cx, &stage).await?;
    let young = cx.session(&stage.account).await?;
    let before =
        |age: Duration| cx.shared.clock.unix_ms() - u64::try_from(age.as_millis()).unwrap_or(0);
    let (time, later) = (
        before(stated.saturating_sub(SWEEP_MARGIN)),
        before(stated / 2),
    );
    let user = stage.peer(Role::U1);
    let began = Instant::now();
    for (event, peer, data) in [
        (
            "session-alive",
            user,
            json!({"sid": stage.s1.id, "time": time}),
        ),
        (
            "machine-alive",
            &machine.peer,
            json!({"machineId": machine.id, "time": time}),
        ),
        (
            "session-alive",
            user,
            json!({"sid": young.id, "time": later}),
        ),
    ] {
        cx.emit(peer, event, data).await?;
    }
    let counts = Wanted::ephemeral("activity", &young.id);
    let counted = user.wait_for(cx.deadline(), |arrival| counts.matches(arrival));
    let active_at = counted.await.and_then(|one| one.data["activeAt"].as_u64());
    // A server may count them and leave the time of the last activity as it is, or round it.
    if active_at.is_none_or(|at| at.abs_diff(later) > 1_500) {
        let reason = "heartbeats that are older than the session do not make it silent here";
        return Err(Stop::Skip(reason.into()));
    }
    let rows = [
        (&stage.s1.id, "activity"),
        (&machine.id, "machine-activity"),
    ];
    let deadline = cx.deadline() + SWEEP_MARGIN + SWEEP_INTERVAL;
    for (id, kind) in rows {
        let wanted = Wanted::ephemeral(kind, id);
        let gone = |arrival: &Arrival| wanted.matches(arrival) && arrival.data["active"] == false;
        let swept = user.wait_for(deadline, gone).await.is_some();
        cx.check(
            &SWEPT,
            swept,
            format!("{kind} with active false"),
            "nothing",
        );
    }
    let gone = user.all(|arrival| counts.matches(arrival) && arrival.data["active"] == false);
    // A stated time so short that it has passed meanwhile says nothing.
    let is_early = began.elapsed() < stated / 3;
    let told = gone.first().map_or_else(String::new, |one| one.raw.clone());
    let expected = "no active false at half of the stated time";
    cx.check(&SWEPT_EARLY, gone.is_empty() || !is_early, expected, told);
    Ok(())
}
