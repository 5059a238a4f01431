//! Faults in what happens: changes and events that a right decision would not have, or would have.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use touchstone_reference_server::builders::{self, RelationshipStatus, Versioned};
use touchstone_reference_server::seams::{
    Announcement, Cause, Change, Effects, Event, Part, RecipientFilter, Reply, Routed as _, Rows,
    Scope, Seams, Server, Update,
};

use crate::{Fault, Faults};

/// Events that change one part of a session or machine.
const VERSIONED: &[&str] = &[
    "update-metadata",
    "update-state",
    "machine-update-metadata",
    "machine-update-state",
];

/// Events that are never acknowledged.
const SILENT: &[&str] = &["message", "session-alive", "session-end", "machine-alive"];

/// Causes of which nobody is told.
const UNTOLD: &[(Fault, &[&str])] = &[
    (Fault::DeleteSilent, &["session-delete", "artifact-delete"]),
    (Fault::ArchiveSilent, &["session-archive"]),
    (Fault::OnlineSilent, &["enter", "leave"]),
    (Fault::NeverSwept, &["sweep"]),
    (Fault::StorageOnline, &["sweep"]),
];

/// Causes that change nothing.
const UNDONE: &[(Fault, &str)] = &[
    (Fault::SessionDeletedStays, "session-delete"),
    (Fault::ArtifactStays, "artifact-delete"),
    (Fault::RpcUnregisterKeeps, "rpc-unregister"),
    (Fault::NeverSwept, "sweep"),
    (Fault::StorageOnline, "sweep"),
];

/// What happens.
#[derive(Debug)]
pub(crate) struct Outcomes(pub(crate) Faults);

impl Seams for Outcomes {
    fn outcome(
        &self,
        server: &Arc<Server>,
        cause: &Cause<'_>,
        rows: &Rows,
        effects: &mut Effects,
        reply: Option<&mut Reply>,
    ) {
        let faults = &self.0;
        let name = cause.name;
        match name {
            "enter" | "leave" => connections(faults, &**server, cause, rows, effects),
            "message" | "message-post" => messages(faults, server, cause, rows, effects),
            "session-alive" | "session-end" | "machine-alive" if faults.on(Fault::FutureTime) => {
                unclamped(cause, effects);
            }
            "session-create" if effects.changes.is_empty() && faults.on(Fault::TagAnnounced) => {
                let known = cause.data["tag"].as_str().and_then(|tag| rows.tagged(tag));
                effects
                    .events
                    .extend(known.map(|row| told(Update::NewSession(row))));
            }
            "machine-create" => machine(faults, &**server, cause, rows, effects),
            "artifact-create" if effects.changes.is_empty() => {
                let known = cause.data["id"].as_str().and_then(|id| rows.artifact(id));
                let known = known.filter(|_| faults.on(Fault::ArtifactAnnouncedAgain));
                effects
                    .events
                    .extend(known.map(|row| told(Update::NewArtifact(row))));
            }
            "artifact-delete" if faults.on(Fault::ArtifactNeighbours) => {
                let deleted = cause.data["artifactId"].as_str().unwrap_or_default();
                let is_alike = |id: &&str| {
                    *id != deleted && id.as_bytes().get(..8) == deleted.as_bytes().get(..8)
                };
                let alike = rows.artifacts().filter(is_alike).map(str::to_owned);
                if !effects.changes.is_empty() {
                    effects.changes.extend(alike.map(Change::ArtifactDeleted));
                }
            }
            "artifact-update" if faults.on(Fault::ArtifactSeqStuck) => {
                let changes = &mut effects.changes;
                changes.retain(|change| !matches!(change, Change::ArtifactRaised { .. }));
            }
            "kv" if faults.on(Fault::KvDeletedStays) => {
                for change in &mut effects.changes {
                    if let Change::KvWritten(key, entry) = change
                        && entry.value.is_none()
                    {
                        entry.value = rows.kv(key).and_then(|known| known.value.clone());
                    }
                }
            }
            "friends-add" if faults.on(Fault::FriendsAtOnce) => friends(effects),
            "emit" if faults.on(Fault::PayloadRestamped) => {
                for event in &mut effects.events {
                    if let Announcement::Ready(_, payload) = &mut event.what {
                        payload["createdAt"] = server.now().into();
                    }
                }
            }
            "sweep" if faults.on(Fault::IdleEnds) => {
                let mut memory = faults.memory();
                for connection in rows.connections() {
                    if memory.is_idle(connection.id()) {
                        connection.end();
                    }
                }
            }
            _ => {}
        }
        if let Some(sender) = cause.connection
            && VERSIONED.contains(&name)
            && faults.on(Fault::SenderDeaf)
        {
            for event in &mut effects.events {
                event.skip = Some(sender.id());
            }
        }
        if let Some(reply) = reply {
            answered(faults, &**server, cause, rows, effects, reply);
            crate::rpc::change(faults, cause, rows, effects, reply);
        }
        if faults.on(Fault::VersionsShared) {
            share_versions(rows, effects);
        }
        if UNTOLD
            .iter()
            .any(|(fault, causes)| faults.on(*fault) && causes.contains(&name))
        {
            effects.events.clear();
        }
        if UNDONE
            .iter()
            .any(|(fault, cause)| faults.on(*fault) && *cause == name)
        {
            effects.changes.clear();
        }
    }
}

