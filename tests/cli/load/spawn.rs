//! Servers that `--spawn` starts for a run.

use std::fs;
use std::io::BufReader;
use std::net::TcpStream;

use super::desk::{Desk, SMALL, await_line, long};
use crate::support::{Served, check, free_address, touchstone};

#[test]
fn a_spawned_server_is_loaded_and_ended() {
    let desk = Desk::new();
    let small = desk.scenario(SMALL);
    let address = free_address();
    let url = format!("http://{address}");
    let program = env!("CARGO_BIN_EXE_touchstone");
    let command = format!("{program} serve --listen {address}");
    let spawn = |command: &str, code, parts: &[&str]| {
        let all = ["load", &url, "--scenario", &small, "--spawn", command];
        check(&all, code, parts)
    };
    spawn(&command, 0, &[]);
    assert!(
        TcpStream::connect(&address).is_err(),
        "the server still runs"
    );
    spawn("sh -c 'echo no luck; exit 7'", 3, &["no luck"]);
    spawn("/no/such/program", 2, &["/no/such/program"]);
    check(
        &["load", "--spawn", &command],
        2,
        &["<URL|--profile <NAME>>"],
    );
    let other = Served::start(&[]);
    let taken = ["load", &other.url, "--spawn", "sh -c 'exit 7'"];
    check(&taken, 2, &[&other.url, "already", "hint:"]);
}

#[test]
fn a_spawned_server_that_dies_is_told_with_its_last_words() {
    let desk = Desk::new();
    let (long, to) = (long(&desk), desk.json("report.json"));
    let (address, sign) = (free_address(), desk.path("sign"));
    let program = env!("CARGO_BIN_EXE_touchstone");
    let command = format!(
        "sh -c '{program} serve --listen {address} & while [ ! -e {} ]; do sleep 0.1; done; \
         kill $!; echo out of fuel; exit 9'",
        sign.display()
    );
    let all = [
        "load",
        &address,
        "--spawn",
        &command,
        "--scenario",
        &long,
        "--report",
        &to,
    ];
    let mut child = touchstone(&all).spawn().expect("the program starts");
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    await_line(&mut stderr, "work: 20 of 20");
    fs::write(sign, "").expect("a file");
    std::io::copy(&mut stderr, &mut std::io::sink()).expect("the rest");
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(3));
    let failure = desk.read("report.json")["failure"].to_string();
    for part in ["no connection was open", "exit status: 9", "out of fuel"] {
        assert!(failure.contains(part), "no {part} in {failure}");
    }
}
