//! What holds for every update: nothing is lost or doubled, nothing reaches another account, and the
//! envelope with its seq.

use serde_json::json;
use touchstone_harness::own::{ISOLATED, NO_LOSS, ORDERED};

use super::message::{leaves_holes, unseen_between};
use touchstone_harness::{
    case::{Flow, Stop, case_table},
    ctx::Ctx,
    focus::Clue,
    ledger::{Requirement, requirement_table},
    peer::Arrival,
    stage::{Delivery, Role, Stage, Wanted},
    words,
};

requirement_table! {
    ENVELOPE = "update.envelope", Must, Specification,
        "An update is an object of id, seq, body with its type t, and createdAt.";
    EPHEMERAL = "ephemeral.envelope", Must, Specification,
        "An ephemeral is an object with its type.";
    ENVELOPE_DETAILS = "update.envelope-details", Should, Decision,
        "Times in envelopes are Unix milliseconds, and seq is an integer.";
    SEQ = "update.seq-increases", Should, Decision,
        "The seq of the updates that one connection causes one after the other rises with each.";
    SEQ_UNUSED = "update.seq-unused", Should, Decision,
        "A call that is refused or mismatches uses up no seq.";
    ACK_ORDER = "update.ack-order", Info, Decision,
        "An update may be sent before or after its cause is acknowledged.";
    HOLES = "update.seq-holes", Info, Decision,
        "The seq of updates may have holes.";
}

case_table! {
    /// Causes updates of several kinds, one after the other.
    ///
    /// Accepted is a `seq` that rises from each to the next. Clients take it for monotonic. Whether it has
    /// holes, and whether the sender sees its update before its acknowledgement, is noted on the dialect
    /// card. Typical cause of a failure: `seq` is drawn in one step and the update is sent in another one,
    /// so that a later number overtakes an earlier one; or each kind of update has a counter of its own.
    "delivery.seq" judges [SEQ, ACK_ORDER, HOLES] => seq;

    /// Changes a session thirty times, each time after the one before was acknowledged.
    ///
    /// Accepted is that every change arrives, in this order, and that its `seq` rises with each. Typical
    /// cause of a failure: updates are sent from tasks that nobody awaits, or go through several workers of
    /// a broker.
    "delivery.order" judges [ORDERED, SEQ, NO_LOSS] => order;

    /// Makes calls that fail or mismatch between two updates, three times over.
    ///
    /// Accepted is that no `seq` is missing between the two. Typical cause of a failure: `seq` is drawn at
    /// the beginning of the handler, before it is known whether anything changes.
    "delivery.seq-unused" judges [SEQ_UNUSED] => seq_unused;

    /// Causes updates and ephemerals of several kinds and looks at their envelopes.
    ///
    /// Accepted is `{id, seq, body: {t, …}, createdAt}` and `{type, …}`. Typical cause of a failure:
    /// updates and ephemerals are put together in each handler by hand, and one of them lacks a key or has
    /// it at another level.
    "delivery.envelopes" judges [ENVELOPE, EPHEMERAL, ENVELOPE_DETAILS] => envelopes;

    /// Changes a session and a machine and sends a message and a heartbeat, while another account listens
    /// with a user-scoped connection and with this account's session and machine ids.
    ///
    /// Accepted is silence on all of the other account's connections. A server may refuse such ids. Typical
    /// cause of a failure: a room is named after a session or machine id alone, and whoever connects with
    /// that id joins it, whatever its account.
    "delivery.isolated" judges [ISOLATED] => isolated;
}

/// Changes the session's metadata through `u1`, and gives the arrival at `u2`.
async fn changed(cx: &mut Ctx, stage: &Stage) -> Flow<Arrival> {
    let cas = &super::session::METADATA;
    let marker = cx.marker("change");
    cas.write(cx, stage.peer(Role::U1), &stage.s1.id, &json!(marker))
        .await?;
    let update = Delivery {
        wanted: Wanted::update("update-session", &marker),
        reaches: &[Role::U1, Role::U2],
        by: &super::session::METADATA_REACHES,
        spares: &[],
    };
    stage.observe(cx, &[update]).await?;
    let wanted = Wanted::update("update-session", &marker);
    let mut seen = stage.peer(Role::U2).all(|arrival| wanted.matches(arrival));
    match seen.is_empty() {
        true => Err(Stop::Judged),
        false => Ok(seen.remove(0)),
    }
}

