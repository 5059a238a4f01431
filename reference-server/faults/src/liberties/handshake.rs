//! Who is let in, and how others are refused.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use touchstone_reference_server::Config;
use touchstone_reference_server::seams::{Admission, Client, Flow, Scope, Seams, Server, Wait};

use super::timing::after;

/// How a client learns that it is refused.
#[derive(Debug)]
pub(super) enum Refusing {
    /// By an event, after it was connected.
    ByEvent,
    /// By CONNECT_ERROR, after which its transport is closed.
    AndClosing,
}

impl Seams for Refusing {
    fn admit(&self, _server: &Server, _auth: &Value, right: Admission) -> Admission {
        match (right, self) {
            (Admission::Refused(reason), Self::ByEvent) => Admission::Dismissed(reason),
            (Admission::Refused(reason), Self::AndClosing) => Admission::Expelled(reason),
            (right, _) => right,
        }
    }
}

/// What cannot be read, or comes before CONNECT, is ignored.
#[derive(Debug)]
pub(super) struct GarbageIgnored;

impl Seams for GarbageIgnored {
    fn misplaced(&self, _server: &Server, _client: &Client<'_>, _ack: Option<u64>) -> Flow {
        Flow::Ignore
    }
}

/// Clients that name a session or machine of another account are dropped.
#[derive(Debug)]
pub(super) struct DropForeign;

impl Seams for DropForeign {
    fn admit(&self, server: &Server, auth: &Value, right: Admission) -> Admission {
        let Admission::Admitted { account, .. } = &right else {
            return right;
        };
        let id = |field: &str| auth[field].as_str().unwrap_or_default().to_owned();
        let (session, machine) = (id("sessionId"), id("machineId"));
        let others = server.accounts();
        let mut others = others.iter().filter(|other| other.id() != account.id());
        let is_foreign = others.any(|other| {
            other.session(&session).is_some() && account.session(&session).is_none()
                || other.machine(&machine).is_some() && account.machine(&machine).is_none()
        });
        if is_foreign { Admission::Closed } else { right }
    }
}

/// Clients that name a session or machine that their account does not have are refused.
#[derive(Debug)]
pub(super) struct RefuseUnknown;

impl Seams for RefuseUnknown {
    fn admit(&self, _server: &Server, _auth: &Value, right: Admission) -> Admission {
        let Admission::Admitted { account, scope } = &right else {
            return right;
        };
        match scope {
            Scope::Session(id) if account.session(id).is_none() => {
                Admission::Refused("Session not found".to_owned())
            }
            Scope::Machine(id) if account.machine(id).is_none() => {
                Admission::Refused("Machine not found".to_owned())
            }
            _ => right,
        }
    }
}

/// Clients of a type that the server does not know are refused.
#[derive(Debug)]
pub(super) struct RefuseTypes;

impl Seams for RefuseTypes {
    fn admit(&self, _server: &Server, auth: &Value, right: Admission) -> Admission {
        let known = ["user-scoped", "session-scoped", "machine-scoped"];
        match (&right, &auth["clientType"]) {
            (Admission::Admitted { .. }, Value::String(other))
                if !known.contains(&other.as_str()) =>
            {
                Admission::Refused("Invalid client type".to_owned())
            }
            _ => right,
        }
    }
}

/// The first use of each token takes a while.
#[derive(Debug)]
pub(super) struct SlowFirstToken {
    took: Duration,
    known: Mutex<HashSet<String>>,
}

impl SlowFirstToken {
    pub(super) fn new(milliseconds: u64) -> Self {
        Self {
            took: Duration::from_millis(milliseconds),
            known: Mutex::default(),
        }
    }

    fn verify(&self, token: &str) -> Option<Wait> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(token.to_owned()).then(|| after(self.took))
    }
}

impl Seams for SlowFirstToken {
    fn before_admission(&self, server: &Server, auth: &Value) -> Option<Wait> {
        let token = auth["token"].as_str()?;
        server.account_of_token(token)?;
        self.verify(token)
    }
}

/// A transport on which no CONNECT comes is left alone.
#[derive(Debug)]
pub(super) struct PatientConnect;

impl Seams for PatientConnect {
    fn settings(&self, config: &mut Config) {
        config.connect_timeout = Duration::from_secs(60 * 60);
    }
}
