//! `touchstone serve`: the ready line, stopping, and what it does not accept.

use std::net::TcpListener;

use rustix::process::Signal;

use crate::support::{Served, check, signal};

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
    check(&["serve", "--ping-interval", "soon"], 2, &["soon", "15s"]);
    check(&["serve", "--max-payload", "7"], 2, &["7", "1000"]);
}

#[test]
fn lists_its_faults() {
    let ran = check(&["serve", "--list-faults"], 0, &[]);
    assert!(
        ran.stdout
            .lines()
            .any(|line| line.starts_with("echo-to-sender ")),
        "{}",
        ran.stdout
    );
}

#[test]
fn serves_on_several_addresses() {
    let served = Served::start(&["--listen", "127.0.0.2:0"]);
    assert_eq!(served.urls.len(), 2, "{:?}", served.urls);
}
