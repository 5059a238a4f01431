//! Data that no handler can make sense of: answered with the handler's error when there is a callback.

use futures_util::future::join_all;
use serde_json::{Value, json};
use touchstone_fixtures::{AckVariant, validate_ack};

use touchstone_harness::{case::Flow, ctx::Ctx, ledger::Requirement, peer::Peer};

/// Data of the wrong kind altogether.
pub(crate) fn not_an_object() -> Vec<Value> {
    vec![
        Value::Null,
        json!("text"),
        json!(7),
        json!(true),
        json!([]),
        json!({}),
    ]
}

/// The object `good`, with each of `keys` missing, null and of a wrong type in turn.
pub(crate) fn variations(good: &Value, keys: &[&str]) -> Vec<Value> {
    let mut rows = not_an_object();
    for key in keys {
        let mut missing = good.clone();
        if let Some(object) = missing.as_object_mut() {
            object.remove(*key);
        }
        rows.push(missing);
        // A number as text is no number, nor the other way round.
        let scalar = match &good[*key] {
            Value::Number(number) => json!(number.to_string()),
            _ => json!(7),
        };
        let wrong = [
            Value::Null,
            json!({"not": "this"}),
            json!([1]),
            json!(true),
            scalar,
        ];
        for wrong in wrong {
            let mut row = good.clone();
            row[*key] = wrong;
            rows.push(row);
        }
    }
    rows
}

/// Sends each row; each must be answered with the error variant of the event's answer, and `peer` must
/// be served afterwards.
pub(crate) async fn check(
    cx: &mut Ctx,
    by: &'static Requirement,
    peer: &Peer,
    event: &str,
    rows: Vec<Value>,
) -> Flow {
    // `null` stands for data as well: an argument list of nothing would be something else.
    let calls = rows
        .iter()
        .map(|row| cx.ask(peer, event, vec![row.clone()]));
    let answers = join_all(calls).await;
    let mut wrong = Vec::new();
    for (row, answer) in rows.iter().zip(answers) {
        match answer? {
            Ok(answer) => {
                let report = validate_ack(event, &answer.data);
                if report.is_none_or(|report| {
                    report.variant != Some(AckVariant::Error) || !report.violations.is_empty()
                }) {
                    wrong.push(format!("{row} is answered with {}", answer.data));
                }
            }
            Err(_) => wrong.push(format!("{row} is not answered")),
        }
    }
    cx.check(
        by,
        wrong.is_empty(),
        "the error answer of the handler",
        wrong.join("\n"),
    );
    Ok(())
}
