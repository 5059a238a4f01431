//! `message`: that a localId is handled once, and what has none each time.

use super::message::{
    REACHES, delivered, delivered_by, leaves_holes, message, message_seq, unseen_between,
};
use serde_json::{Value, json};

use touchstone_harness::{
    case::{Flow, case_table},
    ctx::Ctx,
    ledger::requirement_table,
    opaque,
    peer::{Arrival, Peer},
    stage::{Delivery, Role, Series, Stage, Wanted},
};

requirement_table! {
    LOCAL_ID = "message.local-id", Must, Specification,
        "A localId that was sent before in the same session makes no second message, also when both \
         are sent at the same time.";
    LOCAL_ID_CONTENT = "message.local-id-content", Must, Decision,
        "A localId that is sent again with another content changes nothing: one message is stored and \
         announced, with the first content.";
    LOCAL_ID_SEQ = "message.local-id-seq", Should, Decision,
        "A repeated localId uses up neither a seq of the session's messages nor one of the updates.";
    LOCAL_ID_SESSION = "message.local-id-per-session", Must, Decision,
        "A localId counts within its session: the same one in another session is another message.";
    NO_LOCAL_ID = "message.no-local-id", Should, Decision,
        "Messages without a localId, or with one that is no string, are never taken for repetitions, \
         and carry null.";
}

case_table! {
    /// Sends a message twice with the same localId over one connection, with forty others in between, then
    /// over another one, then ten times at once.
    ///
    /// Accepted is one `new-message` for each localId. A client repeats a message when it does not know
    /// whether the first one arrived. Typical cause of a failure: the localId is looked up in one step and
    /// inserted in another, without a unique index; or it is only remembered for one connection, or for the
    /// last few messages.
    "message.local-id" judges [LOCAL_ID] => local_id;

    /// Sends a localId again with another content, over another connection, and reads the messages over HTTP.
    ///
    /// Accepted is one announcement and one row, both with the first content. Typical cause of a failure: an
    /// upsert that updates what it finds.
    "message.local-id-content" needs [Rest, Messages] judges [LOCAL_ID_CONTENT] => local_id_content;

    /// Repeats a localId between two other messages, three times over.
    ///
    /// Accepted is that the messages around it have consecutive numbers, and that no seq of the updates is
    /// missing between them. A hole in the numbers costs every client a refetch. Typical cause of a
    /// failure: the number is drawn before it is known whether the localId was there.
    "message.local-id-seq" judges [LOCAL_ID_SEQ] => local_id_seq;

    /// Sends equal messages without a localId, with null, and with a number.
    ///
    /// Accepted is that all of them arrive, with null for the localId. Typical cause of a failure: null or
    /// a number is used as a key like any localId, so that the second message counts as a repetition.
    "message.no-local-id" judges [NO_LOCAL_ID] => no_local_id;

    /// Sends the same localId to two sessions of the account.
    ///
    /// Accepted are two messages. Typical cause of a failure: the localId is unique for the whole account.
    "message.local-id-per-session" judges [LOCAL_ID_SESSION] => local_id_per_session;
}

/// The number of different messages with `local_id` that a connection received. Deliveries of the same
/// envelope are a fault of delivery, judged elsewhere.
pub(super) fn different(peer: &Peer, local_id: &str) -> usize {
    let wanted = Wanted::update("new-message", local_id);
    let mut ids: Vec<_> = peer
        .all(|arrival| wanted.matches(arrival))
        .iter()
        .map(|arrival| arrival.envelope_id().unwrap_or_default().to_owned())
        .collect();
    ids.sort();
    ids.dedup();
    ids.len()
}

/// How many other messages come before the first repetition of a localId.
const BETWEEN: usize = 40;

