//! The run as a whole: how many cases of each group have which verdict, what to mend first, the list at the
//! end, and the counts.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use super::{LISTED, MENDED, Terminal};
use crate::{
    event::RunReport,
    report::{all_groups, first_to_mend, plural, tally, tally_of, word, worst_requirement},
    verdict::Verdict,
};

impl<W: Write> Terminal<W> {
    /// How many cases of each group have which verdict.
    pub(super) fn groups(&mut self, run: &RunReport) -> io::Result<()> {
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
    pub(super) fn first_to_mend(&mut self, run: &RunReport) -> io::Result<()> {
        let first = first_to_mend(run);
        if first.is_empty() {
            return Ok(());
        }
        writeln!(self.out, "\n{}", self.style.bold("what to mend first"))?;
        let shown = match self.shows.full {
            true => first.len(),
            false => first.len().min(MENDED),
        };
        let (shown, others) = first.split_at(shown);
        for (number, (requirement, count)) in shown.iter().enumerate() {
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
        if others.is_empty() {
            return Ok(());
        }
        let waiting: usize = others.iter().map(|(_, count)| count).sum();
        let more = plural(others.len(), "more requirement");
        let waiting = plural(waiting, "other case");
        let line = format!("and {more}, for {waiting} (--full shows them)");
        writeln!(self.out, "  {}", self.style.dim(line))
    }

    /// Everything that a reader has to look at, a line each, so that it stands at the end. Of very much, one
    /// of each kind.
    pub(super) fn list(&mut self, run: &RunReport) -> io::Result<()> {
        let groups: Vec<_> = all_groups(run).map(|(_, group)| group).collect();
        let count = groups.iter().map(|group| group.cases.len()).sum::<usize>();
        if count < 2 {
            return Ok(());
        }
        let each = match self.shows.full || count <= LISTED {
            true => count,
            false => 1,
        };
        writeln!(self.out)?;
        let cases = groups
            .iter()
            .flat_map(|group| group.cases.iter().take(each));
        let width = cases.map(|case| case.id.len()).max().unwrap_or(0);
        for group in &groups {
            let more = match group.cases.len().saturating_sub(each) {
                0 => String::new(),
                more => format!("  and {more} more of this kind"),
            };
            for case in group.cases.iter().take(each) {
                let word = format!("{:5}", word(case));
                let word = self.style.paint(case.verdict.colour(), word);
                let requirement = worst_requirement(case).map_or("", |requirement| requirement.id);
                let line = format!("{:width$}  {requirement}{more}", case.id);
                writeln!(self.out, "{word}  {}", line.trim_end())?;
            }
        }
        let hint = "touchstone explain CASE tells what a case sends, and what it accepts";
        writeln!(self.out, "{}", self.style.dim(hint))
    }

    pub(super) fn summary(&mut self, run: &RunReport) -> io::Result<()> {
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
