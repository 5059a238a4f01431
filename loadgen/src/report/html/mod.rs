//! The HTML report: one file that can be opened anywhere, attached to an issue, or kept by a CI. And
//! its charts of latency as a picture for documents.
//!
//! Foreign texts get into the page through templates that escape, and nothing is fetched from
//! anywhere. There is no script: what the page shows, it shows when it is printed, too.

pub(crate) mod charts;
mod plot;
mod scale;

use std::time::{Duration, UNIX_EPOCH};

use maud::{Markup, html};
use touchstone_output::html::COLOURS;

use super::model::{Counts, Report, Summary};
use super::text::{CALLEE, factor, figure, lasted};
use super::verdict::Verdict;
use touchstone_output::number::{megabytes, ms, percent, rate, seconds};
use touchstone_output::text::{grouped, one_line, plural};

const CHART: &str = include_str!("chart.css");
const PAGE: &str = include_str!("page.css");

/// The report as one page.
#[must_use]
pub fn html(report: &Report) -> String {
    let title = format!("touchstone load: {}", one_line(&report.scenario.name));
    page(&title, &body(report))
}

/// A whole page around `body`.
pub(crate) fn page(title: &str, body: &Markup) -> String {
    touchstone_output::html::page(title, &format!("{CHART}{PAGE}"), &[], body)
}

/// The percentile curve as a picture of its own, for documents.
#[must_use]
pub fn svg(report: &Report) -> String {
    let style = format!("{COLOURS}{CHART}");
    let mut text = charts::percentiles(report).svg(Some(&style)).into_string();
    text.push('\n');
    text
}

fn body(report: &Report) -> Markup {
    html! {
        (head(report))
        (tiles(report))
        (plots(report))
        (objectives(report))
        (deliveries(report))
        (latencies(report))
        (phases(report))
        (repeats(report))
        (answers(report))
        (generator(report))
    }
}

/// The class of a report's verdict.
pub(crate) fn tone(report: &Report) -> &'static str {
    match report.verdict() {
        Verdict::Passed => "good",
        Verdict::Interrupted => "warn",
        Verdict::Failed | Verdict::Misdelivered | Verdict::Invalid | Verdict::Missed => "bad",
    }
}

fn head(report: &Report) -> Markup {
    let began = UNIX_EPOCH + Duration::from_millis(report.started_at);
    let (word, why) = report.conclusion();
    html! {
        header {
            h1 { (one_line(&report.scenario.name)) " at scale " (factor(report.scenario.scale)) }
            p.dim {
                (one_line(&report.target.name)) ", "
                // A name that is made of them has said them.
                @for url in report.target.urls.iter().filter(|url| !report.target.name.contains(*url)) {
                    code { (one_line(url)) } " "
                }
                "path " code { (one_line(&report.target.path)) } ", recipients " (report.target.shown_recipients()) "; touchstone " (one_line(&report.touchstone)) ", "
                (humantime::format_rfc3339_seconds(began)) ", "
                (seconds(report.duration_ms)) ", seed " (report.seed) ", schedule "
                code { (report.schedule.digest.get(..12).unwrap_or_default()) }
                @if report.shard.of > 1 {
                    ", " (report.shard.parts.len()) " of " (plural(report.shard.of, "shard"))
                }
            }
            div class={ "card verdict " (tone(report)) } { strong { (word) } ": " (why) }
        }
    }
}

/// What to look at first.
fn tiles(report: &Report) -> Markup {
    let audit = &report.audit.counts;
    let steady = report.phases.iter().filter(|phase| phase.counted);
    let (delivered, ms_long) = steady.fold((0, 0), |(delivered, ms), phase| {
        (delivered + phase.delivered, ms + phase.duration_ms)
    });
    let per_second = super::model::rate(delivered, ms_long);
    let tile = |name: &str, value: String, bad: bool| {
        html! { div.card.bad[bad] { span.dim { (name) } b { (value) } } }
    };
    html! {
        div.tiles {
            (tile("connections", grouped(report.connections.peak), report.connections.dropped > 0))
            (tile("deliveries/s", rate(per_second), false))
            (tile("delivered", grouped(audit.delivered), false))
            (tile("lost", grouped(audit.lost), audit.lost > 0))
            (tile("fan-out p50", format!("{} ms", ms(report.latency_us.fanout.p50)), false))
            (tile("fan-out p99", format!("{} ms", ms(report.latency_us.fanout.p99)), false))
            (tile("lag p99", format!("{} ms", ms(report.generator.lag_p99_us)), !report.generator.valid))
        }
    }
}

