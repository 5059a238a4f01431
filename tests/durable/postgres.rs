//! Rows in Postgres: each test has a server of its own, which it may end as it likes.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;

use crate::served::{Served, command, within};
use crate::sqlite::ended;
use crate::writer::Writer;
use crate::{check, kept, kills};

/// A Postgres that ends when it is dropped.
struct Postgres {
    url: String,
    pid: Pid,
    _until_closed: ChildStdin,
    script: Option<Child>,
}

impl Postgres {
    async fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/with-postgres");
        let mut child = Command::new(script)
            .args(["sh", "-c", "echo \"$POSTGRES_URL $POSTGRES_PID\"; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let line = within("Postgres", lines.next_line()).await.expect("text");
        let line = line.expect("a line");
        let (url, pid) = line.split_once(' ').expect("a URL and a number");
        Self {
            url: url.to_owned(),
            pid: process(pid),
            _until_closed: child.stdin.take().expect("a pipe"),
            script: Some(child),
        }
    }

    /// The process that serves the connection of a server.
    async fn backend(&self) -> Pid {
        let query = "SELECT pid FROM pg_stat_activity \
                     WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        let mut psql = Command::new("psql");
        let ran = psql.arg(&self.url).args(["-Atc", query]).output();
        let ran = within("answer", ran).await.expect("psql");
        process(String::from_utf8_lossy(&ran.stdout).trim())
    }

    /// Ends it, and waits until nothing of it is left.
    async fn end(mut self) {
        let mut script = self.script.take().expect("a script");
        drop(self);
        within("end", script.wait()).await.expect("a status");
    }
}

fn process(text: &str) -> Pid {
    Pid::from_raw(text.parse().expect("a number")).expect("a process")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kills() {
    let postgres = Postgres::start().await;
    kills::rounds(&postgres.url, 20).await;
    postgres.end().await;
}

#[tokio::test]
async fn a_server_goes_on_where_it_was() {
    let postgres = Postgres::start().await;
    kept::everything(&postgres.url).await;
    postgres.end().await;
}

#[tokio::test]
async fn the_suite_finds_nothing() {
    let postgres = Postgres::start().await;
    check::passes(&postgres.url).await;
    postgres.end().await;
}

/// A database belongs to one server.
#[tokio::test]
async fn a_second_server_is_turned_away() {
    let postgres = Postgres::start().await;
    let first = Served::start(&postgres.url).await;
    let ran = within("end", command(&postgres.url).output())
        .await
        .expect("a status");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(2), "{said}");
    assert!(said.contains("is in use by another server"), "{said}");
    first.stop().await;
    postgres.end().await;
}

/// What happens to Postgres while it is written to.
#[derive(PartialEq, Eq)]
enum Loss {
    /// The process of the connection ends.
    Backend,
    /// All of it ends.
    Database,
    /// The process of the connection says nothing any more, as if the network had gone.
    Silence,
}

/// Loses Postgres in the middle of writing, and sees the server end by itself.
async fn lose(loss: Loss) {
    let postgres = Postgres::start().await;
    let mut server = command(&postgres.url);
    server.stderr(Stdio::piped());
    let served = Served::from(server).await;
    let mut writer = Writer::new(&served, 1).await;
    let backend = postgres.backend().await;
    let (process, signal) = match loss {
        Loss::Backend => (backend, Signal::TERM),
        Loss::Database => (postgres.pid, Signal::KILL),
        Loss::Silence => (backend, Signal::STOP),
    };
    let (acknowledged, mut count) = watch::channel(0);
    let writing = within("end", writer.write(&served, &acknowledged));
    let losing = async {
        count
            .wait_for(|count| *count > 40)
            .await
            .expect("a counter");
        kill_process(process, signal).expect("a signal");
    };
    tokio::join!(writing, losing);
    ended(served, "postgres://postgres@localhost/postgres").await;
    if loss == Loss::Silence {
        kill_process(backend, Signal::CONT).expect("a signal");
    }
    if loss != Loss::Database {
        let served = Served::start(&postgres.url).await;
        writer.compare(&served).await;
        served.stop().await;
    }
    postgres.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_backend_ends_the_server() {
    lose(Loss::Backend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_database_ends_the_server() {
    lose(Loss::Database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_database_ends_the_server() {
    lose(Loss::Silence).await;
}