async fn local_id(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::S1]).await?;
    let rows: [(&str, &[Role]); 3] = [
        ("twice over one connection", &[Role::U1, Role::U1]),
        ("over two connections", &[Role::U1, Role::S1]),
        (
            "ten times at once",
            &[
                Role::U1,
                Role::S1,
                Role::U1,
                Role::S1,
                Role::U1,
                Role::S1,
                Role::U1,
                Role::S1,
                Role::U1,
                Role::S1,
            ],
        ),
    ];
    for (told, senders) in rows {
        let local_id = cx.marker("local");
        let (same, others) = (cx.marker("same"), cx.marker("other"));
        let data = json!({"sid": stage.s1.id, "message": same, "localId": local_id});
        for (place, &sender) in senders.iter().enumerate() {
            // Who remembers the last messages alone is found out by others in between.
            for number in 0..if place == 1 { BETWEEN } else { 0 } {
                let mut between = message(&stage.s1.id, &cx.marker("between"));
                between["localId"] = json!(opaque::numbered(&others, number));
                cx.emit(stage.peer(sender), "message", between).await?;
            }
            cx.emit(stage.peer(sender), "message", data.clone()).await?;
        }
        let update = Delivery {
            wanted: Wanted::update("new-message", &local_id),
            reaches: &[Role::U2],
            by: &REACHES,
            spares: &[],
        };
        let deadline = cx.deadline();
        let wanted = |arrival: &Arrival| update.wanted.matches(arrival);
        if stage
            .peer(Role::U2)
            .wait_for(deadline, wanted)
            .await
            .is_none()
        {
            // Missing altogether: the stage finds out who is to blame.
            stage.observe(cx, &[update]).await?;
            continue;
        }
        // A message of the same sender to the same session comes after those before it.
        for &sender in &senders[..2] {
            let mut after = Series::new(cx, "after");
            let (sender, receiver) = (stage.peer(sender), stage.peer(Role::U2));
            after.send(cx, sender, &stage.s1.id).await?;
            after.arrived(cx, sender, &stage.s1.id, receiver).await?;
        }
        stage.prove_silence(cx).await?;
        stage.prove_silence(cx).await?;
        let count = different(stage.peer(Role::U2), &local_id);
        cx.check(
            &LOCAL_ID,
            count == 1,
            format!("one message for a localId that was sent {told}"),
            format!("{count} messages"),
        );
    }
    Ok(())
}

async fn local_id_seq(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    let mut own = Vec::new();
    for _ in 0..4 {
        let marker = cx.marker("plain");
        own.push(delivered(cx, &stage, message(&stage.s1.id, &marker), &marker).await?);
    }
    if leaves_holes(stage.peer(Role::U2), &own) {
        cx.held(&LOCAL_ID_SEQ);
        return Ok(());
    }
    let mut holes = Vec::new();
    for round in 1..=3 {
        let local_id = cx.marker("local");
        let text = cx.marker("first");
        let data = json!({"sid": stage.s1.id, "message": text, "localId": local_id});
        let first = delivered(cx, &stage, data.clone(), &local_id).await?;
        cx.emit(stage.peer(Role::U1), "message", data).await?;
        let marker = cx.marker("after");
        let second = delivered(cx, &stage, message(&stage.s1.id, &marker), &marker).await?;
        if different(stage.peer(Role::U2), &local_id) > 1 {
            // It was not taken for a repetition at all, which message.local-id judges.
            cx.held(&LOCAL_ID_SEQ);
            return Ok(());
        }
        let skipped_messages = message_seq(&first)
            .zip(message_seq(&second))
            .map_or(0, |(first, second)| second.saturating_sub(first + 1));
        let skipped_updates = unseen_between(stage.peer(Role::U2), &first, &second);
        // A server that loses an update leaves a hole too, but not each time.
        if skipped_messages > 0 || skipped_updates > 0 {
            holes.push(format!(
                "round {round}: {skipped_messages} of the messages, {skipped_updates} of the updates"
            ));
        }
    }
    cx.check(
        &LOCAL_ID_SEQ,
        holes.len() < 3,
        "consecutive numbers around a repeated localId",
        format!("numbers were used up in {}", holes.join("; ")),
    );
    Ok(())
}