fn told(update: Update) -> Event {
    Event::update(update, RecipientFilter::UserScopedOnly)
}

fn connections(
    faults: &Faults,
    server: &Server,
    cause: &Cause<'_>,
    rows: &Rows,
    effects: &mut Effects,
) {
    let mut memory = faults.memory();
    let leavers = memory.leavers.entry(rows.account().to_owned()).or_default();
    if cause.name == "enter" {
        if *leavers > 0 && faults.on(Fault::ReturnDeaf) {
            let changes = &mut effects.changes;
            changes.retain(|change| !matches!(change, Change::Entered(_)));
        }
        return;
    }
    *leavers += 1;
    drop(memory);
    crate::rpc::leave(faults, rows, effects);
    if let Some(Scope::Machine(id)) = cause.connection.map(|connection| connection.scope())
        && effects.events.is_empty()
        && faults.on(Fault::OfflineEarly)
    {
        let (id, at) = (id.clone(), server.now());
        let activity = builders::machine_activity(&id, false, at);
        effects.events.push(Event::ephemeral(activity));
        effects.changes.push(Change::MachinePresence {
            id,
            active: false,
            at,
        });
    }
}

/// How many connections must have left for the fault `leavers-silence`.
const LEAVERS: u64 = 5;
/// How many events of one connection are too many for the fault `flood-silence`.
const FLOOD: u64 = 1_000;
/// How many bytes of messages are too many for the fault `buffer-full`.
const BUFFER: usize = 5_000_000;
/// How long a batch waits that has been answered already.
const LATE: Duration = Duration::from_millis(50);

fn messages(
    faults: &Faults,
    server: &Arc<Server>,
    cause: &Cause<'_>,
    rows: &Rows,
    effects: &mut Effects,
) {
    let users = rows.connections().filter(|one| *one.scope() == Scope::User);
    let user = users.map(|one| one.id()).next();
    let is_post = cause.name == "message-post";
    let scope = cause.connection.map(|sender| sender.scope());
    for event in &mut effects.events {
        if is_post && faults.on(Fault::PostSkipsUser) {
            event.skip = user;
        }
        let from_session = match (scope, &event.filter) {
            (Some(Scope::Session(own)), RecipientFilter::AllInterestedInSession { session_id }) => {
                own == session_id
            }
            _ => false,
        };
        if from_session && faults.on(Fault::SkipSession) {
            event.filter = RecipientFilter::UserScopedOnly;
        }
        if !is_post && faults.on(Fault::EchoToSender) {
            event.skip = None;
        }
    }
    if are_dropped(faults, rows, effects) {
        *effects = Effects::default();
    }
    if is_post && faults.on(Fault::PostAnswersEarly) {
        let (server, account) = (Arc::clone(server), Arc::clone(cause.account));
        let effects = std::mem::take(effects);
        tokio::spawn(async move {
            tokio::time::sleep(LATE).await;
            server.happen(&account, effects);
        });
    }
}