fn plots(report: &Report) -> Markup {
    let chart = |title: &str, plot: &plot::Plot| {
        html! { div.card { h3 { (title) } (plot.svg(None)) } }
    };
    html! {
        h2 { "Over time" }
        @if report.series.is_empty() {
            p.dim { "The run was over before its first second." }
        } @else {
            div.charts {
                (chart("Latency of deliveries", &charts::latency(report)))
                (chart("Latency of deliveries by percentile", &charts::percentiles(report)))
                (chart("Latency of all else by percentile", &charts::others(report)))
                (chart("Events per second", &charts::rates(report)))
                (chart("Deliveries per second", &charts::deliveries(report)))
                (chart("Connections", &charts::connections(report)))
            }
            p.dim { "Shaded are phases that do not count; percentiles are of the others." }
        }
    }
}

fn objectives(report: &Report) -> Markup {
    html! {
        h2 { "Objectives" }
        div.card {
            table {
                tr { th { "" } th { "objective" } th { "values" } }
                @for slo in &report.slo {
                    tr {
                        @if slo.ok { td.good { "met" } } @else { td.bad { "missed" } }
                        td { code { (one_line(&slo.expression)) } }
                        td { @for (field, value) in &slo.value {
                            div { code { (one_line(&figure(field, value))) } }
                        } }
                    }
                }
            }
        }
    }
}

fn deliveries(report: &Report) -> Markup {
    html! {
        h2 { "Deliveries" }
        p.dim {
            "One delivery is one event at one recipient. Late is what took longer than "
            (ms(report.audit.late_bound_us)) " ms; uncertain what was sent while its recipient came or went; untraced what arrived without saying \
             which event it is."
        }
        div.card {
            table {
                tr {
                    th {} th.share {}
                    th.n { "expected" } th.n { "delivered" } th.n { "late" } th.n { "lost" }
                    th.n { "twice" } th.n { "reordered" } th.n { "misrouted" } th.n { "uncertain" }
                    th.n { "untraced" }
                }
                (counts("all updates", &report.audit.counts, false))
                (counts("all heartbeats", &report.audit.volatile, true))
                @for (name, event) in &report.events {
                    (counts(name, &event.audit, event.volatile))
                }
            }
        }
        @if !report.audit.examples.is_empty() {
            h3 { "The first that went wrong" }
            div.card {
                table {
                    tr { th {} th { "event" } th { "from" } th { "to" } th.n { "planned at" } }
                    @for example in &report.audit.examples {
                        tr {
                            td.bad { (example.outcome.as_str()) }
                            td { (one_line(&example.event)) " " (example.sequence) }
                            td { (one_line(&example.sender)) }
                            td { (one_line(&example.recipient)) }
                            td.n { (seconds(example.planned_us / 1000)) }
                        }
                    }
                }
            }
        }
    }
}

fn counts(name: &str, counts: &Counts, volatile: bool) -> Markup {
    let in_time = counts.delivered.saturating_sub(counts.late);
    let cell = |count: u64, bad: bool| html! { td.n.bad[bad && count > 0] { (grouped(count)) } };
    html! {
        tr {
            td.first { (one_line(name)) @if volatile { " " span.dim { "volatile" } } }
            td.share {
                @if counts.expected > 0 {
                    div.bar role="img" aria-label="in time, late, lost" {
                        @for (class, count) in [("good", in_time), ("warn", counts.late), ("bad", counts.lost)] {
                            @if count > 0 { span class=(class) style={ "flex-grow:" (count) } {} }
                        }
                    }
                }
            }
            (cell(counts.expected, false)) (cell(counts.delivered, false)) (cell(counts.late, false))
            (cell(counts.lost, !volatile)) (cell(counts.duplicated, true)) (cell(counts.reordered, true))
            (cell(counts.misrouted, true)) (cell(counts.uncertain, false))
            (cell(counts.untraced, false))
        }
    }
}

