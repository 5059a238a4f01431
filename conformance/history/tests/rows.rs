//! What an account has: artifacts that come and go, access keys, keys of the store, reports of usage.

mod support;

use serde_json::{Value, json};
use support::History;

const TIME: u64 = 1_753_000_000_000;

/// A history of two accounts, each with a session, a machine and a connection: `c` and `d`.
fn two() -> History {
    let mut history = History::default();
    for account in ["a1", "a2"] {
        history.sign_in(account);
    }
    for (is_other, conn) in [(false, "c"), (true, "d")] {
        history.is_other = is_other;
        let session = json!({"session": {"id": format!("s-{conn}")}});
        history.asked("POST", "/v1/sessions", 200, json!({"tag": conn}), session);
        post_machine(&mut history, &format!("m-{conn}"), "x", "x");
        history.connect(conn);
    }
    history.is_other = false;
    history
}

fn post_machine(history: &mut History, id: &str, sent: &str, told: &str) {
    let answer = json!({"machine": {"id": id, "metadata": told}});
    let request = json!({"id": id, "metadata": sent});
    history.asked("POST", "/v1/machines", 200, request, answer);
}

/// What is broken, but for what has to be announced of what is read here.
fn broken(history: &History) -> Vec<&'static str> {
    let mut broken = history.judged().0;
    broken.retain(|requirement| {
        !requirement.ends_with(".recipients") && *requirement != "delivery.no-loss"
    });
    broken
}

fn check(history: &History, expected: &[&str], what: &str) {
    assert_eq!(broken(history), expected, "{what}");
}

fn artifact(seq: u64, header: &str) -> Value {
    json!({
        "id": "a", "header": header, "headerVersion": 1, "body": "eA==", "bodyVersion": 1, "seq": seq,
        "createdAt": TIME, "updatedAt": TIME,
    })
}

/// What is broken by steps with one artifact.
fn lived(steps: &str) -> Vec<&'static str> {
    let mut history = two();
    let success = |seq, header| json!({"result": "success", "artifact": artifact(seq, header)});
    let asks = json!({"artifactId": "a"});
    for step in steps.split(", ") {
        let sent = |header| json!({"id": "a", "header": header, "body": "eA==", "dataEncryptionKey": "eA=="});
        match step {
            "make" => history.call("c", "artifact-create", &sent("AA=="), &success(1, "AA==")),
            "ask to make and leave" => {
                history.connect("u");
                let direction = touchstone_client::Direction::Sent;
                history.event("u", direction, "artifact-create", &sent("AA=="), Some(1));
                history.leave("u");
            }
            "fail to make" => {
                let error = json!({"result": "error", "message": "Internal error"});
                history.call("c", "artifact-create", &sent("AA=="), &error);
            }
            "make again" => {
                history.call("c", "artifact-create", &sent("Qg=="), &success(1, "AA=="));
            }
            "replace" => history.call("c", "artifact-create", &sent("Qg=="), &success(1, "Qg==")),
            "read" => history.call("c", "artifact-read", &asks, &success(1, "AA==")),
            "read changed" | "read unraised" => {
                let mut changed = artifact(if step == "read changed" { 2 } else { 1 }, "AA==");
                (changed["body"], changed["bodyVersion"]) = (json!("Qw=="), json!(2));
                let read = json!({"result": "success", "artifact": changed});
                history.call("c", "artifact-read", &asks, &read);
            }
            "miss" => {
                let error = json!({"result": "error", "message": "Artifact not found"});
                history.call("c", "artifact-read", &asks, &error);
            }
            "change" => {
                let part = json!({"version": 2, "data": "Qw=="});
                let data =
                    json!({"artifactId": "a", "body": {"data": "Qw==", "expectedVersion": 1}});
                history.call(
                    "c",
                    "artifact-update",
                    &data,
                    &json!({"result": "success", "body": part}),
                );
            }
            "delete" => history.call("c", "artifact-delete", &asks, &json!({"result": "success"})),
            "ask to delete" => {
                history.event(
                    "c",
                    touchstone_client::Direction::Sent,
                    "artifact-delete",
                    &asks,
                    None,
                );
            }
            _ => history.quiet(),
        }
    }
    broken(&history)
}

