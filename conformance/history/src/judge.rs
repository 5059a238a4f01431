//! Reads a history and lets every rule hear it.

use std::time::Duration;

use touchstone_client::trace::Record;

use crate::{
    finding::{Findings, Violation},
    rules::Rules,
    story::Story,
};

/// How much of what happened a history shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Knowledge {
    /// Others may act on the same accounts unseen, as beside a monitor or a proxy.
    Partial,
    /// Whoever acts on its accounts is in it, from the beginning of each: made by the suite, the load
    /// generator, or the explorer.
    Complete,
}

/// The tools that make all traffic of the accounts that they record.
const COMPLETE: [&str; 3] = ["touchstone-check", "touchstone-explore", "touchstone-load"];

impl Knowledge {
    /// What the recordings of a tool show, by the name that their header gives it.
    pub fn of(tool: &str) -> Self {
        if COMPLETE.iter().any(|complete| tool.starts_with(complete)) {
            Self::Complete
        } else {
            Self::Partial
        }
    }
}

/// What a server has after it was killed and started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// Whatever it had acknowledged.
    Acknowledged,
    /// A part of that.
    Some,
    /// Nothing of that.
    Nothing,
}

/// Judges a history, record by record.
#[derive(Debug)]
pub struct Judge {
    story: Story,
    rules: Rules,
    findings: Findings,
}

impl Judge {
    /// A judge of a history that shows as much as `knowledge` says.
    pub fn new(knowledge: Knowledge) -> Self {
        Self {
            story: Story::default(),
            rules: Rules::new(knowledge),
            findings: Findings::default(),
        }
    }

    /// The same of a server that lets the callee of an RPC be silent for so long: without it that is taken for
    /// two seconds at least.
    pub fn rpc_timeout(mut self, time: Duration) -> Self {
        self.rules.rpc_timeout(time);
        self
    }

    /// What the next record shows to be wrong; mostly nothing.
    pub fn hear(&mut self, record: &Record) -> Vec<Violation> {
        let (rules, findings) = (&mut self.rules, &mut self.findings);
        self.story.tell(record, |happening, accounts| {
            rules.hear(happening, accounts, findings);
        });
        self.findings.take()
    }

    /// What the end of the history shows to be wrong.
    pub fn finish(&mut self) -> Vec<Violation> {
        self.rules.finish(&self.story.accounts, &mut self.findings);
        self.findings.take()
    }

    /// What the server kept over a restart, if it was restarted.
    pub fn keeps(&self) -> Option<Keeps> {
        self.rules.keeps()
    }

    /// How many records were heard.
    pub fn records(&self) -> u64 {
        self.story.records()
    }

    /// How many accounts were seen, as far as they can be told apart.
    pub fn accounts(&self) -> usize {
        self.story.accounts()
    }

    /// How many connections were seen.
    pub fn connections(&self) -> u64 {
        self.story.connections()
    }
}