async fn seq(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::M1]).await?;
    let mut arrivals = vec![changed(cx, &stage).await?];
    let marker = cx.marker("message");
    let message = json!({"sid": stage.s1.id, "message": marker});
    cx.emit(stage.peer(Role::U1), "message", message).await?;
    let sent = Delivery {
        wanted: Wanted::update("new-message", &marker),
        reaches: &[Role::U2],
        by: &super::message::REACHES,
        spares: &[],
    };
    arrivals.extend(stage.observe(cx, &[sent]).await?);
    arrivals.push(changed(cx, &stage).await?);
    let marker = cx.marker("machine");
    let cas = &super::machine::METADATA;
    cas.write(cx, stage.peer(Role::U1), stage.m1_id(), &json!(marker))
        .await?;
    let updated = Delivery {
        wanted: Wanted::update("update-machine", &marker),
        reaches: &[Role::U2, Role::M1],
        by: &super::machine::METADATA_REACHES,
        spares: &[],
    };
    arrivals.extend(stage.observe(cx, &[updated]).await?);
    arrivals.push(changed(cx, &stage).await?);
    let hearers = [Role::U1, Role::U2].map(Role::name);
    rising(cx, &SEQ, "a rising seq", &arrivals, update_seq, hearers);
    let holes = match (arrivals.first(), arrivals.last()) {
        (Some(first), Some(last)) => unseen_between(stage.peer(Role::U2), first, last) > 0,
        _ => false,
    };
    cx.fact("update.seq-holes", holes);
    cx.held(&HOLES);
    ack_order(cx, &stage).await
}

/// The number of an update.
pub(crate) fn update_seq(arrival: &Arrival) -> Option<i64> {
    arrival.data["seq"].as_i64()
}

/// Which of `markers` an arrival holds, counted from 0.
pub(crate) fn number_among(markers: &[String], arrival: &Arrival) -> Option<i64> {
    let of = markers
        .iter()
        .position(|marker| arrival.raw.contains(marker));
    of.and_then(|number| i64::try_from(number).ok())
}

/// Judges that `number` rises from each of `arrivals` at these connections to the next.
pub(crate) fn rising<'n>(
    cx: &mut Ctx,
    by: &'static Requirement,
    expected: &str,
    arrivals: &[Arrival],
    number: impl Fn(&Arrival) -> Option<i64>,
    names: impl IntoIterator<Item = &'n str>,
) {
    let numbers: Vec<_> = arrivals.iter().map(&number).collect();
    let rises = numbers.windows(2).all(|pair| pair[0] < pair[1]);
    let clue = cx.not_rising(arrivals, number, names);
    cx.check_by(clue, by, rises, expected, words::list_or_none(numbers));
}

async fn order(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    let cas = &super::session::METADATA;
    let mut markers = Vec::new();
    for _ in 0..30 {
        let marker = cx.marker("change");
        cas.write(cx, stage.peer(Role::U1), &stage.s1.id, &json!(marker))
            .await?;
        markers.push(marker);
    }
    stage.prove_silence(cx).await?;
    let log = stage
        .peer(Role::U2)
        .all(|arrival| arrival.kind() == Some(cas.update));
    let place = |marker: &String| log.iter().position(|arrival| arrival.raw.contains(marker));
    let number = |(number, marker)| Some((place(marker)?, number));
    let mut arrived: Vec<_> = markers.iter().enumerate().filter_map(number).collect();
    arrived.sort_unstable();
    let numbers: Vec<usize> = arrived.into_iter().map(|(_, number)| number).collect();
    if numbers.is_empty() {
        let expected = "the changes of the session";
        cx.broken(&super::session::METADATA_REACHES, expected, "none of them");
        return Err(Stop::Judged);
    }
    let lost = markers.len() - numbers.len();
    let first_lost = markers.iter().find(|marker| place(marker).is_none());
    cx.check_by(
        Clue::of(first_lost).missing([Role::U2.name()]),
        &NO_LOSS,
        lost == 0,
        "every change",
        format!("{lost} never arrived"),
    );
    let told = words::disorder(&numbers);
    let is_change = |arrival: &Arrival| number_among(&markers, arrival);
    let mut changes = log.clone();
    changes.retain(|arrival| is_change(arrival).is_some());
    cx.check_by(
        cx.not_rising(&changes, is_change, [Role::U2.name()]),
        &ORDERED,
        numbers.is_sorted(),
        "the order of the changes",
        told,
    );
    // In the order of the causes, so that a change that came late is not blamed twice; and
    // each once: a second delivery is a fault of its own, judged by delivery.no-duplicate.
    changes.sort_by_key(is_change);
    changes.dedup_by_key(|arrival| is_change(arrival));
    let hearers = [Role::U2.name()];
    rising(cx, &SEQ, "a rising seq", &changes, update_seq, hearers);
    Ok(())
}

/// Which the sender sees first: its own update or its acknowledgement.
async fn ack_order(cx: &mut Ctx, stage: &Stage) -> Flow {
    let cas = &super::session::METADATA;
    let sender = stage.peer(Role::U1);
    let start = json!(cx.marker("before"));
    let version = cas.write(cx, sender, &stage.s1.id, &start).await?;
    let marker = cx.marker("order");
    let data = cas.data(&stage.s1.id, &json!(marker), &json!(version));
    let answer = cx.ask(sender, cas.event, data).await?;
    let deadline = cx.deadline();
    let wanted = Wanted::update("update-session", &marker);
    let update = sender
        .wait_for(deadline, |arrival| wanted.matches(arrival))
        .await;
    if let (Ok(answer), Some(update)) = (answer, update) {
        let order = if answer.order < update.order {
            "ack-first"
        } else {
            "broadcast-first"
        };
        cx.fact("update.ack-order", order);
    }
    cx.held(&ACK_ORDER);
    Ok(())
}

