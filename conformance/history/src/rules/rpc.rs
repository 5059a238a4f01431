//! RPC: each request is one call's, and each answer is the one that this call's callee gave.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{Rule, bounded::Bounded};
use crate::{
    account::{Account, Accounts},
    finding::Findings,
    judge::Knowledge,
    print::{print, prints},
    requirement as r,
    story::{Call, Happening, Moment, Request},
};

pub(crate) static RULE: Rule = Rule {
    name: "history.rpc",
    needs: Knowledge::Complete,
    text: "Each rpc-request has the method and params of a call of the same account, and there are no more \
           requests than calls. A call goes to another connection than its caller, and to none that had \
           unregistered the method before it was made. A result is one that a callee of this call gave. A call is not \
           refused whose callee answers within a second, nor one of a method whose only registrant stays.",
};

/// How many calls are remembered, over all accounts.
const CALLS: usize = 200_000;

/// How many methods are.
const METHODS: usize = 100_000;
/// What an answer of a callee takes at most that no server is too late for.
const PROMPT: u64 = 1_000_000;

/// A method with params.
type Key = (Account, u64);

#[derive(Debug)]
pub(crate) struct Rpc {
    calls: Bounded<Key, Flight>,
    /// The same, whoever called: to tell a call of another account from one that nobody made.
    anywhere: Bounded<u64, (Account, u64)>,
    /// The same for the method alone.
    methods: Bounded<Key, u64>,
    /// What a connection asked for of a method.
    wishes: HashMap<(u64, String), Wish>,
    /// Results that some callee gave.
    results: Bounded<Key, u64>,
    /// Accounts of which not every call or reply can be read.
    unclear: HashSet<Account>,
    /// Who registered a method.
    registrants: Bounded<(Account, String), Registrants>,
}

/// What a connection asked for of a method, last and until now.
#[derive(Debug, Default)]
struct Wish {
    is_registered: bool,
    /// How often it unregistered it without an answer so far.
    leaving: u64,
    /// Since when it has not registered it any more, whatever it asked for before.
    gone: Option<Moment>,
}

/// Who registered a method.
#[derive(Debug, Default)]
struct Registrants {
    /// Every connection that ever asked for it.
    asked: HashSet<u64>,
    /// Since when the last of them was told that it has it.
    since: Option<Moment>,
    /// Whether one of them left, or somebody unregistered it: it may be gone.
    may_be_gone: bool,
}

/// The calls of one method with the same params.
#[derive(Debug, Default)]
struct Flight {
    calls: u64,
    callers: HashSet<u64>,
    last_call: Option<Moment>,
    requests: u64,
    replies: HashSet<u64>,
    has_unclear_reply: bool,
    /// Whether a callee answered so soon that no time-out was near.
    is_prompt: bool,
}

impl Default for Rpc {
    fn default() -> Self {
        Self {
            calls: Bounded::new(CALLS),
            anywhere: Bounded::new(CALLS),
            methods: Bounded::new(CALLS),
            wishes: HashMap::new(),
            results: Bounded::new(CALLS),
            unclear: HashSet::new(),
            registrants: Bounded::new(METHODS),
        }
    }
}

/// What a call and the request that it becomes have in common: the method with the params.
pub(super) fn key(data: &Value) -> u64 {
    let params = data.get("params").unwrap_or(&Value::Null);
    prints(&[&data["method"], params])
}

