//! What surrounds a refusal: which check comes first, what a refused connection can still do and hear,
//! and the forms of a handshake that only look unusual.

use crate::rogue::Rogue;
use serde_json::{Value, json};
use tokio::time::Instant;
use touchstone_client::Engine;

use super::{
    admission::{Admission, attempt, attempt_with},
    handshake::{INVALID_TOKEN, REFUSAL_TEXT, REFUSED_GETS_NOTHING},
};
use touchstone_harness::{
    case::{Flow, Stop, case_table},
    ctx::{Ctx, Scope},
    ledger::requirement_table,
    peer::Peer,
    stage::{Role, Stage, Wanted},
    words,
};

requirement_table! {
    REFUSED_CANNOT_ACT = "handshake.refused-cannot-act", Must, Decision,
        "What a refused connection sends has no effect.";
    TOKEN_ELSEWHERE = "handshake.token-elsewhere", Info, Decision,
        "A token in a header or in the query, instead of CONNECT, is ignored or accepted.";
    EXTRA_AUTH = "handshake.extra-fields", Should, Decision,
        "Fields of the CONNECT auth that the server does not know are ignored.";
    WITH_CONNECT = "handshake.events-with-connect", Info, Decision,
        "Events that are sent together with CONNECT, before it is answered, are handled or end the \
         transport.";
}

case_table! {
    /// Connects session- and machine-scoped without the id and with a bad token as well.
    ///
    /// Accepted is a refusal with either of the two reasons; which one is noted on the dialect card.
    /// Typical cause of a failure: a missing id ends the check before the token is looked at, and leaves
    /// the connection open.
    "handshake.check-order" judges [INVALID_TOKEN, REFUSAL_TEXT] => check_order;

    /// Connects with a valid token but without the sessionId of its scope, ignores the refusal while a
    /// session of the account changes, and sends CONNECT again and a message.
    ///
    /// Accepted is that nobody receives the message, and that nothing of the account reaches the
    /// connection. Typical cause of a failure: handlers are attached before the scope is checked, or the
    /// connection is refused and registered all the same.
    "handshake.refused-connection" judges [
        REFUSED_CANNOT_ACT, REFUSED_GETS_NOTHING
    ] => refused_connection;

    /// Connects with a valid token in the `Authorization` header, and in the query, but not in CONNECT.
    ///
    /// Whether that is accepted is noted on the dialect card: clients send it in CONNECT only. Typical
    /// cause of a failure: the token is taken from several places, and the one that is used is not the one
    /// that was verified.
    "handshake.token-elsewhere" judges [TOKEN_ELSEWHERE] => token_elsewhere;

    /// Connects with further fields in the auth object, among them the ids of other scopes.
    ///
    /// Accepted is a connection whose ping is answered. Newer clients send `happyClient`. Typical cause of
    /// a failure: a strict schema for the auth object refuses keys that it does not know.
    "handshake.extra-fields" judges [EXTRA_AUTH] => extra_fields;

    /// Sends CONNECT and, without waiting for its answer, RPC registrations.
    ///
    /// Whether they are answered is noted on the dialect card. Official clients keep events until CONNECT
    /// is answered, so that nobody depends on it. Typical cause of a failure: what comes before the
    /// handlers are attached is dropped without a word, or it throws.
    "handshake.events-with-connect" judges [WITH_CONNECT] => events_with_connect;
}

async fn check_order(cx: &mut Ctx) -> Flow {
    let rows = [
        (
            "session-scoped",
            "Session ID required for session-scoped clients",
        ),
        (
            "machine-scoped",
            "Machine ID required for machine-scoped clients",
        ),
    ];
    for (client_type, scope_text) in rows {
        let auth = json!({"token": "not-a-token", "clientType": client_type});
        let admission = attempt(cx, "nobody", Some(auth)).await?;
        let held = admission.is_refusal();
        cx.require(&INVALID_TOKEN, held, "a refusal", admission.told())?;
        let Some(message) = admission.message() else {
            cx.held(&REFUSAL_TEXT);
            continue;
        };
        let token_text = "Invalid authentication token";
        let known = [scope_text, token_text].contains(&message);
        cx.check(
            &REFUSAL_TEXT,
            known,
            format!(
                "{} or {}",
                words::quoted(scope_text),
                words::quoted(token_text)
            ),
            words::quoted(message),
        );
        if known {
            let first = if message == token_text {
                "token"
            } else {
                "scope"
            };
            cx.fact("handshake.checked-first", first);
        }
    }
    Ok(())
}

