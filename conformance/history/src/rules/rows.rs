//! What an account has is its own: names that others use, too, and pairs that it may ask for.

use std::collections::HashMap;

use serde_json::Value;

use super::{Rule, bounded::Bounded};
use crate::{
    account::{Account, Accounts},
    finding::Findings,
    judge::Knowledge,
    requirement as r,
    requirement::Requirement,
    story::{Asked, Call, Happening, Moment},
};

pub(crate) static RULE: Rule = Rule {
    name: "history.rows",
    needs: Knowledge::Complete,
    text: "An account can use a machine's id and a key that another account uses: who posts a machine for the first \
           time is answered with what it posted, and who writes a key for the first time is not refused. An account \
           can read the access keys of its own sessions and machines, or null where there is none. Nothing is \
           stated before the next quiet point, since what is done at the same time may explain it.",
};

/// How many rows are remembered.
const ROWS: usize = 100_000;

#[derive(Debug)]
pub(crate) struct OwnRows {
    /// Since when an account has each session and machine; nothing of one that was deleted, since an answer
    /// that comes later may be of a time before that.
    own: Bounded<(Account, String), Option<u64>>,
    /// How often something was posted or written under a name: a machine's id, or a key.
    posted: Bounded<(Account, String), u32>,
    suspects: Vec<Suspect>,
}

/// What is wrong unless something else is found out.
#[derive(Debug)]
struct Suspect {
    account: Account,
    requirement: &'static Requirement,
    records: [u64; 2],
    text: String,
    /// Names under which nothing else was posted, and rows that were there when it began, and still are.
    alone: Vec<String>,
    there: Vec<String>,
    began: u64,
}

impl Default for OwnRows {
    fn default() -> Self {
        Self {
            own: Bounded::new(ROWS),
            posted: Bounded::new(ROWS),
            suspects: Vec::new(),
        }
    }
}

impl OwnRows {
    pub(crate) fn hear(
        &mut self,
        happening: &Happening<'_>,
        accounts: &Accounts,
        findings: &mut Findings,
    ) {
        match happening {
            Happening::Answered(call, answer, now) if call.event == "access-key-get" => {
                let account = accounts.root(call.connection.account);
                self.asked_key(call, account, answer, *now);
            }
            Happening::Called(call) if call.event.starts_with("machine-update-") => {
                let id = call.data["machineId"].as_str().unwrap_or_default();
                let account = accounts.root(call.connection.account);
                *self.posted.entry((account, id.to_owned()), || 0) += 1;
            }
            Happening::Asked(asked) => {
                if let Some(account) = asked.account {
                    self.asked(accounts.root(account), asked);
                }
            }
            Happening::Received(connection, "update", update, _)
                if update["body"]["t"] == "delete-machine" =>
            {
                let id = update["body"]["machineId"].as_str().unwrap_or_default();
                let account = accounts.root(connection.account);
                self.deleted(account, id);
            }
            Happening::Quiet(_) => self.settle(findings),
            _ => {}
        }
    }

    fn asked_key(&mut self, call: &Call, account: Account, answer: &Value, now: Moment) {
        let id = |key: &str| call.data[key].as_str().unwrap_or_default().to_owned();
        let there = vec![id("sessionId"), id("machineId")];
        if answer["ok"] == false {
            self.suspects.push(Suspect {
                account,
                requirement: &r::ACCESS_KEY_NONE,
                records: [call.began.record, now.record],
                text: "access-key-get of an account's own session and machine was refused."
                    .to_owned(),
                alone: Vec::new(),
                there,
                began: call.began.at,
            });
        }
    }

    fn asked(&mut self, account: Account, asked: &Asked<'_>) {
        let made = [asked.made_session(), asked.posted_machine()];
        for (_, id) in made.into_iter().flatten() {
            let since = Some(asked.ended.at);
            self.own.insert_new((account, id.to_owned()), since);
        }
        if let ("DELETE", Some(id)) = (asked.method, asked.path.strip_prefix("/v1/sessions/")) {
            self.deleted(account, id);
        }
        let (Some(request), "POST") = (&asked.exchange.request, asked.method) else {
            return;
        };
        match asked.path {
            "/v1/machines" => self.posted_machine(account, asked, request),
            "/v1/kv" => self.written(account, asked, request),
            _ => {}
        }
    }

    fn deleted(&mut self, account: Account, id: &str) {
        *self.own.entry((account, id.to_owned()), || None) = None;
    }

    fn posted_machine(&mut self, account: Account, asked: &Asked<'_>, request: &Value) {
        let Some(id) = request["id"].as_str() else {
            return;
        };
        *self.posted.entry((account, id.to_owned()), || 0) += 1;
        let answer = asked.exchange.response.as_ref();
        let Some(row) = answer
            .and_then(|answer| answer.get("machine"))
            .filter(|_| asked.is_done)
        else {
            return;
        };
        if row["id"] != request["id"] || row["metadata"] != request["metadata"] {
            self.suspects.push(Suspect {
                account,
                requirement: &r::MACHINE_TAKEN,
                records: [asked.ended.record; 2],
                text: format!("Who posted machine {id} was answered with another one."),
                alone: vec![id.to_owned()],
                there: Vec::new(),
                began: asked.began,
            });
        }
    }

    fn written(&mut self, account: Account, asked: &Asked<'_>, request: &Value) {
        let mutations = request["mutations"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        let keys = mutations.iter().filter_map(|one| one["key"].as_str());
        let keys: Vec<String> = keys.map(|key| format!("kv {key}")).collect();
        let mut times: HashMap<&str, u32> = HashMap::new();
        for key in &keys {
            *times.entry(key).or_default() += 1;
            *self.posted.entry((account, key.clone()), || 0) += 1;
        }
        let is_new = mutations.iter().all(|one| one["version"] == -1);
        let is_simple = times.values().all(|times| *times == 1);
        if asked.exchange.status == Some(409) && is_new && is_simple && !keys.is_empty() {
            self.suspects.push(Suspect {
                account,
                requirement: &r::KV_KEYS,
                records: [asked.ended.record; 2],
                text: "A key was refused that the account had never written.".to_owned(),
                alone: keys,
                there: Vec::new(),
                began: asked.began,
            });
        }
    }

    fn settle(&mut self, findings: &mut Findings) {
        for suspect in std::mem::take(&mut self.suspects) {
            let key = |name: &String| (suspect.account, name.clone());
            let is_alone = |name| self.posted.get(&key(name)) == Some(&1);
            let is_there = |name| {
                let since = self.own.get(&key(name)).copied().flatten();
                since.is_some_and(|since| since < suspect.began)
            };
            if suspect.alone.iter().all(is_alone)
                && suspect.there.iter().all(is_there)
                && !self.posted.has_forgotten()
            {
                findings.add(
                    RULE.name,
                    suspect.requirement,
                    suspect.records,
                    suspect.text.clone(),
                );
            }
        }
    }
}
