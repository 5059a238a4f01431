//! A replay as one HTML page: the traces that differ, with what is otherwise in each, and what is not held
//! against the server.

use maud::{Markup, html};

use super::{
    alike::alike,
    outcome::{Item, Outcome},
    payload::Difference,
    render::{counted, cut, reasons, said, seconds, told, value},
    report::{Repair, ReplayReport, ReplayRun, Replayed},
};
use touchstone_harness::{
    Verdict,
    report::{badge, filters, page},
};
use touchstone_output::text::{clean, one_line, plural};

impl ReplayRun {
    /// The report as one self-contained page.
    pub fn html(&self) -> String {
        page(&format!("touchstone replay: {}", self.target), &self.body())
    }

    fn body(&self) -> Markup {
        let verdicts: Vec<_> = self.traces.iter().map(verdict).collect();
        let counts = WORDS.map(|(one, word)| {
            let count = verdicts.iter().filter(|it| **it == one).count();
            (one, word, count)
        });
        let counts: Vec<_> = counts
            .into_iter()
            .filter(|(.., count)| *count > 0)
            .collect();
        html! {
            h1 { (one_line(&self.target)) }
            p.dim {
                "touchstone " (env!("CARGO_PKG_VERSION")) ", "
                (format!("{:.2} s", self.duration.as_secs_f64())) ", seed " (self.seed)
            }
            p { strong { (plural(self.traces.len(), "trace")) } ": " (counted(&self.counts())) }
            (filters(&counts))
            section data-group="" {
                h2 { "Traces" }
                @for (trace, verdict) in self.traces.iter().zip(verdicts) { (of_trace(trace, verdict)) }
            }
            (self.aside_page())
        }
    }

    /// What of all traces counts for nothing, by its reason.
    fn aside_page(&self) -> Markup {
        let aside = reasons(self.reports().flat_map(|report| &report.items));
        html! {
            @if !aside.is_empty() {
                h2 { "Not held against the server" }
                div.card {
                    table {
                        @for (word, count, why) in aside {
                            tr { td { (count) } td { (word) } td { (one_line(&why)) } }
                        }
                    }
                }
            }
        }
    }
}

/// What the verdicts are called here.
const WORDS: [(Verdict, &str); 3] = [
    (Verdict::Pass, "same"),
    (Verdict::Fail, "differs"),
    (Verdict::Error, "error"),
];

/// The verdict as whose colour a trace is shown.
fn verdict(trace: &Replayed) -> Verdict {
    match &trace.outcome {
        Err(_) => Verdict::Error,
        Ok(report) => match report.repair {
            Some(Repair::Fixed) => Verdict::Pass,
            Some(Repair::Failed) => Verdict::Fail,
            Some(Repair::Error) => Verdict::Error,
            None if report.counts().is_same() => Verdict::Pass,
            None => Verdict::Fail,
        },
    }
}

fn of_trace(trace: &Replayed, verdict: Verdict) -> Markup {
    let word = WORDS.iter().find(|(one, _)| *one == verdict);
    let word = word.map_or("error", |(_, word)| word);
    let found = if verdict == Verdict::Fail {
        "case found"
    } else {
        "case"
    };
    let path = trace.path.display().to_string();
    html! {
        details class=(found) open[verdict == Verdict::Fail] id={ "trace-" (one_line(&path)) }
            data-verdict=(verdict.as_str()) {
            summary { (badge(verdict, word)) span.mono { (one_line(&path)) } }
            div {
                @match &trace.outcome {
                    Err(why) => { p { "Not replayed: " (one_line(why)) } }
                    Ok(report) => { (differences(report)) }
                }
            }
        }
    }
}

fn differences(report: &ReplayReport) -> Markup {
    html! {
        p { (counted(&report.counts())) }
        @if report.interrupted { p { "It was interrupted: what comes behind was not sent." } }
        @if let Some((repair, case)) = told(report) { p { strong { (repair) } ": " (one_line(&case)) } }
        @for one in &report.judged {
            @let (repair, said) = said(one);
            p {
                strong { (repair) } " " span.dim { (format!("{:.3} s", seconds(one.t_us))) } " "
                span.mono { (said) } ": " (one_line(&one.text))
            }
        }
        @for (item, others) in alike(&report.items) { (difference(item, others)) }
        @for unsent in &report.unsent {
            p.dim {
                "not replayable: " code { (one_line(&unsent.conn)) " " (one_line(&unsent.what)) } ": "
                (one_line(&unsent.why))
            }
        }
    }
}

fn difference(item: &Item, others: usize) -> Markup {
    html! {
        h3 {
            (item.outcome.as_str()) " " span.mono { (one_line(&item.what)) } " "
            span.dim { (format!("{:.3} s", seconds(item.t_us))) " on " (one_line(&item.conn)) }
        }
        @match &item.outcome {
            Outcome::Missing(value) | Outcome::Extra(value) => {
                pre { (clean(&cut(&value.to_string()))) }
            }
            Outcome::Different(differences) => {
                @for one in differences { (pair(one)) }
            }
            Outcome::Same | Outcome::Observed { .. } | Outcome::Blocked { .. } => {}
        }
        @if others > 0 { p.dim { "and " (plural(others, "other")) " of the same kind" } }
    }
}

fn pair(one: &Difference) -> Markup {
    html! {
        p.mono { (one_line(one.place())) }
        div.pair {
            div { span.dim { "recorded" } pre { (clean(&value(&one.recorded))) } }
            div { span.dim { "now" } pre { (clean(&value(&one.replayed))) } }
        }
    }
}
