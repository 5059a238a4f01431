//! What records say of values that have versions.

use std::borrow::Cow;

use serde_json::Value;

use super::parts::Part;
use crate::{
    print::whole,
    story::{Asked, Call},
};

/// A value of one entity, at one version.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) part: Part,
    pub(crate) id: Cow<'a, str>,
    pub(crate) version: u64,
    pub(crate) value: &'a Value,
}

/// A write of one part, as it was asked for.
#[derive(Debug)]
pub(crate) struct Write<'a> {
    pub(crate) part: Part,
    pub(crate) id: Cow<'a, str>,
    /// The version that it named; none where it made the value.
    pub(crate) expected: Option<u64>,
    pub(crate) value: &'a Value,
    /// What was answered.
    pub(crate) told: Told<'a>,
}

impl Write<'_> {
    /// Whether the value is read as it was written: keys may be deleted, and stand for bytes.
    pub(crate) fn is_kept(&self) -> bool {
        self.part != Part::Kv || is_base64(self.value)
    }
}

/// What a writer was told.
#[derive(Debug)]
pub(crate) enum Told<'a> {
    /// It was written as this version; with the value, where the answer repeats it.
    Success(u64, Option<&'a Value>),
    /// This is the current version and value.
    Mismatch(u64, &'a Value),
    /// It was not written, since another part or key had another version.
    Refused,
    /// Neither: an error, or nothing yet.
    Nothing,
}

/// The key of the value in what `event` sends, and the part that it writes.
const EVENTS: [(&str, Part, &str, &str); 4] = [
    ("update-metadata", Part::SessionMetadata, "sid", "metadata"),
    ("update-state", Part::SessionState, "sid", "agentState"),
    (
        "machine-update-metadata",
        Part::MachineMetadata,
        "machineId",
        "metadata",
    ),
    (
        "machine-update-state",
        Part::MachineState,
        "machineId",
        "daemonState",
    ),
];

const ARTIFACT_PARTS: [(Part, &str, &str); 2] = [
    (Part::ArtifactHeader, "header", "Header"),
    (Part::ArtifactBody, "body", "Body"),
];

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}

/// The parts that a call writes, with what `answer` tells of each.
pub(crate) fn writes<'a>(call: &'a Call, answer: Option<&'a Value>) -> Vec<Write<'a>> {
    let data = &call.data;
    let result = answer.and_then(|answer| text(answer, "result"));
    if let Some((_, part, id, key)) = EVENTS.into_iter().find(|(event, ..)| *event == call.event) {
        let write = || {
            let told = answer.and_then(|answer| {
                let version = whole(answer.get("version"))?;
                let value = answer.get(key);
                Some(match result? {
                    "success" => Told::Success(version, value),
                    "version-mismatch" => Told::Mismatch(version, value?),
                    _ => return None,
                })
            });
            Some(Write {
                part,
                id: text(data, id)?.into(),
                expected: Some(whole(data.get("expectedVersion"))?),
                value: data.get(key)?,
                told: told.unwrap_or(Told::Nothing),
            })
        };
        return write().into_iter().collect();
    }
    if call.event != "artifact-update" {
        return Vec::new();
    }
    let write = |(part, key, _): (Part, &str, &str)| {
        let wanted = data.get(key)?;
        let told = answer.and_then(|answer| {
            let Some(told) = answer.get(key).filter(|told| told.is_object()) else {
                return (result? == "version-mismatch").then_some(Told::Refused);
            };
            Some(match result? {
                "success" => Told::Success(whole(told.get("version"))?, told.get("data")),
                "version-mismatch" => {
                    Told::Mismatch(whole(told.get("currentVersion"))?, told.get("currentData")?)
                }
                _ => return None,
            })
        });
        Some(Write {
            part,
            id: text(data, "artifactId")?.into(),
            expected: Some(whole(wanted.get("expectedVersion"))?),
            value: wanted.get("data")?,
            told: told.unwrap_or(Told::Nothing),
        })
    };
    ARTIFACT_PARTS.into_iter().filter_map(write).collect()
}

