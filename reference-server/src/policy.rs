//! Choices inside of decisions: those that a server may make in another way, and those that it can get
//! wrong. The defaults are those of the specification's decisions.

use std::time::Duration;

/// What the decisions of a server follow where more than one way is right.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a choice of its own, and all combinations are possible"
)]
pub struct Policy {
    /// Whether two accounts may have machines or artifacts of the same id.
    pub ids_per_account: bool,
    /// How much higher than usual the first version of a new session's, machine's or artifact's part
    /// or of an access key is.
    pub first_versions_above: u64,
    /// Whether a new session takes the agent state that it is posted with.
    pub state_at_creation: bool,
    /// Whether a new state of its daemon makes a machine active.
    pub state_makes_active: bool,
    /// Which of several registrants of an RPC method is called.
    pub rpc_owner: RpcOwner,
    /// How long after the callee of an RPC has left its caller is told.
    pub rpc_abort_after: Duration,
    /// Whether a connection may call an RPC method of its own: it may not.
    pub rpc_self_call: bool,
    /// Whether an RPC method may be without a name: it may not.
    pub rpc_any_name: bool,
    /// Whether a part of an artifact is written although the other one mismatches: it is not.
    pub artifact_partial: bool,
    /// Whether creating an artifact again replaces it: it does not.
    pub artifact_overwrite: bool,
    /// Whether the list of artifacts has their bodies: it has not.
    pub artifact_list_bodies: bool,
    /// Whether artifacts take text that is not base64: they do not.
    pub base64_unchecked: bool,
    /// Whether some keys are written although others are stale: they are not.
    pub kv_partial: bool,
    /// Whether the list of active sessions has the ended ones too: it has not.
    pub active_list_all: bool,
    /// Whether a page of sessions begins with the last one of the page before: it does not.
    pub page_repeats: bool,
    /// Whether access keys are for sessions and machines that do not exist: they are not.
    pub access_key_any_pair: bool,
    /// Whether a heartbeat revives a session that has ended: it does not.
    pub revive_ended: bool,
    /// Whether a machine that was active when the server ended is so when it begins again: it is not.
    pub machines_stay_active: bool,
}

/// Which of several registrants of an RPC method is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RpcOwner {
    /// The last one; when it goes, the one before it.
    LastOfAll,
    /// The last one; when it goes, nobody.
    Last,
    /// The first one; when it goes, the one after it.
    First,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            ids_per_account: false,
            first_versions_above: 0,
            state_at_creation: true,
            state_makes_active: true,
            rpc_owner: RpcOwner::LastOfAll,
            rpc_abort_after: Duration::ZERO,
            rpc_self_call: false,
            rpc_any_name: false,
            artifact_partial: false,
            artifact_overwrite: false,
            artifact_list_bodies: false,
            base64_unchecked: false,
            kv_partial: false,
            active_list_all: false,
            page_repeats: false,
            access_key_any_pair: false,
            revive_ended: false,
            machines_stay_active: false,
        }
    }
}
