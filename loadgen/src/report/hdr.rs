//! Latencies in the two formats that tools of the HdrHistogram family read: a percentile
//! distribution (`.hgrm`, for the plotter of that name) and an interval log (`.hlog`, with every
//! second's histogram in full).

use std::io;
use std::time::{Duration, UNIX_EPOCH};

use hdrhistogram::serialization::{
    V2DeflateSerializer,
    interval_log::{IntervalLogWriterBuilder, Tag},
};

use super::model::Report;
use touchstone_output::text::one_line;

/// How many lines a percentile distribution has for each halving of what is left to 100 %.
const TICKS: u32 = 5;

/// Buckets of equal width in each power of two: enough for three decimal digits.
const SUB_BUCKETS: u32 = 2048;

/// The percentile distribution of fan-out latency from the planned time, in milliseconds.
#[must_use]
pub fn hgrm(report: &Report) -> String {
    let histogram = report.histograms.kinds.fanout.latency.unpack();
    let ms = |us: f64| us / 1000.0;
    let mut lines = vec![
        format!(
            "{:>12} {:>14} {:>10} {:>14}",
            "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
        ),
        String::new(),
    ];
    let mut total = 0;
    for step in histogram.iter_quantiles(TICKS) {
        total += step.count_since_last_iteration();
        let (value, quantile) = (
            ms(step.value_iterated_to() as f64),
            step.quantile_iterated_to(),
        );
        let mut line = format!("{value:>12.3} {quantile:>14.12} {total:>10}");
        if quantile < 1.0 {
            line.push_str(&format!(" {:>14.2}", 1.0 / (1.0 - quantile)));
        }
        lines.push(line);
    }
    lines.push(format!(
        "#[Mean    = {:>12.3}, StdDeviation   = {:>12.3}]",
        ms(histogram.mean()),
        ms(histogram.stdev())
    ));
    lines.push(format!(
        "#[Max     = {:>12.3}, Total count    = {:>12}]",
        ms(histogram.max() as f64),
        histogram.len()
    ));
    lines.push(format!(
        "#[Buckets = {:>12}, SubBuckets     = {:>12}]",
        histogram.buckets(),
        SUB_BUCKETS
    ));
    lines.join("\n") + "\n"
}

/// The interval log: every second's latency of all events, and at the end that of each kind over the
/// whole run, tagged with its name. Values are microseconds; the column of maxima is in milliseconds.
///
/// # Errors
/// None that a report can cause: everything goes to memory, and the encoding takes its histograms.
pub fn hlog(report: &Report) -> io::Result<String> {
    let start = UNIX_EPOCH + Duration::from_millis(report.started_at);
    let scenario = one_line(&report.scenario.name);
    let mut bytes = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment(&format!(
            "[Histogram log format version 1.2] touchstone load, {scenario}, seed {}",
            report.seed
        ))
        .with_start_time(start)
        .with_base_time(start)
        .with_max_value_divisor(1000.0)
        .begin_log_with(&mut bytes, &mut serializer)?;
    for second in &report.series {
        let from = Duration::from_secs(second.second.into());
        let histogram = second.histogram.unpack();
        log.write_histogram(&histogram, from, Duration::from_secs(1), None)
            .map_err(|error| io::Error::other(error.to_string()))?;
    }
    let whole = Duration::from_millis(report.duration_ms);
    for (name, pair) in report.histograms.kinds.iter() {
        let histogram = pair.latency.unpack();
        log.write_histogram(&histogram, Duration::ZERO, whole, Tag::new(name))
            .map_err(|error| io::Error::other(error.to_string()))?;
    }
    String::from_utf8(bytes).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::super::packed::Packed;
    use super::super::testing::sample;
    use super::*;

    #[test]
    fn a_percentile_distribution() {
        insta::assert_snapshot!(hgrm(&sample()));
    }

    #[test]
    fn an_interval_log_is_read_by_its_library() {
        let report = sample();
        let log = hlog(&report).unwrap();
        let mut seconds = Vec::new();
        let mut kinds = Vec::new();
        for entry in IntervalLogIterator::new(log.as_bytes()) {
            if let LogEntry::Interval(interval) = entry.unwrap() {
                let packed = Packed::parse(interval.encoded_histogram()).unwrap();
                match interval.tag() {
                    None => seconds.push(packed),
                    Some(tag) => kinds.push((tag.as_str().to_owned(), packed)),
                }
            }
        }
        let expected: Vec<_> = report
            .series
            .iter()
            .map(|one| one.histogram.clone())
            .collect();
        assert_eq!(seconds, expected);
        let expected: Vec<_> = report
            .histograms
            .kinds
            .iter()
            .map(|(name, pair)| (name.to_owned(), pair.latency.clone()))
            .collect();
        assert_eq!(kinds, expected);
    }
}
