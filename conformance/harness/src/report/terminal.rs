//! The report for a person: groups with counts, each failure explained, then the summary.
//!
//! Progress while cases run is drawn by the binary, on standard error, from the same events; this
//! renderer writes only what shall remain.

mod failure;
mod notes;

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use touchstone_output::{Style, text::wrap};

use self::notes::Notes;
use super::{
    Gone, Section, by_reason, clean, first_to_mend, groups, not_offered, one_line, plural, tally,
    tally_of, to_explain, trait_text, word, worst_requirement,
};
use crate::{
    event::{CaseReport, Reporter, RunEvent, RunReport},
    verdict::Verdict,
};

/// How many kinds of things are explained where not all are asked for. The others stand in the list.
const EXPLAINED: usize = 12;

/// How many rows a wire trace takes on a terminal.
const TRACE_ROWS: usize = 20;

/// What stands before what is said on a line of a trace: margin, part, time, connection and arrow.
const TRACE_HEAD: usize = 32;

/// Writes the report for a person to `out`.
#[derive(Debug)]
pub struct Terminal<W> {
    out: W,
    style: Style,
    shows: Shows,
    notes: Notes,
    /// The cases that were explained, with their notes.
    explained: Vec<&'static str>,
}

/// What the report for a person shows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shows {
    /// Every failure in full, also where another one tells the same mistake.
    pub full: bool,
    /// The dialect card.
    pub dialect: bool,
    /// How many columns a line has, where lines are drawn on a terminal.
    pub columns: Option<usize>,
}

impl<W: Write> Terminal<W> {
    /// A report to `out`.
    pub fn new(out: W, style: Style, shows: Shows) -> Self {
        Self {
            out,
            style,
            shows,
            notes: Notes::default(),
            explained: Vec::new(),
        }
    }

    fn finished(&mut self, run: &RunReport) -> io::Result<()> {
        self.groups(run)?;
        self.first_to_mend(run)?;
        self.notes = Notes::of(run, self.shows.full);
        let all = Section::ALL.into_iter().flat_map(|section| {
            groups(run, section)
                .into_iter()
                .map(move |one| (section, one))
        });
        let mut short = Vec::new();
        for (section, group) in all {
            match section {
                Section::Errors => self.errors(run, &group)?,
                _ if self.shows.full || self.explained.len() < EXPLAINED => self.group(&group)?,
                _ => short.extend(group.cases),
            }
        }
        self.in_short_only(&short)?;
        self.gone(run)?;
        self.reasons(run, Verdict::Error)?;
        self.reasons(run, Verdict::Blocked)?;
        self.reasons(run, Verdict::Skip)?;
        self.notes(run)?;
        if self.shows.dialect {
            self.dialect(run)?;
        }
        self.stale(run)?;
        self.list(run)?;
        self.summary(run)
    }

    /// `text` behind `lead`, on as many rows of a terminal as it takes. Elsewhere it stays on its line.
    fn wrapped(&self, lead: &str, text: &str) -> String {
        let margin = lead.chars().count();
        match self.shows.columns {
            Some(columns) if !text.contains('\n') => {
                let lines = wrap(text, margin, columns);
                format!("{lead}{}", lines.join(&format!("\n{:margin$}", "")))
            }
            _ => format!("{lead}{}", indent(text)),
        }
    }

    /// `text` on so many rows of a terminal, behind `margin` columns. Elsewhere it stays whole.
    fn cut(&self, text: &str, margin: usize, rows: usize) -> String {
        let Some(columns) = self.shows.columns else {
            return text.to_owned();
        };
        let room = (columns * rows).saturating_sub(margin).max(20);
        match text.char_indices().nth(room) {
            None => text.to_owned(),
            Some(_) => text.chars().take(room - 1).chain(['…']).collect(),
        }
    }

