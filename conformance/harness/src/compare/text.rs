//! A comparison for a terminal: two reports as a list of changes, more as a matrix.

use std::io::{self, Write};

use touchstone_output::{Style, report::letter, side_by_side::Columns, text::cut};

use super::{Change, Comparison, Row};
use crate::report::{counts, one_line, plural, trait_text};

/// How much of a value of the dialect card stands in a column, in characters.
const VALUE_WIDTH: usize = 36;

/// How much a verdict takes, in characters.
const VERDICT_WIDTH: usize = 7;

/// How much of what came is told about a case, in characters.
const TOLD_WIDTH: usize = 110;

impl Comparison {
    /// Writes the comparison for a person to `out`.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn text(&self, out: &mut dyn Write, style: Style) -> io::Result<()> {
        for (at, report) in self.reports.iter().enumerate() {
            let letter = style.bold(letter(at));
            let (file, name) = (one_line(&report.file), one_line(&report.target.name));
            writeln!(out, "{letter}  {file}: {name}")?;
            let total = plural(report.summary.total, "case");
            writeln!(out, "   {total}: {}", counts(&report.summary))?;
        }
        if self.reports.len() == 2 {
            self.changes(out, style)?;
        } else {
            self.matrix(out, style)?;
        }
        self.dialects(out, style)?;
        let same = self.rows.iter().filter(|row| !row.differs()).count();
        let differ = self.rows.len() - same;
        writeln!(out, "\n{} alike, {differ} not", plural(same, "case"))
    }

    fn changes(&self, out: &mut dyn Write, style: Style) -> io::Result<()> {
        for change in Change::ALL {
            let rows: Vec<_> = self
                .rows
                .iter()
                .filter(|row| row.change(1) == Some(change))
                .collect();
            if rows.is_empty() {
                continue;
            }
            let title = format!("{}: {}", change.title(), plural(rows.len(), "case"));
            writeln!(out, "\n{}", style.bold(title))?;
            for row in rows {
                let shown = |at: usize| row.cells[at].as_ref().map_or("-".into(), |c| c.shown());
                writeln!(out, "  {}  {} -> {}", one_line(&row.id), shown(0), shown(1))?;
                let told = row.cells[1].as_ref().and_then(|case| case.told());
                if let Some(told) = told.filter(|_| change != Change::Passes) {
                    writeln!(out, "    {}", style.dim(cut(told, TOLD_WIDTH)))?;
                }
            }
        }
        Ok(())
    }

    fn matrix(&self, out: &mut dyn Write, style: Style) -> io::Result<()> {
        let rows: Vec<&Row> = self.rows.iter().filter(|row| row.differs()).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let width = rows
            .iter()
            .map(|row| row.id.chars().count())
            .max()
            .unwrap_or(0);
        let columns = Columns {
            name: width,
            value: VERDICT_WIDTH,
            is_right: false,
        };
        writeln!(out, "\n{}", columns.head(self.reports.len(), style))?;
        for row in rows {
            let cells = row.cells.iter().map(|cell| match cell {
                None => ("-".to_owned(), None),
                Some(case) => (case.verdict.to_string(), Some(case.verdict.colour())),
            });
            let line = columns.row(&one_line(&row.id), cells, style);
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    /// The dialect cards, traits that differ first.
    fn dialects(&self, out: &mut dyn Write, style: Style) -> io::Result<()> {
        if self.traits.is_empty() {
            return Ok(());
        }
        let width = self
            .traits
            .iter()
            .map(|one| one.name.chars().count())
            .max()
            .unwrap_or(0);
        let columns = Columns {
            name: width,
            value: VALUE_WIDTH,
            is_right: false,
        };
        let (differ, same): (Vec<_>, Vec<_>) = self.traits.iter().partition(|one| one.differs());
        writeln!(out, "\n{}", style.bold("dialect"))?;
        for one in differ {
            let values = one.values.iter().map(|value| {
                let value = value.as_ref().map(trait_text);
                let text = value.map_or("-".into(), |value| cut(&value, VALUE_WIDTH));
                (text, None)
            });
            let line = columns.row(&one_line(&one.name), values, Style::Plain);
            writeln!(out, "  {}", line.trim_end())?;
        }
        if !same.is_empty() {
            writeln!(
                out,
                "  {}",
                style.dim(format!("{} alike", plural(same.len(), "trait")))
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::recorded;
    use super::*;
    use crate::report::testing::HOSTILE;

    fn shown(comparison: &Comparison) -> String {
        let mut out = Vec::new();
        comparison.text(&mut out, Style::Plain).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn two_reports_are_a_list_of_changes() {
        let before = recorded(
            "before.json",
            &[
                ("a.same", "pass"),
                ("a.breaks", "pass"),
                ("b.fixed", "fail"),
                ("b.gone", "pass"),
            ],
            &json!({"refusal": "error-event", "ack.order": "ack-first"}),
        );
        let after = recorded(
            "after.json",
            &[
                ("a.same", "pass"),
                ("a.breaks", "fail"),
                ("b.fixed", "pass"),
                ("c.dead", "error"),
            ],
            &json!({"refusal": "connect-error", "ack.order": "ack-first", "owner": "last"}),
        );
        insta::assert_snapshot!(shown(&Comparison::of(vec![before, after])));
    }

    #[test]
    fn several_reports_are_a_matrix() {
        let report = |file, one, two| recorded(file, &[("a.one", one), ("a.two", two)], &json!({}));
        let reports = vec![
            report("go.json", "pass", "pass"),
            report("rust.json", "warn", "pass"),
            report("ts.json", "fail", "pass"),
        ];
        insta::assert_snapshot!(shown(&Comparison::of(reports)));
    }

    #[test]
    fn a_hostile_file_gives_no_orders() {
        let report = recorded(HOSTILE, &[(HOSTILE, "fail")], &json!({HOSTILE: HOSTILE}));
        let other = recorded(HOSTILE, &[], &json!({}));
        let text = shown(&Comparison::of(vec![other, report]));
        assert!(
            !text.chars().any(|c| c.is_control() && c != '\n'),
            "{text:?}"
        );
        assert!(
            !text.lines().any(|line| line.trim_start().starts_with("::")),
            "{text}"
        );
    }
}
