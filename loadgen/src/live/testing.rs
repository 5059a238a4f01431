//! Snapshots as a run could have sent them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::progress::{Health, OfType, Snapshot, Stage};
use crate::report::testing::sample;
use crate::scenario::EventKind;

/// One per second of the sample report.
pub(crate) fn snapshots() -> Vec<Snapshot> {
    let report = sample();
    let types = EventKind::ALL.iter().filter_map(|kind| kind.delivered_as());
    let types = types.filter_map(|name| {
        let of = report.events.get(name)?;
        let of = OfType {
            volatile: of.volatile,
            audit: of.audit,
            latency_us: of.latency_us,
        };
        Some((name, of))
    });
    let types: BTreeMap<_, _> = types.collect();
    let (mut planned, mut sent) = (0, 0);
    let all = report.series.into_iter().map(|second| {
        planned += second.planned;
        sent += second.sent;
        Snapshot {
            stage: Stage::Running,
            phase: if second.second == 0 {
                "warm-up"
            } else {
                "steady"
            }
            .to_owned(),
            counted: second.second > 0,
            elapsed: Duration::from_secs(u64::from(second.second) + 1),
            total: Duration::from_secs(10),
            planned,
            sent,
            unsent: 0,
            latency_us: report.latency_us.clone(),
            audit: report.audit.counts,
            volatile: report.audit.volatile,
            types: types.clone(),
            wanted: 240,
            open: second.connections,
            connections: report.connections,
            health: Health {
                lag_p99_us: 1_690,
                cpu_share: 0.19,
                rss_bytes: 41_300_000,
                open_files: 262,
                exceeded: None,
                strained: None,
            },
            second: Some(second),
        }
    });
    all.collect()
}
