//! The cases of the suite, one module per subject, each with the requirements that it judges.
//!
//! It must not know how cases are scheduled, reported or confirmed: that is the harness's. No verdict may
//! come from a type that a server is built with; cases judge raw JSON.
//!
//! To add a case: a row in the module's `case_table!` and an `async fn` of the same file; a new
//! requirement is a line in the same file's `requirements!`. A case must not depend on another one, must
//! tell events by markers, and must end with every requirement that it names judged.

mod access_key;
mod admission;
mod artifact;
mod artifact_cas;
mod artifact_refusal;
mod cas;
mod catalogue;
mod connection;
mod control;
mod control_group;
mod crowd;
mod delivery;
mod envelope;
mod explain;
mod handler;
mod handshake;
mod hazard;
mod heartbeat;
mod idle_upgrade;
mod isolation;
mod leaving;
mod machine;
mod machine_values;
mod malformed;
mod matrix;
mod message;
mod message_local_id;
mod nonsense;
mod order;
mod own_rows;
mod presence;
mod readback;
mod refusal;
mod rest;
mod restart;
mod rogue;
mod rpc;
mod rpc_flight;
mod rpc_many;
mod rpc_owner;
mod rpc_values;
mod session;
mod session_values;
mod similar;
mod surplus;
mod transport;
mod usage;
mod values;
mod versioned;

pub use catalogue::catalogue;
pub use explain::explain;

use touchstone_harness::case::{Case, Module, Registry};
use touchstone_harness::ledger::Requirement;
use touchstone_harness::own;

/// All that `check` can run.
pub const REGISTRY: Registry = Registry(MODULES);

/// Every case, in the order of the modules.
pub fn cases() -> impl Iterator<Item = &'static Case> {
    REGISTRY.cases()
}

/// Every requirement, in the order of the modules.
pub fn requirements() -> impl Iterator<Item = &'static Requirement> {
    REGISTRY.requirements()
}

