//! Packets that no good client sends: before CONNECT, instead of it, twice, and plain garbage.
//!
//! Whatever becomes of the connection that sends them is the server's choice and noted on the dialect
//! card. What is judged is that nobody gets in that way, and that nobody else suffers.

use futures_util::future::join_all;
use serde_json::json;
use touchstone_client::Frame;

use super::{
    hazard::OTHERS_SERVED,
    rogue::{Aftermath, Read, Rogue, others_served},
};
use touchstone_harness::{
    case::{Flow, case_table},
    ctx::{Ctx, Scope},
    ledger::requirement_table,
    stage::{Role, Stage},
};

requirement_table! {
    BEFORE_CONNECT = "transport.before-connect", Must, Decision,
        "Nothing is served on a transport before its CONNECT was accepted.";
    BAD_CONNECT = "transport.bad-connect", Must, Decision,
        "A CONNECT whose payload is no object, or no JSON, admits nobody.";
    OTHER_NAMESPACE = "transport.other-namespace", Info, Decision,
        "A CONNECT to a namespace that the API does not have is refused, ignored, or ends the transport.";
    SECOND_CONNECT = "transport.second-connect", Info, Decision,
        "A second CONNECT is ignored, answered again, or ends the transport.";
    GARBAGE = "transport.garbage", Info, Decision,
        "A frame that is no packet ends the transport that it came on, or is ignored.";
    UNKNOWN_EVENT = "event.unknown", Must, Decision,
        "An event that the API does not have leaves the connection as it is.";
    UNKNOWN_ANSWER = "event.unknown-answer", Info, Decision,
        "An unknown event that asks for an acknowledgement gets none, or an error.";
}

case_table! {
    /// Sends a ping, with an ack id, on a transport on which nobody has connected; then CONNECT with a
    /// valid token.
    ///
    /// Accepted is the end of the transport, or that the ping is not answered before CONNECT is. Typical
    /// cause of a failure: handlers are attached before authentication is over.
    "transport.before-connect" judges [BEFORE_CONNECT, OTHERS_SERVED] => before_connect;

    /// Sends CONNECT with a list, a text, a number, and broken JSON for the auth object.
    ///
    /// Accepted is a refusal, an end, or silence: such a client has shown no token. Typical cause of a
    /// failure: the auth object is read without a check that it is an object, and the connection is
    /// admitted or the exception is caught by nobody.
    "transport.bad-connect" judges [BAD_CONNECT, OTHERS_SERVED] => bad_connect;

    /// Sends CONNECT to another namespace.
    ///
    /// What comes back is noted on the dialect card. Others must not notice. Typical cause of a failure: a
    /// catch-all for namespaces attaches handlers without authentication, or throws.
    "transport.other-namespace" judges [OTHER_NAMESPACE, OTHERS_SERVED] => other_namespace;

    /// Sends CONNECT a second time on a connection that stands.
    ///
    /// What becomes of the connection is noted on the dialect card. Others must not notice. Typical cause
    /// of a failure: the connection is registered a second time, and its handlers or rooms are there twice.
    "transport.second-connect" judges [SECOND_CONNECT, OTHERS_SERVED] => second_connect;

    /// Sends frames that are no packets, each on a connection of its own: unknown packet types, cut JSON,
    /// acks that nobody asked for, binary frames without announcement and the reverse, reserved event
    /// names.
    ///
    /// Accepted is anything that only the sender notices: the end of its connection, or silence. Typical
    /// cause of a failure: an exception in a parser that nobody catches.
    "transport.garbage" judges [GARBAGE, OTHERS_SERVED] => garbage;

    /// Sends events that the API does not have, with data and an ack id; among them names that mean
    /// something to the languages that servers are written in.
    ///
    /// Accepted is silence or an error, and a connection that is served afterwards. Typical cause of a
    /// failure: events are looked up as properties of an object, so that `constructor` or `toString` are
    /// called; or an unknown name throws.
    "event.unknown" judges [UNKNOWN_EVENT, UNKNOWN_ANSWER] => unknown_event;
}

