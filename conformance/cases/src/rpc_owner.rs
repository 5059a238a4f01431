//! Who answers a method: registering again, several registrants, registrations that come late or have to
//! last.

use serde_json::{Value, json};

use super::{
    admission::{Admission, attempt},
    calling::{self, ABSENT_GRACE, answer_as, call_absent, register, requests, rpc},
    rpc,
};
use touchstone_harness::{
    case::{Flow, Stop, case_table},
    ctx::{Ctx, NoAnswer, Scope},
    ledger::requirement_table,
    peer::{Arrival, Peer},
    stage::{Role, Stage},
};

requirement_table! {
    UNKNOWN_SCOPE = "rpc.unknown-scope", Should, Decision,
        "A connection of a session or machine that does not exist, once admitted, registers methods that \
         are called.";
    AGAIN = "rpc.register.again", Should, Decision,
        "A connection may register a method again: it is told so, receives each call once, and one \
         rpc-unregister takes the method back.";
    PRIVATE = "rpc.register.private", Should, Decision,
        "rpc-registered, rpc-unregistered and rpc-error go to the connection that asked, and to no other.";
    NEVER_ITSELF = "rpc.call.never-itself", Must, Specification,
        "A call goes to another connection, never to the one that makes it.";
    LEFT = "rpc.registrant-left", Should, Decision,
        "Once the only registrant of a method has left, a call of it is answered as one of a method that \
         nobody has ever registered.";
    TAKES_OVER = "rpc.takes-over", Info, Decision,
        "When the owner of a method takes it back, another registrant may own it again.";
    LATE = "rpc.late-registration", Info, Decision,
        "A call of an absent method may wait for somebody to register it.";
}

case_table! {
    /// A connection registers the same method twice, is called, and unregisters it once.
    ///
    /// Accepted are two answers `rpc-registered`, one request for the call, and `ok: false` for a call
    /// after the end. Clients register everything again after each reconnect. Typical cause of a failure:
    /// registrations are counted, or kept as a list that may hold a connection twice.
    "rpc.register-again" judges [AGAIN, PRIVATE] => again;

    /// Two connections have registered a method, in either order, and one of them calls it.
    ///
    /// Accepted is an answer of the other one, or a refusal. The caller itself must not receive the
    /// request, since it cannot know that it would wait for itself. Typical cause of a failure: the caller
    /// is compared with the first registrant only, or with the account instead of the connection.
    "rpc.self-call" judges [NEVER_ITSELF] => self_call;

    /// Two connections register the same method. The one that is not called takes it back, or leaves; and the
    /// one that is called takes it back.
    ///
    /// Accepted is that whoever is called stays callable when the other one goes. When it goes itself, the
    /// other one answers from then on, or nobody does: which of the two is noted on the dialect card.
    /// Typical cause of a failure: one slot for each method, which is emptied by its name alone when anybody
    /// who has once registered it takes it back or leaves.
    "rpc.takes-over" judges [TAKES_OVER, rpc::STAYS, rpc::STRANGER] => takes_over;

    /// Calls a method that is registered only after the call was sent, and calls it again.
    ///
    /// Accepted is a result as well as `ok: false`: servers wait for up to 15 s or not at all. What was
    /// seen is noted on the dialect card. The second call is answered with a result. Typical cause of a
    /// failure: a call that waits for a registration is woken by the wrong method or never, and is not
    /// answered at the end of its wait; or it is kept that there is no such method.
    "rpc.late-registration" judges [LATE, rpc::NOT_AVAILABLE, rpc::CALL] => late;

    /// Two callers call one method twelve times in turn, while its connection sends nothing of its own.
    ///
    /// Accepted is a result each time. Typical cause of a failure: a registration that is used up, or that
    /// has to be renewed.
    "rpc.stays-callable" judges [rpc::STAYS] => stays;

    /// A second connection registers a method that another one has.
    ///
    /// Accepted is `rpc-registered` for both: a process that comes back registers before the server has
    /// noticed that its old connection is gone. Which of them is called then is the server's choice.
    /// Typical cause of a failure: a method that is taken is answered with an error, since the registration
    /// of the old connection is still there.
    "rpc.second-registrant" judges [rpc::SECOND] => second_registrant;

    /// Connections of a session and a machine that do not exist register a method each, which is then called.
    /// Runs where such connections are admitted.
    ///
    /// Accepted is the result of each: load tests and daemons that have not made their machine yet do this.
    /// Typical cause of a failure: registrations are stored in the row of the session or machine, which
    /// does not exist.
    "rpc.unknown-scope" judges [UNKNOWN_SCOPE] => unknown_scope;

    /// Calls a method that nobody has ever registered, and one whose only registrant has disconnected.
    ///
    /// Accepted is the same error for both, whatever it says, as soon as the server has noticed the end of
    /// the connection; until then it may answer otherwise. Typical cause of a failure: what a connection
    /// has registered is not taken back when it ends, so that calls go to nobody until they time out.
    "rpc.registrant-left" judges [LEFT] => left;
}

