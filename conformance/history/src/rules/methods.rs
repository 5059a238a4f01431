//! Who has registered a method: who asked is told so, and who surely has it is called.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

use super::bounded::Bounded;
use crate::{
    account::Account,
    finding::Findings,
    requirement as r,
    requirement::Requirement,
    story::{Call, Connection, Moment, Scope},
};

/// The name of the rule that all of it is found by.
pub(super) const NAME: &str = "history.rpc";
/// How many methods are remembered.
const METHODS: usize = 100_000;
/// After how long no server still takes somebody for connected who has disconnected.
const LEAVING: u64 = 2_000_000;

type Key = (Account, String);

#[derive(Debug)]
pub(super) struct Methods {
    methods: Bounded<Key, Method>,
    /// What each connection asked for, and how that was refused.
    asked: HashMap<u64, Asked>,
    /// Who half-closed or stopped reading, say: what reaches them is not judged any more.
    faded: Bounded<u64, ()>,
    /// Calls that were refused although somebody has the method, as far as is known.
    suspects: Vec<Suspect>,
}

impl Default for Methods {
    fn default() -> Self {
        Self {
            methods: Bounded::new(METHODS),
            asked: HashMap::new(),
            faded: Bounded::new(METHODS),
            suspects: Vec::new(),
        }
    }
}

#[derive(Debug)]
struct Asked {
    name: String,
    account: Account,
    is_plain_user: bool,
    /// The methods that it asked for.
    methods: BTreeMap<String, Awaited>,
    /// How many errors it was told.
    errors: u64,
    /// Whether it asked for something that is no text.
    is_odd: bool,
}

/// The first notices of a method that a connection waits for.
#[derive(Debug, Default)]
struct Awaited {
    registered: Notice,
    unregistered: Notice,
}

#[derive(Debug, Default)]
enum Notice {
    #[default]
    Unasked,
    /// By the record of the first question.
    Asked(u64),
    Told,
}

impl Notice {
    fn ask(&mut self, record: u64) {
        if let Self::Unasked = self {
            *self = Self::Asked(record);
        }
    }

    /// The question that was never answered. It is told once.
    fn settle(&mut self) -> Option<u64> {
        match std::mem::replace(self, Self::Told) {
            Self::Asked(record) => Some(record),
            other => {
                *self = other;
                None
            }
        }
    }
}

/// Who asked for a method.
#[derive(Debug, Default)]
struct Method {
    askers: HashMap<u64, Asker>,
    /// When the last registrant has left that may have had it.
    left: Option<u64>,
    keeper: Option<Keeper>,
}

#[derive(Debug, Default)]
struct Asker {
    /// When it asked to register the method last.
    asked: Option<Moment>,
    told: Option<Moment>,
    /// How often it asked for each without an answer so far.
    registering: u64,
    unregistering: u64,
    is_registered: bool,
    /// Since when it has not registered it any more, whatever it asked for before.
    gone: Option<Moment>,
}

impl Asker {
    fn is_out_since(&self, at: u64) -> bool {
        self.asked.is_none() || self.gone.is_some_and(|gone| gone.at < at)
    }
}

/// Whose a method surely is.
#[derive(Debug, Clone, Copy)]
struct Keeper {
    connection: u64,
    since: Moment,
    /// Where another connection has unregistered it since then.
    stranger: Option<u64>,
}

#[derive(Debug)]
struct Suspect {
    keeper: u64,
    requirement: &'static Requirement,
    records: [u64; 4],
    text: String,
}

impl Methods {
    pub(super) fn called(&mut self, call: &Call, account: Account) {
        let is_register = match call.event.as_str() {
            "rpc-register" => true,
            "rpc-unregister" => false,
            _ => return,
        };
        let connection = &call.connection;
        let number = connection.number;
        // Who does not listen any more may go on to ask.
        if self.faded.get(&number).is_some() {
            return;
        }
        let asked = self.asked.entry(number).or_insert_with(|| Asked {
            name: connection.name.clone(),
            account,
            is_plain_user: connection.scope == Scope::User && !connection.has_surplus,
            methods: BTreeMap::new(),
            errors: 0,
            is_odd: false,
        });
        let Some(name) = call.data["method"].as_str().filter(|name| !name.is_empty()) else {
            asked.is_odd = true;
            return;
        };
        let awaited = asked.methods.entry(name.to_owned()).or_default();
        let method = self
            .methods
            .entry((account, name.to_owned()), Method::default);
        let keeps = |keeper: &Keeper| keeper.connection == number;
        let asker = method.askers.entry(number).or_default();
        if is_register {
            if !call.is_early {
                awaited.registered.ask(call.began.record);
            }
            asker.registering += 1;
            (asker.asked, asker.is_registered, asker.gone) = (Some(call.began), true, None);
            method.keeper = method.keeper.filter(keeps);
        } else {
            if !call.is_early {
                awaited.unregistered.ask(call.began.record);
            }
            asker.unregistering += 1;
            asker.is_registered = false;
            method.keeper = method.keeper.filter(|keeper| !keeps(keeper));
            if let Some(keeper) = &mut method.keeper {
                keeper.stranger = Some(call.began.record);
            }
        }
    }

