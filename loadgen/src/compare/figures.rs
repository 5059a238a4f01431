//! The figures that are compared: where they stand in a report, and how they are written.

use super::Band;
use crate::report::model::{self, Counts, Repeat, Report};
use touchstone_output::number::{megabytes, ms, rate};

/// A figure that is compared.
pub(super) struct Figure {
    pub(super) name: &'static str,
    /// Of the whole report.
    of: fn(&Report) -> f64,
    /// Of one repetition.
    once: fn(&Repeat) -> f64,
    pub(super) shown: fn(f64) -> String,
    /// Whether more is better.
    pub(super) more: bool,
}

/// A percentile of one kind of latency.
macro_rules! latency {
    ($name:literal, $kind:ident, $percentile:ident) => {
        Figure {
            name: $name,
            of: |report| report.latency_us.$kind.$percentile as f64,
            once: |repeat| repeat.latency_us.$kind.$percentile as f64,
            shown: us,
            more: false,
        }
    };
}

pub(super) const FIGURES: [Figure; 9] = [
    Figure {
        name: "deliveries/s",
        of: |report| {
            let counted = report.phases.iter().filter(|phase| phase.counted);
            let (delivered, ms) = counted.fold((0, 0), |(delivered, ms), phase| {
                (delivered + phase.delivered, ms + phase.duration_ms)
            });
            model::rate(delivered, ms)
        },
        once: |repeat| repeat.delivered_per_second,
        shown: rate,
        more: true,
    },
    latency!("fanout p50 ms", fanout, p50),
    latency!("fanout p99 ms", fanout, p99),
    latency!("fanout p99.9 ms", fanout, p999),
    latency!("ack p99 ms", ack, p99),
    latency!("rpc p99 ms", rpc, p99),
    latency!("connect p99 ms", connect, p99),
    Figure {
        name: "CPU s per run",
        of: |report| {
            let runs = report.repeats.len().max(1);
            report.generator.cpu_seconds / runs as f64
        },
        once: |repeat| repeat.cpu_seconds,
        shown: |seconds| format!("{seconds:.2}"),
        more: false,
    },
    Figure {
        name: "memory",
        of: |report| report.generator.max_rss_bytes as f64,
        once: |repeat| repeat.max_rss_bytes as f64,
        shown: |bytes| megabytes(whole(bytes)),
        more: false,
    },
];

/// Counts that are exact, and whether any of them is bad.
pub(super) type Count = (&'static str, fn(&Counts) -> u64, bool);
pub(super) const COUNTS: [Count; 5] = [
    ("delivered", |counts| counts.delivered, false),
    ("lost", |counts| counts.lost, true),
    ("duplicated", |counts| counts.duplicated, true),
    ("reordered", |counts| counts.reordered, true),
    ("misrouted", |counts| counts.misrouted, true),
];

impl Figure {
    /// The figure of a report, and its range over the repetitions.
    pub(super) fn band(&self, report: &Report) -> Band {
        let value = (self.of)(report);
        let each = || report.repeats.iter().map(self.once);
        Band {
            value,
            low: each().fold(value, f64::min),
            high: each().fold(value, f64::max),
        }
    }
}

fn us(value: f64) -> String {
    ms(whole(value))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures are positive and far below 2^53"
)]
fn whole(value: f64) -> u64 {
    value.round() as u64
}
