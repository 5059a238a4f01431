//! One value that has versions: what was sent, made, seen and refused of it.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use super::{
    parts::Part,
    versioned::{Seen, Told, Write},
};
use crate::{
    finding::Findings, judge::Knowledge, print::print, requirement::Requirement, story::Moment,
};

/// The name of the rule that all of it is found by.
pub(super) const NAME: &str = "history.versions";
/// How many versions of one value.
const VERSIONS: usize = 256;
/// How many values that were sent for one value. Where there were more, none is known to be sent once.
const SENT: usize = 4096;

/// What is known of one value.
#[derive(Debug, Default)]
pub(super) struct Cell {
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
pub(super) struct Span {
    pub(super) began: u64,
    pub(super) call: u64,
    pub(super) ended: Moment,
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
            findings.add(NAME, demands.step, [now.record], text);
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
            findings.add(NAME, same, [other, now.record], text);
        } else if let Some(mismatch) = self.refused(seen) {
            let text = unwritten(&what, seen.version);
            findings.add(NAME, demands.silent, [mismatch, now.record], text);
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

impl Cell {
    /// Nothing is known of what began before `at`.
    pub(super) fn since(at: u64) -> Self {
        Self {
            from: at,
            ..Self::default()
        }
    }

    /// The later one of `at` and the moment from which it is judged.
    pub(super) fn later(&self, at: u64) -> u64 {
        self.from.max(at)
    }

    /// Notes that a write was sent.
    pub(super) fn send(&mut self, write: &Write<'_>) {
        self.writes += 1;
        if !write.is_kept() {
            // Deleted, or read as the bytes that it stands for.
            self.from = u64::MAX;
        }
        let print = print(write.value);
        if self.sent.len() < SENT || self.sent.contains_key(&print) {
            self.sent.entry(print).or_default().times += 1;
        }
    }

    pub(super) fn written(
        &mut self,
        write: &Write<'_>,
        span: Span,
        knowledge: Knowledge,
        findings: &mut Findings,
    ) {
        if span.began < self.from {
            return;
        }
        if let (Knowledge::Complete, Told::Success(version, _) | Told::Mismatch(version, _)) =
            (knowledge, &write.told)
        {
            self.count(write.part, &write.id, *version, span.ended, findings);
        }
        let demands = write.part.demands();
        let what = Words(demands.what, &write.id);
        let mut add = |requirement: &'static Requirement, other: u64, text: String| {
            let records = [span.call, span.ended.record, other];
            findings.add(NAME, requirement, records, text);
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
                if let Some(other) = self.made.get(&version) {
                    let text =
                        format!("Two writes of {what} were told that they made version {version}.");
                    add(demands.winner, *other, text);
                } else if let (Some((floor, record)), Some(expected)) =
                    (self.floor(span.began), write.expected)
                    && floor > expected
                {
                    let text = format!(
                        "A write of {what} that named version {expected} succeeded, although version {floor} \
                         was there before it was sent."
                    );
                    add(demands.stale, record, text);
                }
                self.made.insert(version, span.call);
                while self.made.len() > VERSIONS {
                    self.made.pop_first();
                }
                if let Some(value) = value
                    && print(value) != print(write.value)
                {
                    let text =
                        format!("A write of {what} was answered with another value than it sent.");
                    add(demands.answer, 0, text);
                }
                if let Some(other) = self.note(version, write.value, span.ended.record) {
                    let text = format!(
                        "Version {version} of {what} was told with another value than the one that a write of it \
                         sent."
                    );
                    add(demands.announced, other, text);
                }
                self.reach(span.ended, version);
            }
            Told::Mismatch(version, value) => {
                if let Some((floor, record)) = self.floor(span.began)
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
                if let Some(other) = self.note(version, value, span.ended.record) {
                    let text = format!(
                        "A mismatch of {what} told version {version} with another value than others were told."
                    );
                    add(demands.current, other, text);
                }
                self.reach(span.ended, version);
            }
            Told::Refused | Told::Nothing => {}
        }
        if let Told::Mismatch(..) | Told::Refused = write.told
            && knowledge == Knowledge::Complete
            && let Some((version, record)) = self.refuse(write, span)
        {
            let records = [span.call, span.ended.record, record];
            findings.add(NAME, demands.silent, records, unwritten(&what, version));
        }
    }

    pub(super) fn announced(
        &mut self,
        seen: &Seen<'_>,
        now: Moment,
        knowledge: Knowledge,
        findings: &mut Findings,
    ) {
        if now.at <= self.from && self.from > 0 {
            return;
        }
        if knowledge == Knowledge::Complete {
            self.count(seen.part, &seen.id, seen.version, now, findings);
        }
        self.see(
            seen,
            seen.part.demands().announced,
            "announced",
            now,
            findings,
        );
    }

    pub(super) fn read(
        &mut self,
        seen: &Seen<'_>,
        span: Span,
        knowledge: Knowledge,
        findings: &mut Findings,
    ) {
        if span.began < self.from {
            return;
        }
        if knowledge == Knowledge::Complete {
            self.count(seen.part, &seen.id, seen.version, span.ended, findings);
        }
        let demands = seen.part.demands();
        if let Some((floor, record)) = self.floor(span.began)
            && floor > seen.version
        {
            let what = Words(demands.what, &seen.id);
            let text = format!(
                "Version {} of {what} was read, although version {floor} was there before it was asked for.",
                seen.version
            );
            findings.add(NAME, demands.read, [record, span.ended.record], text);
            return;
        }
        self.see(seen, demands.read, "read", span.ended, findings);
    }
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
