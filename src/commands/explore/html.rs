//! What was explored, as a page.

use maud::{Markup, html};
use touchstone_explore::{Diagram, Finding};
use touchstone_history::Level;
use touchstone_output::html::{COPY, command, page, with_code};
use touchstone_output::text::one_line;

use super::report::{Report, shown};
use crate::commands::violation::requirement_text;

const STYLE: &str = "figure { margin: 0; overflow-x: auto; } svg { display: block; font: 12px ui-monospace, monospace; } \
    svg line { stroke: var(--line); } svg text { fill: var(--text); } svg circle { fill: var(--blue); } \
    svg .bad { fill: var(--bad); } .shown { color: var(--dim); } .must { color: var(--bad); } \
    .should { color: var(--warn); }";

/// The height of a row, the width of a lane, and where the first ones are.
const ROW: usize = 18;
const LANE: usize = 64;
const TOP: usize = 34;

impl Report {
    /// The report as a page.
    pub(super) fn html(&self) -> String {
        let body = html! {
            h1 { "Exploration of " (one_line(&self.target)) }
            p { (self.summary()) }
            @for finding in &self.explored.findings { (self.section(finding)) }
        };
        page("touchstone explore", STYLE, &[COPY], &body)
    }

    fn section(&self, finding: &Finding) -> Markup {
        let violation = &finding.violation;
        let level = match violation.level {
            Level::Must => "must",
            Level::Should => "should",
        };
        html! {
            section id=(violation.requirement) {
                h2 { span class=(level) { (violation.level) } " " code { (violation.requirement) } }
                p { (requirement_text(violation.requirement)) }
                p { strong { (one_line(&violation.text)) } }
                p class="shown" { (shown(finding)) }
                ol { @for step in &finding.steps { li { (with_code(&one_line(step))) } } }
                (diagram(&finding.diagram))
                (command("repeat with", &self.reproduce(finding)))
            }
        }
    }
}

/// The diagram as a picture, in its own size: a narrow screen scrolls it.
fn diagram(diagram: &Diagram) -> Markup {
    let x = |lane: usize| lane * LANE + LANE / 2;
    let bottom = TOP + diagram.rows.len() * ROW;
    let left = diagram.lanes.len() * LANE + 12;
    let (width, height) = (left + 900, bottom + 8);
    html! {
        figure { svg viewBox=(format!("0 0 {width} {height}")) width=(width) height=(height) role="img" aria-label="sequence diagram" {
            @for (lane, name) in diagram.lanes.iter().enumerate() {
                text x=(x(lane)) y="14" text-anchor="middle" { (one_line(name)) }
                line x1=(x(lane)) x2=(x(lane)) y1="22" y2=(bottom) {}
            }
            @for (number, row) in diagram.rows.iter().enumerate() {
                @let y = TOP + number * ROW;
                @let class = if row.is_marked { "bad" } else { "" };
                @if let Some(lane) = row.lane { circle class=(class) cx=(x(lane)) cy=(y) r="4" {} }
                text class=(class) x=(left) y=(y + 4) { (row.text) }
            }
        } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scaled to a narrow screen, nobody can read it.
    #[test]
    fn a_diagram_has_a_size_of_its_own() {
        let none = Diagram {
            lanes: vec!["u1".to_owned()],
            rows: Vec::new(),
            is_cut: false,
        };
        let shown = diagram(&none).into_string();
        assert!(shown.starts_with("<figure><svg"), "{shown}");
        assert!(shown.contains(" width=\"976\" height=\"42\""), "{shown}");
    }
}
