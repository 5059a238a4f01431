//! Faults in what becomes of a client that has sent CONNECT.

use std::sync::Arc;

use serde_json::{Value, json};
use touchstone_reference_server::seams::{
    Account, Admission, Client, Flow, Frame, Scope, Seams, Server,
};

use crate::{Fault, Faults};

const MISSING: &str = "Missing authentication token";
const INVALID: &str = "Invalid authentication token";
const KNOWN: &[&str] = &["token", "clientType", "sessionId", "machineId"];

/// Client types that a fault does not know.
const UNKNOWN_TYPES: &[(Fault, Option<&str>)] = &[
    (Fault::SessionTypeUnknown, Some("session-scoped")),
    (Fault::MachineTypeUnknown, Some("machine-scoped")),
    (Fault::UserTypeUnknown, Some("user-scoped")),
    (Fault::ClientTypeRequired, None),
];

/// Who is let in.
#[derive(Debug)]
pub(crate) struct Admissions(pub(crate) Faults);

impl Seams for Admissions {
    fn admit(&self, server: &Server, auth: &Value, right: Admission) -> Admission {
        let faults = &self.0;
        let token = auth["token"].as_str().unwrap_or_default();
        match judge(faults, server, auth, right) {
            Admission::Admitted { .. } if faults.is_used_up(token) => {
                Admission::Refused(INVALID.to_owned())
            }
            Admission::Refused(_) if faults.on(Fault::RefusalDrop) => Admission::Closed,
            Admission::Refused(_) if faults.on(Fault::RefusalText) => {
                Admission::Refused("no".to_owned())
            }
            admission => admission,
        }
    }

    fn refused(&self, server: &Server, client: &Client<'_>, auth: &Value) {
        let faults = &self.0;
        if faults.on(Fault::RefusedListens)
            && let Some(account) = account(server, auth)
        {
            let listener = client.connection(&account, Scope::User);
            let mut memory = faults.memory();
            let listeners = memory.listeners.entry(account.id().to_owned());
            listeners.or_default().push(listener);
        }
    }

    fn misplaced(&self, server: &Server, client: &Client<'_>, ack: Option<u64>) -> Flow {
        let faults = &self.0;
        if let Some(id) = ack.filter(|_| faults.on(Fault::EarlyServed)) {
            client.push(Frame::from(format!("3{id}{}", json!([{}]))));
            return Flow::Ignore;
        }
        if faults.on(Fault::GarbageKills) {
            for connection in server.connections() {
                connection.end();
            }
        }
        Flow::Handle
    }
}

fn judge(faults: &Faults, server: &Server, auth: &Value, right: Admission) -> Admission {
    if matches!(right, Admission::Closed) {
        // Its CONNECT is not JSON.
        let is_admitted = faults.on(Fault::BadConnectAdmitted);
        return if is_admitted {
            of_its_own(faults, server, Scope::User)
        } else {
            right
        };
    }
    if matches!(&right, Admission::Refused(message) if message == MISSING) {
        if faults.on(Fault::TokenOptional) {
            return of_its_own(faults, server, Scope::User);
        }
        return right;
    }
    let fields = auth.as_object();
    let has_extra =
        fields.is_some_and(|fields| !fields.keys().all(|key| KNOWN.contains(&key.as_str())));
    let client_type = auth["clientType"].as_str();
    let is_unknown = UNKNOWN_TYPES
        .iter()
        .any(|(fault, unknown)| *unknown == client_type && faults.on(*fault));
    if is_unknown || has_extra && faults.on(Fault::ExtraAuthRefused) {
        return Admission::Refused(INVALID.to_owned());
    }
    let named = |field: &str, is_optional: Fault| {
        let id = auth[field].as_str().filter(|id| !id.is_empty());
        let id = id.or(faults.on(is_optional).then_some("unknown"));
        id.map(str::to_owned)
    };
    let scope = match client_type {
        Some("session-scoped") => named("sessionId", Fault::SessionIdOptional).map(Scope::Session),
        Some("machine-scoped") => named("machineId", Fault::MachineIdOptional).map(Scope::Machine),
        _ => Some(Scope::User),
    };
    match (right, scope, account(server, auth)) {
        (Admission::Refused(_), Some(scope), Some(account)) => {
            Admission::Admitted { account, scope }
        }
        (Admission::Refused(_), Some(scope), None) if faults.on(Fault::RefusalAdmits) => {
            of_its_own(faults, server, scope)
        }
        (right, ..) => right,
    }
}

fn account(server: &Server, auth: &Value) -> Option<Arc<Account>> {
    server.account_of_token(auth["token"].as_str()?)
}

fn of_its_own(faults: &Faults, server: &Server, scope: Scope) -> Admission {
    let account = faults.new_account(server);
    Admission::Admitted { account, scope }
}