#[test]
fn an_artifact_is_there_until_it_is_deleted() {
    let check = |steps: &str, expected: &[&str]| assert_eq!(lived(steps), expected, "{steps}");
    check("make, read, make again, quiet", &[]);
    check("make, miss, quiet", &["artifact.read.answer"]);
    check("make, miss", &[]);
    check("make, ask to delete, miss, quiet", &[]);
    check("make, delete, miss, quiet", &[]);
    check("make, delete, read, quiet", &["artifact.delete.answer"]);
    check("make, delete, make, read, quiet", &[]);
    check("make, replace, quiet", &["artifact.create.again"]);
    check("make, delete, replace, quiet", &[]);
    // Somebody may have made it before.
    check("make again, quiet", &["artifact.create.answer"]);
    check("ask to make and leave, make again, quiet", &[]);
    check("fail to make, make again, quiet", &[]);
    check("make, delete, ask to make and leave, read, quiet", &[]);
    check("make, quiet, make again, quiet", &[]);
    check("make, change, read changed, quiet", &[]);
    check(
        "make, change, read unraised, quiet",
        &["artifact.update.version-step"],
    );
}

/// A request is recorded when it ends: what it did may be seen before.
#[test]
fn an_artifact_may_be_deleted_and_made_again_by_requests() {
    let check = |is_deleted: bool, expected: &[&str]| {
        let mut history = two();
        let row = |header: &str| json!({"result": "success", "artifact": artifact(1, header)});
        let asks = json!({"artifactId": "a"});
        history.call("c", "artifact-read", &asks, &row("AA=="));
        history.call("c", "artifact-read", &asks, &row("Qg=="));
        if is_deleted {
            let done = json!({"success": true});
            history.took(1_000, "DELETE", "/v1/artifacts/a", Value::Null, done);
        }
        history.quiet();
        check(&history, expected, "");
    };
    check(true, &[]);
    check(false, &["artifact.read.answer"]);
}

#[test]
fn a_part_that_is_refused_with_another_is_not_written() {
    let check = |told: Value, expected: &[&str]| {
        let mut history = two();
        let made = json!({"result": "success", "artifact": artifact(1, "AA==")});
        let sent =
            json!({"id": "a", "header": "AA==", "body": "eA==", "dataEncryptionKey": "eA=="});
        history.call("c", "artifact-create", &sent, &made);
        let asks = json!({"artifactId": "a"});
        history.call("c", "artifact-read", &asks, &made);
        let part = |data: &str, version: u64| json!({"data": data, "expectedVersion": version});
        let data = json!({"artifactId": "a", "header": part("Qg==", 0), "body": part("Qw==", 1)});
        let stale =
            json!({"version": 1, "data": "AA==", "currentVersion": 1, "currentData": "AA=="});
        history.call(
            "c",
            "artifact-update",
            &data,
            &json!({"result": "version-mismatch", "header": stale}),
        );
        let read = json!({"result": "success", "artifact": told});
        history.call("c", "artifact-read", &asks, &read);
        check(&history, expected, &told.to_string());
    };
    check(artifact(1, "AA=="), &[]);
    let mut written = artifact(2, "AA==");
    (written["body"], written["bodyVersion"]) = (json!("Qw=="), json!(2));
    check(written, &["artifact.update.all-or-nothing"]);
}

#[test]
fn the_access_key_of_a_pair_is_its_own() {
    let check = |[session, machine]: [&str; 2], answer: Value, expected: &[&str]| {
        let mut history = two();
        for (pair, data) in [("s-c/m-c", "AA=="), ("s-c/m-d", "Qg==")] {
            let key = json!({"data": data, "dataVersion": 1, "createdAt": TIME, "updatedAt": TIME});
            let answer = json!({"success": true, "accessKey": key});
            let url = format!("/v1/access-keys/{pair}");
            history.asked("POST", &url, 200, json!({"data": data}), answer);
        }
        let data = json!({"sessionId": session, "machineId": machine});
        history.call("c", "access-key-get", &data, &answer);
        history.quiet();
        check(&history, expected, &format!("{data} {answer}"));
    };
    let key =
        |data: &str| json!({"data": data, "dataVersion": 1, "createdAt": TIME, "updatedAt": TIME});
    let told = |key: Value| json!({"ok": true, "accessKey": key});
    let refused = json!({"ok": false, "error": "Session or machine not found"});
    check(["s-c", "m-c"], told(key("AA==")), &[]);
    check(["s-c", "m-c"], told(key("Qg==")), &["access-key.answer"]);
    check(["s-c", "m-c"], refused.clone(), &["access-key.none"]);
    check(["s-x", "m-c"], refused.clone(), &[]);
    check(["s-d", "m-c"], refused, &[]);
    check(["s-d", "m-c"], told(Value::Null), &["access-key.unknown"]);
    check(["s-d", "m-c"], told(key("AA==")), &["access-key.foreign"]);
}

