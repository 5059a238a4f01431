//! A run as metrics for Prometheus, while it lasts: made from snapshots, written as OpenMetrics text.
//! Serving the text over HTTP is for whoever owns sockets.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use crate::progress::Snapshot;

/// The content type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the latency histogram, in microseconds.
const BOUNDS_US: [u64; 16] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 75_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

/// The metrics of a run; clones are of the same run.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    snapshot: Snapshot,
    /// The second that was counted last, so that none counts twice.
    counted: Option<u32>,
    /// Deliveries between the bounds, and those beyond the last one.
    buckets: [u64; BOUNDS_US.len() + 1],
    sum_us: f64,
}

impl Metrics {
    /// Takes over what a snapshot says.
    pub fn observe(&self, snapshot: &Snapshot) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(second) = &snapshot.second
            && state.counted.is_none_or(|last| last < second.second)
        {
            state.counted = Some(second.second);
            let histogram = second.histogram.unpack();
            for step in histogram.iter_recorded() {
                let us = step.value_iterated_to();
                let count = step.count_since_last_iteration();
                let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
                state.buckets[bucket] += count;
                state.sum_us += us as f64 * count as f64;
            }
        }
        state.snapshot = snapshot.clone();
    }

    /// All metrics as OpenMetrics text.
    ///
    /// # Errors
    /// None that a run can cause: the text goes to memory.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix("touchstone_load");
        registry.register_collector(Box::new(self.clone()));
        let mut out = String::new();
        text::encode(&mut out, &registry)?;
        Ok(out)
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counters(&state.snapshot, &mut encoder)?;
        gauges(&state.snapshot, &mut encoder)?;
        latency(&state, &mut encoder)
    }
}