fn latencies(report: &Report) -> Markup {
    let row = |name: &str, of: &Summary, naive: &Summary| {
        html! {
            @if of.count > 0 {
                tr {
                    td.first { (one_line(name)) }
                    td.n { (grouped(of.count)) }
                    @for value in [of.min, of.p50, of.p90, of.p99, of.p999, of.max, naive.p99] {
                        td.n { (ms(value)) }
                    }
                }
            }
        }
    };
    html! {
        h2 { "Latency, in milliseconds" }
        p.dim {
            "From the time that the schedule planned. The naive figure counts from the time of sending, \
             and so hides what a stalled server held up; " (CALLEE) "."
        }
        div.card {
            table {
                tr {
                    th {} th.n { "count" } th.n { "min" } th.n { "p50" } th.n { "p90" } th.n { "p99" }
                    th.n { "p99.9" } th.n { "max" } th.n { "naive p99" }
                }
                @for ((name, of), (_, naive)) in report.latency_us.iter().zip(report.naive_us.iter()) {
                    (row(name, of, naive))
                }
                @for (name, event) in &report.events { (row(name, &event.latency_us, &event.naive_us)) }
            }
        }
    }
}

fn phases(report: &Report) -> Markup {
    html! {
        h2 { "Phases" }
        div.card {
            table {
                tr {
                    th {} th.n { "lasted" } th.n { "connections" } th.n { "planned/s" } th.n { "sent/s" }
                    th.n { "delivered/s" } th.n { "lost" } th.n { "p50 ms" } th.n { "p99 ms" }
                }
                @for phase in &report.phases {
                    tr {
                        td.first {
                            (one_line(&phase.name))
                            @if !phase.counted { " " span.dim { "not counted" } }
                        }
                        td.n { (lasted(phase)) }
                        td.n { (grouped(phase.connections)) }
                        td.n { (rate(phase.planned_per_second)) }
                        td.n { (rate(phase.sent_per_second)) }
                        td.n { (rate(phase.delivered_per_second)) }
                        td.n.bad[phase.lost > 0] { (grouped(phase.lost)) }
                        td.n { (ms(phase.latency_us.p50)) }
                        td.n { (ms(phase.latency_us.p99)) }
                    }
                }
            }
        }
    }
}

fn repeats(report: &Report) -> Markup {
    html! {
        @if !report.repeats.is_empty() {
            h2 { "Repetitions" }
            div.card {
                table {
                    tr {
                        th {} th.n { "delivered/s" } th.n { "lost" } th.n { "p50 ms" } th.n { "p99 ms" }
                        th.n { "lag p99 ms" } th.n { "CPU s" }
                    }
                    @for (at, repeat) in report.repeats.iter().enumerate() {
                        tr {
                            td.first { (at + 1) @if !repeat.valid { " " span.dim { "invalid" } } }
                            td.n { (rate(repeat.delivered_per_second)) }
                            td.n.bad[repeat.audit.lost > 0] { (grouped(repeat.audit.lost)) }
                            td.n { (ms(repeat.latency_us.fanout.p50)) }
                            td.n { (ms(repeat.latency_us.fanout.p99)) }
                            td.n { (ms(repeat.lag_p99_us)) }
                            td.n { (format!("{:.1}", repeat.cpu_seconds)) }
                        }
                    }
                }
            }
        }
    }
}