#[test]
fn where_nothing_shows_that_there_is_a_route_its_404_says_nothing() {
    let check = |was_read: bool, expected: &[&str]| {
        let mut history = two();
        let sent =
            json!({"id": "a", "header": "AA==", "body": "eA==", "dataEncryptionKey": "eA=="});
        let made = json!({"result": "success", "artifact": artifact(1, "AA==")});
        history.call("c", "artifact-create", &sent, &made);
        let path = "/v1/artifacts/a";
        if was_read {
            history.asked("GET", path, 200, Value::Null, artifact(1, "AA=="));
        }
        history.asked("GET", path, 404, Value::Null, json!({"error": "Not found"}));
        history.quiet();
        check(&history, expected, "");
    };
    check(false, &[]);
    check(true, &["artifact.read.answer"]);
}

/// A pair is an account's own from when both were made until one is asked to be deleted.
#[test]
fn what_was_made_later_or_deleted_was_not_there() {
    let check = |steps: &[&str], expected: &[&str]| {
        let mut history = two();
        let session = || json!({"session": {"id": "s-new"}});
        for step in steps {
            match *step {
                "machine" => post_machine(&mut history, "m-new", "x", "x"),
                "session" => {
                    history.asked("POST", "/v1/sessions", 200, json!({"tag": "n"}), session());
                }
                "delete" => {
                    let done = json!({"success": true});
                    history.asked("DELETE", "/v1/sessions/s-new", 200, Value::Null, done);
                }
                _ => {
                    let data = json!({"sessionId": "s-new", "machineId": "m-new"});
                    let refused = json!({"ok": false, "error": "Session or machine not found"});
                    history.call("c", "access-key-get", &data, &refused);
                }
            }
        }
        history.quiet();
        let mut broken = broken(&history);
        broken.retain(|requirement| requirement.starts_with("access-key"));
        assert_eq!(broken, expected, "{steps:?}");
    };
    check(&["machine", "session", "ask"], &["access-key.none"]);
    check(&["session", "ask", "machine"], &[]);
    check(&["machine", "session", "delete", "session", "ask"], &[]);
}

#[test]
fn nobody_makes_an_access_key_of_another_accounts_session() {
    let check = |status: u16, expected: &[&str]| {
        let mut history = two();
        let request = json!({"data": "AA=="});
        let answer = json!({"success": status == 200});
        history.asked("POST", "/v1/access-keys/s-d/m-c", status, request, answer);
        check(&history, expected, "");
    };
    check(404, &[]);
    check(200, &["rest.access-key.pair"]);
}

#[test]
fn a_stale_access_key_is_not_written() {
    let check = |data: &str, expected: &[&str]| {
        let mut history = two();
        let url = "/v1/access-keys/s-c/m-c";
        let key = |data: &str| json!({"data": data, "dataVersion": 1, "createdAt": TIME, "updatedAt": TIME});
        let made = json!({"success": true, "accessKey": key("AA==")});
        history.asked("POST", url, 200, json!({"data": "AA=="}), made);
        let stale = json!({"success": false, "error": "version-mismatch", "currentVersion": 1, "currentData": "AA=="});
        history.asked(
            "PUT",
            url,
            200,
            json!({"data": "Qg==", "expectedVersion": 0}),
            stale,
        );
        let asks = json!({"sessionId": "s-c", "machineId": "m-c"});
        history.call(
            "c",
            "access-key-get",
            &asks,
            &json!({"ok": true, "accessKey": key(data)}),
        );
        check(&history, expected, data);
    };
    check("AA==", &[]);
    check("Qg==", &["access-key.answer"]);
}