async fn refused_connection(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::S1]).await?;
    let marker = cx.marker("refused");
    let auth = json!({"token": stage.account.token(), "clientType": "session-scoped"});
    let connect = format!("40{auth}");
    let mut rogue = Rogue::open(&cx.options("refused", None)).await?;
    let answers = |packet: &str| packet.starts_with("44") || packet.starts_with("41");
    rogue.send(connect.clone()).await;
    rogue.read_until(cx.deadline(), answers).await;
    // Changes of the session go out while the refused connection stands.
    stage.prove_silence(cx).await?;
    // Whatever was sent to the connection before is read with the answer to its next packet.
    rogue.send(connect.clone()).await;
    rogue.read_until(cx.deadline(), answers).await;
    // Many servers end a transport that speaks without being connected, so this comes last.
    let data = json!({"sid": stage.s1.id, "message": marker});
    rogue.send(format!("42{}", json!(["message", data]))).await;
    rogue.send(connect).await;
    rogue.read_until(cx.deadline(), answers).await;
    let unheard = Wanted::update("new-message", marker);
    stage
        .observe_nothing(cx, &unheard, &REFUSED_CANNOT_ACT)
        .await?;
    let heard: Vec<_> = rogue
        .heard
        .iter()
        .filter(|packet| {
            packet.starts_with(r#"42["update""#) || packet.starts_with(r#"42["ephemeral""#)
        })
        .map(String::as_str)
        .collect();
    let told = "no update and no ephemeral for a refused connection";
    cx.check(
        &REFUSED_GETS_NOTHING,
        heard.is_empty(),
        told,
        heard.join("; "),
    );
    Ok(())
}

async fn token_elsewhere(cx: &mut Ctx) -> Flow {
    let account = cx.account().await?;
    let auth = Some(json!({"clientType": "user-scoped"}));
    let bearer = format!("Bearer {}", account.token());
    let header = cx
        .options("header", auth.clone())
        .header("Authorization", bearer);
    let query = cx.options("query", auth).query("token", account.token());
    for (place, options) in [("header", header), ("query", query)] {
        let admission = attempt_with(cx, place, &options).await?;
        let word = match admission {
            Admission::Admitted(_) => "accepted",
            _ => "ignored",
        };
        cx.fact(&format!("handshake.token-in-{place}"), word);
    }
    cx.held(&TOKEN_ELSEWHERE);
    Ok(())
}

async fn extra_fields(cx: &mut Ctx) -> Flow {
    let account = cx.account().await?;
    let session = cx.session(&account).await?;
    let machine = cx.machine(&account).await?;
    let extra = json!({
        "happyClient": "cli/1.0.0", "unknown": {"deep": [1, null]}, "userId": 7,
        "sessionId": session.id, "machineId": machine.id,
    });
    let scopes = [
        Scope::User,
        Scope::Session(&session.id),
        Scope::Machine(&machine.id),
    ];
    for scope in scopes {
        let mut auth = extra.clone();
        if let (Value::Object(auth), Value::Object(own)) = (&mut auth, scope.auth(account.token()))
        {
            auth.extend(own);
        }
        let admission = attempt(cx, "extra", Some(auth)).await?;
        let held = matches!(admission, Admission::Admitted(_));
        cx.check(
            &EXTRA_AUTH,
            held,
            "a connection whose ping is answered",
            admission.told(),
        );
    }
    Ok(())
}

async fn events_with_connect(cx: &mut Ctx) -> Flow {
    let account = cx.account().await?;
    let options = cx.options("hasty", Some(Scope::User.auth(account.token())));
    let engine = Engine::open(&options).await.map_err(|error| {
        Stop::Trouble(format!(
            "cannot open a transport: {}",
            touchstone_output::text::error_chain(&error)
        ))
    })?;
    let (socket, events) = engine.begin();
    let peer = Peer::new("hasty", socket, events);
    let method = cx.marker("hasty");
    // The transport may have ended already; then the log says so.
    let _ = peer
        .socket
        .emit("rpc-register", json!({"method": method}))
        .await;
    let answered = peer
        .call_within("ping", (), cx.shared.pace.patience())
        .await
        .is_ok();
    // What was handled before the ping is answered at once, where it is answered at all.
    let until = Instant::now() + cx.shared.pace.settle();
    let registered = peer
        .wait_for(until, |arrival| arrival.name == "rpc-registered")
        .await
        .is_some();
    let word = match (answered, registered) {
        (_, true) => "handled",
        (true, false) => "lost",
        (false, false) if peer.ended().is_some() => "closed",
        (false, false) => "silent",
    };
    cx.fact("handshake.events-with-connect", word);
    cx.held(&WITH_CONNECT);
    Ok(())
}
