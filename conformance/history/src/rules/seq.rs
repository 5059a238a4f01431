//! The updates that one connection causes one after the other are numbered in that order.

use std::collections::HashMap;

use serde_json::Value;

use super::{
    Rule,
    bounded::Bounded,
    versioned::{Told, announced, writes},
};
use crate::{
    account::{Account, Accounts},
    finding::Findings,
    judge::Knowledge,
    print::{prints, whole},
    requirement as r,
    story::{Call, Happening, Moment},
};

pub(crate) static RULE: Rule = Rule {
    name: "history.seq",
    needs: Knowledge::Complete,
    text: "Of two changes or deletions that one connection makes one after the other, the second called after the first was \
           answered, the second has the higher seq.",
};

/// How many updates are remembered.
const UPDATES: usize = 100_000;

type Key = (Account, u64);

/// An update with its number.
#[derive(Debug, Clone, Copy)]
struct Numbered {
    seq: u64,
    record: u64,
    /// Whether there was another one of the same thing: what is made again can be deleted again.
    is_one_of_many: bool,
}

#[derive(Debug)]
pub(crate) struct Seqs {
    /// The update that announced a version, or a deletion.
    seqs: Bounded<Key, Numbered>,
    /// What each connection changed since the last quiet point: when it was called and answered.
    changes: HashMap<u64, Vec<(u64, u64, Key)>>,
    count: usize,
}

impl Default for Seqs {
    fn default() -> Self {
        Self {
            seqs: Bounded::new(UPDATES),
            changes: HashMap::new(),
            count: 0,
        }
    }
}

impl Seqs {
    pub(crate) fn hear(
        &mut self,
        happening: &Happening<'_>,
        accounts: &Accounts,
        findings: &mut Findings,
    ) {
        match happening {
            Happening::Answered(call, answer, now) => {
                let account = accounts.root(call.connection.account);
                if call.event == "artifact-delete" && answer["success"] == true {
                    self.change(call, *now, (account, deletion(&call.data["artifactId"])));
                }
                for write in writes(call, Some(answer)) {
                    // What can be made again has its versions again.
                    if let (Told::Success(version, _), false) =
                        (&write.told, write.part.can_come_again())
                    {
                        let key = (account, write.part.key(&write.id, *version));
                        self.change(call, *now, key);
                    }
                }
            }
            Happening::Received(connection, "update", update, now) => {
                let mut add = |key, seq| {
                    let numbered = Numbered {
                        seq,
                        record: now.record,
                        is_one_of_many: false,
                    };
                    let known = self.seqs.entry(key, || numbered);
                    known.is_one_of_many |= known.seq != seq;
                };
                let account = accounts.root(connection.account);
                let (Some(body), Some(seq)) = (update.get("body"), whole(update.get("seq"))) else {
                    return;
                };
                if body["t"]
                    .as_str()
                    .is_some_and(|name| name.starts_with("update-"))
                {
                    for seen in announced(body) {
                        let key = (account, seen.part.key(&seen.id, seen.version));
                        add(key, seq);
                    }
                } else if body["t"] == "delete-artifact" {
                    add((account, deletion(&body["artifactId"])), seq);
                }
            }
            Happening::Quiet(_) => {
                self.settle(findings);
                self.forget();
            }
            _ => {}
        }
    }

    fn change(&mut self, call: &Call, now: Moment, key: Key) {
        self.count += 1;
        if self.count > UPDATES {
            self.forget();
        }
        let changes = self.changes.entry(call.connection.number).or_default();
        changes.push((call.began.at, now.at, key));
    }

    /// Judges the changes since the last quiet point. What has not arrived yet is left out, and so is
    /// what was done several times: which of them an update announces is known when all have arrived.
    pub(crate) fn settle(&mut self, findings: &mut Findings) {
        let mut times: HashMap<Key, u32> = HashMap::new();
        for (.., key) in self.changes.values().flatten() {
            *times.entry(*key).or_default() += 1;
        }
        let mut connections: Vec<_> = self.changes.iter().collect();
        connections.sort_unstable_by_key(|(number, _)| **number);
        for (_, changes) in connections {
            let mut last: Option<(u64, u64, u64)> = None;
            for (began, answered, key) in changes {
                let is_single = times.get(key) == Some(&1);
                let numbered = self.seqs.get(key);
                let numbered = numbered.filter(|one| is_single && !one.is_one_of_many);
                let Some(Numbered { seq, record, .. }) = numbered.copied() else {
                    continue;
                };
                if let Some((before, other, ended)) = last
                    && ended < *began
                    && before >= seq
                {
                    let text = format!(
                        "An update has the seq {seq}, and one that was caused before it the seq {before}."
                    );
                    findings.add(RULE.name, &r::SEQ_RISES, [other, record], text);
                }
                last = Some((seq, record, *answered));
            }
        }
    }

    fn forget(&mut self) {
        self.changes.clear();
        self.count = 0;
    }
}

fn deletion(artifact: &Value) -> u64 {
    prints(&[&"delete-artifact".into(), artifact])
}