fn are_dropped(faults: &Faults, rows: &Rows, effects: &Effects) -> bool {
    let account = rows.account();
    let (mut bytes, mut is_known) = (0, false);
    for change in &effects.changes {
        if let Change::MessagePosted { message, .. } = change {
            bytes += message.content["c"].as_str().map_or(0, str::len);
            let local_id = message.local_id.as_deref();
            let owner = local_id.and_then(|id| faults.owner(Fault::LocalIdsShared, id, account));
            is_known |= owner.is_some_and(|owner| owner != account);
        }
    }
    let mut memory = faults.memory();
    let leavers = memory.leavers.get(account).copied().unwrap_or(0);
    let events = rows.connections().map(|one| memory.events(one.id())).max();
    let stored = memory.bytes.entry(account.to_owned()).or_default();
    let is_full = *stored > BUFFER;
    *stored += bytes;
    is_known
        || is_full && faults.on(Fault::BufferFull)
        || leavers >= LEAVERS && faults.on(Fault::LeaversSilence)
        || events > Some(FLOOD) && faults.on(Fault::FloodSilence)
}

/// Dates a heartbeat with its own time, also if that is to come.
fn unclamped(cause: &Cause<'_>, effects: &mut Effects) {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a cast of a float saturates"
    )]
    let Some(time) = cause.data["time"].as_f64().map(|time| time.floor() as i64) else {
        return;
    };
    for change in &mut effects.changes {
        if let Change::SessionPresence { at, .. } | Change::MachinePresence { at, .. } = change {
            *at = (*at).max(time);
        }
    }
    for event in &mut effects.events {
        let Announcement::Ephemeral(payload) = &mut event.what else {
            continue;
        };
        let told = payload.as_json();
        let (id, active) = (
            told["id"].as_str().unwrap_or_default(),
            told["active"] == true,
        );
        let at = told["activeAt"].as_i64().unwrap_or_default().max(time);
        *payload = match told["thinking"].as_bool() {
            Some(thinking) => builders::session_activity(id, active, at, Some(thinking)),
            None => builders::machine_activity(id, active, at),
        };
    }
}

fn machine(
    faults: &Faults,
    server: &Server,
    cause: &Cause<'_>,
    rows: &Rows,
    effects: &mut Effects,
) {
    if faults.on(Fault::MachineOnce) {
        effects.events.truncate(1);
    }
    let id = cause.data["id"].as_str().unwrap_or_default();
    if faults.on(Fault::MachineOverwritten)
        && rows.machine(id).is_some()
        && let Some(metadata) = cause.data["metadata"].as_str()
    {
        let mut memory = faults.memory();
        memory
            .overwritten
            .insert(id.to_owned(), metadata.to_owned());
        effects.changes.push(Change::Written {
            part: Part::MachineMetadata(id.to_owned()),
            value: Some(metadata.to_owned()),
            version: 1,
            at: server.now(),
        });
    }
}

fn friends(effects: &mut Effects) {
    for change in &mut effects.changes {
        if let Change::Related(_, status) = change {
            *status = RelationshipStatus::Friend;
        }
    }
    for event in &mut effects.events {
        if let Announcement::Update(Update::RelationshipUpdated { status, .. }) = &mut event.what {
            *status = RelationshipStatus::Friend;
        }
    }
}

