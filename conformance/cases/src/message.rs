//! `message`: who receives it, and in which order. That a localId is handled once is judged by
//! `message_local_id`.

use crate::readback::Watched;
use std::collections::HashSet;
use touchstone_harness::own;

use serde_json::{Value, json};

use touchstone_harness::{
    case::{Flow, case_table},
    ctx::{Ctx, Scope},
    focus::Clue,
    ledger::{Requirement, requirement_table},
    peer::{Arrival, Peer},
    stage::{Delivery, Role, Stage, Wanted},
    words,
};

requirement_table! {
    REACHES = "message.recipients", Must, Decision,
        "A message reaches the user-scoped connections and those of its session, once, except the \
         connection that sent it.";
    SKIPS_SENDER = "message.skips-sender", Must, Specification,
        "The connection that sent a message does not receive it back.";
    WRONG_SESSION = "message.wrong-session", Must, Specification,
        "A message does not reach connections of another session.";
    NOT_MACHINES = "message.not-machines", Should, Decision,
        "A message does not reach machine-scoped connections.";
    BODY = "new-message.body", Must, Specification,
        "The body of new-message has the message with its id, seq, content, localId and times.";
    KEYS = "new-message.keys", Should, Decision,
        "The body of new-message names the session `sid` and holds the content as encrypted text.";
    SEQ = "message.seq", Must, Decision,
        "Messages of a session are numbered from 1, each once, in increasing order.";
    ORDER = "message.order", Must, Decision,
        "Messages of one sender arrive in the order in which they were sent.";
    IDS = "message.ids", Must, Specification,
        "Each message has an id of its own.";
    MALFORMED = "message.malformed", Should, Decision,
        "A message without a usable session or without content is ignored.";
    FOREIGN = "message.foreign", Must, Decision,
        "An account cannot put a message into another account's session.";
}

case_table! {
    /// A user-scoped connection sends a message, and then a session-scoped one does.
    ///
    /// Accepted is one `new-message` for every user-scoped connection and every connection of the session
    /// but the sending one, none for another session or a machine, and none for another account. Typical
    /// causes of a failure: the sender is told by its account instead of its connection; the recipients are
    /// all connections of the account, without a look at their scope and session.
    "message.recipients" judges [REACHES, SKIPS_SENDER, WRONG_SESSION, NOT_MACHINES, BODY, KEYS]
        => recipients;

    /// Sends messages one after the other, each after the one before has arrived.
    ///
    /// Accepted is a `seq` that begins with 1 and rises with each message. Clients use it as their cursor:
    /// a message with a number that they have seen is lost to them. Each has an id of its own. Typical
    /// cause of a failure: one counter serves all sessions of the account, or the number is the count of
    /// rows, which two messages at once read alike.
    "message.seq" judges [SEQ, IDS] => seq;

    /// Sends forty messages at once over one connection.
    ///
    /// Accepted is that each listener receives each of them once, in the order in which they were sent.
    /// Typical cause of a failure: handlers of one connection run side by side.
    "message.burst" judges [
        ORDER, own::NO_LOSS, own::NO_DUPLICATE
    ] => burst;

    /// Sends messages whose session or content is missing or null, and whose session is no text.
    ///
    /// Accepted is silence, and a connection that is served afterwards. Typical cause of a failure: a
    /// missing session or content is stored as null, or the handler throws and the connection ends.
    "message.malformed" judges [MALFORMED] => malformed_data;

    /// Another account sends a message to this account's session, and to one that does not exist.
    ///
    /// Accepted is silence, and a connection that is served afterwards. Typical cause of a failure: the
    /// session is looked up by its id alone, without the account of the connection.
    "message.foreign" judges [FOREIGN] => foreign;
}

/// The marker in the content of a message.
pub(super) fn message(sid: &str, content: &str) -> Value {
    json!({"sid": sid, "message": content})
}

async fn recipients(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &Role::ALL).await?;
    let everyone = [Role::U1, Role::U2, Role::S1, Role::S1B];
    for sender in [Role::U1, Role::S1] {
        let marker = cx.marker("message");
        let local_id = cx.marker("local");
        let mut data = message(&stage.s1.id, &marker);
        data["localId"] = json!(local_id);
        cx.emit(stage.peer(sender), "message", data).await?;
        let reaches: Vec<_> = everyone
            .into_iter()
            .filter(|role| *role != sender)
            .collect();
        let spares = [
            (&[sender][..], &SKIPS_SENDER),
            (&[Role::S2][..], &WRONG_SESSION),
            (&[Role::M1, Role::M2][..], &NOT_MACHINES),
        ];
        let update = Delivery {
            wanted: Wanted::update("new-message", &marker),
            reaches: &reaches,
            by: &REACHES,
            spares: &spares,
        };
        let seen = stage.observe(cx, &[update]).await?;
        let body = &seen[0].data["body"];
        cx.schema(&BODY, &KEYS, "update/new-message", body)?;
        cx.equal(
            &BODY,
            "localId",
            &json!(local_id),
            &body["message"]["localId"],
        );
        if let Some(sid) = body.get("sid") {
            cx.equal(&KEYS, "sid", &json!(stage.s1.id), sid);
        }
    }
    Ok(())
}