fn answers(report: &Report) -> Markup {
    html! {
        @if !report.answers.is_empty() {
            h2 { "Answers" }
            div.card {
                table {
                    tr { th { "event" } th { "answer" } th.n { "times" } }
                    @for (event, answers) in &report.answers {
                        @for (answer, count) in answers {
                            tr {
                                td.first { (one_line(event)) }
                                td { (one_line(answer)) }
                                td.n { (grouped(*count)) }
                            }
                        }
                    }
                }
            }
        }
        @if !report.errors.is_empty() {
            h2 { "Errors" }
            div.card {
                table {
                    @for (error, count) in &report.errors {
                        tr { td { (one_line(error)) } td.n { (grouped(*count)) } }
                    }
                }
            }
        }
    }
}

fn generator(report: &Report) -> Markup {
    let generator = &report.generator;
    let connections = &report.connections;
    let row = |name: &str, value: String| html! { tr { td.first.dim { (name) } td { (value) } } };
    let events = format!(
        "{} planned, {} sent, {} unsent",
        grouped(generator.planned),
        grouped(generator.sent),
        grouped(generator.unsent)
    );
    let lag = format!(
        "p50 {} ms, p99 {} ms, max {} ms",
        ms(generator.lag_us.p50),
        ms(generator.lag_us.p99),
        ms(generator.lag_us.max)
    );
    let opened = format!(
        "{} of {} opened, {} failed, {} closed, {} dropped",
        grouped(connections.opened),
        grouped(connections.planned),
        grouped(connections.failed),
        grouped(connections.closed),
        grouped(connections.dropped)
    );
    let processor = format!(
        "{:.1} s, {} of what was there, {}; machine {} busy",
        generator.cpu_seconds,
        percent(generator.cpu_share),
        plural(generator.workers, "worker"),
        percent(generator.machine_share)
    );
    let memory = format!(
        "{}, {} of {} files",
        megabytes(generator.max_rss_bytes),
        grouped(generator.open_files),
        grouped(generator.open_files_limit)
    );
    html! {
        h2 { "Generator" }
        div.card {
            table {
                (row("events", events))
                (row("sending lag", lag))
                (row("connections", opened))
                (row("processor time", processor))
                (row("memory", memory))
                @for host in &generator.hosts {
                    (row("host", format!(
                        "{}: {}, {}, {}, clock {}",
                        one_line(&host.name), one_line(&host.system), one_line(&host.processor),
                        plural(host.cores, "core"), one_line(&host.clock)
                    )))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{broken, sample};
    use super::*;

    #[test]
    fn snapshot() {
        let page = html(&broken());
        let (head, rest) = page.split_once("<style>").expect("a style");
        let (_, body) = rest.split_once("</style>").expect("its end");
        let page = format!("{head}<style>STYLE</style>{body}");
        insta::assert_snapshot!(page.replace("><", ">\n<"));
    }

    #[test]
    fn a_page_needs_nothing_from_outside() {
        let page = html(&sample());
        // The namespace of SVG is a name, not an address.
        let page = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!page.contains("src="), "{page}");
        assert!(!page.contains("href="), "{page}");
        assert!(!page.contains("url("), "{page}");
        assert!(!page.contains("<script"), "{page}");
    }

    #[test]
    fn foreign_text_is_text() {
        let mut report = broken();
        let hostile = "<script>alert(1)</script>\u{1b}[2J";
        report.scenario.name = hostile.to_owned();
        report.target.name = hostile.to_owned();
        report.slo[0].expression = hostile.to_owned();
        report.audit.examples[0].sender = hostile.to_owned();
        report.errors.insert(hostile.to_owned(), 1);
        let page = html(&report);
        assert!(!page.contains("<script"), "{page}");
        assert!(!page.contains('\u{1b}'), "{page}");
        assert_eq!(page.matches("&lt;script&gt;alert(1)").count(), 6);
    }

    #[test]
    fn a_run_without_a_second_has_a_page() {
        assert!(html(&Report::blank()).contains("before its first second"));
        assert!(svg(&Report::blank()).starts_with("<svg"));
    }

    #[test]
    fn a_picture_stands_alone() {
        let picture = svg(&sample());
        assert!(picture.starts_with("<svg xmlns="), "{picture}");
        assert!(picture.contains("prefers-color-scheme"), "{picture}");
    }
}
