//! The JUnit XML report, which most CI systems can show.
//!
//! JUnit knows no warnings: a case that only warns passes, and says what it found in its output. A case
//! that could not be judged is an error, so that a run which judged nothing is not green. A known failure
//! is a skipped test that says why.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::{also, clean, nodes, one_line, shown, told_elsewhere, trace_lines};
use crate::{
    event::{CaseReport, Reporter, RunReport},
    verdict::Verdict,
};

/// How many lines of a trace stand before the whole of it.
const TRACE_ROWS: usize = 40;

/// Writes the JUnit XML report to `out` when the run is over.
#[derive(Debug)]
pub struct JUnit<W> {
    out: W,
}

impl<W: Write> JUnit<W> {
    /// A report that goes to `out`.
    pub fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write + Send> Reporter for JUnit<W> {
    fn finished(&mut self, run: &RunReport) -> io::Result<()> {
        let text = document(run).to_string().map_err(io::Error::other)?;
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

fn document(run: &RunReport) -> Report {
    let mut report = Report::new(format!("touchstone check {}", one_line(&run.target.name)));
    report.set_time(run.duration);
    let mut suites: Vec<(&str, TestSuite)> = Vec::new();
    for case in &run.cases {
        let group = case.group();
        let suite = match suites.iter_mut().find(|(name, _)| *name == group) {
            Some((_, suite)) => suite,
            None => {
                suites.push((group, TestSuite::new(group)));
                &mut suites.last_mut().expect("just pushed").1
            }
        };
        suite.add_test_case(test(case));
    }
    if let Some(hardly) = run.summary.hardly_judged() {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message(hardly).set_type("incomplete");
        let mut suite = TestSuite::new("run");
        let mut test = TestCase::new("enough could be judged", status);
        test.set_classname("run");
        suite.add_test_case(test);
        suites.push(("run", suite));
    }
    if !run.stale.is_empty() {
        let mut suite = TestSuite::new("baseline");
        for entry in &run.stale {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            let why = format!("{}:{}: {}", entry.file, entry.line, entry.why);
            status.set_message(&*one_line(&why)).set_type("stale");
            let mut test = TestCase::new(&*one_line(&entry.case), status);
            test.set_classname("baseline");
            suite.add_test_case(test);
        }
        suites.push(("baseline", suite));
    }
    report.add_test_suites(suites.into_iter().map(|(_, suite)| suite));
    report
}

fn test(case: &CaseReport) -> TestCase {
    let status = match (case.verdict, &case.known) {
        (Verdict::Fail, Some(reason)) => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(format!("known failure: {}", one_line(reason)));
            status
        }
        (Verdict::Fail, None) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            if let Some((finding, mismatch)) = case.told().next() {
                status.set_type(finding.requirement.id).set_message(format!(
                    "expected {}, got {}",
                    one_line(&mismatch.expected),
                    one_line(&mismatch.actual)
                ));
            }
            status.set_description(evidence(case));
            status
        }
        (Verdict::Error | Verdict::Blocked, _) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status
                .set_type(case.verdict.as_str())
                .set_message(&*one_line(case.reason.as_deref().unwrap_or_default()));
            if !case.lost_its_server() {
                status.set_description(evidence(case));
            }
            status
        }
        (Verdict::Skip, _) => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(&*one_line(case.reason.as_deref().unwrap_or_default()));
            status
        }
        (Verdict::Pass | Verdict::Info | Verdict::Warn, _) => TestCaseStatus::success(),
    };
    let mut test = TestCase::new(case.id, status);
    test.set_classname(case.group()).set_time(case.duration);
    if case.verdict == Verdict::Warn {
        let word = if case.flaky { "flaky" } else { "warning" };
        test.set_system_out(format!("{word}:\n{}", evidence(case)));
    }
    test
}

/// What was found, and the wire trace.
fn evidence(case: &CaseReport) -> String {
    let mut text = String::new();
    for (finding, mismatch) in case.told() {
        let requirement = finding.requirement;
        let _ = writeln!(
            text,
            "{} {}: {}",
            requirement.level, requirement.id, requirement.text
        );
        let _ = writeln!(text, "expected  {}", clean(&mismatch.expected));
        let _ = writeln!(text, "got       {}", clean(&mismatch.actual));
        if let Some(also) = also(finding) {
            let _ = writeln!(text, "{also}");
        }
    }
    for line in told_elsewhere(case) {
        let _ = writeln!(text, "{line}");
    }
    for note in &case.notes {
        let _ = writeln!(text, "note: {}", one_line(note));
    }
    if let Some(cause) = case.cause() {
        let _ = writeln!(text, "typical cause: {cause}");
    }
    if let Some(nodes) = nodes(case) {
        let _ = writeln!(text, "nodes: {}", one_line(&nodes));
    }
    let _ = writeln!(text, "repeat with: {}", one_line(&case.reproduce));
    if case.trace.is_empty() {
        return text;
    }
    let _ = writeln!(text, "look at it with: {}", one_line(&case.look()));
    let rows = shown::rows(case, TRACE_ROWS);
    let _ = writeln!(text, "\n{}:", shown::heading(case, &rows));
    for line in shown::lines(&rows) {
        let _ = writeln!(text, "{line}");
    }
    let _ = writeln!(text, "\nthe whole trace:");
    for line in trace_lines(&case.trace) {
        let _ = writeln!(text, "{line}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing;

    #[test]
    fn snapshot() {
        insta::assert_snapshot!(testing::render(JUnit::new));
    }

    #[test]
    fn a_hostile_server_cannot_break_the_document() {
        let text = testing::render_hostile(JUnit::new);
        let report = Report::deserialize_from_str(&text).expect("well-formed");
        assert_eq!((report.failures, report.errors), (2, 2), "{text}");
    }
}