/// Sends a message, sees that it reaches `u2`, and gives what arrived.
pub(super) async fn delivered(
    cx: &mut Ctx,
    stage: &Stage,
    data: Value,
    marker: &str,
) -> Flow<Arrival> {
    delivered_by(cx, &REACHES, stage, data, marker).await
}

/// As [`delivered`], where the message is one that a server may fail to understand: `by` judges that.
pub(super) async fn delivered_by(
    cx: &mut Ctx,
    by: &'static Requirement,
    stage: &Stage,
    data: Value,
    marker: &str,
) -> Flow<Arrival> {
    cx.emit(stage.peer(Role::U1), "message", data).await?;
    let update = Delivery {
        wanted: Wanted::update("new-message", marker),
        reaches: &[Role::U2],
        by,
        spares: &[],
    };
    let mut seen = stage.observe(cx, &[update]).await?;
    Ok(seen.remove(0))
}

pub(super) fn message_seq(arrival: &Arrival) -> Option<u64> {
    arrival.data.pointer("/body/message/seq")?.as_u64()
}

fn update_seq(arrival: &Arrival) -> Option<u64> {
    arrival.data["seq"].as_u64()
}

async fn seq(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    // Another session has numbers of its own.
    let other = cx.session(&stage.account).await?;
    let elsewhere = cx.marker("elsewhere");
    delivered(cx, &stage, message(&other.id, &elsewhere), &elsewhere).await?;
    let (mut seqs, mut ids) = (Vec::new(), HashSet::new());
    for _ in 0..4 {
        let marker = cx.marker("message");
        let data = message(&stage.s1.id, &marker);
        let seen = delivered(cx, &stage, data, &marker).await?;
        seqs.push(message_seq(&seen));
        let id = &seen.data["body"]["message"]["id"];
        let is_new = ids.insert(id.to_string());
        cx.check(&IDS, is_new, "an id of its own", format!("{id} again"));
    }
    let rising = seqs[0] == Some(1) && seqs.windows(2).all(|pair| pair[0] < pair[1]);
    cx.check(
        &SEQ,
        rising,
        "seq from 1, increasing",
        words::list_or_none(seqs),
    );
    Ok(())
}

/// How many messages a burst has: more than enough to meet a fault in each tenth update.
const BURST: usize = 40;

async fn burst(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::S1]).await?;
    let mut markers = Vec::new();
    for _ in 0..BURST {
        let marker = cx.marker("burst");
        cx.emit(
            stage.peer(Role::U1),
            "message",
            message(&stage.s1.id, &marker),
        )
        .await?;
        markers.push(marker);
    }
    let deadline = cx.deadline();
    let last = markers.last().cloned().unwrap_or_default();
    for role in [Role::U2, Role::S1] {
        let wanted = Wanted::update("new-message", &last);
        stage
            .peer(role)
            .wait_for(deadline, |arrival| wanted.matches(arrival))
            .await;
    }
    stage.prove_silence(cx).await?;
    for role in [Role::U2, Role::S1] {
        let log = stage
            .peer(role)
            .all(|arrival| arrival.kind() == Some("new-message"));
        judge_burst(cx, stage.peer(role), &markers, &log);
    }
    Ok(())
}

