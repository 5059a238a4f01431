//! The charts of a load report: which figures stand on which axis.

use hdrhistogram::Histogram;

use super::plot::{Axis, Line, Plot};
use super::scale::Scale;
use crate::report::model::{Report, Second};

/// How many points the percentile curve has for each halving of what is left to 100 %.
const TICKS: u32 = 8;

fn ms(us: u64) -> f64 {
    us as f64 / 1000.0
}

/// The end of the time axis.
fn end(report: &Report) -> f64 {
    let last = report.series.last().map_or(0, |last| last.second);
    f64::from(last.max(1))
}

fn time(report: &Report) -> Axis {
    Axis {
        title: "seconds since the start",
        scale: Scale::exact(end(report)),
        labels: None,
    }
}

fn over_time(report: &Report, value: impl Fn(&Second) -> Option<f64>) -> Vec<(f64, f64)> {
    let point = |second: &Second| Some((f64::from(second.second), value(second)?));
    report.series.iter().filter_map(point).collect()
}

/// The same for what is counted per second: the last second is rarely a whole one, and would look
/// like a fall.
fn per_second(report: &Report, value: impl Fn(&Second) -> u64) -> Vec<(f64, f64)> {
    let mut points = over_time(report, |second| Some(value(second) as f64));
    let planned = match report.repeats.as_slice() {
        [] => report.lasted().0,
        _ => u64::MAX,
    };
    let whole = (planned.min(report.duration_ms) / 1000) as f64;
    if points.len() > 1 {
        points.retain(|(second, _)| *second < whole);
    }
    points
}

/// The phases that do not count.
fn uncounted(report: &Report) -> Vec<(f64, f64)> {
    let phases = report.phases.iter().filter(|phase| !phase.counted);
    phases
        .map(|phase| {
            (
                ms(phase.start_ms),
                ms(phase.start_ms + phase.duration_ms).min(end(report)),
            )
        })
        .collect()
}

/// Median, 99 % and maximum of each second.
pub(super) fn latency(report: &Report) -> Plot {
    let line = |name: &str, class, of: fn(&Second) -> u64| Line {
        name: name.to_owned(),
        class,
        points: over_time(report, |second| {
            (second.latency_us.count > 0).then(|| ms(of(second)))
        }),
    };
    let lines = vec![
        line("max", "c", |second| second.latency_us.max),
        line("99 %", "b", |second| second.latency_us.p99),
        line("median", "a", |second| second.latency_us.p50),
    ];
    let scale = around(&lines);
    Plot {
        about: "latency of deliveries over time",
        x: time(report),
        y: Axis {
            title: "ms",
            scale,
            labels: None,
        },
        lines,
        shaded: uncounted(report),
    }
}

/// The percentile curve of fan-out, from the planned time and from the time of sending.
pub(super) fn percentiles(report: &Report) -> Plot {
    let pair = &report.histograms.kinds.fanout;
    let lines = vec![
        Line {
            name: "since sent".to_owned(),
            class: "a dashed",
            points: curve(&pair.naive.unpack()),
        },
        Line {
            name: "since planned".to_owned(),
            class: "b",
            points: curve(&pair.latency.unpack()),
        },
    ];
    let top = values(&lines).fold(0.0, f64::max);
    by_percentile(
        "percentiles of the latency of deliveries",
        "part of the deliveries",
        Scale::linear(top),
        lines,
    )
}

/// The percentile curves of everything but fan-out, from the planned time. They differ by powers of
/// ten.
pub(super) fn others(report: &Report) -> Plot {
    let kinds = &report.histograms.kinds;
    let all = [
        ("ack", "a", &kinds.ack),
        ("rpc", "b", &kinds.rpc),
        ("connect", "c", &kinds.connect),
    ];
    let lines = all.map(|(name, class, pair)| Line {
        name: name.to_owned(),
        class,
        points: curve(&pair.latency.unpack()),
    });
    let lines: Vec<_> = lines
        .into_iter()
        .filter(|line| !line.points.is_empty())
        .collect();
    let scale = around(&lines);
    by_percentile(
        "percentiles of the latency of acknowledgements, RPC and connections",
        "part of those measured",
        scale,
        lines,
    )
}

/// The fan-out of several reports over each other, from the planned time.
pub(crate) fn percentiles_of(reports: &[(String, &Report)]) -> Plot {
    let lines = overlaid(reports, |report| {
        curve(&report.histograms.kinds.fanout.latency.unpack())
    });
    by_percentile(
        "percentiles of the latency of deliveries of each report",
        "part of the deliveries",
        around(&lines),
        lines,
    )
}