impl Rpc {
    pub(crate) fn hear(
        &mut self,
        happening: &Happening<'_>,
        accounts: &Accounts,
        findings: &mut Findings,
    ) {
        match happening {
            Happening::Unclear(connection) => {
                self.unclear.insert(accounts.root(connection.account));
            }
            Happening::Called(call) => self.called(call, accounts.root(call.connection.account)),
            Happening::Received(connection, "rpc-registered", data, now) => {
                let account = accounts.root(connection.account);
                if let Some(method) = data["method"].as_str()
                    && let Some(of_method) = self.registrants.get_mut(&(account, method.to_owned()))
                {
                    of_method.since.get_or_insert(*now);
                }
            }
            Happening::Received(connection, "rpc-unregistered", data, now) => {
                if let Some(method) = data["method"].as_str() {
                    let key = (connection.number, method.to_owned());
                    let wish = self.wishes.entry(key).or_default();
                    wish.leaving = wish.leaving.saturating_sub(1);
                    // It may be the answer to what came before it registered the method again.
                    if !wish.is_registered && wish.leaving == 0 {
                        wish.gone = Some(*now);
                    }
                }
            }
            Happening::Requested(request) => {
                let account = accounts.root(request.connection.account);
                if accounts.is_known(account) && !self.unclear.contains(&account) {
                    self.requested(request, account, accounts, findings);
                }
            }
            Happening::Replied(request, reply, now) => {
                let account = accounts.root(request.connection.account);
                let mut flight = self.calls.get_mut(&(account, key(&request.data)));
                if let Some(flight) = &mut flight {
                    flight.is_prompt |= now.at.saturating_sub(request.began.at) < PROMPT;
                }
                match (flight, reply) {
                    (Some(flight), Some(reply)) => {
                        let reply = print(reply);
                        flight.replies.insert(reply);
                        self.results.insert_new((account, reply), now.record);
                    }
                    (Some(flight), None) => flight.has_unclear_reply = true,
                    (None, _) => {}
                }
            }
            Happening::Answered(call, answer, now) if call.event == "rpc-call" => {
                let account = accounts.root(call.connection.account);
                if accounts.is_known(account) && !self.unclear.contains(&account) {
                    self.answered(call, account, answer, *now, findings);
                }
            }
            Happening::Faded(connection) => {
                self.registrants.each(|of_method| {
                    of_method.may_be_gone |= of_method.asked.contains(&connection.number);
                });
                self.wishes
                    .retain(|(number, _), _| *number != connection.number);
            }
            _ => {}
        }
    }

    fn called(&mut self, call: &Call, account: Account) {
        let method = &call.data["method"];
        match call.event.as_str() {
            "rpc-unregister" => {
                if let Some(method) = method.as_str() {
                    let key = (call.connection.number, method.to_owned());
                    let wish = self.wishes.entry(key).or_default();
                    (wish.is_registered, wish.leaving) = (false, wish.leaving + 1);
                    let key = (account, method.to_owned());
                    if let Some(of_method) = self.registrants.get_mut(&key) {
                        of_method.may_be_gone = true;
                    }
                }
            }
            "rpc-register" => {
                if let Some(method) = method.as_str() {
                    let key = (account, method.to_owned());
                    let of_method = self.registrants.entry(key, Registrants::default);
                    of_method.asked.insert(call.connection.number);
                    let key = (call.connection.number, method.to_owned());
                    let wish = self.wishes.entry(key).or_default();
                    (wish.is_registered, wish.gone) = (true, None);
                }
            }
            "rpc-call" if method.is_string() => {
                let key = key(&call.data);
                let record = call.began.record;
                self.anywhere.insert_new(key, (account, record));
                self.methods.insert_new((account, print(method)), record);
                let flight = self.calls.entry((account, key), Flight::default);
                flight.calls += 1;
                flight.callers.insert(call.connection.number);
                flight.last_call = Some(call.began);
            }
            _ => {}
        }
    }

