//! `touchstone serve`: the ready line, stopping, and what it does not accept.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use rustix::process::Signal;
use serde_json::json;
use touchstone_client::provision::{NewSession, Rest};
use touchstone_client::{ConnectOptions, connect};

use crate::support::{Served, check, free_address, signal, touchstone};

#[track_caller]
fn check_stop(how: Signal) {
    let mut served = Served::start(&[]);
    signal(&served.child, how);
    let status = served.child.wait().expect("an end");
    assert_eq!(status.code(), Some(0), "{how:?}");
}

#[test]
fn ends_cleanly_when_asked() {
    check_stop(Signal::TERM);
    check_stop(Signal::INT);
}

#[test]
fn says_in_one_line_what_cannot_be_used() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = taken.local_addr().expect("an address").to_string();
    check(
        &["serve", "--listen", &taken],
        2,
        &[&taken, "in use", "hint:"],
    );
    check(
        &["serve", "--listen", "nonsense"],
        2,
        &["nonsense", "127.0.0.1:3005"],
    );
    check(&["serve", "--listen", "192.0.2.1:0"], 2, &["192.0.2.1:0"]);
    check(
        &["serve", "--fault", "no-such-fault"],
        2,
        &["no-such-fault", "--list-faults"],
    );
    check(
        &["serve", "--liberty", "wid"],
        2,
        &[
            "unknown liberty \"wid\"",
            "did you mean wide?",
            "--list-liberties",
        ],
    );
    check(
        &["check", "--liberty", "latency=0"],
        2,
        &["latency", "whole number", "--list-liberties"],
    );
    check(&["serve", "--ping-interval", "soon"], 2, &["soon", "15s"]);
    check(&["serve", "--max-payload", "7"], 2, &["7", "1000"]);
}

/// Where rows could not be kept, nobody is served; and no password is shown.
#[test]
fn says_in_one_line_what_is_wrong_with_a_database() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = |name: &str| format!("sqlite://{}", folder.path().join(name).display());
    std::fs::write(folder.path().join("text"), "no database ".repeat(100)).expect("a file");
    let (text, nowhere, free) = (url("text"), url("no/folder"), free_address());
    let elsewhere = format!("postgres://me:secret@{free}/rows");
    let shown = format!("postgres://me:***@{free}/rows");
    let check = |database: &str, code, parts: &[&str]| {
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--database", database];
        let ran = check(&arguments, code, parts);
        assert!(!ran.stderr.contains("secret"), "{}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 2, "{}", ran.stderr);
    };
    check(
        "mysql://me:secret@db/rows",
        2,
        &["mysql", "sqlite://", "hint:"],
    );
    check("rows.db", 2, &["rows.db", "sqlite://"]);
    check("sqlite://", 2, &["no path"]);
    check("postgres://me:secret@db:port/rows", 2, &["port"]);
    check(&nowhere, 2, &[&nowhere, "No such file"]);
    check(&text, 2, &[&text, "file is not a database"]);
    check(&elsewhere, 3, &[&shown, "refused", "hint:"]);
}

#[test]
fn lists_its_faults_and_its_liberties() {
    let lists = [
        ("--list-faults", "echo-to-sender "),
        ("--list-liberties", "latency[=MS] "),
    ];
    for (flag, row) in lists {
        let ran = check(&["serve", flag], 0, &[]);
        let has_row = ran.stdout.lines().any(|line| line.starts_with(row));
        assert!(has_row, "{}", ran.stdout);
    }
}

#[test]
fn serves_on_several_addresses() {
    let served = Served::start(&["--listen", "127.0.0.2:0"]);
    assert_eq!(served.urls.len(), 2, "{:?}", served.urls);
}

/// Whoever is annoyed by a server has to learn that it differs on purpose.
#[test]
fn names_its_differences_when_it_is_ready() {
    let mut child = touchstone(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--fault",
        "no-ack",
        "--fault",
        "lost-update=7",
        "--liberty",
        "wide",
    ])
    .spawn()
    .expect("the program starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    child.kill().expect("a child that runs");
    child.wait().expect("an end");
    assert!(
        line.ends_with(
            " with rows in memory and the faults no-ack, lost-update=7 and the liberties wide\n"
        ),
        "{line}"
    );
}

