//! What a case or a requirement is about, for a person.

use std::fmt::Write as _;

use touchstone_output::text::plural;

use crate::{cases, requirements};
use touchstone_harness::ledger::Requirement;

/// The explanation of the case or requirement with this id, or `None` when there is no such thing.
pub fn explain(id: &str) -> Option<String> {
    explain_case(id).or_else(|| explain_requirement(id))
}

fn explain_case(id: &str) -> Option<String> {
    let case = cases().find(|case| case.id == id)?;
    let mut text = format!("{}\n\n", case.id);
    for line in case.doc.trim().lines() {
        let _ = writeln!(text, "{}", line.strip_prefix(' ').unwrap_or(line));
    }
    if !case.needs.is_empty() {
        let needs: Vec<_> = case.needs.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "\nNeeds {}.", needs.join(" and "));
    }
    if case.hazardous {
        text.push_str("\nHazardous: it has ended real servers, so it runs last and alone.\n");
    }
    if case.slow {
        text.push_str("\nSlow: it waits for a time-out of the server, beside the other cases.\n");
    }
    let _ = writeln!(
        text,
        "\nJudges {}:",
        plural(case.requirements.len(), "requirement")
    );
    for requirement in case.requirements {
        text.push_str(&line(requirement));
    }
    Some(text)
}

fn explain_requirement(id: &str) -> Option<String> {
    let requirement = requirements().find(|requirement| requirement.id == id)?;
    let mut text = line(requirement).trim_start().to_owned();
    let judged_by: Vec<_> = cases()
        .filter(|case| case.requirements.iter().any(|r| r.id == id))
        .map(|case| case.id)
        .collect();
    let _ = writeln!(text, "\nJudged by {}:", plural(judged_by.len(), "case"));
    for case in judged_by {
        let _ = writeln!(text, "  {case}");
    }
    Some(text)
}

fn line(requirement: &Requirement) -> String {
    let Requirement {
        id,
        level,
        basis,
        text,
    } = requirement;
    format!("  {level} {id} ({basis})\n    {text}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_and_requirement_is_explained() {
        for case in cases() {
            let text = explain(case.id).unwrap();
            assert!(text.starts_with(case.id), "{text}");
            for requirement in case.requirements {
                assert!(text.contains(requirement.text), "{text}");
            }
        }
        for requirement in requirements() {
            assert!(explain(requirement.id).is_some(), "{}", requirement.id);
        }
        assert_eq!(explain("no.such-case"), None);
    }

    #[test]
    fn snapshot() {
        insta::assert_snapshot!(explain("session.update-metadata.stale").unwrap());
    }
}