    /// A connection is told that it has registered a method, or not any more.
    pub(super) fn told(
        &mut self,
        connection: &Connection,
        event: &str,
        data: &Value,
        now: Moment,
        findings: &mut Findings,
    ) {
        let number = connection.number;
        let Some(name) = data["method"].as_str() else {
            return;
        };
        let asked = self.asked.get_mut(&number);
        let is_odd = asked.as_ref().is_some_and(|asked| asked.is_odd);
        let awaited = asked.and_then(|asked| {
            let awaited = asked.methods.get_mut(name)?;
            Some((awaited, (asked.account, name.to_owned())))
        });
        let Some((awaited, key)) = awaited else {
            if !is_odd && self.faded.get(&number).is_none() {
                let text = format!(
                    "{} received {event} of {name}, for which it had never asked.",
                    connection.name
                );
                findings.add(NAME, &r::RPC_PRIVATE, [now.record], text);
            }
            return;
        };
        let is_register = event == "rpc-registered";
        match is_register {
            true => awaited.registered = Notice::Told,
            false => awaited.unregistered = Notice::Told,
        }
        let Some(method) = self.methods.get_mut(&key) else {
            return;
        };
        let Some(asker) = method.askers.get_mut(&number) else {
            return;
        };
        if !is_register {
            asker.unregistering = asker.unregistering.saturating_sub(1);
            // It may be the answer to what came before it registered the method again.
            if !asker.is_registered && asker.unregistering == 0 {
                asker.gone = Some(now);
            }
            return;
        }
        asker.registering = asker.registering.saturating_sub(1);
        asker.told = Some(now);
        let (Some(since), true) = (
            asker.asked,
            asker.registering == 0 && asker.unregistering == 0 && asker.is_registered,
        ) else {
            return;
        };
        let mut others = method.askers.iter().filter(|(other, _)| **other != number);
        let is_alone = others.all(|(_, other)| other.is_out_since(since.at))
            && method
                .left
                .is_none_or(|left| left.saturating_add(LEAVING) < since.at);
        if is_alone && method.keeper.is_none() {
            method.keeper = Some(Keeper {
                connection: number,
                since: now,
                stranger: None,
            });
        }
    }

    /// A connection was told that something could not be registered, or unregistered.
    pub(super) fn was_refused(&mut self, number: u64) {
        if let Some(asked) = self.asked.get_mut(&number) {
            asked.errors += 1;
        }
    }

    /// A connection has received a call that was the only one of its kind, and began then.
    pub(super) fn requested(
        &mut self,
        account: Account,
        name: &str,
        number: u64,
        [call, now]: [Moment; 2],
    ) {
        let Some(method) = self.methods.get_mut(&(account, name.to_owned())) else {
            return;
        };
        let is_settled = method.askers.iter().all(|(other, asker)| {
            if *other == number {
                asker.is_registered && asker.unregistering == 0
            } else {
                // Whoever asked later may have it by now.
                asker.asked.is_none()
                    || asker.registering == 0 && asker.told.is_some_and(|told| told.at < call.at)
            }
        });
        if is_settled && method.askers.contains_key(&number) && method.keeper.is_none() {
            method.keeper = Some(Keeper {
                connection: number,
                since: now,
                stranger: None,
            });
        }
    }

    /// Since when a connection has not registered a method any more.
    pub(super) fn gone(&self, account: Account, name: &str, number: u64) -> Option<Moment> {
        let method = self.methods.get(&(account, name.to_owned()))?;
        method.askers.get(&number)?.gone
    }

