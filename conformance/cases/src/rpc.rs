//! Calls between connections: `rpc-register`, `rpc-unregister`, `rpc-call`.

use futures_util::future::join_all;
use serde_json::{Value, json};
use touchstone_client::Args;

use super::calling::{answer_as, call_absent, echo, leaves, register, register_as, requests, rpc};
use touchstone_harness::{
    case::{Flow, Stop, case_table},
    ctx::{Ctx, Scope},
    ledger::requirement_table,
    peer::Arrival,
    stage::{Role, Stage},
};

requirement_table! {
    REGISTERED = "rpc.register.answer", Must, Specification,
        "rpc-register is answered with the event rpc-registered, which names the method.";
    UNREGISTERED = "rpc.unregister.answer", Must, Specification,
        "rpc-unregister is answered with the event rpc-unregistered, which names the method.";
    INVALID_METHOD = "rpc.invalid-method", Must, Specification,
        "Registering or unregistering without a method name is answered with the event rpc-error, which \
         tells its type and an error.";
    INVALID_METHOD_TEXT = "rpc.invalid-method-text", Should, Decision,
        "The error for a bad method name is `Invalid method name`.";
    CALL = "rpc.call.answer", Must, Specification,
        "A call of a registered method is answered with ok and the callee's result.";
    REQUEST = "rpc.call.request", Must, Specification,
        "The callee receives rpc-request with method and params as they were sent, exactly once.";
    REQUEST_ALONE = "rpc.call.request-alone", Should, Decision,
        "The callee receives nothing with an rpc-request besides method and params.";
    NO_RESULT = "rpc.call.no-result", Should, Decision,
        "A callee that acknowledges without any argument makes an answer of just ok.";
    NOT_AVAILABLE = "rpc.call.not-available", Must, Specification,
        "A call of a method that nobody has registered is answered with ok false and an error.";
    NOT_AVAILABLE_TEXT = "rpc.call.not-available-text", Should, Decision,
        "The error for an absent method is `RPC method not available`.";
    SAME_SOCKET = "rpc.call.same-socket", Should, Decision,
        "A call of one's own method is answered with ok false and an error.";
    SAME_SOCKET_TEXT = "rpc.call.same-socket-text", Should, Decision,
        "The error for one's own method is `Cannot call RPC on the same socket`.";
    NO_METHOD = "rpc.call.no-method", Must, Specification,
        "A call without a method is answered with ok false and an error.";
    NO_METHOD_TEXT = "rpc.call.no-method-text", Should, Decision,
        "The error for a missing method is `Invalid parameters: method is required`.";
    GONE = "rpc.unregister.effect", Must, Specification,
        "A method that was unregistered is not called any more.";
    STRANGER = "rpc.unregister.stranger", Should, Decision,
        "Unregistering a method of another connection is answered and changes nothing.";
    OWN_ACCOUNT = "rpc.own-account", Must, Decision,
        "A call reaches only methods of the caller's own account, whatever others have registered \
         under the same name.";
    INDEPENDENT = "rpc.call.independent", Should, Decision,
        "Calls of one caller do not wait for each other, and each has its own result.";
    RETURNS = "rpc.returns", Should, Decision,
        "A method whose connection was lost is callable again once it is registered anew, also for \
         callers that were connected before.";
    ONE_OWNER = "rpc.one-callee", Must, Decision,
        "When several connections have registered a method, one of them receives the call.";
    OWNER = "rpc.owner", Info, Decision,
        "Which of several registrants answers is the server's choice.";
    SECOND = "rpc.register.second", Should, Decision,
        "A connection may register a method that another one has registered.";
    STAYS = "rpc.stays-callable", Should, Decision,
        "A method stays callable, call after call and by any caller, as long as its connection lives, \
         without any heartbeat.";
}

