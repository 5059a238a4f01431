//! What was explored, in every form.

use std::fmt::Write as _;
use std::path::PathBuf;

use quick_junit::{Report as JUnit, TestCase, TestCaseStatus, TestSuite};
use serde_json::{Value, json};
use touchstone_explore::{Ended, Explored, Finding};
use touchstone_history::{Keeps, Level};
use touchstone_output::text::{json_without_controls, one_line, plural};
use touchstone_output::{
    Style,
    markdown::{block, code},
};

use crate::commands::violation::{requirement_text, test_case, title};

/// What was explored, and how to do it again.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) explored: Explored,
    pub(super) target: String,
    pub(super) command: String,
    pub(super) started_at: u64,
    pub(super) seed: u64,
    /// The trace of each requirement.
    pub(super) traces: Vec<(&'static str, PathBuf)>,
}

impl Report {
    pub(super) fn summary(&self) -> String {
        let explored = &self.explored;
        let seconds = explored.elapsed.as_secs_f64();
        let pace = (explored.operations as f64 / seconds.max(0.001)).round();
        let count = |level| {
            let of_level = explored
                .findings
                .iter()
                .filter(|one| one.violation.level == level);
            of_level.count()
        };
        let found = match (count(Level::Must), count(Level::Should)) {
            (0, 0) => "nothing that a right server could not have done".to_owned(),
            (musts, 0) => format!("{} of level MUST broken", plural(musts, "requirement")),
            (0, shoulds) => format!("{} of level SHOULD broken", plural(shoulds, "requirement")),
            (musts, shoulds) => format!(
                "{} of level MUST broken, {shoulds} of level SHOULD",
                plural(musts, "requirement")
            ),
        };
        let mut text = format!(
            "{}, {} in {seconds:.0} s ({pace} per second), first seed {}: {found}.",
            plural(explored.rounds, "round"),
            plural(explored.operations, "operation"),
            self.seed
        );
        if let Some(keeps) = explored.keeps {
            let kept = match keeps {
                Keeps::Acknowledged => "all that it had acknowledged",
                Keeps::Some => "a part of what it had acknowledged",
                Keeps::Nothing => "nothing",
            };
            let _ = write!(text, " Killed and started again, it had {kept}.");
        }
        if explored.unrun > 0 {
            let _ = write!(
                text,
                " {} could not be run",
                plural(explored.unrun, "round")
            );
            if let Some(error) = &explored.error {
                let _ = write!(text, ": {error}");
            }
            text.push('.');
        }
        if explored.ended == Ended::Interrupted {
            text.push_str(" Ended by the user.");
        }
        text
    }

    pub(super) fn reproduce(&self, finding: &Finding) -> String {
        format!("{} --seed {} --rounds 1", self.command, finding.seed)
    }

    fn trace(&self, finding: &Finding) -> Option<String> {
        let of_finding =
            |(requirement, _): &&(&str, PathBuf)| *requirement == finding.violation.requirement;
        let found = self.traces.iter().find(of_finding);
        found.map(|(_, path)| path.display().to_string())
    }

