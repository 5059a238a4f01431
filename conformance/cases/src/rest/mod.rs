//! The REST surface, where it carries the protocol: what it answers, and the events that it causes.
//!
//! A target need not have all of it: a route that answers 404 or 501 is a missing capability, which the
//! doctor finds out, and the cases that need it are skipped. Everything that a socket event can do as well
//! is judged beside that event; this module has one file per resource.

pub(crate) mod access_keys;
pub(crate) mod account;
pub(crate) mod artifacts;
pub(crate) mod auth;
pub(crate) mod clock;
pub(crate) mod friends;
pub(crate) mod kv;
pub(crate) mod machines;
pub(crate) mod messages;
pub(crate) mod race;
pub(crate) mod sessions;

use serde_json::Value;
use touchstone_client::provision::rest::Answer;

use touchstone_harness::{
    case::Flow,
    ctx::Ctx,
    ledger::Requirement,
    provide::Account,
    stage::{Role, Stage, Wanted},
};

/// What is added to a version that has to be refused: nothing to who looks at 32 bits of it.
const UNSEEN: i64 = 1 << 32;

/// Judges that a request with a version that is [`UNSEEN`] too high is no success.
async fn far_ahead(
    cx: &mut Ctx,
    by: &'static Requirement,
    account: &Account,
    (method, path, body): (&str, &str, &Value),
) -> Flow {
    let answer = cx.rest_any(account, method, path, body).await?;
    let written = answer.status < 300 && answer.body["success"] != false;
    let expected = format!("a refusal of {body}");
    cx.check(by, !written, expected, told(&answer));
    Ok(())
}

/// An answer, for a reader.
fn told(answer: &Answer) -> String {
    format!("{} {}", answer.status, answer.body)
}

/// Checks the status of an answer whatever it is, and gives its body.
async fn status(
    cx: &mut Ctx,
    by: &'static Requirement,
    account: &Account,
    (method, path, body): (&str, &str, &Value),
    expected: u16,
) -> Flow<Value> {
    let answer = cx.rest_any(account, method, path, body).await?;
    let wanted = format!("status {expected} for {method} {path}");
    cx.check(by, answer.status == expected, wanted, told(&answer));
    Ok(answer.body)
}

/// How many different updates of a kind `role` has received: deliveries of one envelope count once.
fn different(stage: &Stage, role: Role, wanted: &Wanted) -> usize {
    let arrivals = stage.peer(role).all(|arrival| wanted.matches(arrival));
    let ids = arrivals.iter().map(|arrival| arrival.envelope_id());
    ids.collect::<std::collections::HashSet<_>>().len()
}

/// The row of `rows` whose `key` is `id`.
fn find<'a>(rows: &'a Value, key: &str, id: &str) -> Option<&'a Value> {
    rows.as_array()?.iter().find(|row| row[key] == id)
}
