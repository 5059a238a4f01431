//! Which lines of a wire trace made a finding: what caused it, what came of it, and what proves that
//! nothing else did.
//!
//! A judge that knows what it looked at says so in a [`Clue`]. The lines of other findings are those that
//! hold what the finding tells, or else the last thing that the case did before. Nothing here judges, and
//! a finding without any line stands all the same.

mod clue;
mod look;
mod search;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;

use touchstone_client::trace::Record;

pub use self::clue::{Clue, Focus, Part};
pub(crate) use self::look::markers_in;
use self::{look::Look, search::Search};
use crate::{marks::SUITE, verdict::Finding};

/// Finds the records that made each finding, as places in `records`. Their lines are told by `place`,
/// which knows where a record stands in the trace for people.
pub(crate) fn find(
    records: &[Record],
    salt: &str,
    findings: &mut [Finding],
    place: impl Fn(usize) -> Option<usize>,
) {
    let looks: Vec<_> = records.iter().map(Look::at).collect();
    for finding in findings {
        let Some(broken) = &finding.broken else {
            continue;
        };
        let is_mark = |look: &Look<'_>| look.conn == SUITE && look.head == finding.clue.mark;
        let end = looks.iter().position(is_mark).unwrap_or(looks.len());
        let mut search = Search {
            before: &looks[..end],
            salt,
            parts: BTreeMap::new(),
            missing: finding.clue.missing.clone(),
        };
        search.run(&finding.clue, broken);
        let lines = search.parts.iter().filter_map(|(&record, &part)| {
            let line = place(record)?;
            Some(Focus { line, part })
        });
        finding.focus = lines.collect();
        finding.missing = search.missing;
    }
}
