//! Renderers of a run. Each one consumes [`crate::event::RunEvent`]s and writes to a given writer; none
//! of them knows how cases run, and none opens a file or touches a terminal.
//!
//! What comes from the server under test may be hostile. Each renderer passes it through
//! [`touchstone_output::text::clean`] and through the escaping of its own format.

mod baseline_file;
mod github;
mod groups;
mod html;
mod json;
mod junit;
mod markdown;
mod shown;
mod terminal;

#[cfg(test)]
pub(crate) mod testing;

pub use baseline_file::BaselineFile;
pub use github::GitHub;
use groups::{Group, Section, all_groups, groups, worst_requirement};
pub use html::Html;
pub use html::page::{badge, filters, page};
pub use json::{FORMAT, Json, SCHEMA, VERSION};
pub use junit::JUnit;
pub use markdown::Markdown;
pub use terminal::{Shows, Terminal};
pub(crate) use touchstone_output::text::{clean, one_line, plural};

use std::collections::BTreeMap;

use crate::{
    event::{CaseReport, Direction, RunReport, Summary, TraceLine},
    ledger::Requirement,
    verdict::{Finding, Verdict},
};

/// What a target does not offer, what lacks for the same reason together.
fn not_offered(missing: &[String]) -> Vec<String> {
    let mut grouped: Vec<(Vec<&str>, &str)> = Vec::new();
    for one in missing {
        let (what, why) = one.split_once(": ").unwrap_or((one, ""));
        match grouped
            .iter_mut()
            .find(|(_, known)| *known == why && !why.is_empty())
        {
            Some((all, _)) => all.push(what.strip_prefix("no ").unwrap_or(what)),
            None => grouped.push((vec![what], why)),
        }
    }
    let told = grouped.into_iter().map(|(all, why)| match why {
        "" => all.concat(),
        why => format!("{}: {why}", all.join(", ")),
    });
    told.collect()
}

/// `3 failed (1 known), 2 warned`: what happened, leaving out what did not.
pub(crate) fn counts(summary: &Summary) -> String {
    let counts: Vec<_> = Verdict::ALL
        .iter()
        .filter(|&&verdict| summary.count(verdict) > 0)
        .map(|&verdict| tally_of(summary, verdict))
        .collect();
    match counts.as_slice() {
        [] => "nothing ran".into(),
        some => some.join(", "),
    }
}

/// `3 failed (1 known)`: the cases of a run with one verdict.
pub(crate) fn tally_of(summary: &Summary, verdict: Verdict) -> String {
    let text = tally(summary.count(verdict), verdict);
    match verdict {
        Verdict::Fail if summary.known > 0 => format!("{text} ({} known)", summary.known),
        Verdict::Warn if summary.flaky > 0 => format!("{text} ({} flaky)", summary.flaky),
        _ => text,
    }
}

/// `3 failed`.
pub(crate) fn tally(count: usize, verdict: Verdict) -> String {
    let word = match verdict {
        Verdict::Pass => "passed",
        Verdict::Fail => "failed",
        Verdict::Warn => "warned",
        Verdict::Info => "differ",
        Verdict::Skip => "skipped",
        Verdict::Blocked => "blocked",
        Verdict::Error => "with an error",
    };
    format!("{count} {word}")
}

/// How an arrow tells who speaks.
pub(crate) fn arrow(direction: Direction) -> char {
    match direction {
        Direction::C2s => '>',
        Direction::S2c => '<',
        Direction::Http => '=',
        Direction::Mark => '·',
    }
}

/// Milliseconds since the case began.
pub(crate) fn trace_ms(line: &TraceLine) -> String {
    let ms = std::time::Duration::from_micros(line.at_us).as_secs_f64() * 1000.0;
    format!("{ms:.1}")
}

/// The lines of a wire trace, each with its time, its connection and who speaks.
pub(crate) fn trace_lines(trace: &[TraceLine]) -> impl Iterator<Item = String> {
    let width = trace.iter().map(|line| line.conn.len()).max().unwrap_or(0);
    trace.iter().map(move |line| {
        let (ms, arrow, said) = (trace_ms(line), arrow(line.dir), one_line(&line.text));
        format!("{ms:>9}  {:width$} {arrow} {said}", one_line(&line.conn))
    })
}

/// The value of a trait as people read it: texts without quotes.
pub(crate) fn trait_text(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => one_line(text).into_owned(),
        other => one_line(&other.to_string()).into_owned(),
    }
}

/// The cases that a reader has to look at: failures, then warnings, then what is flaky, known, or could not
/// be carried out for a reason of its own; those of one mistake side by side.
pub(crate) fn to_explain(run: &RunReport) -> Vec<&CaseReport> {
    all_groups(run).flat_map(|(_, group)| group.cases).collect()
}

/// The word for a case, where its verdict is not all that there is to say.
pub(crate) fn word(case: &CaseReport) -> &'static str {
    match case.verdict {
        Verdict::Fail if case.known.is_some() => "known",
        _ if case.flaky => "flaky",
        verdict => verdict.as_str(),
    }
}

/// `u1 at http://a, s1 at http://b`: the nodes of a case's connections, where there are several.
pub(crate) fn nodes(case: &CaseReport) -> Option<String> {
    let at = |(conn, node): &(String, String)| format!("{conn} at {node}");
    let all: Vec<_> = case.nodes.iter().map(at).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

/// Cases of one verdict by their common reason, except those that lost their server: a hundred identical
/// lines help nobody.
pub(crate) fn by_reason<'r>(
    cases: impl IntoIterator<Item = &'r CaseReport>,
    verdict: Verdict,
) -> BTreeMap<&'r str, Vec<&'r str>> {
    let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let of = |case: &&CaseReport| case.verdict == verdict && !case.lost_its_server();
    for case in cases.into_iter().filter(of) {
        let reason = case.reason.as_deref().unwrap_or("no reason recorded");
        by_reason.entry(reason).or_default().push(case.id);
    }
    by_reason
}

