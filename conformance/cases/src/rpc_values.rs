//! What calls carry: params and results, whatever JSON they are, and method names that look alike.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use touchstone_client::Args;

use super::{
    calling::{self, echo, register, requests},
    similar, values,
};
use touchstone_harness::{
    case::{Flow, case_table},
    ctx::{Ctx, same_json},
    ledger::requirement_table,
    opaque,
    peer::Peer,
    stage::{Role, Stage},
};

requirement_table! {
    PARAMS = "rpc.call.params", Must, Specification,
        "The callee receives the params of a call as they were sent, whatever JSON they are.";
    TEXTS = "rpc.call.texts", Must, Specification,
        "A text stays a text as params and as result, also when it looks like something else.";
    RESULTS = "rpc.call.results", Must, Specification,
        "The caller receives the callee's result as it was acknowledged, whatever JSON it is.";
    SIMILAR_NAMES = "rpc.similar-names", Must, Decision,
        "Methods whose names differ in case, white space, length or form are different methods.";
}

case_table! {
    /// Calls a method with each kind of JSON as params: numbers up to the limits of a double, times in
    /// milliseconds, falsy values, nested objects and lists, keys of every form.
    ///
    /// Accepted is an `rpc-request` with just these params. Typical cause of a failure: falsy values are taken
    /// for missing ones, or numbers are kept in 32 bits.
    "rpc.params" judges [PARAMS] => params;

    /// Calls a method with texts that look like JSON, like numbers, like a time and like nothing, with
    /// composed characters, and of 70 kB, which the callee gives back.
    ///
    /// Accepted is the same text at both ends. Typical cause of a failure: a text is parsed on its way.
    "rpc.texts" judges [TEXTS] => texts;

    /// Calls a method that answers with each kind of JSON, also with objects that look like the answer to a
    /// call.
    ///
    /// Accepted is `{ok: true}` with just this result. Typical cause of a failure: a result `{ok: false}` is
    /// taken for the answer itself.
    "rpc.results" judges [RESULTS] => results;

    /// Two callees register methods with names that nearly are the same: upper and lower case, with a space
    /// at the end, longer by a letter, composed and decomposed; both are called.
    ///
    /// Accepted is that each call reaches the callee of its very name, and that `rpc-request` tells this name.
    /// Typical cause of a failure: names are trimmed, folded or cut.
    "rpc.similar-names" judges [SIMILAR_NAMES] => similar_names;
}

/// How many lists are nested: what people write stays below it, and the limits of libraries lie above it.
const DEPTH: usize = 32;

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!("inmost"), |inner, _| json!([inner]))
}

/// Values that have been changed on the way through real programs.
fn catalogue(marker: &str) -> Vec<Value> {
    let mut all = vec![
        json!({"text": marker, "nested": {"list": [1, null, {"deep": [[[[true]]]]}], "": "empty key"}}),
        json!([1, "two", null, [], {}]),
        json!({}),
        json!([]),
        json!(true),
        json!(false),
        json!(0),
        json!(-1.5),
        json!({"ok": false}),
        json!({"ok": false, "error": marker}),
        json!({"ok": true, "result": marker}),
        json!({"method": marker, "params": 1}),
        json!({"type": "Buffer", "data": [1, 2]}),
        json!([[marker]]),
        // Keys that have been renamed, sorted out, or taken for something of the server's language.
        json!({"absent": null, "camelCase": 1, "snake_case": 2, "UPPER": 3, "\u{e9}": 4, "e\u{301}": 5,
            "a b.c$d": 6, "constructor": 7, "length": 8, "toJSON": 9, "$ref": 10, "0": 11}),
        nested(DEPTH),
    ];
    // The first integer that 24 bits do not hold, those around 31 and 32 bits, a time in milliseconds, the
    // largest that a double holds exactly, and fractions that 32 bits round.
    for number in [16_777_217_i64, 2_147_483_648, -2_147_483_649, 4_294_967_301] {
        all.push(json!(number));
    }
    for number in [
        1_764_410_123_457_i64,
        9_007_199_254_740_991,
        -9_007_199_254_740_991,
    ] {
        all.push(json!({"number": number}));
    }
    for number in [
        0.1,
        1.000_000_1,
        123_456.789,
        1e-7,
        1e21,
        0.1 + 0.2,
        f64::MAX,
    ] {
        all.push(json!(number));
    }
    all.push(Value::Null);
    all
}

/// Calls `method` and gives what its callee received as params, if that is one request.
async fn received(
    cx: &mut Ctx,
    by: &'static touchstone_harness::ledger::Requirement,
    caller: &Peer,
    callee: &Peer,
    (method, params): (&str, &Value),
) -> Flow<(Value, Option<Value>)> {
    let before = requests(callee, method).len();
    let request = json!({"method": method, "params": params});
    let answer = cx.call(by, caller, "rpc-call", request).await?;
    let mut log = requests(callee, method);
    let request = (log.len() == before + 1).then(|| log.pop()).flatten();
    let got = request.map(|request| request.get("params").cloned().unwrap_or_default());
    Ok((answer, got))
}

async fn params(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::S1]).await?;
    let (caller, callee) = (stage.peer(Role::U1), stage.peer(Role::S1));
    let method = cx.marker("method");
    calling::answer_as(callee, "here");
    register(cx, callee, &method).await?;
    for value in catalogue(&cx.marker("params")) {
        let (_, got) = received(cx, &PARAMS, caller, callee, (&method, &value)).await?;
        let held = got.as_ref().is_some_and(|got| same_json(got, &value));
        let told = got.map_or_else(|| "not one request".to_owned(), |got| got.to_string());
        cx.check(&PARAMS, held, format!("the params {value}"), told);
    }
    Ok(())
}