/// Raises the version of the other part of what one part was written of.
fn share_versions(rows: &Rows, effects: &mut Effects) {
    let written = effects.changes.iter().filter_map(|change| match change {
        Change::Written { part, at, .. } => Some((part, *at)),
        _ => None,
    });
    let [(part, at)] = written.collect::<Vec<_>>()[..] else {
        return;
    };
    let other = match part {
        Part::SessionMetadata(id) => Part::SessionState(id.clone()),
        Part::SessionState(id) => Part::SessionMetadata(id.clone()),
        Part::MachineMetadata(id) => Part::MachineState(id.clone()),
        Part::MachineState(id) => Part::MachineMetadata(id.clone()),
        Part::ArtifactHeader(id) => Part::ArtifactBody(id.clone()),
        Part::ArtifactBody(id) => Part::ArtifactHeader(id.clone()),
        Part::AccessKey(_) | Part::Settings => return,
    };
    if let Some(Versioned { value, version }) = current(rows, &other) {
        effects.changes.push(Change::Written {
            part: other,
            value,
            version: version + 1,
            at,
        });
    }
}

/// What a part is now.
fn current(rows: &Rows, part: &Part) -> Option<Versioned> {
    let (value, version) = match part {
        Part::SessionMetadata(id) => {
            let row = rows.session(id)?;
            (Some(row.metadata), row.metadata_version)
        }
        Part::SessionState(id) => {
            let row = rows.session(id)?;
            (row.agent_state, row.agent_state_version)
        }
        Part::MachineMetadata(id) => {
            let row = rows.machine(id)?;
            (Some(row.metadata), row.metadata_version)
        }
        Part::MachineState(id) => {
            let row = rows.machine(id)?;
            (row.daemon_state, row.daemon_state_version)
        }
        Part::ArtifactHeader(id) => {
            let row = rows.artifact(id)?;
            (Some(row.header), row.header_version)
        }
        Part::ArtifactBody(id) => {
            let row = rows.artifact(id)?;
            (Some(row.body), row.body_version)
        }
        Part::AccessKey(_) | Part::Settings => return None,
    };
    Some(Versioned { value, version })
}

/// The part that an event is about, and the field of its value.
fn part_of(cause: &Cause<'_>) -> Option<(Part, &'static str)> {
    let id = |field: &str| cause.data[field].as_str().map(str::to_owned);
    Some(match cause.name {
        "update-metadata" => (Part::SessionMetadata(id("sid")?), "metadata"),
        "update-state" => (Part::SessionState(id("sid")?), "agentState"),
        "machine-update-metadata" => (Part::MachineMetadata(id("machineId")?), "metadata"),
        "machine-update-state" => (Part::MachineState(id("machineId")?), "daemonState"),
        _ => return None,
    })
}

/// Faults of events, which see what is answered.
fn answered(
    faults: &Faults,
    server: &Server,
    cause: &Cause<'_>,
    rows: &Rows,
    effects: &mut Effects,
    reply: &mut Reply,
) {
    match (cause.name, &mut *reply) {
        (_, Reply::Refused(_, "the account has no session of this id"))
            if faults.on(Fault::UnknownSilent) =>
        {
            *reply = Reply::Nothing;
        }
        (name, Reply::Nothing | Reply::Ignored(_))
            if SILENT.contains(&name) && faults.on(Fault::HeartbeatsAcked) =>
        {
            *reply = Reply::Ack(json!({}));
        }
        ("usage-report", Reply::Ack(answer)) => usage(faults, cause, rows, effects, answer),
        ("artifact-update", Reply::Ack(answer)) => artifact(faults, cause, rows, answer),
        (name, Reply::Ack(answer))
            if VERSIONED.contains(&name) && answer["result"] == "version-mismatch" =>
        {
            mismatch(faults, server, cause, rows, effects, answer);
        }
        _ => {}
    }
}

