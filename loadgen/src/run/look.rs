//! What the coordinator sees of the workers every second: sums, taken under their locks so quickly
//! that they do not notice.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::{
    RunPlan, Worker, finish, host, limits,
    stats::{OfSecond, add},
};
use crate::{
    progress::{Health, Snapshot, Stage},
    report::{
        model::{Connections, Counts, Kinds, Second, Summary},
        packed::histogram,
    },
    scenario::EventKind,
};

/// Sums over all workers.
pub(super) struct Look {
    pub(super) wanted: u64,
    pub(super) open: u64,
    pub(super) connections: Connections,
    pub(super) second: OfSecond,
    /// Processor time of the workers, in microseconds.
    pub(super) cpu: u64,
    planned: u64,
    sent: u64,
    unsent: u64,
    skipped: u64,
    counts: Counts,
    volatile: Counts,
    latency: Kinds<Histogram<u64>>,
    lag: Histogram<u64>,
    pub(super) is_draining: bool,
}

impl Look {
    /// Looks at all workers, and starts their next second.
    pub(super) fn at(workers: &[Worker]) -> Self {
        let mut look = Self {
            wanted: 0,
            open: 0,
            connections: Connections::default(),
            second: OfSecond::new(),
            cpu: 0,
            planned: 0,
            sent: 0,
            unsent: 0,
            skipped: 0,
            counts: Counts::default(),
            volatile: Counts::default(),
            latency: Kinds::<()>::default().map(|()| histogram()),
            lag: histogram(),
            is_draining: workers
                .iter()
                .all(|worker| worker.signals.draining.is_cancelled()),
        };
        for worker in workers {
            let mut stats = worker.stats();
            look.wanted += stats.wanted;
            look.open += stats.open;
            look.connections.add(&stats.connections);
            look.cpu += stats.cpu;
            look.planned += stats.planned;
            look.sent += stats.sent;
            look.unsent += stats.unsent;
            look.skipped += stats.skipped;
            let (counts, volatile) = finish::audited(&stats);
            look.counts = finish::plus(look.counts, counts);
            look.volatile = finish::plus(look.volatile, volatile);
            for (kind, of_kind) in finish::kinds(&stats) {
                if !kind.is_presence() && kind != EventKind::RpcCall {
                    add(&mut look.latency.fanout, &of_kind.times.latency);
                }
            }
            add(&mut look.latency.ack, &stats.ack.latency);
            add(&mut look.latency.rpc, &stats.rpc.latency);
            add(&mut look.latency.callee, &stats.callee.latency);
            add(&mut look.latency.connect, &stats.connect.latency);
            add(&mut look.lag, &stats.lag);
            stats.take_second(&mut look.second);
        }
        look
    }

    /// What is told about it. `elapsed` is from the start of the schedule; `cpu_before` is what
    /// the workers had used a second ago.
    pub(super) fn snapshot(
        &self,
        plan: &RunPlan,
        elapsed: Duration,
        second: Second,
        cpu_before: u64,
    ) -> Snapshot {
        let scenario = plan.schedule.scenario();
        let at = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        let phase = phase_at(plan, at);
        let bounds = scenario.bounds;
        let exceeded = if limits::lagging(&bounds, &self.lag).is_some() {
            Some("events are sent too late")
        } else if limits::unsent(&bounds, self.unsent - self.skipped, self.planned) {
            Some("too many events are not sent")
        } else {
            None
        };
        let lag = Summary::of(&self.second.lag).p99;
        let cpu_share = self.cpu.saturating_sub(cpu_before) as f64 / 1e6 / plan.workers as f64;
        let is_busy = cpu_share * 1000.0 > bounds.cpu.get() as f64;
        Snapshot {
            stage: if self.is_draining {
                Stage::Draining
            } else {
                Stage::Running
            },
            phase: if self.is_draining {
                String::new()
            } else {
                scenario.phases[phase].name.clone()
            },
            counted: scenario.phases[phase].counted && !self.is_draining,
            elapsed,
            total: Duration::from_micros(plan.schedule.end_us()),
            planned: self.planned,
            sent: self.sent,
            unsent: self.unsent,
            latency_us: self.latency.map(Summary::of),
            audit: self.counts,
            volatile: self.volatile,
            wanted: self.wanted,
            open: self.open,
            connections: self.connections,
            health: Health {
                lag_p99_us: lag,
                cpu_share,
                rss_bytes: host::memory().0,
                open_files: host::open_files(),
                exceeded,
                is_behind: lag > bounds.lag_p99.us() || is_busy,
            },
            second: Some(second),
        }
    }
}

/// In which phase a moment lies; what comes after the end belongs to the last one.
pub(super) fn phase_at(plan: &RunPlan, at: u64) -> usize {
    let phases = &plan.schedule.scenario().phases;
    let mut end = 0;
    let over = phases.iter().take_while(|phase| {
        end += phase.duration.us();
        end <= at
    });
    over.count().min(phases.len() - 1)
}
