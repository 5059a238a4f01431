//! The report as Markdown, for job summaries and pull requests.

use std::fmt::Write as _;
use touchstone_output::markdown::plain;

use super::model::{Counts, Report, Summary};
use super::text::{CALLEE, factor, figure, lasted};
use touchstone_output::number::{megabytes, ms, percent, rate, seconds};
use touchstone_output::text::{grouped, plural};

/// The report as Markdown.
#[must_use]
pub fn markdown(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write(report, &mut text);
    text
}

fn write(report: &Report, out: &mut String) -> std::fmt::Result {
    let (word, why) = report.conclusion();
    writeln!(out, "# Load: {}\n", plain(&report.scenario.name))?;
    writeln!(out, "**{word}**: {}\n", plain(&why))?;
    writeln!(
        out,
        "{} at scale {}, seed {}, schedule `{}`; {}, {}; recipients {}\n",
        plain(&report.target.name),
        factor(report.scenario.scale),
        report.seed,
        report.schedule.digest.get(..12).unwrap_or_default(),
        plural(report.connections.peak, "connection"),
        seconds(report.duration_ms),
        report.target.shown_recipients(),
    )?;
    objectives(report, out)?;
    deliveries(report, out)?;
    latencies(report, out)?;
    phases(report, out)?;
    generator(report, out)?;
    errors(report, out)
}

fn objectives(report: &Report, out: &mut String) -> std::fmt::Result {
    if report.slo.is_empty() {
        return Ok(());
    }
    writeln!(out, "| objective | met | values |\n|---|---|---|")?;
    for slo in &report.slo {
        let values: Vec<_> = slo
            .value
            .iter()
            .map(|(field, value)| figure(field, value))
            .collect();
        writeln!(
            out,
            "| {} | {} | {} |",
            plain(&slo.expression),
            if slo.ok { "yes" } else { "**no**" },
            plain(&values.join(", "))
        )?;
    }
    writeln!(out)
}

fn deliveries(report: &Report, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "| deliveries | expected | delivered | late | lost | duplicated | reordered | misrouted | uncertain | untraced |"
    )?;
    writeln!(out, "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")?;
    counts(out, "**updates**", &report.audit.counts)?;
    counts(out, "**heartbeats**", &report.audit.volatile)?;
    for (name, event) in &report.events {
        counts(out, &plain(name), &event.audit)?;
    }
    writeln!(out)?;
    for example in &report.audit.examples {
        writeln!(
            out,
            "- {}: {} {} of {} to {}, planned at {}",
            example.outcome.as_str(),
            plain(&example.event),
            example.sequence,
            plain(&example.sender),
            plain(&example.recipient),
            seconds(example.planned_us / 1000)
        )?;
    }
    if report.audit.examples.is_empty() {
        return Ok(());
    }
    writeln!(out)
}

fn counts(out: &mut String, name: &str, counts: &Counts) -> std::fmt::Result {
    let cells = [
        counts.expected,
        counts.delivered,
        counts.late,
        counts.lost,
        counts.duplicated,
        counts.reordered,
        counts.misrouted,
        counts.uncertain,
        counts.untraced,
    ];
    let cells: Vec<_> = cells.into_iter().map(grouped).collect();
    writeln!(out, "| {name} | {} |", cells.join(" | "))
}

fn latencies(report: &Report, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "| latency, ms | count | p50 | p90 | p99 | p99.9 | max | naive p99 |\n|---|--:|--:|--:|--:|--:|--:|--:|"
    )?;
    for ((name, of), (_, naive)) in report.latency_us.iter().zip(report.naive_us.iter()) {
        latency(out, &format!("**{name}**"), of, naive)?;
    }
    for (name, event) in &report.events {
        latency(out, &plain(name), &event.latency_us, &event.naive_us)?;
    }
    if report.latency_us.callee.count > 0 {
        writeln!(out, "\n{CALLEE}.")?;
    }
    writeln!(out)
}

fn latency(out: &mut String, name: &str, of: &Summary, naive: &Summary) -> std::fmt::Result {
    if of.count == 0 {
        return Ok(());
    }
    let cells: Vec<_> = [of.p50, of.p90, of.p99, of.p999, of.max, naive.p99]
        .into_iter()
        .map(ms)
        .collect();
    writeln!(
        out,
        "| {name} | {} | {} |",
        grouped(of.count),
        cells.join(" | ")
    )
}

fn phases(report: &Report, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "| phase | lasted | connections | planned/s | sent/s | delivered/s | lost | p50 ms | p99 ms |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    )?;
    for phase in &report.phases {
        writeln!(
            out,
            "| {}{} | {} | {} | {} | {} | {} | {} | {} | {} |",
            plain(&phase.name),
            if phase.counted { "" } else { " (not counted)" },
            lasted(phase),
            grouped(phase.connections),
            rate(phase.planned_per_second),
            rate(phase.sent_per_second),
            rate(phase.delivered_per_second),
            grouped(phase.lost),
            ms(phase.latency_us.p50),
            ms(phase.latency_us.p99),
        )?;
    }
    writeln!(out)
}

fn generator(report: &Report, out: &mut String) -> std::fmt::Result {
    let generator = &report.generator;
    writeln!(
        out,
        "Generator: {} planned, {} sent, {} unsent; 99 % sent within {} ms of their time; {:.1} s CPU ({}), {}; machine {} busy.",
        grouped(generator.planned),
        grouped(generator.sent),
        grouped(generator.unsent),
        ms(generator.lag_p99_us),
        generator.cpu_seconds,
        percent(generator.cpu_share),
        megabytes(generator.max_rss_bytes),
        percent(generator.machine_share),
    )?;
    let connections = &report.connections;
    writeln!(
        out,
        "Connections: {} opened, {} failed, {} dropped.",
        grouped(connections.opened),
        grouped(connections.failed),
        grouped(connections.dropped)
    )
}

fn errors(report: &Report, out: &mut String) -> std::fmt::Result {
    if report.errors.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n| error | times |\n|---|--:|")?;
    for (error, count) in &report.errors {
        writeln!(out, "| {} | {} |", plain(error), grouped(*count))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::broken;
    use super::*;

    #[test]
    fn snapshot() {
        insta::assert_snapshot!(markdown(&broken()));
    }

    #[test]
    fn foreign_text_is_text() {
        let mut report = broken();
        report.scenario.name = "a|b<script>`x` [l](u)\n# h\u{202e}".to_owned();
        let text = markdown(&report);
        let title = text.lines().next().unwrap();
        assert_eq!(
            title,
            r"# Load: a\|b&lt;script&gt;\`x\` \[l\](u)\\n\# h\\u{202e}"
        );
    }
}