fn mismatch(
    faults: &Faults,
    server: &Server,
    cause: &Cause<'_>,
    rows: &Rows,
    effects: &mut Effects,
    answer: &mut Value,
) {
    if faults.on(Fault::MismatchEcho) {
        answer["version"] = cause.data["expectedVersion"].clone();
    }
    let is_written = faults.on(Fault::MismatchWrites);
    if !is_written && !faults.on(Fault::MismatchAnnounced) {
        return;
    }
    let Some((part, field)) = part_of(cause) else {
        return;
    };
    let Some(mut now_there) = current(rows, &part) else {
        return;
    };
    if is_written {
        now_there.value = cause.data[field].as_str().map(str::to_owned);
        now_there.version += 1;
        effects.changes.push(Change::Written {
            part: part.clone(),
            value: now_there.value.clone(),
            version: now_there.version,
            at: server.now(),
        });
    }
    let (first, second) = match field {
        "metadata" => (Some(now_there), None),
        _ => (None, Some(now_there)),
    };
    let event = match part {
        Part::SessionMetadata(session_id) | Part::SessionState(session_id) => {
            let filter = RecipientFilter::AllInterestedInSession {
                session_id: session_id.clone(),
            };
            let update = Update::UpdateSession {
                session_id,
                metadata: first,
                agent_state: second,
            };
            Event::update(update, filter)
        }
        Part::MachineMetadata(machine_id) | Part::MachineState(machine_id) => {
            let filter = RecipientFilter::MachineScopedOnly {
                machine_id: machine_id.clone(),
            };
            let update = Update::UpdateMachine {
                machine_id,
                metadata: first,
                daemon_state: second,
            };
            Event::update(update, filter)
        }
        _ => return,
    };
    effects.events.push(event);
}

fn artifact(faults: &Faults, cause: &Cause<'_>, rows: &Rows, answer: &mut Value) {
    if answer["message"] == "No updates provided" && faults.on(Fault::ArtifactNoUpdates) {
        *answer = json!({ "result": "success" });
    }
    if answer["result"] != "version-mismatch" || !faults.on(Fault::ArtifactMismatchAll) {
        return;
    }
    let id = cause.data["artifactId"].as_str().unwrap_or_default();
    for (name, part) in [
        ("header", Part::ArtifactHeader(id.to_owned())),
        ("body", Part::ArtifactBody(id.to_owned())),
    ] {
        let is_asked = cause.data[name].is_object() && answer[name].is_null();
        if let Some(Versioned { value, version }) = current(rows, &part).filter(|_| is_asked) {
            answer[name] = json!({
                "version": version,
                "currentVersion": version,
                "data": value,
                "currentData": value,
            });
        }
    }
}

const NO_TOKENS: &str = "Invalid tokens object - must include total";
const NO_COST: &str = "Invalid cost object - must include total";

fn usage(
    faults: &Faults,
    cause: &Cause<'_>,
    rows: &Rows,
    effects: &mut Effects,
    answer: &mut Value,
) {
    let has_total = |field: &str| cause.data[field]["total"].is_number();
    if answer["error"] == NO_TOKENS && !has_total("cost") && faults.on(Fault::UsageErrorOrder) {
        answer["error"] = NO_COST.into();
    }
    let Some(Change::UsageReported(key, usage)) = effects.changes.first_mut() else {
        return;
    };
    let known = rows.usage(usage.session_id.as_deref(), key);
    if faults.on(Fault::UsageNewReport) && known.is_some() {
        usage.id = format!("c{:024}", faults.memory().new_number());
        usage.created_at = usage.updated_at;
    }
    if let Some(known) = known.filter(|_| faults.on(Fault::UsageStale)) {
        usage.updated_at = known.updated_at;
    }
    if known.is_none()
        && let Some(shared) = faults.owner(Fault::UsageKeysShared, key, &usage.id)
    {
        usage.id = shared;
    }
    answer["reportId"] = usage.id.clone().into();
    answer["createdAt"] = usage.created_at.into();
    answer["updatedAt"] = usage.updated_at.into();
    if usage.session_id.is_some() {
        return;
    }
    if faults.on(Fault::UsageEverywhere) {
        let told = builders::usage("", key, &usage.tokens, &usage.cost, usage.updated_at);
        effects.events.push(Event::ephemeral(told));
    }
    if faults.on(Fault::UsageSessionRequired) && cause.data["sessionId"].is_null() {
        effects.changes.clear();
        *answer = json!({ "success": false, "error": "Invalid sessionId" });
    }
}
