//! What an account has, read with its own token over every way that the server offers: lists, single rows,
//! messages, and what a stale write is told.
//!
//! A write that was refused has changed none of it. Only known fields are compared: what else a server
//! tells may change from one reading to the next. Sentinels change the metadata of sessions and machines
//! while a case goes on, which is no difference.

use crate::{machine_values, session_values, versioned::Cas};
use std::collections::BTreeMap;
use touchstone_harness::stage::{Role, Stage};

use serde_json::{Map, Value, json};
use touchstone_client::provision::Provisioner;

use touchstone_harness::{
    case::{Flow, Stop},
    ctx::Ctx,
    evidence::shorten,
    ledger::Requirement,
    peer::Peer,
    provide::Account,
    words,
};

/// The fields that are compared; those that hold others are looked into.
const FIELDS: [&str; 41] = [
    "id",
    "sessions",
    "session",
    "machines",
    "machine",
    "messages",
    "artifacts",
    "artifact",
    "items",
    "accessKey",
    "metadata",
    "metadataVersion",
    "agentState",
    "agentStateVersion",
    "daemonState",
    "daemonStateVersion",
    "dataEncryptionKey",
    "content",
    "t",
    "c",
    "localId",
    "header",
    "headerVersion",
    "body",
    "bodyVersion",
    "data",
    "dataVersion",
    "key",
    "value",
    "version",
    "settings",
    "settingsVersion",
    "usage",
    "tokens",
    "cost",
    "total",
    "totalReports",
    "result",
    "ok",
    "error",
    "message",
];

/// Whose rows are read, and which of them one by one.
pub(crate) struct Watched<'a> {
    pub(crate) account: &'a Account,
    /// A user-scoped connection of the account.
    pub(crate) owner: &'a Peer,
    pub(crate) session: &'a str,
    pub(crate) machine: Option<&'a str>,
    pub(crate) artifact: Option<&'a str>,
}

/// What was read.
#[derive(Default)]
pub(crate) struct Rows {
    /// By the way in which it was read.
    ways: BTreeMap<String, Value>,
    /// What a stale write was answered that succeeded: then reading has changed what was read.
    written: Option<(&'static Cas, Value)>,
}

impl<'a> Watched<'a> {
    /// What the account of a stage has, as its user-scoped connection u1 and its token read it.
    pub(crate) fn of(stage: &'a Stage) -> Self {
        Self {
            account: &stage.account,
            owner: stage.peer(Role::U1),
            session: &stage.s1.id,
            machine: stage.m1.as_ref().map(|machine| machine.id.as_str()),
            artifact: None,
        }
    }

    /// Reads everything.
    pub(crate) async fn read(&self, cx: &mut Ctx) -> Flow<Rows> {
        cx.step("everything that the account has is read");
        let mut rows = Rows::default();
        self.over_socket(cx, &mut rows).await?;
        if matches!(cx.shared.target.provisioner, Provisioner::Rest(_)) {
            self.over_http(cx, &mut rows.ways).await?;
        }
        Ok(rows)
    }

    /// What is otherwise than it was read `before`, in words.
    pub(crate) async fn changed(&self, cx: &mut Ctx, before: &Rows) -> Flow<Vec<String>> {
        let after = self.read(cx).await?;
        if let Some((cas, answer)) = before.written.as_ref().or(after.written.as_ref()) {
            return Err(cas.written(cx, answer));
        }
        let mut told = Vec::new();
        let may_be_swept = cx.may_be_swept();
        for (way, before) in &before.ways {
            // What could not be read says nothing of what is there.
            if let Some(after) = after.ways.get(way) {
                difference(way, before, after, may_be_swept, &mut told);
            }
        }
        Ok(told)
    }

    /// Judges that everything is as it was read `before`.
    pub(crate) async fn unchanged(
        &self,
        cx: &mut Ctx,
        before: &Rows,
        by: &'static Requirement,
    ) -> Flow {
        let told = self.changed(cx, before).await?;
        let expected = "everything of the owner as it was before the refused write";
        cx.check(by, told.is_empty(), expected, words::list(told));
        Ok(())
    }

    async fn over_socket(&self, cx: &mut Ctx, rows: &mut Rows) -> Flow {
        let mut versioned: Vec<(&'static Cas, &str)> = vec![
            (&session_values::METADATA, self.session),
            (&session_values::STATE, self.session),
        ];
        if let Some(machine) = self.machine {
            versioned.extend([
                (&machine_values::METADATA, machine),
                (&machine_values::STATE, machine),
            ]);
        }
        for (cas, id) in versioned {
            let answer = match cas.peeked(cx, self.owner, id).await {
                Ok(answer) => answer,
                // That nothing is answered is judged elsewhere.
                Err(Stop::Judged) => continue,
                Err(stop) => return Err(stop),
            };
            if answer["result"] == "success" {
                rows.written = Some((cas, answer));
                continue;
            }
            let value = answer[cas.field].clone();
            let told = answer["result"] == "version-mismatch";
            // A version without its value may be a sentinel's.
            if told && !(value.is_null() && cas.field == "metadata") {
                let version = &answer["version"];
                let row = json!({format!("{}Version", cas.field): version, cas.field: value});
                rows.ways.insert(format!("{} of {id}", cas.field), row);
            }
        }
        let mut asked = Vec::new();
        if let Some(artifact) = self.artifact {
            asked.push(("artifact-read", json!({"artifactId": artifact})));
        }
        if let Some(machine) = self.machine {
            let pair = json!({"sessionId": self.session, "machineId": machine});
            asked.push(("access-key-get", pair));
        }
        for (event, data) in asked {
            let way = format!("{event} {data}");
            if let Ok(answer) = cx.ask(self.owner, event, data).await? {
                rows.ways.insert(way, known(&answer.data));
            }
        }
        Ok(())
    }

