//! The commands of the README do what it says. `cargo test` is what runs this, and `.ci/run` runs the
//! release build by the README's own words.

use crate::support::{Served, free_address, touchstone};

/// Times of a server that is asked to be quick about what real ones are slow at.
const QUICK: [&str; 8] = [
    "--ping-interval",
    "500ms",
    "--ping-timeout",
    "2s",
    "--connect-timeout",
    "2s",
    "--rpc-timeout",
    "2s",
];

/// Commands that `.ci/run` runs: tests, and the package with a binary that is there. There is no daemon for
/// images, and installing from source would take minutes.
const ELSEWHERE: [&str; 5] = [
    "cargo test --workspace",
    "cargo install --locked --path .",
    "deploy/package",
    "sudo apt install ./target/package/touchstone_*.deb",
    "docker build --tag touchstone:0.1.0 .",
];

/// Every line of the README's shell blocks that runs the program, as arguments.
fn commands() -> Vec<Vec<String>> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in include_str!("../../README.md").lines() {
        if line.starts_with("```") {
            inside = line == "```sh";
        } else if inside && let Some(arguments) = line.strip_prefix("cargo run --release -- ") {
            found.push(shell_words::split(arguments).expect(line));
        } else if inside {
            assert!(
                ELSEWHERE.contains(&line),
                "a command that nothing tests: {line}"
            );
        }
    }
    assert!(found.len() > 5, "the README lost its commands: {found:?}");
    found
}

#[test]
fn every_command_does_what_it_says() {
    let folder = tempfile::tempdir().expect("a folder");
    // Short times, so that the slow cases of the suite are not slow here.
    let other = Served::start(&QUICK);
    for command in commands() {
        let own = free_address();
        let spawns = command.iter().any(|word| word == "--spawn");
        let url = if spawns {
            format!("http://{own}")
        } else {
            other.url.clone()
        };
        let program = env!("CARGO_BIN_EXE_touchstone");
        // The README's addresses and its Node server stand for whatever the reader has.
        let arguments: Vec<String> = command
            .iter()
            .map(|word| match word.as_str() {
                "http://127.0.0.1:3006" => url.clone(),
                "127.0.0.1:3005" => own.clone(),
                "sqlite://rows.db" => {
                    format!("sqlite://{}", folder.path().join("rows.db").display())
                }
                "node server.mjs" => format!("{program} serve --listen {own} {}", QUICK.join(" ")),
                word => word.to_owned(),
            })
            .collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        if arguments.starts_with(&["serve", "--listen"]) {
            assert_eq!(Served::start(&arguments[1..]).urls.len(), 2);
            continue;
        }
        let ran = touchstone(&arguments)
            .current_dir(&folder)
            .output()
            .expect("it starts");
        // What is known does not fail a run.
        let fails = arguments.contains(&"--fault") && !arguments.contains(&"--baseline");
        let expected = if fails { 10 } else { 0 };
        let said = String::from_utf8_lossy(&ran.stdout);
        // A machine may be too slow for honest load with a program that is not optimized; it says so.
        let too_slow = arguments[0] == "load" && ran.status.code() == Some(21);
        assert!(
            too_slow || ran.status.code() == Some(expected),
            "{command:?} ended with {}\n{said}",
            ran.status
        );
        assert!(!said.is_empty(), "{command:?} says nothing");
    }
    for file in [
        "rows.db",
        "report.json",
        "known.toml",
        "compare.html",
        "load.html",
    ] {
        assert!(folder.path().join(file).exists(), "{file}");
    }
}
