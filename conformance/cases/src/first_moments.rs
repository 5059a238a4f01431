//! What holds from the first moment of a connection, the first one and the one after it.

use serde_json::json;

use super::calling;
use touchstone_harness::{
    case::{Flow, Stop, case_table},
    ctx::{Ctx, Scope},
    ledger::requirement_table,
    peer::Arrival,
    stage::{Delivery, Role, Series, Stage, Wanted},
};

requirement_table! {
    EARLY_EVENTS = "handshake.early-events", Should, Decision,
        "Events that a client sends as soon as CONNECT is answered are handled, never lost.";
    RECEIVES_AT_ONCE = "handshake.receives-at-once", Should, Decision,
        "A connection receives what happens from the moment in which its CONNECT is answered.";
    RECONNECT = "handshake.reconnect", Should, Decision,
        "After a reconnect routing works as before.";
    NO_REPLAY = "handshake.no-replay", Info, Decision,
        "Updates that a connection missed are not replayed to it.";
}

case_table! {
    /// Connects eight times and registers twelve methods each in the moment in which CONNECT is answered.
    ///
    /// Accepted is that each registration is answered. Daemons register a dozen methods at once and wait
    /// for nothing; a server that sets up its handlers after an await loses them. Typical cause of a
    /// failure: handlers are attached after an `await` in the connection handler, such as a look-up in the
    /// database.
    "handshake.early-events" judges [EARLY_EVENTS] => early_events;

    /// Connects eight times to a session, which is sent a message in the moment in which CONNECT is answered.
    ///
    /// Accepted is that each connection receives the message. Clients read the state of a session once when
    /// they are connected, so that what is lost here is missing for good. Typical cause of a failure: the
    /// connection joins its rooms after an await.
    "handshake.receives-at-once" judges [RECEIVES_AT_ONCE] => receives_at_once;

    /// A session-scoped connection ends, misses an update, and connects again.
    ///
    /// Accepted is that it receives the next update. That it does not receive the missed one is noted on
    /// the dialect card. Typical cause of a failure: a new connection does not join the rooms of its scope
    /// since an entry of the old one is still there, or the end of the old one takes the new one's entry
    /// away.
    "handshake.reconnect" judges [RECONNECT, NO_REPLAY] => reconnect;
}

/// How many connections are tried for what may be lost in their first moment.
const CONNECTIONS: usize = 8;

async fn early_events(cx: &mut Ctx) -> Flow {
    let account = cx.account().await?;
    let machine = cx.machine(&account).await?;
    let told = "an answer for each registration";
    for number in 1..=CONNECTIONS {
        let name = format!("m{number}");
        let peer = cx
            .connect_unproved(&name, account.token(), Scope::Machine(&machine.id))
            .await?;
        let methods: Vec<_> = (0..12).map(|_| cx.marker("early")).collect();
        for method in &methods {
            cx.emit(&peer, "rpc-register", json!({"method": method}))
                .await?;
        }
        let count = |log: &[Arrival]| {
            let registered = log.iter().filter(|a| a.name == "rpc-registered");
            registered.count()
        };
        let patience = cx.shared.pace.patience_for("rpc-registered");
        let answered = peer.wait_while_coming(patience, methods.len(), count).await;
        if answered < methods.len() {
            // That methods can be registered at all is judged elsewhere.
            let later = cx.marker("later");
            calling::register(cx, &peer, &later).await?;
            let of = methods.len();
            let actual = format!("{answered} of {of} on connection {number} of {CONNECTIONS}");
            cx.broken(&EARLY_EVENTS, told, actual);
            return Ok(());
        }
    }
    cx.held(&EARLY_EVENTS);
    Ok(())
}

async fn receives_at_once(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1]).await?;
    let (sid, sender) = (&stage.s1.id, stage.peer(Role::U1));
    let scope = Scope::Session(sid);
    for number in 1..=CONNECTIONS {
        let name = format!("s{number}");
        let peer = cx
            .connect_unproved(&name, stage.account.token(), scope)
            .await?;
        let mut series = Series::new(cx, "at-once");
        series.send(cx, sender, sid).await?;
        if !series.arrived(cx, sender, sid, &peer).await?.is_empty() {
            continue;
        }
        // A later one tells whether messages reach the connection at all.
        series.send(cx, sender, sid).await?;
        if series.arrived(cx, sender, sid, &peer).await?.is_empty() {
            let reason = format!("no message reaches {}", peer.who);
            let parent = &super::message::REACHES;
            return Err(Stop::Blocked { parent, reason });
        }
        let expected = "the message that was sent when CONNECT was answered";
        let actual = format!("only a later one on connection {number} of {CONNECTIONS}");
        let clue = series.clue().missing([name.as_str()]);
        cx.broken_by(clue, &RECEIVES_AT_ONCE, expected, actual);
        return Ok(());
    }
    cx.held(&RECEIVES_AT_ONCE);
    Ok(())
}

async fn reconnect(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::S1]).await?;
    let scope = Scope::Session(&stage.s1.id);
    let token = stage.account.token();
    let cas = &super::session::METADATA;
    let first = cx.connect("before", token, scope).await?;
    first.socket.disconnect().await;
    drop(first);
    let mut markers = Vec::new();
    let mut second = None;
    for what in ["missed", "next"] {
        let marker = cx.marker(what);
        cas.write(cx, stage.peer(Role::U1), &stage.s1.id, &json!(marker))
            .await?;
        let update = Delivery {
            wanted: Wanted::update(cas.update, &marker),
            reaches: &[Role::U1, Role::S1],
            by: &super::session::METADATA_REACHES,
            spares: &[],
        };
        stage.observe(cx, &[update]).await?;
        markers.push(marker);
        if second.is_none() {
            let peer = cx.connect("after", token, scope).await?;
            stage.prove_newcomer(cx, &peer).await?;
            second = Some(peer);
        }
    }
    let Some(second) = second else {
        return Err(Stop::Judged);
    };
    let deadline = cx.deadline();
    let next = Wanted::update(cas.update, &markers[1]);
    let seen = second
        .wait_for(deadline, |arrival| next.matches(arrival))
        .await;
    cx.check(
        &RECONNECT,
        seen.is_some(),
        "the update after the reconnect",
        "nothing",
    );
    let missed = Wanted::update(cas.update, &markers[0]);
    let replayed = !second.all(|arrival| missed.matches(arrival)).is_empty();
    cx.fact("handshake.replays-missed-updates", replayed);
    cx.held(&NO_REPLAY);
    Ok(())
}
