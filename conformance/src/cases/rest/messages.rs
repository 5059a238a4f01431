//! Messages over HTTP: the rows that the socket's messages are, with cursors, and posting them.

use serde_json::{Value, json};

use super::{different, find, status};
use crate::{
    case::{Flow, case_table},
    cases::message,
    ctx::Ctx,
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
        "after_seq and before_seq with a limit give each message once, in ascending order, and hasMore \
         tells whether others follow.";
    POST_REACHES = "rest.messages.post-recipients", Should, Decision,
        "A posted message reaches every user-scoped connection and those of its session: nobody is \
         skipped, since no connection sent it.";
    POST_AFTER = "rest.messages.post-answers-after", Should, Decision,
        "A POST answers the seq of each message, and not before their broadcasts are sent: its answer \
         moves the poster's cursor past them.";
    POST_LOCAL_ID = "rest.messages.post-local-id", Should, Decision,
        "A localId that is known, from the socket or from HTTP, makes no second message, and is answered \
         with the first one's seq.";
    POST_BOUNDS = "rest.messages.post-bounds", Should, Decision,
        "An empty batch, and one of more than a hundred messages, is refused and stores nothing.";
}

case_table! {
    /// Sends messages over the socket and reads them over HTTP.
    ///
    /// Accepted are the same rows, newest first, and 404 for another account.
    "rest.messages.list" needs [Rest, Messages] judges [SAME_ROWS] => list;

    /// Reads seven messages three at a time, forwards and backwards.
    ///
    /// Accepted is each message once, in ascending order on every page, with `hasMore` false on the last.
    "rest.messages.cursors" needs [Rest, MessagePosts] judges [CURSORS] => cursors;

    /// Posts a batch of three while all kinds of connections listen.
    ///
    /// Accepted is one `new-message` each for users and for the session's connections, in order, sent before
    /// the answer: a ping that follows the answer is acknowledged after them.
    "rest.messages.post" needs [Rest, MessagePosts] judges [
        POST_REACHES, POST_AFTER, message::WRONG_SESSION, message::NOT_MACHINES
    ] => post;

    /// Posts a message whose localId was sent over the socket, and one twice in a batch; then batches of
    /// none and of a hundred and one.
    ///
    /// Accepted is one message for each localId, with one seq in all answers, and 400.
    "rest.messages.post-again" needs [Rest, MessagePosts] judges [POST_LOCAL_ID, POST_BOUNDS] => again;
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

async fn list(cx: &mut Ctx) -> Flow {
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
    for (name, mut cursor) in [("after_seq", 0), ("before_seq", past)] {
        let forwards = name == "after_seq";
        let mut seen = Vec::new();
        // Seven messages are three pages; pages that never end are stopped at ten.
        for _ in 0..10 {
            let page = format!("{path}?{name}={cursor}&limit=3");
            let page = cx
                .rest(&CURSORS, &stage.account, "GET", &page, &Value::Null)
                .await?;
            let found = seqs(&page);
            let fits = found.len() <= 3 && found.is_sorted();
            cx.check(
                &CURSORS,
                fits,
                "at most three messages, ascending",
                words::list(&found),
            );
            let edge = if forwards {
                found.last()
            } else {
                found.first()
            };
            let Some(edge) = edge else { break };
            cursor = *edge;
            seen.extend(found);
            if page["hasMore"] != true {
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
            &POST_AFTER,
            &stage.account,
            "POST",
            &path,
            &json!({"messages": batch}),
        )
        .await?;
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
    for (role, pong) in pongs {
        let peer = stage.peer(role);
        let before = |arrival: &Arrival| {
            let posted = markers.iter().any(|marker| arrival.raw.contains(marker));
            posted && arrival.order < pong
        };
        let count = peer.all(before).len();
        let expected = format!("three messages for {} before the answer", peer.who);
        cx.check(
            &POST_AFTER,
            count >= 3,
            expected,
            format!("{count} of them"),
        );
    }
    let announced: Vec<_> = seen
        .iter()
        .filter_map(|arrival| arrival.data["body"]["message"]["seq"].as_i64())
        .collect();
    let answered = seqs(&answer);
    let same = answered == announced && answered.len() == 3;
    cx.check(
        &POST_AFTER,
        same,
        format!("{}, as in new-message", words::list(&announced)),
        &answer,
    );
    Ok(())
}

async fn again(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    let arrivals = sent(cx, &stage, 1).await?;
    let first = &arrivals[0].data["body"]["message"];
    let path = format!("/v3/sessions/{}/messages", stage.s1.id);
    let local_id = cx.marker("local");
    let [repeated, new] = ["again", "new"].map(|what| cx.marker(what));
    let batch = json!({"messages": [
        {"content": repeated, "localId": first["localId"]},
        {"content": new, "localId": local_id},
        {"content": new, "localId": local_id},
    ]});
    let answer = cx
        .rest(&POST_LOCAL_ID, &stage.account, "POST", &path, &batch)
        .await?;
    let known = seqs(&answer).first().copied();
    let expected = format!("seq {} for the known localId", first["seq"]);
    cx.check(
        &POST_LOCAL_ID,
        known == first["seq"].as_i64(),
        expected,
        &answer,
    );
    stage.prove_silence(cx).await?;
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
    let marker = cx.marker("too-many");
    let one = json!({"content": marker});
    for batch in [Vec::new(), vec![one; 101]] {
        let body = json!({"messages": batch});
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
    stage.observe_nothing(cx, &wanted, &POST_BOUNDS).await
}