    fn groups(&mut self, run: &RunReport) -> io::Result<()> {
        // Groups keep the order in which the registry first names them.
        let mut groups: Vec<(&str, BTreeMap<Verdict, usize>)> = Vec::new();
        for case in &run.cases {
            let group = case.id.split('.').next().unwrap_or(case.id);
            let counts = match groups.iter_mut().find(|(name, _)| *name == group) {
                Some((_, counts)) => counts,
                None => {
                    groups.push((group, BTreeMap::new()));
                    &mut groups.last_mut().expect("just pushed").1
                }
            };
            *counts.entry(case.verdict).or_default() += 1;
        }
        let width = groups.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, counts) in groups {
            let counts: Vec<_> = Verdict::ALL
                .iter()
                .filter_map(|&verdict| {
                    let count = counts.get(&verdict)?;
                    Some(self.style.paint(verdict.colour(), tally(*count, verdict)))
                })
                .collect();
            writeln!(self.out, "  {name:width$}  {}", counts.join(", "))?;
        }
        Ok(())
    }

    /// What kept other cases from judging anything, in the order in which it pays to mend it.
    fn first_to_mend(&mut self, run: &RunReport) -> io::Result<()> {
        let first = first_to_mend(run);
        if first.is_empty() {
            return Ok(());
        }
        writeln!(self.out, "\n{}", self.style.bold("what to mend first"))?;
        for (number, (requirement, count)) in first.iter().enumerate() {
            let waiting = plural(*count, "case");
            writeln!(
                self.out,
                "  {}. {} {}: {waiting} could not be judged without it",
                number + 1,
                requirement.level,
                requirement.id
            )?;
            let text = self.wrapped("     ", requirement.text);
            writeln!(self.out, "{}", self.style.dim(text))?;
        }
        Ok(())
    }

    /// Everything that a reader has to look at, a line each, so that it stands at the end.
    fn list(&mut self, run: &RunReport) -> io::Result<()> {
        let cases = to_explain(run);
        if cases.len() < 2 {
            return Ok(());
        }
        writeln!(self.out)?;
        let width = cases.iter().map(|case| case.id.len()).max().unwrap_or(0);
        for case in cases {
            let word = self
                .style
                .paint(case.verdict.colour(), format!("{:5}", word(case)));
            let requirement = worst_requirement(case).map_or("", |requirement| requirement.id);
            let line = format!("{:width$}  {requirement}", case.id);
            writeln!(self.out, "{word}  {}", line.trim_end())?;
        }
        let hint = "touchstone explain CASE tells what a case sends, and what it accepts";
        writeln!(self.out, "{}", self.style.dim(hint))
    }

    /// All that could not be judged since the server was gone, in one place: most of it is nobody's fault.
    fn gone(&mut self, run: &RunReport) -> io::Result<()> {
        let Some(gone) = Gone::of(run) else {
            return Ok(());
        };
        let head = self.style.paint(Verdict::Error.colour(), "ERROR");
        writeln!(self.out, "\n{head} {}", gone.headline())?;
        if !gone.during.is_empty() {
            writeln!(self.out, "  ran then: {}", self.style.dim(gone.suspects()))?;
        }
        if let Some((id, met)) = gone.first_met() {
            writeln!(
                self.out,
                "  the first of them, {id}, met: {}",
                one_line(met)
            )?;
        }
        if let Some(suspect) = gone.suspect() {
            writeln!(self.out, "  {suspect}")?;
        }
        writeln!(self.out, "  {}", gone.hint())
    }

    /// Baseline entries that have to go.
    fn stale(&mut self, run: &RunReport) -> io::Result<()> {
        if run.stale.is_empty() {
            return Ok(());
        }
        let head = plural(run.stale.len(), "stale baseline entry");
        writeln!(
            self.out,
            "\n{}",
            self.style.paint(Verdict::Fail.colour(), head)
        )?;
        for entry in &run.stale {
            let (file, case, why) = (one_line(&entry.file), one_line(&entry.case), &entry.why);
            writeln!(
                self.out,
                "  {file}:{}: {case}: {}",
                entry.line,
                one_line(why)
            )?;
        }
        Ok(())
    }

    /// Cases of one verdict by their common reason, except an error that was told by itself.
    fn reasons(&mut self, run: &RunReport, verdict: Verdict) -> io::Result<()> {
        let alone = |ids: &[&str]| verdict == Verdict::Error && ids.len() == 1;
        for (reason, ids) in by_reason(run, verdict) {
            if alone(&ids) {
                continue;
            }
            let head = format!("{verdict}: {}: ", plural(ids.len(), "case"));
            let told = self.wrapped(&head, reason);
            let told = told.strip_prefix(&head).unwrap_or(&told);
            writeln!(
                self.out,
                "\n{}{told}",
                self.style.paint(verdict.colour(), &head)
            )?;
            let ids = self.wrapped("  ", &ids.join(", "));
            writeln!(self.out, "{}", self.style.dim(ids))?;
        }
        Ok(())
    }

    /// What qualifies verdicts is told also where they passed, once for all cases that it is true of.
    fn notes(&mut self, run: &RunReport) -> io::Result<()> {
        for (note, ids) in self.notes.at_the_end(run, &self.explained) {
            let head = format!("note: {}: ", plural(ids.len(), "case"));
            let note = self.wrapped(&head, &one_line(note));
            let ids = self.style.dim(self.wrapped("  ", &ids.join(", ")));
            writeln!(self.out, "\n{note}\n{ids}")?;
        }
        Ok(())
    }

    /// What broke beside the kinds of things that were explained.
    fn in_short_only(&mut self, cases: &[&CaseReport]) -> io::Result<()> {
        if cases.is_empty() {
            return Ok(());
        }
        let count = plural(cases.len(), "other case");
        writeln!(self.out, "\n{count} in short (--full shows all of it):")?;
        cases.iter().try_for_each(|case| self.in_short(case))
    }

    fn dialect(&mut self, run: &RunReport) -> io::Result<()> {
        let traits: Vec<_> = run.dialect.traits().collect();
        if traits.is_empty() {
            return Ok(());
        }
        let width = traits.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        writeln!(self.out, "\n{}", self.style.bold("dialect"))?;
        for (name, value) in traits {
            let value = trait_text(&value);
            writeln!(self.out, "  {name:width$}  {value}")?;
        }
        Ok(())
    }

    fn summary(&mut self, run: &RunReport) -> io::Result<()> {
        let summary = &run.summary;
        let counts: Vec<_> = Verdict::ALL
            .iter()
            .filter(|&&verdict| summary.count(verdict) > 0)
            .map(|&verdict| {
                let text = tally_of(summary, verdict);
                self.style.paint(verdict.colour(), text)
            })
            .collect();
        let counts = match counts.as_slice() {
            [] => String::from("nothing ran"),
            some => some.join(", "),
        };
        writeln!(
            self.out,
            "\n{} in {:.2} s: {counts}",
            self.style.bold(plural(summary.total, "case")),
            run.duration.as_secs_f64(),
        )?;
        if summary.error + summary.blocked > 0 {
            let unjudged = [Verdict::Blocked, Verdict::Error];
            let unjudged = unjudged
                .iter()
                .filter(|&&verdict| summary.count(verdict) > 0);
            let unjudged: Vec<_> = unjudged
                .map(|&verdict| tally_of(summary, verdict))
                .collect();
            let word = match summary.interrupted {
                true => "interrupted",
                false => "incomplete",
            };
            writeln!(self.out, "{word}: {}", unjudged.join(", "))?;
        }
        if let Some(hardly) = summary.hardly_judged() {
            writeln!(
                self.out,
                "{}",
                self.style.paint(Verdict::Error.colour(), hardly)
            )?;
        }
        Ok(())
    }
}

