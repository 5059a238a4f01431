//! One connection among many: it stalls, floods or half-closes, and the others must not feel it.

use serde_json::json;
use tokio::time::Instant;
use touchstone_client::End;

use super::{control_group::charge, hazard::OTHERS_SERVED, rogue::others_served};
use touchstone_harness::{
    case::{Flow, Stop, case_table},
    ctx::{Ctx, Scope},
    ledger::requirement_table,
    opaque,
    peer::Peer,
    stage::{Role, Stage, Wanted},
};

requirement_table! {
    STALLED_READER = "server.stalled-reader", Must, Decision,
        "A client that stops reading keeps no update from others, nor slows them.";
    FLOOD = "server.flood", Must, Decision,
        "A client that floods the server with events keeps no update from others.";
    HALF_CLOSED = "server.half-closed", Info, Decision,
        "A client that half-closes its TCP stream is taken for gone.";
    RESET = "server.reset", Must, Decision,
        "Connections that are reset, also in the middle of an exchange, do not concern others.";
}

case_table! {
    /// A user-scoped connection stops reading, while eight megabytes of messages pass between others of the
    /// account.
    ///
    /// Accepted is that the others receive each message. The stalled connection may be ended. Typical
    /// cause of a failure: a broadcast that waits for the slowest of its receivers.
    "server.stalled-reader" judges [STALLED_READER, OTHERS_SERVED] => stalled_reader;

    /// A connection sends five thousand heartbeats of an unknown session and two thousand pings at once,
    /// while messages pass between others: one as the flood begins, one as it ends.
    ///
    /// Accepted is that both messages arrive and everyone is served. The flooding connection may be ended.
    /// Typical cause of a failure: all connections share one queue or one thread for their handlers, so
    /// that one of them fills it for all.
    "server.flood" judges [FLOOD, OTHERS_SERVED] => flood;

    /// A connection ends its TCP stream in its own direction only.
    ///
    /// Whether the server ends the rest of it is noted on the dialect card. Others must not notice. Typical
    /// cause of a failure: the end of the input stream is taken for an error of the whole server, or it is
    /// never noticed and the connection is kept for ever.
    "server.half-close" judges [HALF_CLOSED, OTHERS_SERVED] => half_close;

    /// Ten connections call, register and send messages, and are reset before anything is answered.
    ///
    /// Accepted is that others are served as before, and that their messages arrive. Typical cause of a
    /// failure: a write to a connection that was reset throws in a place where nobody catches it, often
    /// after the handler has ended.
    "server.reset" judges [RESET, OTHERS_SERVED] => reset;
}

/// How many bytes pass a stalled reader: more than the buffers of a connection hold.
const STALL_BYTES: usize = 7_700_000;

/// How large each message is, where the server takes that much.
const STALL_SIZE: usize = 640_000;

/// The most messages, for servers that take small ones only.
const STALL_MESSAGES: usize = 200;

const HEARTBEATS: usize = 5_000;
const PINGS: usize = 2_000;

/// Sends a message from `sender` and waits until `receiver` has it.
async fn passes(
    cx: &mut Ctx,
    sender: &Peer,
    receiver: &Peer,
    sid: &str,
    size: usize,
) -> Flow<bool> {
    let marker = cx.marker("passing");
    let data = json!({"sid": sid, "message": opaque::filled(&marker, size)});
    cx.emit(sender, "message", data).await?;
    let wanted = Wanted::update("new-message", &marker);
    let deadline = Instant::now() + cx.shared.pace.patience_for_large(&wanted.named());
    let arrival = receiver.wait_for(deadline, |arrival| wanted.matches(arrival));
    Ok(arrival.await.is_some())
}

