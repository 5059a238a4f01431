//! The Markdown report: for the summary page of a CI run, a pull request, or an issue.
//!
//! What a server said stands in code spans and fences that are longer than any run of backticks in it, so
//! that it can neither format anything nor mention anybody.

use std::io::{self, Write};
use touchstone_output::markdown::{block, code, code_cell};

use super::{
    Gone, Section, also, by_reason, counts, first_to_mend, groups, nodes, not_offered, plural,
    shown, to_explain, told_elsewhere, trait_text, word, worst_requirement,
};
use crate::{
    event::{CaseReport, Reporter, RunReport},
    verdict::Verdict,
};

/// How many rows of a wire trace are shown.
const TRACE_ROWS: usize = 40;

/// Writes the Markdown report to `out` when the run is over.
#[derive(Debug)]
pub struct Markdown<W> {
    out: W,
}

impl<W: Write> Markdown<W> {
    /// A report that goes to `out`.
    pub fn new(out: W) -> Self {
        Self { out }
    }

    fn first_to_mend(&mut self, run: &RunReport) -> io::Result<()> {
        for (at, (requirement, count)) in first_to_mend(run).iter().enumerate() {
            if at == 0 {
                writeln!(self.out, "\n## What to mend first\n")?;
            }
            writeln!(
                self.out,
                "{}. {} {}: {} could not be judged without it. {}",
                at + 1,
                requirement.level,
                code(requirement.id),
                plural(*count, "case"),
                requirement.text
            )?;
        }
        Ok(())
    }

    /// A table of what was found, then each section, with those of one mistake folded behind the first.
    fn found(&mut self, run: &RunReport) -> io::Result<()> {
        let all = to_explain(run);
        if !all.is_empty() {
            writeln!(
                self.out,
                "\n| verdict | case | requirement |\n|---|---|---|"
            )?;
        }
        for case in all {
            let requirement = worst_requirement(case).map_or("", |requirement| requirement.id);
            let (word, id) = (word(case), code(case.id));
            writeln!(self.out, "| {word} | {id} | {requirement} |")?;
        }
        for section in Section::ALL {
            for (at, group) in groups(run, section).iter().enumerate() {
                if at == 0 {
                    writeln!(self.out, "\n## {}", section.title())?;
                }
                let Some((first, others)) = group.split() else {
                    continue;
                };
                self.case(first)?;
                if !others.is_empty() {
                    let count = plural(others.len(), "other case");
                    writeln!(
                        self.out,
                        "\n<details><summary>The same kind of thing in {count}</summary>"
                    )?;
                    others.iter().try_for_each(|case| self.case(case))?;
                    writeln!(self.out, "\n</details>")?;
                }
            }
        }
        Ok(())
    }

    fn case(&mut self, case: &CaseReport) -> io::Result<()> {
        writeln!(self.out, "\n### {}: {}", word(case), code(case.id))?;
        for (finding, mismatch) in case.told() {
            let requirement = finding.requirement;
            writeln!(
                self.out,
                "\n**{}** {}",
                requirement.level,
                code(requirement.id)
            )?;
            writeln!(self.out, "\n> {}", requirement.text)?;
            writeln!(self.out, "\nExpected:\n\n{}", block(&mismatch.expected))?;
            writeln!(self.out, "\nGot:\n\n{}", block(&mismatch.actual))?;
            if let Some(also) = also(finding) {
                writeln!(self.out, "\nThe same was {also}.")?;
            }
        }
        for line in told_elsewhere(case) {
            writeln!(self.out, "\n{line}.")?;
        }
        for (label, text) in [("Known", &case.known), ("Reason", &case.reason)] {
            if let Some(text) = text {
                writeln!(self.out, "\n{label}: {}", code(text))?;
            }
        }
        if let Some(cause) = case.cause() {
            writeln!(self.out, "\nTypical cause: {cause}.")?;
        }
        for note in &case.notes {
            writeln!(self.out, "\nNote: {}", code(note))?;
        }
        if let Some(nodes) = nodes(case) {
            writeln!(self.out, "\nNodes: {}", code(&nodes))?;
        }
        writeln!(self.out, "\nRepeat with:\n\n{}", block(&case.reproduce))?;
        if case.trace.is_empty() {
            return Ok(());
        }
        writeln!(self.out, "\nLook at it with:\n\n{}", block(&case.look()))?;
        let rows = shown::rows(case, TRACE_ROWS);
        let title = shown::heading(case, &rows);
        writeln!(self.out, "\n<details><summary>{title}</summary>\n")?;
        let lines = shown::lines(&rows).join("\n");
        writeln!(self.out, "{}\n\n</details>", block(&lines))
    }

