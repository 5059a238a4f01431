//! Comparing runs: of one server over time, or of several servers.
//!
//! It reads JSON reports, and nothing else: what a report of another version of this program says about
//! its cases stands. The first report is what the others are held against. Files are not trusted more
//! than servers are.

mod page;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;
use touchstone_output::report::ReportError;

use crate::{
    event::{Summary, TargetSummary},
    report::{FORMAT, VERSION},
    verdict::Verdict,
};

/// A JSON report, as far as it is compared.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recorded {
    /// The file that it was read from.
    #[serde(skip)]
    file: String,
    target: TargetSummary,
    summary: Summary,
    cases: Vec<RecordedCase>,
    #[serde(default)]
    dialect: BTreeMap<String, Value>,
}

#[derive(Debug, Clone, Deserialize)]
struct RecordedCase {
    id: String,
    verdict: Verdict,
    #[serde(default)]
    flaky: bool,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    findings: Vec<RecordedFinding>,
}

#[derive(Debug, Clone, Deserialize)]
struct RecordedFinding {
    requirement: String,
    #[serde(default)]
    actual: Option<String>,
}

impl Recorded {
    /// Reads the text of a JSON report; `file` names it.
    ///
    /// # Errors
    /// It is no such report, or a newer one.
    pub fn read(file: &str, text: &str) -> Result<Self, ReportError> {
        let mut report: Self = touchstone_output::report::read(file, text, FORMAT, VERSION)?;
        file.clone_into(&mut report.file);
        Ok(report)
    }
}

impl Recorded {
    /// The cases that have to run again: they failed, did not repeat their failure, or could not be judged.
    pub fn to_rerun(&self) -> impl Iterator<Item = &str> {
        let again = |case: &&RecordedCase| {
            case.flaky
                || matches!(
                    case.verdict,
                    Verdict::Fail | Verdict::Error | Verdict::Blocked
                )
        };
        self.cases.iter().filter(again).map(|case| case.id.as_str())
    }
}

/// Several reports side by side.
#[derive(Debug)]
pub struct Comparison {
    reports: Vec<Recorded>,
    rows: Vec<Row>,
    traits: Vec<Trait>,
}

/// One case in all reports.
#[derive(Debug)]
struct Row {
    id: String,
    /// Nothing where a report does not have the case.
    cells: Vec<Option<RecordedCase>>,
}

/// One trait of the dialect card in all reports.
#[derive(Debug)]
struct Trait {
    name: String,
    values: Vec<Option<Value>>,
}

/// What became of a case, from the first report to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    /// It fails, and did not.
    Fails,
    /// It could be judged, and cannot any more.
    Unjudged,
    /// It fails no longer.
    Passes,
    /// It has another verdict, or the same for breaking something else.
    Differs,
    /// Only one of the two reports has it.
    Alone,
}

impl Change {
    const ALL: [Self; 5] = [
        Self::Fails,
        Self::Unjudged,
        Self::Passes,
        Self::Differs,
        Self::Alone,
    ];

    fn title(self) -> &'static str {
        match self {
            Self::Fails => "newly fails",
            Self::Unjudged => "could not be judged any more",
            Self::Passes => "no longer fails",
            Self::Differs => "changed",
            Self::Alone => "only in one report",
        }
    }

    fn between(before: Option<&RecordedCase>, after: Option<&RecordedCase>) -> Option<Self> {
        let (before, after) = match (before, after) {
            (None, None) => return None,
            (None, Some(after)) if after.verdict == Verdict::Fail => return Some(Self::Fails),
            (None, _) | (_, None) => return Some(Self::Alone),
            (Some(before), Some(after)) => (before, after),
        };
        let unjudged =
            |case: &RecordedCase| matches!(case.verdict, Verdict::Blocked | Verdict::Error);
        match (before.verdict, after.verdict) {
            (Verdict::Fail, Verdict::Fail) => {}
            (_, Verdict::Fail) => return Some(Self::Fails),
            _ if unjudged(after) && !unjudged(before) => return Some(Self::Unjudged),
            (Verdict::Fail, _) => return Some(Self::Passes),
            _ => {}
        }
        let same = before.verdict == after.verdict
            && before.flaky == after.flaky
            && before.broken() == after.broken();
        (!same).then_some(Self::Differs)
    }
}

impl RecordedCase {
    fn broken(&self) -> BTreeSet<&str> {
        let broken = self
            .findings
            .iter()
            .filter(|finding| finding.actual.is_some());
        broken.map(|finding| finding.requirement.as_str()).collect()
    }

    /// `warn, flaky`.
    fn shown(&self) -> String {
        let flaky = if self.flaky { ", flaky" } else { "" };
        format!("{}{flaky}", self.verdict)
    }

    /// What to say about it in one line: what came, or why nothing could be judged.
    fn told(&self) -> Option<&str> {
        let actual = self
            .findings
            .iter()
            .find_map(|finding| finding.actual.as_deref());
        actual.or(self.reason.as_deref())
    }
}

impl Row {
    fn change(&self, to: usize) -> Option<Change> {
        Change::between(self.cells[0].as_ref(), self.cells[to].as_ref())
    }

    fn differs(&self) -> bool {
        (1..self.cells.len()).any(|to| self.change(to).is_some())
    }
}

impl Trait {
    fn differs(&self) -> bool {
        self.values.iter().any(|value| *value != self.values[0])
    }
}

