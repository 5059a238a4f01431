//! The report for a person: groups with counts, each failure explained, then the summary.
//!
//! Progress while cases run is drawn by the binary, on standard error, from the same events; this
//! renderer writes only what shall remain.

mod failure;
mod notes;
mod overview;

use std::io::{self, Write};

use touchstone_output::{Style, text::wrap};

use self::notes::Notes;
use super::{
    Gone, Section, all_groups, by_reason, clean, not_offered, one_line, plural, trait_text,
};
use crate::{
    event::{CaseReport, Reporter, RunEvent, RunReport},
    verdict::Verdict,
};

/// How many kinds of things are explained where not all are asked for. The others stand in the list.
const EXPLAINED: usize = 12;

/// How many they are where more than a quarter of the cases could not be judged: the rest tells more when
/// these are mended.
const EXPLAINED_OF_MANY: usize = 2;

/// How many requirements that kept cases from judging are told with their text.
const MENDED: usize = 4;

/// How many cases are named where others stand for them.
const NAMED: usize = 6;

/// How many cases the list at the end has before it shows one of each kind.
const LISTED: usize = 20;

/// How many columns a case in short has where there is no terminal.
const COLUMNS: usize = 160;

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
        let most = match run.summary.blocked * 4 > run.summary.total {
            true => EXPLAINED_OF_MANY,
            false => EXPLAINED,
        };
        let (mut short, mut causes) = (Vec::new(), Vec::new());
        for (section, group) in all_groups(run) {
            // Failures and warnings may have one cause.
            let is_told = group.is_evident() && causes.contains(&group.aspect);
            let is_room = self.explained.len() < most && !is_told;
            causes.push(group.aspect);
            match section {
                Section::Errors => self.errors(run, &group)?,
                _ if self.shows.full || is_room => self.group(&group)?,
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

    /// Cases of one verdict by their common reason, except an error that was told by itself, and, where not
    /// all is asked for, what waits for a requirement that is to be mended first.
    fn reasons(&mut self, run: &RunReport, verdict: Verdict) -> io::Result<()> {
        let alone = |ids: &[&str]| verdict == Verdict::Error && ids.len() == 1;
        let is_all = self.shows.full;
        let cases = run
            .cases
            .iter()
            .filter(|case| is_all || case.blocked_by.is_none());
        for (reason, ids) in by_reason(cases, verdict) {
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
            let ids = self.wrapped("  ", &self.named(&ids));
            writeln!(self.out, "{}", self.style.dim(ids))?;
        }
        Ok(())
    }

    /// What qualifies verdicts is told also where they passed, once for all cases that it is true of.
    fn notes(&mut self, run: &RunReport) -> io::Result<()> {
        for (note, ids) in self.notes.at_the_end(run, &self.explained) {
            let head = format!("note: {}: ", plural(ids.len(), "case"));
            let note = self.wrapped(&head, &one_line(note));
            let ids = self.style.dim(self.wrapped("  ", &self.named(&ids)));
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
        self.all_in_short(cases)
    }

    /// Cases by name, and of many the first.
    fn named(&self, ids: &[&str]) -> String {
        match self.shows.full {
            true => ids.join(", "),
            false => some_of(ids),
        }
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
}

/// The first few of a list, and how many more there are.
fn some_of(ids: &[&str]) -> String {
    match ids.len().checked_sub(NAMED) {
        None | Some(0) => ids.join(", "),
        Some(more) => format!("{} and {more} more", ids[..NAMED].join(", ")),
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
mod tests;
