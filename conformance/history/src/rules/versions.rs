//! Versioned values: each success makes the next version, and nobody is told what was not there.

use serde_json::Value;

use super::{
    Rule,
    bounded::Bounded,
    cell::{Cell, NAME, Span},
    parts::Part,
    versioned::{Seen, Write, announced, read_by_event, read_by_request, requested_writes, writes},
};
use crate::{
    account::{Account, Accounts},
    finding::{Findings, Violation},
    judge::Knowledge,
    story::{Call, Happening, Moment},
};

pub(crate) static RULE: Rule = Rule {
    name: NAME,
    needs: Knowledge::Partial,
    text: "Each success of a write of metadata, state, an artifact's part, settings, an access key or a key of the \
           store makes a version of its own, one above the version that it named. No write succeeds on a version \
           that had been replaced before it was sent. A mismatch tells a version and a value that were there at \
           some moment between call and answer, and writes nothing. What is announced, answered and read of one \
           version is one value. There are no more versions than writes.",
};

/// How many values are remembered, over all accounts.
const CELLS: usize = 100_000;

/// What was said of an artifact that is deleted may arrive at any time: it is not judged any more, whatever is
/// made with its id.
const ENDED: u64 = u64::MAX;

type Key = (Account, Part, String);

#[derive(Debug)]
pub(crate) struct Versions {
    cells: Bounded<Key, Cell>,
    /// What is wrong of artifacts, unless a request that is not recorded yet has deleted or made one meanwhile.
    held: Vec<Held>,
}

/// What is wrong of an artifact, and when it was found.
#[derive(Debug)]
struct Held {
    account: Account,
    id: String,
    at: u64,
    found: Vec<Violation>,
}

impl Default for Versions {
    fn default() -> Self {
        Self {
            cells: Bounded::new(CELLS),
            held: Vec::new(),
        }
    }
}

impl Versions {
    pub(crate) fn hear(
        &mut self,
        happening: &Happening<'_>,
        knowledge: Knowledge,
        accounts: &Accounts,
        findings: &mut Findings,
    ) {
        match happening {
            Happening::Called(call) => {
                let account = accounts.root(call.connection.account);
                for write in writes(call, None) {
                    self.send(account, &write);
                }
                self.forget(account, artifact_of(call), end_or(call, call.began.at));
            }
            Happening::Answered(call, answer, ended) => {
                let account = accounts.root(call.connection.account);
                let span = Span {
                    began: call.began.at,
                    call: call.began.record,
                    ended: *ended,
                };
                for write in writes(call, Some(answer)) {
                    self.written(account, &write, span, knowledge, findings);
                }
                for seen in read_by_event(call, answer) {
                    self.read(account, &seen, span, knowledge, findings);
                }
                self.forget(account, artifact_of(call), end_or(call, ended.at));
            }
            Happening::Received(connection, "update", update, now) => {
                let Some(body) = update.get("body") else {
                    return;
                };
                let account = accounts.root(connection.account);
                if let Some("new-artifact" | "delete-artifact") =
                    body.get("t").and_then(Value::as_str)
                {
                    let id = body.get("artifactId").and_then(Value::as_str);
                    let is_end = body["t"] == "delete-artifact";
                    self.forget(account, id, if is_end { ENDED } else { now.at });
                }
                for seen in announced(body) {
                    self.announced(account, &seen, *now, knowledge, findings);
                }
            }
            Happening::Asked(asked) => {
                let Some(account) = asked.account else {
                    return;
                };
                let account = accounts.root(account);
                let span = Span {
                    began: asked.began,
                    call: asked.ended.record,
                    ended: asked.ended,
                };
                if let Some(id) = asked.path.strip_prefix("/v1/artifacts")
                    && (asked.method == "DELETE" || (asked.method == "POST" && id.is_empty()))
                {
                    let request = asked.exchange.request.as_ref();
                    let named = request
                        .and_then(|body| body.get("id"))
                        .and_then(Value::as_str);
                    let id = named.or(id.strip_prefix('/'));
                    let is_end = asked.method == "DELETE";
                    self.forget(account, id, if is_end { ENDED } else { asked.ended.at });
                    self.explained(account, id, asked.began);
                }
                for write in requested_writes(asked) {
                    // A key can be written again after it was deleted, and begins anew then.
                    if !write.is_kept() {
                        self.explained(account, Some(&write.id), asked.began);
                    }
                    self.send(account, &write);
                    self.written(account, &write, span, knowledge, findings);
                }
                for seen in read_by_request(asked) {
                    self.read(account, &seen, span, knowledge, findings);
                }
            }
            Happening::Quiet(_) => self.settle(findings),
            _ => {}
        }
    }

