//! Who may hear what: an event reaches the connections that its filter names.

use std::collections::HashSet;

use touchstone_fixtures::{Broadcast, Filter, Subject, broadcast};

use super::Rule;
use crate::{
    finding::Findings,
    judge::Knowledge,
    requirement::{self as r, Requirement},
    story::{Connection, Happening, Scope},
};

pub(crate) static RULE: Rule = Rule {
    name: "history.audience",
    needs: Knowledge::Partial,
    text: "A message reaches no connection of another session. What a filter leaves out is told once for each \
           kind of event, since servers that send to everybody waste traffic and harm nobody.",
};

#[derive(Debug, Default)]
pub(crate) struct Audience {
    /// What was told, so that a wide server is told once of each kind of event and scope.
    told: HashSet<(&'static str, bool)>,
}

impl Audience {
    pub(crate) fn hear(&mut self, happening: &Happening<'_>, findings: &mut Findings) {
        let (connection, payload, now) = match happening {
            Happening::Received(connection, "update", update, now) => {
                (connection, &update["body"], now)
            }
            Happening::Received(connection, "ephemeral", ephemeral, now) => {
                (connection, *ephemeral, now)
            }
            _ => return,
        };
        if connection.has_surplus {
            return;
        }
        let name = payload.get("t").or_else(|| payload.get("type"));
        let Some(broadcast) = name.and_then(|name| broadcast(name.as_str()?)) else {
            return;
        };
        let id = broadcast.id(payload);
        let Some(requirement) = broken(broadcast, connection, id) else {
            return;
        };
        let is_machine = matches!(connection.scope, Scope::Machine(_));
        // A message in a wrong session is a leak each time.
        if requirement == &r::MESSAGE_SESSION || self.told.insert((broadcast.name, is_machine)) {
            let scope = match &connection.scope {
                Scope::Session(id) => format!("of session {id}"),
                Scope::Machine(id) => format!("of machine {id}"),
                Scope::User | Scope::Unknown => return,
            };
            let about = id.map_or_else(String::new, |(_, id)| format!(" about {id}"));
            let text = format!(
                "{}{about} reached {}, a connection {scope}. Its filter is {}.",
                broadcast.name,
                connection.name,
                broadcast.filter.as_str()
            );
            findings.add(RULE.name, requirement, [now.record], text);
        }
    }
}

/// The requirement that an event breaks by reaching this connection.
fn broken(
    broadcast: &Broadcast,
    connection: &Connection,
    id: Option<(Subject, &str)>,
) -> Option<&'static Requirement> {
    let is_own = match (&connection.scope, broadcast.filter, id) {
        (Scope::User | Scope::Unknown, ..) | (_, Filter::AllUserAuthenticatedConnections, _) => {
            true
        }
        (Scope::Session(own), Filter::AllInterestedInSession, Some((Subject::Session, id)))
        | (Scope::Machine(own), Filter::MachineScopedOnly, Some((Subject::Machine, id))) => {
            own == id
        }
        _ => false,
    };
    if is_own {
        return None;
    }
    let is_session = matches!(connection.scope, Scope::Session(_));
    Some(match broadcast.name {
        "new-message" if is_session => &r::MESSAGE_SESSION,
        "new-message" => &r::MESSAGE_MACHINES,
        "update-session" => &r::SESSION_NARROW,
        "new-session" | "delete-session" => &r::SESSION_MADE_NARROW,
        "new-machine" | "update-machine" => &r::MACHINE_NARROW,
        "new-artifact" | "update-artifact" | "delete-artifact" => &r::ARTIFACT_NARROW,
        "kv-batch-update" => &r::KV_NARROW,
        "update-account" => &r::SETTINGS_NARROW,
        "activity" | "machine-activity" => &r::PRESENCE_NARROW,
        "usage" => &r::USAGE_NARROW,
        _ => return None,
    })
}
