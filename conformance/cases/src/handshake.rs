//! The handshake in all its forms: who is admitted, who is refused, and how.
//!
//! Both ways in which real servers refuse are fine: CONNECT_ERROR, or a connection that gets an `error`
//! event and is ended. That somebody is admitted is proved by an answer to a ping.

use serde_json::{Value, json};
use tokio::time::Instant;
use touchstone_harness::own::{ADMITS_MACHINE_SCOPED, ADMITS_SESSION_SCOPED, ADMITS_USER_SCOPED};

use super::admission::{Admission, attempt, ended};
use touchstone_harness::{
    case::{Flow, case_table},
    ctx::{Ctx, Scope},
    ledger::{Requirement, requirement_table},
    stage::{Delivery, Role, Stage, Wanted},
    words,
};

requirement_table! {
    NO_CLIENT_TYPE = "handshake.no-client-type", Should, Decision,
        "A connection without a clientType is user-scoped.";
    ODD_CLIENT_TYPE = "handshake.odd-client-type", Info, Decision,
        "A connection with an unknown clientType is user-scoped or refused.";
    MISSING_TOKEN = "handshake.missing-token", Must, Decision,
        "A missing or empty token is refused.";
    INVALID_TOKEN = "handshake.invalid-token", Must, Decision,
        "A token that is not valid, or no text, is refused.";
    MISSING_SESSION = "handshake.missing-session-id", Must, Decision,
        "A session-scoped connection without a sessionId is refused.";
    MISSING_MACHINE = "handshake.missing-machine-id", Must, Decision,
        "A machine-scoped connection without a machineId is refused.";
    TELLS_WHY = "handshake.refusal-tells-why", Should, Decision,
        "Who is refused is told why, by CONNECT_ERROR or an error event; a bare end of the connection \
         leaves the client without a reason.";
    REFUSAL_TEXT = "handshake.refusal-text", Should, Decision,
        "The reason of a refusal has the text that clients know.";
    REFUSED_GETS_NOTHING = "handshake.refused-gets-nothing", Must, Decision,
        "No update or ephemeral ever reaches a refused connection.";
    FOREIGN_IDS = "handshake.foreign-ids", Info, Decision,
        "A connection with the id of an unknown or foreign session or machine may be admitted, refused or \
         dropped. Load tests use invented ids: they need a server that admits them, which a right server \
         need not be.";
    UNKNOWN_ID_SERVED = "handshake.unknown-id-served", Must, Decision,
        "A connection that was admitted with an unknown session or machine id is served.";
    NUMBERS = "handshake.numbers", Info, Decision,
        "Ping interval, ping timeout and the largest payload are the server's choice.";
    MAX_PAYLOAD = "handshake.max-payload", Should, Decision,
        "The largest payload is at least a million bytes.";
}

