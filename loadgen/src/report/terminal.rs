//! The summary that a person gets at the end of a run. It fits 80 columns and 24 lines whatever
//! happened: what is left out is in the other reports.

use std::fmt::Write as _;

use super::model::{Counts, Report, Summary};
use super::style::Style;
use super::text::{cut, factor, grouped, megabytes, ms, one_line, percent, plural, seconds};
use super::verdict::Verdict;

/// Columns of the summary.
const WIDTH: usize = 80;

/// Lines that objectives, errors and examples may take together; the rest of the summary needs the
/// other 18 lines of a small terminal.
const DETAILS: usize = 6;

/// The summary of a run, with a line end behind its last line.
#[must_use]
pub fn summary(report: &Report, style: Style) -> String {
    let mut lines = head(report, style);
    lines.extend(deliveries(report, style));
    lines.extend(latencies(report, style));
    lines.extend(load(report, style));
    lines.extend(details(report, style));
    lines.push(conclusion(report, style));
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

fn head(report: &Report, style: Style) -> Vec<String> {
    let scale = factor(report.scenario.scale);
    let title = format!(
        "{} at scale {scale}, {}",
        report.scenario.name, report.target.name
    );
    let shard = match &report.shard {
        shard if shard.of == 1 => String::new(),
        shard => format!(", {} of {} shards", shard.parts.len(), shard.of),
    };
    let digest = report.schedule.digest.get(..12).unwrap_or_default();
    let run = format!(
        "seed {}, schedule {digest}{shard}, {}, {}, {}",
        report.seed,
        plural(report.connections.peak, "connection"),
        seconds(report.duration_ms),
        report.target.shown_recipients(),
    );
    vec![
        style.bold(cut(&title, WIDTH)),
        style.dim(cut(&run, WIDTH)),
        String::new(),
    ]
}

fn deliveries(report: &Report, style: Style) -> Vec<String> {
    let row = |name: &str, counts: &Counts, volatile: bool| {
        // That volatile events may be lost is what volatile means.
        let cell = |count: u64, width: usize, bad: bool| {
            style.bad_if(bad && count > 0, format!("{:>width$}", grouped(count)))
        };
        [
            format!("{name:<12}"),
            cell(counts.expected, 11, false),
            cell(counts.delivered, 11, false),
            cell(counts.late, 8, false),
            cell(counts.lost, 8, !volatile),
            cell(counts.duplicated, 7, true),
            cell(counts.reordered, 10, true),
            cell(counts.misrouted, 10, true),
        ]
        .concat()
    };
    vec![
        style.dim(format!(
            "{:<12}{:>11}{:>11}{:>8}{:>8}{:>7}{:>10}{:>10}",
            "deliveries",
            "expected",
            "delivered",
            "late",
            "lost",
            "twice",
            "reordered",
            "misrouted"
        )),
        row("updates", &report.audit.counts, false),
        row("heartbeats", &report.audit.volatile, true),
        String::new(),
    ]
}

fn latencies(report: &Report, style: Style) -> Vec<String> {
    let row = |name: &str, of: &Summary, naive: &Summary| {
        format!(
            "{name:<12}{:>11}{:>9}{:>9}{:>9}{:>9}{:>9}{:>12}",
            grouped(of.count),
            ms(of.p50),
            ms(of.p90),
            ms(of.p99),
            ms(of.p999),
            ms(of.max),
            ms(naive.p99),
        )
    };
    let (all, naive) = (&report.latency_us, &report.naive_us);
    let mut lines = vec![style.dim(format!(
        "{:<12}{:>11}{:>9}{:>9}{:>9}{:>9}{:>9}{:>12}",
        "latency, ms", "count", "p50", "p90", "p99", "p99.9", "max", "naive p99"
    ))];
    for ((name, of), (_, naive)) in all.iter().zip(naive.iter()) {
        if of.count > 0 {
            lines.push(row(name, of, naive));
        }
    }
    lines.push(String::new());
    lines
}

fn load(report: &Report, style: Style) -> Vec<String> {
    let generator = &report.generator;
    let unsent = style.bad_if(
        generator.unsent > 0,
        format!("{} unsent", grouped(generator.unsent)),
    );
    let connections = &report.connections;
    let lost = style.bad_if(
        connections.dropped > 0,
        format!("{} dropped", grouped(connections.dropped)),
    );
    let failed = style.bad_if(
        connections.failed > 0,
        format!("{} failed", grouped(connections.failed)),
    );
    vec![
        format!(
            "events      {} planned, {} sent, {unsent}; sent within {} ms (p99)",
            grouped(generator.planned),
            grouped(generator.sent),
            ms(generator.lag_p99_us),
        ),
        format!(
            "connections {} opened, {failed}, {lost}",
            grouped(connections.opened)
        ),
        format!(
            "generator   {:.1} s CPU ({}), {}, {} of {} files",
            generator.cpu_seconds,
            percent(generator.cpu_share),
            megabytes(generator.max_rss_bytes),
            grouped(generator.open_files),
            grouped(generator.open_files_limit),
        ),
    ]
}

/// What went wrong first, then the objectives, as far as there is room.
fn details(report: &Report, style: Style) -> Vec<String> {
    let mut lines = Vec::new();
    for slo in report.slo.iter().filter(|slo| !slo.ok) {
        let mut line = format!("{}  (", one_line(&slo.expression));
        for (at, (field, value)) in slo.value.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            // Writing to a string cannot fail.
            let _ = write!(line, "{comma}{field} = {value}");
        }
        line.push(')');
        lines.push(format!(
            "{}  {}",
            style.bad("slo missed"),
            cut(&line, WIDTH - 12)
        ));
    }
    for example in &report.audit.examples {
        let line = format!(
            "at {}: {} {}, {} -> {}",
            seconds(example.planned_us / 1000),
            example.event,
            example.sequence,
            example.sender,
            example.recipient,
        );
        let word = format!("{:<10}", example.outcome.as_str());
        lines.push(format!("{}  {}", style.bad(word), cut(&line, WIDTH - 12)));
    }
    for (error, count) in &report.errors {
        let line = format!("{} x {error}", grouped(*count));
        lines.push(format!(
            "{}       {}",
            style.bad("error"),
            cut(&line, WIDTH - 12)
        ));
    }
    for slo in report.slo.iter().filter(|slo| slo.ok) {
        let line = cut(&slo.expression, WIDTH - 12);
        lines.push(format!("{}     {line}", style.good("slo met")));
    }
    if lines.len() > DETAILS {
        let more = lines.len() - (DETAILS - 1);
        lines.truncate(DETAILS - 1);
        lines.push(style.dim(format!("and {more} more, in the JSON and HTML reports")));
    }
    lines
}