async fn no_local_id(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    let mut end = Ok(());
    for (local_id, by) in [
        (None, &REACHES),
        (Some(Value::Null), &NO_LOCAL_ID),
        (Some(json!(17)), &NO_LOCAL_ID),
    ] {
        for _ in 0..2 {
            let marker = cx.marker("message");
            let mut data = message(&stage.s1.id, &marker);
            if let Some(local_id) = &local_id {
                data["localId"] = local_id.clone();
            }
            let seen = delivered_by(cx, by, &stage, data, &marker).await;
            let Some(seen) = Ctx::part(&mut end, seen)? else {
                continue;
            };
            let told = seen.data.pointer("/body/message/localId").cloned();
            let shown = told.as_ref().map_or("no localId".into(), Value::to_string);
            cx.check(
                &NO_LOCAL_ID,
                told == Some(Value::Null),
                "localId null",
                shown,
            );
        }
    }
    // The same text again is another message. A server that loses a single update does not do so in
    // each round.
    let mut merged = 0;
    for _ in 0..3 {
        let text = cx.marker("again");
        for _ in 0..2 {
            let data = message(&stage.s1.id, &text);
            cx.emit(stage.peer(Role::U1), "message", data).await?;
        }
        let after = cx.marker("after");
        delivered(cx, &stage, message(&stage.s1.id, &after), &after).await?;
        merged += usize::from(different(stage.peer(Role::U2), &text) < 2);
    }
    cx.check(
        &NO_LOCAL_ID,
        merged < 3,
        "two messages for one text that is sent twice without a localId",
        "one message",
    );
    end
}

async fn local_id_content(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::S1]).await?;
    let (local_id, first, second) = (cx.marker("local"), cx.marker("first"), cx.marker("second"));
    let mut data = message(&stage.s1.id, &first);
    data["localId"] = json!(local_id);
    delivered(cx, &stage, data.clone(), &first).await?;
    data["message"] = json!(second);
    cx.emit(stage.peer(Role::S1), "message", data).await?;
    // Another message of the same sender to the same session comes after it.
    let after = cx.marker("after");
    let sent = message(&stage.s1.id, &after);
    cx.emit(stage.peer(Role::S1), "message", sent).await?;
    let next = Delivery {
        wanted: Wanted::update("new-message", &after),
        reaches: &[Role::U2],
        by: &REACHES,
        spares: &[],
    };
    stage.observe(cx, &[next]).await?;
    let unheard = Wanted::update("new-message", &second);
    stage
        .observe_nothing(cx, &unheard, &LOCAL_ID_CONTENT)
        .await?;
    let path = format!("/v1/sessions/{}/messages", stage.s1.id);
    let listed = cx
        .rest(
            &LOCAL_ID_CONTENT,
            &stage.account,
            "GET",
            &path,
            &Value::Null,
        )
        .await?;
    let rows = listed["messages"].as_array().cloned().unwrap_or_default();
    let mut rows = rows
        .iter()
        .filter(|row| row["localId"] == local_id.as_str());
    let held = rows
        .next()
        .is_some_and(|row| row["content"]["c"] == first.as_str())
        && rows.next().is_none();
    cx.check(
        &LOCAL_ID_CONTENT,
        held,
        format!("one row with {first}"),
        listed,
    );
    Ok(())
}

async fn local_id_per_session(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    let other = cx.session(&stage.account).await?.id;
    let local_id = cx.marker("local");
    for sid in [&stage.s1.id, &other] {
        let marker = cx.marker("message");
        let mut data = message(sid, &marker);
        data["localId"] = json!(local_id);
        cx.emit(stage.peer(Role::U1), "message", data).await?;
        let update = Delivery {
            wanted: Wanted::update("new-message", &marker),
            reaches: &[Role::U2],
            by: &LOCAL_ID_SESSION,
            spares: &[],
        };
        stage.observe(cx, &[update]).await?;
    }
    Ok(())
}
