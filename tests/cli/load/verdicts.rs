//! Objectives and limits, and the exit codes that they decide.

use super::desk::{Desk, SMALL, shown};
use crate::support::{Ran, Served, check};

#[test]
fn objectives_decide_the_exit_code() {
    let desk = Desk::new();
    let small = desk.scenario(SMALL);
    let with = |slo: &str, code, part: &str| {
        let ran = check(&["load", "--scenario", &small, "--slo", slo], code, &[]);
        assert!(ran.stdout.contains(part), "{}", ran.stdout);
    };
    with(
        "audit.delivered > 10 && latencyUs.connect.count == 20",
        0,
        "PASSED",
    );
    with("audit.delivered < 10", 20, "audit.delivered = ");
    let wrong = |slo: &str, part: &str| {
        check(&["load", "--scenario", &small, "--slo", slo], 2, &[part]);
    };
    wrong("audit.losst == 0", "did you mean audit.lost?");
    wrong("audit.lost = 0", "cannot read the objective");
    wrong("audit.lost", "gives a number, not true or false");
    let slo = "slo = [\"audit.lots == 0\"]\n";
    let stated = desk.scenario(&format!("{slo}{SMALL}"));
    check(
        &["load", "plan", "--scenario", &stated],
        2,
        &["small.toml: the objective", "did you mean audit.lost?"],
    );
    let met = desk.scenario(&format!("{}{SMALL}", slo.replace("lots", "misrouted")));
    let ran = check(&["load", "--scenario", &met], 0, &[]);
    assert!(
        ran.stdout.contains("slo met     audit.misrouted == 0"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_generator_beyond_its_bounds_makes_a_run_invalid() {
    let desk = Desk::new();
    let tight = desk.scenario(&SMALL.replace(r#"lag-p99 = "30s""#, r#"lag-p99 = "1us""#));
    let ran = check(&["load", "--scenario", &tight], 21, &[]);
    for part in [
        "INVALID: the ",
        // The generator, or the machine where others keep it from its cores.
        " was the limit: ",
        " events were sent more than 1us late",
    ] {
        assert!(ran.stdout.contains(part), "no {part:?} in\n{}", ran.stdout);
    }
}

/// What became of deliveries does not depend on how late they were sent.
#[test]
fn an_invalid_run_does_not_hide_what_the_server_did() {
    let desk = Desk::new();
    let tight = desk.scenario(&SMALL.replace(r#"lag-p99 = "30s""#, r#"lag-p99 = "1us""#));
    let server = Served::start(&["--fault", "wrong-session"]);
    let html = format!("html={}", shown(&desk.path("html")));
    let all = ["load", &server.url, "--scenario", &tight, "--report", &html];
    let ran = check(&all, 20, &[]);
    let page = std::fs::read_to_string(desk.path("html")).expect("a page");
    for text in [&ran.stdout, &page] {
        for part in [
            "1 objective not met: ",
            " misrouted; the run is also INVALID, so that its latencies and rates say little: the ",
            // The generator, or the machine where others keep it from its cores.
            " was the limit: ",
            " events were sent more than 1us late",
        ] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
    }
}

/// A run that needs more open files than the system lets it have says so before it begins.
#[test]
fn too_few_open_files_are_told_with_the_number_that_is_needed() {
    let desk = Desk::new();
    let many = SMALL.replace("users = 5", "users = 300");
    let many = desk.scenario(&many);
    let limited = |script: &str| {
        let all = ["-c", script, "sh", env!("CARGO_BIN_EXE_touchstone"), &many];
        let output = std::process::Command::new("sh").args(all).output();
        Ran::from(output.expect("a shell"))
    };
    let ran = limited(r#"ulimit -n 200; exec "$1" load --scenario "$2""#);
    // The privileged raise any limit, and then there is nothing to be told.
    if limited("ulimit -n 200; ulimit -Hn 1000").code == 0 {
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        return;
    }
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    // 315 connections, of which each takes one file here and one in the embedded server, and spare.
    for part in [
        "needs 694 open files",
        "is 200",
        "ulimit -Hn 694",
        "--shard",
    ] {
        assert!(ran.stderr.contains(part), "no {part} in\n{}", ran.stderr);
    }
}
