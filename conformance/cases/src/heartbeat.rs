//! Heartbeats of the transport, and the time that a client may take to connect: what only shows after
//! a time-out of the server's own.
//!
//! These are the only cases for which time has to pass. They wait for the times that the server
//! announces or its operator states, and for nothing else while they do.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use touchstone_client::End;

use super::{
    calling,
    hazard::OTHERS_SERVED,
    message, message_local_id,
    rogue::{Read, Rogue, others_served},
    rpc,
};
use touchstone_harness::{
    case::{Flow, Stop, case_table},
    ctx::{Ctx, Scope},
    ledger::requirement_table,
    peer::Peer,
    stage::{Role, Stage},
};

requirement_table! {
    IDLE_STAYS = "transport.idle-stays-open", Must, Decision,
        "A connection that answers the server's pings stays open, however little it sends.";
    PINGS = "transport.pings", Must, Decision,
        "The server pings at least as often as its handshake announces, for a client that hears nothing \
         longer takes it for dead.";
    GHOST_ENDED = "transport.unanswered-pings", Should, Decision,
        "A client that answers no pings is taken for gone and its connection ended.";
    CONNECT_AWAITED = "transport.connect-awaited", Info, Decision,
        "A transport on which no CONNECT comes is ended after a while.";
}

case_table! {
    /// Connects and sends nothing but answers to pings, for longer than the server's ping interval and
    /// ping timeout together.
    ///
    /// Accepted is a connection that is still open and served afterwards. Typical causes of a failure: a
    /// proxy that ends idle connections, or pings that are not sent as announced.
    "transport.idle", slow judges [IDLE_STAYS, PINGS] => idle;

    /// Registers a method, calls it, waits for longer than the server's ping interval and ping timeout
    /// together while both connections send nothing but answers to pings, and calls it again.
    ///
    /// Accepted is the result of both calls. Typical cause of a failure: registrations that are kept for a time,
    /// or renewed by heartbeats of a session alone.
    "rpc.stays-registered", slow judges [rpc::STAYS] => stays_registered;

    /// Sends a message with a localId, waits for longer than the server's ping interval and ping timeout
    /// together, and sends it again.
    ///
    /// Accepted is one message. So long does a client take to find out that its network is gone, and then it
    /// repeats what may not have arrived. Typical cause of a failure: localIds are remembered for a moment only,
    /// in memory instead of the table of messages.
    "message.local-id-later", slow judges [message_local_id::LOCAL_ID] => local_id_later;

    /// Connects and answers no pings, while others go on as usual.
    ///
    /// Accepted is that the server ends the connection in the time that it announced, with tolerance, and
    /// that others are served. A client that lost its network would show as present for ever otherwise.
    /// Typical cause of a failure: the server sends pings and has no timer for their answers, or the timer
    /// is renewed by whatever it sends itself.
    "transport.unanswered-pings", slow judges [GHOST_ENDED, OTHERS_SERVED] => unanswered_pings;

    /// Opens a transport and never sends CONNECT.
    ///
    /// Whether the server ends it is noted on the dialect card. Typical cause of a failure: no timer ends a
    /// transport on which nobody has connected, so that it is kept for ever.
    "transport.connect-awaited", slow judges [CONNECT_AWAITED] => connect_awaited;
}

/// The longest time-out that a case waits for.
const LONGEST: Duration = Duration::from_secs(90);

/// How much longer than that registrations are left alone.
const BEYOND: f64 = 1.03;

/// Ping interval and ping timeout together, as announced.
fn patience_of(peer: &Peer) -> Flow<Duration> {
    let handshake = peer.socket.handshake();
    let patience = handshake.ping_interval + handshake.ping_timeout;
    if patience > LONGEST {
        return Err(Stop::Skip(format!(
            "the server announces {} s until an unanswered ping counts",
            patience.as_secs()
        )));
    }
    Ok(patience)
}

async fn idle(cx: &mut Ctx) -> Flow {
    let account = cx.account().await?;
    let peer = cx.connect("idle", account.token(), Scope::User).await?;
    let patience = patience_of(&peer)?;
    // A little longer than the client waits for a ping, which tells a server that sends none.
    let until = Instant::now() + patience + cx.shared.pace.sentinel();
    let end = peer.wait_end(until).await;
    let pinged = !matches!(end, Some(End::PingTimeout { .. }));
    let told = format!("a ping within {} ms", patience.as_millis());
    cx.require(&PINGS, pinged, told, "none")?;
    let told = "an open connection";
    let shown = end
        .as_ref()
        .map_or_else(String::new, |end| touchstone_output::text::error_chain(end));
    cx.require(&IDLE_STAYS, end.is_none(), told, shown)?;
    let served = cx.round_trip(&peer).await?;
    cx.check(&IDLE_STAYS, served, "a ping that is answered", "no answer");
    Ok(())
}

