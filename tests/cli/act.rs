//! `touchstone account` and `touchstone emit`: something to see on a server, by hand.

use serde_json::Value;

use crate::support::{Served, check, free_address, touchstone};

/// The token of an account, as a person gets it.
fn token(served: &Served, more: &[&str]) -> String {
    let ran = check(&[&["account", &served.url][..], more].concat(), 0, &[]);
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 1, "{}", ran.stdout);
    lines[0].to_owned()
}

#[test]
fn an_account_is_made_or_found_again() {
    let served = Served::start(&[]);
    assert_ne!(token(&served, &[]), token(&served, &[]));
    let first = token(&served, &["--seed", "7"]);
    let again = token(&served, &["--seed", "7"]);
    // The same account, whatever its tokens look like: both list what one of them made.
    let send = |token: &str| {
        let data = r#"{"id":"0a000000-0000-4000-8000-000000000001","header":"aA==","body":"aA==","dataEncryptionKey":"aA=="}"#;
        let emit = [
            "emit",
            &served.url,
            "artifact-create",
            data,
            "--token",
            token,
        ];
        check(&emit, 0, &[]).stdout
    };
    assert!(send(&first).contains(r#""result":"success""#));
    let read = r#"{"artifactId":"0a000000-0000-4000-8000-000000000001"}"#;
    let emit = [
        "emit",
        &served.url,
        "artifact-read",
        read,
        "--token",
        &again,
    ];
    let ran = check(&emit, 0, &[]);
    assert!(
        ran.stdout.contains(r#""result":"success""#),
        "{}",
        ran.stdout
    );
    let nobody = free_address();
    check(&["account", &nobody], 3, &[&nobody]);
}

#[test]
fn what_is_emitted_is_answered_and_seen() {
    let served = Served::start(&[]);
    let token = token(&served, &[]);
    let watching = ["watch", &served.url, "--token", &token, "--headless"];
    let until = ["--for", "60s", "--until", "type == \"machine-activity\""];
    let child = touchstone(&[&watching[..], &until].concat())
        .spawn()
        .expect("the program starts");
    let emit = |arguments: &[&str], code, parts: &[&str]| {
        let all = [&["emit", &served.url, "--token", &token][..], arguments].concat();
        check(&all, code, parts)
    };
    let ran = emit(&["ping"], 0, &[]);
    assert_eq!(ran.stdout, "answer    {}\n");
    // A machine that comes is told to its own account; the connection itself is shown what it gets.
    while !child_has_ended(&child) {
        emit(&["ping", "--machine", "m1", "--for", "1ms"], 0, &[]);
    }
    let ran = child.wait_with_output().expect("an end");
    assert_eq!(ran.status.code(), Some(0));

    // What has no answer, and is not sent to anybody, leaves nobody in the dark.
    let ran = emit(
        &["session-alive", r#"{"sid":"x","time":1}"#, "--for", "50ms"],
        0,
        &[],
    );
    assert_eq!(ran.stderr, "nothing came within 50ms\n");
    let unknown = ["pingg", "--for", "50ms"];
    emit(&unknown, 0, &["nothing came within", "did you mean ping?"]);
    emit(&["ping", "not json"], 2, &["is not JSON"]);
    emit(&["ping", "{}", "--session", "s", "--machine", "m"], 2, &[]);
    let refused = ["emit", &served.url, "ping", "--token", "nobody"];
    check(&refused, 3, &["Invalid authentication token"]);
    let hint = format!("touchstone account {}", served.url);
    check(&["emit", &served.url, "ping"], 2, &["no token", &hint]);
}

fn child_has_ended(child: &std::process::Child) -> bool {
    let pid = rustix::process::Pid::from_child(child);
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    // A process that has ended and was not waited for yet is a zombie.
    stat.map_or(true, |stat| stat.contains(") Z "))
}

#[test]
fn an_answer_that_never_comes_is_told() {
    let served = Served::start(&["--fault", "no-ack"]);
    let token = token(&served, &[]);
    let emit = ["emit", &served.url, "ping", "--token", &token];
    check(&emit, 12, &["no answer to ping within 10 s"]);
}

#[test]
fn explain_tells_of_one_id_once() {
    let listed = check(&["check", "--list", "--report", "json=-"], 0, &[]);
    let listed: Value = serde_json::from_str(&listed.stdout).expect("a list");
    for case in listed["cases"].as_array().expect("cases").iter().take(40) {
        let id = case["id"].as_str().expect("an id");
        let told = check(&["explain", id], 0, &[]).stdout;
        let heads = told
            .lines()
            .filter(|line| *line == id || line.starts_with(&format!("{id} ")));
        assert_eq!(heads.count(), 1, "{told}");
    }
}

#[test]
fn who_is_refused_sees_what_the_server_says() {
    for (liberty, reason) in [
        (&[][..], "refused: Invalid authentication token"),
        (
            &["--liberty", "refusal-by-event"],
            "the server ended the connection",
        ),
    ] {
        let served = Served::start(liberty);
        let emit = ["emit", &served.url, "ping", "--token", "nobody"];
        let ran = check(
            &emit,
            3,
            &[reason, "is the token one that this server knows?"],
        );
        let said = ran.stdout.contains("Invalid authentication token");
        assert_eq!(said, !liberty.is_empty(), "{}", ran.stdout);
    }
}
