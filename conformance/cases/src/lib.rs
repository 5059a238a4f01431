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
mod calling;
mod cas;
mod cast;
mod catalogue;
mod connection;
mod control;
mod control_group;
mod crowd;
mod delivery;
mod envelope;
mod explain;
mod first_moments;
mod handler;
mod handshake;
mod hazard;
mod heartbeat;
mod idle_upgrade;
mod isolation;
mod leaving;
mod machine;
mod machine_presence;
mod machine_values;
mod malformed;
mod matrix;
mod message;
mod message_local_id;
mod nonsense;
mod order;
mod own_machine;
mod own_rows;
mod presence;
mod readback;
mod recipients;
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
mod session_life;
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

/// The modules of these names, with their requirements and cases.
macro_rules! modules {
    (@cases $($name:ident)::+) => { $($name)::+::CASES };
    (@cases $($name:ident)::+ without cases) => { &[] };
    ($($($name:ident)::+ $(without $cases:ident)?),+ $(,)?) => {
        &[$(Module {
            requirements: $($name)::+::REQUIREMENTS,
            cases: modules!(@cases $($name)::+ $(without $cases)?),
        }),+]
    };
}

/// All modules, in the order in which reports show them.
static MODULES: &[Module] = modules![
    // Judged by the harness itself, beside those of the cases.
    own without cases,
    handshake,
    first_moments,
    connection,
    leaving,
    refusal,
    transport,
    idle_upgrade,
    nonsense,
    heartbeat,
    session_values without cases,
    session,
    session_life,
    message,
    message_local_id,
    machine_values without cases,
    machine,
    artifact,
    artifact_cas,
    artifact_refusal,
    access_key,
    usage,
    handler,
    values,
    similar,
    envelope,
    matrix,
    rpc,
    rpc_values,
    rpc_many,
    rpc_owner,
    rpc_flight,
    presence,
    machine_presence,
    delivery,
    order,
    rest::auth,
    rest::clock,
    rest::sessions,
    rest::machines,
    crowd,
    rest::messages,
    rest::access_keys,
    rest::artifacts,
    rest::kv,
    rest::race,
    rest::account,
    rest::friends,
    isolation,
    surplus,
    control,
    hazard,
    restart,
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
