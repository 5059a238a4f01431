//! Calls under way: answers out of order, odd answers, and peers that stay silent or leave.

use serde_json::{Value, json};
use touchstone_client::Args;

use super::{
    calling::{answer_as, echo, register, requests, rpc},
    rpc::{self, INDEPENDENT},
};
use touchstone_harness::{
    case::{Flow, Stop, case_table},
    ctx::{Ctx, NoAnswer, Scope, same_json},
    ledger::requirement_table,
    peer::{Arrival, Peer},
    stage::{Role, Stage},
    words,
};

requirement_table! {
    FIRST_ARGUMENT = "rpc.call.first-argument", Should, Decision,
        "Of several arguments that a callee acknowledges with, the first is the result.";
    NO_CALLBACK = "rpc.call.no-callback", Should, Decision,
        "A call that asks for no answer reaches its callee all the same.";
    NAMES = "rpc.method-names", Should, Decision,
        "Any text is a method's name, also one in other scripts, with spaces, or with a meaning in the \
         server's language.";
    MANY = "rpc.many-methods", Should, Decision,
        "A connection may register many methods in one burst; each is answered and callable.";
    CALLER_LEAVES = "rpc.call.caller-leaves", Should, Decision,
        "A caller that leaves before its answer harms neither the callee nor later calls.";
    CALLEE_LEAVES = "rpc.call.callee-leaves", Should, Decision,
        "A call whose callee leaves is answered with ok false, at once or when the time for it is over.";
    SILENT = "rpc.call.silent-callee", Should, Decision,
        "A call that its callee never answers is answered with ok false when the server's time for it is \
         over, and not before half of it.";
    SILENT_TEXT = "rpc.call.silent-callee-text", Should, Decision,
        "The error for a silent callee is `operation has timed out`.";
    LATE_ANSWER = "rpc.call.late-answer", Should, Decision,
        "An answer that comes after the time for it harms nobody, and the method stays callable.";
    ABORT = "rpc.abort-delay", Info, Decision,
        "How soon a call fails whose callee has left is the server's choice.";
}

case_table! {
    /// Ten calls of one caller reach a callee, who answers them in reverse order.
    ///
    /// Accepted is that all ten requests arrive before any is answered, and that each call gets its own
    /// result. Typical causes of a failure: calls of one connection are handled one after the other, or
    /// answers are taken in the order of the calls.
    "rpc.out-of-order" judges [INDEPENDENT] => out_of_order;

    /// A callee acknowledges with three arguments.
    ///
    /// Accepted is the first of them as the result. Typical cause of a failure: the whole list of arguments
    /// is taken for the result, or the last one of them.
    "rpc.first-argument" judges [FIRST_ARGUMENT] => first_argument;

    /// Calls without a callback.
    ///
    /// Accepted is that the callee receives the request. Typical cause of a failure: the handler returns
    /// early, or throws, where no callback was given.
    "rpc.no-callback" judges [NO_CALLBACK] => no_callback;

    /// Registers and calls methods with unusual names: other scripts, spaces, quotes, very long, and words
    /// such as `__proto__` and `constructor`.
    ///
    /// Accepted is an answer `rpc-registered` with the very name, and a result. Typical cause of a failure:
    /// methods are the keys of a plain object.
    "rpc.method-names" judges [NAMES] => names;

    /// Registers seventeen methods in one burst without waiting, as a daemon does when it connects, and
    /// calls each.
    ///
    /// Accepted is an answer and a result for each of them. Typical cause of a failure: registrations of
    /// one burst are read and written back as a whole list, so that one overwrites another.
    "rpc.many-methods" judges [MANY] => many;

    /// A caller leaves while its call is under way; then the callee answers, and another one calls.
    ///
    /// Accepted is that the second caller has its result, and that the callee is still connected. Typical
    /// cause of a failure: the answer is sent to a connection that has ended, and the exception ends the
    /// callee's connection or blocks its queue.
    "rpc.caller-leaves" judges [CALLER_LEAVES] => caller_leaves;

    /// A callee leaves while a call is under way.
    ///
    /// Accepted is `ok: false`, with an error, at once or when the server gives up, 30 s later on most.
    /// Which of the two is noted on the dialect card. A call that is never answered blocks its caller, who
    /// has no timeout. Typical cause of a failure: the server waits for an acknowledgement without a time
    /// limit, and nothing wakes it when the callee's connection ends.
    "rpc.callee-leaves", slow judges [CALLEE_LEAVES, ABORT] => callee_leaves;

    /// Calls a method whose callee stays silent, until the server gives up: after 30 s on most, or what
    /// `--rpc-timeout` states. Then the callee answers all the same, and is called again.
    ///
    /// Accepted is `ok: false` with the error that names a timeout, and a second call with its own result.
    /// Typical cause of a failure: nobody takes the waiting call away, and its caller hangs.
    "rpc.silent-callee", slow judges [SILENT, SILENT_TEXT, LATE_ANSWER] => silent_callee;
}

