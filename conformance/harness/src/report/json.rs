//! The JSON report: one document, written when the run is over. Its schema is
//! `schema/check-report.schema.json`; the format is an interface, so changes are additions.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
};

use serde::Serialize;
use touchstone_output::text::json_without_controls;

use crate::{
    event::{
        CaseReport, Dialect, Reporter, RunReport, StaleEntry, Summary, TargetSummary, TraceLine,
    },
    focus::Part,
    ledger::{Basis, Level},
    verdict::{Finding, Verdict},
};

use super::{Group, Section, groups, worst_requirement};

/// The value of `format` in the report.
pub const FORMAT: &str = "touchstone-check";

/// The version of the format.
pub const VERSION: u32 = 1;

/// The JSON Schema (2020-12) of the report.
pub const SCHEMA: &str = include_str!("../../schema/check-report.schema.json");

/// Writes the JSON report to `out`.
#[derive(Debug)]
pub struct Json<W> {
    out: W,
}

impl<W: Write> Json<W> {
    /// A report that is written to `out` when the run is over.
    pub fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write + Send> Reporter for Json<W> {
    fn finished(&mut self, run: &RunReport) -> io::Result<()> {
        let text = serde_json::to_string_pretty(&Document::of(run))?;
        writeln!(self.out, "{}", json_without_controls(&text))?;
        self.out.flush()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    format: &'static str,
    version: u32,
    touchstone: &'static str,
    target: &'a TargetSummary,
    started_at: u64,
    duration_ms: u64,
    seed: u64,
    summary: Summary,
    cases: Vec<CaseView<'a>>,
    groups: Vec<GroupView<'a>>,
    requirements: Vec<RequirementView>,
    dialect: &'a Dialect,
    #[serde(
        rename = "staleBaseline",
        skip_serializing_if = "<[StaleEntry]>::is_empty"
    )]
    stale: &'a [StaleEntry],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CaseView<'a> {
    id: &'static str,
    verdict: Verdict,
    level: Level,
    requirements: Vec<&'static str>,
    duration_ms: u64,
    flaky: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    known: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocked_by: Option<&'static str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    nodes: BTreeMap<&'a str, &'a str>,
    findings: Vec<FindingView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<FailureView<'a>>,
}

#[derive(Serialize)]
struct FindingView<'a> {
    requirement: &'static str,
    verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actual: Option<&'a str>,
    #[serde(rename = "toldBy", skip_serializing_if = "Option::is_none")]
    told_by: Option<&'static str>,
    #[serde(rename = "alsoIn", skip_serializing_if = "<[&str]>::is_empty")]
    also_in: &'a [&'static str],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    focus: Vec<usize>,
}

#[derive(Serialize)]
struct FailureView<'a> {
    requirement: &'static str,
    expected: &'a str,
    actual: &'a str,
    reproduce: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    look: String,
    focus: Vec<usize>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    missing: &'a [String],
    trace: Vec<LineView<'a>>,
}

#[derive(Serialize)]
struct LineView<'a> {
    #[serde(flatten)]
    line: &'a TraceLine,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<Part>,
}

#[derive(Serialize)]
struct GroupView<'a> {
    aspect: &'a str,
    requirements: Vec<&'static str>,
    cases: Vec<&'static str>,
}

/// The lines of the trace that made a finding.
fn lines(finding: &Finding) -> Vec<usize> {
    finding.focus.iter().map(|focus| focus.line).collect()
}

/// Failures and warnings that belong together, as the report for people shows them.
fn together(run: &RunReport) -> Vec<GroupView<'_>> {
    let sections = [Section::Failures, Section::Warnings];
    let of_section = sections.iter().flat_map(|&section| groups(run, section));
    of_section.map(|group| GroupView::of(&group)).collect()
}

impl<'a> GroupView<'a> {
    fn of(group: &Group<'a>) -> Self {
        let broken = group
            .cases
            .iter()
            .filter_map(|case| worst_requirement(case));
        let requirements: BTreeSet<_> = broken.map(|requirement| requirement.id).collect();
        Self {
            aspect: group.aspect,
            requirements: requirements.into_iter().collect(),
            cases: group.cases.iter().map(|case| case.id).collect(),
        }
    }
}

