//! Rows in SQLite.

use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::watch;

use crate::served::{Served, command, within};
use crate::writer::Writer;
use crate::{check, kept, kills};

fn database(folder: &TempDir) -> String {
    url(&folder.path().join("rows.db"))
}

fn url(path: &Path) -> String {
    format!("sqlite://{}", path.display())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kills() {
    let folder = tempfile::tempdir().expect("a folder");
    kills::rounds(&database(&folder), 50).await;
}

#[tokio::test]
async fn a_server_goes_on_where_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    kept::everything(&database(&folder)).await;
}

#[tokio::test]
async fn the_suite_finds_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    check::passes(&database(&folder)).await;
}

/// Whoever reads the file could sign in as anybody.
#[tokio::test]
async fn nobody_else_may_read_the_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    let _served = Served::start(&database(&folder)).await;
    for file in folder.path().read_dir().expect("a folder") {
        let file = file.expect("a file");
        let mode = file.metadata().expect("a file").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", file.path().display());
    }
}

/// The disk is full: the limit of a file's size stands for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_ends_the_server_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = database(&folder);
    let served = Served::start(&database).await;
    let mut writer = Writer::new(&served, 1).await;
    served.stop().await;

    let mut limited = Command::new("sh");
    let server = command(&database);
    // Blocks of 512 bytes; without the trap, the signal would end the server first.
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 400; exec \"$@\"", "sh"])
        .arg(server.as_std().get_program())
        .args(server.as_std().get_args())
        .stderr(Stdio::piped());
    let served = Served::from(limited).await;
    let (acknowledged, _) = watch::channel(0);
    within("end", writer.write(&served, &acknowledged)).await;
    ended(served, &database).await;
    assert!(*acknowledged.borrow() > 0, "nothing was written at all");

    let served = Served::start(&database).await;
    writer.compare(&served).await;
}

/// It has ended by itself, with one line that says why, and not as if all were well.
pub(crate) async fn ended(served: Served, shown: &str) {
    let (status, said) = served.ended().await;
    assert_eq!(status.code(), Some(12), "{said}");
    let errors: Vec<_> = said
        .lines()
        .filter(|line| line.starts_with("error"))
        .collect();
    let expected = format!("error: cannot write to {shown}: ");
    assert!(
        errors.len() == 1 && errors[0].starts_with(&expected),
        "{said}"
    );
}
