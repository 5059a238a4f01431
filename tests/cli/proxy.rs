//! `touchstone proxy`: the suite through it, what it records and says, and what stays secret.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Child;
use std::thread;

use rustix::process::Signal;
use serde_json::Value;

use crate::load::{Desk, SMALL};
use crate::support::{Ran, Served, check, free_address, run, signal, touchstone};
use crate::terminal::Terminal;

/// A proxy before a server.
struct Between {
    child: Child,
    url: String,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Between {
    fn start(server: &str, arguments: &[&str]) -> Self {
        let proxy = [
            "proxy",
            "127.0.0.1:0",
            server,
            "--headless",
            "--format",
            "json",
        ];
        let mut child = touchstone(&[&proxy[..], arguments].concat())
            .spawn()
            .expect("the program starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut line = String::new();
        stderr.read_line(&mut line).expect("a line");
        if arguments.contains(&"--insecure") {
            assert_eq!(line, "certificates are not verified (--insecure)\n");
            line.clear();
            stderr.read_line(&mut line).expect("a line");
        }
        let url = line.strip_prefix("listening on ").expect(&line);
        let url = url.split(' ').next().expect(&line).to_owned();
        Self { child, url, stderr }
    }

    /// Ends it, and gives what it said.
    fn end(mut self) -> Ran {
        // What it prints would fill its pipe if nobody read it.
        let mut stdout = self.child.stdout.take().expect("a pipe");
        let said = std::thread::spawn(move || std::io::read_to_string(&mut stdout));
        signal(&self.child, Signal::TERM);
        let stderr = std::io::read_to_string(&mut self.stderr).expect("UTF-8");
        let status = self.child.wait().expect("an end");
        Ran {
            code: status.code().expect("an exit code"),
            stdout: said.join().expect("a reader").expect("UTF-8"),
            stderr,
        }
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn the_suite_finds_the_same_through_it_and_its_record_is_right() {
    let folder = tempfile::tempdir().expect("a folder");
    let trace = folder.path().join("trace.jsonl");
    let trace = trace.to_str().expect("UTF-8");
    let served = Served::start(&[]);
    let between = Between::start(
        &served.url,
        &["--record", trace, "--strict", "--filter", "size < 0"],
    );
    // Some of each kind: transports and their end, malformed frames, hazards, REST, remote calls.
    let some = [
        "handshake.*",
        "transport.*",
        "session.*",
        "rpc.call*",
        "rest.kv*",
        "hazard.*",
        "server.*",
    ];
    let only = some.iter().flat_map(|glob| ["--only", glob]);
    let suite: Vec<_> = ["check", &between.url, "--no-slow"]
        .into_iter()
        .chain(only)
        .collect();
    check(&suite, 0, &[]);
    let ran = between.end();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains("nothing wrong found"), "{}", ran.stderr);
    check(&["judge", trace], 0, &[]);
}

#[test]
fn a_server_that_breaks_a_rule_fails_a_strict_run() {
    let served = Served::start(&["--fault", "dup-update=2"]);
    let strict = Between::start(&served.url, &["--strict"]);
    let suite = ["check", &strict.url, "--only", "session.*", "--no-slow"];
    run(&suite);
    let ran = strict.end();
    assert_eq!(ran.code, 10, "{}", ran.stderr);
    assert!(ran.stderr.contains("of level MUST"), "{}", ran.stderr);
    let twice = "delivery.no-duplicate";
    assert!(ran.stdout.contains(twice), "{}", ran.stdout);
}

/// A server and a proxy before it are two processes with one state: two nodes of a cluster.
#[test]
fn a_cluster_is_explored_as_one_and_its_wrong_node_is_told() {
    let served = Served::start(&[]);
    let quiet = ["--filter", "size(lints) > 9"];
    let right = Between::start(&served.url, &quiet);
    let exploring = "--rounds 6 --seed 3 --fail-fast --shrink-for 5s --report json=-";
    let exploring: Vec<_> = exploring.split(' ').collect();
    let explore = |node: &Between, code: i32| -> Value {
        let urls = ["explore", &served.url, &node.url];
        let ran = check(&[&urls[..], &exploring].concat(), code, &[]);
        serde_json::from_str(&ran.stdout).expect("stdout is JSON")
    };
    let clean = explore(&right, 0);
    assert_eq!(clean["summary"]["violations"], 0, "{clean:#}");
    right.end();

    let when = "direction == 'received' && type == 'update-session'";
    let losing = ["--when", when, "--do", "drop", "--every", "3"];
    let wrong = Between::start(&served.url, &[&quiet[..], &losing].concat());
    let found = explore(&wrong, 10);
    let violations = found["violations"].as_array().expect("a list");
    let lost = violations
        .iter()
        .find(|one| one["requirement"] == "delivery.no-loss");
    let lost = lost.unwrap_or_else(|| panic!("{found:#}"));
    let steps = lost["steps"].to_string();
    assert!(steps.contains("at node 2"), "{steps}");
    wrong.end();
}

#[test]
fn no_token_is_shown_or_recorded_and_the_record_can_be_sent_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let trace = folder.path().join("trace.jsonl");
    let trace = trace.to_str().expect("UTF-8");
    let served = Served::start(&[]);
    let between = Between::start(&served.url, &["--record", trace]);
    let account = check(&["account", &between.url], 0, &[]);
    let token = account.stdout.trim();
    let session = r#"{"id":"0a000000-0000-4000-8000-000000000001","header":"aA==","body":"aA==","dataEncryptionKey":"aA=="}"#;
    let emit = [
        "emit",
        &between.url,
        "artifact-create",
        session,
        "--token",
        token,
    ];
    check(&emit, 0, &[]);
    let ran = between.end();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("artifact-create"), "{}", ran.stdout);
    let recorded = fs::read_to_string(trace).expect("a trace");
    assert!(recorded.contains("artifact-create"), "{recorded}");
    // A part of it would be as bad.
    let part = &token[token.len() / 2..];
    for text in [&ran.stdout, &ran.stderr, &recorded] {
        assert!(!text.contains(part), "{text}");
        assert!(!text.contains("Bearer"), "{text}");
    }
    check(
        &["replay", trace, "--against", &served.url, "--as-fast"],
        0,
        &[],
    );
    check(&["watch", "--open", trace, "--headless"], 0, &[]);
}

#[test]
fn tls_on_both_sides_is_reached_and_trusted_as_by_other_commands() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let (pem, key) = (path("server.pem"), path("server.key"));
    fs::write(&pem, made.cert.pem()).expect("a file");
    fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
    let served = Served::start(&[]);
    // One that offers TLS, and before it others that come by TLS.
    let offers = Between::start(&served.url, &["--tls-cert", &pem, "--tls-key", &key]);
    assert!(offers.url.starts_with("https://"), "{}", offers.url);
    for trust in [&["--cacert", &pem][..], &["--insecure"]] {
        let comes = Between::start(&offers.url, trust);
        check(
            &["check", &comes.url, "--only", "transport.*", "--no-slow"],
            0,
            &[],
        );
        let ran = comes.end();
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(ran.stderr.contains("nothing wrong found"), "{}", ran.stderr);
    }
    let doubts = Between::start(&offers.url, &[]);
    check(&["account", &doubts.url], 3, &[]);
    let ran = doubts.end();
    assert!(ran.stdout.contains("ertificate"), "{}", ran.stdout);
    let ran = offers.end();
    assert!(ran.stderr.contains("nothing wrong found"), "{}", ran.stderr);
}