async fn again(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::S1, Role::S2]).await?;
    let callee = stage.peer(Role::S1);
    let method = cx.marker("method");
    answer_as(callee, "s1");
    register(cx, callee, &method).await?;
    cx.emit(callee, "rpc-register", json!({"method": method}))
        .await?;
    let deadline = cx.deadline();
    let told = |name: &'static str, count: usize| {
        let method = method.clone();
        async move {
            let seen = callee.wait(deadline, |log| {
                let answers = log
                    .iter()
                    .filter(|a| a.name == name && a.raw.contains(&method));
                (answers.count() >= count).then_some(())
            });
            seen.await.is_some()
        }
    };
    let twice = told("rpc-registered", 2).await;
    cx.check(
        &AGAIN,
        twice,
        "rpc-registered for each of two requests",
        "only one of them",
    );
    let answer = rpc(cx, &AGAIN, stage.peer(Role::U1), &method, "call").await?;
    let asked = requests(callee, &method).len();
    let held = answer["result"] == "s1" && asked == 1;
    cx.check(
        &AGAIN,
        held,
        "one request and its result",
        format!("{asked} requests, {answer}"),
    );

    cx.emit(callee, "rpc-unregister", json!({"method": method}))
        .await?;
    if !told("rpc-unregistered", 1).await {
        let reason = String::from("rpc-unregister is not answered");
        return Err(Stop::Blocked {
            parent: &rpc::UNREGISTERED,
            reason,
        });
    }
    let answer = call_absent(cx, &AGAIN, stage.peer(Role::U1), &method).await?;
    let gone = answer["ok"] == false;
    cx.check(&AGAIN, gone, "ok false after one rpc-unregister", &answer);

    stage.prove_silence(cx).await?;
    let overheard: Vec<_> = [Role::U1, Role::S2]
        .iter()
        .flat_map(|role| stage.peer(*role).all(|a| a.name.starts_with("rpc-")))
        .map(|arrival| arrival.raw)
        .collect();
    let told = "no rpc-registered or rpc-unregistered for other connections";
    cx.check(&PRIVATE, overheard.is_empty(), told, overheard.join("; "));
    Ok(())
}

async fn self_call(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::S1]).await?;
    answer_as(stage.peer(Role::U1), "itself");
    answer_as(stage.peer(Role::S1), "the other");
    for (order, roles) in [
        ("first", [Role::U1, Role::S1]),
        ("last", [Role::S1, Role::U1]),
    ] {
        let method = cx.marker("method");
        for role in roles {
            second_register(cx, stage.peer(role), &method).await?;
        }
        let caller = stage.peer(Role::U1);
        let answer = rpc(cx, &NEVER_ITSELF, caller, &method, order).await?;
        let itself = !requests(caller, &method).is_empty() || answer["result"] == "itself";
        let told = format!("no request for the caller, which registered {order}");
        cx.check(&NEVER_ITSELF, !itself, told, &answer);
        let policy = if answer["ok"] == true {
            "the other answers"
        } else {
            "refused"
        };
        cx.fact(&format!("rpc.self-call.registered-{order}"), policy);
    }
    Ok(())
}

async fn takes_over(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::M1, Role::M2]).await?;
    let method = cx.marker("method");
    for role in [Role::M1, Role::M2] {
        answer_as(stage.peer(role), role.name());
        second_register(cx, stage.peer(role), &method).await?;
    }
    let caller = stage.peer(Role::U1);
    let [owner, other] = owner_first(cx, &stage, &method).await?;
    unregister(cx, other, &method).await?;
    let answer = rpc(cx, &rpc::STRANGER, caller, &method, "call").await?;
    let held = answer["result"] == owner.name.as_str();
    let expected = "the result of the owner, when another one has unregistered";
    cx.check(&rpc::STRANGER, held, expected, &answer);

    register_anew(cx, other, &method).await?;
    let [owner, other] = owner_first(cx, &stage, &method).await?;
    unregister(cx, owner, &method).await?;
    let second = call_absent(cx, &rpc::NOT_AVAILABLE, caller, &method).await?;
    cx.fact("rpc.takes-over", second["result"] == other.name.as_str());
    cx.held(&TAKES_OVER);

    register_anew(cx, owner, &method).await?;
    let [owner, other] = owner_first(cx, &stage, &method).await?;
    let machine = if other.name == Role::M1.name() {
        stage.m1_id()
    } else {
        stage.m2_id()
    };
    calling::leaves(cx, other, machine, caller).await;
    // Until the server has noticed, it may still ask the one that has left.
    let mut tries = cx.tries();
    loop {
        let is_last = tries.next().await;
        let patience = cx.shared.pace.patience() + ABSENT_GRACE;
        let request = json!({"method": method, "params": "call"});
        let answer = cx.ask_within(caller, "rpc-call", request, patience).await?;
        let answer = answer.map_or(Value::Null, |answer| answer.data);
        let held = answer["result"] == owner.name.as_str();
        if held || is_last {
            let expected = "the result of the owner, when another registrant has left";
            cx.check(&rpc::STAYS, held, expected, &answer);
            return Ok(());
        }
    }
}