case_table! {
    /// Registers a method and takes it back.
    ///
    /// Accepted are the events `rpc-registered` and `rpc-unregistered` with the method's name. Typical
    /// cause of a failure: the answer is given as an acknowledgement instead of an event, or the event
    /// lacks the method.
    "rpc.register" judges [REGISTERED, UNREGISTERED] => register_and_back;

    /// Registers and unregisters without a method, with null and with an empty name.
    ///
    /// Accepted is the event `rpc-error` with the type of the request. Typical cause of a failure: an empty
    /// or missing method is registered like any other, or the handler returns without a word.
    "rpc.invalid-method" judges [INVALID_METHOD, INVALID_METHOD_TEXT] => invalid_method;

    /// A user-scoped connection calls a method of a machine with texts, which the callee gives back as its
    /// result.
    ///
    /// Accepted is one `rpc-request` with just these params and no other field, and an answer with just
    /// this result. Typical cause of a failure: the params are wrapped in an object or parsed on their way,
    /// or the acknowledgement of the callee is passed on as a list.
    "rpc.call" judges [CALL, REQUEST, REQUEST_ALONE] => call;

    /// Calls a method whose callee acknowledges without arguments.
    ///
    /// Accepted is `{ok: true}`, with no result or a null one. Typical cause of a failure: the first
    /// argument of an acknowledgement without arguments is read without a check, which throws or answers
    /// nothing.
    "rpc.no-result" judges [NO_RESULT] => no_result;

    /// Calls a method that nobody has registered.
    ///
    /// Accepted is `{ok: false}`. Servers may wait up to 15 s for somebody to register it. Typical cause of
    /// a failure: a method that is not registered is waited for without a limit, or the handler returns
    /// without calling the callback.
    "rpc.not-available" judges [NOT_AVAILABLE, NOT_AVAILABLE_TEXT] => not_available;

    /// Calls without a method, with null, and with an empty name.
    ///
    /// Accepted is `{ok: false}` and the text that names what is missing. Typical cause of a failure: the
    /// method is looked up without a check and reported as not available, or the handler throws before it
    /// answers.
    "rpc.no-method" judges [NO_METHOD, NO_METHOD_TEXT] => no_method;

    /// A connection calls the method that it has registered itself.
    ///
    /// Accepted is the error that says so; without it, the caller would wait for itself. Typical cause of a
    /// failure: the owner of the method is called without being compared with the caller.
    "rpc.same-socket" judges [SAME_SOCKET, SAME_SOCKET_TEXT] => same_socket;

    /// Registers two methods, calls one of them, unregisters it, and calls both.
    ///
    /// Accepted is `{ok: false}` and no further request for the one, and the result of the other. Typical
    /// cause of a failure: the method is removed from one of two maps, or under another key than it was
    /// registered; who owns a method is kept from the last call; or all methods of a connection go with one.
    "rpc.unregister" judges [GONE, STAYS] => unregister;

    /// A connection unregisters the method of another one, which is then called.
    ///
    /// Accepted is that the call reaches its callee as before. Typical cause of a failure: a method is
    /// removed by its name alone, without a look at whose it is.
    "rpc.unregister-stranger" judges [STRANGER] => stranger;

    /// Two accounts register the same method name; a connection of each calls it.
    ///
    /// Accepted is that each call is answered by the callee of its own account. Typical cause of a
    /// failure: one map of methods for all accounts.
    "rpc.accounts" judges [OWN_ACCOUNT] => accounts;

    /// Calls a method that is never answered, and twenty others at the same time.
    ///
    /// Accepted is that the twenty are answered at once, each with its own result. Typical cause of a
    /// failure: calls are awaited one after the other, by connection or for the whole account, so that one
    /// silent callee blocks all.
    "rpc.overlapping" judges [INDEPENDENT] => overlapping;

    /// A callee loses its connection, connects again, and registers its method again.
    ///
    /// Accepted is that a caller who was connected all the time reaches it. Typical cause of a failure: the
    /// end of the old connection is noticed after the new one has registered, and takes the new
    /// registration away; or callers keep the old connection.
    "rpc.reconnect" judges [RETURNS] => reconnect;

    /// Two connections register the same method, a third one calls it.
    ///
    /// Accepted is that exactly one of them receives the request. Which one is noted on the dialect card.
    /// Typical cause of a failure: the request is sent to a room or to all who have registered, instead of
    /// one connection.
    "rpc.several-registrants" judges [ONE_OWNER, OWNER] => several;
}

