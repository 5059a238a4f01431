//! A replay as Markdown, for a pull request or the summary page of a CI run: what is not the same, trace by
//! trace. What a server said stands in code spans, so that it can neither format nor mention anything.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    alike::alike,
    outcome::{Item, Outcome},
    render::{counted, cut, reasons, said, seconds, told},
    report::{ReplayRun, Replayed},
};
use touchstone_output::{markdown::code, text::plural};

/// How many differences of a trace are shown, the first ones: pages have limits.
const DIFFERENCES: usize = 50;

impl ReplayRun {
    /// The report for a page of a pull request.
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "# touchstone replay: {}\n\n**{}** in {:.2} s: {}. Seed {}.\n",
            code(&self.target),
            plural(self.traces.len(), "trace"),
            self.duration.as_secs_f64(),
            counted(&self.counts()),
            self.seed
        );
        for trace in &self.traces {
            // Writing to a string does not fail.
            let _ = of_trace(&mut text, trace);
        }
        let _ = self.aside(&mut text);
        text
    }

    /// What of all traces counts for nothing, by its reason.
    fn aside(&self, text: &mut String) -> std::fmt::Result {
        let mut lines = Vec::new();
        for (word, count, why) in reasons(self.reports().flat_map(|report| &report.items)) {
            lines.push(format!("- {count} {word}: {}", code(&why)));
        }
        let mut unsent: BTreeMap<&str, usize> = BTreeMap::new();
        for one in self.reports().flat_map(|report| &report.unsent) {
            *unsent.entry(&one.why).or_default() += 1;
        }
        for (why, count) in unsent {
            lines.push(format!("- {count} not replayable: {}", code(why)));
        }
        if lines.is_empty() {
            return Ok(());
        }
        writeln!(
            text,
            "\n## Not held against the server\n\n{}",
            lines.join("\n")
        )
    }
}

/// A trace, unless there is nothing to read.
fn of_trace(text: &mut String, trace: &Replayed) -> std::fmt::Result {
    let path = code(&trace.path.display().to_string());
    let report = match &trace.outcome {
        Err(why) => return writeln!(text, "\n## {path}\n\nNot replayed: {}", code(why)),
        Ok(report) => report,
    };
    let counts = report.counts();
    let has_news = !report.judged.is_empty() || report.repair.is_some() || report.interrupted;
    if counts.is_same() && !has_news {
        return Ok(());
    }
    writeln!(text, "\n## {path}\n\n{}.", counted(&counts))?;
    if report.interrupted {
        writeln!(
            text,
            "\nIt was interrupted: what comes behind was not sent."
        )?;
    }
    if let Some((repair, case)) = told(report) {
        writeln!(text, "\n**{repair}**: {}", code(&case))?;
    }
    if !(counts.is_same() && report.judged.is_empty()) {
        writeln!(text)?;
    }
    for one in &report.judged {
        let (repair, said) = said(one);
        writeln!(
            text,
            "- **{repair}** at {:.3} s, {}: {}",
            seconds(one.t_us),
            code(&said),
            code(&cut(&one.text))
        )?;
    }
    let kinds = alike(&report.items);
    for (item, others) in kinds.iter().take(DIFFERENCES) {
        difference(text, item)?;
        if *others > 0 {
            writeln!(
                text,
                "  - and {} of the same kind",
                plural(*others, "other")
            )?;
        }
    }
    if let Some(hidden) = kinds.len().checked_sub(DIFFERENCES).filter(|it| *it > 0) {
        writeln!(text, "- and {hidden} more")?;
    }
    Ok(())
}

fn difference(text: &mut String, item: &Item) -> std::fmt::Result {
    let head = |word: &str| {
        let (at, conn, what) = (seconds(item.t_us), code(&item.conn), code(&item.what));
        format!("- **{word}** at {at:.3} s on {conn}: {what}")
    };
    let value = |value: &serde_json::Value| code(&cut(&value.to_string()));
    match &item.outcome {
        Outcome::Same | Outcome::Observed { .. } | Outcome::Blocked { .. } => Ok(()),
        Outcome::Missing(recorded) => writeln!(text, "{} {}", head("missing"), value(recorded)),
        Outcome::Extra(replayed) => writeln!(text, "{} {}", head("extra"), value(replayed)),
        Outcome::Different(differences) => {
            writeln!(text, "{}", head("different"))?;
            for one in differences {
                let told = |side: &Option<_>| side.as_ref().map_or("nothing".into(), value);
                let (then, now) = (told(&one.recorded), told(&one.replayed));
                writeln!(text, "  - {}: {then}, now {now}", code(one.place()))?;
            }
            Ok(())
        }
    }
}
