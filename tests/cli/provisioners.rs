//! The examples of provisioners in `docs/provisioners`, each in the language that it is written in.
//! `interop/run` installs the languages, Go excepted, whose test it runs where there is one.

use crate::support::{Served, check};

/// What needs accounts, sessions, machines and access keys.
const ONLY: [&str; 4] = [
    "message.recipients",
    "machine.*",
    "access-key.*",
    "isolation.*",
];

#[track_caller]
fn judges(interpreter: &str, example: &str) {
    let served = Served::start(&[]);
    let program = format!(
        "command:{interpreter} {}/docs/provisioners/{example}",
        env!("CARGO_MANIFEST_DIR")
    );
    let with = |server: &str| format!("{program} {server}");
    let only = ONLY.map(|glob| ["--only", glob]).concat();
    let provision = with(&served.url);
    let run = ["check", &served.url, "--provision", &provision];
    let ran = check(&[&run[..], &only].concat(), 0, &[]);
    // What only the family's routes can do is skipped; nothing that needs a provisioner is.
    for judged in ["access-key.get", "machine.update-metadata.success"] {
        let alone = [&run[..], &["--only", judged]].concat();
        let ran = check(&alone, 0, &[]);
        assert!(ran.stdout.contains("1 passed"), "{}", ran.stdout);
    }
    assert!(!ran.stdout.contains("blocked"), "{}", ran.stdout);
    // A server that is not there is told in the words of the program.
    let provision = with("http://127.0.0.1:1");
    let run = ["check", &served.url, "--provision", &provision];
    check(&run, 3, &["cannot do account"]);
}

#[test]
#[ignore = "needs Python and its package pynacl, which interop/run installs"]
fn python() {
    let python = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/interop/python/venv/bin/python"
    );
    judges(python, "provisioner.py");
}

#[test]
#[ignore = "needs Node, which interop/run installs"]
fn node() {
    judges("node", "provisioner.mjs");
}

#[test]
#[ignore = "needs Go, and interop/run runs it where that is"]
fn go() {
    judges("go run", "provisioner.go");
}