/// Registers `method`, which another connection may have registered.
async fn second_register(cx: &mut Ctx, peer: &Peer, method: &str) -> Flow {
    calling::register_as(cx, peer, method, &rpc::SECOND).await
}

/// Sends `event` about `method` and waits for one more `answer` than before: one of an earlier time proves
/// nothing.
async fn anew(cx: &mut Ctx, peer: &Peer, event: &str, answer: &str, method: &str) -> Flow<bool> {
    let told = |log: &[Arrival]| log.iter().filter(|a| a.name == answer).count();
    let before = told(&peer.all(|_| true));
    cx.emit(peer, event, json!({"method": method})).await?;
    let more = |log: &[Arrival]| (told(log) > before).then_some(());
    Ok(peer.wait(cx.deadline(), more).await.is_some())
}

async fn unregister(cx: &mut Ctx, peer: &Peer, method: &str) -> Flow {
    anew(cx, peer, "rpc-unregister", "rpc-unregistered", method).await?;
    Ok(())
}

async fn register_anew(cx: &mut Ctx, peer: &Peer, method: &str) -> Flow {
    if anew(cx, peer, "rpc-register", "rpc-registered", method).await? {
        return Ok(());
    }
    let reason = format!("{} cannot register a method again", peer.who);
    let parent = &rpc::SECOND;
    Err(Stop::Blocked { parent, reason })
}

/// The two machines' connections, both of which have registered `method`: the one that is called first.
async fn owner_first<'s>(cx: &mut Ctx, stage: &'s Stage, method: &str) -> Flow<[&'s Peer; 2]> {
    let [one, other] = [Role::M1, Role::M2].map(|role| stage.peer(role));
    let answer = rpc(cx, &rpc::ONE_OWNER, stage.peer(Role::U1), method, "call").await?;
    let is_one = answer["result"] == one.name.as_str();
    let answered = is_one || answer["result"] == other.name.as_str();
    let expected = "the result of one of two registrants";
    cx.require(&rpc::ONE_OWNER, answered, expected, &answer)?;
    Ok(if is_one { [one, other] } else { [other, one] })
}

async fn late(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::S1]).await?;
    let (caller, callee) = (stage.peer(Role::U1), stage.peer(Role::S1));
    let method = cx.marker("method");
    answer_as(callee, "late");
    let request = json!({"method": method, "params": "call"});
    let pending = caller.socket.request("rpc-call", request).await;
    let pending = pending.map_err(|end| cx.dropped(caller, &end))?;
    // Events of one connection are handled in order, so the call has begun when this is answered.
    cx.round_trip(caller).await?;
    register(cx, callee, &method).await?;
    let patience = cx.shared.pace.patience() + ABSENT_GRACE;
    let answer = match tokio::time::timeout(patience, pending).await {
        Ok(Ok(reply)) => reply.data().unwrap_or(Value::Null),
        Ok(Err(error)) => return Err(Stop::Dropped(touchstone_output::text::error_chain(&error))),
        Err(_) => {
            let seconds = patience.as_secs_f64();
            let told = format!("none within {seconds:.1} s");
            cx.broken(&rpc::NOT_AVAILABLE, "an answer, whichever it is", told);
            return Ok(());
        }
    };
    let waited = answer["ok"] == true;
    let told = "ok false, or the result of the late registrant";
    let held = if waited {
        answer["result"] == "late"
    } else {
        answer["ok"] == false
    };
    cx.check(&rpc::NOT_AVAILABLE, held, told, &answer);
    cx.fact("rpc.waits-for-absent", waited);
    cx.held(&LATE);
    let answer = rpc(cx, &rpc::CALL, caller, &method, "call").await?;
    let expected = "the result of the method, which is registered by now";
    cx.check(&rpc::CALL, answer["result"] == "late", expected, &answer);
    Ok(())
}

