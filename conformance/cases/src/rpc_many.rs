//! Calls in numbers: hundreds of them, from several callers, some at the same time, of two accounts.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
};

use futures_util::future::join_all;
use serde_json::{Value, json};
use touchstone_client::Args;

use super::{calling, rpc};
use touchstone_harness::{
    case::{Flow, case_table},
    ctx::Ctx,
    ledger::requirement_table,
    opaque,
    peer::Peer,
    stage::{Role, Stage},
};

requirement_table! {
    OWN_RESULT = "rpc.call.own-result", Must, Specification,
        "Each call is answered, and with its own result, however many others are under way.";
    FOREIGN_RESULT = "isolation.rpc-results", Must, Decision,
        "No call is answered with a result of another account.";
}

case_table! {
    /// Makes five hundred calls, each with params of its own: one by one, fifteen at a time and fifty at a
    /// time, from three connections of one account and one of another, which has the same method.
    ///
    /// Accepted is one `rpc-request` for each call at the callee of its account, and an answer with the result
    /// of just this call. Typical causes of a failure: a waiter is stored after the request was sent, so that
    /// fast answers are lost; answers are matched by a number that two connections share.
    "rpc.numbers" judges [OWN_RESULT, FOREIGN_RESULT, rpc::REQUEST, rpc::OWN_ACCOUNT] => numbers;

    /// Makes calls that are equal to each other, from two connections of one account and one of another,
    /// which has the same method: one after the other, and nine at a time. The callees count them, and
    /// answer with the number.
    ///
    /// Accepted is one `rpc-request` for each call at the callee of its account, and a number of its own for
    /// each caller. Typical cause of a failure: results are kept for calls with the same method and params,
    /// or calls that are equal to one under way wait for the answer to that.
    "rpc.equal-calls" judges [OWN_RESULT, FOREIGN_RESULT, rpc::REQUEST] => equal_calls;
}

/// How many equal calls are under way at the same time, and how often.
const EQUAL_ROUNDS: [(usize, usize); 2] = [(1, 6), (9, 2)];

async fn equal_calls(cx: &mut Ctx) -> Flow {
    let own = Stage::set(cx, &[Role::U1, Role::U2, Role::S1]).await?;
    let other = Stage::set(cx, &[Role::U1, Role::S1]).await?;
    let method = cx.marker("method");
    let words = [cx.marker("mine"), cx.marker("foreign")];
    for (stage, word) in [&own, &other].into_iter().zip(&words) {
        let callee = stage.peer(Role::S1);
        let (word, asked) = (word.clone(), AtomicUsize::new(0));
        callee.respond(move |_| {
            let number = asked.fetch_add(1, Ordering::Relaxed);
            Some(Args::from(json!(opaque::numbered(&word, number))))
        });
        calling::register(cx, callee, &method).await?;
    }
    let callers = [
        (own.peer(Role::U1), 0),
        (other.peer(Role::U1), 1),
        (own.peer(Role::U2), 0),
    ];
    let request = json!({"method": method, "params": cx.marker("params")});
    let mut results = [Vec::new(), Vec::new()];
    let mut made = [0, 0];
    let mut place = 0;
    for (at_once, rounds) in EQUAL_ROUNDS {
        for _ in 0..rounds {
            let asking: Vec<_> = (place..place + at_once)
                .map(|n| callers[n % callers.len()])
                .collect();
            place += at_once;
            let cx_ref = &*cx;
            let asked = asking
                .iter()
                .map(|(caller, _)| cx_ref.ask(caller, "rpc-call", request.clone()));
            let answers = join_all(asked).await;
            for ((_, account), answer) in asking.into_iter().zip(answers) {
                made[account] += 1;
                let told = answer?.map_or_else(|_| Value::Null, |answer| answer.data);
                results[account].push(told["result"].to_string());
            }
        }
    }
    for (account, stage) in [&own, &other].into_iter().enumerate() {
        let (told, made) = (&results[account], made[account]);
        let leaked: Vec<_> = told
            .iter()
            .filter(|result| result.contains(&words[1 - account]))
            .collect();
        let shown = leaked.first().map_or("none", |result| result.as_str());
        let expected = "no result of the other account";
        cx.check(&FOREIGN_RESULT, leaked.is_empty(), expected, shown);
        let own_ones: BTreeSet<_> = told
            .iter()
            .filter(|result| result.contains(&words[account]))
            .collect();
        let expected = format!("{made} equal calls with a result each");
        let shown = format!("{} different results", own_ones.len());
        cx.check(&OWN_RESULT, own_ones.len() == made, expected, shown);
        let came = calling::requests(stage.peer(Role::S1), &method).len();
        let expected = format!("{made} requests for {made} equal calls");
        cx.check(&rpc::REQUEST, came == made, expected, came);
    }
    Ok(())
}

