//! Messages over HTTP: the rows that the socket's messages are, with cursors, and posting them.

use crate::message;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{different, find, status};
use touchstone_harness::{
    case::{Flow, case_table},
    ctx::{Ctx, Scope},
    ledger::requirement_table,
    peer::Arrival,
    stage::{Delivery, Role, Stage, Wanted},
    words,
};

requirement_table! {
    SAME_ROWS = "rest.messages.same-rows", Should, Decision,
        "Messages that were sent over the socket are read over HTTP with the same id, seq, content and \
         localId as in new-message, newest first.";
    CURSORS = "rest.messages.cursors", Should, Decision,
        "after_seq and before_seq with a limit give each message once, sorted, in ascending order for \
         after_seq, and hasMore tells whether others follow.";
    BEFORE_ORDER = "rest.messages.before-order", Info, Decision,
        "A page of before_seq may have the oldest or the newest first; the lowest seq is the next cursor.";
    POST_REACHES = "rest.messages.post-recipients", Should, Decision,
        "A posted message reaches every user-scoped connection and those of its session: nobody is \
         skipped, since no connection sent it.";
    POST_SEQS = "rest.messages.post-seqs", Should, Decision,
        "A POST answers the seq of each message, as new-message has it.";
    POST_AFTER = "rest.messages.post-answers-after", Info, Decision,
        "A POST may be answered before or after its broadcasts are sent.";
    POST_LOCAL_ID = "rest.messages.post-local-id", Should, Decision,
        "A localId that is known, from the socket or from HTTP, makes no second message, and is answered \
         with the first one's seq.";
    POST_BOUNDS = "rest.messages.post-bounds", Should, Decision,
        "An empty batch, and one of more than a hundred messages, is refused and stores nothing; one of a \
         hundred is stored.";
}

case_table! {
    /// Sends messages over the socket, while others listen and while nobody does, and reads them over HTTP.
    ///
    /// Accepted are the same rows, newest first, and 404 for another account. Typical cause of a failure:
    /// the order is that of the table instead of the newest first, the session is looked up without the
    /// account, or a message is stored only where somebody is there to receive it.
    "rest.messages.list" needs [Rest, Messages] judges [SAME_ROWS] => list;

    /// Reads seven messages three at a time, forwards and backwards, and all seven at once.
    ///
    /// Accepted is each message once, in ascending order on every page of `after_seq` and in either order
    /// on those of `before_seq`, with `hasMore` false on the last, also when it is full. Typical cause of a
    /// failure: the cursor is compared with `>=`, or `hasMore` is true whenever a page is full.
    "rest.messages.cursors" needs [Rest, MessagePosts] judges [CURSORS, BEFORE_ORDER] => cursors;

    /// Posts a batch of three while all kinds of connections listen.
    ///
    /// Accepted is one `new-message` each for users and for the session's connections, with the seqs of the
    /// answer. Whether they are sent before the answer, or how long after it, is noted on the dialect card.
    /// Typical cause of a failure: the batch is stored and not announced, or the messages are announced
    /// from tasks that run side by side.
    "rest.messages.post" needs [Rest, MessagePosts] judges [
        POST_REACHES, POST_SEQS, POST_AFTER, message::WRONG_SESSION, message::NOT_MACHINES
    ] => post;

    /// Posts a message whose localId was sent over the socket, and one twice in a batch, which is then sent
    /// over the socket; then batches of none, of a hundred and one, and of a hundred, twice; and reads the
    /// long session that this makes.
    ///
    /// Accepted is one message for each localId, with one seq in all answers; then 400, 400, and a seq for
    /// each of the hundred; then all messages on a page of 500, `hasMore` on a smaller one, and the newest
    /// message at the top of the list. Typical cause of a failure: localIds are only compared with earlier
    /// messages and not within the batch, bounds are checked after something was stored, or a list is cut
    /// before it is sorted.
    "rest.messages.post-again" needs [Rest, MessagePosts] judges [
        POST_LOCAL_ID, POST_BOUNDS, CURSORS, SAME_ROWS
    ] => again;
}

/// Sends `count` messages over the socket and gives what `u2` received.
async fn sent(cx: &mut Ctx, stage: &Stage, count: usize) -> Flow<Vec<Arrival>> {
    let mut arrivals = Vec::new();
    for _ in 0..count {
        let marker = cx.marker("message");
        let data = json!({"sid": stage.s1.id, "message": marker, "localId": cx.marker("local")});
        cx.emit(stage.peer(Role::U1), "message", data).await?;
        let update = Delivery {
            wanted: Wanted::update("new-message", marker),
            reaches: &[Role::U2],
            by: &message::REACHES,
            spares: &[],
        };
        arrivals.extend(stage.observe(cx, &[update]).await?);
    }
    Ok(arrivals)
}