async fn seq_unused(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    let peer = stage.peer(Role::U1);
    let mut own = Vec::new();
    for _ in 0..4 {
        own.push(changed(cx, &stage).await?);
    }
    if leaves_holes(stage.peer(Role::U2), &own) {
        cx.held(&SEQ_UNUSED);
        return Ok(());
    }
    let unknown = cx.marker("no-such-session");
    let refused = cx.marker("refused");
    let mut used = Vec::new();
    for round in 1..=3 {
        let first = changed(cx, &stage).await?;
        for cas in [&super::session::METADATA, &super::session::STATE] {
            let stale = cas.data(&stage.s1.id, &json!(refused), &json!(-1));
            cx.emit(peer, cas.event, stale).await?;
            let missing = cas.data(&unknown, &json!(refused), &json!(0));
            cx.emit(peer, cas.event, missing).await?;
            cx.emit(peer, cas.event, json!({"sid": stage.s1.id}))
                .await?;
        }
        cx.emit(peer, "artifact-update", json!({"artifactId": unknown}))
            .await?;
        cx.emit(peer, "message", json!({"sid": unknown, "message": refused}))
            .await?;
        let second = changed(cx, &stage).await?;
        let count = unseen_between(stage.peer(Role::U2), &first, &second);
        // A lost update leaves a hole as well, but not in each round.
        if count > 0 {
            used.push(format!("{count} in round {round}"));
        }
    }
    cx.check(
        &SEQ_UNUSED,
        used.len() < 3,
        "consecutive seqs",
        format!("missing {}", used.join(", ")),
    );
    Ok(())
}

async fn envelopes(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::M1]).await?;
    changed(cx, &stage).await?;
    let time = cx.recent_time();
    let alive = json!({"sid": stage.s1.id, "time": time});
    cx.emit(stage.peer(Role::U1), "session-alive", alive)
        .await?;
    let message = json!({"sid": stage.s1.id, "message": cx.marker("message")});
    cx.emit(stage.peer(Role::U1), "message", message).await?;
    // By its name and content alone, since its type is what is under judgment.
    let told =
        |arrival: &Arrival| arrival.name == "ephemeral" && arrival.raw.contains(&stage.s1.id);
    stage.peer(Role::U2).wait_for(cx.deadline(), told).await;
    let shapes = [
        ("update", "envelope/update", &ENVELOPE),
        ("ephemeral", "envelope/ephemeral", &EPHEMERAL),
    ];
    for (event, schema, by) in shapes {
        for arrival in stage.peer(Role::U2).all(|arrival| arrival.name == event) {
            cx.schema(by, &ENVELOPE_DETAILS, schema, &arrival.data)?;
        }
    }
    let activity = Delivery {
        wanted: Wanted::ephemeral("activity", &stage.s1.id),
        reaches: &[Role::U2],
        by: &super::presence::ALIVE,
        spares: &[],
    };
    stage.observe(cx, &[activity]).await?;
    Ok(())
}

async fn isolated(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &Role::ALL).await?;
    let sender = stage.peer(Role::U1);
    let session = cx.marker("session");
    let cas = &super::session::METADATA;
    cas.write(cx, sender, &stage.s1.id, &json!(session)).await?;
    let machine = cx.marker("machine");
    let cas = &super::machine::METADATA;
    cas.write(cx, sender, stage.m1_id(), &json!(machine))
        .await?;
    let message = cx.marker("message");
    cx.emit(
        sender,
        "message",
        json!({"sid": stage.s1.id, "message": message}),
    )
    .await?;
    // Of a session without connections, whose coming a server may announce as well.
    let quiet = cx.session(&stage.account).await?;
    let alive = json!({"sid": quiet.id, "time": cx.recent_time()});
    cx.emit(sender, "session-alive", alive).await?;
    let one = |wanted, by| Delivery {
        wanted,
        reaches: &[Role::U2],
        by,
        spares: &[],
    };
    let deliveries = [
        one(
            Wanted::update("update-session", session),
            &super::session::METADATA_REACHES,
        ),
        one(
            Wanted::update("update-machine", machine),
            &super::machine::METADATA_REACHES,
        ),
        one(
            Wanted::update("new-message", message),
            &super::message::REACHES,
        ),
        one(
            Wanted::ephemeral("activity", &quiet.id),
            &super::presence::ALIVE,
        ),
    ];
    stage.observe(cx, &deliveries).await?;
    Ok(())
}
