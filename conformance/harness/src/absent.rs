//! Parts of an answer that do not apply: absent, or null where a server says it so.
//!
//! One case judges which it is (`handler.absent-parts`); all others see the answer without such nulls.

use serde_json::Value;

/// The parts that answers to an event may lack, where null says the same as absence.
fn optional(event: &str, answer: &Value) -> &'static [&'static str] {
    let succeeded = answer["result"] == "success" || answer["ok"] == true;
    match event {
        "update-metadata" => &["message", "version", "metadata"],
        // Null is a value of agentState.
        "update-state" if answer["result"] == "error" => &["message", "version", "agentState"],
        "update-state" => &["message"],
        "machine-update-metadata" => &["message", "version", "metadata"],
        "machine-update-state" => &["message", "version", "daemonState"],
        "artifact-read" | "artifact-create" => &["message", "artifact"],
        "artifact-update" => &["message", "header", "body"],
        "artifact-delete" => &["message"],
        // That there is no key is what this answer says.
        "access-key-get" if succeeded => &["error"],
        "access-key-get" => &["error", "accessKey"],
        "usage-report" => &["error", "reportId", "createdAt", "updatedAt"],
        // A result may be null.
        "rpc-call" if succeeded => &["error"],
        "rpc-call" => &["error", "result"],
        _ => &[],
    }
}

/// The parts of the answer to `event` that are null and could be absent.
pub fn nulls(event: &str, answer: &Value) -> Vec<&'static str> {
    let mut parts = optional(event, answer).to_vec();
    parts.retain(|part| answer.get(part).is_some_and(Value::is_null));
    parts
}

/// Leaves out the parts of the answer to `event` that are null and could be absent.
pub(crate) fn leave_out(event: &str, answer: &mut Value) {
    let parts = nulls(event, answer);
    if let Some(fields) = answer.as_object_mut() {
        fields.retain(|key, _| !parts.contains(&key.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(event: &str, mut answer: Value, expected: &Value) {
        leave_out(event, &mut answer);
        assert_eq!(answer, *expected);
    }

    #[test]
    fn a_null_that_says_something_stays() {
        let state = json!({"result": "success", "version": 2, "agentState": null});
        check("update-state", state.clone(), &state);
        let none = json!({"ok": true, "accessKey": null});
        check("access-key-get", none.clone(), &none);
        let result = json!({"ok": true, "result": null});
        check("rpc-call", result.clone(), &result);
        let other = json!({"result": "success", "unknown": null});
        check("artifact-delete", other.clone(), &other);
    }

    #[test]
    fn a_null_for_a_part_that_does_not_apply_goes() {
        let error = json!({"result": "error"});
        let nulls = json!({"result": "error", "version": null, "agentState": null});
        check("update-state", nulls, &error);
        let nulls = json!({"ok": false, "error": "no", "result": null});
        check("rpc-call", nulls, &json!({"ok": false, "error": "no"}));
        check("ping", json!({}), &json!({}));
    }
}