#[test]
fn keys_are_written_together_or_not_at_all() {
    let check = |read: (u64, &str), expected: &[&str]| {
        let mut history = two();
        let mutation = |key: &str, value: &str, version: i64| json!({"key": key, "value": value, "version": version});
        let write = |mutations: Value| json!({"mutations": mutations});
        let both = write(json!([
            mutation("k", "AA==", -1),
            mutation("l", "Qg==", -1)
        ]));
        let results = json!([{"key": "k", "version": 0}, {"key": "l", "version": 0}]);
        history.asked(
            "POST",
            "/v1/kv",
            200,
            both,
            json!({"success": true, "results": results}),
        );
        let stale = write(json!([mutation("k", "Qw==", -1), mutation("l", "RA==", 0)]));
        let errors =
            json!([{"key": "k", "error": "version-mismatch", "version": 0, "value": "AA=="}]);
        history.asked(
            "POST",
            "/v1/kv",
            409,
            stale,
            json!({"success": false, "errors": errors}),
        );
        let row = json!({"key": "l", "value": read.1, "version": read.0});
        history.asked("GET", "/v1/kv/l", 200, Value::Null, row);
        check(&history, expected, read.1);
    };
    check((0, "Qg=="), &[]);
    check((1, "RA=="), &["rest.kv.all-or-nothing"]);
    check((0, "RA=="), &["rest.kv.read"]);
}

#[test]
fn two_accounts_write_the_same_key() {
    let check = |is_written: bool, expected: &[&str]| {
        let mut history = two();
        let request = json!({"mutations": [{"key": "k", "value": "AA==", "version": -1}]});
        let refuse = json!({"error": "Key belongs to another account"});
        if is_written {
            history.asked("POST", "/v1/kv", 409, request.clone(), refuse.clone());
        }
        history.is_other = true;
        history.asked("POST", "/v1/kv", 409, request, refuse);
        history.is_other = false;
        let answer = json!({"success": true, "results": [{"key": "k", "version": 0}]});
        let request = json!({"mutations": [{"key": "k", "value": "AA==", "version": -1}]});
        history.asked("POST", "/v1/kv", 200, request, answer);
        history.quiet();
        check(&history, expected, "");
    };
    check(false, &["isolation.kv-keys"]);
    // The first of them may have been refused because of the second.
    check(true, &["isolation.kv-keys"]);
}

#[test]
fn who_posts_a_machine_has_it() {
    let check = |told: &str, again: bool, expected: &[&str]| {
        let mut history = two();
        history.is_other = true;
        post_machine(&mut history, "m-c", "y", told);
        if again {
            post_machine(&mut history, "m-c", "z", told);
        }
        history.quiet();
        check(&history, expected, told);
    };
    check("y", false, &[]);
    check("x", false, &["machine.taken-id-own"]);
    // Another request may have made it.
    check("x", true, &[]);
}

#[test]
fn a_tag_names_a_session_of_each_account() {
    let check = |id: &str, expected: &[&str]| {
        let mut history = two();
        history.is_other = true;
        let session = json!({"session": {"id": id}});
        history.asked("POST", "/v1/sessions", 200, json!({"tag": "c"}), session);
        check(&history, expected, id);
    };
    check("s-new", &[]);
    check("s-c", &["isolation.tags"]);
}

#[test]
fn a_report_of_usage_is_renewed() {
    let check = |first: &str,
                 other: (&str, bool, &str),
                 id: &str,
                 updated: u64,
                 expected: &[&str]| {
        let (key, is_other, session) = other;
        let mut history = two();
        let report = |key: &str, session: &str| {
            let figures = json!({"total": 1});
            let mut data = json!({"key": key, "tokens": figures, "cost": figures});
            if !session.is_empty() {
                data["sessionId"] = json!(session);
            }
            data
        };
        let answer = |id: &str, updated: u64| json!({"success": true, "reportId": id, "createdAt": TIME, "updatedAt": updated});
        history.call("c", "usage-report", &report("k", first), &answer("r", TIME));
        history.wait(3);
        let conn = if is_other { "d" } else { "c" };
        history.call(
            conn,
            "usage-report",
            &report(key, session),
            &answer(id, updated),
        );
        check(&history, expected, &format!("{other:?} {id} {updated}"));
    };
    let same = ("k", false, "s-c");
    check("s-c", same, "r", TIME + 3000, &[]);
    check("s-c", same, "r", TIME, &["usage.same-report"]);
    check("s-c", same, "r2", TIME + 3000, &["usage.same-report"]);
    // Whether two reports without a session are one is the server's choice.
    check("", ("k", false, ""), "r2", TIME, &[]);
    check("", ("l", false, ""), "r2", TIME, &[]);
    check("", ("l", false, ""), "r", TIME, &["usage.other-report"]);
    check("", same, "r", TIME, &["usage.other-report"]);
    check("", ("k", true, ""), "r2", TIME, &[]);
    check("", ("k", true, ""), "r", TIME, &["isolation.usage-keys"]);
    check("", ("k", true, "s-c"), "r2", TIME, &["usage.foreign"]);
}