/// The seqs of a page.
fn seqs(page: &Value) -> Vec<i64> {
    let rows = page["messages"].as_array().map_or(&[][..], Vec::as_slice);
    rows.iter().filter_map(|row| row["seq"].as_i64()).collect()
}

/// What a session's connection sends while no other connection of the account is there.
async fn unheard(cx: &mut Ctx) -> Flow {
    let account = cx.account().await?;
    let session = cx.session(&account).await?;
    let scope = Scope::Session(&session.id);
    let alone = cx.connect("alone", account.token(), scope).await?;
    let marker = cx.marker("unheard");
    let data = json!({"sid": session.id, "message": marker});
    cx.emit(&alone, "message", data).await?;
    // With many servers it is handled by then, so that a replay reads the same.
    cx.ask(&alone, "ping", ()).await?.ok();
    let path = format!("/v1/sessions/{}/messages", session.id);
    let mut tries = cx.tries();
    loop {
        let is_last = tries.next().await;
        let listed = cx
            .rest(&SAME_ROWS, &account, "GET", &path, &Value::Null)
            .await?;
        let stored = listed["messages"].to_string().contains(&marker);
        if stored || is_last {
            let expected = "a message that was sent while nobody else was connected";
            cx.check(&SAME_ROWS, stored, expected, &listed);
            return Ok(());
        }
    }
}

async fn list(cx: &mut Ctx) -> Flow {
    unheard(cx).await?;
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::V1]).await?;
    let arrivals = sent(cx, &stage, 3).await?;
    let path = format!("/v1/sessions/{}/messages", stage.s1.id);
    let listed = cx
        .rest(&SAME_ROWS, &stage.account, "GET", &path, &Value::Null)
        .await?;
    let nothing = Value::Null;
    for arrival in &arrivals {
        let message = &arrival.data["body"]["message"];
        let id = message["id"].as_str().unwrap_or_default();
        let row = find(&listed["messages"], "id", id).unwrap_or(&nothing);
        for key in ["id", "seq", "content", "localId"] {
            cx.equal(&SAME_ROWS, key, &message[key], &row[key]);
        }
    }
    let newest_first: Vec<_> = seqs(&listed);
    cx.check(
        &SAME_ROWS,
        newest_first.is_sorted_by(|a, b| a > b),
        "the newest message first",
        format!("the messages with seq {}", words::list(&newest_first)),
    );
    let stranger = cx.account().await?;
    status(cx, &SAME_ROWS, &stranger, ("GET", &path, &Value::Null), 404).await?;
    Ok(())
}

async fn cursors(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    let arrivals = sent(cx, &stage, 7).await?;
    let all: Vec<_> = arrivals
        .iter()
        .filter_map(|arrival| arrival.data["body"]["message"]["seq"].as_i64())
        .collect();
    let path = format!("/v3/sessions/{}/messages", stage.s1.id);
    let past = all.last().map_or(1, |last| last + 1);
    let rows = [
        ("after_seq", 0, 3),
        ("before_seq", past, 3),
        ("after_seq", 0, 7),
        ("before_seq", past, 7),
    ];
    for (name, mut cursor, limit) in rows {
        let forwards = name == "after_seq";
        let mut seen = Vec::new();
        // Seven messages are three pages; pages that never end are stopped at ten.
        for _ in 0..10 {
            let page = format!("{path}?{name}={cursor}&limit={limit}");
            let page = cx
                .rest(&CURSORS, &stage.account, "GET", &page, &Value::Null)
                .await?;
            let found = seqs(&page);
            let falls = found.iter().rev().is_sorted();
            if !forwards && found.len() > 1 {
                let told = if falls {
                    "newest first"
                } else {
                    "oldest first"
                };
                cx.fact("rest.messages.before-order", told);
            }
            let sorted = found.is_sorted() || (!forwards && falls);
            let fits = found.len() <= limit && sorted;
            let expected = format!("at most {limit} messages in order");
            cx.check(&CURSORS, fits, expected, words::list(&found));
            let edge = if forwards {
                found.iter().max()
            } else {
                found.iter().min()
            };
            let Some(edge) = edge else { break };
            cursor = *edge;
            seen.extend(found);
            let more = page["hasMore"] == true;
            let left = seen.len() < all.len();
            let expected = format!(
                "hasMore {left} after {} of {} messages",
                seen.len(),
                all.len()
            );
            cx.check(
                &CURSORS,
                more == left,
                expected,
                format!("hasMore {}", page["hasMore"]),
            );
            if !more {
                break;
            }
        }
        seen.sort_unstable();
        cx.check(
            &CURSORS,
            seen == all,
            format!("{} by {name}", words::list(&all)),
            words::list(&seen),
        );
    }
    cx.held(&BEFORE_ORDER);
    Ok(())
}

