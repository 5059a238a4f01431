//! A comparison as one HTML page: the matrix of all cases, and the dialect cards side by side.

use maud::{Markup, html};

use super::Comparison;
use crate::{
    report::{badge, counts, filters, one_line, page, plural, trait_text},
    verdict::Verdict,
};

impl Comparison {
    /// The comparison as one self-contained page.
    pub fn html(&self) -> String {
        page("touchstone compare", &self.body()).into_string()
    }

    fn body(&self) -> Markup {
        let counted: Vec<_> = Verdict::ALL
            .iter()
            .map(|&verdict| {
                let has = |case: &super::RecordedCase| case.verdict == verdict;
                let cells = self
                    .rows
                    .iter()
                    .filter(|row| row.cells.iter().flatten().any(has));
                (verdict, cells.count())
            })
            .filter(|&(_, count)| count > 0)
            .collect();
        let (differ, same): (Vec<_>, Vec<_>) = self.rows.iter().partition(|row| row.differs());
        html! {
            h1 { (plural(self.reports.len(), "report")) " side by side" }
            div.card {
                @for (at, report) in self.reports.iter().enumerate() {
                    p {
                        strong { (Self::letter(at)) } " " span.mono { (one_line(&report.file)) }
                        ": " (one_line(&report.target.name)) ", "
                        span.dim { (counts(&report.summary)) }
                    }
                }
            }
            (filters(&counted))
            @for (title, rows) in [("Cases that differ", differ), ("Cases that are alike", same)] {
                @if !rows.is_empty() {
                    section data-group="" {
                        h2 { (title) " " span.dim { (rows.len()) } }
                        div.card {
                            table {
                                tr {
                                    th { "case" }
                                    @for at in 0..self.reports.len() { th { (Self::letter(at)) } }
                                }
                                @for row in rows { (matrix_row(row)) }
                            }
                        }
                    }
                }
            }
            h2 { "Dialect cards" }
            div.card {
                table {
                    tr {
                        th { "trait" }
                        @for at in 0..self.reports.len() { th { (Self::letter(at)) } }
                    }
                    @for one in &self.traits {
                        tr.differs[one.differs()] {
                            td.mono { (one_line(&one.name)) }
                            @for value in &one.values {
                                td.mono { (value.as_ref().map_or("-".into(), trait_text)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn matrix_row(row: &super::Row) -> Markup {
    let verdicts: Vec<_> = row
        .cells
        .iter()
        .flatten()
        .map(|case| case.verdict.as_str())
        .collect();
    html! {
        tr data-verdict=(verdicts.join(" ")) {
            td.mono { (one_line(&row.id)) }
            @for cell in &row.cells {
                td {
                    @if let Some(case) = cell {
                        span title=[case.told().map(one_line)] { (badge(case.verdict, &case.shown())) }
                    } @else { span.dim { "-" } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::recorded;
    use super::*;
    use crate::report::testing::HOSTILE;

    fn shown(said: &str) -> String {
        let before = recorded(
            "a.json",
            &[("a.same", "pass"), (said, "pass")],
            &json!({"x": 1}),
        );
        let after = recorded(
            "b.json",
            &[("a.same", "pass"), (said, "fail")],
            &json!({"x": said}),
        );
        Comparison::of(vec![before, after]).html()
    }

    #[test]
    fn snapshot() {
        let text = shown("a.breaks");
        let (_, body) = text.split_once("<main>").expect("a body");
        let (body, _) = body.split_once("</main>").expect("its end");
        insta::assert_snapshot!(body.replace("><", ">\n<"));
    }

    #[test]
    fn a_hostile_file_adds_no_markup() {
        let (text, benign) = (shown(HOSTILE), shown("hello"));
        assert_eq!(
            text.matches('<').count(),
            benign.matches('<').count(),
            "{text}"
        );
    }
}
