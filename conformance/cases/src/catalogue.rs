//! The page that lists every requirement, `docs/requirements.md`. It is generated, so that it cannot
//! tell anything that the suite does not judge; a test keeps it current.

use std::{collections::HashMap, fmt::Write as _};

use touchstone_output::text::plural;

use crate::{cases, requirements};
use touchstone_harness::ledger::{Level, Requirement};

const HEAD: &str = "\
# Requirements

What `touchstone check` judges, generated from the ledger of the suite. **MUST**: the specification says
so; breaking it fails a run. **SHOULD**: real clients rely on it; breaking it is a warning. **INFO**: a
trait in which right servers may differ; it goes on the dialect card and is never judged. The basis is
the specification, or a decision where the specification is silent.

`touchstone explain ID` tells more about any requirement or case named here.
";

/// The page, as Markdown.
pub fn catalogue() -> String {
    let mut judged_by: HashMap<&str, Vec<&str>> = HashMap::new();
    for case in cases() {
        for requirement in case.requirements {
            judged_by.entry(requirement.id).or_default().push(case.id);
        }
    }
    let mut groups: Vec<(&str, Vec<&Requirement>)> = Vec::new();
    for requirement in requirements() {
        let group = requirement.id.split('.').next().unwrap_or(requirement.id);
        match groups.iter_mut().find(|(name, _)| *name == group) {
            Some((_, members)) => members.push(requirement),
            None => groups.push((group, vec![requirement])),
        }
    }
    groups.sort_by_key(|(name, _)| *name);
    let mut page = HEAD.to_owned();
    let count = |level| {
        requirements()
            .filter(|requirement| requirement.level == level)
            .count()
    };
    let _ = writeln!(
        page,
        "\n{} ({} MUST, {} SHOULD, {} INFO), judged by {}.",
        plural(requirements().count(), "requirement"),
        count(Level::Must),
        count(Level::Should),
        count(Level::Info),
        plural(cases().count(), "case"),
    );
    for (group, members) in groups {
        let _ = writeln!(page, "\n## {group}");
        for Requirement {
            id,
            level,
            basis,
            text,
        } in members
        {
            let judges = judged_by.get(id).map_or(&[][..], Vec::as_slice);
            let judges: Vec<_> = judges.iter().map(|case| format!("`{case}`")).collect();
            let judges = match judges.as_slice() {
                [] => "no case of its own: told wherever it is seen".to_owned(),
                some => some.join(", "),
            };
            let _ = writeln!(
                page,
                "\n### `{id}`\n\n**{level}** ({basis}) {text}\n\nCases: {judges}"
            );
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `UPDATE=1 cargo test -p touchstone-cases catalogue` writes the page anew.
    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "a test asks whether to write the page"
    )]
    fn the_page_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/requirements.md");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, catalogue()).unwrap();
        }
        let page = std::fs::read_to_string(path).unwrap_or_default();
        let current = catalogue();
        let differs = page
            .lines()
            .zip(current.lines())
            .find(|(old, new)| old != new);
        assert!(
            page == current,
            "docs/requirements.md is not what the ledger says; UPDATE=1 cargo test -p \
             touchstone-cases catalogue writes it anew. First difference: {differs:?}"
        );
    }
}
