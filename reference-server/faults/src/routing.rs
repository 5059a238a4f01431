//! Faults that change who receives a certain event, after the filter has named the right ones.
//!
//! Each is a row of data.

use std::sync::Arc;

use touchstone_reference_server::seams::{Connection, Emission, Routed as _, Scope};

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

/// Puts those that receive an event in the place of the right recipients.
pub(crate) fn reroute(
    faults: &Faults,
    emission: &Emission<'_>,
    recipients: &mut Vec<Arc<Connection>>,
) {
    let payload = emission.payload;
    let body = payload.get("body").unwrap_or(payload);
    let event_type = body["t"].as_str().or(payload["type"].as_str());
    let event_type = event_type.unwrap_or_default();
    for (fault, types, effect) in REROUTED {
        if !faults.on(*fault) || !types.contains(&event_type) {
            continue;
        }
        match effect {
            Without(deaf) => recipients.retain(|one| kind(one) != *deaf),
            Also(meant) => {
                for other in emission.connections {
                    let is_skipped = emission.skip == Some(other.id());
                    let is_there = recipients.iter().any(|one| one.id() == other.id());
                    if kind(other) == *meant && !is_skipped && !is_there {
                        recipients.push(Arc::clone(other));
                    }
                }
            }
            Lost => recipients.clear(),
        }
    }
}

fn kind(connection: &Connection) -> Kind {
    match connection.scope() {
        Scope::User => Users,
        Scope::Session(_) => Sessions,
        Scope::Machine(_) => Machines,
    }
}
