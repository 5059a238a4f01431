//! Whoever asks is answered.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use touchstone_fixtures::{Subject, subject_of};

use super::{Rule, bounded::Bounded, rpc, shapes::answer_of};
use crate::{
    account::{Account, Accounts},
    finding::Findings,
    judge::Knowledge,
    requirement as r,
    story::{Call, Happening},
};

pub(crate) static RULE: Rule = Rule {
    name: "history.answers",
    needs: Knowledge::Complete,
    text: "An event that has an answer, and asks for it, is answered before the next quiet point, as long as its \
           connection stays, and not twice. So is each rpc-call whose params are a text, or whose callee was asked.",
};

/// How many calls are remembered. Whoever waits longer waits for nothing.
const CALLS: usize = 200_000;
/// How many sessions are.
const SESSIONS: usize = 100_000;

#[derive(Debug)]
pub(crate) struct Answers {
    /// The calls without an answer, by connection and record.
    open: HashMap<u64, BTreeMap<u64, Arc<Call>>>,
    count: usize,
    /// Connections that stopped reading, say: they may send, and hear nothing.
    deaf: Bounded<u64, ()>,
    /// Sessions and machines that an account has made: of others it may be told anything.
    own: Bounded<(Account, String), ()>,
    /// Calls that a callee was asked for, and those that it answered, by account, method and params.
    requested: HashSet<(Account, u64)>,
    replied: HashSet<(Account, u64)>,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            open: HashMap::new(),
            count: 0,
            deaf: Bounded::new(CALLS),
            own: Bounded::new(SESSIONS),
            requested: HashSet::new(),
            replied: HashSet::new(),
        }
    }
}

impl Answers {
    pub(crate) fn hear(
        &mut self,
        happening: &Happening<'_>,
        accounts: &Accounts,
        findings: &mut Findings,
    ) {
        match happening {
            Happening::Called(call)
                if call.asks
                    && !call.is_early
                    && answer_of(&call.event).is_some()
                    && self.deaf.get(&call.connection.number).is_none() =>
            {
                self.count += 1;
                if self.count > CALLS {
                    self.forget();
                }
                let calls = self.open.entry(call.connection.number).or_default();
                calls.insert(call.began.record, Arc::clone(call));
            }
            Happening::Answered(call, ..) => {
                if let Some(calls) = self.open.get_mut(&call.connection.number) {
                    calls.remove(&call.began.record);
                }
            }
            Happening::AnsweredAgain(connection, now) => {
                let text = format!("{} was answered twice for one call.", connection.name);
                findings.add(RULE.name, &r::ANSWERED_ONCE, [now.record], text);
            }
            Happening::Faded(connection, _) => {
                self.deaf.insert_new(connection.number, ());
                self.open.remove(&connection.number);
            }
            // A server may ask callees for more than anybody called: nothing is kept of a flood.
            Happening::Requested(request) if self.requested.len() < CALLS => {
                let account = accounts.root(request.connection.account);
                self.requested.insert((account, rpc::key(&request.data)));
            }
            Happening::Replied(request, ..) if self.replied.len() < CALLS => {
                let account = accounts.root(request.connection.account);
                self.replied.insert((account, rpc::key(&request.data)));
            }
            Happening::Asked(asked) => {
                let made = [asked.made_session(), asked.posted_machine()];
                for (account, id) in made.into_iter().flatten() {
                    let key = (accounts.root(account), id.to_owned());
                    self.own.insert_new(key, ());
                }
            }
            Happening::Quiet(now) => {
                let mut open: Vec<_> = self.open.values().flat_map(BTreeMap::values).collect();
                open.sort_unstable_by_key(|call| call.began.record);
                for call in open {
                    self.unanswered(call, accounts, now.record, findings);
                }
                self.forget();
            }
            _ => {}
        }
    }

    fn unanswered(&self, call: &Call, accounts: &Accounts, now: u64, findings: &mut Findings) {
        let account = accounts.root(call.connection.account);
        let key = (account, rpc::key(&call.data));
        let is_foreign = |name: &str| {
            let id = call.data[name].as_str().unwrap_or_default().to_owned();
            self.own.get(&(account, id)).is_none()
        };
        let foreign = match subject_of(&call.event) {
            Some((Subject::Session, name)) if is_foreign(name) => Some(&r::UNKNOWN_ANSWERED),
            Some((Subject::Machine, name)) if is_foreign(name) => Some(&r::MACHINE_UNKNOWN),
            _ => None,
        };
        let requirement = match answer_of(&call.event) {
            Some(_) if let Some(requirement) = foreign => requirement,
            Some(_) if call.event == "rpc-call" => {
                if self.replied.contains(&key) {
                    &r::RPC_OWN_RESULT
                } else if self.requested.contains(&key) {
                    &r::RPC_SILENT
                } else if call.data["params"].is_string() {
                    &r::RPC_ANSWER
                } else {
                    // Servers whose clients encrypt what they send take nothing but texts.
                    return;
                }
            }
            Some(requirement) => requirement,
            None => return,
        };
        let text = format!(
            "{} of {} was never answered.",
            call.event, call.connection.name
        );
        findings.add(RULE.name, requirement, [call.began.record, now], text);
    }

    fn forget(&mut self) {
        self.open.clear();
        self.requested.clear();
        self.replied.clear();
        self.count = 0;
    }
}
