//! What looks wrong about what is seen, while it is seen.
//!
//! What breaks a requirement is for the judge to say, as far as it can of a history that is not finished
//! and does not show everything. Besides its violations there are hints for a person who watches.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Value, json};
use touchstone_client::{
    Args, Direction,
    trace::{Kind, Record, Traced},
};
use touchstone_fixtures::broadcast;
use touchstone_history::{Judge, Knowledge};

use crate::event::{Lint, MISROUTED, UNKNOWN_TYPE};
use crate::source::recent::Recent;

/// Looks at each record that is seen and says what is wrong with it.
pub type Inspect = Box<dyn FnMut(&Record) -> Vec<Lint> + Send>;

/// How many accounts of a router are remembered.
const ACCOUNTS: usize = 10_000;
/// How many types are told to be unknown: beyond that, a server makes names up.
const UNKNOWN: usize = 200;

/// What the judge says of each record.
pub(crate) fn judged() -> Inspect {
    let mut judge = Judge::new(Knowledge::Partial);
    Box::new(move |record| lints(&mut judge, record))
}

fn lints(judge: &mut Judge, record: &Record) -> Vec<Lint> {
    judge.hear(record).iter().map(Lint::from).collect()
}

/// Judges what a router decides to send, as if one connection of each account got all of it.
#[derive(Debug)]
pub(crate) struct Decided {
    judge: Judge,
    accounts: Recent<Arc<str>, ()>,
}

impl Default for Decided {
    fn default() -> Self {
        Self {
            judge: Judge::new(Knowledge::Partial),
            accounts: Recent::new(ACCOUNTS),
        }
    }
}

impl Decided {
    /// What is wrong with this event of an account.
    pub(crate) fn see(
        &mut self,
        t_us: u64,
        account: &Arc<str>,
        name: &str,
        payload: &Value,
    ) -> Vec<Lint> {
        let mut hear = |direction, packet| {
            let record = Record {
                t_us,
                conn: account.to_string(),
                kind: Kind::Packet(direction, packet),
                recipients: None,
            };
            lints(&mut self.judge, &record)
        };
        if self.accounts.put(account, ()).is_none() {
            let auth = json!({"clientType": "user-scoped"});
            hear(Direction::Sent, Traced::Connect(auth));
            hear(Direction::Received, Traced::Connect(Value::Null));
        }
        let event = Traced::Event {
            name: name.to_owned(),
            args: Args::from(payload),
            ack: None,
            attachments: 0,
        };
        hear(Direction::Received, event)
    }
}

/// Whether the router used another filter than the contract has for the type. Test harnesses that emit
/// through the control extension choose theirs, and are linted too.
pub(crate) fn of_filter(event: &str, filter: &str) -> Option<Lint> {
    let usual = broadcast(event)?.filter.as_str();
    let text = format!("{event} is for {usual}, and was sent to {filter}");
    (usual != filter).then(|| Lint::hint(MISROUTED, text))
}

/// The types that were said to be unknown: newer servers send more than is listed.
#[derive(Debug, Default)]
pub(crate) struct Unknown {
    said: HashSet<Box<str>>,
}

impl Unknown {
    /// Says of a type that the specification does not list it, once.
    pub(crate) fn say(&mut self, name: &str) -> Option<Lint> {
        let is_new = self.said.len() < UNKNOWN && self.said.insert(name.into());
        is_new.then(|| {
            let text = format!("{name} is no type of the specification");
            Lint::hint(UNKNOWN_TYPE, text)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_is_judged_by_what_it_decides() {
        let update = |id: &str, body: Value| json!({"id": id, "seq": 1, "createdAt": 1_800_000_000_000_u64, "body": body});
        let mut decided = Decided::default();
        let mut see = |account: &str, payload: &Value| -> Vec<_> {
            let lints = decided.see(0, &account.into(), "update", payload);
            lints.iter().map(Lint::title).collect()
        };
        let right = update("u1", json!({"t": "delete-session", "sid": "s"}));
        assert_eq!(see("c1", &right), [""; 0]);
        assert_eq!(see("c2", &right), [""; 0]);
        assert_eq!(see("c1", &right), ["MUST delivery.no-duplicate"]);
        let bent = update("u2", json!({"t": "delete-session", "id": "s"}));
        assert_eq!(see("c1", &bent), ["SHOULD delete-session.keys"]);
    }

    #[test]
    fn hints() {
        let told = of_filter("new-message", "user-scoped-only").map(|lint| lint.to_string());
        assert_eq!(
            told.as_deref(),
            Some(
                "misrouted: new-message is for all-interested-in-session, and was sent to user-scoped-only"
            )
        );
        assert_eq!(of_filter("new-message", "all-interested-in-session"), None);
        assert_eq!(of_filter("shiny", "user-scoped-only"), None);
        let mut unknown = Unknown::default();
        let said = unknown.say("shiny").map(|lint| lint.to_string());
        assert_eq!(
            said.as_deref(),
            Some("unknown-type: shiny is no type of the specification")
        );
        assert_eq!(unknown.say("shiny"), None);
    }
}
