//! Versioned values as cases write and read them: `{id, value, expectedVersion}`, answered with success,
//! version-mismatch or error. What is judged of the answers is in `cas`.

use serde_json::{Value, json};
use touchstone_harness::{
    case::{Flow, Stop},
    ctx::Ctx,
    ledger::Requirement,
    peer::Peer,
};

/// One event that changes a versioned value, with its requirements.
pub(crate) struct Cas {
    pub(crate) event: &'static str,
    /// The key that names the record.
    pub(crate) id_key: &'static str,
    /// The key of the value, in the request and in the answer.
    pub(crate) field: &'static str,
    /// The update that a change causes.
    pub(crate) update: &'static str,
    pub(crate) answers: &'static Requirement,
    pub(crate) increments: &'static Requirement,
    pub(crate) refuses_stale: &'static Requirement,
    pub(crate) refuses_odd: &'static Requirement,
    pub(crate) returns_current: &'static Requirement,
    pub(crate) one_winner: &'static Requirement,
    pub(crate) losers_see_winner: &'static Requirement,
    pub(crate) one_broadcast: &'static Requirement,
    pub(crate) silent_mismatch: &'static Requirement,
}

impl Cas {
    /// The data of the event.
    pub(crate) fn data(&self, id: &str, value: &Value, expected: &Value) -> Value {
        json!({self.id_key: id, self.field: value, "expectedVersion": expected})
    }

    /// Writes `value` whatever the version is, and gives the new one. The version is learnt from the
    /// server: initial values are its own affair.
    pub(crate) async fn write(
        &self,
        cx: &mut Ctx,
        peer: &Peer,
        id: &str,
        value: &Value,
    ) -> Flow<i64> {
        let mut last = Value::Null;
        for _ in 0..3 {
            let data = self.data(id, value, &json!(cx.version(id, self.field)));
            last = cx.call(self.answers, peer, self.event, data).await?;
            let Some(version) = last["version"].as_i64() else {
                break;
            };
            cx.saw_version(id, self.field, version);
            match last["result"].as_str() {
                Some("success") => return Ok(version),
                Some("version-mismatch") => {}
                _ => break,
            }
        }
        let expected = format!("{} to succeed with the current expectedVersion", self.event);
        cx.broken(self.answers, expected, last);
        Err(Stop::Judged)
    }

    /// The current version and value, as a write with a version from the future is told.
    pub(crate) async fn peek(&self, cx: &mut Ctx, peer: &Peer, id: &str) -> Flow<(Value, Value)> {
        let answer = self.peeked(cx, peer, id).await?;
        if answer["result"] == "success" {
            return Err(self.written(cx, &answer));
        }
        if answer["result"] != "version-mismatch" {
            return Err(Stop::Blocked {
                parent: self.refuses_stale,
                reason: format!(
                    "{} with a version from the future is answered with {answer}",
                    self.event
                ),
            });
        }
        Ok((answer["version"].clone(), answer[self.field].clone()))
    }

    /// The answer to a write with a version from the future.
    pub(crate) async fn peeked(&self, cx: &mut Ctx, peer: &Peer, id: &str) -> Flow<Value> {
        let future = json!(cx.version(id, self.field) + 1_000);
        let data = self.data(id, &json!(cx.marker("refused")), &future);
        cx.call(self.refuses_stale, peer, self.event, data).await
    }

    /// A write with a version from the future was a success: whoever looks in this way changes what it
    /// looks at, so that nothing else can be judged by it.
    pub(crate) fn written(&self, cx: &mut Ctx, answer: &Value) -> Stop {
        let expected = format!(
            "version-mismatch for {} with a version from the future",
            self.event
        );
        cx.broken(self.refuses_stale, expected, answer);
        Stop::Judged
    }
}