    fn unjudged(&mut self, run: &RunReport) -> io::Result<()> {
        let unjudged = [Verdict::Blocked, Verdict::Skip];
        let groups = unjudged.map(|verdict| (verdict, by_reason(&run.cases, verdict)));
        if groups.iter().any(|(_, reasons)| !reasons.is_empty()) {
            writeln!(self.out, "\n## Blocked and skipped, with the reason\n")?;
        }
        for (verdict, reasons) in groups {
            for (reason, ids) in reasons {
                let ids: Vec<_> = ids.into_iter().map(code).collect();
                writeln!(
                    self.out,
                    "- {verdict}: {}: {}",
                    code(reason),
                    ids.join(", ")
                )?;
            }
        }
        Ok(())
    }

    fn dialect(&mut self, run: &RunReport) -> io::Result<()> {
        let mut traits = run.dialect.traits().peekable();
        if traits.peek().is_some() {
            writeln!(self.out, "\n## Dialect\n\n| trait | value |\n|---|---|")?;
        }
        for (name, value) in traits {
            let value = code_cell(&trait_text(&value));
            writeln!(self.out, "| {} | {value} |", code(name))?;
        }
        Ok(())
    }
}

impl<W: Write + Send> Reporter for Markdown<W> {
    fn finished(&mut self, run: &RunReport) -> io::Result<()> {
        writeln!(self.out, "# touchstone check: {}\n", code(&run.target.name))?;
        writeln!(
            self.out,
            "**{}** in {:.2} s: {}. Seed {}.",
            plural(run.summary.total, "case"),
            run.duration.as_secs_f64(),
            counts(&run.summary),
            run.seed
        )?;
        if run.summary.interrupted {
            writeln!(self.out, "\nThe run was interrupted.")?;
        }
        if let Some(hardly) = run.summary.hardly_judged() {
            writeln!(self.out, "\n**Incomplete**: {hardly}.")?;
        }
        for missing in not_offered(&run.target.missing) {
            writeln!(self.out, "\n- not offered: {}", code(&missing))?;
        }
        if !run.stale.is_empty() {
            writeln!(self.out, "\n## Stale baseline entries\n")?;
            for entry in &run.stale {
                let place = code(&format!("{}:{}", entry.file, entry.line));
                writeln!(
                    self.out,
                    "- {place} {}: {}",
                    code(&entry.case),
                    code(&entry.why)
                )?;
            }
        }
        if let Some(gone) = Gone::of(run) {
            writeln!(
                self.out,
                "\n## The server went away\n\n{}.",
                gone.headline()
            )?;
            if !gone.during.is_empty() {
                writeln!(self.out, "\nRan then: {}", code(&gone.suspects()))?;
            }
            if let Some((id, met)) = gone.first_met() {
                writeln!(
                    self.out,
                    "\nThe first of them, {}, met: {}",
                    code(id),
                    code(met)
                )?;
            }
            if let Some(suspect) = gone.suspect() {
                writeln!(self.out, "\nSuspect: {}", code(&suspect))?;
            }
            writeln!(self.out, "\nHint: {}", code(&gone.hint()))?;
        }
        self.first_to_mend(run)?;
        self.found(run)?;
        self.unjudged(run)?;
        self.dialect(run)?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing;

    #[test]
    fn snapshot() {
        insta::assert_snapshot!(testing::render(Markdown::new));
    }
}
