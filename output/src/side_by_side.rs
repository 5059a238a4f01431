//! Reports side by side: a row for each thing that is compared, a column for each report, under its letter.

use anstyle::Style as Ansi;
use maud::{Markup, html};

use crate::{Style, report::letter};

/// How a table of a comparison is laid out on a terminal, in characters.
#[derive(Debug, Clone, Copy)]
pub struct Columns {
    /// How much the names have that rows begin with.
    pub name: usize,
    /// How much a value has.
    pub value: usize,
    /// Whether values stand at the right of their columns, as figures do.
    pub is_right: bool,
}

impl Columns {
    /// The letters of so many reports.
    pub fn head(self, reports: usize, style: Style) -> String {
        let letters = (0..reports).map(|at| (letter(at), None));
        let row = self.row("", letters, Style::Plain);
        style.bold(row.trim_end())
    }

    /// A row, with a value for each report, and its colour if it has one.
    pub fn row(
        self,
        name: &str,
        values: impl IntoIterator<Item = (String, Option<Ansi>)>,
        style: Style,
    ) -> String {
        let (mut row, width) = (format!("{name:0$}", self.name), self.value);
        for (text, colour) in values {
            let text = match self.is_right {
                true => format!("{text:>width$}"),
                false => format!("{text:width$}"),
            };
            row.push_str("  ");
            row.push_str(&style.paint(colour.unwrap_or_default(), text));
        }
        row
    }
}

/// The first row of such a table on a page: what the rows are, the letters, and what stands behind them.
pub fn heads(of: &str, reports: usize, class: Option<&str>, behind: &[&str]) -> Markup {
    html! {
        tr {
            th { (of) }
            @for at in 0..reports { th class=[class] { (letter(at)) } }
            @for text in behind { th class=[class] { (text) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_under_the_letters_of_their_reports() {
        let of = |is_right| Columns {
            name: 5,
            value: 4,
            is_right,
        };
        let values = || ["1", "20"].map(|text| (text.to_owned(), None));
        assert_eq!(of(false).head(2, Style::Plain), "       A     B");
        assert_eq!(
            of(false).row("lost", values(), Style::Plain),
            "lost   1     20  "
        );
        assert_eq!(of(true).head(2, Style::Plain), "          A     B");
        assert_eq!(
            of(true).row("lost", values(), Style::Plain),
            "lost      1    20"
        );
        let page = heads("case", 2, Some("n"), &["change"]).into_string();
        let expected = r#"<tr><th>case</th><th class="n">A</th><th class="n">B</th><th class="n">change</th></tr>"#;
        assert_eq!(page, expected);
    }
}