/// Lets this time pass. That connections stay open meanwhile is judged by `transport.idle`.
async fn stay_open(peers: &[&Peer], time: Duration) -> Flow {
    let until = Instant::now() + time;
    for peer in peers {
        if let Some(end) = peer.wait_end(until).await {
            let why = touchstone_output::text::error_chain(&end);
            return Err(Stop::Blocked {
                parent: &IDLE_STAYS,
                reason: format!("{} ended: {why}", peer.who),
            });
        }
    }
    Ok(())
}

async fn local_id_later(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    let (sender, listener) = (stage.peer(Role::U1), stage.peer(Role::U2));
    let patience = patience_of(sender)?.mul_f64(BEYOND);
    let (local_id, text) = (cx.marker("local"), cx.marker("text"));
    let data = json!({"sid": stage.s1.id, "message": text, "localId": local_id});
    message::delivered(cx, &stage, data.clone(), &local_id).await?;
    stay_open(&[sender, listener], patience).await?;
    cx.emit(sender, "message", data).await?;
    // A message of the same sender to the same session comes after those before it.
    let after = cx.marker("after");
    let data = json!({"sid": stage.s1.id, "message": after});
    message::delivered(cx, &stage, data, &after).await?;
    stage.prove_silence(cx).await?;
    let count = message_local_id::different(listener, &local_id);
    let told = format!(
        "one message with the localId {local_id}, which is sent again after {} s",
        patience.as_secs_f64().round()
    );
    cx.check(
        &message_local_id::LOCAL_ID,
        count == 1,
        told,
        format!("{count} messages"),
    );
    Ok(())
}

async fn stays_registered(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::S1]).await?;
    let (caller, callee) = (stage.peer(Role::U1), stage.peer(Role::S1));
    let patience = patience_of(callee)?.mul_f64(BEYOND);
    let method = cx.marker("method");
    calling::answer_as(callee, "here");
    calling::register(cx, callee, &method).await?;
    let first = calling::rpc(cx, &rpc::CALL, caller, &method, "at first").await?;
    let works = first["ok"] == true && first["result"] == "here";
    cx.require(&rpc::CALL, works, "the result of a call", &first)?;
    stay_open(&[callee, caller], patience).await?;
    let later = calling::rpc(cx, &rpc::STAYS, caller, &method, "later").await?;
    let held = later["ok"] == true && later["result"] == "here";
    let told = format!(
        "the result of a call {} s later",
        patience.as_secs_f64().round()
    );
    cx.check(&rpc::STAYS, held, told, &later);
    Ok(())
}

async fn unanswered_pings(cx: &mut Ctx) -> Flow {
    let account = cx.account().await?;
    let ghost = cx.connect("ghost", account.token(), Scope::User).await?;
    let patience = patience_of(&ghost)?;
    ghost.socket.ignore_pings(true);
    let until = Instant::now() + patience.mul_f64(1.25) + cx.shared.pace.patience();
    // The others come while time passes for it.
    let stage = Stage::of(cx, account, &[Role::U1, Role::S1, Role::M1]).await?;
    let bystanders = [Role::U1, Role::S1, Role::M1].map(|role| stage.peer(role));
    others_served(cx, &bystanders).await?;
    let end = ghost.wait_end(until).await;
    let ended = matches!(&end, Some(end) if !matches!(end, End::PingTimeout { .. }));
    let told = format!(
        "the end of the connection within {} s",
        patience.as_secs_f64().ceil()
    );
    let shown = end.map_or_else(
        || "it is still open".to_owned(),
        |end| touchstone_output::text::error_chain(&end),
    );
    cx.check(&GHOST_ENDED, ended, told, shown);
    others_served(cx, &bystanders).await?;
    stage.prove_silence(cx).await
}

async fn connect_awaited(cx: &mut Ctx) -> Flow {
    let stated = cx.shared.target.timeouts.connect;
    if stated > LONGEST {
        return Err(Stop::Skip(format!(
            "the server waits {} s for CONNECT",
            stated.as_secs()
        )));
    }
    let mut silent = Rogue::open(&cx.options("silent", None)).await?;
    let until = Instant::now() + stated.mul_f64(1.25) + cx.shared.pace.patience();
    let ended = matches!(silent.read_until(until, |_| false).await, Read::Ended(_));
    cx.fact("transport.without-connect-is-ended", ended);
    cx.held(&CONNECT_AWAITED);
    Ok(())
}