/// Waits until `peer` has received `count` requests for `method`, and gives those that came.
async fn received(cx: &Ctx, peer: &Peer, method: &str, count: usize) -> Vec<Arrival> {
    let is_request = |a: &Arrival| a.name == "rpc-request" && a.raw.contains(method);
    let enough =
        |log: &[Arrival]| (log.iter().filter(|a| is_request(a)).count() >= count).then_some(());
    // What is missing after the deadline is for the caller of this to judge.
    peer.wait(cx.deadline(), enough).await;
    peer.all(is_request)
}

async fn out_of_order(cx: &mut Ctx) -> Flow {
    const CALLS: usize = 10;
    let stage = Stage::set(cx, &[Role::U1, Role::S1]).await?;
    let (caller, callee) = (stage.peer(Role::U1), stage.peer(Role::S1));
    let method = cx.marker("method");
    register(cx, callee, &method).await?;
    let mut pending = Vec::new();
    for n in 0..CALLS {
        let request = json!({"method": method, "params": n.to_string()});
        let call = caller.socket.request("rpc-call", request).await;
        pending.push(call.map_err(|end| cx.dropped(caller, &end))?);
    }
    let arrived = received(cx, callee, &method, CALLS).await;
    let expected = format!("{CALLS} requests before the first is answered");
    let count = arrived.len();
    cx.require(
        &INDEPENDENT,
        count == CALLS,
        expected,
        format!("{count} of them"),
    )?;
    for request in arrived.iter().rev() {
        if let Some(ack) = request.ack {
            let answered = callee
                .socket
                .answer(ack, request.data["params"].clone())
                .await;
            answered.map_err(|end| cx.dropped(callee, &end))?;
        }
    }
    let deadline = cx.deadline();
    for (n, call) in pending.into_iter().enumerate() {
        let answer = match tokio::time::timeout_at(deadline, call).await {
            Ok(Ok(reply)) => reply.data().unwrap_or(Value::Null),
            Ok(Err(error)) => {
                return Err(Stop::Dropped(touchstone_output::text::error_chain(&error)));
            }
            Err(_) => Value::from("no answer"),
        };
        let expected = json!({"ok": true, "result": n.to_string()});
        let held = answer["ok"] == true && answer["result"] == json!(n.to_string());
        cx.check(&INDEPENDENT, held, expected, answer);
    }
    Ok(())
}

async fn first_argument(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::S1]).await?;
    let method = cx.marker("method");
    let first = json!({"first": cx.marker("result")});
    let answer = vec![first.clone(), json!("second"), Value::Null];
    stage
        .peer(Role::S1)
        .respond(move |_| Some(Args::from(answer.clone())));
    register(cx, stage.peer(Role::S1), &method).await?;
    let answer = rpc(cx, &FIRST_ARGUMENT, stage.peer(Role::U1), &method, "call").await?;
    let expected = json!({"ok": true, "result": first});
    let held = answer["ok"] == true && same_json(&answer["result"], &first);
    cx.check(&FIRST_ARGUMENT, held, expected, answer);
    Ok(())
}

