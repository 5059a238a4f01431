//! Which values have versions, and what records say of them.

use serde_json::Value;

use crate::{
    print::{prints, whole},
    requirement as r,
    requirement::Requirement,
    story::{Asked, Call},
};

/// A value that has versions, of a kind of entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    SessionMetadata,
    SessionState,
    MachineMetadata,
    MachineState,
    ArtifactHeader,
    ArtifactBody,
    Settings,
}

/// What each part must hold.
#[derive(Debug)]
pub(crate) struct Demands {
    pub(crate) what: &'static str,
    pub(crate) answer: &'static Requirement,
    pub(crate) stale: &'static Requirement,
    pub(crate) current: &'static Requirement,
    pub(crate) winner: &'static Requirement,
    pub(crate) step: &'static Requirement,
    pub(crate) losers: &'static Requirement,
    pub(crate) silent: &'static Requirement,
    pub(crate) announced: &'static Requirement,
    pub(crate) read: &'static Requirement,
}

static SESSION_METADATA: Demands = Demands {
    what: "the metadata of session",
    answer: &r::METADATA_ANSWER,
    stale: &r::METADATA_STALE,
    current: &r::METADATA_CURRENT,
    winner: &r::METADATA_WINNER,
    step: &r::SESSION_STEP,
    losers: &r::SESSION_LOSERS,
    silent: &r::SESSION_SILENT,
    announced: &r::SESSION_BODY,
    read: &r::SESSION_READ,
};
static SESSION_STATE: Demands = Demands {
    what: "the agentState of session",
    answer: &r::STATE_ANSWER,
    stale: &r::STATE_STALE,
    current: &r::STATE_CURRENT,
    winner: &r::STATE_WINNER,
    ..SESSION_METADATA
};
static MACHINE_METADATA: Demands = Demands {
    what: "the metadata of machine",
    answer: &r::MACHINE_METADATA_ANSWER,
    stale: &r::MACHINE_METADATA_STALE,
    current: &r::MACHINE_METADATA_CURRENT,
    winner: &r::MACHINE_METADATA_WINNER,
    step: &r::MACHINE_STEP,
    losers: &r::MACHINE_LOSERS,
    silent: &r::MACHINE_SILENT,
    announced: &r::MACHINE_BODY,
    read: &r::MACHINE_READ,
};
static MACHINE_STATE: Demands = Demands {
    what: "the daemonState of machine",
    answer: &r::MACHINE_STATE_ANSWER,
    stale: &r::MACHINE_STATE_STALE,
    current: &r::MACHINE_STATE_CURRENT,
    winner: &r::MACHINE_STATE_WINNER,
    ..MACHINE_METADATA
};
static ARTIFACT_HEADER: Demands = Demands {
    what: "the header of artifact",
    answer: &r::ARTIFACT_ANSWER,
    stale: &r::ARTIFACT_STALE,
    current: &r::ARTIFACT_CURRENT,
    winner: &r::ARTIFACT_WINNER,
    step: &r::ARTIFACT_STEP,
    losers: &r::ARTIFACT_LOSERS,
    silent: &r::ARTIFACT_SILENT,
    announced: &r::ARTIFACT_BODY,
    read: &r::ARTIFACT_READ,
};
static ARTIFACT_BODY: Demands = Demands {
    what: "the body of artifact",
    ..ARTIFACT_HEADER
};
static SETTINGS: Demands = Demands {
    what: "the settings of account",
    answer: &r::SETTINGS_WRITTEN,
    stale: &r::SETTINGS_STALE,
    current: &r::SETTINGS_STALE,
    winner: &r::SETTINGS_WRITTEN,
    step: &r::SETTINGS_WRITTEN,
    losers: &r::SETTINGS_STALE,
    silent: &r::SETTINGS_STALE,
    announced: &r::ACCOUNT_BODY,
    read: &r::SETTINGS_WRITTEN,
};