    /// The summary for people.
    pub(super) fn text(&self, style: Style, _: Option<usize>) -> String {
        let mut text = String::new();
        for finding in &self.explored.findings {
            let violation = &finding.violation;
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "{}  {}\n  {}\n  broken in {}; {}\n",
                title(style, violation.level, violation.requirement),
                requirement_text(violation.requirement),
                one_line(&violation.text),
                plural(finding.rounds, "round"),
                shown(finding)
            );
            // The same steps are told once.
            let before = self.before(finding);
            if let Some(before) = before {
                let _ = writeln!(text, "  the same steps as for {before}\n");
                continue;
            }
            for (number, step) in (1..).zip(&finding.steps) {
                let _ = writeln!(text, "  {number:>3}. {}", one_line(step));
            }
            let _ = writeln!(text, "\n{}", finding.diagram);
            let _ = writeln!(text, "  again: {}", self.reproduce(finding));
            if let Some(trace) = self.trace(finding) {
                let _ = writeln!(text, "  trace: touchstone watch --open {trace}");
            }
            text.push('\n');
        }
        let target = one_line(&self.target);
        let _ = writeln!(text, "{target}: {}", self.summary());
        text
    }

    /// The requirement of an earlier finding that has the same steps.
    fn before(&self, finding: &Finding) -> Option<&'static str> {
        let is_other =
            |other: &&Finding| other.violation.requirement != finding.violation.requirement;
        let earlier = self.explored.findings.iter().take_while(is_other);
        let same = |other: &&Finding| (other.seed, &other.steps) == (finding.seed, &finding.steps);
        earlier
            .filter(same)
            .map(|other| other.violation.requirement)
            .next()
    }

    /// The report for programs.
    pub(super) fn json(&self) -> String {
        let explored = &self.explored;
        let violations: Vec<Value> = explored
            .findings
            .iter()
            .map(|one| self.finding_json(one))
            .collect();
        let report = json!({
            "format": "touchstone-explore",
            "version": 1,
            "touchstone": env!("CARGO_PKG_VERSION"),
            "target": {"name": self.target},
            "startedAt": self.started_at,
            "durationMs": u64::try_from(explored.elapsed.as_millis()).unwrap_or(u64::MAX),
            "seed": self.seed,
            "summary": {
                "rounds": explored.rounds,
                "operations": explored.operations,
                "violations": violations.len(),
                "restartKeeps": keeps_json(explored.keeps),
                "unrun": explored.unrun,
                "interrupted": explored.ended == Ended::Interrupted,
            },
            "violations": violations,
        });
        json_without_controls(&format!("{report:#}\n"))
    }

    fn finding_json(&self, finding: &Finding) -> Value {
        json!({
            "requirement": finding.violation.requirement,
            "level": finding.violation.level.to_string(),
            "rule": finding.violation.rule,
            "text": finding.violation.text,
            "records": finding.violation.records,
            "seed": finding.seed,
            "rounds": finding.rounds,
            "steps": finding.steps,
            "diagram": finding.diagram.to_string(),
            "trace": self.trace(finding),
            "reproduce": self.reproduce(finding),
            "shrunkFrom": finding.shrunk[0],
            "shrunkTo": finding.shrunk[1],
            "shown": finding.shown[0],
            "tries": finding.shown[1],
        })
    }

    /// The report for a pull request.
    pub(super) fn markdown(&self) -> String {
        let mut text = format!(
            "# Exploration of {}\n\n{}\n",
            touchstone_output::markdown::code(&self.target),
            self.summary()
        );
        for finding in &self.explored.findings {
            let violation = &finding.violation;
            let _ = writeln!(
                text,
                "\n## `{}`\n\n**{}** {}\n\n{}\n\n{}\n",
                violation.requirement,
                violation.level,
                requirement_text(violation.requirement),
                code(&violation.text),
                shown(finding)
            );
            for (number, step) in (1..).zip(&finding.steps) {
                let _ = writeln!(text, "{number}. {}", code(step));
            }
            let diagram = finding.diagram.to_string();
            let _ = writeln!(
                text,
                "\n{}\n\n{}",
                block(diagram.trim_end()),
                code(&self.reproduce(finding))
            );
        }
        text
    }

    /// The report for CI systems: a case for each requirement that is broken.
    pub(super) fn junit(&self) -> std::io::Result<String> {
        let mut report = JUnit::new("touchstone explore");
        let mut suite = TestSuite::new(self.target.as_str());
        if self.explored.findings.is_empty() {
            suite.add_test_case(TestCase::new("explored", TestCaseStatus::success()));
        }
        for finding in &self.explored.findings {
            let violation = &finding.violation;
            let steps = finding.steps.iter().map(|step| one_line(step).into_owned());
            let details = format!(
                "{}\n{}",
                steps.collect::<Vec<_>>().join("\n"),
                self.reproduce(finding)
            );
            let mut case = test_case(violation, details);
            case.set_system_out(one_line(&violation.text));
            suite.add_test_case(case);
        }
        report.add_test_suite(suite);
        report.to_string().map_err(std::io::Error::other)
    }
}

/// How small the history is, and how often it shows.
pub(super) fn shown(finding: &Finding) -> String {
    let [from, to] = finding.shrunk;
    let size = match from == to {
        true => plural(to, "step"),
        false => format!("{to} of {}", plural(from, "step")),
    };
    match finding.shown {
        [_, 0] => format!("{size}; not seen again"),
        [shown, tries] => format!(
            "{size}; these show it in {shown} of {}",
            match tries {
                1 => "1 try".to_owned(),
                tries => format!("{tries} tries"),
            }
        ),
    }
}

fn keeps_json(keeps: Option<Keeps>) -> Value {
    match keeps {
        Some(Keeps::Acknowledged) => "acknowledged".into(),
        Some(Keeps::Some) => "some".into(),
        Some(Keeps::Nothing) => "nothing".into(),
        None => Value::Null,
    }
}