/// The parts that a request writes, with what its answer tells of each.
pub(crate) fn requested_writes<'a>(asked: &Asked<'a>) -> Vec<Write<'a>> {
    let (Some(request), "POST" | "PUT") = (&asked.exchange.request, asked.method) else {
        return Vec::new();
    };
    let answer = asked.exchange.response.as_ref();
    let is_mismatch = answer.and_then(|answer| text(answer, "error")) == Some("version-mismatch");
    if asked.path == "/v1/kv" {
        let mutations = request.get("mutations").and_then(Value::as_array);
        let mutations = mutations.into_iter().flatten();
        let keys: Vec<_> = mutations
            .clone()
            .map(|mutation| text(mutation, "key"))
            .collect();
        return mutations
            .filter_map(|mutation| {
                // Of a key that is named twice nobody can tell which result is whose.
                let same = keys.iter().filter(|key| **key == text(mutation, "key"));
                let answer = answer.filter(|_| same.count() == 1);
                mutated(mutation, answer, asked.is_done)
            })
            .collect();
    }
    if let Some(pair) = asked.path.strip_prefix("/v1/access-keys/") {
        let told = answer.and_then(|answer| {
            if asked.is_done {
                Some(Told::Success(whole(answer.get("version"))?, None))
            } else if is_mismatch {
                let version = whole(answer.get("currentVersion"))?;
                Some(Told::Mismatch(version, answer.get("currentData")?))
            } else {
                None
            }
        });
        let write = || {
            Some(Write {
                part: Part::AccessKey,
                id: pair.into(),
                expected: Some(whole(request.get("expectedVersion"))?),
                value: request.get("data")?,
                told: told.unwrap_or(Told::Nothing),
            })
        };
        return write().into_iter().collect();
    }
    if asked.path == "/v1/account/settings" {
        let told = answer.and_then(|answer| {
            if asked.is_done {
                Some(Told::Success(whole(answer.get("version"))?, None))
            } else if is_mismatch {
                let now = answer.get("currentSettings")?;
                Some(Told::Mismatch(whole(answer.get("currentVersion"))?, now))
            } else {
                None
            }
        });
        let write = || {
            Some(Write {
                part: Part::Settings,
                id: "".into(),
                expected: Some(whole(request.get("expectedVersion"))?),
                value: request.get("settings")?,
                told: told.unwrap_or(Told::Nothing),
            })
        };
        return write().into_iter().collect();
    }
    let Some(id) = asked.path.strip_prefix("/v1/artifacts/") else {
        return Vec::new();
    };
    let write = |(part, key, name): (Part, &str, &str)| {
        let told = answer.and_then(|answer| {
            if asked.is_done {
                Some(Told::Success(
                    whole(answer.get(format!("{key}Version")))?,
                    None,
                ))
            } else if is_mismatch {
                let Some(now) = answer.get(format!("current{name}")) else {
                    return Some(Told::Refused);
                };
                Some(Told::Mismatch(
                    whole(answer.get(format!("current{name}Version")))?,
                    now,
                ))
            } else {
                None
            }
        });
        Some(Write {
            part,
            id: id.into(),
            expected: Some(whole(request.get(format!("expected{name}Version")))?),
            value: request.get(key)?,
            told: told.unwrap_or(Told::Nothing),
        })
    };
    ARTIFACT_PARTS.into_iter().filter_map(write).collect()
}

/// A write of a key. What is no text, or no base64, may be read otherwise than it was written.
fn mutated<'a>(mutation: &'a Value, answer: Option<&'a Value>, is_done: bool) -> Option<Write<'a>> {
    let (key, value) = (text(mutation, "key")?, mutation.get("value")?);
    let of_key = |list: &str| {
        let list = answer?.get(list)?.as_array()?;
        list.iter().find(|one| one["key"] == key)
    };
    let told = || {
        if is_done {
            return Some(Told::Success(
                whole(of_key("results")?.get("version"))?,
                None,
            ));
        }
        let Some(stale) = of_key("errors") else {
            return answer?.get("errors").map(|_| Told::Refused);
        };
        let now = stale.get("value").filter(|now| now.is_string())?;
        Some(Told::Mismatch(whole(stale.get("version"))?, now))
    };
    Some(Write {
        part: Part::Kv,
        id: key.into(),
        expected: whole(mutation.get("version")),
        value,
        told: told().unwrap_or(Told::Nothing),
    })
}

/// A key as it is read or announced.
fn entry(row: &Value) -> Option<Seen<'_>> {
    Some(Seen {
        part: Part::Kv,
        id: text(row, "key")?.into(),
        version: whole(row.get("version"))?,
        value: row.get("value").filter(|value| value.is_string())?,
    })
}

fn access_key<'a>(pair: Cow<'a, str>, answer: &'a Value) -> Option<Seen<'a>> {
    let key = answer.get("accessKey")?;
    Some(Seen {
        part: Part::AccessKey,
        id: pair,
        version: whole(key.get("dataVersion"))?,
        value: key.get("data")?,
    })
}

/// The parts of a row, under the names that rows have.
fn row<'a>(row: &'a Value, id: Option<&'a str>, parts: &[(Part, &str)]) -> Vec<Seen<'a>> {
    let Some(id) = id.or_else(|| text(row, "id")) else {
        return Vec::new();
    };
    let seen = |(part, key): &(Part, &str)| {
        Some(Seen {
            part: *part,
            id: id.into(),
            version: whole(row.get(format!("{key}Version")))?,
            value: row.get(*key)?,
        })
    };
    parts.iter().filter_map(seen).collect()
}

const SESSION_ROW: [(Part, &str); 2] = [
    (Part::SessionMetadata, "metadata"),
    (Part::SessionState, "agentState"),
];
const MACHINE_ROW: [(Part, &str); 2] = [
    (Part::MachineMetadata, "metadata"),
    (Part::MachineState, "daemonState"),
];
const ARTIFACT_ROW: [(Part, &str); 2] = [
    (Part::ArtifactHeader, "header"),
    (Part::ArtifactBody, "body"),
];

