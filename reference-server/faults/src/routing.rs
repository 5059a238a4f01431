//! Faults that change who receives a certain event, after the filter has named the right ones.
//!
//! Each is a row of data.

use std::sync::Arc;

use serde_json::{Value, json};
use touchstone_reference_server::seams::{
    Connection, Emission, Frame, RecipientFilter, Routed as _, Scope, Seams, Server, recipients,
};

use crate::{Fault, Faults};

/// A kind of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Users,
    Sessions,
    Machines,
}

/// What happens to an event.
#[derive(Clone, Copy, Debug)]
enum Effect {
    /// Connections of this kind do not receive it.
    Without(Kind),
    /// All connections of the account that are of this kind receive it too.
    Also(Kind),
    /// Nobody receives it.
    Lost,
}

use Effect::{Also, Lost, Without};
use Kind::{Machines, Sessions, Users};

const ARTIFACT: &[&str] = &["new-artifact", "update-artifact", "delete-artifact"];

/// The fault, the types of events that it concerns, and what it does to them.
const REROUTED: &[(Fault, &[&str], Effect)] = &[
    (Fault::UserDeaf, &["new-message"], Without(Users)),
    (Fault::UserDeafSession, &["update-session"], Without(Users)),
    (Fault::UserDeafMachine, &["update-machine"], Without(Users)),
    (Fault::SessionDeaf, &["update-session"], Without(Sessions)),
    (
        Fault::SessionDeafMessage,
        &["new-message"],
        Without(Sessions),
    ),
    (Fault::MachineDeaf, &["update-machine"], Without(Machines)),
    (Fault::MessageToSessions, &["new-message"], Also(Sessions)),
    (Fault::MessageToMachines, &["new-message"], Also(Machines)),
    (
        Fault::SessionToSessions,
        &["update-session"],
        Also(Sessions),
    ),
    (
        Fault::SessionToMachines,
        &["update-session"],
        Also(Machines),
    ),
    (
        Fault::MachineToSessions,
        &["update-machine"],
        Also(Sessions),
    ),
    (
        Fault::MachineToMachines,
        &["update-machine"],
        Also(Machines),
    ),
    (Fault::ArtifactToSessions, ARTIFACT, Also(Sessions)),
    (Fault::ArtifactToMachines, ARTIFACT, Also(Machines)),
    (
        Fault::CreatedToSessions,
        &["new-session", "delete-session"],
        Also(Sessions),
    ),
    (Fault::ActivityToSessions, &["activity"], Also(Sessions)),
    (
        Fault::ActivityToMachines,
        &["machine-activity"],
        Also(Machines),
    ),
    (Fault::UsageToSessions, &["usage"], Also(Sessions)),
    (
        Fault::SettingsToSessions,
        &["update-account"],
        Also(Sessions),
    ),
    (Fault::SettingsLost, &["update-account"], Lost),
    (Fault::KvToSessions, &["kv-batch-update"], Also(Sessions)),
    (Fault::KvLost, &["kv-batch-update"], Lost),
    (Fault::FeedLost, &["new-feed-post"], Lost),
    (Fault::NewSessionLost, &["new-session"], Lost),
    (Fault::NewMachineLost, &["new-machine"], Lost),
    (Fault::NewArtifactLost, &["new-artifact"], Lost),
    (Fault::UpdateArtifactLost, &["update-artifact"], Lost),
    (Fault::ActivityLost, &["activity"], Lost),
    (Fault::UsageLost, &["usage"], Lost),
];

/// Who receives events.
#[derive(Debug)]
pub(crate) struct Routes(pub(crate) Faults);

impl Seams for Routes {
    fn route(&self, server: &Server, emission: &Emission<'_>, to: &mut Vec<Arc<Connection>>) {
        let faults = &self.0;
        let event_type = event_type(emission.payload);
        widen(faults, emission, event_type, to);
        narrow(faults, emission, event_type, to);
        leak(faults, server, emission, to);
        if emission.event == "update" {
            misdeliver(faults, emission, event_type, to);
        }
    }
}

/// The wrong filter that a fault puts in the place of the right one.
fn widen(
    faults: &Faults,
    emission: &Emission<'_>,
    event_type: &str,
    to: &mut Vec<Arc<Connection>>,
) {
    let is_wide = match emission.filter {
        _ if emission.event == "ephemeral" && faults.on(Fault::WideEphemerals) => true,
        RecipientFilter::UserScopedOnly => {
            emission.event == "update" && faults.on(Fault::WideArtifacts)
        }
        RecipientFilter::AllInterestedInSession { .. } => faults.on(Fault::WrongSession),
        RecipientFilter::MachineScopedOnly { .. } => faults.on(Fault::WrongMachine),
        RecipientFilter::AllUserAuthenticatedConnections => false,
    };
    if !is_wide {
        return;
    }
    let all = RecipientFilter::AllUserAuthenticatedConnections;
    *to = recipients(emission.connections, &all, emission.skip)
        .cloned()
        .collect();
    // `wrong-session` is about sessions and `wrong-machine` about machines.
    if faults.on(Fault::WrongSession) && ["new-message", "update-session"].contains(&event_type) {
        to.retain(|one| kind(one) != Machines);
    }
    if faults.on(Fault::WrongMachine) && event_type == "update-machine" {
        to.retain(|one| kind(one) != Sessions);
    }
}

