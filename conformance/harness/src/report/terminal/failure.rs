//! What broke, each kind of thing by the case that shows it best: findings, typical cause, the lines of the
//! trace that made it, and how to see it again.

use std::io::{self, Write};

use touchstone_output::text::cut;

use super::{COLUMNS, NAMED, TRACE_HEAD, TRACE_ROWS, Terminal, indent};
use crate::{
    event::{CaseReport, RunReport},
    focus::Part,
    report::{
        Group, also, nodes, one_line, plural,
        shown::{self, Row},
        told_elsewhere, word, worst_requirement,
    },
    verdict::{Finding, Mismatch, Verdict},
};

impl<W: Write> Terminal<W> {
    /// What broke one kind of thing: the case that shows it best, and the others in short.
    pub(super) fn group(&mut self, group: &Group<'_>) -> io::Result<()> {
        let Some((first, others)) = group.split() else {
            return Ok(());
        };
        self.failure(first)?;
        if self.shows.full {
            return others.iter().try_for_each(|case| self.failure(case));
        }
        if !others.is_empty() {
            let count = plural(others.len(), "other case");
            let told = format!("the same kind of thing in {count} (--full shows all of it):");
            writeln!(self.out, "  {}", self.style.dim(told))?;
        }
        self.all_in_short(others)
    }

    /// A line for each, and of many for the first.
    pub(super) fn all_in_short(&mut self, cases: &[&CaseReport]) -> io::Result<()> {
        let shown = match cases.len() > NAMED + 1 {
            true => NAMED,
            false => cases.len(),
        };
        let (shown, others) = cases.split_at(shown);
        shown.iter().try_for_each(|case| self.in_short(case))?;
        match others.len() {
            0 => Ok(()),
            more => writeln!(
                self.out,
                "    {}",
                self.style.dim(format!("and {more} more"))
            ),
        }
    }

    /// A case of which another one tells the mistake.
    fn in_short(&mut self, case: &CaseReport) -> io::Result<()> {
        let word = self.style.paint(case.verdict.colour(), word(case));
        let requirement = worst_requirement(case).map_or("", |requirement| requirement.id);
        let got = case.told().next().map_or_else(String::new, |(_, broken)| {
            format!(": got {}", one_line(&broken.actual))
        });
        let columns = self.shows.columns.unwrap_or(COLUMNS);
        let room = columns.saturating_sub(case.id.len() + 11).max(20);
        let rest = cut(&format!("{requirement}{got}"), room);
        let (id, rest) = (self.style.bold(case.id), self.style.dim(rest));
        writeln!(self.out, "    {word} {id}  {rest}")
    }

    pub(super) fn errors(&mut self, run: &RunReport, group: &Group<'_>) -> io::Result<()> {
        let alone = group.cases.iter().filter(|case| tells_alone(run, case));
        alone.into_iter().try_for_each(|case| self.error(case))
    }

    fn heading(&mut self, case: &CaseReport, word: &str) -> io::Result<()> {
        let word = self.style.paint(case.verdict.colour(), word);
        let id = self.style.bold(case.id);
        writeln!(self.out, "\n{word} {id}")
    }

    fn broken(&mut self, finding: &Finding, mismatch: &Mismatch) -> io::Result<()> {
        let requirement = finding.requirement;
        let verdict = Verdict::of_broken(requirement.level);
        let level = self.style.paint(verdict.colour(), requirement.level);
        writeln!(
            self.out,
            "  {level} {} ({})",
            requirement.id, requirement.basis
        )?;
        let text = self.wrapped("    ", requirement.text);
        writeln!(self.out, "{}", self.style.dim(text))?;
        let expected = self.wrapped("    expected  ", &mismatch.expected);
        let got = self.wrapped("    got       ", &mismatch.actual);
        writeln!(self.out, "{expected}\n{got}")?;
        match also(finding) {
            Some(also) => writeln!(self.out, "    {}", self.style.dim(also)),
            None => Ok(()),
        }
    }