    fn requested(
        &mut self,
        request: &Request,
        account: Account,
        accounts: &Accounts,
        findings: &mut Findings,
    ) {
        let name = &request.connection.name;
        let method = request.data["method"].as_str().unwrap_or("?");
        let key = key(&request.data);
        let mut add = |requirement, other, text| {
            findings.add(RULE.name, requirement, [other, request.began.record], text);
        };
        let Some(flight) = self.calls.get_mut(&(account, key)) else {
            if let Some((caller, record)) = self.anywhere.get(&key) {
                if !accounts.are_surely_two(*caller, account) {
                    return;
                }
                let text = format!("{name} received a call of {method} that another account made.");
                return add(&r::RPC_ACCOUNT, *record, text);
            }
            // Its call may be among those that were forgotten.
            if self.calls.has_forgotten() {
                return;
            }
            if let Some(record) = self.methods.get(&(account, print(&request.data["method"]))) {
                let text =
                    format!("{name} received a call of {method} with params that nobody sent.");
                return add(&r::RPC_PARAMS, *record, text);
            }
            let text = format!("{name} received a call of {method} that nobody made.");
            return add(&r::RPC_REQUEST, 0, text);
        };
        let made = flight.last_call.map_or(0, |call| call.record);
        flight.requests += 1;
        if flight.requests > flight.calls {
            let text = format!(
                "Callees received {} requests for {method} with these params, which was called {} times.",
                flight.requests, flight.calls
            );
            return add(&r::RPC_REQUEST, made, text);
        }
        let number = request.connection.number;
        if flight.callers.iter().all(|caller| *caller == number) {
            let text = format!("{name} received its own call of {method}.");
            return add(&r::RPC_ITSELF, made, text);
        }
        if let (Some(gone), Some(call)) = (
            self.wishes
                .get(&(number, method.to_owned()))
                .and_then(|wish| wish.gone),
            flight.last_call,
        ) && flight.calls == 1
            && gone.at < call.at
        {
            let text = format!(
                "{name} received a call of {method}, which it had unregistered before the call was made."
            );
            add(&r::RPC_UNREGISTERED, gone.record, text);
        }
    }

    fn answered(
        &mut self,
        call: &Call,
        account: Account,
        answer: &Value,
        now: Moment,
        findings: &mut Findings,
    ) {
        if answer["ok"] == false {
            return self.refused(call, account, now, findings);
        }
        let (true, Some(result)) = (answer["ok"] == true, answer.get("result")) else {
            return;
        };
        let Some(flight) = self.calls.get(&(account, key(&call.data))) else {
            return;
        };
        let result = print(result);
        if flight.has_unclear_reply || flight.replies.contains(&result) {
            return;
        }
        let method = call.data["method"].as_str().unwrap_or("?");
        let other = self.results.get(&(account, result));
        let (requirement, words) = match other {
            Some(_) => (
                &r::RPC_OWN_RESULT,
                "a result that a callee gave to another call",
            ),
            None => (&r::RPC_RESULTS, "a result that no callee gave"),
        };
        let text = format!("A call of {method} was answered with {words}.");
        let records = [call.began.record, now.record, other.copied().unwrap_or(0)];
        findings.add(RULE.name, requirement, records, text);
    }

    /// A call was answered with an error.
    fn refused(&self, call: &Call, account: Account, now: Moment, findings: &mut Findings) {
        let (Some(method), Some(flight)) = (
            call.data["method"].as_str(),
            self.calls.get(&(account, key(&call.data))),
        ) else {
            return;
        };
        let records = [call.began.record, now.record];
        if flight.calls == 1 && flight.is_prompt {
            let text = format!(
                "A call of {method} was refused, although its callee had answered at once."
            );
            return findings.add(RULE.name, &r::RPC_OWN_RESULT, records, text);
        }
        let of_method = self.registrants.get(&(account, method.to_owned()));
        if let Some(of_method) = of_method
            && let Some(since) = of_method.since
            && !of_method.may_be_gone
            && of_method.asked.len() == 1
            && !of_method.asked.contains(&call.connection.number)
            && since.at < call.began.at
            && flight.requests == 0
        {
            let text =
                format!("A call of {method} was refused, although its registrant was there.");
            findings.add(
                RULE.name,
                &r::RPC_CALLABLE,
                [since.record, records[0], records[1]],
                text,
            );
        }
    }
}
