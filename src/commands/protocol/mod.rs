//! `touchstone protocol`: the protocol as a document, from the contract and the ledger of the suite.

mod asyncapi;
mod page;
mod shape;

use touchstone_cases::requirements;
use touchstone_harness::Requirement;

use crate::args::{ProtocolArguments, ProtocolFormat};
use crate::error::Failure;
use crate::exit::Exit;
use crate::output;

/// Prints the document.
pub(crate) fn run(arguments: &ProtocolArguments) -> Result<Exit, Failure> {
    output::print(&match arguments.format {
        ProtocolFormat::Markdown => page::page(),
        ProtocolFormat::Asyncapi => format!("{:#}\n", asyncapi::document()),
    })
}

/// What a server sends of its own accord for calls between clients, and when.
const OF_RPC: [(&str, &str); 4] = [
    (
        "rpc-registered",
        "To the connection that registered a method.",
    ),
    (
        "rpc-unregistered",
        "To the connection that gave a method up.",
    ),
    (
        "rpc-error",
        "To a connection whose registration or its end was refused.",
    ),
    (
        "rpc-request",
        "To the connection that has registered the method; its acknowledgement becomes the `result` that \
         the caller gets.",
    ),
];

/// The requirements that are about events of this name: those of their own groups, and those that name
/// it.
fn requirements_of(name: &str) -> Vec<&'static Requirement> {
    let groups: &[&str] = match name {
        "access-key-get" => &["access-key"],
        "artifact-read" => &["artifact.read"],
        "artifact-update" => &["artifact.update"],
        "artifact-create" => &["artifact.create"],
        "artifact-delete" => &["artifact.delete"],
        "machine-update-metadata" => &["machine.update-metadata"],
        "machine-update-state" => &["machine.update-state", "machine.state-marks-active"],
        "machine-alive" => &["presence.machine-alive", "presence.machine-alive-body"],
        "update-metadata" => &["session.update-metadata"],
        "update-state" => &["session.update-state"],
        "session-alive" => &[
            "presence.session-alive",
            "presence.session-alive-body",
            "presence.thinking",
        ],
        "session-end" => &["presence.session-end"],
        "usage-report" => &["usage"],
        "rpc-register" => &["rpc.register", "rpc.invalid-method"],
        "rpc-unregister" => &["rpc.unregister"],
        "rpc-call" => &["rpc.call"],
        other => &[other][..0],
    };
    requirements()
        .filter(|requirement| {
            let id = requirement.id;
            let in_group = |group: &str| {
                id.strip_prefix(group)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            in_group(name)
                || groups.iter().any(|group| in_group(group))
                || names(requirement.text, name)
        })
        .collect()
}

/// Whether a text has this name as a word of its own.
fn names(text: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '-';
    text.match_indices(name).any(|(at, _)| {
        !text[..at].ends_with(is_part) && !text[at + name.len()..].starts_with(is_part)
    })
}

#[cfg(test)]
mod tests {
    use touchstone_fixtures::{CLIENT_EVENTS, EPHEMERAL_TYPES, UPDATE_TYPES};

    use super::*;

    #[test]
    fn a_name_is_a_word_of_its_own() {
        assert!(names("`update-state` and more", "update-state"));
        assert!(!names("machine-update-state", "update-state"));
        assert!(!names("usage-report", "usage"));
    }

    #[test]
    fn every_client_event_and_every_type_has_requirements() {
        for name in CLIENT_EVENTS
            .iter()
            .chain(&UPDATE_TYPES)
            .chain(&EPHEMERAL_TYPES)
        {
            // Only the control extension makes a server send it.
            if *name != "machine-status" {
                assert!(!requirements_of(name).is_empty(), "{name}");
            }
        }
    }
}