    /// A call was refused that no callee has received.
    pub(super) fn refused(&mut self, call: &Call, account: Account, now: Moment) {
        let Some(name) = call.data["method"].as_str() else {
            return;
        };
        let Some(keeper) = self
            .methods
            .get(&(account, name.to_owned()))
            .and_then(|method| method.keeper)
        else {
            return;
        };
        if keeper.connection == call.connection.number || keeper.since.at >= call.began.at {
            return;
        }
        let (requirement, text) = match keeper.stranger {
            Some(_) => (
                &r::RPC_STRANGER,
                format!(
                    "A call of {name} was refused, although its registrant was there: another \
                     connection had unregistered the method."
                ),
            ),
            None => (
                &r::RPC_CALLABLE,
                format!("A call of {name} was refused, although its registrant was there."),
            ),
        };
        self.suspects.push(Suspect {
            keeper: keeper.connection,
            requirement,
            records: [
                keeper.since.record,
                keeper.stranger.unwrap_or(0),
                call.began.record,
                now.record,
            ],
            text,
        });
    }

    /// A call was refused that this callee had answered at once, unless that has left.
    pub(super) fn refused_answered(&mut self, callee: u64, name: &str, [call, now]: [u64; 2]) {
        if self.faded.get(&callee).is_none() {
            self.suspects.push(Suspect {
                keeper: callee,
                requirement: &r::RPC_OWN_RESULT,
                records: [0, 0, call, now],
                text: format!(
                    "A call of {name} was refused, although its callee had answered at once."
                ),
            });
        }
    }

    /// A connection has left, by a packet of its own or one to it, or otherwise.
    pub(super) fn faded(&mut self, number: u64, left: Option<Moment>) {
        self.faded.insert_new(number, ());
        // Its end may have been seen by the server before it was recorded here.
        self.suspects.retain(|suspect| suspect.keeper != number);
        let Some(asked) = self.asked.remove(&number) else {
            return;
        };
        for name in asked.methods.into_keys() {
            let Some(method) = self.methods.get_mut(&(asked.account, name)) else {
                continue;
            };
            method.keeper = method.keeper.filter(|keeper| keeper.connection != number);
            if let Some(asker) = method.askers.remove(&number)
                && asker.asked.is_some()
                && asker.gone.is_none()
            {
                let at = left.map_or(u64::MAX, |left| left.at);
                method.left = method.left.max(Some(at));
            }
        }
    }

    /// States what nothing that came later has explained.
    pub(super) fn settle(&mut self, findings: &mut Findings) {
        for suspect in self.suspects.drain(..) {
            findings.add(NAME, suspect.requirement, suspect.records, suspect.text);
        }
    }

    /// Whatever was asked for has been answered by now, but for accounts of which not everything can be read.
    pub(super) fn quiet(&mut self, now: u64, unclear: &HashSet<Account>, findings: &mut Findings) {
        let clear = |(_, asked): &(&u64, &mut Asked)| !unclear.contains(&asked.account);
        let mut all: Vec<_> = self.asked.iter_mut().filter(clear).collect();
        all.sort_unstable_by_key(|(number, _)| **number);
        for (number, asked) in all {
            let (errors, is_odd) = (std::mem::take(&mut asked.errors), asked.is_odd);
            for (name, awaited) in &mut asked.methods {
                let (registered, unregistered) =
                    (awaited.registered.settle(), awaited.unregistered.settle());
                let is_alone = || {
                    let method = self.methods.get(&(asked.account, name.clone()));
                    method.is_some_and(|method| {
                        method.left.is_none() && method.askers.keys().all(|other| other == number)
                    })
                };
                let who = &asked.name;
                let mut add = |requirement, record: u64, text: String| {
                    findings.add(NAME, requirement, [record, now], text);
                };
                if let Some(record) = unregistered.filter(|_| errors == 0) {
                    let text = format!("{who} was never told that it unregistered {name}.");
                    add(&r::RPC_UNREGISTERED_TOLD, record, text);
                }
                match registered {
                    Some(record) if errors == 0 => {
                        let text = format!("{who} was never told that it registered {name}.");
                        add(&r::RPC_REGISTERED, record, text);
                    }
                    // Why somebody else's method or an odd scope is refused is the server's business.
                    Some(record) if asked.is_plain_user && !is_odd && is_alone() => {
                        let text = format!("{who} was refused to register {name}.");
                        add(&r::RPC_NAMES, record, text);
                    }
                    _ => {}
                }
            }
        }
    }
}