    async fn over_http(&self, cx: &mut Ctx, rows: &mut BTreeMap<String, Value>) -> Flow {
        let session = self.session;
        let mut paths = vec![
            "/v1/sessions".to_owned(),
            format!("/v1/sessions/{session}/messages"),
            format!("/v3/sessions/{session}/messages?after_seq=0&limit=500"),
            "/v1/machines".to_owned(),
            "/v1/artifacts".to_owned(),
            "/v1/kv".to_owned(),
            "/v1/account/settings".to_owned(),
            "/v1/usage".to_owned(),
        ];
        if let Some(machine) = self.machine {
            paths.push(format!("/v1/machines/{machine}"));
            paths.push(format!("/v1/access-keys/{session}/{machine}"));
        }
        if let Some(artifact) = self.artifact {
            paths.push(format!("/v1/artifacts/{artifact}"));
        }
        for path in paths {
            let answer = cx.read_aside(self.account, &path).await?;
            if matches!(answer.status, 401 | 403 | 429 | 500..) {
                let status = answer.status;
                cx.note(format!(
                    "what GET {path} lists is not compared, since it was answered {status}"
                ));
                continue;
            }
            let row = json!({"status": answer.status, "body": known(&answer.body)});
            rows.insert(format!("GET {path}"), row);
        }
        Ok(())
    }
}

/// The known fields of `value`, and lists in an order that does not depend on when something was used last.
fn known(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            // Whether a machine is active depends on its connections too.
            let is_session = fields.contains_key("agentState");
            let compared = |key: &str| FIELDS.contains(&key) || (is_session && key == "active");
            let kept = fields
                .iter()
                .filter(|(key, _)| compared(key))
                .map(|(key, value)| (key.clone(), known(value)));
            Value::Object(kept.collect::<Map<_, _>>())
        }
        Value::Array(items) => {
            let mut items: Vec<_> = items.iter().map(known).collect();
            let name = |item: &Value| item.get("id").or(item.get("key")).map(Value::to_string);
            items.sort_by_key(name);
            Value::Array(items)
        }
        other => other.clone(),
    }
}

/// Adds where `after` differs from `before`. What `may_be_swept` may be inactive without a write.
fn difference(
    way: &str,
    before: &Value,
    after: &Value,
    may_be_swept: bool,
    told: &mut Vec<String>,
) {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let by_sentinel = new
                .get("metadata")
                .and_then(Value::as_str)
                .is_some_and(|metadata| metadata.contains("sentinel"));
            let mut keys: Vec<_> = old.keys().chain(new.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            for key in keys {
                if by_sentinel && matches!(key.as_str(), "metadata" | "metadataVersion") {
                    continue;
                }
                let [old, new] = [old, new].map(|row| row.get(key).unwrap_or(&Value::Null));
                if may_be_swept && key == "active" && new == false {
                    continue;
                }
                difference(&format!("{way}: {key}"), old, new, may_be_swept, told);
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (old, new) in old.iter().zip(new) {
                difference(way, old, new, may_be_swept, told);
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            let unknown = new.iter().find(|row| !old.contains(row));
            let row = unknown.map_or_else(String::new, |row| format!(", now with {row}"));
            let counts = format!("{} rows became {}", old.len(), new.len());
            told.push(shorten(&format!("{way}: {counts}{row}")));
        }
        (old, new) if old != new => told.push(shorten(&format!("{way}: {old} became {new}"))),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(before: &Value, after: &Value, expected: &[&str]) {
        assert_eq!(told(before, after, false), expected);
    }

    fn told(before: &Value, after: &Value, may_be_swept: bool) -> Vec<String> {
        let mut told = Vec::new();
        let (before, after) = (known(before), known(after));
        difference("GET /rows", &before, &after, may_be_swept, &mut told);
        told
    }

    #[test]
    fn a_silent_session_may_be_swept() {
        let row = |active: bool| json!([{"id": "a", "agentState": null, "active": active}]);
        let ended = "GET /rows: active: true became false";
        assert_eq!(told(&row(true), &row(false), false), [ended]);
        assert_eq!(told(&row(true), &row(false), true), [""; 0]);
        let revived = "GET /rows: active: false became true";
        assert_eq!(told(&row(false), &row(true), true), [revived]);
    }

    #[test]
    fn only_what_a_write_changes_is_a_difference() {
        let row = |metadata: &str, version: u32| json!([{"id": "a", "metadata": metadata, "metadataVersion": version, "updatedAt": version}]);
        check(&row("x", 1), &row("x", 1), &[]);
        check(&row("x", 1), &row("sentinel1x", 2), &[]);
        let told = [
            "GET /rows: metadata: \"x\" became \"y\"",
            "GET /rows: metadataVersion: 1 became 2",
        ];
        check(&row("x", 1), &row("y", 2), &told);
        let other = json!([{"id": "b"}, {"id": "a"}]);
        check(&other, &json!([{"id": "a"}, {"id": "b"}]), &[]);
        let told = ["GET /rows: 1 rows became 2, now with {\"id\":\"b\"}"];
        check(&json!([{"id": "a"}]), &other, &told);
    }
}