/// The parts of an update's body that are given as value and version.
fn changes<'a>(body: &'a Value, id: &str, parts: &[(Part, &str)]) -> Vec<Seen<'a>> {
    let Some(id) = text(body, id) else {
        return Vec::new();
    };
    let seen = |(part, key): &(Part, &str)| {
        let now = body.get(*key)?;
        Some(Seen {
            part: *part,
            id: id.into(),
            version: whole(now.get("version"))?,
            value: now.get("value")?,
        })
    };
    parts.iter().filter_map(seen).collect()
}

/// What the body of an update announces.
pub(crate) fn announced(body: &Value) -> Vec<Seen<'_>> {
    match text(body, "t") {
        Some("update-session") => changes(body, "id", &SESSION_ROW),
        Some("update-machine") => changes(body, "machineId", &MACHINE_ROW),
        Some("update-artifact") => changes(body, "artifactId", &ARTIFACT_ROW),
        Some("update-account") => {
            let mut seen = changes(body, "id", &[(Part::Settings, "settings")]);
            // The account is known by its token: requests for its settings do not say its id.
            seen.iter_mut().for_each(|seen| seen.id = "".into());
            seen
        }
        Some("kv-batch-update") => {
            let changes = body.get("changes").and_then(Value::as_array);
            changes.into_iter().flatten().filter_map(entry).collect()
        }
        Some("new-session") => row(body, None, &SESSION_ROW),
        Some("new-machine") => row(body, text(body, "machineId"), &MACHINE_ROW),
        Some("new-artifact") => row(body, text(body, "artifactId"), &ARTIFACT_ROW),
        _ => Vec::new(),
    }
}

/// What the answer to a call shows of rows.
pub(crate) fn read_by_event<'a>(call: &'a Call, answer: &'a Value) -> Vec<Seen<'a>> {
    match (call.event.as_str(), answer.get("artifact")) {
        ("artifact-read" | "artifact-create", Some(artifact)) => row(artifact, None, &ARTIFACT_ROW),
        ("access-key-get", _) => {
            let id = |key: &str| call.data[key].as_str().unwrap_or_default();
            let pair = format!("{}/{}", id("sessionId"), id("machineId"));
            access_key(pair.into(), answer).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// What an answer over HTTP shows of rows.
pub(crate) fn read_by_request<'a>(asked: &Asked<'a>) -> Vec<Seen<'a>> {
    let Some(answer) = asked.exchange.response.as_ref().filter(|_| asked.is_done) else {
        return Vec::new();
    };
    let of = |one: &str, many: &str, parts: &[(Part, &str)]| -> Vec<Seen<'a>> {
        let listed = answer.get(many).or(Some(answer)).and_then(Value::as_array);
        let rows = listed.into_iter().flatten().chain(answer.get(one));
        rows.flat_map(|one| row(one, None, parts)).collect()
    };
    let mut segments = asked.path.split('/').skip(2);
    match (segments.next(), segments.next(), segments.next()) {
        // Deeper paths show messages, which have no versions.
        (Some("sessions"), _, None) => of("session", "sessions", &SESSION_ROW),
        (Some("machines"), _, None) => of("machine", "machines", &MACHINE_ROW),
        (Some("artifacts"), _, None) => {
            let mut seen = of("artifact", "artifacts", &ARTIFACT_ROW);
            seen.extend(row(answer, None, &ARTIFACT_ROW));
            seen
        }
        (Some("access-keys"), ..) => {
            let pair = asked.path.strip_prefix("/v1/access-keys/");
            let seen = pair.and_then(|pair| access_key(pair.into(), answer));
            seen.into_iter().collect()
        }
        (Some("kv"), ..) => {
            let listed = answer.get("items").or_else(|| answer.get("values"));
            let rows = listed.and_then(Value::as_array).into_iter().flatten();
            rows.chain(Some(answer)).filter_map(entry).collect()
        }
        (Some("account"), Some("settings"), None) if asked.method == "GET" => {
            let seen = || {
                Some(Seen {
                    part: Part::Settings,
                    id: "".into(),
                    version: whole(answer.get("settingsVersion"))?,
                    value: answer.get("settings")?,
                })
            };
            seen().into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// Whether a value is standard base64 of at least one byte.
fn is_base64(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default().as_bytes();
    let digits = text
        .iter()
        .rposition(|byte| *byte != b'=')
        .map_or(0, |last| last + 1);
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    // The last digit has no bits that no byte needs.
    let is_whole = match text.len() - digits {
        _ if digits == 0 => false,
        0 => true,
        1 => b"AEIMQUYcgkosw048".contains(&text[digits - 1]),
        2 => b"AQgw".contains(&text[digits - 1]),
        _ => false,
    };
    text.len().is_multiple_of(4) && text[..digits].iter().all(is_digit) && is_whole
}
