//! What was judged of recordings, in every form.

use std::fmt::Write as _;
use std::path::PathBuf;

use maud::html;
use quick_junit::{Report, TestCase, TestCaseStatus, TestSuite};
use serde_json::{Value, json};
use touchstone_client::trace::Header;
use touchstone_fixtures::Level;
use touchstone_history::{Knowledge, Violation};
use touchstone_output::html::page;
use touchstone_output::text::{json_without_controls, one_line, plural};
use touchstone_output::{Style, markdown::code};

use crate::commands::violation::{requirement_text, test_case, title};

/// How many violations of one requirement a person is shown.
const SHOWN: usize = 3;

/// What was judged.
#[derive(Debug, Default)]
pub(super) struct Judgment {
    pub(super) traces: Vec<Judged>,
}

/// What was judged of one trace.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) path: PathBuf,
    pub(super) header: Header,
    pub(super) knowledge: Knowledge,
    pub(super) records: u64,
    pub(super) accounts: usize,
    /// Those that began while it was recorded: of others nobody knows what they are.
    pub(super) connections: u64,
    pub(super) packets: u64,
    /// How many lines cannot be read.
    pub(super) unread: u64,
    pub(super) violations: Vec<Violation>,
}

/// The violations of one requirement, over all traces.
struct Group<'a> {
    requirement: &'static str,
    level: Level,
    found: Vec<(&'a Judged, &'a Violation)>,
}

impl Judgment {
    /// Whether a MUST was broken.
    pub(super) fn has_failures(&self) -> bool {
        self.count(Level::Must) > 0
    }

    /// Whether there are packets, and of none is known on what connection.
    pub(super) fn is_blind(&self) -> bool {
        let mut violations = self.traces.iter().flat_map(|trace| &trace.violations);
        violations.next().is_none()
            && self.sum(|trace| trace.connections) == 0
            && self.sum(|trace| trace.packets) > 0
    }

    fn count(&self, level: Level) -> u64 {
        let violations = self.traces.iter().flat_map(|trace| &trace.violations);
        violations
            .filter(|violation| violation.level == level)
            .count() as u64
    }