    fn cell(&mut self, account: Account, part: Part, id: &str) -> &mut Cell {
        self.cells
            .entry((account, part, id.to_owned()), Cell::default)
    }

    /// An artifact can be made again after it was deleted: what was known of it says nothing any more.
    fn forget(&mut self, account: Account, id: Option<&str>, at: u64) {
        let Some(id) = id else { return };
        for part in [Part::ArtifactHeader, Part::ArtifactBody] {
            let cell = self.cell(account, part, id);
            *cell = Cell::since(cell.later(at));
        }
    }

    /// What was seen from then on may come of a request that made or deleted this.
    fn explained(&mut self, account: Account, id: Option<&str>, since: u64) {
        let is_other = |held: &Held| held.account != account || Some(held.id.as_str()) != id;
        self.held.retain(|held| is_other(held) || held.at < since);
    }

    fn send(&mut self, account: Account, write: &Write<'_>) {
        self.cell(account, write.part, &write.id).send(write);
    }

    /// Judges what is said of a part. Of an artifact nothing is stated before the next quiet point, where all
    /// requests are recorded in the end.
    fn judged(
        &mut self,
        (account, part, id): (Account, Part, &str),
        (at, knowledge): (u64, Knowledge),
        findings: &mut Findings,
        judge: impl FnOnce(&mut Cell, &mut Findings),
    ) {
        if !part.can_come_again() || knowledge == Knowledge::Partial {
            return judge(self.cell(account, part, id), findings);
        }
        let mut own = Findings::default();
        judge(self.cell(account, part, id), &mut own);
        let found = own.take();
        if !found.is_empty() {
            self.held.push(Held {
                account,
                id: id.to_owned(),
                at,
                found,
            });
        }
    }

    /// States what nothing that came later has explained.
    pub(crate) fn settle(&mut self, findings: &mut Findings) {
        for held in self.held.drain(..) {
            findings.extend(held.found);
        }
    }

    fn written(
        &mut self,
        account: Account,
        write: &Write<'_>,
        span: Span,
        knowledge: Knowledge,
        findings: &mut Findings,
    ) {
        let key = (account, write.part, write.id.as_ref());
        self.judged(
            key,
            (span.ended.at, knowledge),
            findings,
            |cell, findings| {
                cell.written(write, span, knowledge, findings);
            },
        );
    }

    fn announced(
        &mut self,
        account: Account,
        seen: &Seen<'_>,
        now: Moment,
        knowledge: Knowledge,
        findings: &mut Findings,
    ) {
        let key = (account, seen.part, seen.id.as_ref());
        self.judged(key, (now.at, knowledge), findings, |cell, findings| {
            cell.announced(seen, now, knowledge, findings);
        });
    }

    fn read(
        &mut self,
        account: Account,
        seen: &Seen<'_>,
        span: Span,
        knowledge: Knowledge,
        findings: &mut Findings,
    ) {
        let key = (account, seen.part, seen.id.as_ref());
        self.judged(
            key,
            (span.ended.at, knowledge),
            findings,
            |cell, findings| {
                cell.read(seen, span, knowledge, findings);
            },
        );
    }
}

/// From when on what is said of an artifact is judged after a call: never, where it deletes it.
fn end_or(call: &Call, at: u64) -> u64 {
    match call.event.as_str() {
        "artifact-delete" => ENDED,
        _ => at,
    }
}

/// The artifact that a call makes or deletes.
fn artifact_of(call: &Call) -> Option<&str> {
    let key = match call.event.as_str() {
        "artifact-create" => "id",
        "artifact-delete" => "artifactId",
        _ => return None,
    };
    call.data.get(key)?.as_str()
}