fn judge_burst(cx: &mut Ctx, listener: &Peer, markers: &[String], log: &[Arrival]) {
    let name = &listener.name;
    let place = |marker: &String| log.iter().position(|arrival| arrival.raw.contains(marker));
    let places: Vec<_> = markers.iter().map(place).collect();
    let lost = places.iter().filter(|place| place.is_none()).count();
    if lost == BURST {
        // Losing all is not losing some: messages do not go there at all.
        cx.broken(
            &REACHES,
            format!("the messages of a burst for {name}"),
            "none of them",
        );
        return;
    }
    let first_lost = markers
        .iter()
        .zip(&places)
        .find(|(_, place)| place.is_none());
    cx.check_by(
        Clue::of(first_lost.map(|(marker, _)| marker)).missing([name.as_str()]),
        &own::NO_LOSS,
        lost == 0,
        format!("{BURST} messages for {name}"),
        format!("{lost} of them never arrived"),
    );
    let copies = |marker: &&String| {
        log.iter()
            .filter(|arrival| arrival.raw.contains(marker.as_str()))
            .count()
    };
    let twice = markers.iter().filter(|marker| copies(marker) > 1).count();
    let first_twice = markers.iter().find(|marker| copies(marker) > 1);
    cx.check_by(
        Clue::of(first_twice).wrong([name.as_str()]),
        &own::NO_DUPLICATE,
        twice == 0,
        format!("each message once for {name}"),
        format!("{twice} of {BURST} arrived more than once"),
    );
    let arrived: Vec<_> = places.into_iter().flatten().collect();
    let ordered = arrived.is_sorted();
    let number = |arrival: &Arrival| super::delivery::number_among(markers, arrival);
    let mut messages = log.to_vec();
    messages.retain(|arrival| number(arrival).is_some());
    cx.check_by(
        cx.not_rising(&messages, number, [name.as_str()]),
        &ORDER,
        ordered,
        format!("the order of sending at {name}"),
        words::disorder(&arrived),
    );
}

/// Whether a server leaves numbers unused where nothing happens between updates that `peer` has seen: of
/// such a server a hole tells nothing.
pub(crate) fn leaves_holes(peer: &Peer, updates: &[Arrival]) -> bool {
    let mut pairs = updates.iter().zip(updates.iter().skip(1));
    pairs.any(|(first, second)| unseen_between(peer, first, second) > 0)
}

/// How many update seqs between two arrivals `peer`, which hears of everything, has not seen.
pub(crate) fn unseen_between(peer: &Peer, first: &Arrival, second: &Arrival) -> u64 {
    let (Some(low), Some(high)) = (update_seq(first), update_seq(second)) else {
        return 0;
    };
    let seen: HashSet<_> = peer
        .all(|arrival| arrival.name == "update")
        .iter()
        .filter_map(update_seq)
        .collect();
    // A server whose seq is not a counter (a timestamp, say) has no holes to speak of.
    if high.saturating_sub(low) > 1_000 {
        return 0;
    }
    (low + 1..high).filter(|seq| !seen.contains(seq)).count() as u64
}

async fn malformed_data(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    let peer = stage.peer(Role::U1);
    let other = cx.session(&stage.account).await?;
    let watched = Watched::of(&stage);
    let before = watched.read(cx).await?;
    // In the localId, which stays where the content is what is missing.
    let marker = cx.marker("malformed");
    let mut rows = vec![
        json!({"sid": stage.s1.id, "localId": marker}),
        json!({"sid": stage.s1.id, "message": null, "localId": marker}),
        json!({"message": marker}),
    ];
    for sid in [
        Value::Null,
        json!(7),
        json!(true),
        json!({"not": ""}),
        json!([stage.s1.id]),
    ] {
        rows.push(json!({"sid": sid, "message": marker}));
    }
    for row in rows {
        cx.emit(peer, "message", row).await?;
    }
    let served = cx.round_trip(peer).await?;
    let expected = "a ping that is answered afterwards";
    cx.check(&MALFORMED, served, expected, "no answer");
    let own = cx.marker("own");
    let sent = (peer, "message", message(&other.id, &own));
    let arrives = Wanted::update("new-message", own);
    stage
        .same_road(cx, sent, &arrives, stage.peer(Role::U2))
        .await?;
    let wanted = Wanted::update("new-message", marker);
    stage.observe_nothing(cx, &wanted, &MALFORMED).await?;
    watched.unchanged(cx, &before, &MALFORMED).await
}

async fn foreign(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::S1, Role::V1]).await?;
    let stranger = stage.peer(Role::V1);
    let token = stage.other_token();
    let listener = cx.connect("listener", token, Scope::User).await?;
    let watched = Watched::of(&stage);
    let before = watched.read(cx).await?;
    let marker = cx.marker("foreign");
    let nowhere = cx.marker("no-such-session");
    for sid in [stage.s1.id.as_str(), &nowhere] {
        cx.emit(stranger, "message", message(sid, &marker)).await?;
    }
    let served = cx.round_trip(stranger).await?;
    cx.check(
        &FOREIGN,
        served,
        "a ping that is answered afterwards",
        "no answer",
    );
    let own = cx.marker("own");
    let sent = (stranger, "message", message(stage.other_session(), &own));
    let arrives = Wanted::update("new-message", own);
    stage.same_road(cx, sent, &arrives, &listener).await?;
    stage
        .observe_nothing(cx, &Wanted::update("new-message", marker), &FOREIGN)
        .await?;
    watched.unchanged(cx, &before, &FOREIGN).await
}
