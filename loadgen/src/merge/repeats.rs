//! Repetitions of one run, added to one report with noise bands.

use super::{absorb, finish};
use crate::report::model::{self, Repeat, Report};

/// Adds repetitions of one run, in their order, and keeps the key figures of each.
///
/// Returns nothing for no reports; a single one is not a repetition and stays as it is.
#[must_use]
pub fn join(reports: Vec<Report>) -> Option<Report> {
    let repeats: Vec<Repeat> = reports.iter().map(repeat).collect();
    let mut reports = reports.into_iter();
    let mut sum = reports.next()?;
    if repeats.len() == 1 {
        return Some(sum);
    }
    for (at, mut report) in reports.enumerate() {
        let offset = (report.started_at - sum.started_at.min(report.started_at)) / 1000;
        let seconds = u32::try_from(offset).unwrap_or(u32::MAX);
        for mut phase in std::mem::take(&mut report.phases) {
            phase.name = format!("{} #{}", phase.name, at + 2);
            phase.start_ms += offset * 1000;
            sum.phases.push(phase);
        }
        for mut second in std::mem::take(&mut report.series) {
            second.second = second.second.saturating_add(seconds);
            sum.series.push(second);
        }
        sum.duration_ms =
            report.started_at + report.duration_ms - sum.started_at.min(report.started_at);
        sum.connections.peak = sum.connections.peak.max(report.connections.peak);
        absorb(&mut sum, report);
    }
    sum.repeats = repeats;
    finish(&mut sum);
    Some(sum)
}

fn repeat(report: &Report) -> Repeat {
    let counted = report.phases.iter().filter(|phase| phase.counted);
    let (delivered, ms) = counted.fold((0, 0), |(delivered, ms), phase| {
        (delivered + phase.delivered, ms + phase.duration_ms)
    });
    Repeat {
        started_at: report.started_at,
        audit: report.audit.counts,
        latency_us: report.latency_us.clone(),
        delivered_per_second: model::rate(delivered, ms),
        lag_p99_us: report.generator.lag_p99_us,
        cpu_seconds: report.generator.cpu_seconds,
        max_rss_bytes: report.generator.max_rss_bytes,
        valid: report.generator.valid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{packed, sample};

    #[test]
    fn repetitions_follow_each_other() {
        let mut second = sample();
        second.started_at += 20_000;
        second.histograms.kinds.fanout.latency = packed(9_000, 1, 10);
        second.summarize();
        let both = join(vec![sample(), second]).unwrap();
        assert_eq!(both.repeats.len(), 2);
        assert_eq!(both.repeats[1].latency_us.fanout.min, 9_000);
        assert_eq!(both.latency_us.fanout.count, 3_010);
        assert_eq!(both.connections.peak, sample().connections.peak);
        assert_eq!(both.schedule, sample().schedule);
        assert_eq!(both.duration_ms, 26_120);
        assert_eq!(both.phases[3].name, "steady #2");
        assert_eq!(both.phases[3].start_ms, 21_000);
        assert_eq!(both.series[6].second, 20);
        assert_eq!(join(vec![sample()]), Some(sample()));
        assert_eq!(join(Vec::new()), None);
    }
}