async fn stalled_reader(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::S1]).await?;
    let stalled = cx
        .connect("stalled", stage.account.token(), Scope::User)
        .await?;
    stalled.socket.stop_reading(true);
    let (sender, receiver) = (stage.peer(Role::S1), stage.peer(Role::U1));
    let size = STALL_SIZE.min(sender.payload_limit() / 2);
    let count = (STALL_BYTES / size.max(1)).min(STALL_MESSAGES);
    for number in 1..=count {
        let arrived = passes(cx, sender, receiver, &stage.s1.id, size).await?;
        if !arrived {
            stalled.socket.abort();
            let expected = format!("message {number} of {count} at u1");
            charge(cx, &STALLED_READER, &expected, "nothing").await?;
            return Err(Stop::Judged);
        }
    }
    cx.held(&STALLED_READER);
    stalled.socket.abort();
    let bystanders = [Role::U1, Role::U2, Role::S1].map(|role| stage.peer(role));
    others_served(cx, &bystanders).await
}

async fn flood(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::S1]).await?;
    let flooder = cx
        .connect("flooder", stage.account.token(), Scope::User)
        .await?;
    let nobody = cx.marker("nobody");
    let time = cx.recent_time();
    let waves = async {
        let mut pending = Vec::with_capacity(PINGS);
        for wave in 0..HEARTBEATS.max(PINGS) {
            if wave < HEARTBEATS {
                let alive = json!({"sid": nobody, "time": time});
                flooder.socket.emit("session-alive", alive).await?;
            }
            if wave < PINGS {
                pending.push(flooder.socket.request("ping", ()).await?);
            }
        }
        Ok::<_, End>(pending)
    };
    let (sent, arrived) = tokio::join!(
        waves,
        passes(
            cx,
            stage.peer(Role::S1),
            stage.peer(Role::U1),
            &stage.s1.id,
            0
        )
    );
    // The last of the flood may still be on its way to its handler.
    let (sender, receiver) = (stage.peer(Role::S1), stage.peer(Role::U1));
    let during = arrived? && passes(cx, sender, receiver, &stage.s1.id, 0).await?;
    cx.fact(
        "server.flooder",
        if sent.is_ok() { "goes on" } else { "ended" },
    );
    match during {
        true => cx.held(&FLOOD),
        false => charge(cx, &FLOOD, "both messages at u1", "nothing").await?,
    }
    let bystanders = [Role::U1, Role::U2, Role::S1].map(|role| stage.peer(role));
    others_served(cx, &bystanders).await?;
    stage.prove_silence(cx).await
}

async fn half_close(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::S1]).await?;
    let half = cx
        .connect("half", stage.account.token(), Scope::User)
        .await?;
    half.socket
        .half_close()
        .await
        .map_err(|end| cx.dropped(&half, &end))?;
    let settle = Instant::now() + cx.shared.pace.settle();
    let ended = half.wait_end(settle).await.is_some();
    cx.fact("server.half-closed-is-ended", ended);
    cx.held(&HALF_CLOSED);
    let bystanders = [Role::U1, Role::U2, Role::S1].map(|role| stage.peer(role));
    others_served(cx, &bystanders).await?;
    stage.prove_silence(cx).await
}

async fn reset(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::S1]).await?;
    for _ in 0..10 {
        let method = cx.marker("reset");
        let scope = Scope::Session(&stage.s1.id);
        let victim = cx.connect("victim", stage.account.token(), scope).await?;
        for (event, data) in [
            ("rpc-register", json!({"method": method})),
            ("message", json!({"sid": stage.s1.id, "message": method})),
            (
                "update-state",
                json!({"sid": stage.s1.id, "agentState": method, "expectedVersion": 0}),
            ),
            ("ping", json!({})),
        ] {
            let pending = victim.socket.request(event, data).await;
            drop(pending.map_err(|end| cx.dropped(&victim, &end))?);
        }
        victim.socket.abort();
    }
    let (sender, receiver) = (stage.peer(Role::S1), stage.peer(Role::U1));
    let arrived = passes(cx, sender, receiver, &stage.s1.id, 0).await?;
    match arrived {
        true => cx.held(&RESET),
        false => charge(cx, &RESET, "a message at u1", "nothing").await?,
    }
    let bystanders = [Role::U1, Role::U2, Role::S1].map(|role| stage.peer(role));
    others_served(cx, &bystanders).await?;
    stage.prove_silence(cx).await
}