fn narrow(
    faults: &Faults,
    emission: &Emission<'_>,
    event_type: &str,
    to: &mut Vec<Arc<Connection>>,
) {
    for (fault, types, effect) in REROUTED {
        if !faults.on(*fault) || !types.contains(&event_type) {
            continue;
        }
        match effect {
            Without(deaf) => to.retain(|one| kind(one) != *deaf),
            Also(meant) => {
                for other in emission.connections {
                    let is_skipped = emission.skip == Some(other.id());
                    let is_there = to.iter().any(|one| one.id() == other.id());
                    if kind(other) == *meant && !is_skipped && !is_there {
                        to.push(Arc::clone(other));
                    }
                }
            }
            Lost => to.clear(),
        }
    }
}

/// Connections that have no right to an event.
fn leak(faults: &Faults, server: &Server, emission: &Emission<'_>, to: &mut Vec<Arc<Connection>>) {
    let leak = match emission.event {
        "update" => Fault::LeakUpdate,
        _ => Fault::LeakEphemeral,
    };
    let by_id = [Fault::ForeignIdHears, Fault::RoomsBare];
    if faults.on(leak) || by_id.iter().any(|fault| faults.on(*fault)) {
        to.extend(server.connections().into_iter().filter(|other| {
            let is_meant = match other.scope() {
                Scope::User => faults.on(leak),
                Scope::Session(id) | Scope::Machine(id) if faults.on(Fault::RoomsBare) => {
                    id == emission.account
                }
                scope => faults.on(Fault::ForeignIdHears) && emission.filter.accepts(scope),
            };
            is_meant && other.account_id() != emission.account
        }));
    }
    if let Some(listeners) = faults.memory().listeners.get(emission.account) {
        to.extend(listeners.iter().cloned());
    }
}

/// Updates that a fault loses, doubles, or holds back until the next one of the account.
fn misdeliver(
    faults: &Faults,
    emission: &Emission<'_>,
    event_type: &str,
    to: &mut Vec<Arc<Connection>>,
) {
    let strikes = |fault, place: &str| {
        let number = emission.payload.pointer(place).and_then(Value::as_u64);
        number.is_some_and(|number| faults.strikes_at(fault, number))
    };
    if strikes(Fault::LostUpdate, "/seq") {
        to.clear();
    }
    if strikes(Fault::ReplacedHears, "/seq") {
        let mut met = Vec::new();
        to.retain(|one| {
            let is_first = !met.contains(one.scope());
            if is_first {
                met.push(one.scope().clone());
            }
            is_first
        });
    }
    if faults.on(Fault::SeqReused) && event_type.starts_with("delete-") {
        let mut memory = faults.memory();
        let account = emission.account.to_owned();
        *memory.shared_seqs.entry(account).or_default() += 1;
    }
    let is_change = ["update-session", "update-machine"].contains(&event_type);
    if strikes(Fault::DupUpdate, "/seq") || is_change && faults.on(Fault::ChangeTwice) {
        to.extend_from_within(..);
    }
    let is_late =
        strikes(Fault::LateUpdate, "/seq") || strikes(Fault::LateMessage, "/body/message/seq");
    let mut memory = faults.memory();
    let overtaken = memory.held.remove(emission.account);
    if !is_late && overtaken.is_none() {
        return;
    }
    let frame = Frame::from(format!("2{}", json!([emission.event, emission.payload])));
    let Some((late, recipients)) = overtaken else {
        let held = (frame, std::mem::take(to));
        memory.held.insert(emission.account.to_owned(), held);
        return;
    };
    // This one goes out here, so that the one that it overtakes can follow.
    drop(memory);
    for (frame, recipients) in [(frame, std::mem::take(to)), (late, recipients)] {
        recipients.iter().for_each(|one| one.send(frame.clone()));
    }
}

/// `body.t` of an update, or `type` of an ephemeral.
pub(crate) fn event_type(payload: &Value) -> &str {
    let body = payload.get("body").unwrap_or(payload);
    body["t"]
        .as_str()
        .or(payload["type"].as_str())
        .unwrap_or_default()
}

fn kind(connection: &Connection) -> Kind {
    match connection.scope() {
        Scope::User => Users,
        Scope::Session(_) => Sessions,
        Scope::Machine(_) => Machines,
    }
}