async fn post(cx: &mut Ctx) -> Flow {
    let cast = [
        Role::U1,
        Role::U2,
        Role::S1,
        Role::S1B,
        Role::S2,
        Role::M1,
        Role::V1,
        Role::VS,
    ];
    let stage = Stage::set(cx, &cast).await?;
    let reaches = [Role::U1, Role::U2, Role::S1, Role::S1B];
    let markers: Vec<_> = (0..3).map(|_| cx.marker("posted")).collect();
    let batch: Vec<_> = markers
        .iter()
        .map(|marker| json!({"content": marker, "localId": cx.marker("local")}))
        .collect();
    let path = format!("/v3/sessions/{}/messages", stage.s1.id);
    let answer = cx
        .rest(
            &POST_SEQS,
            &stage.account,
            "POST",
            &path,
            &json!({"messages": batch}),
        )
        .await?;
    let answered_at = Instant::now();
    // What was sent before the answer was written before the ack of a ping that comes after it.
    let mut pongs = Vec::new();
    for role in reaches {
        if let Ok(pong) = cx.ask(stage.peer(role), "ping", ()).await? {
            pongs.push((role, pong.order));
        }
    }
    let spares = [
        (&[Role::S2][..], &message::WRONG_SESSION),
        (&[Role::M1][..], &message::NOT_MACHINES),
    ];
    let deliveries: Vec<_> = markers
        .iter()
        .map(|marker| Delivery {
            wanted: Wanted::update("new-message", marker),
            reaches: &reaches,
            by: &POST_REACHES,
            spares: &spares,
        })
        .collect();
    let seen = stage.observe(cx, &deliveries).await?;
    let posted = |arrival: &Arrival| markers.iter().any(|marker| arrival.raw.contains(marker));
    let late = |&(role, pong): &(Role, u64)| {
        let log = stage.peer(role).all(posted);
        log.into_iter().filter(move |arrival| arrival.order > pong)
    };
    let latest = pongs.iter().flat_map(late).map(|arrival| arrival.at).max();
    let told = match latest.map(|at| at.saturating_duration_since(answered_at).as_millis()) {
        None => "after its broadcasts".to_owned(),
        // Coarse, so that two runs say the same.
        Some(late) => format!(
            "up to {} ms before its broadcasts",
            late.next_multiple_of(100).max(100)
        ),
    };
    cx.fact("rest.messages.post-answers", told);
    cx.held(&POST_AFTER);
    let announced: Vec<_> = seen
        .iter()
        .filter_map(|arrival| arrival.data["body"]["message"]["seq"].as_i64())
        .collect();
    let answered = seqs(&answer);
    let same = answered == announced && answered.len() == 3;
    cx.check(
        &POST_SEQS,
        same,
        format!("{}, as in new-message", words::list(&announced)),
        &answer,
    );
    let expected = "seqs in the order of the batch";
    let told = words::list(&announced);
    cx.check(&POST_SEQS, announced.is_sorted(), expected, told);
    Ok(())
}