async fn stays(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::U2, Role::S1]).await?;
    let method = cx.marker("method");
    calling::echo(stage.peer(Role::S1));
    register(cx, stage.peer(Role::S1), &method).await?;
    for n in 0..12 {
        let caller = stage.peer(if n % 2 == 0 { Role::U1 } else { Role::U2 });
        let answer = rpc(cx, &rpc::STAYS, caller, &method, &n.to_string()).await?;
        let held = answer["ok"] == true && answer["result"] == json!(n.to_string());
        cx.require(
            &rpc::STAYS,
            held,
            format!("the result of call {}", n + 1),
            &answer,
        )?;
    }
    Ok(())
}

async fn second_registrant(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::S1, Role::S2]).await?;
    let method = cx.marker("method");
    register(cx, stage.peer(Role::S1), &method).await?;
    let second = stage.peer(Role::S2);
    cx.emit(second, "rpc-register", json!({"method": method}))
        .await?;
    let answered = second
        .wait_for(cx.deadline(), |a| {
            matches!(a.name.as_str(), "rpc-registered" | "rpc-error")
        })
        .await;
    let held = answered
        .as_ref()
        .is_some_and(|a| a.name == "rpc-registered");
    let told = answered.map_or_else(
        || "no answer".to_owned(),
        |a| format!("{} {}", a.name, a.raw),
    );
    cx.check(
        &rpc::SECOND,
        held,
        "rpc-registered for the second connection",
        told,
    );
    Ok(())
}

async fn unknown_scope(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1]).await?;
    let id = cx.marker("nobody");
    let method = cx.marker("method");
    register(cx, stage.peer(Role::U1), &method).await?;
    for (name, scope) in [
        ("session", Scope::Session(&id)),
        ("machine", Scope::Machine(&id)),
    ] {
        let auth = Some(scope.auth(stage.account.token()));
        let Admission::Admitted(callee) = attempt(cx, name, auth).await? else {
            cx.note(format!(
                "a {name} that does not exist is not admitted, which a server may do"
            ));
            cx.held(&UNKNOWN_SCOPE);
            continue;
        };
        let method = cx.marker("method");
        calling::answer_as(&callee, name);
        cx.emit(&callee, "rpc-register", json!({"method": method}))
            .await?;
        let registered = callee
            .wait_for(cx.deadline(), |a| a.name == "rpc-registered")
            .await;
        let expected = format!("rpc-registered for a {name} that does not exist");
        cx.require(
            &UNKNOWN_SCOPE,
            registered.is_some(),
            expected,
            "no such event",
        )?;
        let answer = rpc(cx, &UNKNOWN_SCOPE, stage.peer(Role::U1), &method, "call").await?;
        let held = answer["ok"] == true && answer["result"] == name;
        cx.check(&UNKNOWN_SCOPE, held, format!("the result {name}"), answer);
    }
    Ok(())
}

async fn left(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1]).await?;
    let caller = stage.peer(Role::U1);
    let scope = Scope::Session(&stage.s1.id);
    let callee = cx.connect("callee", stage.account.token(), scope).await?;
    let (never, method) = (cx.marker("never"), cx.marker("method"));
    register(cx, &callee, &method).await?;
    let Ok(expected) = refusal(cx, caller, &never).await? else {
        let reason = String::from("a call of an absent method is not answered");
        return Err(Stop::Blocked {
            parent: &rpc::NOT_AVAILABLE,
            reason,
        });
    };
    callee.socket.disconnect().await;
    // Only a call that begins after this is held against the server: before, it may not have noticed.
    let mut tries = cx.tries();
    loop {
        let is_last = tries.next().await;
        let told = match refusal(cx, caller, &method).await? {
            Ok(answer) if answer == expected => {
                cx.held(&LEFT);
                return Ok(());
            }
            Ok(answer) => answer.to_string(),
            Err(NoAnswer { after }) => format!("none within {:.1} s", after.as_secs_f64()),
        };
        if is_last {
            cx.broken(&LEFT, expected, told);
            return Ok(());
        }
    }
}

/// Calls a method that is not there, and gives what two such answers have in common.
async fn refusal(cx: &Ctx, caller: &Peer, method: &str) -> Flow<Result<Value, NoAnswer>> {
    let patience = cx.shared.pace.patience() + ABSENT_GRACE;
    let request = json!({"method": method, "params": "call"});
    let answer = cx.ask_within(caller, "rpc-call", request, patience).await?;
    Ok(answer.map(|answer| {
        // Servers may name the method in the error.
        let error = answer.data["error"]
            .as_str()
            .map(|error| error.replace(method, "METHOD"));
        json!({"ok": answer.data["ok"], "error": error})
    }))
}
