//! What `touchstone watch` can look at, on a server: accounts, sessions, machines, the tap; and what it
//! says when the server goes away and comes back.

use std::sync::atomic::Ordering;

use serde_json::json;

use super::lines::Lines;
use super::people::People;
use crate::support::{Proxy, Served, Then, check};
use crate::terminal::Terminal;

/// A server, and a way to it that can be cut. Pings make a cut felt at once.
fn cuttable() -> (Served, Proxy) {
    let server = Served::start(&["--control", "--ping-interval", "200ms"]);
    let proxy = Proxy::start(server.address(), usize::MAX, Then::Die);
    (server, proxy)
}

#[test]
fn what_was_missed_is_a_gap_and_the_connection_lives_on() {
    let (server, proxy) = cuttable();
    let people = People::of(&server, 1);
    let mut lines = Lines::start(&[&proxy.url, "--token", people.token()]);
    lines.wait_for(&[("kind", "connection"), ("type", "connected")]);
    people.session("before");
    lines.wait_for(&[("type", "new-session")]);

    proxy.failed.store(true, Ordering::SeqCst);
    lines.wait_for(&[("kind", "connection"), ("type", "lost")]);
    people.session("meanwhile");
    proxy.failed.store(false, Ordering::SeqCst);

    let gap = lines.wait_for(&[("kind", "gap")]);
    let text = gap["text"].as_str().expect("a sentence");
    assert!(
        text.starts_with("nothing was seen on a1/user for "),
        "{text}"
    );
    assert!(
        text.ends_with("do not send again what was missed"),
        "{text}"
    );
    let after = people.session("after");
    // What came meanwhile is not sent again, so the next session is that of now.
    let seen = lines.wait_for(&[("type", "new-session")]);
    assert_eq!(seen["session"], after.as_str());
}

#[test]
fn a_lost_tap_is_a_gap_too() {
    let (server, proxy) = cuttable();
    let people = People::of(&server, 1);
    let mut lines = Lines::start(&[&proxy.url, "--tap"]);
    lines.wait_for(&[("type", "connected")]);
    // The proxy looks whether it is cut when something passes.
    proxy.failed.store(true, Ordering::SeqCst);
    people.session("meanwhile");
    lines.wait_for(&[("type", "lost")]);
    proxy.failed.store(false, Ordering::SeqCst);
    let gap = lines.wait_for(&[("kind", "gap")]);
    assert!(
        gap["text"]
            .as_str()
            .is_some_and(|text| text.contains("on tap for")),
        "{gap}"
    );
    people.session("after");
    lines.wait_for(&[("type", "new-session")]);
}

#[test]
fn the_screen_shows_attempts_and_then_the_gap() {
    let (server, proxy) = cuttable();
    let people = People::of(&server, 1);
    let terminal = Terminal::start(&["watch", &proxy.url, "--token", people.token()]);
    terminal.wait_for("1 open");
    proxy.failed.store(true, Ordering::SeqCst);
    // More than one attempt fails, and each is told.
    terminal.wait_for("attempt 2 in");
    terminal.wait_for("1 lost");
    proxy.failed.store(false, Ordering::SeqCst);
    let screen = terminal.wait_for("1 open");
    assert!(!screen.contains("attempt"), "{screen}");
    terminal.wait_for("gap  nothing was seen on a1/user");
    terminal.send("q");
    terminal.ends(0);
}

#[test]
fn each_account_has_its_own_connection() {
    let server = Served::start(&[]);
    let people = [People::of(&server, 1), People::of(&server, 2)];
    let [one, two] = [people[0].token(), people[1].token()];
    let mut lines = Lines::start(&[&server.url, "--token", one, "--token", two]);
    for _ in 0..2 {
        lines.wait_for(&[("type", "connected")]);
    }
    for (at, account) in ["a2", "a1"].iter().enumerate() {
        let id = people[1 - at].session("tag");
        let seen = lines.wait_for(&[("type", "new-session")]);
        assert_eq!(
            (&seen["account"], &seen["session"]),
            (&json!(account), &json!(id))
        );
        assert_eq!(seen["recipients"], 1);
    }
}

#[test]
fn accounts_come_from_the_provisioner() {
    let server = Served::start(&[]);
    let mut lines = Lines::start(&[&server.url, "--accounts", "2"]);
    let mut seen: Vec<_> = (0..2)
        .map(|_| lines.wait_for(&[("type", "connected")])["conn"].to_string())
        .collect();
    seen.sort();
    assert_eq!(seen, ["\"a1/user\"", "\"a2/user\""]);
    // Nobody else uses them, so that there will be little to see.
    let told = lines.end();
    assert!(
        told.contains("a new account is watched: nobody does anything in it"),
        "{told}"
    );
}

