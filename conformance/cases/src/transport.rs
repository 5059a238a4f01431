//! How packets travel: long-polling, the upgrade to a WebSocket, requests that are no Engine.IO 4, and
//! the sizes that pass.
//!
//! A server need not offer long-polling; one that does must lose nothing on it. What it does not offer is
//! noted on the dialect card.

use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use touchstone_client::{ConnectError, Socket, Transport, connect, provision::Rest};

use super::{
    control_group::charge,
    hazard::OTHERS_SERVED,
    rogue::{Aftermath, Rogue, others_served},
};
use touchstone_harness::{
    case::{Flow, Stop, case_table},
    ctx::{Ctx, Scope},
    ledger::{Requirement, requirement_table},
    opaque,
    peer::{Arrival, Peer},
    stage::{Role, Series, Stage, Wanted},
};

requirement_table! {
    POLLING = "transport.polling", Must, Decision,
        "Over long-polling arrives what arrives over a WebSocket: everything, once, in order.";
    UPGRADE = "transport.upgrade-lossless", Must, Decision,
        "While a connection is upgraded to a WebSocket nothing is lost, doubled or reordered.";
    UPGRADES = "transport.upgrade-works", Should, Decision,
        "A server that offers an upgrade to a WebSocket carries it out.";
    UNKNOWN_SID = "transport.unknown-session", Should, Decision,
        "A request with a transport session id that is unknown or closed is answered with an HTTP error, \
         so that the client opens another one.";
    BOGUS_TRANSPORT = "transport.unknown-transport", Should, Decision,
        "A request for a transport that does not exist is answered with an HTTP error.";
    OTHER_VERSIONS = "transport.other-versions", Info, Decision,
        "A request for another version of Engine.IO, or for none, is refused or served.";
    LARGE_PASSES = "transport.large-passes", Should, Decision,
        "A message of nine tenths of the announced largest payload passes unchanged.";
    OVERSIZE = "transport.oversize", Info, Decision,
        "A message above the announced largest payload ends its connection, or is ignored.";
}

case_table! {
    /// Exchanges a burst of messages, in both directions, between a connection that polls and one over a
    /// WebSocket.
    ///
    /// Accepted is that all arrive once and in order, or that the server offers no long-polling. Typical
    /// cause of a failure: a proxy or a load balancer sends the requests of one transport to several
    /// processes, or two polls at once are answered with the same packets.
    "transport.polling" judges [POLLING] => polling;

    /// Connects by long-polling and upgrades to a WebSocket, while messages flow in both directions.
    ///
    /// Accepted is that all messages arrive once and in order. Typical cause of a failure: what is sent
    /// between the last poll and the upgrade packet goes to the transport that nobody reads any more.
    "transport.upgrade" judges [UPGRADE, UPGRADES] => upgrade;

    /// Sends HTTP requests for a transport that does not exist, with transport session ids that are
    /// unknown or closed, and for other versions of Engine.IO.
    ///
    /// Accepted is an HTTP error with a status from 400 to 499 for the first two. Other versions may be
    /// served. Typical cause of a failure: an exception in the handler of the request becomes 500, or a
    /// request for an unknown transport session is left without an answer.
    "transport.requests" judges [
        BOGUS_TRANSPORT, UNKNOWN_SID, OTHER_VERSIONS
    ] => requests;

    /// Sends a message of nine tenths of `maxPayload` over a WebSocket, and over long-polling where that is
    /// offered.
    ///
    /// Accepted is that it arrives unchanged. Messages of that size are rare and real: tool output. Typical
    /// cause of a failure: `maxPayload` is announced by one layer while another one, such as a proxy or a
    /// frame limit, is set to less.
    "transport.large-message" judges [LARGE_PASSES] => large_message;

    /// Sends a message of one and a half times `maxPayload` over a WebSocket, and over long-polling where
    /// that is offered.
    ///
    /// Accepted is the end of that connection, or that it goes on. Nobody else may notice. Typical cause of
    /// a failure: the limit is checked after the message was read as a whole, or the error of one
    /// connection is raised for all of them.
    "transport.oversize" judges [OVERSIZE, OTHERS_SERVED] => oversize;
}

/// How many messages a burst has.
const BURST: usize = 40;

/// The most messages that are sent while an upgrade is under way.
const UPGRADE_MESSAGES: usize = 2_000;

/// The largest message that is tried, whatever a server announces.
const LARGEST: usize = 4_000_000;