/// The bytes of a long text: more than 16 bits count, less than the smallest largest payload in use.
const LONG: usize = 70_000;

async fn texts(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::S1]).await?;
    let (caller, callee) = (stage.peer(Role::U1), stage.peer(Role::S1));
    let method = cx.marker("method");
    echo(callee);
    register(cx, callee, &method).await?;
    let marker = cx.marker("text");
    let announced = caller.socket.handshake().max_payload.unwrap_or(u64::MAX);
    let long = usize::try_from(announced / 2).map_or(LONG, |half| half.min(LONG));
    let texts = [
        format!("{{\"ok\":false,\"error\":\"{marker}\"}}"),
        format!("[\"{marker}\"]"),
        format!("\"{marker}\""),
        "17".to_owned(),
        "1e3".to_owned(),
        "null".to_owned(),
        "false".to_owned(),
        "undefined".to_owned(),
        String::new(),
        format!(" {marker} \r\n"),
        "0017".to_owned(),
        "1.0".to_owned(),
        "2026-01-02T03:04:05Z".to_owned(),
        "e\u{301}\u{fb01}\u{1f469}\u{200d}\u{1f4bb}\u{feff}".to_owned(),
        opaque::filled(&marker, long),
    ];
    for text in texts {
        let value = json!(text);
        let (answer, got) = received(cx, &TEXTS, caller, callee, (&method, &value)).await?;
        let told = match &got {
            Some(got) => values::shown(&text, got),
            None => "not one request".to_owned(),
        };
        let expected = format!("the params {}", values::sent(&text));
        cx.check(&TEXTS, got.as_ref() == Some(&value), expected, told);
        let held = answer["ok"] == true && answer.get("result") == Some(&value);
        let told = match answer.get("result") {
            Some(result) if answer["ok"] == true => values::shown(&text, result),
            _ => answer.to_string(),
        };
        let expected = format!("ok and the result {}", values::sent(&text));
        cx.check(&TEXTS, held, expected, told);
    }
    Ok(())
}

async fn results(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::S1]).await?;
    let (caller, callee) = (stage.peer(Role::U1), stage.peer(Role::S1));
    let method = cx.marker("method");
    let next = Arc::new(Mutex::new(Value::Null));
    let slot = Arc::clone(&next);
    callee.respond(move |_| {
        let result = slot.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Args::from(vec![result.clone()]))
    });
    register(cx, callee, &method).await?;
    for value in catalogue(&cx.marker("result")) {
        next.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(&value);
        let answer = calling::rpc(cx, &RESULTS, caller, &method, "call").await?;
        // JSON has no way to say that a result is there and undefined: a null may be left out.
        let result = answer.get("result").unwrap_or(&Value::Null);
        let held = answer["ok"] == true && same_json(result, &value);
        let expected = json!({"ok": true, "result": value});
        cx.check(&RESULTS, held, expected, answer);
    }
    Ok(())
}

async fn similar_names(cx: &mut Ctx) -> Flow {
    let stage = Stage::set(cx, &[Role::U1, Role::S1, Role::S2]).await?;
    let caller = stage.peer(Role::U1);
    calling::answer_as(stage.peer(Role::S1), "first");
    calling::answer_as(stage.peer(Role::S2), "second");
    let marker = cx.marker("method");
    for (one, other) in &similar::pairs(&marker, 300) {
        let callees = [(Role::S1, one, "first"), (Role::S2, other, "second")];
        for (role, name, _) in callees {
            register_exactly(cx, stage.peer(role), name).await?;
        }
        for (role, name, result) in callees {
            let answer = calling::rpc(cx, &SIMILAR_NAMES, caller, name, "call").await?;
            let held = answer["ok"] == true && answer["result"] == result;
            let expected = format!("the {result} callee's result for {}", json!(name));
            cx.check(&SIMILAR_NAMES, held, expected, &answer);
            let asked = requests(stage.peer(role), &marker);
            let told = asked
                .last()
                .map_or(Value::Null, |request| request["method"].clone());
            cx.equal(&SIMILAR_NAMES, "the method", &json!(name), &told);
        }
    }
    Ok(())
}

/// Registers `name`, whatever name the answer tells.
async fn register_exactly(cx: &mut Ctx, peer: &Peer, name: &str) -> Flow {
    let count = |log: &[touchstone_harness::peer::Arrival]| {
        let answers = log.iter().filter(|a| a.name == "rpc-registered");
        answers.count()
    };
    let before = peer.all(|a| a.name == "rpc-registered").len();
    cx.emit(peer, "rpc-register", json!({"method": name}))
        .await?;
    let more = |log: &[touchstone_harness::peer::Arrival]| (count(log) > before).then_some(());
    let registered = peer.wait(cx.deadline(), more).await.is_some();
    let expected = format!("rpc-registered for {}", json!(name));
    cx.require(&SIMILAR_NAMES, registered, expected, "no such event")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number that this side reads inexactly would be a false accusation.
    #[test]
    fn numbers_are_read_exactly_however_they_are_written() {
        for value in catalogue("marker") {
            let told = serde_json::from_str(&value.to_string()).expect("JSON");
            assert!(same_json(&value, &told), "{value} is read as {told}");
            let Some(number) = value.as_f64() else {
                continue;
            };
            for text in [format!("{number:.16e}"), format!("{number}")] {
                let told: Value = serde_json::from_str(&text).expect("JSON");
                assert_eq!(told.as_f64(), Some(number), "{text}");
            }
        }
    }
}
