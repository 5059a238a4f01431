//! Faults that change who receives a certain event, after the filter has named the right ones.
//!
//! Each is a row of data. The router asks for every connection and keeps knowing only right filters.

use crate::faults::{Fault, Faults};
use crate::router::Scope;

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
const MISROUTES: &[(Fault, &[&str], Effect)] = &[
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

/// Whether a connection receives an event of this type (`body.t` of an update, `type` of an
/// ephemeral): what is right, unless a fault that is on says something else.
pub(crate) fn receives(faults: &Faults, event_type: &str, scope: &Scope, is_right: bool) -> bool {
    let kind = match scope {
        Scope::User => Users,
        Scope::Session(_) => Sessions,
        Scope::Machine(_) => Machines,
    };
    let mut acting = MISROUTES
        .iter()
        .filter(|(fault, types, _)| faults.on(*fault) && types.contains(&event_type));
    acting
        .try_fold(is_right, |receives, (.., effect)| match effect {
            Without(deaf) => Some(receives && *deaf != kind),
            Also(meant) => Some(receives || *meant == kind),
            Lost => None,
        })
        .unwrap_or(false)
}