async fn no_callback(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::S1]).await?;
    let method = cx.marker("method");
    answer_as(stage.peer(Role::S1), "s1");
    register(cx, stage.peer(Role::S1), &method).await?;
    let request = json!({"method": method, "params": "call"});
    cx.emit(stage.peer(Role::U1), "rpc-call", request).await?;
    let arrived = received(cx, stage.peer(Role::S1), &method, 1).await;
    let count = arrived.len();
    cx.check(
        &NO_CALLBACK,
        count == 1,
        "one rpc-request",
        format!("{count} of them"),
    );
    Ok(())
}

async fn names(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::S1]).await?;
    let callee = stage.peer(Role::S1);
    echo(callee);
    let marker = cx.marker("m");
    let names = [
        format!("{marker}:bash"),
        format!("{marker} with spaces and \"quotes\" and \\ backslashes"),
        format!("{marker}-\u{65b9}\u{6cd5}-\u{43c}\u{435}\u{442}\u{43e}\u{434}-\u{1F980}-e\u{301}"),
        format!("{marker}.*/../#{{}}[]"),
        format!("{marker}{}", "x".repeat(4_000)),
        "__proto__".to_owned(),
        "constructor".to_owned(),
        "toString".to_owned(),
    ];
    // That methods can be registered at all is judged elsewhere.
    let plain = cx.marker("method");
    register(cx, callee, &plain).await?;
    for (n, name) in names.iter().enumerate() {
        cx.emit(callee, "rpc-register", json!({"method": name}))
            .await?;
        let deadline = cx.deadline();
        let registered = callee.wait_for(deadline, |a| {
            a.name == "rpc-registered" && a.data["method"] == json!(name)
        });
        let told = registered.await.is_some();
        cx.require(
            &NAMES,
            told,
            format!("rpc-registered for {}", words::quoted(name)),
            "no such event",
        )?;
        let answer = rpc(cx, &NAMES, stage.peer(Role::U1), name, &n.to_string()).await?;
        let held = answer["ok"] == true && answer["result"] == json!(n.to_string());
        cx.check(
            &NAMES,
            held,
            format!("the result of {}", words::quoted(name)),
            answer,
        );
    }
    Ok(())
}

async fn many(cx: &mut Ctx) -> Flow {
    const METHODS: usize = 17;
    let stage = Stage::set(cx, &[Role::U1, Role::M1]).await?;
    let callee = stage.peer(Role::M1);
    callee.respond(|request| Some(Args::from(request["method"].clone())));
    let marker = cx.marker("method");
    let names: Vec<_> = (0..METHODS).map(|n| format!("{marker}:{n}")).collect();
    // That methods can be registered at all is judged elsewhere.
    register(cx, callee, &names[0]).await?;
    for name in &names[1..] {
        cx.emit(callee, "rpc-register", json!({"method": name}))
            .await?;
    }
    let deadline = cx.deadline();
    for name in &names {
        let registered = callee.wait_for(deadline, |a| {
            a.name == "rpc-registered" && a.data["method"] == json!(name)
        });
        let told = registered.await.is_some();
        cx.require(
            &MANY,
            told,
            format!("rpc-registered for {name}"),
            "no such event",
        )?;
    }
    for name in &names {
        let answer = rpc(cx, &MANY, stage.peer(Role::U1), name, "call").await?;
        cx.check(
            &MANY,
            answer["result"] == json!(name),
            format!("the result of {name}"),
            answer,
        );
    }
    Ok(())
}

async fn caller_leaves(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::S1]).await?;
    let callee = stage.peer(Role::S1);
    let method = cx.marker("method");
    register(cx, callee, &method).await?;
    let leaving = cx
        .connect("leaving", stage.account.token(), Scope::User)
        .await?;
    let request = json!({"method": method, "params": "lost"});
    let pending = leaving.socket.request("rpc-call", request).await;
    let _pending = pending.map_err(|end| cx.dropped(&leaving, &end))?;
    let arrived = received(cx, callee, &method, 1).await;
    let Some(ack) = arrived.first().and_then(|request| request.ack) else {
        let reason = String::from("the call does not reach its callee");
        return Err(Stop::Blocked {
            parent: &rpc::REQUEST,
            reason,
        });
    };
    leaving.socket.disconnect().await;
    drop(leaving);
    let answered = callee.socket.answer(ack, json!("too late")).await;
    answered.map_err(|end| cx.dropped(callee, &end))?;
    answer_as(callee, "in time");
    let answer = rpc(cx, &CALLER_LEAVES, stage.peer(Role::U2), &method, "second").await?;
    let held = answer["ok"] == true && answer["result"] == "in time";
    cx.check(
        &CALLER_LEAVES,
        held,
        "a later call with its own result",
        answer,
    );
    let asked = requests(callee, &method).len();
    cx.check(
        &CALLER_LEAVES,
        asked == 2,
        "one request for each call",
        format!("{asked} in all"),
    );
    let served = cx.round_trip(callee).await?;
    cx.check(
        &CALLER_LEAVES,
        served,
        "a callee that is still served",
        "its ping is not answered",
    );
    Ok(())
}

