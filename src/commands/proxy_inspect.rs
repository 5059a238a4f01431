//! What is found out about the two sides of a proxy: what no right server could have done, and what
//! clients do.

use std::collections::BTreeMap;

use touchstone_client::trace::Record;
use touchstone_fixtures::Level;
use touchstone_history::{Judge, Knowledge, Violation};
use touchstone_output::text::plural;
use touchstone_proxy::Clients;
use touchstone_tui_monitor::event::Lint;

/// The judge of what goes by, what it has found, and what clients do.
pub(crate) struct Inspection {
    judge: Judge,
    clients: Clients,
    /// By requirement: how often it was broken, and how at first.
    found: BTreeMap<&'static str, (u64, Violation)>,
}

impl Default for Inspection {
    fn default() -> Self {
        Self {
            judge: Judge::new(Knowledge::Partial),
            clients: Clients::default(),
            found: BTreeMap::new(),
        }
    }
}

impl Inspection {
    /// Looks at the next record; what is wrong with it, for whoever shows it.
    pub(crate) fn see(&mut self, record: &Record) -> Vec<Lint> {
        self.clients.see(record);
        let found = self.judge.hear(record);
        self.count(found)
    }

    /// Nothing follows.
    pub(crate) fn finish(&mut self) {
        let found = self.judge.finish();
        self.count(found);
    }

    fn count(&mut self, found: Vec<Violation>) -> Vec<Lint> {
        let lints = found.iter().map(Lint::from).collect();
        for violation in found {
            let first = self.found.entry(violation.requirement);
            first.or_insert((0, violation)).0 += 1;
        }
        lints
    }

    /// Whether a requirement of level MUST was broken.
    pub(crate) fn has_failures(&self) -> bool {
        self.musts() > 0
    }

    /// How often requirements of level MUST were broken.
    fn musts(&self) -> u64 {
        let found = self.found.values();
        let musts = found.filter(|(_, first)| first.level == Level::Must);
        musts.map(|(count, _)| count).sum()
    }

    /// What clients have done until now, as lines for people.
    pub(crate) fn card(&self) -> Vec<String> {
        self.clients.card()
    }

    /// What was found, as lines for people.
    pub(crate) fn summary(&self) -> Vec<String> {
        let records = plural(self.judge.records(), "record");
        let connections = plural(self.judge.connections(), "connection");
        let accounts = plural(self.judge.accounts(), "account");
        let found: u64 = self.found.values().map(|(count, _)| count).sum();
        let mut lines = vec![match found {
            0 => format!("{records} of {connections} and {accounts}: nothing wrong found"),
            _ => format!(
                "{records} of {connections} and {accounts}: {}, of which {} of level MUST",
                plural(found, "violation"),
                self.musts()
            ),
        }];
        for (count, first) in self.found.values() {
            let more = match count {
                1 => String::new(),
                count => format!(" ({count} times)"),
            };
            lines.push(format!("{}{more}", Lint::from(first)));
        }
        lines.extend(
            self.card()
                .into_iter()
                .map(|line| format!("INFO clients: {line}")),
        );
        lines
    }
}