#[test]
fn a_client_meets_what_rules_say() {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = folder.path().join("rules.toml");
    let more = "[[rule]]\nwhen = 'type == \"GET /v1/kv\"'\ndo = \"http=503\"\n\n[[rule]]\n\
                when = 'type == \"artifact-read\" && account == \"a1\"'\ndo = \"close=abrupt\"\n";
    fs::write(&rules, more).expect("a file");
    let trace = folder.path().join("trace.jsonl");
    let (rules, trace) = (
        rules.to_str().expect("UTF-8"),
        trace.to_str().expect("UTF-8"),
    );
    let served = Served::start(&[]);
    let when = [
        "--when",
        "type == \"ping\" && scope == \"user\"",
        "--do",
        "answer={\"disturbed\":1}",
    ];
    let kept = ["--at-most", "1", "--rules", rules, "--record", trace];
    let between = Between::start(&served.url, &[&when[..], &kept].concat());
    let account = check(&["account", &between.url], 0, &[]);
    let token = account.stdout.trim();
    let emit = |event, data| run(&["emit", &between.url, event, data, "--token", token]);
    let first = emit("ping", "{}");
    assert!(
        first.stdout.contains("disturbed"),
        "{}{}",
        first.stdout,
        first.stderr
    );
    let second = emit("ping", "{}");
    assert_eq!(
        (second.code, second.stdout.contains("disturbed")),
        (0, false)
    );
    assert_ne!(emit("artifact-read", r#"{"artifactId":"a"}"#).code, 0);
    let ran = between.end();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let recorded = fs::read_to_string(trace).expect("a trace");
    for mark in [
        "the proxy answers ping",
        "the proxy resets the connection at artifact-read",
    ] {
        assert!(recorded.contains(mark), "no {mark:?} in {recorded}");
    }
}

/// Who has just begun has accounts and connections, and is told what they are worth.
#[test]
fn a_server_without_sessions_is_judged_by_what_it_has() {
    let served = Served::start(&[]);
    let when = [
        "--when",
        "type == \"POST /v1/sessions\" || type == \"POST /v1/machines\"",
        "--do",
        "http=404",
    ];
    let between = Between::start(&served.url, &when);
    let only = [
        "ping.answer",
        "handshake.user-scoped",
        "session.unknown",
        "isolation.tags",
    ];
    let only = only.map(|case| ["--only", case]).concat();
    let ran = check(&[&["check", &between.url][..], &only].concat(), 12, &[]);
    for part in [
        "ping       1 passed",
        "handshake  1 passed",
        "session    1 blocked",
        "isolation  1 blocked",
        "POST /v1/sessions is not supported",
    ] {
        assert!(ran.stdout.contains(part), "no {part:?} in {}", ran.stdout);
    }
}

#[test]
fn what_a_load_leaves_is_judged_replayed_and_planned_again() {
    let desk = Desk::new();
    let trace = desk.path("trace.jsonl");
    let trace = trace.to_str().expect("UTF-8");
    let served = Served::start(&[]);
    let between = Between::start(&served.url, &["--record", trace, "--filter", "size < 0"]);
    check(
        &["load", &between.url, "--scenario", &desk.scenario(SMALL)],
        0,
        &[],
    );
    let ran = between.end();
    assert!(ran.stderr.contains("nothing wrong found"), "{}", ran.stderr);
    check(&["judge", trace], 0, &[]);
    let other = Served::start(&[]);
    check(
        &["replay", trace, "--against", &other.url, "--as-fast"],
        0,
        &[],
    );
    let made = check(&["load", "plan", "--from", trace], 0, &[]).stdout;
    let plan = ["load", "plan", "--scenario", &desk.scenario(&made)];
    let planned = check(&plan, 0, &[]).stdout;
    assert!(planned.contains("connections"), "{planned}");
}

#[test]
fn a_person_edits_drops_and_releases_what_is_held() {
    let served = Served::start(&[]);
    let listen = free_address();
    // Its answer has the same type.
    let rule = [
        "--when",
        "type == \"ping\" && direction == \"sent\"",
        "--do",
        "hold",
    ];
    let terminal = Terminal::start(&[&["proxy", &listen, &served.url][..], &rule].concat());
    terminal.wait_for("following");
    let url = format!("http://{listen}");
    let account = check(&["account", &url], 0, &[]);
    let token = account.stdout.trim().to_owned();
    let call = || {
        let (url, token) = (url.clone(), token.clone());
        thread::spawn(move || run(&["emit", &url, "ping", "{}", "--token", &token]))
    };
    let changed = call();
    terminal.wait_for("1 message held");
    terminal.send("ee");
    terminal.wait_for("edit> [\"ping\"");
    // What is no event is not sent, and the message is still held.
    terminal.send("\x15[1]\r");
    terminal.wait_for("begins with the event's name");
    terminal.send("e\x15[\"artifact-read\",{\"artifactId\":\"a\"}]\r");
    let ran = changed.join().expect("a run");
    assert!(
        ran.stdout.contains("Artifact not found"),
        "{}{}",
        ran.stdout,
        ran.stderr
    );
    let released = call();
    terminal.wait_for("1 message held");
    terminal.send("r");
    assert_eq!(released.join().expect("a run").stdout, "answer    {}\n");
    terminal.wait_for("nothing is held");
    terminal.send("\x1b");
    terminal.wait("the list", |_, screen| {
        !screen.contents().contains("nothing is held")
    });
    terminal.send("c");
    terminal.wait_for("of 1 reconnect");
    // Whoever leaves lets go on what is held.
    let left = call();
    terminal.wait_for("1 message held");
    terminal.send("q");
    terminal.ends(0);
    left.join().expect("a run");
}

#[test]
fn a_person_makes_and_removes_rules() {
    let served = Served::start(&[]);
    let listen = free_address();
    let terminal = Terminal::start(&["proxy", &listen, &served.url]);
    terminal.wait_for("following");
    let url = format!("http://{listen}");
    let account = check(&["account", &url], 0, &[]);
    let ping = ["emit", &url, "ping", "{}", "--token", account.stdout.trim()];
    terminal.send("ww");
    terminal.wait_for("rule> ");
    // What the proxy cannot do is said, and the line is there to be mended.
    terminal.send("\x15type == \"ping\" --do lose\r");
    terminal.wait_for("no such action");
    terminal.send("\x17answer={\"held\":true}\r");
    terminal.wait_for("done 0 of 0");
    assert_eq!(run(&ping).stdout, "answer    {\"held\":true}\n");
    terminal.wait_for("done 1 of 1");
    terminal.send("d");
    terminal.wait_for("messages go on as they are");
    assert_eq!(run(&ping).stdout, "answer    {}\n");
    terminal.send("q");
    terminal.ends(0);
}

#[test]
fn what_cannot_be_used() {
    let nobody = free_address();
    check(
        &["proxy", "nowhere", &nobody, "--headless"],
        2,
        &["cannot listen on nowhere"],
    );
    let listen = ["proxy", "127.0.0.1:0", &nobody, "--headless"];
    let missing = ["--tls-cert", "missing.pem", "--tls-key", "missing.pem"];
    check(
        &[&listen[..], &missing].concat(),
        2,
        &["cannot read missing.pem"],
    );
    check(&listen[..3], 2, &["not a terminal"]);
    let when = ["--when", "type == \"ping\"", "--do"];
    let rules = [&listen[..], &when].concat();
    check(
        &[&rules[..], &["shout"]].concat(),
        2,
        &["no such action", "actions are drop"],
    );
    check(
        &[&rules[..], &["drop", "--do", "drop"]].concat(),
        2,
        &["each --when needs one --do"],
    );
    check(
        &[&rules[..], &["hold"]].concat(),
        2,
        &["--headless has no screen"],
    );
    check(
        &[&listen[..], &["--when", "type ==", "--do", "drop"]].concat(),
        2,
        &["type =="],
    );
}
