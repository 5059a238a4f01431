//! A comparison for a terminal.

use std::fmt::Write as _;
use touchstone_output::report::letter;
use touchstone_output::text::wrap;

use super::{Cell, Comparison, Finding, Row};
use touchstone_output::Style;

/// Columns of the name of a figure.
const NAME: usize = 16;

/// Columns of a value.
const COLUMN: usize = 22;

/// Columns of what is said about a report, and where it begins behind the report's letter.
const TITLE: usize = 110;
const INDENT: usize = 3;

impl Comparison {
    /// The comparison for a person, with a line end behind its last line.
    #[must_use]
    pub fn text(&self, style: Style) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text, style);
        text
    }

    fn write(&self, out: &mut String, style: Style) -> std::fmt::Result {
        for (at, (file, report)) in self.reports.iter().enumerate() {
            let title = wrap(&Self::title(file, report), INDENT, TITLE);
            let title = title.join(&format!("\n{:INDENT$}", ""));
            writeln!(out, "{}  {title}", style.bold(letter(at)))?;
        }
        let heads: String = (0..self.reports.len())
            .map(|at| format!("{:>COLUMN$}", letter(at)))
            .collect();
        let head = format!("{:NAME$}{heads}", "");
        writeln!(out, "\n{}", style.bold(head))?;
        for row in self.rows() {
            writeln!(out, "{}", line(&row, style))?;
        }
        if let Some(caution) = self.caution() {
            writeln!(out, "\n{}", style.dim(caution))?;
        }
        Ok(())
    }
}

fn line(row: &Row, style: Style) -> String {
    let cell = |cell: &Cell| match &cell.band {
        None => format!("{:>COLUMN$}", cell.value),
        Some((low, high)) => {
            let text = format!("{} ({low}..{high})", cell.value);
            format!("{text:>COLUMN$}")
        }
    };
    let cells: String = row.cells.iter().map(cell).collect();
    let mut line = format!("{:NAME$}{cells}", row.name);
    if let Some(change) = row.change {
        line.push_str(&format!("  {change:+.0} %"));
    }
    let word = row.finding.as_str();
    let finding = match row.finding {
        Finding::Unknown => return line,
        Finding::Noise => style.dim(word),
        Finding::Better => style.good(word),
        Finding::Worse => style.bad(word),
        Finding::MaybeBetter | Finding::MaybeWorse => style.bold(word),
    };
    let gap = if row.change.is_some() { " " } else { "  " };
    format!("{line}{gap}{finding}")
}
