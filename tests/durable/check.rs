//! The suite against a server with a database.

use crate::served::{DEADLINE, Served};

pub(crate) async fn passes(database: &str) {
    let served = Served::start(database).await;
    let run = tokio::process::Command::new(env!("CARGO_BIN_EXE_touchstone"))
        .args(["check", &served.url, "--no-slow", "--quiet"])
        .kill_on_drop(true)
        .output();
    let ran = tokio::time::timeout(3 * DEADLINE, run)
        .await
        .expect("an end in time")
        .expect("the program starts");
    let report = String::from_utf8_lossy(&ran.stdout);
    assert_eq!(ran.status.code(), Some(0), "{report}");
    assert!(report.contains(" passed, "), "{report}");
}