impl Part {
    pub(crate) fn demands(self) -> &'static Demands {
        match self {
            Self::SessionMetadata => &SESSION_METADATA,
            Self::SessionState => &SESSION_STATE,
            Self::MachineMetadata => &MACHINE_METADATA,
            Self::MachineState => &MACHINE_STATE,
            Self::ArtifactHeader => &ARTIFACT_HEADER,
            Self::ArtifactBody => &ARTIFACT_BODY,
            Self::Settings => &SETTINGS,
        }
    }

    /// What tells a version of this part of an entity from all others.
    pub(crate) fn key(self, id: &str, version: u64) -> u64 {
        prints(&[&self.demands().what.into(), &id.into(), &version.into()])
    }

    /// Whether an entity of this kind can be made again with the same id after it was deleted.
    pub(crate) fn can_come_again(self) -> bool {
        matches!(self, Self::ArtifactHeader | Self::ArtifactBody)
    }
}

/// A value of one entity, at one version.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) part: Part,
    pub(crate) id: &'a str,
    pub(crate) version: u64,
    pub(crate) value: &'a Value,
}

/// A write of one part, as it was asked for.
#[derive(Debug)]
pub(crate) struct Write<'a> {
    pub(crate) part: Part,
    pub(crate) id: &'a str,
    pub(crate) expected: u64,
    pub(crate) value: &'a Value,
    /// What was answered.
    pub(crate) told: Told<'a>,
}

/// What a writer was told.
#[derive(Debug)]
pub(crate) enum Told<'a> {
    /// It was written as this version; with the value, where the answer repeats it.
    Success(u64, Option<&'a Value>),
    /// This is the current version and value.
    Mismatch(u64, &'a Value),
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
                id: text(data, id)?,
                expected: whole(data.get("expectedVersion"))?,
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
            let told = answer.get(key)?;
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
            id: text(data, "artifactId")?,
            expected: whole(wanted.get("expectedVersion"))?,
            value: wanted.get("data")?,
            told: told.unwrap_or(Told::Nothing),
        })
    };
    ARTIFACT_PARTS.into_iter().filter_map(write).collect()
}

/// The parts that a request writes, with what its answer tells of each.
pub(crate) fn requested_writes<'a>(asked: &Asked<'a>) -> Vec<Write<'a>> {
    let (Some(request), "POST") = (&asked.exchange.request, asked.method) else {
        return Vec::new();
    };
    let answer = asked.exchange.response.as_ref();
    let is_mismatch = answer.and_then(|answer| text(answer, "error")) == Some("version-mismatch");
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
                id: "",
                expected: whole(request.get("expectedVersion"))?,
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
                let now = answer.get(format!("current{name}"))?;
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
            id,
            expected: whole(request.get(format!("expected{name}Version")))?,
            value: request.get(key)?,
            told: told.unwrap_or(Told::Nothing),
        })
    };
    ARTIFACT_PARTS.into_iter().filter_map(write).collect()
}

/// The parts of a row, under the names that rows have.
fn row<'a>(row: &'a Value, id: Option<&'a str>, parts: &[(Part, &str)]) -> Vec<Seen<'a>> {
    let Some(id) = id.or_else(|| text(row, "id")) else {
        return Vec::new();
    };
    let seen = |(part, key): &(Part, &str)| {
        Some(Seen {
            part: *part,
            id,
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
            id,
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
            seen.iter_mut().for_each(|seen| seen.id = "");
            seen
        }
        Some("new-session") => row(body, None, &SESSION_ROW),
        Some("new-machine") => row(body, text(body, "machineId"), &MACHINE_ROW),
        Some("new-artifact") => row(body, text(body, "artifactId"), &ARTIFACT_ROW),
        _ => Vec::new(),
    }
}

/// What the answer to `event` shows of rows.
pub(crate) fn read_by_event<'a>(event: &str, answer: &'a Value) -> Vec<Seen<'a>> {
    match (event, answer.get("artifact")) {
        ("artifact-read" | "artifact-create", Some(artifact)) => row(artifact, None, &ARTIFACT_ROW),
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
        (Some("account"), Some("settings"), None) if asked.method == "GET" => {
            let seen = || {
                Some(Seen {
                    part: Part::Settings,
                    id: "",
                    version: whole(answer.get("settingsVersion"))?,
                    value: answer.get("settings")?,
                })
            };
            seen().into_iter().collect()
        }
        _ => Vec::new(),
    }
}
