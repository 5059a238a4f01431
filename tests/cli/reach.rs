//! How a server is reached is said in the same way to every command: flags, and profiles of a project.

use std::fs;

use crate::support::{Ran, Served, check, free_address, touchstone};

/// Those that need nothing but the server.
const COMMANDS: [&[&str]; 5] = [
    &["check"],
    &["explore"],
    &["load"],
    &["watch", "--headless"],
    &["account"],
];

const GATE: &str = "X-Gate: sesame-0123456789";

#[test]
fn what_cannot_be_used_is_refused_and_shows_no_value() {
    let url = "http://staging.example:1";
    for (flags, parts) in [
        (
            &[url, "--header", "sesame-0123456789"][..],
            &["--header number 1", "has no colon"][..],
        ),
        (
            &[url, "--header", GATE, "--header", "Host: sesame-0123456789"],
            &[
                "--header number 2",
                "Host is a header that the protocol itself has",
            ],
        ),
        (
            &[url, "--cacert", "no-such.pem"],
            &["--cacert no-such.pem", "cannot be read"],
        ),
        (
            &[url, "--cacert", "Cargo.toml"],
            &["--cacert Cargo.toml", "no certificate in the PEM text"],
        ),
        (
            &["http://127.0.0.1:1", "--connect-to", "127.0.0.1:2"],
            &[
                "http://127.0.0.1:1 has none",
                "put the address into the URL",
            ],
        ),
        (
            &[url, "--connect-to", "nowhere"],
            &["--connect-to", "127.0.0.1:8443"],
        ),
        (
            &[url, "--insecure", "--cacert", "a.pem"],
            &["--cacert", "--insecure"],
        ),
        (&["--header", GATE], &["<URL|--profile <NAME>>"]),
    ] {
        for command in COMMANDS {
            let ran = check(&[command, flags].concat(), 2, parts);
            assert!(!ran.stderr.contains("sesame"), "{}", ran.stderr);
        }
    }
}

#[test]
fn where_nobody_listens_every_command_says_so_and_what_to_do() {
    let url = &format!("http://{}", free_address());
    let folder = tempfile::tempdir().expect("a folder");
    let traces = folder.path().to_str().expect("a path");
    check(
        &["check", "--only", "ping.answer", "--trace", traces],
        0,
        &[],
    );
    let emit = ["emit", url, "ping", "--token", "t"];
    let replay = ["replay", traces, "--against", url];
    let others = COMMANDS
        .iter()
        .map(|command| [command, &[url.as_str()][..]].concat());
    for arguments in others.chain([emit.to_vec(), replay.to_vec()]) {
        check(
            &arguments,
            3,
            &["Connection refused", "is the server running"],
        );
    }
}

/// A folder with a profile of this server, and a command that is run in it.
fn with_profile(url: &str, arguments: &[&str]) -> Ran {
    let folder = tempfile::tempdir().expect("a folder");
    let profile = format!("[profiles.here]\nurls = ['{url}']\nheader = ['{GATE}']\n");
    fs::write(folder.path().join("touchstone.toml"), profile).expect("a profile");
    let ran: Ran = touchstone(&[arguments, &["--profile", "here"]].concat())
        .current_dir(folder.path())
        .output()
        .expect("the program starts")
        .into();
    assert_eq!(ran.code, 0, "{arguments:?}\n{}{}", ran.stdout, ran.stderr);
    for shown in [&ran.stdout, &ran.stderr] {
        assert!(!shown.contains("sesame"), "{shown}");
    }
    ran
}

#[test]
fn every_command_takes_a_profile() {
    let served = Served::start(&[]);
    let url = &served.url;
    let folder = tempfile::tempdir().expect("a folder");
    let traces = folder.path().to_str().expect("a path");
    with_profile(url, &["check", "--only", "ping.answer", "--trace", traces]);
    with_profile(url, &["replay", traces]);
    with_profile(url, &["explore", "--rounds", "1", "--seed", "1"]);
    with_profile(url, &["load", "--scale", "0.25", "--duration", "3s"]);
    let token = with_profile(url, &["account"]).stdout;
    let token = token.trim();
    let emitted = with_profile(url, &["emit", "ping", "--token", token]);
    assert_eq!(emitted.stdout, "answer    {}\n");
    let until = ["--for", "60s", "--until", "type == \"connected\""];
    let watch = [&["watch", "--token", token, "--headless"][..], &until].concat();
    assert!(with_profile(url, &watch).stdout.contains("connected"));
    let proxy = ["proxy", "127.0.0.1:0", "--headless", "--for", "1ms"];
    let listening = with_profile(url, &proxy).stderr;
    assert!(listening.contains(&format!("for {url}")), "{listening}");
    let unknown = ["--profile", "nowhere"];
    for command in COMMANDS {
        check(&[command, &unknown].concat(), 2, &["touchstone.toml"]);
    }
}
