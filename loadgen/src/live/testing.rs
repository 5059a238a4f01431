//! Snapshots as a run could have sent them.

use std::time::Duration;

use crate::progress::{Health, Snapshot, Stage};
use crate::report::testing::sample;

/// One per second of the sample report.
pub(crate) fn snapshots() -> Vec<Snapshot> {
    let report = sample();
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
            wanted: 240,
            open: second.connections,
            connections: report.connections,
            health: Health {
                lag_p99_us: 1_690,
                cpu_share: 0.19,
                rss_bytes: 41_300_000,
                open_files: 262,
                exceeded: None,
                is_behind: false,
            },
            second: Some(second),
        }
    });
    all.collect()
}
