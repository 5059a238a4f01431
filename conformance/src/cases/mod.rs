//! The cases, one module per subject, each with the requirements that it judges.
//!
//! To add a case: a row in the module's `case_table!` and an `async fn` of the same file; a new
//! requirement is a line in the same file's `requirements!`. A case must not depend on another one, must
//! tell events by markers, and must end with every requirement that it names judged.

pub(crate) mod access_key;
pub(crate) mod artifact;
pub(crate) mod artifact_cas;
pub(crate) mod artifact_refusal;
pub(crate) mod cas;
pub(crate) mod connection;
pub(crate) mod control;
mod control_group;
pub(crate) mod crowd;
pub(crate) mod delivery;
pub(crate) mod envelope;
pub(crate) mod handler;
pub(crate) mod handshake;
pub(crate) mod hazard;
pub(crate) mod heartbeat;
pub(crate) mod idle_upgrade;
pub(crate) mod isolation;
pub(crate) mod leaving;
pub(crate) mod machine;
pub(crate) mod malformed;
pub(crate) mod matrix;
pub(crate) mod message;
pub(crate) mod nonsense;
pub(crate) mod order;
mod own_rows;
pub(crate) mod presence;
pub(crate) mod refusal;
pub(crate) mod rest;
pub(crate) mod rogue;
pub(crate) mod rpc;
pub(crate) mod rpc_flight;
pub(crate) mod rpc_many;
pub(crate) mod rpc_owner;
pub(crate) mod rpc_values;
pub(crate) mod session;
pub(crate) mod surplus;
pub(crate) mod transport;
pub(crate) mod usage;
pub(crate) mod values;

use crate::case::Module;

/// All modules, in the order in which reports show them.
pub(crate) static MODULES: &[Module] = &[
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
        requirements: session::REQUIREMENTS,
        cases: session::CASES,
    },
    Module {
        requirements: message::REQUIREMENTS,
        cases: message::CASES,
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
];