/// `also in: a.case, b.case`: the other cases that saw what a finding tells; nothing where there are
/// none.
pub(crate) fn also(finding: &Finding) -> Option<String> {
    let seen = &finding.also_in;
    (!seen.is_empty()).then(|| format!("also seen in {}", seen.join(", ")))
}

/// What a case met that another one tells: `session.update-metadata.answer is told by session.write`.
pub(crate) fn told_elsewhere(case: &CaseReport) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    for finding in &case.findings {
        if let Some(teller) = finding.told_by {
            let line = format!(
                "{} is broken here as well: see {teller}",
                finding.requirement.id
            );
            if !told.contains(&line) {
                told.push(line);
            }
        }
    }
    told
}

/// What to mend first: requirements that kept other cases from judging, each with how many, most of them
/// first.
pub(crate) fn first_to_mend(run: &RunReport) -> Vec<(&'static Requirement, usize)> {
    let mut first: Vec<(&'static Requirement, usize)> = Vec::new();
    for requirement in run.cases.iter().filter_map(|case| case.blocked_by) {
        match first
            .iter_mut()
            .find(|(known, _)| known.id == requirement.id)
        {
            Some((_, count)) => *count += 1,
            None => first.push((requirement, 1)),
        }
    }
    first.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    first
}

/// What there is to say once when the server stopped answering: which cases ran then, what the first of
/// them met, and how many never began.
pub(crate) struct Gone<'a> {
    pub(crate) during: Vec<&'a CaseReport>,
    pub(crate) before: usize,
    suspect: Option<&'a str>,
}

impl<'a> Gone<'a> {
    /// Nothing when no case lost its server.
    pub(crate) fn of(run: &'a RunReport) -> Option<Self> {
        let lost: Vec<_> = run
            .cases
            .iter()
            .filter(|case| case.lost_its_server())
            .collect();
        let (during, before): (Vec<_>, Vec<_>) = lost
            .into_iter()
            .partition(|case| case.verdict == Verdict::Error);
        (!during.is_empty() || !before.is_empty()).then_some(Self {
            during,
            before: before.len(),
            suspect: run.suspect.as_deref(),
        })
    }

    /// `the server stopped answering: 2 cases ran then, 30 cases never began`.
    pub(crate) fn headline(&self) -> String {
        let ran = match self.during.len() {
            0 => String::new(),
            count => format!(": {} ran then", plural(count, "case")),
        };
        let before = match self.before {
            0 => String::new(),
            count if self.during.is_empty() => format!(": {} never began", plural(count, "case")),
            count => format!(", {} never began", plural(count, "case")),
        };
        format!("the server stopped answering{ran}{before}")
    }

    /// The ids of the cases that ran.
    pub(crate) fn suspects(&self) -> String {
        self.during
            .iter()
            .map(|case| case.id)
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// What the first of them met, where that is known.
    pub(crate) fn first_met(&self) -> Option<(&'a str, &'a str)> {
        let met = |case: &&'a CaseReport| {
            let reason = case.reason.as_deref()?;
            let met = reason
                .strip_prefix(crate::event::GONE_DURING)?
                .strip_prefix(": ")?;
            Some((case.id, met))
        };
        self.during.iter().find_map(met)
    }

    /// Who may have done it: without a server of its own, a run cannot try.
    pub(crate) fn suspect(&self) -> Option<String> {
        let suspect = one_line(self.suspect?);
        Some(format!("what was sent last is suspected: {suspect}"))
    }

    /// What a person can do about it.
    pub(crate) fn hint(&self) -> String {
        let alone = match self.during.first() {
            Some(case) => format!(
                "repeat them alone, one by one: {}",
                one_line(&case.reproduce)
            ),
            None => "see what the server says about it".into(),
        };
        format!(
            "{alone}; with --spawn 'CMD' touchstone starts the server again and finds the case by itself"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{testing::*, *};

    #[test]
    fn what_lacks_for_one_reason_is_told_together() {
        let missing = [
            "no friends: the target is not provisioned over REST",
            "no access keys: GET /v1/access-keys answers 404",
            "no pairing: the target is not provisioned over REST",
            "no control extension",
        ];
        let told = not_offered(&missing.map(str::to_owned));
        let expected = [
            "no friends, pairing: the target is not provisioned over REST",
            "no access keys: GET /v1/access-keys answers 404",
            "no control extension",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn no_format_shows_a_run_that_judged_next_to_nothing_as_green() {
        let run = hardly();
        assert!(run.summary.incomplete());
        let events = of_run(run);
        let told = "1 of 11 cases could be judged";
        let rendered = [
            render_events(&events, |out| {
                Terminal::new(
                    out,
                    touchstone_output::Style::Plain,
                    terminal::Shows::default(),
                )
            }),
            render_events(&events, Markdown::new),
            render_events(&events, Html::new),
            render_events(&events, JUnit::new),
            render_events(&events, GitHub::new),
        ];
        for text in &rendered {
            assert!(text.contains(told), "{text}");
        }
        assert!(rendered[3].contains("errors=\"1\""), "{}", rendered[3]);
        assert!(
            rendered[4].contains("::error title=incomplete::"),
            "{}",
            rendered[4]
        );
    }
}