async fn register_and_back(cx: &mut Ctx) -> Flow {
    const ROLES: [Role; 3] = [Role::U1, Role::S1, Role::M1];
    let stage = Stage::set(cx, &ROLES).await?;
    for peer in ROLES.map(|role| stage.peer(role)) {
        let method = cx.marker("method");
        for (event, answer, by) in [
            ("rpc-register", "rpc-registered", &REGISTERED),
            ("rpc-unregister", "rpc-unregistered", &UNREGISTERED),
        ] {
            cx.emit(peer, event, json!({"method": method})).await?;
            let named = |a: &Arrival| a.name == answer && a.raw.contains(&method);
            let answered = cx.arrival(peer, answer, named).await;
            let told = format!("the event {answer} for {method} at {}", peer.who);
            cx.require(by, answered.is_some(), told, "no such event")?;
            if let Some(arrival) = answered {
                cx.schema(by, by, &format!("rpc/{answer}"), &arrival.data)?;
            }
        }
    }
    Ok(())
}

async fn invalid_method(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::S1]).await?;
    let peer = stage.peer(Role::S1);
    let mut expected = 0;
    for kind in ["register", "unregister"] {
        for data in [json!({}), json!({"method": null}), json!({"method": ""})] {
            expected += 1;
            cx.emit(peer, &format!("rpc-{kind}"), data.clone()).await?;
            let deadline = cx.deadline();
            let answered = peer
                .wait(deadline, |log| {
                    log.iter()
                        .filter(|a| a.name == "rpc-error")
                        .nth(expected - 1)
                        .cloned()
                })
                .await;
            let Some(error) = answered else {
                let told = format!("rpc-error for rpc-{kind} of {data}");
                cx.broken(&INVALID_METHOD, told, "no such event");
                return Ok(());
            };
            cx.schema(
                &INVALID_METHOD,
                &INVALID_METHOD,
                "rpc/rpc-error",
                &error.data,
            )?;
            cx.equal(&INVALID_METHOD, "type", &json!(kind), &error.data["type"]);
            let text = json!("Invalid method name");
            cx.equal(&INVALID_METHOD_TEXT, "error", &text, &error.data["error"]);
        }
    }
    Ok(())
}

async fn call(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::M1]).await?;
    let callee = stage.peer(Role::M1);
    let method = cx.marker("method");
    echo(callee);
    register(cx, callee, &method).await?;
    let texts = [
        cx.marker("params"),
        "text with \u{1F980} and \"quotes\"".to_owned(),
        String::new(),
    ];
    for (place, text) in texts.iter().enumerate() {
        let answer = rpc(cx, &CALL, stage.peer(Role::U1), &method, text).await?;
        let held = answer["ok"] == true && answer["result"] == *text;
        cx.check(&CALL, held, json!({"ok": true, "result": text}), answer);
        let log = requests(callee, &method);
        let once = log.len() == place + 1;
        cx.check(
            &REQUEST,
            once,
            "one request for a call",
            format!("{} in all", log.len()),
        );
        if let Some(request) = log.last() {
            cx.schema(&REQUEST, &REQUEST, "rpc/rpc-request", request)?;
            let same = request["method"] == json!(method) && request["params"] == *text;
            let expected = json!({"method": method, "params": text});
            cx.check(&REQUEST, same, expected, request);
            let mut fields = request.as_object().into_iter().flatten();
            let alone = fields.all(|(key, _)| matches!(key.as_str(), "method" | "params"));
            cx.check(&REQUEST_ALONE, alone, "method and params alone", request);
        }
    }
    Ok(())
}

async fn no_result(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::S1]).await?;
    let callee = stage.peer(Role::S1);
    let method = cx.marker("method");
    callee.respond(|_| Some(Args::from(())));
    register(cx, callee, &method).await?;
    let answer = rpc(cx, &NO_RESULT, stage.peer(Role::U1), &method, "call").await?;
    let held = answer["ok"] == true && answer.get("result").is_none_or(Value::is_null);
    cx.check(&NO_RESULT, held, json!({"ok": true}), answer);
    Ok(())
}

