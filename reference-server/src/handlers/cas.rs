//! Optimistic concurrency as clients see it: the answers to a change with an `expectedVersion`.

use serde_json::{Value, json};

use crate::builders::Versioned;
use crate::faults::{Fault, Faults};
use crate::store::Cell;

/// The answer to a change, and what is to be announced if it was written.
pub(super) struct Change {
    pub(super) answer: Value,
    pub(super) written: Option<Versioned>,
}

/// Writes a value whose writer has seen the latest version; otherwise answers the latest version and
/// value, in the same fields.
pub(super) fn change(
    cell: &mut Cell,
    field: &str,
    value: Option<String>,
    expected: f64,
    faults: &Faults,
) -> Change {
    if cell.is_current(expected, faults) {
        cell.write(value, faults);
        let answer = json!({ "result": "success", "version": cell.version(), field: cell.value() });
        return Change {
            answer,
            written: Some(cell.versioned()),
        };
    }
    let mut answer =
        json!({ "result": "version-mismatch", "version": cell.version(), field: cell.value() });
    if faults.on(Fault::MismatchEcho) {
        answer["version"] = json!(expected);
    }
    if faults.on(Fault::MismatchWrites) {
        cell.write(value, faults);
    }
    let is_announced = faults.on(Fault::MismatchWrites) || faults.on(Fault::MismatchAnnounced);
    let written = is_announced.then(|| cell.versioned());
    Change { answer, written }
}