case_table! {
    /// Connects user-scoped with a valid token.
    ///
    /// Accepted is a connection whose ping is answered. Typical cause of a failure: the token is verified
    /// with another key or library than the one that signed it, or `clientType` is compared with another
    /// spelling.
    "handshake.user-scoped" judges [ADMITS_USER_SCOPED] => user_scoped;

    /// Connects session-scoped with a valid token and the id of a session of the account.
    ///
    /// Accepted is a connection whose ping is answered. Typical cause of a failure: the session is looked
    /// up under the wrong account or under its tag, or `sessionId` is read from the query instead of the
    /// auth object.
    "handshake.session-scoped" judges [ADMITS_SESSION_SCOPED] => session_scoped;

    /// Connects machine-scoped with a valid token and the id of a machine of the account.
    ///
    /// Accepted is a connection whose ping is answered. Typical cause of a failure: the machine has to be
    /// online or in the database of this process already, or `machineId` is read from the query instead of
    /// the auth object.
    "handshake.machine-scoped" judges [ADMITS_MACHINE_SCOPED] => machine_scoped;

    /// Connects without a clientType, with null, and with an unknown one.
    ///
    /// Without one, the connection must be admitted and receive what only user-scoped connections do: the
    /// oldest clients do not send it. The other two are noted on the dialect card. Typical cause of a
    /// failure: a missing `clientType` is refused as invalid instead of being taken for user-scoped; or
    /// such a connection joins no room.
    "handshake.client-type" judges [NO_CLIENT_TYPE, ODD_CLIENT_TYPE] => client_type;

    /// Connects without auth, with an empty object, and with an empty token or null for it.
    ///
    /// Accepted is a refusal that says `Missing authentication token`. Typical cause of a failure: the
    /// token is handed to the verifier without a check, and the verifier's own text is answered; or an
    /// empty text passes as a token.
    "handshake.missing-token" judges [MISSING_TOKEN, TELLS_WHY, REFUSAL_TEXT] => missing_token;

    /// Connects with a token that the server never issued, with a valid one that was changed in its
    /// first character, and with a number, a list, an object and `true` for it.
    ///
    /// Accepted is a refusal that says `Invalid authentication token`. Typical cause of a failure: the
    /// token is decoded without its signature being verified, or a value that is not a text throws in the
    /// verifier and the connection stays as it is.
    "handshake.invalid-token" judges [INVALID_TOKEN, TELLS_WHY, REFUSAL_TEXT] => invalid_token;

    /// Connects session-scoped with a valid token, but without a sessionId and with an empty one.
    ///
    /// Accepted is a refusal that says `Session ID required for session-scoped clients`, and that nothing
    /// of the account reaches the connection. Typical cause of a failure: the connection is registered
    /// before its scope is checked.
    "handshake.missing-session-id" judges [
        MISSING_SESSION, TELLS_WHY, REFUSAL_TEXT, REFUSED_GETS_NOTHING
    ] => missing_session;

    /// Connects machine-scoped with a valid token, but without a machineId and with an empty one.
    ///
    /// Accepted is a refusal that says `Machine ID required for machine-scoped clients`, and that nothing
    /// of the account reaches the connection. Typical cause of a failure: the connection is registered
    /// before its scope is checked, or an empty text passes as an id.
    "handshake.missing-machine-id" judges [
        MISSING_MACHINE, TELLS_WHY, REFUSAL_TEXT, REFUSED_GETS_NOTHING
    ] => missing_machine;

    /// Connects with ids of a session and a machine that do not exist.
    ///
    /// A server may refuse that. One that admits it has to serve the connection: load tests use invented
    /// ids. Typical cause of a failure: the connection is admitted, and its first handler fails since it
    /// cannot find the session or machine.
    "handshake.unknown-ids" judges [FOREIGN_IDS, UNKNOWN_ID_SERVED] => unknown_ids;

    /// Reads the numbers of the Engine.IO handshake.
    ///
    /// They are noted on the dialect card. Messages of up to a million bytes are in use, so that a smaller
    /// maxPayload loses data. Typical cause of a failure: `maxHttpBufferSize` or the limit of a proxy is
    /// left at a default that is smaller than what clients send.
    "handshake.numbers" judges [NUMBERS, MAX_PAYLOAD] => numbers;
}

/// Judges one refusal. Gives what came of it, for those who look further.
pub(super) async fn refused(
    cx: &mut Ctx,
    name: &str,
    auth: Option<Value>,
    by: &'static Requirement,
    text: &str,
) -> Flow<Admission> {
    let shown = auth.as_ref().map_or_else(
        || "no auth".to_owned(),
        |auth| {
            let mut auth = auth.clone();
            if auth["token"].as_str().is_some_and(|token| token.len() > 20) {
                auth["token"] = json!("<valid>");
            }
            auth.to_string()
        },
    );
    let mut admission = attempt(cx, name, auth).await?;
    if let Admission::Admitted(peer) = admission {
        // A server that verifies tokens aside may serve a connection for a moment before it refuses it.
        admission = ended(cx, peer).await.unwrap_or_else(Admission::Admitted);
    }
    let held = admission.is_refusal();
    let told = format!(
        "a refusal of {shown} within {:.0} s",
        cx.shared.pace.patience().as_secs_f64()
    );
    if !cx.check(by, held, told, admission.told()) {
        return Ok(admission);
    }
    let (style, message) = match &admission {
        Admission::ConnectError { message } => ("connect-error", Some(message)),
        Admission::ErrorEvent { message, .. } => ("error-event", Some(message)),
        _ => ("drop", None),
    };
    cx.fact("handshake.refusal", style);
    cx.check(
        &TELLS_WHY,
        message.is_some(),
        "CONNECT_ERROR, or an error event before the end",
        admission.told(),
    );
    if let Some(message) = message {
        cx.check(
            &REFUSAL_TEXT,
            message == text,
            words::quoted(text),
            words::quoted(message),
        );
    }
    Ok(admission)
}