impl Comparison {
    /// Puts reports side by side, in the order given. A comparison of one report is all alike.
    pub fn of(reports: Vec<Recorded>) -> Self {
        let mut ids: Vec<&str> = Vec::new();
        let mut seen = BTreeSet::new();
        for case in reports.iter().flat_map(|report| &report.cases) {
            if seen.insert(case.id.as_str()) {
                ids.push(&case.id);
            }
        }
        let by_id: Vec<BTreeMap<&str, &RecordedCase>> = reports
            .iter()
            .map(|report| {
                report
                    .cases
                    .iter()
                    .map(|case| (case.id.as_str(), case))
                    .collect()
            })
            .collect();
        let rows = ids
            .iter()
            .map(|&id| Row {
                id: id.to_owned(),
                cells: by_id
                    .iter()
                    .map(|cases| cases.get(id).copied().cloned())
                    .collect(),
            })
            .collect();
        let names: BTreeSet<_> = reports
            .iter()
            .flat_map(|report| report.dialect.keys())
            .collect();
        let traits = names
            .iter()
            .map(|&name| Trait {
                name: name.clone(),
                values: reports
                    .iter()
                    .map(|report| report.dialect.get(name).cloned())
                    .collect(),
            })
            .collect();
        Self {
            rows,
            traits,
            reports,
        }
    }

    /// How many cases fail in a later report and do not in the first one.
    pub fn newly_failing(&self) -> usize {
        self.count(Change::Fails)
    }

    /// How many cases were judged in the first report and could not be in a later one.
    pub fn newly_unjudged(&self) -> usize {
        self.count(Change::Unjudged)
    }

    fn count(&self, change: Change) -> usize {
        let changed = |row: &&Row| (1..self.reports.len()).any(|to| row.change(to) == Some(change));
        self.rows.iter().filter(changed).count()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::{Json, testing};

    /// A report with these verdicts; a case named with `!` breaks something else.
    pub(crate) fn recorded(file: &str, cases: &[(&str, &str)], dialect: &Value) -> Recorded {
        let cases: Vec<_> = cases
            .iter()
            .map(|(id, verdict)| {
                let broken = matches!(*verdict, "fail" | "warn" | "fail!");
                let requirement = if verdict.ends_with('!') { "other.thing" } else { "some.thing" };
                let findings = if broken {
                    json!([{"requirement": requirement, "verdict": "fail", "expected": "x", "actual": "nothing came"}])
                } else {
                    json!([])
                };
                json!({"id": id, "verdict": verdict.trim_end_matches('!'), "findings": findings})
            })
            .collect();
        let text = json!({
            "format": FORMAT, "version": VERSION,
            "target": {"name": format!("server of {file}"), "urls": ["http://h:1"], "path": "/", "provision": "rest", "missing": []},
            "summary": {"total": cases.len()}, "cases": cases, "dialect": dialect,
        });
        Recorded::read(file, &text.to_string()).unwrap()
    }

    #[track_caller]
    fn check(before: &str, after: &str, expected: Option<Change>) {
        let one = |verdict: &str| match verdict {
            "" => recorded("a.json", &[], &json!({})),
            verdict => recorded("a.json", &[("a.b", verdict)], &json!({})),
        };
        let comparison = Comparison::of(vec![one(before), one(after)]);
        let change = comparison.rows.first().and_then(|row| row.change(1));
        assert_eq!(change, expected, "{before} -> {after}");
        assert_eq!(
            comparison.newly_failing() > 0,
            expected == Some(Change::Fails)
        );
        assert_eq!(
            comparison.newly_unjudged() > 0,
            expected == Some(Change::Unjudged)
        );
    }

    #[test]
    fn changes_are_told_apart() {
        for verdict in ["pass", "fail", "warn", "info", "skip", "blocked", "error"] {
            check(verdict, verdict, None);
        }
        for before in ["", "pass", "warn", "info", "skip", "blocked", "error"] {
            check(before, "fail", Some(Change::Fails));
        }
        for after in ["pass", "warn", "info", "skip"] {
            check("fail", after, Some(Change::Passes));
        }
        check("pass", "error", Some(Change::Unjudged));
        check("fail", "blocked", Some(Change::Unjudged));
        check("blocked", "error", Some(Change::Differs));
        check("pass", "warn", Some(Change::Differs));
        check("warn", "pass", Some(Change::Differs));
        check("fail", "fail!", Some(Change::Differs));
        check("", "pass", Some(Change::Alone));
        check("fail", "", Some(Change::Alone));
        check("", "", None);
    }

    #[test]
    fn what_the_suite_writes_can_be_read() {
        let report = Recorded::read("a.json", &testing::render(Json::new)).unwrap();
        assert_eq!(report.summary, testing::report().summary);
        assert_eq!(report.cases.len(), testing::report().cases.len());
        let verdicts: Vec<_> = report.cases.iter().map(|case| case.verdict).collect();
        let expected: Vec<_> = testing::report()
            .cases
            .iter()
            .map(|case| case.verdict)
            .collect();
        assert_eq!(verdicts, expected);
    }

    #[test]
    fn what_is_no_report_is_named() {
        #[track_caller]
        fn check(text: &str, part: &str) {
            let error = Recorded::read("a.json", text).unwrap_err();
            let told = touchstone_output::text::error_chain(&error);
            assert!(told.contains("a.json") && told.contains(part), "{told}");
        }
        check("", "no touchstone-check report");
        check(
            r#"{"format":"touchstone-load","version":1}"#,
            "touchstone-load",
        );
        check(r#"{"format":"touchstone-check","version":2}"#, "version 2");
        check(
            r#"{"format":"touchstone-check","version":1}"#,
            "missing field",
        );
    }
}
