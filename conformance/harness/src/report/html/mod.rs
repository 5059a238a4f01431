//! The HTML report: one file that can be opened anywhere, attached to an issue, or kept by a CI.
//!
//! What a server said gets into the page through templates that escape, and nothing is fetched from
//! anywhere.

mod diagram;
pub(crate) mod page;

use std::{
    io::{self, Write},
    time::{Duration, UNIX_EPOCH},
};

use maud::{Markup, html};
use touchstone_output::html::{command, with_code};

use self::{
    diagram::diagram,
    page::{badge, filters, page},
};
use super::{
    Gone, Group, Section, also, arrow, by_reason, clean, counts, first_to_mend, groups, nodes,
    not_offered, one_line, plural, shown::focused, to_explain, told_elsewhere, trace_ms,
    trait_text, word, worst_requirement,
};
use crate::{
    event::{CaseReport, Direction, Reporter, RunReport},
    verdict::Verdict,
};

/// Writes the HTML report to `out` when the run is over.
#[derive(Debug)]
pub struct Html<W> {
    out: W,
}

impl<W: Write> Html<W> {
    /// A report that goes to `out`.
    pub fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write + Send> Reporter for Html<W> {
    fn finished(&mut self, run: &RunReport) -> io::Result<()> {
        let title = format!("touchstone: {}", run.target.name);
        write!(self.out, "{}", page(&title, &body(run)))?;
        self.out.flush()
    }
}

fn body(run: &RunReport) -> Markup {
    let counted: Vec<_> = Verdict::ALL
        .iter()
        .map(|&verdict| (verdict, verdict.as_str(), run.summary.count(verdict)))
        .filter(|&(.., count)| count > 0)
        .collect();
    html! {
        (head(run, &counted))
        (contents(run))
        (alerts(run))
        (filters(&counted))
        (first(run))
        @for section in Section::ALL {
            @let groups = groups(run, section);
            @if !groups.is_empty() {
                section data-group="" id=(slug(section.title())) {
                    h2 { (section.title()) }
                    @for group in &groups { (together(section, group)) }
                }
            }
        }
        (all(run))
        (dialect(run))
        (requirements(run))
    }
}

/// `Known failures` as it stands in an address.
fn slug(title: &str) -> String {
    title.to_lowercase().replace(' ', "-")
}

/// What the page has, and each thing that was found, to go to.
fn contents(run: &RunReport) -> Markup {
    let found = to_explain(run);
    html! {
        nav.card.contents aria-label="contents" {
            @for section in Section::ALL {
                @let count = found.iter().filter(|case| Section::of(case) == Some(section)).count();
                @if count > 0 {
                    a href={ "#" (slug(section.title())) } { (section.title()) " " (count) } " "
                }
            }
            a href="#all-cases" { "All cases" } " "
            a href="#dialect" { "Dialect card" } " "
            a href="#requirements" { "Requirements" }
            @if !found.is_empty() {
                ul {
                    @for case in found {
                        li {
                            (badge(case.verdict, word(case))) " "
                            a.mono href={ "#found-" (case.id) } { (case.id) } " "
                            span.mono.dim { (worst_requirement(case).map_or("", |it| it.id)) }
                        }
                    }
                }
            }
        }
    }
}

/// What broke one kind of thing: the case that shows it best, and the others folded behind it.
fn together(section: Section, group: &Group<'_>) -> Markup {
    let Some((first, others)) = group.split() else {
        return html! {};
    };
    let open = section == Section::Failures;
    html! {
        (found(first, open))
        @if !others.is_empty() {
            div.others {
                p.dim {
                    "The same kind of thing in " (plural(others.len(), "other case")) ":"
                }
                @for case in others { (found(case, false)) }
            }
        }
    }
}

/// What kept other cases from judging anything.
fn first(run: &RunReport) -> Markup {
    let first = first_to_mend(run);
    html! {
        @if !first.is_empty() {
            section data-group="" {
                h2 { "What to mend first" }
                ol {
                    @for (requirement, count) in first {
                        li {
                            (requirement.level) " " span.mono { (requirement.id) } ": "
                            (plural(count, "case")) " could not be judged without it. "
                            (requirement.text)
                        }
                    }
                }
            }
        }
    }
}

fn head(run: &RunReport, counted: &[(Verdict, &str, usize)]) -> Markup {
    let target = &run.target;
    let began = UNIX_EPOCH + Duration::from_millis(run.started_at);
    html! {
        header {
            h1 { (one_line(&target.name)) }
            p.dim {
                "touchstone " (env!("CARGO_PKG_VERSION")) ", "
                (humantime::format_rfc3339_seconds(began)) ", "
                (format!("{:.2} s", run.duration.as_secs_f64())) ", seed " (run.seed) ", "
                @for url in &target.urls { code { (one_line(url)) } " " }
                "path " code { (one_line(&target.path)) }
            }
            div.bar role="img" aria-label=(counts(&run.summary)) {
                @for (verdict, _, count) in counted {
                    span class=(verdict.as_str()) style={ "flex-grow:" (count) } {}
                }
            }
            p { strong { (plural(run.summary.total, "case")) } ": " (counts(&run.summary)) }
            @if run.summary.interrupted { p { strong { "The run was interrupted." } } }
        }
    }
}

/// What concerns the run as a whole.
fn alerts(run: &RunReport) -> Markup {
    html! {
        @if let Some(gone) = Gone::of(run) {
            div.card.alert.error {
                strong { "Error: " } (gone.headline())
                @if !gone.during.is_empty() { p { "Ran then: " code { (gone.suspects()) } } }
                @if let Some((id, met)) = gone.first_met() {
                    p { "The first of them, " code { (id) } ", met: " (one_line(met)) }
                }
                @if let Some(suspect) = gone.suspect() { p { (suspect) } }
                p.dim { (gone.hint()) }
            }
        }
        @if let Some(hardly) = run.summary.hardly_judged() {
            div.card.alert.error { strong { "Incomplete: " } (hardly) }
        }
        @for (reason, ids) in by_reason(&run.cases, Verdict::Blocked) {
            div.card.alert.error {
                strong { "Blocked, " (plural(ids.len(), "case")) ": " } (clean(reason))
                p.dim { (ids.join(", ")) }
            }
        }
        @if !run.stale.is_empty() {
            div.card.alert.fail {
                strong { (plural(run.stale.len(), "stale baseline entry")) }
                @for entry in &run.stale {
                    p {
                        code { (one_line(&entry.file)) ":" (entry.line) } " "
                        code { (one_line(&entry.case)) } ": " (one_line(&entry.why))
                    }
                }
            }
        }
        @if !run.target.missing.is_empty() {
            div.card.alert.skip {
                strong { "Not offered" }
                @for missing in not_offered(&run.target.missing) { p { (one_line(&missing)) } }
            }
        }
    }
}

/// A case that somebody has to look at, with all that is known about it.
fn found(case: &CaseReport, open: bool) -> Markup {
    html! {
        details.case.found open[open] id={ "found-" (case.id) } data-verdict=(case.verdict.as_str()) {
            summary {
                (badge(case.verdict, word(case)))
                span.mono { (case.id) }
                a.permalink href={ "#found-" (case.id) } title="link to this" { "#" }
            }
            div {
                @for (finding, mismatch) in case.told() {
                    h3 { (finding.requirement.level) " " span.mono { (finding.requirement.id) } }
                    p { (finding.requirement.text) }
                    div.pair {
                        div { span.dim { "expected" } pre { (clean(&mismatch.expected)) } }
                        div { span.dim { "got" } pre { (clean(&mismatch.actual)) } }
                    }
                    @if let Some(also) = also(finding) { p.dim { (also) } }
                }
                @for line in told_elsewhere(case) { p.dim { (line) } }
                @if let Some(cause) = case.cause() { p { strong { "Typical cause: " } (with_code(&cause)) "." } }
                @if let Some(reason) = &case.known { p { "Known: " (one_line(reason)) } }
                @if let Some(reason) = &case.reason { p { (clean(reason)) } }
                @for note in &case.notes { p.dim { "Note: " (one_line(note)) } }
                (diagram(case))
                (trace(case, open))
                @if let Some(nodes) = nodes(case) { p.dim { "Nodes: " (one_line(&nodes)) } }
                (command("repeat with", &case.reproduce))
                @if !case.trace.is_empty() { (command("look at it with", &case.look())) }
            }
        }
    }
}

fn trace(case: &CaseReport, open: bool) -> Markup {
    let class = |direction| match direction {
        Direction::C2s => "c2s",
        Direction::S2c => "s2c",
        Direction::Http => "http",
        Direction::Mark => "mark",
    };
    let parts = focused(case);
    html! {
        @if !case.trace.is_empty() {
            details data-trace="" open[open] {
                summary.dim {
                    "wire trace, " (plural(case.trace.len(), "line")) ", ms since the case began"
                    @if !parts.is_empty() { ", " (parts.len()) " marked" }
                }
                div.trace.mono {
                    @for (at, line) in case.trace.iter().enumerate() {
                        @let part = parts.get(&at).map(|part| part.as_str());
                        p class={ (class(line.dir)) " " (part.unwrap_or_default()) } data-part=[part] {
                            span.at { (trace_ms(line)) }
                            span { (one_line(&line.conn)) }
                            span { (arrow(line.dir)) }
                            span { @if let Some(part) = part { b { (part) } " " } (one_line(&line.text)) }
                        }
                    }
                }
            }
        }
    }
}

/// Every case in short, by group.
fn all(run: &RunReport) -> Markup {
    let mut groups: Vec<(&str, Vec<&CaseReport>)> = Vec::new();
    for case in &run.cases {
        match groups.iter_mut().find(|(name, _)| *name == case.group()) {
            Some((_, cases)) => cases.push(case),
            None => groups.push((case.group(), vec![case])),
        }
    }
    html! {
        h2 #all-cases { "All cases" }
        @for (name, cases) in groups {
            section data-group="" {
                h3 { (name) " " span.dim { (cases.len()) } }
                @for case in cases { (in_short(case)) }
            }
        }
    }
}

fn in_short(case: &CaseReport) -> Markup {
    html! {
        details.case id={ "case-" (case.id) } data-verdict=(case.verdict.as_str()) {
            summary {
                (badge(case.verdict, word(case)))
                span.mono { (case.id) }
                span.dim { (case.duration.as_millis()) " ms" }
                @if let Some((_, mismatch)) = case.told().next() {
                    span.got { "got " (one_line(&mismatch.actual)) }
                }
            }
            div {
                @if Section::of(case).is_some() {
                    p { a href={ "#found-" (case.id) } { "what was found" } }
                }
                @if let Some(reason) = &case.reason { p { (clean(reason)) } }
                @for note in &case.notes { p.dim { "Note: " (one_line(note)) } }
                @for requirement in &case.requirements {
                    p {
                        strong { (requirement.level) } " "
                        span.mono { (requirement.id) } ": " (requirement.text)
                    }
                }
            }
        }
    }
}

fn dialect(run: &RunReport) -> Markup {
    html! {
        h2 #dialect { "Dialect card" }
        p.dim { "Traits in which right servers may differ, as measured in this run." }
        div.card {
            table.dialect {
                @for (name, value) in run.dialect.traits() {
                    tr { td { (name) } td.mono { (trait_text(&value)) } }
                }
            }
        }
    }
}

fn requirements(run: &RunReport) -> Markup {
    html! {
        h2 #requirements { "Requirements" }
        details.case {
            summary { span.mono { (plural(run.requirements.len(), "requirement")) } }
            div {
                @for report in &run.requirements {
                    p {
                        (badge(report.verdict, report.verdict.as_str())) " "
                        strong { (report.requirement.level) } " "
                        span.mono { (report.requirement.id) } ": " (report.requirement.text)
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing;

    #[test]
    fn snapshot() {
        // The style and the script are files of their own; what surrounds them is what a change shows.
        let text = testing::render(Html::new);
        let (head, rest) = text.split_once("<style>").expect("a style");
        let (_, body) = rest.split_once("</style>").expect("its end");
        let (body, rest) = body.split_once("<script>").expect("a script");
        assert!(rest.contains("</script></body></html>"), "{rest}");
        let shown = format!("{head}{body}").replace(env!("CARGO_PKG_VERSION"), "VERSION");
        insta::assert_snapshot!(shown.replace("><", ">\n<"));
    }

    #[test]
    fn a_hostile_server_adds_no_markup() {
        let tags = |text: &str| text.matches('<').count();
        let text = testing::render_hostile(Html::new);
        assert!(!text.contains("<script>alert"), "{text}");
        let benign = testing::render_benign(Html::new);
        let scripts = |text: &str| text.matches("<script").count();
        assert_eq!(scripts(&text), scripts(&benign));
        assert_eq!(tags(&text), tags(&benign));
    }

    #[test]
    fn nothing_is_fetched() {
        let text = testing::render(Html::new);
        for part in [" src=", "<link", "@import", "url("] {
            assert!(!text.contains(part), "{part}");
        }
        assert!(text.contains("default-src 'none'"));
    }
}
