//! Who is told what it has registered, and whose methods are called.

mod support;

use serde_json::json;
use support::History;
use touchstone_client::Direction::{Received, Sent};

/// What is broken by steps: `C event`, `call C` for a call that C receives, `refused` for one that nobody does,
/// `C leaves`, `wait`, `quiet`.
fn judged(steps: &str) -> Vec<&'static str> {
    let mut history = History::default();
    history.sign_in("a1");
    for name in ["c", "d", "caller"] {
        history.connect(name);
    }
    for (number, step) in steps.split(", ").enumerate() {
        let data = json!({"method": "m", "params": number});
        let id = Some(number as u64);
        match step.split_once(' ') {
            None if step == "quiet" => history.quiet(),
            None if step == "wait" => history.wait(3),
            None => {
                let answer = json!({"ok": false, "error": "RPC method not available"});
                history.call("caller", "rpc-call", &data, &answer);
            }
            Some(("call", callee)) => {
                history.event("caller", Sent, "rpc-call", &data, id);
                history.event(callee, Received, "rpc-request", &data, id);
            }
            Some((who, "leaves")) => history.leave(who),
            Some((who, event)) => {
                let direction = if event.ends_with("ed") || event == "error" {
                    Received
                } else {
                    Sent
                };
                history.event(
                    who,
                    direction,
                    &format!("rpc-{event}"),
                    &json!({"method": "m"}),
                    None,
                );
            }
        }
    }
    history.judged().0
}

fn check(steps: &str, expected: &[&str]) {
    assert_eq!(judged(steps), expected, "{steps}");
}

const REGISTERS: &str = "c register, c registered";

/// Who asks for a method again before it was told that it has left it, is called of course.
#[test]
fn a_method_that_is_registered_again_is_called() {
    let begin = format!("{REGISTERS}, c unregister");
    let broken = ["rpc.unregister.effect"];
    check(&format!("{begin}, c unregistered, call c"), &broken);
    check(&format!("{begin}, call c"), &[]);
    check(&format!("{begin}, c register, c unregistered, call c"), &[]);
    check(
        &format!("{begin}, c register, c unregistered, c registered, call c"),
        &[],
    );
    // The first answer tells nothing of the second wish.
    let again = format!("{begin}, c register, c unregister, c unregistered");
    check(&format!("{again}, call c"), &[]);
    check(
        &format!("{again}, c registered, c unregistered, call c"),
        &broken,
    );
}

#[test]
fn whoever_asks_is_told_and_nobody_else() {
    check(
        &format!("{REGISTERS}, c unregister, c unregistered, quiet"),
        &[],
    );
    check("c register, quiet", &["rpc.register.answer"]);
    check("c unregister, quiet", &["rpc.unregister.answer"]);
    // Until then it may be on its way, and who has left is told nothing.
    check("c register", &[]);
    check("c register, c leaves, quiet", &[]);
    check(
        &format!("{REGISTERS}, d registered"),
        &["rpc.register.private"],
    );
}

/// Before CONNECT is answered an event may be lost.
#[test]
fn who_asks_too_early_may_be_told_nothing() {
    let check = |is_early: bool, expected: &[&str]| {
        let mut history = History::default();
        history.sign_in("a1");
        let register = json!({"method": "m"});
        if is_early {
            history.event("c", Sent, "rpc-register", &register, None);
        }
        history.connect("c");
        if !is_early {
            history.event("c", Sent, "rpc-register", &register, None);
        }
        history.quiet();
        assert_eq!(history.judged().0, expected);
    };
    check(true, &[]);
    check(false, &["rpc.register.answer"]);
}

#[test]
fn any_name_can_be_registered() {
    check("c register, c error, quiet", &["rpc.method-names"]);
    // Why a method is refused that others have is the server's business.
    check("d register, d registered, c register, c error, quiet", &[]);
}

#[test]
fn the_only_registrant_is_called() {
    let broken = ["rpc.stays-callable"];
    check(&format!("{REGISTERS}, refused"), &broken);
    check("c register, refused, c registered", &[]);
    check(&format!("{REGISTERS}, c unregister, refused"), &[]);
    // The server may have seen its end before it was recorded.
    check(&format!("{REGISTERS}, refused, c leaves"), &[]);
    check(
        &format!("{REGISTERS}, d unregister, refused"),
        &["rpc.unregister.stranger"],
    );
}

#[test]
fn of_several_registrants_the_one_that_was_called_last_has_the_method() {
    let both = format!("d register, d registered, {REGISTERS}");
    let broken = ["rpc.stays-callable"];
    // Who owns it is the server's choice, and whether the other one takes it over.
    check(&format!("{both}, d leaves, refused"), &[]);
    check(&format!("{both}, call c, d leaves, refused"), &broken);
    check(&format!("{both}, call d, d leaves, refused"), &[]);
    // Who asks while the call is on its way may have it then.
    check(
        &format!("{REGISTERS}, d register, call c, d registered, d leaves, refused"),
        &[],
    );
    check(
        &format!("{both}, call c, d register, d leaves, refused"),
        &[],
    );
}

#[test]
fn who_has_left_for_long_keeps_nobody_from_a_method() {
    let left = "d register, d registered, d leaves";
    check(&format!("{left}, {REGISTERS}, refused"), &[]);
    check(
        &format!("{left}, wait, {REGISTERS}, refused"),
        &["rpc.stays-callable"],
    );
}

#[test]
fn a_request_is_method_and_params() {
    let check = |request: serde_json::Value, expected: &[&str]| {
        let mut history = History::default();
        history.sign_in("a1");
        for name in ["c", "caller"] {
            history.connect(name);
        }
        let data = json!({"method": "m", "params": 1});
        history.event("caller", Sent, "rpc-call", &data, Some(1));
        history.event("c", Received, "rpc-request", &request, Some(1));
        assert_eq!(history.judged().0, expected, "{request}");
    };
    check(json!({"method": "m", "params": 1}), &[]);
    check(
        json!({"method": "m", "params": 1, "sid": "x"}),
        &["rpc.call.request-alone"],
    );
}

#[test]
fn a_call_does_not_time_out_before_its_callee_answers_within_a_second() {
    let check = |seconds: u64, expected: &[&str]| {
        let mut history = History::default();
        history.sign_in("a1");
        for name in ["c", "caller"] {
            history.connect(name);
        }
        let data = json!({"method": "m", "params": 1});
        history.event("caller", Sent, "rpc-call", &data, Some(1));
        history.event("c", Received, "rpc-request", &data, Some(1));
        history.ack(
            "caller",
            Received,
            1,
            &json!({"ok": false, "error": "operation has timed out"}),
        );
        history.wait(seconds);
        history.ack("c", Sent, 1, &json!(1));
        assert_eq!(history.judged().0, expected, "{seconds}");
    };
    check(0, &["rpc.call.silent-callee"]);
    check(2, &[]);
}