async fn not_available(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1]).await?;
    let method = cx.marker("method");
    let answer = call_absent(cx, &NOT_AVAILABLE, stage.peer(Role::U1), &method).await?;
    cx.schema(
        &NOT_AVAILABLE,
        &NOT_AVAILABLE,
        "ack/rpc-call.error",
        &answer,
    )?;
    let text = json!("RPC method not available");
    cx.equal(&NOT_AVAILABLE_TEXT, "error", &text, &answer["error"]);
    Ok(())
}

async fn no_method(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1]).await?;
    for data in [
        json!({"params": 1}),
        json!({"method": null}),
        json!({"method": ""}),
    ] {
        let answer = cx
            .call(&NO_METHOD, stage.peer(Role::U1), "rpc-call", data.clone())
            .await?;
        let refused = answer["ok"] == false && answer["error"].is_string();
        cx.check(&NO_METHOD, refused, format!("ok false for {data}"), &answer);
        let text = json!("Invalid parameters: method is required");
        cx.equal(&NO_METHOD_TEXT, "error", &text, &answer["error"]);
    }
    Ok(())
}

async fn same_socket(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1]).await?;
    let peer = stage.peer(Role::U1);
    let method = cx.marker("method");
    answer_as(peer, "itself");
    register(cx, peer, &method).await?;
    let answer = rpc(cx, &SAME_SOCKET, peer, &method, "call").await?;
    let refused = answer["ok"] == false && answer["error"].is_string();
    if cx.check(&SAME_SOCKET, refused, "ok false and an error", &answer) {
        let text = json!("Cannot call RPC on the same socket");
        cx.equal(&SAME_SOCKET_TEXT, "error", &text, &answer["error"]);
    }
    Ok(())
}

async fn unregister(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::S1]).await?;
    let callee = stage.peer(Role::S1);
    let method = cx.marker("method");
    let kept = cx.marker("kept");
    answer_as(callee, "s1");
    for name in [&method, &kept] {
        register(cx, callee, name).await?;
    }
    let caller = stage.peer(Role::U1);
    rpc(cx, &CALL, caller, &method, "call").await?;
    let before = requests(callee, &method).len();
    cx.emit(callee, "rpc-unregister", json!({"method": method}))
        .await?;
    let answered = cx
        .arrival(callee, "rpc-unregistered", |a| a.name == "rpc-unregistered")
        .await;
    if answered.is_none() {
        let reason = String::from("rpc-unregister is not answered");
        return Err(Stop::Blocked {
            parent: &UNREGISTERED,
            reason,
        });
    }
    let answer = call_absent(cx, &GONE, caller, &method).await?;
    let silent = requests(callee, &method).len() == before;
    cx.check(
        &GONE,
        answer["ok"] == false && silent,
        "ok false and no request",
        answer,
    );
    let answer = rpc(cx, &STAYS, caller, &kept, "call").await?;
    let expected = "the result of the method that was not unregistered";
    cx.check(&STAYS, answer["result"] == "s1", expected, answer);
    Ok(())
}

async fn stranger(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::S1]).await?;
    let method = cx.marker("method");
    answer_as(stage.peer(Role::S1), "s1");
    register(cx, stage.peer(Role::S1), &method).await?;
    let stranger = stage.peer(Role::U2);
    cx.emit(stranger, "rpc-unregister", json!({"method": method}))
        .await?;
    let answered = cx
        .arrival(stranger, "rpc-unregistered", |a| {
            a.name == "rpc-unregistered"
        })
        .await;
    cx.check(
        &STRANGER,
        answered.is_some(),
        "the event rpc-unregistered",
        "no such event",
    );
    let answer = rpc(cx, &STRANGER, stage.peer(Role::U1), &method, "call").await?;
    let expected = json!({"ok": true, "result": "s1"});
    cx.check(&STRANGER, answer["result"] == "s1", expected, answer);
    Ok(())
}