    /// What a case found, and what it met that another case tells.
    fn found(&mut self, case: &CaseReport) -> io::Result<()> {
        let mut more: Vec<(&str, usize)> = Vec::new();
        for (finding, mismatch) in case.told() {
            let id = finding.requirement.id;
            match more.iter_mut().find(|(known, _)| *known == id) {
                Some((_, count)) if !self.shows.full => *count += 1,
                _ => {
                    more.push((id, 0));
                    self.broken(finding, mismatch)?;
                }
            }
        }
        for (id, count) in more.into_iter().filter(|(_, count)| *count > 0) {
            let count = plural(count, "more finding");
            let line = format!("{id}: {count} of this case (--full shows all of it)");
            writeln!(self.out, "  {}", self.style.dim(line))?;
        }
        for line in told_elsewhere(case) {
            writeln!(self.out, "  {}", self.style.dim(line))?;
        }
        Ok(())
    }

    fn failure(&mut self, case: &CaseReport) -> io::Result<()> {
        if let Some(reason) = &case.known {
            return self.known(case, reason);
        }
        self.heading(case, &word(case).to_uppercase())?;
        self.found(case)?;
        if let Some(cause) = case.cause() {
            writeln!(self.out, "{}", self.wrapped("  typical cause: ", &cause))?;
        }
        for note in case.notes.iter().filter(|note| self.notes.is_own(note)) {
            let note = self.wrapped("  note: ", &one_line(note));
            writeln!(self.out, "{note}")?;
        }
        self.explained.push(case.id);
        self.trace(case)?;
        self.repeat(case)
    }

    /// How to see it again.
    fn repeat(&mut self, case: &CaseReport) -> io::Result<()> {
        if let Some(nodes) = nodes(case) {
            writeln!(self.out, "  nodes: {}", one_line(&nodes))?;
        }
        writeln!(self.out, "  repeat with: {}", one_line(&case.reproduce))?;
        if case.trace.is_empty() {
            return Ok(());
        }
        writeln!(self.out, "  look at it with: {}", one_line(&case.look()))
    }

    /// A failure that a baseline lists is told in short: somebody knows it already.
    fn known(&mut self, case: &CaseReport, reason: &str) -> io::Result<()> {
        self.heading(case, "KNOWN")?;
        for (requirement, _) in case.broken() {
            writeln!(self.out, "  {} {}", requirement.level, requirement.id)?;
        }
        writeln!(self.out, "  reason: {}", one_line(reason))?;
        writeln!(self.out, "  repeat with: {}", one_line(&case.reproduce))
    }

    fn error(&mut self, case: &CaseReport) -> io::Result<()> {
        self.heading(case, "ERROR")?;
        if let Some(reason) = &case.reason {
            writeln!(self.out, "  {}", indent(reason))?;
        }
        self.trace(case)?;
        self.repeat(case)
    }

    fn trace(&mut self, case: &CaseReport) -> io::Result<()> {
        if case.trace.is_empty() {
            return Ok(());
        }
        // One row is the heading.
        let rows = shown::rows(case, TRACE_ROWS - 1);
        writeln!(self.out, "  {}:", shown::heading(case, &rows))?;
        let each = (TRACE_ROWS - 1) / rows.len().max(1);
        for (row, line) in rows.iter().zip(shown::lines(&rows)) {
            let line = self.cut(&line, TRACE_HEAD / 4, each.clamp(1, 4));
            let line = match row {
                Row::Line(_, Some(Part::Wrong)) | Row::Missing(_) => {
                    self.style.paint(Verdict::Fail.colour(), line)
                }
                Row::Line(_, Some(Part::Cause)) => line,
                Row::Line(..) => self.style.dim(line),
            };
            writeln!(self.out, "    {line}")?;
        }
        Ok(())
    }
}

/// Whether a case that could not be carried out is told by itself, with its trace: nothing else explains
/// it, and it does not share its reason with others.
fn tells_alone(run: &RunReport, case: &CaseReport) -> bool {
    let same = |other: &&CaseReport| other.verdict == case.verdict && other.reason == case.reason;
    case.verdict == Verdict::Error
        && !case.lost_its_server()
        && run.cases.iter().filter(same).count() == 1
}