#[test]
fn sessions_and_machines_are_watched_on_request_with_a_note() {
    let server = Served::start(&[]);
    let people = People::of(&server, 1);
    let session = people.session("tag");
    people.machine("machine-1");
    let arguments = [
        &server.url,
        "--token",
        people.token(),
        "--session",
        &session,
        "--machine",
        "machine-1",
    ];
    shows_all_scopes(Lines::start(&arguments), &people, &session);
    let terminal = Terminal::start(&[&["watch"], arguments.as_slice()].concat());
    terminal.wait_for("3 open");
    terminal.wait_for("watching as a machine keeps it active for others");
    terminal.send("q");
    terminal.ends(0);
}

#[test]
fn all_finds_sessions_and_machines() {
    let server = Served::start(&[]);
    let people = People::of(&server, 1);
    let session = people.session("tag");
    people.machine("machine-1");
    let lines = Lines::start(&[&server.url, "--token", people.token(), "--all"]);
    shows_all_scopes(lines, &people, &session);
}

#[test]
fn all_sessions_leaves_the_presence_of_machines_as_it_is() {
    let server = Served::start(&[]);
    let people = People::of(&server, 1);
    people.session("tag");
    people.machine("machine-1");
    let all = [&server.url, "--token", people.token(), "--all=sessions"];
    let mut lines = Lines::start(&all);
    let mut scopes: Vec<_> = (0..2)
        .map(|_| lines.wait_for(&[("type", "connected")])["scope"].to_string())
        .collect();
    scopes.sort();
    assert_eq!(scopes, ["\"session\"", "\"user\""]);
    let told = lines.end();
    assert!(!told.contains("machine"), "{told}");
}

/// Three connections are there, a message reaches the two that it is for, and the note was told.
#[track_caller]
fn shows_all_scopes(mut lines: Lines, people: &People, session: &str) {
    let mut scopes: Vec<_> = (0..3)
        .map(|_| lines.wait_for(&[("type", "connected")])["scope"].to_string())
        .collect();
    scopes.sort();
    assert_eq!(scopes, ["\"machine\"", "\"session\"", "\"user\""]);
    people.send("message", &json!({"sid": session, "message": "dGV4dA=="}));
    let message = lines.wait_for(&[("type", "new-message")]);
    assert_eq!(message["session"], session);
    // A later copy has a line of its own; which comes first is chance.
    let copy = lines.wait("the copy", |line| line["copyOf"] == message["number"]);
    let mut got = [message["scope"].to_string(), copy["scope"].to_string()];
    got.sort();
    assert_eq!(got, ["\"session\"", "\"user\""]);
    let told = lines.end();
    assert!(told.contains("session shows presence to others"), "{told}");
    assert!(
        told.contains("watching as a machine keeps it active for others"),
        "{told}"
    );
    assert!(!told.contains(people.token()), "{told}");
}

#[test]
fn the_tap_tells_filter_recipients_and_who_was_left_out() {
    let server = Served::start(&["--control"]);
    let people = People::of(&server, 1);
    let session = people.session("tag");
    let mut user = Lines::start(&[&server.url, "--token", people.token()]);
    user.wait_for(&[("type", "connected")]);
    let mut lines = Lines::start(&[&server.url, "--tap"]);
    lines.wait_for(&[("type", "connected")]);
    people.send("message", &json!({"sid": session, "message": "dGV4dA=="}));
    let decision = lines.wait_for(&[("type", "new-message")]);
    assert_eq!(decision["filter"], "all-interested-in-session");
    // The watching user got it; the connection that sent it was left out.
    assert_eq!(decision["recipients"], 1);
    assert!(decision["skipped"].is_string() && decision["skipped"] != decision["receivers"][0]);
    assert_eq!(decision["lints"], json!([]));
}

#[test]
fn what_cannot_be_watched_is_told_in_one_line() {
    let server = Served::start(&[]);
    check(
        &["watch", &server.url, "--tap", "--headless"],
        3,
        &["cannot watch", "404", "control extension"],
    );
    check(
        &["watch", &server.url, "--token", "invented", "--headless"],
        3,
        &["cannot watch", "Invalid authentication token"],
    );
    check(
        &["watch", "http://127.0.0.1:1", "--token", "t", "--headless"],
        3,
        &["cannot watch", "127.0.0.1:1"],
    );
}