/// How many calls are under way at the same time, and how often.
const ROUNDS: [(usize, usize); 3] = [(1, 50), (15, 10), (50, 6)];

async fn numbers(cx: &mut Ctx) -> Flow {
    let own = Stage::set(cx, &[Role::U1, Role::U2, Role::S1, Role::M1]).await?;
    let other = Stage::set(cx, &[Role::U1, Role::S1]).await?;
    let method = cx.marker("method");
    let (mine, foreign) = (cx.marker("mine"), cx.marker("foreign"));
    for (stage, word) in [(&own, &mine), (&other, &foreign)] {
        let callee = stage.peer(Role::S1);
        let word = word.clone();
        callee.respond(move |request| {
            let params = request["params"].as_str().unwrap_or_default();
            Some(Args::from(json!(format!("{word}{params}"))))
        });
        calling::register(cx, callee, &method).await?;
    }
    let callers: [(&Peer, &str); 4] = [
        (own.peer(Role::U1), &mine),
        (other.peer(Role::U1), &foreign),
        (own.peer(Role::M1), &mine),
        (own.peer(Role::U2), &mine),
    ];
    let params = cx.marker("params");
    let mut sent = [Vec::new(), Vec::new()];
    let (mut wrong, mut leaked) = (Vec::new(), Vec::new());
    let mut number = 0;
    for (at_once, rounds) in ROUNDS {
        for _ in 0..rounds {
            let calls: Vec<_> = (number..number + at_once)
                .map(|n| (callers[n % callers.len()], opaque::numbered(&params, n)))
                .collect();
            number += at_once;
            let cx_ref = &*cx;
            let asked = calls.iter().map(|((caller, _), params)| {
                let request = json!({"method": method, "params": params});
                cx_ref.ask(caller, "rpc-call", request)
            });
            let answers = join_all(asked).await;
            for (((_, word), params), answer) in calls.into_iter().zip(answers) {
                let expected = json!(format!("{word}{params}"));
                let foreign_word = if *word == mine { &foreign } else { &mine };
                match answer? {
                    Ok(answer) if answer.data["result"] == expected => {}
                    Ok(answer) => {
                        let told = answer.data.to_string();
                        if told.contains(foreign_word.as_str()) {
                            leaked.push(format!("{params}: {told}"));
                        } else {
                            wrong.push(format!("{params}: {told}"));
                        }
                    }
                    Err(_) => wrong.push(format!("{params}: no answer")),
                }
                sent[usize::from(*word != mine)].push(params);
            }
        }
    }
    let shown = |all: &[String]| {
        let first = all.first().map_or("none", String::as_str);
        format!("{} calls not so, first {first}", all.len())
    };
    let expected = format!("each of {number} calls with its own result");
    cx.check(&OWN_RESULT, wrong.is_empty(), expected, shown(&wrong));
    let expected = "no result of the other account";
    cx.check(&FOREIGN_RESULT, leaked.is_empty(), expected, shown(&leaked));
    for (stage, sent) in [&own, &other].into_iter().zip(sent) {
        let log = calling::requests(stage.peer(Role::S1), &method);
        let mut came: Vec<_> = log.iter().map(|request| &request["params"]).collect();
        came.sort_by_key(|params| params.to_string());
        let strangers = came.iter().filter(|params| {
            let params = params.as_str().unwrap_or_default();
            !sent.iter().any(|one| one == params)
        });
        let strangers: Vec<_> = strangers.map(|params| params.to_string()).collect();
        let expected = "requests of the own account alone";
        cx.check(
            &rpc::OWN_ACCOUNT,
            strangers.is_empty(),
            expected,
            shown(&strangers),
        );
        let twice: Vec<_> = came
            .windows(2)
            .filter(|pair| pair[0] == pair[1])
            .map(|pair| pair[0].to_string())
            .collect();
        let expected = format!("each of {} calls once at its callee", sent.len());
        let lost = sent
            .iter()
            .filter(|one| !came.contains(&&Value::from(one.as_str())));
        let lost = lost.count();
        let held = twice.is_empty() && lost == 0;
        let told = format!("{} came twice, {lost} never", twice.len());
        cx.check(&rpc::REQUEST, held, expected, told);
    }
    Ok(())
}
