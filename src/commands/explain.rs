//! `touchstone explain`: what a case, a requirement, or a rule of the judge is about.

use std::collections::HashSet;

use globset::Glob;
use touchstone_cases::{cases, explain, requirements};
use touchstone_history::{Knowledge, RULES};

use crate::args::ExplainArguments;
use crate::error::Failure;
use crate::exit::Exit;
use crate::output;
use touchstone_output::suggest;

/// Explains every case, requirement and rule whose id matches.
pub(crate) fn run(arguments: &ExplainArguments) -> Result<Exit, Failure> {
    let glob = Glob::new(&arguments.case)
        .map_err(Failure::usage)?
        .compile_matcher();
    let mut ids: Vec<&str> = all_ids().filter(|id| glob.is_match(id)).collect();
    // A case and the requirement that it judges may have one id; the case tells of both.
    let mut seen = HashSet::new();
    ids.retain(|id| seen.insert(*id));
    if ids.is_empty() {
        let error = anyhow::anyhow!("no case, requirement or rule is called {}", arguments.case);
        let failure = Failure::expected(Exit::NothingSelected, error);
        return Err(
            failure.hint(match suggest::closest(&arguments.case, all_ids()) {
                Some(id) => format!("did you mean {id}?"),
                None => "touchstone check --list shows all cases".to_owned(),
            }),
        );
    }
    let texts: Vec<String> = ids
        .into_iter()
        .filter_map(|id| explain(id).or_else(|| explain_rule(id)))
        .collect();
    output::print(&texts.join("\n"))
}

fn all_ids() -> impl Iterator<Item = &'static str> {
    let requirements = requirements().map(|requirement| requirement.id);
    let rules = RULES.iter().map(|rule| rule.name);
    cases().map(|case| case.id).chain(requirements).chain(rules)
}

/// What a rule of the judge of histories says.
fn explain_rule(name: &str) -> Option<String> {
    let rule = RULES.iter().find(|rule| rule.name == name)?;
    let needs = match rule.needs {
        Knowledge::Partial => "of any trace",
        Knowledge::Complete => "of traces that show everybody who acts on their accounts",
    };
    Some(format!(
        "{name}\n\n{}\n\n`touchstone judge` judges it {needs}.\n",
        rule.text
    ))
}
