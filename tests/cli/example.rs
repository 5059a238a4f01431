//! The example server is right, and the tutorial's commands say so step by step. It knows nothing of us,
//! so that it is a test of the suite as well: whoever is accused here is accused falsely.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::{check, free_address, run};

/// What the server does not offer. The tutorial says the same.
const SKIPPED: [&str; 12] = [
    "isolation.kv",
    "rest.artifact",
    "rest.artifact.race",
    "rest.friends",
    "rest.kv",
    "rest.kv.race",
    "rest.pairing",
    "rest.session.pages",
    "rest.settings",
    "rest.settings.race",
    "router.matrix",
    "router.payload",
];

/// The program, which `cargo test --workspace` builds, since it has tests of its own.
fn program() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_BIN_EXE_touchstone"));
    let program = own.with_file_name("example-server");
    let hint = "cargo build -p example-server";
    assert!(program.exists(), "no {}: {hint}", program.display());
    program
}

/// Its arguments: short times, so that the slow cases of the suite are not slow here.
fn arguments(address: &str, folder: &tempfile::TempDir) -> Vec<String> {
    let rows = folder.path().join("rows.db");
    let words = format!(
        "--listen {address} --database {} --ping-interval 500ms --ping-timeout 2s \
        --connect-timeout 2s --rpc-timeout 2s",
        rows.display()
    );
    words.split_whitespace().map(str::to_owned).collect()
}

/// Where a new server is to listen, and the command that starts it, with more arguments.
fn spawning(folder: &tempfile::TempDir, more: &str) -> (String, String) {
    let address = free_address();
    let words = arguments(&address, folder).join(" ");
    let spawn = format!("{} {words} {more}", program().display());
    (format!("http://{address}"), spawn)
}

#[test]
fn nobody_accuses_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (url, spawn) = spawning(&folder, "");
    let report = folder.path().join("report.json").display().to_string();
    let arguments = [
        "check",
        &url,
        "--spawn",
        &spawn,
        "--durable",
        "--rpc-timeout",
        "2s",
    ];
    let more = ["--connect-timeout", "2s", "--report"];
    let to = format!("json={report}");
    let ran = check(&[&arguments[..], &more, &[&to]].concat(), 0, &[]);
    let report = std::fs::read_to_string(&report).expect("a report");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let mut skipped = Vec::new();
    for case in report["cases"].as_array().expect("cases") {
        let id = case["id"].as_str().expect("an id");
        match case["verdict"].as_str() {
            Some("pass" | "info") => {}
            // The presence time-out is ten minutes, which `the_sweep` does not wait for.
            Some("skip") if ["presence.swept", "restart.machines-offline"].contains(&id) => {}
            Some("skip") => skipped.push(id),
            _ => panic!("{id} is not right\n{}", ran.stdout),
        }
    }
    skipped.sort_unstable();
    assert_eq!(skipped, SKIPPED);
}

#[test]
fn the_sweep() {
    let folder = tempfile::tempdir().expect("a folder");
    let (url, spawn) = spawning(&folder, "--presence-timeout 3s");
    for only in ["presence.swept", "restart.machines-offline"] {
        let only = ["--only", only, "--durable", "--presence-timeout", "3s"];
        let check_with = ["check", &url, "--spawn", &spawn];
        let ran = check(&[&check_with[..], &only].concat(), 0, &[]);
        assert!(ran.stdout.contains("1 passed"), "{}", ran.stdout);
    }
}

#[test]
fn histories_of_it_are_right() {
    let folder = tempfile::tempdir().expect("a folder");
    let (url, spawn) = spawning(&folder, "");
    let explore = ["explore", &url, "--spawn", &spawn, "--rpc-timeout", "2s"];
    let rounds = ["--rounds", "40", "--seed", "1"];
    check(&[&explore[..], &rounds].concat(), 0, &[]);
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn the_steps_of_the_tutorial_end_well() {
    let folder = tempfile::tempdir().expect("a folder");
    let address = free_address();
    let mut server = Command::new(program())
        .args(arguments(&address, &folder))
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let stdout = server.stdout.take().expect("a pipe");
    let _server = Running(server);
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    assert!(line.starts_with("listening on "), "{line}");
    let mut steps = 0;
    for line in include_str!("../../docs/tutorial.md").lines() {
        let Some(line) = line.strip_prefix("touchstone check http://127.0.0.1:3005 --spawn ")
        else {
            assert!(
                !line.starts_with("touchstone"),
                "a command that nothing tests: {line}"
            );
            continue;
        };
        let words = shell_words::split(line).expect(line);
        let mut step = vec![
            "check".to_owned(),
            format!("http://{address}"),
            "--no-slow".to_owned(),
        ];
        // All cases run in `nobody_accuses_it`.
        let only = words.into_iter().skip(1);
        step.extend(only);
        if step.len() > 3 {
            let step: Vec<_> = step.iter().map(String::as_str).collect();
            let ran = run(&step);
            assert_eq!(ran.code, 0, "{line}\n{}{}", ran.stdout, ran.stderr);
            assert!(!ran.stdout.contains("warn"), "{line}\n{}", ran.stdout);
        }
        steps += 1;
    }
    assert_eq!(steps, 10);
}