/// All modules, in the order in which reports show them.
static MODULES: &[Module] = &[
    // Judged by the harness itself, beside those of the cases.
    Module {
        requirements: own::REQUIREMENTS,
        cases: &[],
    },
    Module {
        requirements: handshake::REQUIREMENTS,
        cases: handshake::CASES,
    },
    Module {
        requirements: connection::REQUIREMENTS,
        cases: connection::CASES,
    },
    Module {
        requirements: leaving::REQUIREMENTS,
        cases: leaving::CASES,
    },
    Module {
        requirements: refusal::REQUIREMENTS,
        cases: refusal::CASES,
    },
    Module {
        requirements: transport::REQUIREMENTS,
        cases: transport::CASES,
    },
    Module {
        requirements: idle_upgrade::REQUIREMENTS,
        cases: idle_upgrade::CASES,
    },
    Module {
        requirements: nonsense::REQUIREMENTS,
        cases: nonsense::CASES,
    },
    Module {
        requirements: heartbeat::REQUIREMENTS,
        cases: heartbeat::CASES,
    },
    Module {
        requirements: session_values::REQUIREMENTS,
        cases: &[],
    },
    Module {
        requirements: session::REQUIREMENTS,
        cases: session::CASES,
    },
    Module {
        requirements: message::REQUIREMENTS,
        cases: message::CASES,
    },
    Module {
        requirements: message_local_id::REQUIREMENTS,
        cases: message_local_id::CASES,
    },
    Module {
        requirements: machine_values::REQUIREMENTS,
        cases: &[],
    },
    Module {
        requirements: machine::REQUIREMENTS,
        cases: machine::CASES,
    },
    Module {
        requirements: artifact::REQUIREMENTS,
        cases: artifact::CASES,
    },
    Module {
        requirements: artifact_cas::REQUIREMENTS,
        cases: artifact_cas::CASES,
    },
    Module {
        requirements: artifact_refusal::REQUIREMENTS,
        cases: artifact_refusal::CASES,
    },
    Module {
        requirements: access_key::REQUIREMENTS,
        cases: access_key::CASES,
    },
    Module {
        requirements: usage::REQUIREMENTS,
        cases: usage::CASES,
    },
    Module {
        requirements: handler::REQUIREMENTS,
        cases: handler::CASES,
    },
    Module {
        requirements: values::REQUIREMENTS,
        cases: values::CASES,
    },
    Module {
        requirements: similar::REQUIREMENTS,
        cases: similar::CASES,
    },
    Module {
        requirements: envelope::REQUIREMENTS,
        cases: envelope::CASES,
    },
    Module {
        requirements: matrix::REQUIREMENTS,
        cases: matrix::CASES,
    },
    Module {
        requirements: rpc::REQUIREMENTS,
        cases: rpc::CASES,
    },
    Module {
        requirements: rpc_values::REQUIREMENTS,
        cases: rpc_values::CASES,
    },
    Module {
        requirements: rpc_many::REQUIREMENTS,
        cases: rpc_many::CASES,
    },
    Module {
        requirements: rpc_owner::REQUIREMENTS,
        cases: rpc_owner::CASES,
    },
    Module {
        requirements: rpc_flight::REQUIREMENTS,
        cases: rpc_flight::CASES,
    },
    Module {
        requirements: presence::REQUIREMENTS,
        cases: presence::CASES,
    },
    Module {
        requirements: delivery::REQUIREMENTS,
        cases: delivery::CASES,
    },
    Module {
        requirements: order::REQUIREMENTS,
        cases: order::CASES,
    },
    Module {
        requirements: rest::auth::REQUIREMENTS,
        cases: rest::auth::CASES,
    },
    Module {
        requirements: rest::clock::REQUIREMENTS,
        cases: rest::clock::CASES,
    },
    Module {
        requirements: rest::sessions::REQUIREMENTS,
        cases: rest::sessions::CASES,
    },
    Module {
        requirements: rest::machines::REQUIREMENTS,
        cases: rest::machines::CASES,
    },
    Module {
        requirements: crowd::REQUIREMENTS,
        cases: crowd::CASES,
    },
    Module {
        requirements: rest::messages::REQUIREMENTS,
        cases: rest::messages::CASES,
    },
    Module {
        requirements: rest::access_keys::REQUIREMENTS,
        cases: rest::access_keys::CASES,
    },
    Module {
        requirements: rest::artifacts::REQUIREMENTS,
        cases: rest::artifacts::CASES,
    },
    Module {
        requirements: rest::kv::REQUIREMENTS,
        cases: rest::kv::CASES,
    },
    Module {
        requirements: rest::race::REQUIREMENTS,
        cases: rest::race::CASES,
    },
    Module {
        requirements: rest::account::REQUIREMENTS,
        cases: rest::account::CASES,
    },
    Module {
        requirements: rest::friends::REQUIREMENTS,
        cases: rest::friends::CASES,
    },
    Module {
        requirements: isolation::REQUIREMENTS,
        cases: isolation::CASES,
    },
    Module {
        requirements: surplus::REQUIREMENTS,
        cases: surplus::CASES,
    },
    Module {
        requirements: control::REQUIREMENTS,
        cases: control::CASES,
    },
    Module {
        requirements: hazard::REQUIREMENTS,
        cases: hazard::CASES,
    },
    Module {
        requirements: restart::REQUIREMENTS,
        cases: restart::CASES,
    },
];

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use touchstone_harness::ledger::Level;

    use super::*;

    #[test]
    fn ids_are_unique_and_docs_explain() {
        let mut seen = HashSet::new();
        for case in cases() {
            assert!(seen.insert(case.id), "{} twice", case.id);
            assert!(
                case.doc.trim().len() > 60,
                "{} needs an explanation",
                case.id
            );
            let cause = case.cause().unwrap_or_default();
            assert!(
                cause.len() > 20 && !cause.contains("Typical cause"),
                "{} needs a typical cause of its failure: {cause:?}",
                case.id
            );
        }
        assert!(seen.len() >= 30, "only {} cases", seen.len());
    }

    #[test]
    fn ids_of_requirements_are_unique_and_well_formed() {
        let mut seen = HashSet::new();
        for requirement in requirements() {
            assert!(seen.insert(requirement.id), "{} twice", requirement.id);
            assert!(
                requirement.id.split('.').count() >= 2
                    && requirement
                        .id
                        .chars()
                        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c)),
                "{} is not a dotted lowercase id",
                requirement.id
            );
            assert!(
                requirement.text.ends_with('.') && requirement.text.len() > 20,
                "{} needs a whole sentence",
                requirement.id
            );
        }
    }

    #[test]
    fn every_must_and_should_has_a_case() {
        let mut judged: HashMap<&str, usize> = HashMap::new();
        for case in cases() {
            for requirement in case.requirements {
                *judged.entry(requirement.id).or_default() += 1;
            }
        }
        let orphans: Vec<_> = requirements()
            .filter(|requirement| requirement.level > Level::Info)
            .filter(|requirement| !judged.contains_key(requirement.id))
            .map(|requirement| requirement.id)
            .collect();
        assert!(orphans.is_empty(), "without a case: {orphans:?}");
    }

    #[test]
    fn every_case_judges_requirements_of_the_ledger() {
        let known: HashSet<_> = requirements().map(|requirement| requirement.id).collect();
        for case in cases() {
            assert!(!case.requirements.is_empty(), "{} judges nothing", case.id);
            for requirement in case.requirements {
                assert!(
                    known.contains(requirement.id),
                    "{} judges {}, which no module lists",
                    case.id,
                    requirement.id
                );
            }
        }
    }
}
