//! Versioned values: each success makes the next version, and nobody is told what was not there.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use super::{
    Rule,
    bounded::Bounded,
    parts::Part,
    versioned::{
        Seen, Told, Write, announced, read_by_event, read_by_request, requested_writes, writes,
    },
};
use crate::{
    account::{Account, Accounts},
    finding::Findings,
    judge::Knowledge,
    print::print,
    requirement::Requirement,
    story::{Call, Happening, Moment},
};

pub(crate) static RULE: Rule = Rule {
    name: "history.versions",
    needs: Knowledge::Partial,
    text: "Each success of a write of metadata, state, an artifact's part or settings makes a version of its \
           own, one above the version that it named. No write succeeds on a version that had been replaced \
           before it was sent. A mismatch tells a version and a value that were there at some moment between \
           call and answer, and writes nothing. What is announced, answered and read of one version is one \
           value.",
};

/// How many values are remembered, over all accounts.
const CELLS: usize = 100_000;
/// How many versions of one value.
const VERSIONS: usize = 256;
/// How many values that were sent for one value. Where there were more, none is known to be sent once.
const SENT: usize = 4096;

type Key = (Account, Part, String);

#[derive(Debug)]
pub(crate) struct Versions {
    cells: Bounded<Key, Cell>,
}

impl Default for Versions {
    fn default() -> Self {
        Self {
            cells: Bounded::new(CELLS),
        }
    }
}

/// What is known of one value.
#[derive(Debug, Default)]
struct Cell {
    /// What each version was, and the record that showed it first.
    values: BTreeMap<u64, (u64, u64)>,
    /// Which write made a version, by the record of its call.
    made: BTreeMap<u64, u64>,
    /// From when on which version was certainly reached, both rising.
    reached: VecDeque<(Moment, u64)>,
    /// What was sent.
    sent: BTreeMap<u64, Sent>,
    /// Nothing that began before this is judged: the entity was deleted or made again.
    from: u64,
    /// The first version that was seen, and how many writes have been sent since the beginning.
    first: Option<u64>,
    writes: u64,
}

/// A value that was sent.
#[derive(Debug, Default)]
struct Sent {
    times: u32,
    /// Where its only write was told of a mismatch: the answer, and the version that was certainly
    /// reached before it was sent. A later version with this value can only be of that write.
    refused: Option<(u64, u64)>,
}

/// The interval of a call or request.
#[derive(Debug, Clone, Copy)]
struct Span {
    began: u64,
    call: u64,
    ended: Moment,
}

impl Cell {
    /// The highest version that was certainly reached by `at`, and the record that shows it.
    fn floor(&self, at: u64) -> Option<(u64, u64)> {
        let reached = self.reached.iter().rev().find(|(moment, _)| moment.at < at);
        reached.map(|(moment, version)| (*version, moment.record))
    }

    /// A write was refused: gives the later version that has its value all the same, where no other write sent it.
    fn refuse(&mut self, write: &Write<'_>, span: Span) -> Option<(u64, u64)> {
        let (floor, _) = self.floor(span.began)?;
        let is_full = self.sent.len() >= SENT;
        let sent = print(write.value);
        let note = self.sent.get_mut(&sent)?;
        if is_full || note.times != 1 {
            return None;
        }
        note.refused = Some((span.ended.record, floor));
        let mut later = self.values.range(floor + 1..);
        let (version, (_, record)) = later.find(|(_, (print, _))| *print == sent)?;
        Some((*version, *record))
    }

    /// States that more versions were made than writes were sent, of what only events write.
    fn count(&mut self, part: Part, id: &str, version: u64, now: Moment, findings: &mut Findings) {
        let first = *self.first.get_or_insert(version);
        if part.is_written_by_events_only() && version > first.saturating_add(self.writes) {
            let demands = part.demands();
            let text = format!(
                "{} has version {version}; it had version {first}, and {} writes were sent.",
                Words(demands.what, id),
                self.writes
            );
            findings.add(RULE.name, demands.step, [now.record], text);
        }
    }