/// The first few of a list, and how many more there are.
fn some_of(ids: &[&str]) -> String {
    const SHOWN: usize = 5;
    match ids.len().checked_sub(SHOWN) {
        None | Some(0) => ids.join(", "),
        Some(more) => format!("{} and {more} more", ids[..SHOWN].join(", ")),
    }
}

/// What a server said, harmless, with continuation lines under the text of the first one. They begin
/// with a bar: a CI obeys lines that begin with `::`, whoever wrote them.
fn indent(text: &str) -> String {
    clean(text).replace('\n', "\n            | ")
}

impl<W: Write + Send> Reporter for Terminal<W> {
    fn event(&mut self, event: &RunEvent) -> io::Result<()> {
        match event {
            RunEvent::Spawned { command } => writeln!(self.out, "started: {}", one_line(command))?,
            RunEvent::Started {
                doctor, selected, ..
            } => {
                let target = &doctor.target;
                let through = match target.urls.len() {
                    1 => String::new(),
                    nodes => format!(", {nodes} nodes"),
                };
                writeln!(
                    self.out,
                    "{} against {} (path {}{through})",
                    plural(*selected, "case"),
                    self.style.bold(one_line(&target.name)),
                    one_line(&target.path),
                )?;
                for missing in not_offered(&target.missing) {
                    let missing = format!("not offered: {}", one_line(&missing));
                    writeln!(self.out, "{}", self.style.dim(self.wrapped("  ", &missing)))?;
                }
            }
            RunEvent::ServerDied {
                during,
                suspect,
                output,
                restarting,
            } => {
                let then = if *restarting {
                    "it is started again"
                } else {
                    "no further case is started"
                };
                let head = self
                    .style
                    .paint(Verdict::Error.colour(), "the server stopped answering");
                let during = match during.as_slice() {
                    [] => "no case".to_owned(),
                    some => some_of(some),
                };
                writeln!(self.out, "{head} while {during} ran; {then}")?;
                if let Some(suspect) = suspect {
                    writeln!(self.out, "  what was sent last: {}", one_line(suspect))?;
                }
                for line in output {
                    writeln!(self.out, "  | {}", one_line(line))?;
                }
            }
            RunEvent::Finished(run) => self.finished(run)?,
            RunEvent::CaseStarted { .. } | RunEvent::CaseFinished(_) => {}
        }
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing;

    fn render(style: Style) -> String {
        testing::render(|out| Terminal::new(out, style, Shows::default()))
    }

    #[test]
    fn snapshot() {
        insta::assert_snapshot!(render(Style::Plain));
    }

    #[test]
    fn a_server_that_is_gone_is_told_once() {
        let events = testing::of_run(testing::gone());
        insta::assert_snapshot!(testing::render_events(&events, |out| {
            Terminal::new(out, Style::Plain, Shows::default())
        }));
    }

    #[test]
    fn no_line_is_an_order_to_a_ci() {
        for line in
            testing::render_hostile(|out| Terminal::new(out, Style::Plain, Shows::default()))
                .lines()
        {
            assert!(!line.trim_start().starts_with("::"), "{line}");
        }
    }

    fn shown(run: &RunReport, full: bool) -> String {
        let shows = Shows {
            full,
            ..Shows::default()
        };
        testing::render_events(&testing::of_run(run.clone()), |out| {
            Terminal::new(out, Style::Plain, shows)
        })
    }

    /// How often `part` is in `text`.
    #[track_caller]
    fn count(text: &str, part: &str, expected: usize) {
        assert_eq!(text.matches(part).count(), expected, "{part}\n{text}");
    }

    #[test]
    fn many_findings_of_one_requirement_are_one_and_a_number() {
        let mut run = testing::report();
        let mut case = run.cases[1].clone();
        let finding = case.findings[0].clone();
        case.findings = vec![finding; 4];
        run.cases = vec![case];
        let short = shown(&run, false);
        count(&short, "    expected  ", 1);
        count(&short, ": 3 more findings of this case", 1);
        let full = shown(&run, true);
        count(&full, "    expected  ", 4);
        count(&full, "more findings", 0);
    }

    #[test]
    fn a_note_on_many_cases_stands_at_the_end_once() {
        let mut run = testing::report();
        let told = run.cases[1].clone();
        let (before, after) = crate::marks::UNPROVED;
        run.cases = ["a.0", "b.1", "c.2", "d.3"]
            .map(|id| CaseReport {
                id,
                notes: vec![format!("{before}{id}{after}"), format!("note of {id}")],
                ..told.clone()
            })
            .into();
        let short = shown(&run, false);
        count(&short, "settle window", 1);
        count(
            &short,
            "note: 4 cases: some silence rests on a settle window",
            1,
        );
        // One that is of few cases is told by the case itself, where it is explained.
        count(&short, "  note: note of a.0\n", 1);
        count(&short, "note of b.1", 1);
        let full = shown(&run, true);
        count(&full, "settle window", 4);
        count(&full, "note of b.1", 1);
    }

    #[test]
    fn beyond_some_kinds_of_failure_the_rest_is_in_short() {
        let mut run = testing::report();
        let mut told = run.cases[1].clone();
        told.findings[0].broken = None;
        let requirement = |at: usize| -> &'static crate::ledger::Requirement {
            let id: &'static str = Box::leak(format!("session.kind-{at}").into_boxed_str());
            Box::leak(Box::new(crate::ledger::Requirement {
                id,
                ..*told.findings[0].requirement
            }))
        };
        run.cases = (0..EXPLAINED + 3)
            .map(|at| CaseReport {
                findings: vec![crate::verdict::Finding::broken(
                    requirement(at),
                    "an answer".into(),
                    format!("silence number {at}"),
                )],
                ..told.clone()
            })
            .collect();
        let short = shown(&run, false);
        count(&short, "  typical cause: ", EXPLAINED);
        count(
            &short,
            "3 other cases in short (--full shows all of it):",
            1,
        );
        count(&short, ": got silence number", 3);
        let full = shown(&run, true);
        count(&full, "  typical cause: ", EXPLAINED + 3);
        count(&full, "in short", 0);
    }

    #[test]
    fn colours_add_nothing_but_escapes() {
        let coloured = render(Style::Coloured);
        assert!(coloured.contains("\u{1b}["));
        let mut plain = String::new();
        let mut rest = coloured.as_str();
        while let Some((before, escape)) = rest.split_once("\u{1b}[") {
            plain.push_str(before);
            rest = escape.split_once('m').expect("only colour escapes").1;
        }
        plain.push_str(rest);
        assert_eq!(plain, render(Style::Plain));
    }
}