#[derive(Serialize)]
struct RequirementView {
    id: &'static str,
    level: Level,
    basis: Basis,
    text: &'static str,
    verdict: Verdict,
    cases: Vec<&'static str>,
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl<'a> Document<'a> {
    fn of(run: &'a RunReport) -> Self {
        Self {
            format: FORMAT,
            version: VERSION,
            touchstone: env!("CARGO_PKG_VERSION"),
            target: &run.target,
            started_at: run.started_at,
            duration_ms: millis(run.duration),
            seed: run.seed,
            summary: run.summary,
            cases: run.cases.iter().map(CaseView::of).collect(),
            groups: together(run),
            requirements: run
                .requirements
                .iter()
                .map(|report| RequirementView {
                    id: report.requirement.id,
                    level: report.requirement.level,
                    basis: report.requirement.basis,
                    text: report.requirement.text,
                    verdict: report.verdict,
                    cases: report.cases.clone(),
                })
                .collect(),
            dialect: &run.dialect,
            stale: &run.stale,
        }
    }
}

/// The trace of a case, with what each line has to do with the finding.
fn traced<'a>(case: &'a CaseReport, finding: &Finding) -> Vec<LineView<'a>> {
    let lines = case.trace.iter().enumerate();
    let view = |(at, line): (usize, &'a TraceLine)| {
        let focus = finding.focus.iter().find(|focus| focus.line == at);
        LineView {
            line,
            part: focus.map(|focus| focus.part),
        }
    };
    lines.map(view).collect()
}

impl<'a> CaseView<'a> {
    fn of(case: &'a CaseReport) -> Self {
        Self {
            id: case.id,
            verdict: case.verdict,
            level: case.level,
            requirements: case.requirements.iter().map(|r| r.id).collect(),
            duration_ms: millis(case.duration),
            flaky: case.flaky,
            known: case.known.as_deref(),
            reason: case.reason.as_deref(),
            blocked_by: case.blocked_by.map(|requirement| requirement.id),
            notes: &case.notes,
            nodes: case
                .nodes
                .iter()
                .map(|(conn, node)| (conn.as_str(), node.as_str()))
                .collect(),
            findings: case
                .findings
                .iter()
                .map(|finding| FindingView {
                    requirement: finding.requirement.id,
                    verdict: finding.verdict(),
                    expected: finding.broken.as_ref().map(|b| b.expected.as_str()),
                    actual: finding.broken.as_ref().map(|b| b.actual.as_str()),
                    told_by: finding.told_by,
                    also_in: &finding.also_in,
                    focus: lines(finding),
                })
                .collect(),
            failure: case.told().next().map(|(finding, mismatch)| FailureView {
                requirement: finding.requirement.id,
                expected: &mismatch.expected,
                actual: &mismatch.actual,
                reproduce: &case.reproduce,
                cause: case.cause(),
                look: case.look(),
                focus: lines(finding),
                missing: &finding.missing,
                trace: traced(case, finding),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::report::testing;

    #[test]
    fn snapshot() {
        let version = format!(r#""touchstone": "{}""#, env!("CARGO_PKG_VERSION"));
        insta::assert_snapshot!(
            testing::render(Json::new).replace(&version, r#""touchstone": "VERSION""#)
        );
    }

    #[test]
    fn what_a_hostile_server_said_is_kept_without_orders() {
        let report: Value = serde_json::from_str(&testing::render_hostile(Json::new)).unwrap();
        assert_eq!(report["cases"][1]["failure"]["actual"], testing::HOSTILE);
    }

    #[test]
    fn the_report_agrees_with_its_schema() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        jsonschema::meta::validate(&schema).unwrap();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let report: Value = serde_json::from_str(&testing::render(Json::new)).unwrap();
        let errors: Vec<_> = validator
            .iter_errors(&report)
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{errors:?}");

        let mut renamed = report;
        let case = renamed["cases"][0].as_object_mut().unwrap();
        let id = case.remove("id").unwrap();
        case.insert("name".into(), id);
        assert!(!validator.is_valid(&renamed), "the schema accepts anything");
    }
}
