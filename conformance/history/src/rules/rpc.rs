//! RPC: each request is one call's, and each answer is the one that this call's callee gave.

use std::{collections::HashSet, time::Duration};

use serde_json::{Map, Value};

use super::{
    Rule,
    bounded::Bounded,
    methods::{Methods, NAME},
};
use crate::{
    account::{Account, Accounts},
    finding::Findings,
    judge::Knowledge,
    print::{print, prints},
    requirement as r,
    requirement::Requirement,
    story::{Call, Happening, Moment, Request},
};

pub(crate) static RULE: Rule = Rule {
    name: NAME,
    needs: Knowledge::Complete,
    text: "Each rpc-request has the method and params of a call of the same account, and there are no more \
           requests than calls. A call goes to another connection than its caller, and to none that had \
           unregistered the method before it was made. A result is one that a callee of this call gave. A call is not \
           refused whose callee answers within a second, nor one of a method that somebody surely has who stays: who \
           was told that it registered the method when nobody else had it, or received the last call of it. Whoever \
           registers or unregisters a method is told so before the next quiet point, and nobody else is.",
};

/// How many calls are remembered, over all accounts.
const CALLS: usize = 200_000;
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
    /// Who registered a method.
    registered: Methods,
    /// Results that some callee gave.
    results: Bounded<Key, u64>,
    /// Accounts of which not every call or reply can be read.
    unclear: HashSet<Account>,
    /// What an answer of a callee takes at most that the server is not too late for, in microseconds.
    prompt: u64,
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
    /// The callee that answered so soon that no time-out was near.
    prompt: Option<u64>,
    /// Where it was refused before that.
    refused: Option<[u64; 2]>,
}

impl Default for Rpc {
    fn default() -> Self {
        Self {
            calls: Bounded::new(CALLS),
            anywhere: Bounded::new(CALLS),
            methods: Bounded::new(CALLS),
            registered: Methods::default(),
            results: Bounded::new(CALLS),
            unclear: HashSet::new(),
            prompt: PROMPT,
        }
    }
}

/// What a call and the request that it becomes have in common: the method with the params.
pub(super) fn key(data: &Value) -> u64 {
    let params = data.get("params").unwrap_or(&Value::Null);
    prints(&[&data["method"], params])
}

impl Rpc {
    /// How long the server lets a callee be silent, where that is known.
    pub(crate) fn waits(&mut self, time: Duration) {
        let half = u64::try_from(time.as_micros() / 2).unwrap_or(u64::MAX);
        self.prompt = PROMPT.min(half);
    }

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
            Happening::Received(
                connection,
                event @ ("rpc-registered" | "rpc-unregistered"),
                data,
                now,
            ) if !self.unclear.contains(&accounts.root(connection.account)) => {
                self.registered
                    .told(connection, event, data, *now, findings);
            }
            Happening::Received(connection, "rpc-error", ..) => {
                self.registered.was_refused(connection.number);
            }
            Happening::Requested(request) => {
                let account = accounts.root(request.connection.account);
                if accounts.is_known(account) && !self.unclear.contains(&account) {
                    self.requested(request, account, accounts, findings);
                }
            }
            Happening::Replied(request, reply, now) => {
                let account = accounts.root(request.connection.account);
                self.replied(request, account, *reply, *now, findings);
            }
            Happening::Answered(call, answer, now) if call.event == "rpc-call" => {
                let account = accounts.root(call.connection.account);
                if accounts.is_known(account) && !self.unclear.contains(&account) {
                    self.answered(call, account, answer, *now, findings);
                }
            }
            Happening::Faded(connection, left) => {
                self.registered.faded(connection.number, *left);
            }
            Happening::Quiet(now) => {
                self.registered.quiet(now.record, &self.unclear, findings);
                self.registered.settle(findings);
            }
            _ => {}
        }
    }

    /// States what nothing that came later has explained.
    pub(crate) fn settle(&mut self, findings: &mut Findings) {
        self.registered.settle(findings);
    }

    fn called(&mut self, call: &Call, account: Account) {
        let method = &call.data["method"];
        if call.event != "rpc-call" {
            return self.registered.called(call, account);
        }
        if method.is_string() {
            let key = key(&call.data);
            let record = call.began.record;
            self.anywhere.insert_new(key, (account, record));
            self.methods.insert_new((account, print(method)), record);
            let flight = self.calls.entry((account, key), Flight::default);
            flight.calls += 1;
            flight.callers.insert(call.connection.number);
            flight.last_call = Some(call.began);
        }
    }

    fn replied(
        &mut self,
        request: &Request,
        account: Account,
        reply: Option<&Value>,
        now: Moment,
        findings: &mut Findings,
    ) {
        let Some(flight) = self.calls.get_mut(&(account, key(&request.data))) else {
            return;
        };
        let prompt = self.prompt;
        let is_prompt = |since: Moment| now.at.saturating_sub(since.at) < prompt;
        if is_prompt(request.began) {
            flight.prompt = Some(request.connection.number);
        }
        if let Some(records) = flight.refused
            && flight.calls == 1
            && flight.last_call.is_some_and(is_prompt)
        {
            let method = request.data["method"].as_str().unwrap_or("?");
            let text = format!(
                "A call of {method} was refused before its callee answered, which it did soon."
            );
            findings.add(RULE.name, &r::RPC_SILENT, records, text);
        }
        match reply {
            Some(reply) => {
                let reply = print(reply);
                flight.replies.insert(reply);
                self.results.insert_new((account, reply), now.record);
            }
            None => flight.has_unclear_reply = true,
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
        let mut add = |requirement: &'static Requirement, other: u64, text: String| {
            findings.add(RULE.name, requirement, [other, request.began.record], text);
        };
        let is_more = |key: &String| !["method", "params"].contains(&key.as_str());
        let mut keys = request.data.as_object().into_iter().flat_map(Map::keys);
        if let Some(more) = keys.find(|key| is_more(key)) {
            let text = format!("{name} received a call of {method} with {more:?} besides.");
            add(&r::RPC_ALONE, 0, text);
        }
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
        let Some(call) = flight.last_call.filter(|_| flight.calls == 1) else {
            return;
        };
        if let Some(gone) = self.registered.gone(account, method, number)
            && gone.at < call.at
        {
            let text = format!(
                "{name} received a call of {method}, which it had unregistered before the call was made."
            );
            add(&r::RPC_UNREGISTERED, gone.record, text);
        }
        let now = request.began;
        self.registered
            .requested(account, method, number, [call, now]);
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
            return self.refused(call, account, now);
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
    fn refused(&mut self, call: &Call, account: Account, now: Moment) {
        let Some(flight) = self.calls.get_mut(&(account, key(&call.data))) else {
            return;
        };
        let records = [call.began.record, now.record];
        if let Some(callee) = flight.prompt.filter(|_| flight.calls == 1) {
            let method = call.data["method"].as_str().unwrap_or("?");
            return self.registered.refused_answered(callee, method, records);
        }
        flight.refused = Some(records);
        if flight.requests == 0 {
            self.registered.refused(call, account, now);
        }
    }
}