const BYSTANDERS: [Role; 3] = [Role::U1, Role::U2, Role::S1];

/// The bystanders are served, and what concerns them still reaches them.
async fn unharmed(cx: &mut Ctx, stage: &Stage) -> Flow {
    let peers = BYSTANDERS.map(|role| stage.peer(role));
    others_served(cx, &peers).await?;
    stage.prove_silence(cx).await
}

async fn before_connect(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &BYSTANDERS).await?;
    let mut rogue = Rogue::open(&cx.options("early", None)).await?;
    rogue.send(r#"427["ping"]"#).await;
    let auth = Scope::User.auth(stage.account.token());
    rogue.send(format!("40{auth}")).await;
    // A server may keep the event until CONNECT is accepted, and handle it then.
    let outcome = rogue
        .read_until(cx.deadline(), |packet| {
            packet.starts_with("40") || packet.starts_with("437")
        })
        .await;
    let served = matches!(&outcome, Read::Found(packet) if packet.starts_with("437"));
    let became = match outcome {
        Read::Ended(_) => "closed",
        Read::Found(_) => "goes on",
        Read::Nothing => "silent",
    };
    cx.fact("transport.after-event-before-connect", became);
    let told = "no answer before CONNECT is answered";
    cx.check(
        &BEFORE_CONNECT,
        !served,
        told,
        "a ping was answered before CONNECT was sent",
    );
    unharmed(cx, &stage).await
}

async fn bad_connect(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &BYSTANDERS).await?;
    let token = stage.account.token();
    let rows = [
        format!("40[{}]", json!({"token": token})),
        format!("40{}", json!(token)),
        "407".to_owned(),
        "40{\"token\":".to_owned(),
        "40nonsense".to_owned(),
    ];
    for row in rows {
        let mut rogue = Rogue::open(&cx.options("odd", None)).await?;
        rogue.send(row.clone()).await;
        // A server that ignores the packet does not answer at all; the next one draws its answer.
        rogue.send("40{}").await;
        let read = rogue
            .read_until(cx.deadline(), |packet| {
                packet.starts_with("44") || packet.starts_with("41")
            })
            .await;
        let (admitted, word) = match read {
            Read::Found(_) => (false, "refused"),
            Read::Ended(_) => (false, "closed"),
            Read::Nothing => (true, "silent"),
        };
        // Silence admits nobody; an answer to a ping does.
        let admitted = admitted && rogue.aftermath(cx.deadline()).await == Aftermath::Served;
        cx.fact("transport.after-bad-connect", word);
        let shown = row.replace(token, "<valid>");
        let told = format!("nobody admitted by {shown}");
        cx.check(&BAD_CONNECT, !admitted, told, "its ping is answered");
    }
    unharmed(cx, &stage).await
}

async fn other_namespace(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &BYSTANDERS).await?;
    let auth = Scope::User.auth(stage.account.token());
    let mut rogue = Rogue::open(&cx.options("elsewhere", None)).await?;
    rogue.send(format!("40/admin,{auth}")).await;
    rogue.send(format!("40{auth}")).await;
    rogue
        .read_until(cx.deadline(), |packet| packet.starts_with("40{"))
        .await;
    let became = match rogue.aftermath(cx.deadline()).await {
        Aftermath::Closed(_) => "closed",
        _ if rogue.heard.iter().any(|packet| packet.starts_with("44/")) => "refused",
        _ if rogue.heard.iter().any(|packet| packet.starts_with("40/")) => "connected",
        _ => "ignored",
    };
    cx.fact("transport.other-namespace", became);
    cx.held(&OTHER_NAMESPACE);
    unharmed(cx, &stage).await
}

async fn second_connect(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &BYSTANDERS).await?;
    let auth = Scope::User.auth(stage.account.token());
    let mut rogue = Rogue::connect(cx, "twice", &auth).await?;
    rogue.send(format!("40{auth}")).await;
    let aftermath = rogue.aftermath(cx.deadline()).await;
    cx.fact("transport.after-second-connect", aftermath.word());
    cx.held(&SECOND_CONNECT);
    unharmed(cx, &stage).await
}