    /// What was found, MUST before SHOULD, the rarest first: of many findings most are one mistake.
    fn groups(&self) -> Vec<Group<'_>> {
        let mut groups: Vec<Group<'_>> = Vec::new();
        for trace in &self.traces {
            for violation in &trace.violations {
                let known = groups
                    .iter_mut()
                    .find(|group| group.requirement == violation.requirement);
                match known {
                    Some(group) => group.found.push((trace, violation)),
                    None => groups.push(Group {
                        requirement: violation.requirement,
                        level: violation.level,
                        found: vec![(trace, violation)],
                    }),
                }
            }
        }
        groups.sort_by_key(|group| (group.level == Level::Should, group.found.len()));
        groups
    }

    fn sum(&self, of: fn(&Judged) -> u64) -> u64 {
        self.traces.iter().map(of).sum()
    }

    fn summary(&self) -> String {
        let (musts, shoulds) = (self.count(Level::Must), self.count(Level::Should));
        let found = match (musts, shoulds) {
            (0, 0) if self.is_blind() => {
                "nothing could be judged, since no connection began while it was recorded"
                    .to_owned()
            }
            (0, 0) => "nothing that a right server could not have done".to_owned(),
            (0, shoulds) => format!("{} of a SHOULD", plural(shoulds, "violation")),
            (musts, 0) => format!("{} of a MUST", plural(musts, "violation")),
            (musts, shoulds) => format!(
                "{} of a MUST, {shoulds} of a SHOULD",
                plural(musts, "violation")
            ),
        };
        let partial = self
            .traces
            .iter()
            .filter(|trace| trace.knowledge == Knowledge::Partial)
            .count() as u64;
        let rules = if partial > 0 {
            format!(
                " {} may not show everybody: only the rules that need not know them hold there.",
                plural(partial, "trace")
            )
        } else {
            String::new()
        };
        format!(
            "{}, {}, {}: {found}.{rules}",
            plural(self.traces.len(), "trace"),
            plural(self.sum(|trace| trace.records), "record"),
            plural(self.sum(|trace| trace.connections), "connection"),
        )
    }

    /// The summary for people.
    pub(super) fn text(&self, style: Style, _: Option<usize>) -> String {
        let mut text = String::new();
        for group in self.groups() {
            let (level, id) = (group.level, group.requirement);
            let title = title(style, level, id);
            // Writing to a string does not fail.
            let _ = writeln!(text, "{title}  {}", requirement_text(id));
            for (trace, violation) in group.found.iter().take(SHOWN) {
                let _ = writeln!(
                    text,
                    "  {}\n    {}",
                    one_line(&violation.text),
                    place(trace, violation)
                );
            }
            let more = group.found.len().saturating_sub(SHOWN);
            if more > 0 {
                let _ = writeln!(text, "  and {more} more; --report json=FILE has all");
            }
            let _ = writeln!(
                text,
                "  `touchstone watch --open {}` shows them\n",
                group.found[0].0.path.display()
            );
        }
        text + &self.summary() + "\n"
    }

    /// The report for programs.
    pub(super) fn json(&self) -> String {
        let traces: Vec<Value> = self.traces.iter().map(trace_json).collect();
        let violations: Vec<Value> = self
            .traces
            .iter()
            .flat_map(|trace| {
                trace
                    .violations
                    .iter()
                    .map(|one| violation_json(trace, one))
            })
            .collect();
        let report = json!({
            "format": "touchstone-judge",
            "version": 1,
            "touchstone": env!("CARGO_PKG_VERSION"),
            "summary": {
                "records": self.sum(|trace| trace.records),
                "accounts": self.sum(|trace| trace.accounts as u64),
                "connections": self.sum(|trace| trace.connections),
                "complete": self.traces.iter().all(|trace| trace.knowledge == Knowledge::Complete),
                "violations": violations.len(),
            },
            "traces": traces,
            "violations": violations,
        });
        json_without_controls(&format!("{report:#}\n"))
    }

    /// The report for a pull request.
    pub(super) fn markdown(&self) -> String {
        let mut text = format!("# Judgment\n\n{}\n", self.summary());
        for group in self.groups() {
            let (level, id) = (group.level, group.requirement);
            let _ = writeln!(
                text,
                "\n## `{id}`\n\n**{level}** {}\n",
                requirement_text(id)
            );
            for (trace, violation) in &group.found {
                let _ = writeln!(
                    text,
                    "- {} ({})",
                    code(&violation.text),
                    place(trace, violation)
                );
            }
        }
        text
    }

    /// The report as a page.
    pub(super) fn html(&self) -> String {
        let body = html! {
            h1 { "Judgment" }
            p { (self.summary()) }
            @for group in self.groups() {
                section id=(group.requirement) {
                    h2 { (group.level) " " code { (group.requirement) } }
                    p { (requirement_text(group.requirement)) }
                    ul {
                        @for (trace, violation) in &group.found {
                            li { (one_line(&violation.text)) " " small { (place(trace, violation)) } }
                        }
                    }
                }
            }
        };
        page(
            "touchstone judge",
            "small { color: var(--dim); }",
            &[],
            &body,
        )
    }

    /// The report for CI systems: a suite for each trace, a case for each requirement that it breaks.
    pub(super) fn junit(&self) -> std::io::Result<String> {
        let mut report = Report::new("touchstone judge");
        for trace in &self.traces {
            let mut suite = TestSuite::new(trace.path.display().to_string());
            if trace.violations.is_empty() {
                suite.add_test_case(TestCase::new("judged", TestCaseStatus::success()));
            }
            for violation in &trace.violations {
                let mut case = test_case(violation, place(trace, violation));
                let text = one_line(&violation.text);
                case.set_system_out(format!("{text}\n{}", place(trace, violation)));
                suite.add_test_case(case);
            }
            report.add_test_suite(suite);
        }
        report.to_string().map_err(std::io::Error::other)
    }
}

/// Where the records of a violation stand: the header of a trace is its first line.
fn place(trace: &Judged, violation: &Violation) -> String {
    let lines: Vec<String> = violation
        .records
        .iter()
        .map(|record| (record + 1).to_string())
        .collect();
    let word = if lines.len() == 1 { "line" } else { "lines" };
    format!("{} {word} {}", trace.path.display(), lines.join(", "))
}

fn trace_json(trace: &Judged) -> Value {
    json!({
        "path": trace.path.display().to_string(),
        "tool": trace.header.tool,
        "target": trace.header.target,
        "startedAt": trace.header.started_at,
        "complete": trace.knowledge == Knowledge::Complete,
        "records": trace.records,
        "accounts": trace.accounts,
        "connections": trace.connections,
        "unread": trace.unread,
    })
}

fn violation_json(trace: &Judged, violation: &Violation) -> Value {
    json!({
        "requirement": violation.requirement,
        "level": violation.level.to_string(),
        "rule": violation.rule,
        "text": violation.text,
        "trace": trace.path.display().to_string(),
        "records": violation.records,
    })
}
