//! What a connection stands for, and the CONNECT that says so.

use serde_json::{Value, json};

use crate::{ledger::Requirement, own};

/// What a connection stands for: its `clientType`, with the id it asks for.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    /// All of an account.
    User,
    /// One session.
    Session(&'a str),
    /// One machine.
    Machine(&'a str),
}

impl Scope<'_> {
    /// What judges that a connection of this scope is admitted.
    pub(crate) fn admitted_by(self) -> &'static Requirement {
        match self {
            Self::User => &own::ADMITS_USER_SCOPED,
            Self::Session(_) => &own::ADMITS_SESSION_SCOPED,
            Self::Machine(_) => &own::ADMITS_MACHINE_SCOPED,
        }
    }

    /// The CONNECT auth for `token`.
    pub fn auth(self, token: &str) -> Value {
        match self {
            Self::User => json!({"token": token, "clientType": "user-scoped"}),
            Self::Session(id) => {
                json!({"token": token, "clientType": "session-scoped", "sessionId": id})
            }
            Self::Machine(id) => {
                json!({"token": token, "clientType": "machine-scoped", "machineId": id})
            }
        }
    }
}