async fn callee_leaves(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1]).await?;
    let method = cx.marker("method");
    let session = stage.s1.id.clone();
    let callee = cx
        .connect("callee", stage.account.token(), Scope::Session(&session))
        .await?;
    register(cx, &callee, &method).await?;
    let caller = stage.peer(Role::U1);
    let request = json!({"method": method, "params": "call"});
    let patience = cx.shared.target.timeouts.rpc + cx.shared.pace.patience();
    let call = cx.ask_within(caller, "rpc-call", request, patience);
    let leave = async {
        received(cx, &callee, &method, 1).await;
        callee.socket.disconnect().await;
    };
    let started = tokio::time::Instant::now();
    let (answer, ()) = tokio::join!(call, leave);
    let took = started.elapsed();
    match answer? {
        Ok(answer) => {
            cx.schema(
                &CALLEE_LEAVES,
                &CALLEE_LEAVES,
                "ack/rpc-call.error",
                &answer.data,
            )?;
            let at_once = took < cx.shared.target.timeouts.rpc / 2;
            cx.fact(
                "rpc.abort",
                if at_once { "at once" } else { "at the timeout" },
            );
        }
        Err(NoAnswer { after }) => {
            let told = format!("none within {:.1} s", after.as_secs_f64());
            cx.broken(&CALLEE_LEAVES, "an answer of ok false", told);
        }
    }
    cx.held(&ABORT);
    Ok(())
}

async fn silent_callee(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::S1]).await?;
    let (caller, callee) = (stage.peer(Role::U1), stage.peer(Role::S1));
    let method = cx.marker("method");
    register(cx, callee, &method).await?;
    let request = json!({"method": method, "params": "silence"});
    let stated = cx.shared.target.timeouts.rpc;
    // How long a server waits is its own choice: only a call that seems to be forgotten is a fault.
    let patience = stated * 2 + cx.shared.pace.patience();
    let started = tokio::time::Instant::now();
    let answer = match cx.ask_within(caller, "rpc-call", request, patience).await? {
        Ok(answer) => answer.data,
        Err(NoAnswer { after }) => {
            let told = format!("none within {:.1} s", after.as_secs_f64());
            cx.broken(&SILENT, "an answer of ok false", told);
            return Ok(());
        }
    };
    let took = started.elapsed();
    cx.fact("rpc.timeout-s", took.as_secs_f64().round());
    let held = answer["ok"] == false && answer["error"].is_string() && took >= stated / 2;
    let told = format!("ok false after about {} s", stated.as_secs_f64());
    cx.check(
        &SILENT,
        held,
        told,
        format!("{answer} after {:.1} s", took.as_secs_f64()),
    );
    let text = json!("operation has timed out");
    cx.equal(&SILENT_TEXT, "error", &text, &answer["error"]);

    let arrived = received(cx, callee, &method, 1).await;
    if let Some(ack) = arrived.first().and_then(|request| request.ack) {
        let answered = callee.socket.answer(ack, json!("too late")).await;
        answered.map_err(|end| cx.dropped(callee, &end))?;
    }
    answer_as(callee, "in time");
    let answer = rpc(cx, &LATE_ANSWER, caller, &method, "again").await?;
    let held = answer["ok"] == true && answer["result"] == "in time";
    cx.check(
        &LATE_ANSWER,
        held,
        "a second call with its own result",
        answer,
    );
    Ok(())
}