async fn missing_token(cx: &mut Ctx) -> Flow {
    let text = "Missing authentication token";
    let rows = [
        None,
        Some(json!({})),
        Some(json!({"clientType": "user-scoped"})),
        Some(json!({"token": "", "clientType": "user-scoped"})),
        Some(json!({"token": null, "clientType": "user-scoped"})),
    ];
    for auth in rows {
        refused(cx, "nobody", auth, &MISSING_TOKEN, text).await?;
    }
    Ok(())
}

async fn invalid_token(cx: &mut Ctx) -> Flow {
    let text = "Invalid authentication token";
    let account = cx.account().await?;
    let valid = account.token();
    // The last characters of a signature may be padding, so it is the first one that changes.
    let first = if valid.starts_with('q') { "z" } else { "q" };
    let changed: String = std::iter::once(first).chain(valid.get(1..)).collect();
    let tokens = [
        json!("not-a-token"),
        json!(changed),
        json!(12345),
        json!([valid]),
        json!({"a": 1}),
        json!(true),
    ];
    for token in tokens {
        let auth = Some(json!({"token": token, "clientType": "user-scoped"}));
        refused(cx, "nobody", auth, &INVALID_TOKEN, text).await?;
    }
    Ok(())
}

async fn missing_session(cx: &mut Ctx) -> Flow {
    let text = "Session ID required for session-scoped clients";
    missing_id(cx, "session-scoped", "sessionId", &MISSING_SESSION, text).await
}

async fn missing_machine(cx: &mut Ctx) -> Flow {
    let text = "Machine ID required for machine-scoped clients";
    missing_id(cx, "machine-scoped", "machineId", &MISSING_MACHINE, text).await
}

async fn missing_id(
    cx: &mut Ctx,
    client_type: &str,
    key: &str,
    by: &'static Requirement,
    text: &str,
) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    let token = stage.account.token();
    for id in [None, Some("")] {
        let mut auth = json!({"token": token, "clientType": client_type});
        if let Some(id) = id {
            auth[key] = json!(id);
        }
        // Events of the account are on their way while the connection is made.
        let alive = json!({"sid": stage.s1.id, "time": cx.recent_time()});
        cx.emit(stage.peer(Role::U1), "session-alive", alive)
            .await?;
        let admission = refused(cx, "refused", Some(auth), by, text).await?;
        stage.prove_silence(cx).await?;
        let heard = match &admission {
            Admission::ErrorEvent { peer, .. } | Admission::Admitted(peer) => {
                peer.all(|arrival| matches!(arrival.name.as_str(), "update" | "ephemeral"))
            }
            _ => Vec::new(),
        };
        let shown = heard
            .first()
            .map_or_else(String::new, |arrival| arrival.raw.clone());
        let told = "no update and no ephemeral for a refused connection";
        cx.check(&REFUSED_GETS_NOTHING, heard.is_empty(), told, shown);
    }
    Ok(())
}

/// Admission of one scope: its ping is answered. What it then receives is for the cases about recipients.
async fn admitted(cx: &mut Ctx, role: Role, by: &'static Requirement) -> Flow {
    let account = cx.account().await?;
    let id = match role {
        Role::S1 => cx.session(&account).await?.id,
        Role::M1 => cx.machine(&account).await?.id,
        _ => String::new(),
    };
    let scope = match role {
        Role::S1 => Scope::Session(&id),
        Role::M1 => Scope::Machine(&id),
        _ => Scope::User,
    };
    let admission = attempt(cx, "admitted", Some(scope.auth(account.token()))).await?;
    let held = matches!(admission, Admission::Admitted(_));
    cx.check(
        by,
        held,
        "a connection whose ping is answered",
        admission.told(),
    );
    Ok(())
}