/// Reads a session that has more than a hundred messages, and after two more batches more than lists hold:
/// what a page leaves out it says, and a list has the newest.
async fn long_list(cx: &mut Ctx, stage: &Stage) -> Flow {
    let account = &stage.account;
    let path = format!("/v3/sessions/{}/messages", stage.s1.id);
    let one = |cx: &mut Ctx| json!({"content": cx.marker("long"), "localId": cx.marker("local")});
    let batch: Vec<_> = (0..100).map(|_| one(cx)).collect();
    let body = json!({"messages": batch});
    let posted = cx.rest(&POST_BOUNDS, account, "POST", &path, &body).await?;
    let newest = seqs(&posted).into_iter().max().unwrap_or_default();
    let all = format!("{path}?after_seq=0&limit=500");
    let mut tries = cx.tries();
    let whole = loop {
        let is_last = tries.next().await;
        let page = cx
            .rest(&CURSORS, account, "GET", &all, &Value::Null)
            .await?;
        let whole = seqs(&page);
        if whole.last() == Some(&newest) || is_last {
            break whole;
        }
    };
    let told = format!("{} messages", whole.len());
    let held = whole.len() > 200 && whole.last() == Some(&newest);
    cx.check(&CURSORS, held, "all messages on a page of 500", told);
    let page = cx
        .rest(&CURSORS, account, "GET", &path, &Value::Null)
        .await?;
    let left = seqs(&page).len() < whole.len();
    let told = format!(
        "hasMore {} with {} messages",
        page["hasMore"],
        seqs(&page).len()
    );
    let expected = format!("hasMore {left} for a page of {} messages", whole.len());
    cx.check(&CURSORS, (page["hasMore"] == true) == left, expected, told);
    let list = format!("/v1/sessions/{}/messages", stage.s1.id);
    let listed = cx
        .rest(&SAME_ROWS, account, "GET", &list, &Value::Null)
        .await?;
    let first = seqs(&listed).first().copied();
    let told = first.map_or_else(|| "none".to_owned(), |seq| format!("seq {seq}"));
    // Those of one batch may have one time, by which a list is sorted.
    let batch = seqs(&posted);
    let held = first.is_some_and(|seq| batch.contains(&seq));
    let expected =
        format!("seq {newest}, the newest message, or one of its batch at the top of the list");
    cx.check(&SAME_ROWS, held, expected, told);
    Ok(())
}

async fn again(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    let arrivals = sent(cx, &stage, 2).await?;
    let [first, second] = [0, 1].map(|at: usize| &arrivals[at].data["body"]["message"]);
    let path = format!("/v3/sessions/{}/messages", stage.s1.id);
    let local_id = cx.marker("local");
    let [repeated, new] = ["again", "new"].map(|what| cx.marker(what));
    let batch = json!({"messages": [
        {"content": repeated, "localId": first["localId"]},
        {"content": new, "localId": local_id},
        {"content": new, "localId": local_id},
        {"content": repeated, "localId": second["localId"]},
    ]});
    let answer = cx
        .rest(&POST_LOCAL_ID, &stage.account, "POST", &path, &batch)
        .await?;
    let answered = seqs(&answer);
    for known in [first, second].map(|message| &message["seq"]) {
        let is_answered = known.as_i64().is_some_and(|seq| answered.contains(&seq));
        let expected = format!("seq {known} for its localId, which is known");
        cx.check(&POST_LOCAL_ID, is_answered, expected, &answer);
    }
    // Over the socket again; a message of the same sender to the same session comes after it.
    let data = json!({"sid": stage.s1.id, "message": new, "localId": local_id});
    cx.emit(stage.peer(Role::U1), "message", data).await?;
    sent(cx, &stage, 1).await?;
    let marker = cx.marker("too-many");
    let mut batch = |count| {
        let one = |_| json!({"content": marker, "localId": cx.marker("local")});
        json!({"messages": (0..count).map(one).collect::<Vec<_>>()})
    };
    let (full, refused) = (batch(100), [batch(0), batch(101)]);
    for body in refused {
        status(
            cx,
            &POST_BOUNDS,
            &stage.account,
            ("POST", &path, &body),
            400,
        )
        .await?;
    }
    let wanted = Wanted::update("new-message", marker);
    stage.observe_nothing(cx, &wanted, &POST_BOUNDS).await?;
    let answer = cx.rest_any(&stage.account, "POST", &path, &full).await?;
    let count = seqs(&answer.body).len();
    let told = format!("status {} with {count} messages", answer.status);
    let expected = "a seq for each of a hundred messages";
    cx.check(
        &POST_BOUNDS,
        (200..300).contains(&answer.status) && count == 100,
        expected,
        told,
    );
    if count == 100 {
        long_list(cx, &stage).await?;
    }
    // At the end, so that what was stored after its answer has come as well.
    let socket_id = first["localId"].as_str().unwrap_or_default();
    for id in [socket_id, &local_id] {
        let count = different(&stage, Role::U2, &Wanted::update("new-message", id));
        let told = format!("{count} of them");
        cx.check(
            &POST_LOCAL_ID,
            count == 1,
            "one new-message for a localId",
            told,
        );
    }
    Ok(())
}
