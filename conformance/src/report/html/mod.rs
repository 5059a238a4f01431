//! The HTML report: one file that can be opened anywhere, attached to an issue, or kept by a CI.
//!
//! What a server said gets into the page through templates that escape, and nothing is fetched from
//! anywhere.

pub(crate) mod page;

use std::{
    io::{self, Write},
    time::{Duration, UNIX_EPOCH},
};

use maud::{Markup, html};

use self::page::{badge, filters, page};
use super::{
    Gone, also, arrow, by_reason, clean, counts, first_to_mend, one_line, plural, to_explain,
    told_elsewhere, trace_ms, trait_text,
};
use crate::{
    event::{CaseReport, Direction, Reporter, RunEvent, RunReport},
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
    fn event(&mut self, event: &RunEvent) -> io::Result<()> {
        if let RunEvent::Finished(run) = event {
            let title = format!("touchstone: {}", run.target.name);
            writeln!(self.out, "{}", page(&title, &body(run)).into_string())?;
            self.out.flush()?;
        }
        Ok(())
    }
}

fn body(run: &RunReport) -> Markup {
    let counted: Vec<_> = Verdict::ALL
        .iter()
        .map(|&verdict| (verdict, run.summary.count(verdict)))
        .filter(|&(_, count)| count > 0)
        .collect();
    html! {
        (head(run, &counted))
        (alerts(run))
        (filters(&counted))
        (first(run))
        @let findings = to_explain(run);
        @if !findings.is_empty() {
            section data-group="" {
                h2 { "What was found" }
                @for case in findings { (found(case)) }
            }
        }
        (groups(run))
        (dialect(run))
        (requirements(run))
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

fn head(run: &RunReport, counted: &[(Verdict, usize)]) -> Markup {
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
                @for (verdict, count) in counted {
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
                strong { "Not judged: " } (gone.headline())
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
        @for (reason, ids) in by_reason(run, Verdict::Blocked) {
            div.card.alert.error {
                strong { (plural(ids.len(), "case")) " could not be judged: " } (clean(reason))
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
                strong { "The target does not offer everything" }
                @for missing in &run.target.missing { p { (one_line(missing)) } }
            }
        }
    }
}

fn word(case: &CaseReport) -> &'static str {
    match case.verdict {
        Verdict::Fail if case.known.is_some() => "known",
        _ if case.flaky => "flaky",
        verdict => verdict.as_str(),
    }
}

/// A case that somebody has to look at, with all that is known about it.
fn found(case: &CaseReport) -> Markup {
    let open = case.verdict == Verdict::Fail && case.known.is_none();
    html! {
        details.case open[open] data-verdict=(case.verdict.as_str()) {
            summary { (badge(case.verdict, word(case))) span.mono { (case.id) } }
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
                @if let Some(reason) = &case.known { p { "Known: " (one_line(reason)) } }
                @if let Some(reason) = &case.reason { p { (clean(reason)) } }
                @for note in &case.notes { p.dim { "Note: " (one_line(note)) } }
                span.dim { "repeat with" }
                pre { (one_line(&case.reproduce)) }
                (trace(case))
            }
        }
    }
}

fn trace(case: &CaseReport) -> Markup {
    let class = |direction| match direction {
        Direction::C2s => "c2s",
        Direction::S2c => "s2c",
        Direction::Http => "http",
        Direction::Mark => "mark",
    };
    html! {
        @if !case.trace.is_empty() {
            details {
                summary.dim { "wire trace, " (plural(case.trace.len(), "line")) ", ms since the case began" }
                div.trace.mono {
                    @for line in &case.trace {
                        p class=(class(line.dir)) {
                            span.at { (trace_ms(line)) }
                            span { (one_line(&line.conn)) }
                            span { (arrow(line.dir)) }
                            span { (one_line(&line.text)) }
                        }
                    }
                }
            }
        }
    }
}

/// Every case in short, by group.
fn groups(run: &RunReport) -> Markup {
    let mut groups: Vec<(&str, Vec<&CaseReport>)> = Vec::new();
    for case in &run.cases {
        match groups.iter_mut().find(|(name, _)| *name == case.group()) {
            Some((_, cases)) => cases.push(case),
            None => groups.push((case.group(), vec![case])),
        }
    }
    html! {
        h2 { "All cases" }
        @for (name, cases) in groups {
            section data-group="" {
                h3 { (name) " " span.dim { (cases.len()) } }
                @for case in cases {
                    details.case data-verdict=(case.verdict.as_str()) {
                        summary {
                            (badge(case.verdict, word(case)))
                            span.mono { (case.id) }
                            span.dim { (case.duration.as_millis()) " ms" }
                        }
                        div {
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
        }
    }
}

fn dialect(run: &RunReport) -> Markup {
    html! {
        h2 { "Dialect card" }
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
        h2 { "Requirements" }
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
        assert_eq!(text.matches("<script").count(), 1);
        assert_eq!(tags(&text), tags(&testing::render_benign(Html::new)));
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
