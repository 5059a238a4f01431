//! The summary that a person gets at the end of a run. Nothing in it is cut; what is left out of a small
//! terminal is in the other reports, and it says so.

use super::model::{Counts, Example, Report, Summary};
use super::text::{CALLEE, factor, figure};
use super::verdict::Verdict;
use touchstone_output::Style;
use touchstone_output::number::{megabytes, ms, percent, seconds};
use touchstone_output::text::{grouped, one_line, plural, wrap};

/// What objectives, errors and examples are told at most on a terminal.
const DETAILS: usize = 6;

/// The column at which details begin behind their heading.
const INDENT: usize = 12;

/// The summary of a run, with a line end behind its last line. Lines have at most so many columns; on
/// what is no terminal there is no such bound.
#[must_use]
pub fn summary(report: &Report, style: Style, columns: Option<usize>) -> String {
    let width = columns.unwrap_or(usize::MAX);
    let mut lines = head(report, style, width);
    lines.extend(deliveries(report, style));
    lines.extend(latencies(report, style, width));
    lines.extend(load(report, style, width));
    lines.extend(details(report, style, columns));
    lines.extend(conclusion(report, style, width));
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

fn head(report: &Report, style: Style, width: usize) -> Vec<String> {
    let scale = factor(report.scenario.scale);
    let title = format!(
        "{} at scale {scale}, {}",
        report.scenario.name, report.target.name
    );
    let shard = match &report.shard {
        shard if shard.of == 1 => String::new(),
        shard => format!(", {} of {} shards", shard.parts.len(), shard.of),
    };
    let digest = report.schedule.digest.get(..8).unwrap_or_default();
    let run = format!(
        "seed {}, schedule {digest}{shard}, {}, {}, recipients {}",
        report.seed,
        plural(report.connections.peak, "connection"),
        seconds(report.duration_ms),
        report.target.shown_recipients(),
    );
    let title = wrap(&title, 0, width).into_iter();
    let run = wrap(&run, 0, width).into_iter();
    title
        .map(|line| style.bold(line))
        .chain(run.map(|line| style.dim(line)))
        .chain([String::new()])
        .collect()
}

fn deliveries(report: &Report, style: Style) -> Vec<String> {
    let row = |name: &str, counts: &Counts, volatile: bool| {
        // That volatile events may be lost is what volatile means.
        let cell = |count: u64, width: usize, bad: bool| {
            // However large, numbers stand apart.
            let width = width - 1;
            bad_if(
                style,
                bad && count > 0,
                format!(" {:>width$}", grouped(count)),
            )
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

fn latencies(report: &Report, style: Style, width: usize) -> Vec<String> {
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
    if all.callee.count > 0 {
        let told = wrap(CALLEE, 0, width).into_iter();
        lines.extend(told.map(|line| style.dim(line)));
    }
    lines.push(String::new());
    lines
}

fn load(report: &Report, style: Style, width: usize) -> Vec<String> {
    let generator = &report.generator;
    let connections = &report.connections;
    let mut lines = told(
        "events",
        generator.unsent > 0,
        &format!(
            "{} planned, {} sent, {} unsent; sent within {} ms (p99)",
            grouped(generator.planned),
            grouped(generator.sent),
            grouped(generator.unsent),
            ms(generator.lag_p99_us),
        ),
        style,
        width,
    );
    lines.extend(told(
        "connections",
        connections.failed + connections.dropped > 0,
        &format!(
            "{} opened, {} failed, {} dropped",
            grouped(connections.opened),
            grouped(connections.failed),
            grouped(connections.dropped),
        ),
        style,
        width,
    ));
    lines.extend(told(
        "generator",
        false,
        &format!(
            "{:.1} s CPU ({}), machine {} busy, {}, {} of {} files",
            generator.cpu_seconds,
            percent(generator.cpu_share),
            percent(generator.machine_share),
            megabytes(generator.max_rss_bytes),
            grouped(generator.open_files),
            grouped(generator.open_files_limit),
        ),
        style,
        width,
    ));
    let untraced = report.audit.counts.untraced + report.audit.volatile.untraced;
    if untraced > 0 {
        let text = format!(
            "{} arrived that do not say which event they are, so that nobody knows what they were",
            match untraced {
                1 => "1 delivery".to_owned(),
                many => format!("{} deliveries", grouped(many)),
            }
        );
        lines.extend(told("untraced", false, &text, style, width));
    }
    lines
}

/// A text behind its heading, in as many lines as it takes.
fn told(heading: &str, is_bad: bool, text: &str, style: Style, width: usize) -> Vec<String> {
    let heading = bad_if(style, is_bad, format!("{heading:<INDENT$}"));
    let lines = wrap(text, INDENT, width).into_iter().enumerate();
    lines
        .map(|(nth, line)| match nth {
            0 => format!("{heading}{line}"),
            _ => format!("{:INDENT$}{line}", ""),
        })
        .collect()
}

/// What went wrong first, then the objectives; on a terminal as far as there is room.
fn details(report: &Report, style: Style, columns: Option<usize>) -> Vec<String> {
    let mut all = Vec::new();
    let missed = report.slo.iter().filter(|slo| !slo.ok);
    for slo in missed {
        let values = slo.value.iter().map(|(field, value)| figure(field, value));
        let values = values.collect::<Vec<_>>().join(", ");
        let text = format!("{}  ({values})", one_line(&slo.expression));
        all.push(("slo missed", true, text));
    }
    // One of each kind stands before the others.
    let mut seen = Vec::new();
    let (first, more): (Vec<_>, Vec<_>) = report.audit.examples.iter().partition(|example| {
        let is_first = !seen.contains(&example.outcome);
        seen.push(example.outcome);
        is_first
    });
    let example = |example: &Example| {
        let text = format!(
            "at {}: {} {}, {} -> {}",
            seconds(example.planned_us / 1000),
            example.event,
            example.sequence,
            example.sender,
            example.recipient,
        );
        (example.outcome.as_str(), true, text)
    };
    all.extend(first.into_iter().map(example));
    for (error, count) in &report.errors {
        all.push(("error", true, format!("{} x {error}", grouped(*count))));
    }
    all.extend(more.into_iter().map(example));
    let met = report.slo.iter().filter(|slo| slo.ok);
    all.extend(met.map(|slo| ("slo met", false, slo.expression.clone())));

    let most = columns.map_or(all.len(), |_| DETAILS);
    let more = all.len().saturating_sub(most);
    let kept = if more > 0 { most - 1 } else { all.len() };
    let width = columns.unwrap_or(usize::MAX);
    let mut lines = Vec::new();
    for (heading, is_bad, text) in all.drain(..kept) {
        lines.extend(told(heading, is_bad, &text, style, width));
    }
    if !all.is_empty() {
        let more = format!("and {} more, in the JSON and HTML reports", all.len());
        lines.push(style.dim(more));
    }
    lines
}

fn conclusion(report: &Report, style: Style, width: usize) -> Vec<String> {
    let (word, why) = report.conclusion();
    let shown = match report.verdict() {
        Verdict::Passed => style.good(word),
        Verdict::Interrupted => style.bold(word),
        Verdict::Failed | Verdict::Misdelivered | Verdict::Invalid | Verdict::Missed => {
            style.bad(word)
        }
    };
    // The word is wrapped with the rest, and then takes its colour.
    let text = format!("{word}: {why}");
    let mut lines = wrap(&text, 0, width);
    if let Some(rest) = lines[0].strip_prefix(word) {
        lines[0] = format!("{shown}{rest}");
    }
    lines
}

/// The text, marked where it tells of something bad.
fn bad_if(style: Style, bad: bool, text: String) -> String {
    if bad { style.bad(text) } else { text }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{broken, sample};
    use super::*;

    #[test]
    fn a_good_run() {
        insta::assert_snapshot!(summary(&sample(), Style::Plain, Some(80)));
    }

    #[test]
    fn a_bad_run() {
        insta::assert_snapshot!(summary(&broken(), Style::Plain, Some(80)));
    }

    #[test]
    fn colours_change_nothing_else() {
        let coloured = summary(&broken(), Style::Coloured, Some(80));
        assert_ne!(coloured, summary(&broken(), Style::Plain, Some(80)));
        let mut plain = String::new();
        let mut rest = coloured.as_str();
        while let Some((before, after)) = rest.split_once('\u{1b}') {
            plain.push_str(before);
            rest = after.split_once('m').expect("a colour ends with m").1;
        }
        plain.push_str(rest);
        assert_eq!(plain, summary(&broken(), Style::Plain, Some(80)));
    }

    /// A run of which everything is long.
    fn talkative() -> Report {
        let mut report = broken();
        let huge = 987_654_321;
        report.scenario.name = "long ".repeat(30);
        report.failure = Some("the server said\nsomething long: ".repeat(9) + "and then it ended");
        report.slo[0].expression = format!("{} && seed < 30", report.slo[0].expression.repeat(4));
        report.errors.clear();
        report
            .errors
            .insert(format!("an {} that says why", "error ".repeat(20)), huge);
        report.audit.counts.expected = huge;
        report.audit.counts.delivered = huge;
        report.connections.opened = huge;
        report
    }

    /// What explains a result is the end of a text.
    #[test]
    fn nothing_is_cut() {
        let report = talkative();
        let ends = [
            "and then it ended",
            "&& seed < 30",
            "that says why",
            "recipients narrow (measured)",
        ];
        for columns in [Some(60), Some(80), Some(200), None] {
            let text = summary(&report, Style::Plain, columns);
            let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
            for end in ends {
                assert!(words.contains(end), "no {end} in\n{text}");
            }
            assert!(!text.contains('…'), "{text}");
            let tables = 80;
            for line in text.lines() {
                let most = columns.map_or(usize::MAX, |columns| columns.max(tables));
                assert!(line.chars().count() <= most, "{line}");
            }
        }
        // A wide terminal is used, and a file has each text in one line.
        let wide = summary(&report, Style::Plain, Some(200));
        assert!(
            wide.lines().any(|line| line.chars().count() > 150),
            "{wide}"
        );
        let file = summary(&report, Style::Plain, None);
        let last = file.lines().last().unwrap();
        assert!(
            last.starts_with("FAILED") && last.ends_with("and then it ended"),
            "{last}"
        );
    }

    #[test]
    fn a_usual_run_fits_a_small_terminal() {
        let text = summary(&sample(), Style::Plain, Some(80));
        assert!(text.lines().count() < 24, "{text}");
    }
}
