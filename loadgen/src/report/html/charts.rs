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
    let line = |name, class, of: fn(&Second) -> u64| Line {
        name,
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
    let values = || lines.iter().flat_map(|line| &line.points).map(|(_, y)| *y);
    let scale = Scale::log(
        values().min_by(f64::total_cmp).unwrap_or(1.0),
        values().max_by(f64::total_cmp).unwrap_or(1.0),
    );
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
            name: "since sent",
            class: "a dashed",
            points: curve(&pair.naive.unpack()),
        },
        Line {
            name: "since planned",
            class: "b",
            points: curve(&pair.latency.unpack()),
        },
    ];
    let points = || lines.iter().flat_map(|line| &line.points);
    let (right, top) = points().fold((10.0f64, 0.0f64), |(x, y), point| {
        (x.max(point.0), y.max(point.1))
    });
    Plot {
        about: "percentiles of the latency of deliveries",
        x: Axis {
            title: "part of the deliveries",
            scale: Scale::log(1.0, right),
            labels: Some(percentile),
        },
        y: Axis {
            title: "ms",
            scale: Scale::linear(top),
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
            name: "sent",
            class: "a",
            points: over_time(report, |second| Some(second.sent as f64)),
        },
        Line {
            name: "planned",
            class: "c dashed",
            points: over_time(report, |second| Some(second.planned as f64)),
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
        name: "delivered",
        class: "b",
        points: over_time(report, |second| Some(second.delivered as f64)),
    }];
    counts(report, "deliveries per second", "deliveries/s", lines)
}

/// Open connections.
pub(super) fn connections(report: &Report) -> Plot {
    let lines = vec![Line {
        name: "open",
        class: "a",
        points: over_time(report, |second| Some(second.connections as f64)),
    }];
    counts(report, "open connections over time", "connections", lines)
}

fn counts(report: &Report, about: &'static str, title: &'static str, lines: Vec<Line>) -> Plot {
    let values = lines.iter().flat_map(|line| &line.points).map(|(_, y)| *y);
    let largest = values.max_by(f64::total_cmp).unwrap_or(1.0);
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
