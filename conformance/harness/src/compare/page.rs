//! A comparison as one HTML page: the matrix of all cases, and the dialect cards side by side.

use maud::{Markup, html};
use touchstone_output::{report::letter, side_by_side::heads};

use super::{Change, Comparison};
use crate::{
    report::{badge, clean, counts, filters, one_line, page, plural, trait_text},
    verdict::Verdict,
};

impl Comparison {
    /// The comparison as one self-contained page.
    pub fn html(&self) -> String {
        page("touchstone compare", &self.body())
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
                (verdict, verdict.as_str(), cells.count())
            })
            .filter(|&(.., count)| count > 0)
            .collect();
        let (differ, same): (Vec<_>, Vec<_>) = self.rows.iter().partition(|row| row.differs());
        html! {
            h1 { (plural(self.reports.len(), "report")) " side by side" }
            div.card {
                @for (at, report) in self.reports.iter().enumerate() {
                    p {
                        strong { (letter(at)) } " " span.mono { (one_line(&report.file)) }
                        ": " (one_line(&report.target.name)) ", "
                        span.dim { (plural(report.summary.total, "case")) ": " (counts(&report.summary)) }
                    }
                }
            }
            p { (plural(same.len(), "case")) " alike, " (differ.len()) " not" }
            (filters(&counted))
            (self.changed())
            @for (title, rows) in [("Cases that differ", differ), ("Cases that are alike", same)] {
                @if !rows.is_empty() {
                    section data-group="" {
                        h2 { (title) " " span.dim { (rows.len()) } }
                        div.card {
                            table {
                                (heads("case", self.reports.len(), None, &[]))
                                @for row in rows { (matrix_row(row)) }
                            }
                        }
                    }
                }
            }
            @let (differ, same): (Vec<_>, Vec<_>) = self.traits.iter().partition(|one| one.differs());
            @if !self.traits.is_empty() {
                h2 #dialect { "Dialect cards" }
                @if !differ.is_empty() { div.card { (self.cards(&differ)) } }
                @if !same.is_empty() {
                    details.case {
                        summary { span.mono { (plural(same.len(), "trait")) " alike" } }
                        div { (self.cards(&same)) }
                    }
                }
            }
        }
    }

    fn cards(&self, traits: &[&super::Trait]) -> Markup {
        html! {
            table {
                (heads("trait", self.reports.len(), None, &[]))
                @for one in traits {
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

    /// What has changed from the first of two reports to the second, with what came: as on a terminal.
    fn changed(&self) -> Markup {
        if self.reports.len() != 2 {
            return html! {};
        }
        html! {
            @for change in Change::ALL {
                @let rows: Vec<_> = self.rows.iter().filter(|row| row.change(1) == Some(change)).collect();
                @if !rows.is_empty() {
                    section data-group="" {
                        h2 { (change.title()) " " span.dim { (rows.len()) } }
                        @for row in rows { (change_of(row, change)) }
                    }
                }
            }
        }
    }
}

fn change_of(row: &super::Row, change: Change) -> Markup {
    let now = row.cells[1].as_ref();
    let verdicts = row.cells.iter().flatten().map(|case| case.verdict.as_str());
    let told = now.and_then(|case| case.told());
    html! {
        div.card id={ "changed-" (one_line(&row.id)) } data-verdict=(verdicts.collect::<Vec<_>>().join(" ")) {
            p {
                span.mono { (one_line(&row.id)) } " "
                (cell(row.cells[0].as_ref())) " -> " (cell(now))
            }
            @if let Some(told) = told.filter(|_| change != Change::Passes) { pre { (clean(told)) } }
        }
    }
}

fn cell(case: Option<&super::RecordedCase>) -> Markup {
    html! {
        @if let Some(case) = case { (badge(case.verdict, &case.shown())) } @else { span.dim { "absent" } }
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
