//! `touchstone explore --crash`: what a server keeps when it is killed is said, and what it has lost is named.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{check, free_address, run};

/// The report of exploring a server with these arguments.
fn explored(serve: &str, explore: &[&str]) -> Value {
    let address = free_address();
    let program = env!("CARGO_BIN_EXE_touchstone");
    let command = format!("{program} serve --listen {address} --quiet {serve}");
    let url = format!("http://{address}");
    let mut arguments = vec![
        "explore", &url, "--spawn", &command, "--crash", "--seed", "1",
    ];
    arguments.extend(["--shrink-for", "0s", "--fail-fast", "--report", "json=-"]);
    arguments.extend(explore);
    // All that is lost is a SHOULD.
    let ran = check(&arguments, 0, &[]);
    serde_json::from_str(&ran.stdout).expect("a report")
}

fn database(folder: &TempDir) -> String {
    format!(
        "--database sqlite://{}",
        folder.path().join("rows.db").display()
    )
}

#[test]
fn what_a_server_keeps_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let kept = database(&folder);
    for (serve, explore, keeps) in [
        (
            kept.as_str(),
            &["--rounds", "5", "--durable"][..],
            "acknowledged",
        ),
        ("", &["--rounds", "2"], "nothing"),
    ] {
        let report = explored(serve, explore);
        assert_eq!(report["violations"], json!([]), "{report:#}");
        assert_eq!(report["summary"]["restartKeeps"], keeps);
    }
}

#[test]
fn what_a_storage_loses_is_named() {
    // Where a change is lost, its seq is given again, and so is all that it had made.
    let lost = &[
        "restart.acknowledged-kept",
        "restart.local-ids",
        "restart.numbers",
        "restart.tokens",
    ][..];
    for (fault, requirements) in [
        ("storage-late", lost),
        ("storage-behind", lost),
        ("storage-local-idless", &["restart.local-ids"]),
        ("storage-seqless", &["restart.numbers"]),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let serve = format!("{} --fault {fault}", database(&folder));
        let report = explored(&serve, &["--rounds", "400", "--durable"]);
        let violations = report["violations"].as_array().expect("a list");
        let broken = violations.iter().map(|one| one["requirement"].as_str());
        let broken: Vec<_> = broken.map(|id| id.expect("an id")).collect();
        let is_named = broken.iter().all(|id| requirements.contains(id));
        assert!(is_named && !broken.is_empty(), "{fault}: {broken:?}");
    }
}

/// What `check` finds of the restart of a server with these arguments: the requirements that are broken, and
/// what the dialect card says.
fn restarted(serve: &str, check_with: &[&str]) -> (Vec<String>, Value) {
    let address = free_address();
    let program = env!("CARGO_BIN_EXE_touchstone");
    let command =
        format!("{program} serve --listen {address} --quiet --presence-timeout 3s {serve}");
    let url = format!("http://{address}");
    let mut arguments = vec!["check", &url, "--spawn", &command, "--only", "restart.*"];
    arguments.extend(["--presence-timeout", "3s", "--report", "json=-"]);
    arguments.extend(check_with);
    let ran = run(&arguments);
    let report: Value = serde_json::from_str(&ran.stdout).expect(&ran.stderr);
    let cases = report["cases"].as_array().expect("cases");
    let findings = cases.iter().flat_map(|case| case["findings"].as_array());
    let broken = findings
        .flatten()
        .filter(|finding| !finding["actual"].is_null());
    let ids = broken.map(|finding| finding["requirement"].as_str().expect("an id").to_owned());
    (ids.collect(), report["dialect"]["restart.keeps"].clone())
}

#[test]
fn a_restart_is_judged_by_cases_too() {
    let (broken, keeps) = restarted("", &[]);
    assert_eq!((broken, keeps), (Vec::new(), json!("nothing")));
    let (broken, _) = restarted("", &["--durable"]);
    assert_eq!(broken, ["restart.tokens"]);
    let folder = tempfile::tempdir().expect("a folder");
    let (broken, keeps) = restarted(&database(&folder), &[]);
    assert_eq!(broken, [""; 0]);
    assert!(keeps == "acknowledged" || keeps == "all", "{keeps}");
    for (fault, requirement) in [
        (None, None),
        (Some("storage-behind"), Some("restart.acknowledged-kept")),
        (Some("storage-local-idless"), Some("restart.local-ids")),
        (Some("storage-seqless"), Some("restart.numbers")),
        (Some("storage-online"), Some("restart.machines-offline")),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let fault_flag = fault.map_or_else(String::new, |fault| format!(" --fault {fault}"));
        let serve = format!("{}{fault_flag}", database(&folder));
        let (broken, _) = restarted(&serve, &["--durable"]);
        match requirement {
            None => assert_eq!(broken, [""; 0]),
            Some(id) => assert!(broken.iter().any(|one| one == id), "{fault:?}: {broken:?}"),
        }
    }
}

#[test]
fn only_a_spawned_server_is_killed() {
    check(&["explore", "--crash"], 2, &["--spawn"]);
    check(
        &["explore", "http://127.0.0.1:1", "--spawn", "x", "--durable"],
        2,
        &["--crash"],
    );
}
