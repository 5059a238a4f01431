//! Choices inside of decisions that a server may make in another way. The defaults are those of the
//! specification's decisions.

use std::time::Duration;

/// What the decisions of a server follow where more than one way is right.
#[derive(Clone, Debug, PartialEq, Eq)]
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
        }
    }
}