#[test]
fn a_report_needs_no_session() {
    let check = |data: Value, expected: &[&str]| {
        let mut history = two();
        let answer = json!({"success": false, "error": "Invalid sessionId"});
        history.call("c", "usage-report", &data, &answer);
        check(&history, expected, &data.to_string());
    };
    let valid = json!({"key": "k", "tokens": {"total": 1}, "cost": {"total": 1}});
    check(valid, &["usage.without-session"]);
    check(json!({"key": "k", "tokens": {"total": 1}}), &[]);
    check(
        json!({"key": "k", "tokens": {"total": 1}, "cost": {"total": 1}, "sessionId": "x"}),
        &[],
    );
}

#[test]
fn no_part_has_more_versions_than_writes() {
    let check = |version: u64, expected: &[&str]| {
        let mut history = two();
        let row = json!({"id": "s", "metadata": "x", "metadataVersion": 0, "agentState": null, "agentStateVersion": 0});
        history.asked(
            "POST",
            "/v1/sessions",
            200,
            json!({"tag": "s"}),
            json!({"session": row}),
        );
        let data = json!({"sid": "s", "metadata": "y", "expectedVersion": 0});
        history.call(
            "c",
            "update-metadata",
            &data,
            &json!({"result": "success", "version": 1, "metadata": "y"}),
        );
        let row = json!({"id": "s", "metadata": "y", "metadataVersion": 1, "agentState": null, "agentStateVersion": version});
        history.asked(
            "GET",
            "/v1/sessions",
            200,
            Value::Null,
            json!({"sessions": [row]}),
        );
        check(&history, expected, "");
    };
    check(0, &[]);
    check(1, &["session.version-step"]);
}

#[test]
fn what_is_posted_over_http_is_announced() {
    let check = |told: &[Value], expected: &[&str]| {
        let mut history = two();
        history.call("c", "ping", &Value::Null, &json!({}));
        history.asked(
            "POST",
            "/v1/sessions/s-c/archive",
            200,
            json!({}),
            json!({"success": true}),
        );
        for ephemeral in told {
            history.event(
                "c",
                touchstone_client::Direction::Received,
                "ephemeral",
                ephemeral,
                None,
            );
        }
        history.quiet();
        check(&history, expected, &format!("{told:?}"));
    };
    let activity = |active: bool| json!({"type": "activity", "id": "s-c", "active": active, "activeAt": TIME, "thinking": false});
    check(&[activity(false)], &[]);
    check(&[activity(true)], &["rest.session.archived"]);
    check(&[], &["rest.session.archived"]);
}

#[test]
fn a_new_machine_is_announced_twice() {
    let check = |is_second: bool, expected: &[&str]| {
        let mut history = two();
        history.call("c", "ping", &Value::Null, &json!({}));
        post_machine(&mut history, "new", "x", "x");
        let update = |seq: u64, body: Value| json!({"id": format!("u{seq}"), "seq": seq, "createdAt": TIME, "body": body});
        let new = json!({
            "t": "new-machine", "machineId": "new", "seq": 1, "metadata": "x", "metadataVersion": 1, "daemonState": null,
            "daemonStateVersion": 0, "dataEncryptionKey": null, "active": true, "activeAt": TIME, "createdAt": TIME,
            "updatedAt": TIME,
        });
        let second = json!({"t": "update-machine", "machineId": "new", "metadata": {"value": "x", "version": 1}});
        let received = touchstone_client::Direction::Received;
        history.event("c", received, "update", &update(1, new), None);
        if is_second {
            history.event("c", received, "update", &update(2, second), None);
        }
        history.quiet();
        check(&history, expected, "");
    };
    check(true, &[]);
    check(false, &["rest.machine.second-update"]);
}
