//! A comparison as one HTML page: figures, and the curves of all reports over each other.

use maud::{Markup, html};
use touchstone_output::{report::letter, side_by_side::heads};

use super::{Comparison, Finding, Row};
use crate::report::html::{charts, page, tone};
use crate::report::model::Report;
use crate::report::text::factor;
use touchstone_output::text::{one_line, plural};

impl Comparison {
    /// The comparison as one self-contained page.
    #[must_use]
    pub fn html(&self) -> String {
        page("touchstone compare", &self.body())
    }

    fn body(&self) -> Markup {
        let head = self.reports.first().map(|(_, report)| &report.scenario);
        let lettered: Vec<(String, &Report)> = self
            .reports
            .iter()
            .enumerate()
            .map(|(at, (_, report))| (letter(at), report))
            .collect();
        html! {
            header {
                h1 { (plural(self.reports.len(), "report")) " side by side" }
                @if let Some(scenario) = head {
                    p.dim { (one_line(&scenario.name)) " at scale " (factor(scenario.scale)) }
                }
            }
            @for (at, (file, report)) in self.reports.iter().enumerate() {
                @let (word, why) = report.conclusion();
                div class={ "card verdict " (tone(report)) } {
                    b { (letter(at)) } " " code { (one_line(file)) } ", "
                    (one_line(&report.target.name)) ", "
                    (plural(report.repeats.len().max(1), "run")) ", "
                    strong { (word) } ": " (why)
                }
            }
            h2 { "Figures" }
            div.card {
                table {
                    (heads("", lettered.len(), Some("n"), &["change", ""]))
                    @for row in self.rows() { (figure(&row)) }
                }
            }
            @if let Some(caution) = self.caution() { p.dim { (caution) } }
            h2 { "Curves" }
            div.charts {
                div.card {
                    h3 { "Latency of deliveries by percentile" }
                    (charts::percentiles_of(&lettered).svg(None))
                }
                div.card {
                    h3 { "99 % of deliveries are faster, each second" }
                    (charts::latency_of(&lettered).svg(None))
                }
            }
        }
    }
}

fn figure(row: &Row) -> Markup {
    let class = match row.finding {
        Finding::Unknown | Finding::Noise => "dim",
        Finding::Better => "good",
        Finding::Worse => "bad",
        Finding::MaybeBetter | Finding::MaybeWorse => "warn",
    };
    html! {
        tr {
            td.first { (row.name) }
            @for cell in &row.cells {
                td.n {
                    (cell.value)
                    @if let Some((low, high)) = &cell.band {
                        br; span.dim { (low) " to " (high) }
                    }
                }
            }
            td.n { @if let Some(change) = row.change { (format!("{change:+.0} %")) } }
            td class=(class) { (row.finding.as_str()) }
        }
    }
}