/// With `-v` people see who came, what was asked, and why it was refused, but no secret.
#[test]
fn says_why_something_was_refused() {
    let mut served = Served::start(&["-v"]);
    let url = served.url.parse().expect("a URL");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let token = runtime.block_on(async {
        let options = ConnectOptions::new(url);
        let rest = Rest::new(&options).expect("HTTP");
        let account = rest.account([7; 32]).await.expect("an account");
        let session = NewSession { tag: "t".into(), metadata: "m".into(), ..NewSession::default() };
        let session = rest.session(&account, &session).await.expect("a session");
        for (method, path) in [("GET", "/v1/machines/nope"), ("DELETE", "/v1/push-tokens/device-secret")] {
            let answer = rest.request(method, path, Some(&account.token), None).await;
            answer.expect("an answer");
        }
        let refused = options.clone().auth(json!({ "token": "secret-nobody" }));
        assert!(connect(&refused).await.is_err());
        let auth = json!({ "token": account.token.expose(), "clientType": "session-scoped", "sessionId": session.id });
        let (socket, _events) = connect(&options.auth(auth)).await.expect("a connection");
        socket.emit("message", json!({ "sid": "nope", "message": "m" })).await.expect("open");
        let deadline = std::time::Duration::from_secs(20);
        for (event, data) in [
            ("update-metadata", json!({ "sid": "nope", "metadata": "m", "expectedVersion": 0 })),
            ("update-metadata", json!({ "sid": session.id, "metadata": 5, "expectedVersion": 0 })),
            ("update-metadata", json!({ "sid": session.id, "metadata": "m", "expectedVersion": 9 })),
            ("artifact-read", json!({ "artifactId": "nope" })),
            ("rpc-call", json!({ "method": "nope" })),
        ] {
            socket.call(event, data, deadline).await.expect("an answer");
        }
        account.token.expose().to_owned()
    });
    signal(&served.child, Signal::TERM);
    let mut log = String::new();
    let mut stderr = served.child.stderr.take().expect("a pipe");
    stderr.read_to_string(&mut log).expect("text");
    for parts in [
        &["method=POST", "path=\"/v1/sessions\"", "status=200"][..],
        &[
            "path=\"/v1/machines/nope\"",
            "status=404",
            "reason=\"Machine not found\"",
        ],
        &["path=\"/v1/push-tokens/…\"", "status=200"],
        &[
            "connection refused",
            "reason=\"Invalid authentication token\"",
        ],
        &["connected", "scope=session "],
        &[
            "ignored",
            "event=\"message\"",
            "reason=\"the account has no session of this id\"",
        ],
        &[
            "refused",
            "event=\"update-metadata\"",
            "reason=\"the account has no session of this id\"",
        ],
        &[
            "refused",
            "event=\"update-metadata\"",
            "reason=\"a field is missing or of a wrong type\"",
        ],
        &[
            "refused",
            "event=\"update-metadata\"",
            "reason=\"version-mismatch\"",
        ],
        &[
            "refused",
            "event=\"artifact-read\"",
            "reason=\"Artifact not found\"",
        ],
        &[
            "refused",
            "event=\"rpc-call\"",
            "reason=\"RPC method not available\"",
        ],
    ] {
        let is_there = log
            .lines()
            .any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(is_there, "no line with {parts:?} in\n{log}");
    }
    for secret in [token.as_str(), "secret-nobody", "device-secret"] {
        assert!(!log.contains(secret), "{secret} in\n{log}");
    }
}

/// What comes beyond a limit is told why, by the server that was started with it.
#[test]
fn limits_are_set_and_told() {
    let served = Served::start(&[
        "--max-connections",
        "1",
        "--max-header",
        "2000",
        "--header-timeout",
        "10m",
        "--body-timeout",
        "10m",
        "--max-queued",
        "1000000",
        "--max-accounts",
        "1",
    ]);
    let dial = || TcpStream::connect(served.address()).expect("a connection");
    let said = |mut stream: TcpStream| {
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        text
    };
    let mut first = dial();
    let second = said(dial());
    assert!(
        second.contains("no more connections are taken in: the limit is 1"),
        "{second}"
    );
    let head = format!("GET /health HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(3_000));
    first
        .write_all(head.as_bytes())
        .expect("an open connection");
    let answer = said(first);
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    check(&["serve", "--max-queued", "1"], 2, &["100000"]);
}