    /// The answer that refused the only write of this value, if that was told after a lower version.
    fn refused(&self, seen: &Seen<'_>) -> Option<u64> {
        let sent = self.sent.get(&print(seen.value))?;
        let (record, floor) = sent.refused?;
        (sent.times == 1 && seen.version > floor).then_some(record)
    }

    /// A version is seen with a value, in the way that `how` says: another value than before breaks `same`.
    fn see(
        &mut self,
        seen: &Seen<'_>,
        same: &'static Requirement,
        how: &str,
        now: Moment,
        findings: &mut Findings,
    ) {
        let demands = seen.part.demands();
        let what = Words(demands.what, &seen.id);
        if let Some(other) = self.note(seen.version, seen.value, now.record) {
            let text = format!(
                "Version {} of {what} was {how} with another value than others were told.",
                seen.version
            );
            findings.add(RULE.name, same, [other, now.record], text);
        } else if let Some(mismatch) = self.refused(seen) {
            let text = unwritten(&what, seen.version);
            findings.add(RULE.name, demands.silent, [mismatch, now.record], text);
        }
        self.reach(now, seen.version);
    }

    fn reach(&mut self, now: Moment, version: u64) {
        if self.reached.back().is_none_or(|(_, last)| *last < version) {
            self.reached.push_back((now, version));
            if self.reached.len() > VERSIONS {
                self.reached.pop_front();
            }
        }
    }