fn counters(snapshot: &Snapshot, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let connections = &snapshot.connections;
    let plain = [
        (
            "events_planned",
            "Events that were planned until now",
            snapshot.planned,
        ),
        ("events_sent", "Events that were sent", snapshot.sent),
        (
            "events_unsent",
            "Planned events that never will be sent",
            snapshot.unsent,
        ),
        (
            "connections_opened",
            "Connections opened",
            connections.opened,
        ),
        (
            "connections_failed",
            "Connections that could not be opened",
            connections.failed,
        ),
        (
            "connections_dropped",
            "Connections lost though the scenario does not say so",
            connections.dropped,
        ),
    ];
    for (name, help, value) in plain {
        let counter = ConstCounter::new(value);
        counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
    }
    let help = "Deliveries by class and by what became of them; late and reordered ones are delivered, too";
    let mut family = encoder.encode_descriptor("deliveries", help, None, MetricType::Counter)?;
    for (class, counts) in [
        ("update", &snapshot.audit),
        ("heartbeat", &snapshot.volatile),
    ] {
        let outcomes = [
            ("delivered", counts.delivered),
            ("late", counts.late),
            ("lost", counts.lost),
            ("duplicated", counts.duplicated),
            ("reordered", counts.reordered),
            ("misrouted", counts.misrouted),
            ("uncertain", counts.uncertain),
            ("untraced", counts.untraced),
        ];
        for (outcome, value) in outcomes {
            let labels = [("class", class), ("outcome", outcome)];
            ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn gauges(snapshot: &Snapshot, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let health = &snapshot.health;
    let plain = [
        (
            "connections_wanted",
            "Connections that the scenario wants now",
            snapshot.wanted as f64,
        ),
        (
            "connections_open",
            "Connections open now",
            snapshot.open as f64,
        ),
        (
            "elapsed_seconds",
            "How long the schedule has been running",
            snapshot.elapsed.as_secs_f64(),
        ),
        (
            "planned_duration_seconds",
            "How long the schedule is",
            snapshot.total.as_secs_f64(),
        ),
        (
            "generator_lag_p99_seconds",
            "How late 99 % of the events of the last second were sent, at most",
            seconds(health.lag_p99_us),
        ),
        (
            "generator_cpu_share",
            "Processor time of the last second, 1 is all there is",
            health.cpu_share,
        ),
        (
            "generator_resident_bytes",
            "Memory of the generator",
            health.rss_bytes as f64,
        ),
        (
            "generator_open_files",
            "File descriptors of the generator",
            health.open_files as f64,
        ),
        (
            "generator_valid",
            "Whether the bounds of the generator hold",
            f64::from(u8::from(health.exceeded.is_none())),
        ),
    ];
    for (name, help, value) in plain {
        let gauge = ConstGauge::new(value);
        gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
    }
    let help = "Latency from the planned time, over the counted phases until now";
    let name = "latency_quantile_seconds";
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (kind, summary) in snapshot.latency_us.iter() {
        let quantiles = [
            ("0.5", summary.p50),
            ("0.9", summary.p90),
            ("0.99", summary.p99),
            ("0.999", summary.p999),
            ("1", summary.max),
        ];
        for (quantile, us) in quantiles {
            let labels = [("kind", kind), ("quantile", quantile)];
            ConstGauge::new(seconds(us)).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

/// A histogram that Prometheus can add over several generators.
fn latency(state: &State, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let bounds = BOUNDS_US
        .iter()
        .map(|us| seconds(*us))
        .chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(state.buckets).collect();
    let help = "Latency of deliveries of all events, from the planned time";
    let name = "delivery_latency_seconds";
    encoder
        .encode_descriptor(name, help, None, MetricType::Histogram)?
        .encode_histogram::<NoLabelSet>(
            state.sum_us / 1e6,
            state.buckets.iter().sum(),
            &buckets,
            None,
        )
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::live::testing::snapshots;

    #[test]
    fn metrics_of_a_run() {
        let metrics = Metrics::default();
        for snapshot in snapshots() {
            metrics.observe(&snapshot);
            // The same second may be seen more than once.
            metrics.observe(&snapshot);
        }
        insta::assert_snapshot!(metrics.text().unwrap());
    }

    #[test]
    fn every_delivery_is_in_the_histogram_once() {
        let metrics = Metrics::default();
        let mut count = 0;
        for snapshot in snapshots() {
            metrics.observe(&snapshot);
            count += snapshot.second.map_or(0, |second| second.latency_us.count);
        }
        let text = metrics.text().unwrap();
        let line = format!("touchstone_load_delivery_latency_seconds_count {count}\n");
        assert!(count > 0 && text.contains(&line), "{text}");
    }

    /// Every name and value of the labels `{a="1",b="2"}`.
    fn labels(labels: &str) -> Vec<(&str, &str)> {
        let inner = labels
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'));
        let pairs = inner
            .unwrap_or_default()
            .split(',')
            .filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| {
                let (name, value) = pair.split_once('=').expect(pair);
                let value = value
                    .strip_prefix('"')
                    .and_then(|rest| rest.strip_suffix('"'));
                (name, value.expect(pair))
            })
            .collect()
    }

    #[test]
    fn the_text_is_openmetrics_and_names_nobody() {
        let metrics = Metrics::default();
        snapshots()
            .iter()
            .for_each(|snapshot| metrics.observe(snapshot));
        let text = metrics.text().unwrap();
        let body = text.strip_suffix("# EOF\n").expect("an end");
        let mut types: BTreeMap<&str, &str> = BTreeMap::new();
        let (mut series_seen, mut family) = (BTreeSet::new(), "");
        let (mut below, mut count) = (0.0, 0.0);
        for line in body.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                // The samples of a family are one block behind its description.
                family = rest.split_once(' ').expect(line).0;
                assert!(types.insert(family, "").is_none(), "{line}");
                continue;
            }
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect(line);
                assert_eq!(name, family);
                types.insert(name, kind);
                continue;
            }
            let (series, value) = line.rsplit_once(' ').expect(line);
            let value: f64 = value.parse().expect(line);
            assert!(series_seen.insert(series), "{line}");
            let name = series.split('{').next().expect(line);
            assert!(
                name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'),
                "{line}"
            );
            let labels = labels(&series[name.len()..]);
            for (label, _) in &labels {
                // None that could hold a name, an address or a token.
                assert!(
                    ["class", "outcome", "kind", "quantile", "le"].contains(label),
                    "{line}"
                );
            }
            let suffix = name.strip_prefix(family).expect(line);
            match (types[family], suffix) {
                ("gauge", "") | ("histogram", "_sum") => {}
                ("counter", "_total") => assert!(value >= 0.0, "{line}"),
                ("histogram", "_bucket") => {
                    assert!(value >= below, "buckets hold all below them: {line}");
                    below = value;
                }
                ("histogram", "_count") => count = value,
                (kind, _) => panic!("{kind}: {line}"),
            }
        }
        assert!(types.values().all(|kind| !kind.is_empty()), "{types:?}");
        assert_eq!(count, below, "the last bucket holds all");
        assert!(count > 0.0 && text.contains(r#"le="+Inf""#), "{text}");
    }
}
