//! What qualifies verdicts, told once for all cases that it is true of.

use std::collections::BTreeMap;

use crate::{event::RunReport, marks::UNPROVED};

/// From how many cases on a note is told at the end alone.
const COMMON: usize = 4;

/// How often each kind of note stands in a run.
#[derive(Debug, Default)]
pub(super) struct Notes {
    counts: BTreeMap<String, usize>,
    /// Whether each case tells its own, however common.
    full: bool,
}

impl Notes {
    pub(super) fn of(run: &RunReport, full: bool) -> Self {
        let mut counts = BTreeMap::new();
        for note in run.cases.iter().flat_map(|case| &case.notes) {
            *counts.entry(kind(note).to_owned()).or_default() += 1;
        }
        Self { counts, full }
    }

    /// Whether a case that is explained tells this note itself.
    pub(super) fn is_own(&self, note: &str) -> bool {
        self.full
            || self
                .counts
                .get(kind(note))
                .is_none_or(|count| *count < COMMON)
    }

    /// The notes that no case among `explained` has told, each with the cases that it is true of.
    pub(super) fn at_the_end<'r>(
        &self,
        run: &'r RunReport,
        explained: &[&str],
    ) -> BTreeMap<&'r str, Vec<&'r str>> {
        let mut by_note: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for case in &run.cases {
            let is_told = |note: &String| self.is_own(note) && explained.contains(&case.id);
            for note in case.notes.iter().filter(|note| !is_told(note)) {
                let cases = by_note.entry(kind(note)).or_default();
                if cases.last() != Some(&case.id) {
                    cases.push(case.id);
                }
            }
        }
        by_note
    }
}

/// A note without the connections that it names: which these are differs from case to case.
fn kind(note: &str) -> &str {
    let (before, after) = UNPROVED;
    match note.starts_with(before) && note.ends_with(after) {
        true => "some silence rests on a settle window, since no sentinel reached the connection",
        false => note,
    }
}
