//! The part of a wire trace that a report for people shows: what made the findings, the rest folded.

use std::collections::BTreeMap;

use super::{arrow, one_line, trace_ms};
use crate::{
    event::{CaseReport, TraceLine},
    focus::Part,
};

/// What is said to a connection to which something did not come.
pub(super) const MISSING: &str = "it did not come";

/// A row of a shortened trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Row<'a> {
    /// A line, and what it has to do with the findings.
    Line(&'a TraceLine, Option<Part>),
    /// To this connection something did not come.
    Missing(&'a str),
}

/// The lines that made what a case tells, with the most telling part that each has in it.
pub(crate) fn focused(case: &CaseReport) -> BTreeMap<usize, Part> {
    let mut parts = BTreeMap::new();
    for (finding, _) in case.told() {
        for focus in &finding.focus {
            let part = parts.entry(focus.line).or_insert(focus.part);
            *part = focus.part.max(*part);
        }
    }
    parts
}

/// The connections to which something did not come, each once.
pub(super) fn missing(case: &CaseReport) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for (finding, _) in case.told() {
        for name in &finding.missing {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
    }
    names
}

/// At most `most` rows: what made the findings, or the end of the trace where nothing in it did. What is
/// missing stands before what proves it.
pub(super) fn rows(case: &CaseReport, most: usize) -> Vec<Row<'_>> {
    let parts = focused(case);
    let mut missing = missing(case);
    if parts.is_empty() {
        missing.truncate(most);
        let last = most - missing.len();
        let end = &case.trace[case.trace.len().saturating_sub(last)..];
        let lines = end.iter().map(|line| Row::Line(line, None));
        return lines.chain(missing.into_iter().map(Row::Missing)).collect();
    }
    missing.truncate(most / 3);
    // Where there is too much, the least telling goes first, and of that what came last.
    let mut lines: Vec<_> = parts.into_iter().collect();
    lines.sort_by_key(|&(line, part)| (std::cmp::Reverse(part), line));
    lines.truncate(most - missing.len());
    lines.sort_unstable();
    let proof = lines.iter().position(|&(_, part)| part == Part::Proof);
    let at = proof.unwrap_or(lines.len());
    let row = |&(line, part): &(usize, Part)| Row::Line(&case.trace[line], Some(part));
    let before = lines[..at].iter().map(row);
    let after = lines[at..].iter().map(row);
    before
        .chain(missing.into_iter().map(Row::Missing))
        .chain(after)
        .collect()
}

/// `wire trace, ms since the case began (12 other lines not shown)`.
pub(crate) fn heading(case: &CaseReport, rows: &[Row<'_>]) -> String {
    let lines = rows
        .iter()
        .filter(|row| matches!(row, Row::Line(..)))
        .count();
    let what = match rows.iter().any(|row| matches!(row, Row::Line(_, Some(_)))) {
        true => "the lines that made it",
        false => "the end of the wire trace",
    };
    let others = case.trace.len() - lines;
    match others {
        0 => format!("{what}, ms since the case began"),
        _ => format!(
            "{what}, ms since the case began ({} not shown)",
            super::plural(others, "other line")
        ),
    }
}

/// The rows as lines of text: what each has to do with the finding, its time, its connection, who speaks.
pub(super) fn lines(rows: &[Row<'_>]) -> Vec<String> {
    let name = |row: &Row<'_>| match *row {
        Row::Line(line, _) => one_line(&line.conn).chars().count(),
        Row::Missing(name) => name.chars().count(),
    };
    let width = rows.iter().map(name).max().unwrap_or(0);
    let told = |row: &Row<'_>| match *row {
        Row::Line(line, part) => {
            let part = part.map_or("", Part::as_str);
            let (ms, arrow) = (trace_ms(line), arrow(line.dir));
            let (conn, said) = (one_line(&line.conn), one_line(&line.text));
            format!("{part:8} {ms:>8}  {conn:width$} {arrow} {said}")
        }
        Row::Missing(name) => format!("{:8} {:>8}  {name:width$} < {MISSING}", "missing", "-"),
    };
    rows.iter().map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{focus::Focus, report::testing, verdict::Finding};

    fn case(focus: &[(usize, Part)], missing: &[&str], lines: usize) -> CaseReport {
        let mut case = testing::report().cases[1].clone();
        case.trace = (0..lines)
            .map(|at| TraceLine {
                at_us: at as u64 * 1_000,
                text: format!("line {at}"),
                ..case.trace[0].clone()
            })
            .collect();
        let focus = focus.iter().map(|&(line, part)| Focus { line, part });
        let finding = Finding {
            focus: focus.collect(),
            missing: missing.iter().map(|&name| name.to_owned()).collect(),
            ..case.findings[0].clone()
        };
        case.findings = vec![finding];
        case
    }

    #[track_caller]
    fn check(case: &CaseReport, most: usize, expected: &[&str]) {
        let shown = rows(case, most);
        assert!(shown.len() <= most, "{shown:?}");
        let words = |line: &String| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let told: Vec<_> = lines(&shown).iter().map(words).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn what_made_the_finding_is_shown_and_the_rest_folded() {
        let focus = [(2, Part::Cause), (5, Part::Delivery), (9, Part::Proof)];
        let case = case(&focus, &["u2"], 12);
        check(
            &case,
            20,
            &[
                "cause 2.0 u1 > line 2",
                "delivery 5.0 u1 > line 5",
                "missing - u2 < it did not come",
                "proof 9.0 u1 > line 9",
            ],
        );
        let heading = heading(&case, &rows(&case, 20));
        assert!(heading.ends_with("(9 other lines not shown)"), "{heading}");
    }

    #[test]
    fn too_many_lines_lose_the_least_telling() {
        let mut focus: Vec<_> = (10..40).map(|line| (line, Part::Delivery)).collect();
        focus.extend([(3, Part::Cause), (50, Part::Wrong)]);
        let case = case(&focus, &[], 60);
        check(
            &case,
            3,
            &[
                "cause 3.0 u1 > line 3",
                "delivery 10.0 u1 > line 10",
                "wrong 50.0 u1 > line 50",
            ],
        );
    }

    #[test]
    fn without_any_the_end_is_shown() {
        let case = case(&[], &[], 30);
        check(&case, 2, &["28.0 u1 > line 28", "29.0 u1 > line 29"]);
    }
}