/// How many messages in each direction are under way at most while a connection is upgraded.
const UNDER_WAY: usize = 4;

/// Judges that `receiver` has each message of `series` once and in order.
async fn judge(
    cx: &mut Ctx,
    series: &Series,
    (sender, receiver): (&Peer, &Peer),
    sid: &str,
    by: &'static Requirement,
) -> Flow {
    let arrived = series.arrived(cx, sender, sid, receiver).await?;
    let wrong = arrived.iter().enumerate().find(|(at, n)| at != *n);
    let told = match (wrong, arrived.len() == series.sent()) {
        (None, true) => {
            cx.held(by);
            return Ok(());
        }
        (Some((at, n)), _) => format!("message {n} came in place {at}"),
        (None, false) => format!("{} of them", arrived.len()),
    };
    let ended = receiver.ended().map_or_else(String::new, |end| {
        format!("; it ended: {}", touchstone_output::text::error_chain(&end))
    });
    let expected = format!(
        "{} messages, once and in order, at {}",
        series.sent(),
        receiver.who
    );
    charge(cx, by, &expected, &format!("{told}{ended}")).await
}

/// A user-scoped connection over `transport`; nothing where the server does not offer that.
async fn connect_over(
    cx: &mut Ctx,
    name: &str,
    token: &str,
    transport: Transport,
) -> Flow<Option<Peer>> {
    let options = cx
        .options(name, Some(Scope::User.auth(token)))
        .transport(transport);
    match connect(&options).await {
        Ok((socket, events)) => {
            cx.fact("transport.polling", "offered");
            let peer = Peer::new(name, socket, events);
            // Whether it is, is judged by what passes over it; this is about what comes too early.
            cx.is_served(&peer).await?;
            Ok(Some(peer))
        }
        Err(ConnectError::Http { status, .. }) if (400..500).contains(&status) => {
            cx.fact("transport.polling", "not offered");
            Ok(None)
        }
        Err(error) => Err(Stop::Trouble(format!(
            "{name} cannot connect by polling: {}",
            touchstone_output::text::error_chain(&error)
        ))),
    }
}

async fn polling(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1]).await?;
    let token = stage.account.token();
    let Some(poller) = connect_over(cx, "poller", token, Transport::Polling).await? else {
        cx.held(&POLLING);
        return Ok(());
    };
    stage.prove_newcomer(cx, &poller).await?;
    let u1 = stage.peer(Role::U1);
    for (sender, receiver) in [(u1, &poller), (&poller, u1)] {
        let mut series = Series::new(cx, "burst");
        for _ in 0..BURST {
            series.send(cx, sender, &stage.s1.id).await?;
        }
        let sid = &stage.s1.id;
        judge(cx, &series, (sender, receiver), sid, &POLLING).await?;
    }
    for (sender, receiver) in [(u1, &poller), (&poller, u1)] {
        let marker = cx.marker("text");
        let text = format!("{marker} \u{e9}\u{1f980}\u{2028}\u{1e}\\");
        let data = json!({"sid": stage.s1.id, "message": marker, "localId": text});
        cx.emit(sender, "message", data).await?;
        let wanted = Wanted::update("new-message", &marker);
        let heard = |arrival: &Arrival| wanted.matches(arrival);
        let arrival = cx.arrival(receiver, &wanted.named(), heard).await;
        let told = arrival.as_ref().map_or(&Value::Null, |arrival| {
            let local_id = arrival.data.pointer("/body/message/localId");
            local_id.unwrap_or(&Value::Null)
        });
        let expected = format!("the localId {} at {}", json!(text), receiver.who);
        cx.check(&POLLING, *told == json!(text), expected, told);
    }
    let served = cx.round_trip(&poller).await?;
    cx.check(&POLLING, served, "a ping that is answered", "no answer");
    Ok(())
}

/// Whether the server announces that a connection can be upgraded to a WebSocket.
pub(super) fn offers_upgrade(socket: &Socket) -> bool {
    let upgrades = &socket.handshake().upgrades;
    upgrades.iter().any(|name| name == "websocket")
}

