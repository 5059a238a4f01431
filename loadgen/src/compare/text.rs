//! A comparison for a terminal.

use std::fmt::Write as _;

use touchstone_output::{report::letter, side_by_side::Columns, text::wrap};

use super::{Cell, Comparison, Finding, Row};
use touchstone_output::Style;

/// A name of a figure, and a figure with its noise band.
const COLUMNS: Columns = Columns {
    name: 16,
    value: 20,
    is_right: true,
};

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
        writeln!(out, "\n{}", COLUMNS.head(self.reports.len(), style))?;
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
        None => cell.value.clone(),
        Some((low, high)) => format!("{} ({low}..{high})", cell.value),
    };
    let cells = row.cells.iter().map(|one| (cell(one), None));
    let mut line = COLUMNS.row(row.name, cells, style);
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