async fn user_scoped(cx: &mut Ctx) -> Flow {
    admitted(cx, Role::U1, &ADMITS_USER_SCOPED).await
}

async fn session_scoped(cx: &mut Ctx) -> Flow {
    admitted(cx, Role::S1, &ADMITS_SESSION_SCOPED).await
}

async fn machine_scoped(cx: &mut Ctx) -> Flow {
    admitted(cx, Role::M1, &ADMITS_MACHINE_SCOPED).await
}

async fn client_type(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2]).await?;
    let token = stage.account.token();
    let rows = [
        ("missing", json!({"token": token})),
        ("null", json!({"token": token, "clientType": null})),
        (
            "unknown",
            json!({"token": token, "clientType": "super-scoped"}),
        ),
    ];
    for (name, auth) in rows {
        let admission = attempt(cx, name, Some(auth)).await?;
        let Admission::Admitted(peer) = &admission else {
            cx.fact(&format!("handshake.client-type-{name}"), "refused");
            if name == "missing" {
                cx.broken(
                    &NO_CLIENT_TYPE,
                    "a user-scoped connection",
                    admission.told(),
                );
            }
            continue;
        };
        if name == "missing" {
            stage.prove_newcomer(cx, peer).await?;
        }
        // Activity is for user-scoped connections only, and a session of its own makes it recognisable.
        let session = cx.session(&stage.account).await?;
        let alive = json!({"sid": session.id, "time": cx.recent_time()});
        cx.emit(stage.peer(Role::U1), "session-alive", alive)
            .await?;
        let activity = Delivery {
            wanted: Wanted::ephemeral("activity", &session.id),
            reaches: &[Role::U1, Role::U2],
            by: &super::presence::ALIVE,
            spares: &[],
        };
        stage.observe(cx, &[activity]).await?;
        let wanted = Wanted::ephemeral("activity", &session.id);
        // What everybody has received can only be late here, not absent, when it is sent at all.
        let deadline = if name == "missing" {
            cx.deadline()
        } else {
            Instant::now() + cx.shared.pace.settle()
        };
        let seen = peer
            .wait_for(deadline, |arrival| wanted.matches(arrival))
            .await;
        let scope = if seen.is_some() {
            "user-scoped"
        } else {
            "not user-scoped"
        };
        if name == "missing" {
            let told = "the activity of a session";
            cx.check(&NO_CLIENT_TYPE, seen.is_some(), told, "nothing");
        } else {
            cx.fact(&format!("handshake.client-type-{name}"), scope);
        }
    }
    cx.held(&ODD_CLIENT_TYPE);
    Ok(())
}

async fn unknown_ids(cx: &mut Ctx) -> Flow {
    let account = cx.account().await?;
    let id = cx.marker("nobody");
    for scope in [Scope::Session(&id), Scope::Machine(&id)] {
        let admission = attempt(cx, "unknown", Some(scope.auth(account.token()))).await?;
        let outcome = match &admission {
            Admission::Admitted(_) => "admitted",
            _ => "refused",
        };
        cx.fact("handshake.unknown-ids", outcome);
        let decided = !matches!(admission, Admission::Undecided);
        let told = "an answer to a ping, or a refusal";
        cx.check(&UNKNOWN_ID_SERVED, decided, told, admission.told());
    }
    cx.held(&FOREIGN_IDS);
    Ok(())
}

async fn numbers(cx: &mut Ctx) -> Flow {
    let account = cx.account().await?;
    let peer = cx.connect("u1", account.token(), Scope::User).await?;
    let handshake = peer.socket.handshake().clone();
    let ms =
        |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    cx.fact("handshake.ping-interval-ms", ms(handshake.ping_interval));
    cx.fact("handshake.ping-timeout-ms", ms(handshake.ping_timeout));
    cx.fact("handshake.max-payload", json!(handshake.max_payload));
    cx.held(&NUMBERS);
    // A server that does not say has no limit that a client could respect.
    let enough = handshake.max_payload.is_none_or(|bytes| bytes >= 1_000_000);
    let told = handshake.max_payload.unwrap_or_default();
    cx.check(&MAX_PAYLOAD, enough, "maxPayload of at least 1000000", told);
    Ok(())
}
