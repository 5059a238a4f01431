//! Order under load: bursts of one sender, and several writers at the same time.

use std::collections::HashSet;
use touchstone_harness::own;

use futures_util::future::join_all;
use serde_json::json;

use super::{delivery, message, session};
use touchstone_harness::{
    case::{Flow, case_table},
    ctx::Ctx,
    ledger::requirement_table,
    opaque,
    peer::Arrival,
    stage::{Role, Series, Stage, Wanted},
    words,
};

requirement_table! {
    SEQ_CONCURRENT = "update.seq-concurrent", Info, Decision,
        "Updates that several connections cause at the same time may arrive in another order than that \
         of their seq.";
    MESSAGE_SEQ_CONCURRENT = "message.seq-concurrent", Must, Decision,
        "No two messages of a session share a seq, also when several connections send at the same time.";
    CONCURRENT_ORDER = "message.concurrent-order", Info, Decision,
        "Messages of several senders may be delivered in another order than that of their seq.";
}

case_table! {
    /// Sends two hundred messages at once over one session-scoped connection.
    ///
    /// Accepted is that each listener receives each of them once, in the order in which they were sent, and
    /// that their `seq` rises. Typical cause of a failure: handlers of one connection run side by side,
    /// each with an `await` in the middle, so that later messages overtake earlier ones.
    "order.burst" judges [message::ORDER, message::SEQ] => burst;

    /// Four connections send messages and change their own sessions at the same time.
    ///
    /// Accepted is a `seq` of the messages that no two share, and, for the changes that one connection
    /// makes one after the other, a `seq` of the updates that rises. Whether those of different connections
    /// arrive in the order of their `seq` is noted on the dialect card. Typical cause of a failure: the
    /// next `seq` is read and written in two steps, so that two handlers draw the same one.
    "order.concurrent" judges [
        delivery::SEQ, SEQ_CONCURRENT, MESSAGE_SEQ_CONCURRENT, CONCURRENT_ORDER
    ] => concurrent;
}

fn message_seq(arrival: &Arrival) -> Option<i64> {
    arrival.data["body"]["message"]["seq"].as_i64()
}

async fn burst(cx: &mut Ctx) -> Flow {
    const BURST: usize = 200;
    let stage = Stage::set(cx, &[Role::U1, Role::S1, Role::S1B]).await?;
    let sender = stage.peer(Role::S1);
    let mut series = Series::new(cx, "burst");
    for _ in 0..BURST {
        series.send(cx, sender, &stage.s1.id).await?;
    }
    for role in [Role::U1, Role::S1B] {
        let peer = stage.peer(role);
        // Those that are lost are judged by message.burst; this is about the order of what arrives.
        let places = series.arrived(cx, sender, &stage.s1.id, peer).await?;
        let log = peer.all(|arrival| series.number(arrival).is_some());
        let told = words::disorder(&places);
        let expected = format!("the order of sending for {}", peer.who);
        let number = |arrival: &Arrival| i64::try_from(series.number(arrival)?).ok();
        cx.check_by(
            cx.not_rising(&log, number, [peer.name.as_str()]),
            &message::ORDER,
            places.is_sorted() && !places.is_empty(),
            expected,
            told,
        );
        // A second delivery of the same envelope is a fault of its own, judged by delivery.no-duplicate.
        let mut told = HashSet::new();
        let mut once = log.clone();
        once.retain(|arrival| {
            let id = arrival.envelope_id();
            id.is_none_or(|id| told.insert(id.to_owned()))
        });
        let (by, hearer) = (&message::SEQ, [peer.name.as_str()]);
        delivery::rising(cx, by, "a rising seq", &once, message_seq, hearer);
    }
    Ok(())
}

async fn concurrent(cx: &mut Ctx) -> Flow {
    const ROUNDS: usize = 10;
    let writers = [Role::U1, Role::S1, Role::S1B, Role::S2];
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::S1, Role::S1B, Role::S2]).await?;
    let marker = cx.marker("concurrent");
    let mut own = Vec::new();
    for _ in writers {
        own.push((cx.session(&stage.account).await?.id, cx.marker("change")));
    }
    let subjects = own.clone();
    let (cx_ref, stage_ref, marker_ref) = (&*cx, &stage, &marker);
    let write = |(role, (own, change)): (Role, (String, String))| async move {
        let peer = stage_ref.peer(role);
        let mut version = json!(0);
        for n in 0..ROUNDS {
            let text = opaque::numbered(marker_ref, n);
            let message = json!({"sid": stage_ref.s1.id, "message": text});
            cx_ref.emit(peer, "message", message).await?;
            let text = opaque::numbered(&change, n);
            let change = session::METADATA.data(&own, &json!(text), &version);
            // One without an answer has no version to go on from.
            let Ok(answer) = cx_ref.ask(peer, "update-metadata", change).await? else {
                break;
            };
            version = answer.data["version"].clone();
        }
        Flow::Ok(())
    };
    let writes = writers.into_iter().zip(own).map(write);
    join_all(writes).await.into_iter().collect::<Flow>()?;
    stage.prove_silence(cx).await?;
    let mut updates = stage.peer(Role::U2).all(|arrival| arrival.name == "update");
    let mut told = HashSet::new();
    // A second delivery of the same envelope is a fault of its own, judged by delivery.no-duplicate.
    updates.retain(|arrival| {
        arrival
            .envelope_id()
            .is_none_or(|id| told.insert(id.to_owned()))
    });
    let seqs: Vec<_> = updates
        .iter()
        .map(|arrival| arrival.data["seq"].as_i64())
        .collect();
    let rises = seqs.windows(2).all(|pair| pair[0] < pair[1]);
    let told = if rises { "by seq" } else { "mixed" };
    cx.fact("update.seq-concurrent", told);
    cx.held(&SEQ_CONCURRENT);
    for (id, marker) in subjects {
        let changes = Wanted::update("update-session", &id);
        let mut changes: Vec<_> = updates
            .iter()
            .filter(|arrival| changes.matches(arrival) && arrival.raw.contains(&marker))
            .cloned()
            .collect();
        changes.sort_by_key(|arrival| arrival.data["body"]["metadata"]["version"].as_i64());
        let (by, number) = (&delivery::SEQ, delivery::update_seq);
        let expected = "a seq that rises with each change of one connection";
        delivery::rising(cx, by, expected, &changes, number, [Role::U2.name()]);
    }

    let wanted = Wanted::update("new-message", &marker);
    let messages: Vec<_> = updates
        .iter()
        .filter(|arrival| wanted.matches(arrival))
        .collect();
    if messages.is_empty() {
        cx.broken(&own::NO_LOSS, "messages of four senders", "none of them");
        return Ok(());
    }
    let seqs: Vec<_> = messages
        .iter()
        .filter_map(|arrival| message_seq(arrival))
        .collect();
    let unique = seqs.iter().collect::<HashSet<_>>().len() == messages.len();
    cx.check(
        &MESSAGE_SEQ_CONCURRENT,
        unique,
        "a seq of its own for each",
        words::list(&seqs),
    );
    cx.fact(
        "message.concurrent-order",
        if seqs.is_sorted() { "by seq" } else { "mixed" },
    );
    cx.held(&CONCURRENT_ORDER);
    Ok(())
}