fn conclusion(report: &Report, style: Style) -> String {
    let (word, why) = report.conclusion();
    let word = match report.verdict() {
        Verdict::Passed => style.good(word),
        Verdict::Interrupted => style.bold(word),
        Verdict::Failed | Verdict::Invalid | Verdict::Missed => style.bad(word),
    };
    let room = WIDTH - report.conclusion().0.len() - 2;
    format!("{word}: {}", cut(&why, room))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{broken, sample};
    use super::*;

    #[test]
    fn a_good_run() {
        insta::assert_snapshot!(summary(&sample(), Style::Plain));
    }

    #[test]
    fn a_bad_run() {
        insta::assert_snapshot!(summary(&broken(), Style::Plain));
    }

    #[test]
    fn colours_change_nothing_else() {
        let coloured = summary(&broken(), Style::Coloured);
        assert_ne!(coloured, summary(&broken(), Style::Plain));
        let mut plain = String::new();
        let mut rest = coloured.as_str();
        while let Some((before, after)) = rest.split_once('\u{1b}') {
            plain.push_str(before);
            rest = after.split_once('m').expect("a colour ends with m").1;
        }
        plain.push_str(rest);
        assert_eq!(plain, summary(&broken(), Style::Plain));
    }

    #[test]
    fn whatever_happened_fits_a_small_terminal() {
        let mut report = broken();
        let huge = 987_654_321;
        report.scenario.name = "long ".repeat(30);
        report.failure = Some("the server said\nsomething long: ".repeat(9));
        for at in 0..30 {
            let mut slo = report.slo[at % 2].clone();
            slo.expression = format!("{} && {at} < 30", slo.expression.repeat(4));
            report.slo.push(slo);
            report
                .errors
                .insert(format!("{at} {}", "error ".repeat(20)), huge);
        }
        report.audit.counts.expected = huge;
        report.audit.counts.delivered = huge;
        report.connections.opened = huge;
        let text = summary(&report, Style::Plain);
        assert!(text.lines().count() < 24, "{text}");
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
    }
}