/// The 99 % of each second of several reports over each other.
pub(crate) fn latency_of(reports: &[(String, &Report)]) -> Plot {
    let lines = overlaid(reports, |report| {
        over_time(report, |second| {
            (second.latency_us.count > 0).then(|| ms(second.latency_us.p99))
        })
    });
    let ends = reports.iter().map(|(_, report)| end(report));
    Plot {
        about: "latency of deliveries of each report over time",
        x: Axis {
            title: "seconds since the start",
            scale: Scale::exact(ends.fold(1.0, f64::max)),
            labels: None,
        },
        y: Axis {
            title: "ms",
            scale: around(&lines),
            labels: None,
        },
        lines,
        shaded: Vec::new(),
    }
}

fn overlaid(
    reports: &[(String, &Report)],
    points: impl Fn(&Report) -> Vec<(f64, f64)>,
) -> Vec<Line> {
    let classes = ["a", "b", "c", "a dashed", "b dashed", "c dashed"];
    let lines = reports.iter().zip(classes.into_iter().cycle());
    lines
        .map(|((name, report), class)| Line {
            name: name.clone(),
            class,
            points: points(report),
        })
        .collect()
}

/// A logarithmic scale around all values.
fn around(lines: &[Line]) -> Scale {
    Scale::log(
        values(lines).min_by(f64::total_cmp).unwrap_or(1.0),
        values(lines).max_by(f64::total_cmp).unwrap_or(1.0),
    )
}

fn values(lines: &[Line]) -> impl Iterator<Item = f64> {
    lines.iter().flat_map(|line| &line.points).map(|(_, y)| *y)
}

fn by_percentile(about: &'static str, title: &'static str, scale: Scale, lines: Vec<Line>) -> Plot {
    let points = lines.iter().flat_map(|line| &line.points);
    let right = points.map(|(x, _)| *x).fold(10.0, f64::max);
    Plot {
        about,
        x: Axis {
            title,
            scale: Scale::log(1.0, right),
            labels: Some(percentile),
        },
        y: Axis {
            title: "ms",
            scale,
            labels: None,
        },
        lines,
        shaded: Vec::new(),
    }
}

/// Points of a percentile curve: 1 / (1 - quantile) and milliseconds.
fn curve(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    histogram
        .iter_quantiles(TICKS)
        .filter(|step| step.quantile_iterated_to() < 1.0)
        .map(|step| {
            (
                1.0 / (1.0 - step.quantile_iterated_to()),
                ms(step.value_iterated_to()),
            )
        })
        .collect()
}

/// `90 %` for 10, `99.9 %` for 1 000.
fn percentile(rest: f64) -> String {
    let text = format!("{:.6}", 100.0 - 100.0 / rest);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text} %")
}

/// Events per second, planned and sent.
pub(super) fn rates(report: &Report) -> Plot {
    let lines = vec![
        Line {
            name: "sent".to_owned(),
            class: "a",
            points: per_second(report, |second| second.sent),
        },
        Line {
            name: "planned".to_owned(),
            class: "c dashed",
            points: per_second(report, |second| second.planned),
        },
    ];
    counts(
        report,
        "events planned and sent per second",
        "events/s",
        lines,
    )
}

/// Deliveries per second.
pub(super) fn deliveries(report: &Report) -> Plot {
    let lines = vec![Line {
        name: "delivered".to_owned(),
        class: "b",
        points: per_second(report, |second| second.delivered),
    }];
    counts(report, "deliveries per second", "deliveries/s", lines)
}

/// Open connections.
pub(super) fn connections(report: &Report) -> Plot {
    let lines = vec![Line {
        name: "open".to_owned(),
        class: "a",
        points: over_time(report, |second| Some(second.connections as f64)),
    }];
    counts(report, "open connections over time", "connections", lines)
}

fn counts(report: &Report, about: &'static str, title: &'static str, lines: Vec<Line>) -> Plot {
    let largest = values(&lines).max_by(f64::total_cmp).unwrap_or(1.0);
    Plot {
        about,
        x: time(report),
        y: Axis {
            title,
            scale: Scale::linear(largest),
            labels: None,
        },
        lines,
        shaded: uncounted(report),
    }
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles_are_written_as_people_say_them() {
        for (rest, text) in [
            (1.0, "0 %"),
            (10.0, "90 %"),
            (100.0, "99 %"),
            (1e4, "99.99 %"),
        ] {
            assert_eq!(percentile(rest), text);
        }
    }
}