async fn upgrade(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1]).await?;
    let token = stage.account.token();
    let Some(mover) = connect_over(cx, "mover", token, Transport::Upgrade).await? else {
        cx.held(&UPGRADE);
        cx.held(&UPGRADES);
        return Ok(());
    };
    stage.prove_newcomer(cx, &mover).await?;
    let u1 = stage.peer(Role::U1);
    let sid = &stage.s1.id;
    let mut to_mover = Series::new(cx, "down");
    let mut from_mover = Series::new(cx, "up");
    let offered = offers_upgrade(&mover.socket);
    let outcome = {
        let upgraded = timeout(cx.shared.pace.patience() * 2, mover.socket.upgraded());
        tokio::pin!(upgraded);
        loop {
            to_mover.send(cx, u1, sid).await?;
            from_mover.send(cx, &mover, sid).await?;
            // The arrivals keep the pace: there is always something under way, never a heap of it.
            let pause = async {
                for (series, receiver) in [(&to_mover, &mover), (&from_mover, u1)] {
                    let enough = |log: &[Arrival]| {
                        (series.count(log) + UNDER_WAY > series.sent()).then_some(())
                    };
                    receiver.wait(cx.deadline(), enough).await;
                }
            };
            tokio::select! {
                outcome = &mut upgraded => break outcome,
                () = pause, if to_mover.sent() < UPGRADE_MESSAGES => {}
            }
        }
    };
    for _ in 0..BURST {
        to_mover.send(cx, u1, sid).await?;
        from_mover.send(cx, &mover, sid).await?;
    }
    judge(cx, &to_mover, (u1, &mover), sid, &UPGRADE).await?;
    judge(cx, &from_mover, (&mover, u1), sid, &UPGRADE).await?;
    let told = match &outcome {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("the upgrade did not come to an end".to_owned()),
    };
    cx.fact(
        "transport.upgrade",
        if offered { "offered" } else { "not offered" },
    );
    let works = !offered || told.is_none();
    cx.check(&UPGRADES, works, "a WebSocket", told.unwrap_or_default());
    Ok(())
}

/// An HTTP request to the Socket.IO path: its status, nothing where it is not answered in time.
async fn status(cx: &Ctx, method: &str, query: &str, body: &Value) -> Flow<Option<u16>> {
    let trouble =
        |error: &dyn std::error::Error| Stop::Trouble(touchstone_output::text::error_chain(error));
    let rest = Rest::new(&cx.options("http", None)).map_err(|error| trouble(&error))?;
    let path = format!(
        "/{}/?{query}",
        cx.shared.target.server.path.trim_matches('/')
    );
    cx.step(&format!("{method} {path}"));
    let body = (!body.is_null()).then_some(body);
    let asked = timeout(
        cx.shared.pace.patience(),
        rest.request(method, &path, None, body),
    );
    let status = match asked.await {
        Ok(Ok(answer)) => Some(answer.status),
        Ok(Err(error)) => return Err(trouble(&error)),
        Err(_) => None,
    };
    cx.step(&match status {
        Some(status) => format!("HTTP {status}"),
        None => "no answer".to_owned(),
    });
    Ok(status)
}

fn is_refusal(status: Option<u16>) -> bool {
    status.is_some_and(|status| (400..500).contains(&status))
}

fn shown(status: Option<u16>) -> String {
    status.map_or_else(|| "no answer".to_owned(), |status| format!("HTTP {status}"))
}

async fn requests(cx: &mut Ctx) -> Flow {
    let rows = [
        ("GET", "EIO=4&transport=telegraph", &BOGUS_TRANSPORT),
        ("GET", "EIO=4", &BOGUS_TRANSPORT),
        (
            "GET",
            "EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA",
            &UNKNOWN_SID,
        ),
        (
            "POST",
            "EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA",
            &UNKNOWN_SID,
        ),
        (
            "GET",
            "EIO=4&transport=polling&sid=..%2F..%2F%00",
            &UNKNOWN_SID,
        ),
    ];
    for (method, query, by) in rows {
        let body = if method == "POST" {
            json!("x")
        } else {
            Value::Null
        };
        let status = status(cx, method, query, &body).await?;
        let told = format!("an HTTP error from 400 to 499 for {method} ?{query}");
        cx.check(by, is_refusal(status), told, shown(status));
    }
    for (name, query) in [
        ("3", "EIO=3&transport=polling"),
        ("5", "EIO=5&transport=polling"),
        ("none", "transport=polling"),
    ] {
        let status = status(cx, "GET", query, &Value::Null).await?;
        let what = if is_refusal(status) {
            "refused"
        } else {
            "served"
        };
        cx.fact(&format!("transport.engine-io-{name}"), what);
    }
    cx.held(&OTHER_VERSIONS);
    closed_sessions(cx).await
}

