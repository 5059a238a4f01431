//! Servers that do their worst. Each ends in a clear message with the exit code of the README, in
//! bounded time and memory, whatever command meets it.

mod check;
mod load;
mod watch;
mod worst;

use tokio::task::JoinSet;

use crate::embedded::{self, Embedded};
use crate::program::run;
use crate::rogue::{Do, Rogue};

use self::worst::{huge_answer, internal_error};

/// How much of what the program has printed is shown when it was wrong, in characters.
const SHOWN: usize = 3_000;

/// A hostile server, and what the program has to make of it.
struct Row {
    what: &'static str,
    rogue: Rogue,
    /// What follows the command and the URL: enough to meet the fault, little enough to be quick.
    arguments: Vec<&'static str>,
    /// The exit code; where it depends on what meets the fault first, all that are right.
    codes: &'static [i32],
    /// What the user has to be told, on stdout or stderr.
    told: &'static [&'static str],
}

/// Servers at which no account can be made, whatever the command.
fn without_accounts(rogue: &dyn Fn() -> Rogue, arguments: &[&'static str]) -> [Row; 3] {
    let row = |what, rogue, told| Row {
        what,
        rogue,
        arguments: arguments.to_vec(),
        codes: &[3],
        told,
    };
    [
        row(
            "sends 1 GB as the answer to a request",
            rogue().requests(|request| (!request.upgrade).then(huge_answer)),
            &["/v1/auth", "1073741824"],
        ),
        row(
            "answers all requests with HTTP 500",
            rogue().requests(|request| (!request.upgrade).then(internal_error)),
            &["/v1/auth", "500"],
        ),
        row(
            "closes each request without an answer",
            rogue().requests(|request| (!request.upgrade).then(|| vec![Do::Close])),
            &["/v1/auth"],
        ),
    ]
}

/// Runs a command of the program on the servers of a table, all at the same time.
async fn check(command: &'static str, rows: fn(&dyn Fn() -> Rogue) -> Vec<Row>) {
    let server = Embedded::start(embedded::quick()).await.expect("a server");
    let port = server.url().port().expect("a port");
    let mut runs = JoinSet::new();
    for row in rows(&|| Rogue::before(([127, 0, 0, 1], port).into())) {
        runs.spawn(problem(command, row));
    }
    let problems: Vec<String> = runs.join_all().await.into_iter().flatten().collect();
    server.stop().await.expect("the server ends");
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
}

/// What is wrong with the run on the server of `row`, if anything.
async fn problem(command: &str, row: Row) -> Option<String> {
    let rogue = row.rogue.start().await;
    let ran = match run(command, &rogue.url, &row.arguments).await {
        Ok(ran) => ran,
        Err(problem) => return Some(format!("{}: {problem}", row.what)),
    };
    let text = format!("{}{}", ran.stdout, ran.stderr);
    let missing = row.told.iter().find(|part| !text.contains(*part));
    // Nothing that a server sends may steer the terminal, or turn a line around.
    let steers = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
    if let Some(steering) = text.chars().find(|c| steers(*c)) {
        return Some(format!("{}: {steering:?} is printed", row.what));
    }
    // A flood is told in many lines, of which the last ones say how it ended.
    let text = text.chars().rev().take(SHOWN).collect::<Vec<_>>();
    let text: String = text.into_iter().rev().collect();
    match (ran.code, missing) {
        (code, _) if !code.is_some_and(|code| row.codes.contains(&code)) => Some(format!(
            "{}: exit {code:?}, not {:?}\n{text}",
            row.what, row.codes
        )),
        (_, Some(part)) => Some(format!("{}: no {part:?} in\n{text}", row.what)),
        (_, None) => None,
    }
}