async fn accounts(cx: &mut Ctx) -> Flow {
    let own = cx.account().await?;
    let other = cx.account().await?;
    let (own_session, other_session) = (cx.session(&own).await?, cx.session(&other).await?);
    let method = cx.marker("method");
    let own_callee = cx
        .connect("a-callee", own.token(), Scope::Session(&own_session.id))
        .await?;
    let other_callee = cx
        .connect("b-callee", other.token(), Scope::Session(&other_session.id))
        .await?;
    let own_caller = cx.connect("a-caller", own.token(), Scope::User).await?;
    let other_caller = cx.connect("b-caller", other.token(), Scope::User).await?;
    answer_as(&own_callee, "a");
    answer_as(&other_callee, "b");
    register(cx, &own_callee, &method).await?;
    register(cx, &other_callee, &method).await?;
    // Both directions: whichever of the two a shared map of methods prefers, one call goes astray.
    for (caller, name) in [(&own_caller, "a"), (&other_caller, "b")] {
        let answer = rpc(cx, &OWN_ACCOUNT, caller, &method, name).await?;
        let told = format!("the call of {name} to be answered by the callee of account {name}");
        cx.check(&OWN_ACCOUNT, answer["result"] == name, told, answer);
    }
    Ok(())
}

async fn overlapping(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::S1, Role::S2]).await?;
    let (silent, echoing) = (cx.marker("silent"), cx.marker("echo"));
    stage.peer(Role::S1).respond(|_| None);
    register(cx, stage.peer(Role::S1), &silent).await?;
    echo(stage.peer(Role::S2));
    register(cx, stage.peer(Role::S2), &echoing).await?;
    let caller = stage.peer(Role::U1);
    // The answer to this one comes when the server gives up, long after the case.
    let pending = caller
        .socket
        .request("rpc-call", json!({"method": silent, "params": "call"}))
        .await;
    let _pending = pending.map_err(|end| cx.dropped(caller, &end))?;
    let calls = (0..20).map(|n| {
        cx.ask(
            caller,
            "rpc-call",
            json!({"method": echoing, "params": n.to_string()}),
        )
    });
    let mut wrong = Vec::new();
    for (n, answer) in join_all(calls).await.into_iter().enumerate() {
        match answer? {
            Ok(answer) if answer.data["result"] == json!(n.to_string()) => {}
            Ok(answer) => wrong.push(format!("call {n} is answered with {}", answer.data)),
            Err(_) => wrong.push(format!("call {n} is not answered")),
        }
    }
    cx.check(
        &INDEPENDENT,
        wrong.is_empty(),
        "each call its own result",
        wrong.join("; "),
    );
    Ok(())
}

async fn reconnect(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1]).await?;
    let machine = cx.machine(&stage.account).await?;
    let method = cx.marker("method");
    let token = stage.account.token();
    let first = cx
        .connect("before", token, Scope::Machine(&machine.id))
        .await?;
    answer_as(&first, "before");
    register(cx, &first, &method).await?;
    let caller = stage.peer(Role::U1);
    leaves(cx, &first, &machine.id, caller).await;
    drop(first);
    let second = cx
        .connect("after", token, Scope::Machine(&machine.id))
        .await?;
    answer_as(&second, "after");
    register(cx, &second, &method).await?;
    let answer = rpc(cx, &RETURNS, caller, &method, "call").await?;
    let expected = json!({"ok": true, "result": "after"});
    cx.check(&RETURNS, answer["result"] == "after", expected, answer);
    Ok(())
}

async fn several(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::S1, Role::S2]).await?;
    let method = cx.marker("method");
    for (role, name) in [(Role::S1, "first"), (Role::S2, "last")] {
        answer_as(stage.peer(role), name);
        register_as(cx, stage.peer(role), &method, &SECOND).await?;
    }
    let answer = rpc(cx, &ONE_OWNER, stage.peer(Role::U1), &method, "call").await?;
    let asked: usize = [Role::S1, Role::S2]
        .iter()
        .map(|role| requests(stage.peer(*role), &method).len())
        .sum();
    let held = answer["ok"] == true && asked == 1;
    cx.check(
        &ONE_OWNER,
        held,
        "one request, and its result",
        format!("{asked}, {answer}"),
    );
    cx.fact("rpc.owner", answer["result"].clone());
    cx.held(&OWNER);
    Ok(())
}