/// A transport session that has ended answers nobody. The end may take a moment to be noticed.
async fn closed_sessions(cx: &mut Ctx) -> Flow {
    let account = cx.account().await?;
    let token = account.token();
    let Some(poller) = connect_over(cx, "closed", token, Transport::Polling).await? else {
        return Ok(());
    };
    let query = format!(
        "EIO=4&transport=polling&sid={}",
        poller.socket.handshake().sid
    );
    poller.socket.disconnect().await;
    let mut tries = cx.tries();
    let last = loop {
        let is_last = tries.next().await;
        let status = status(cx, "GET", &query, &Value::Null).await?;
        if is_refusal(status) || is_last {
            break status;
        }
    };
    let told = "an HTTP error from 400 to 499 for a session that was closed";
    cx.check(&UNKNOWN_SID, is_refusal(last), told, shown(last));
    Ok(())
}

async fn large_message(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    large_from(cx, &stage, stage.peer(Role::U1)).await?;
    let token = stage.account.token();
    if let Some(poller) = connect_over(cx, "poller", token, Transport::Polling).await? {
        large_from(cx, &stage, &poller).await?;
    }
    Ok(())
}

async fn large_from(cx: &mut Ctx, stage: &Stage, sender: &Peer) -> Flow {
    let receiver = stage.peer(Role::U2);
    let marker = cx.marker("large");
    let size = sender.payload_limit().min(LARGEST) / 10 * 9;
    // The envelope of the event counts as well.
    let message = opaque::filled(&marker, size.saturating_sub(200));
    let data = json!({"sid": stage.s1.id, "message": message});
    cx.emit(sender, "message", data).await?;
    let wanted = Wanted::update("new-message", &marker);
    let patience = cx.shared.pace.patience_for_large(&wanted.named());
    let arrival = receiver
        .wait_for(Instant::now() + patience, |arrival| wanted.matches(arrival))
        .await;
    let told = format!("a message of {size} bytes from {}, unchanged", sender.who);
    let actual = match (&arrival, sender.ended()) {
        (Some(arrival), _) => {
            let content = arrival.data.pointer("/body/message/content/c");
            match content.and_then(Value::as_str) {
                Some(content) if content == message => None,
                Some(content) => Some(format!("{} bytes of another text", content.len())),
                None => Some("a message without its content".to_owned()),
            }
        }
        (None, Some(end)) => Some(format!(
            "the end of its connection: {}",
            touchstone_output::text::error_chain(&end)
        )),
        (None, None) => Some("nothing".to_owned()),
    };
    cx.check(
        &LARGE_PASSES,
        actual.is_none(),
        told,
        actual.unwrap_or_default(),
    );
    Ok(())
}

async fn oversize(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::S1]).await?;
    let limit = stage.peer(Role::U1).payload_limit();
    if limit > LARGEST {
        cx.fact("transport.after-oversize", "not tried");
    } else {
        let data = json!({"sid": stage.s1.id, "message": "x".repeat(limit / 2 * 3)});
        let frame = format!("42{}", json!(["message", data]));
        for (name, transport) in [
            ("websocket", Transport::WebSocket),
            ("polling", Transport::Polling),
        ] {
            let aftermath = oversized(cx, &stage, name, transport, &frame).await?;
            if let Some(aftermath) = aftermath {
                cx.fact(
                    &format!("transport.after-oversize-{name}"),
                    aftermath.word(),
                );
            }
        }
    }
    cx.held(&OVERSIZE);
    let bystanders = [Role::U1, Role::U2, Role::S1].map(|role| stage.peer(role));
    others_served(cx, &bystanders).await?;
    stage.prove_silence(cx).await
}

/// What became of a connection that sent `frame`; nothing where the transport is not offered.
async fn oversized(
    cx: &Ctx,
    stage: &Stage,
    name: &str,
    transport: Transport,
    frame: &str,
) -> Flow<Option<Aftermath>> {
    let options = cx.options(name, None).transport(transport);
    let mut rogue = match Rogue::open(&options).await {
        Err(Stop::Trouble(_)) if transport == Transport::Polling => return Ok(None),
        opened => opened?,
    };
    let auth = Scope::User.auth(stage.account.token());
    rogue.send(format!("40{auth}")).await;
    rogue
        .read_until(cx.deadline(), |packet| packet.starts_with("40"))
        .await;
    rogue.send(frame).await;
    Ok(Some(rogue.aftermath(cx.deadline()).await))
}