/// Frames that are no packets, in the groups in which one connection sends them.
fn garbage_rows() -> Vec<Vec<Frame>> {
    let alone = [
        "",
        "9",
        "x",
        "4",
        "49",
        "4x",
        "42",
        "42[]",
        "42{}",
        "42[1",
        "42[null]",
        "42[{}]",
        r#"42["ping""#,
        r#"4299999999999999999999["ping"]"#,
        r#"42-1["ping"]"#,
        "43",
        "43[1]",
        "43999[1]",
        "43999",
        r#"44{"message":"x"}"#,
        r#"42["disconnect"]"#,
        r#"42["connect"]"#,
        r#"42["error",{"message":"x"}]"#,
        "0{}",
        "5",
        "6",
        "2probe",
        "3",
        "41/other,",
        "42/other,[1]",
        r#"45999999999-["message"]"#,
        r#"45x["message"]"#,
    ];
    let mut rows: Vec<Vec<Frame>> = alone.map(|text| vec![Frame::text(text)]).into();
    let announced =
        Frame::text(r#"451-["message",{"sid":"x","message":{"_placeholder":true,"num":0}}]"#);
    let misnumbered = Frame::text(r#"451-["message",{"_placeholder":true,"num":7}]"#);
    let negative = Frame::text(r#"451-["message",{"_placeholder":true,"num":-1}]"#);
    let attachment = Frame::Binary(vec![1, 2, 3].into());
    rows.push(vec![attachment.clone()]);
    rows.push(vec![announced.clone(), Frame::text(r#"42["ping"]"#)]);
    rows.push(vec![announced, attachment.clone(), attachment.clone()]);
    rows.push(vec![misnumbered, attachment.clone()]);
    rows.push(vec![negative, attachment]);
    rows
}

async fn garbage(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &BYSTANDERS).await?;
    let auth = Scope::Session(&stage.s1.id).auth(stage.account.token());
    let shared: &Ctx = cx;
    let auth = &auth;
    let senders = garbage_rows().into_iter().map(async |frames| {
        let mut rogue = Rogue::connect(shared, "rogue", auth).await?;
        for frame in frames {
            rogue.send_frame(frame).await;
        }
        Ok(rogue.aftermath(shared.deadline()).await)
    });
    for aftermath in join_all(senders).await {
        let aftermath: Aftermath = aftermath?;
        cx.fact("transport.after-garbage", aftermath.word());
    }
    cx.held(&GARBAGE);
    unharmed(cx, &stage).await
}

async fn unknown_event(cx: &mut Ctx) -> Flow {
    let account = cx.account().await?;
    let peer = cx.connect("u1", account.token(), Scope::User).await?;
    let names = [
        "no-such-event",
        "update",
        "ephemeral",
        "rpc-request",
        "__proto__",
        "constructor",
        "toString",
        "",
        "*",
        "PING",
        "\u{1f980}",
    ];
    let mut pending = Vec::new();
    for name in names {
        // A connection that has ended meanwhile does not answer the ping below.
        if let Ok(request) = peer.socket.request(name, json!({"a": 1})).await {
            pending.push(request);
        }
    }
    let served = peer
        .call_within("ping", (), cx.shared.pace.patience())
        .await;
    let shown = served.as_ref().err().map_or_else(String::new, |error| {
        touchstone_output::text::error_chain(error)
    });
    let told = "a ping that is answered afterwards";
    cx.require(&UNKNOWN_EVENT, served.is_ok(), told, shown)?;
    // Answers to what was sent before the ping have been given by now, where they are given at all.
    let answered = pending
        .into_iter()
        .filter_map(futures_util::FutureExt::now_or_never)
        .count();
    cx.fact("event.unknown-answered", answered > 0);
    cx.held(&UNKNOWN_ANSWER);
    Ok(())
}