    /// Notes the value of a version, and gives the record that showed another one.
    fn note(&mut self, version: u64, value: &Value, record: u64) -> Option<u64> {
        let print = print(value);
        let known = *self.values.entry(version).or_insert((print, record));
        while self.values.len() > VERSIONS {
            self.values.pop_first();
        }
        (known.0 != print).then_some(known.1)
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
                self.forget(account, artifact_of(call), call.began.at);
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
                self.forget(account, artifact_of(call), ended.at);
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
                    self.forget(account, id, now.at);
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
                    self.forget(account, named.or(id.strip_prefix('/')), asked.ended.at);
                }
                for write in requested_writes(asked) {
                    self.send(account, &write);
                    self.written(account, &write, span, knowledge, findings);
                }
                for seen in read_by_request(asked) {
                    self.read(account, &seen, span, knowledge, findings);
                }
            }
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
            *self.cell(account, part, id) = Cell {
                from: at,
                ..Cell::default()
            };
        }
    }

    fn send(&mut self, account: Account, write: &Write<'_>) {
        let print = print(write.value);
        let cell = self.cell(account, write.part, &write.id);
        cell.writes += 1;
        if write.part == Part::Kv && !is_base64(write.value) {
            // Deleted, or read as the bytes that it stands for.
            cell.from = u64::MAX;
        }
        if cell.sent.len() < SENT || cell.sent.contains_key(&print) {
            cell.sent.entry(print).or_default().times += 1;
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
        let cell = self.cell(account, write.part, &write.id);
        if span.began < cell.from {
            return;
        }
        if let (Knowledge::Complete, Told::Success(version, _) | Told::Mismatch(version, _)) =
            (knowledge, &write.told)
        {
            cell.count(write.part, &write.id, *version, span.ended, findings);
        }
        let demands = write.part.demands();
        let what = Words(demands.what, &write.id);
        let mut add = |requirement: &'static Requirement, other: u64, text: String| {
            let records = [span.call, span.ended.record, other];
            findings.add(RULE.name, requirement, records, text);
        };
        match write.told {
            Told::Success(version, value) => {
                if let Some(expected) = write.expected
                    && version != expected + 1
                {
                    let text = format!(
                        "A write of {what} that named version {expected} made version {version}."
                    );
                    add(demands.step, 0, text);
                }
                if let Some(other) = cell.made.get(&version) {
                    let text =
                        format!("Two writes of {what} were told that they made version {version}.");
                    add(demands.winner, *other, text);
                } else if let (Some((floor, record)), Some(expected)) =
                    (cell.floor(span.began), write.expected)
                    && floor > expected
                {
                    let text = format!(
                        "A write of {what} that named version {expected} succeeded, although version {floor} \
                         was there before it was sent."
                    );
                    add(demands.stale, record, text);
                }
                cell.made.insert(version, span.call);
                while cell.made.len() > VERSIONS {
                    cell.made.pop_first();
                }
                if let Some(value) = value
                    && print(value) != print(write.value)
                {
                    let text =
                        format!("A write of {what} was answered with another value than it sent.");
                    add(demands.answer, 0, text);
                }
                if let Some(other) = cell.note(version, write.value, span.ended.record) {
                    let text = format!(
                        "Version {version} of {what} was told with another value than the one that a write of it \
                         sent."
                    );
                    add(demands.announced, other, text);
                }
                cell.reach(span.ended, version);
            }
            Told::Mismatch(version, value) => {
                if let Some((floor, record)) = cell.floor(span.began)
                    && floor > version
                {
                    let text = format!(
                        "A mismatch of {what} told version {version}, although version {floor} was there before \
                         the call was sent."
                    );
                    add(demands.current, record, text);
                } else if write.expected == Some(version) {
                    let text = format!(
                        "A write of {what} named version {version}, and was refused with that same version as the \
                         current one."
                    );
                    add(demands.losers, 0, text);
                }
                if let Some(other) = cell.note(version, value, span.ended.record) {
                    let text = format!(
                        "A mismatch of {what} told version {version} with another value than others were told."
                    );
                    add(demands.current, other, text);
                }
                cell.reach(span.ended, version);
            }
            Told::Refused | Told::Nothing => {}
        }
        if let Told::Mismatch(..) | Told::Refused = write.told
            && knowledge == Knowledge::Complete
            && let Some((version, record)) = cell.refuse(write, span)
        {
            let records = [span.call, span.ended.record, record];
            findings.add(
                RULE.name,
                demands.silent,
                records,
                unwritten(&what, version),
            );
        }
    }

    fn announced(
        &mut self,
        account: Account,
        seen: &Seen<'_>,
        now: Moment,
        knowledge: Knowledge,
        findings: &mut Findings,
    ) {
        let cell = self.cell(account, seen.part, &seen.id);
        if now.at <= cell.from && cell.from > 0 {
            return;
        }
        if knowledge == Knowledge::Complete {
            cell.count(seen.part, &seen.id, seen.version, now, findings);
        }
        cell.see(
            seen,
            seen.part.demands().announced,
            "announced",
            now,
            findings,
        );
    }

    fn read(
        &mut self,
        account: Account,
        seen: &Seen<'_>,
        span: Span,
        knowledge: Knowledge,
        findings: &mut Findings,
    ) {
        let cell = self.cell(account, seen.part, &seen.id);
        if span.began < cell.from {
            return;
        }
        if knowledge == Knowledge::Complete {
            cell.count(seen.part, &seen.id, seen.version, span.ended, findings);
        }
        let demands = seen.part.demands();
        if let Some((floor, record)) = cell.floor(span.began)
            && floor > seen.version
        {
            let what = Words(demands.what, &seen.id);
            let text = format!(
                "Version {} of {what} was read, although version {floor} was there before it was asked for.",
                seen.version
            );
            findings.add(RULE.name, demands.read, [record, span.ended.record], text);
            return;
        }
        cell.see(seen, demands.read, "read", span.ended, findings);
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

/// Whether a value is standard base64 of at least one byte.
fn is_base64(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default().as_bytes();
    let digits = text
        .iter()
        .rposition(|byte| *byte != b'=')
        .map_or(0, |last| last + 1);
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    // The last digit has no bits that no byte needs.
    let is_whole = match text.len() - digits {
        _ if digits == 0 => false,
        0 => true,
        1 => b"AEIMQUYcgkosw048".contains(&text[digits - 1]),
        2 => b"AQgw".contains(&text[digits - 1]),
        _ => false,
    };
    text.len().is_multiple_of(4) && text[..digits].iter().all(is_digit) && is_whole
}

fn unwritten(what: &Words<'_>, version: u64) -> String {
    format!(
        "A write of {what} was refused as a mismatch, and its value is version {version} all the same."
    )
}

/// A part of an entity, for people.
struct Words<'a>(&'static str, &'a str);

impl std::fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)?;
        if !self.1.is_empty() {
            write!(f, " {}", self.1)?;
        }
        Ok(())
    }
}
