//! What is found out about the two sides of a proxy: what no right server could have done.

use touchstone_client::trace::Record;
use touchstone_fixtures::Level;
use touchstone_history::{Judge, Knowledge, Violation};
use touchstone_output::text::plural;
use touchstone_tui_monitor::event::{Lint, LintKind};

/// How many violations are kept for the summary. More are counted.
const KEPT: usize = 20;

/// The judge of what goes by, and what it has found.
pub(crate) struct Inspection {
    judge: Judge,
    musts: u64,
    others: u64,
    kept: Vec<Violation>,
}

impl Default for Inspection {
    fn default() -> Self {
        Self {
            judge: Judge::new(Knowledge::Partial),
            musts: 0,
            others: 0,
            kept: Vec::new(),
        }
    }
}

impl Inspection {
    /// Looks at the next record; what is wrong with it, for whoever shows it.
    pub(crate) fn see(&mut self, record: &Record) -> Vec<Lint> {
        let found = self.judge.hear(record);
        self.count(found)
    }

    /// Nothing follows.
    pub(crate) fn finish(&mut self) {
        let found = self.judge.finish();
        self.count(found);
    }

    fn count(&mut self, found: Vec<Violation>) -> Vec<Lint> {
        let lints = found.iter().map(lint).collect();
        for violation in found {
            match violation.level {
                Level::Must => self.musts += 1,
                _ => self.others += 1,
            }
            if self.kept.len() < KEPT {
                self.kept.push(violation);
            }
        }
        lints
    }

    /// Whether a requirement of level MUST was broken.
    pub(crate) fn has_failures(&self) -> bool {
        self.musts > 0
    }

    /// What was found, as lines for people.
    pub(crate) fn summary(&self) -> Vec<String> {
        let records = plural(self.judge.records(), "record");
        let connections = plural(self.judge.connections(), "connection");
        let accounts = plural(self.judge.accounts(), "account");
        let mut lines = vec![match self.musts + self.others {
            0 => format!("{records} of {connections} and {accounts}: nothing wrong found"),
            found => format!(
                "{records} of {connections} and {accounts}: {}, of which {} of level MUST",
                plural(found, "violation"),
                self.musts
            ),
        }];
        lines.extend(self.kept.iter().map(|violation| lint(violation).text));
        let more = self.musts + self.others - self.kept.len() as u64;
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        lines
    }
}

fn lint(violation: &Violation) -> Lint {
    Lint {
        kind: LintKind::Rule,
        text: format!(
            "{} {}: {}",
            violation.level, violation.requirement, violation.text
        ),
    }
}
