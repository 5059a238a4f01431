//! What the coordinator sees of the workers every second: sums, taken under their locks so quickly
//! that they do not notice.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;

use super::{
    RunPlan, finish, host, limits,
    stats::{OfSecond, add},
    workers::Worker,
};
use crate::{
    progress::{Health, OfType, Snapshot, Stage},
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
    types: BTreeMap<&'static str, (OfType, Histogram<u64>)>,
    latency: Kinds<Histogram<u64>>,
    lag: Histogram<u64>,
    /// When and at which processor time each worker's counted phases were first and last seen.
    cpu_counted: Vec<Option<[(u64, u64); 2]>>,
    pub(super) is_draining: bool,
}

/// Processor time that was used until a moment.
#[derive(Clone, Copy)]
pub(super) struct Used {
    /// By the workers, in microseconds.
    pub(super) cpu: u64,
    /// By all programs of this machine, and how much there was.
    pub(super) machine: [u64; 2],
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
            types: BTreeMap::new(),
            latency: Kinds::<()>::default().map(|()| histogram()),
            lag: histogram(),
            cpu_counted: Vec::with_capacity(workers.len()),
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
                let Some(name) = kind.delivered_as() else {
                    continue;
                };
                let types = look.types.entry(name);
                let (of_type, latency) = types.or_insert_with(|| (OfType::default(), histogram()));
                of_type.volatile = kind.is_presence();
                of_type.audit = finish::plus(of_type.audit, of_kind.counts);
                add(latency, &of_kind.times.latency);
            }
            look.cpu_counted.push(stats.cpu_counted);
            add(&mut look.latency.ack, &stats.ack.latency);
            add(&mut look.latency.rpc, &stats.rpc.latency);
            add(&mut look.latency.callee, &stats.callee.latency);
            add(&mut look.latency.connect, &stats.connect.latency);
            add(&mut look.lag, &stats.lag);
            stats.take_second(&mut look.second);
        }
        let call = EventKind::RpcCall.delivered_as();
        for (name, (of_type, latency)) in &mut look.types {
            of_type.latency_us = Summary::of(latency);
            if !of_type.volatile && Some(*name) != call {
                add(&mut look.latency.fanout, latency);
            }
        }
        look
    }

    /// What is told about it. `elapsed` is from the start of the schedule; the times are those of a second
    /// ago and of now.
    pub(super) fn snapshot(
        &self,
        plan: &RunPlan,
        elapsed: Duration,
        second: Second,
        [before, now]: [Used; 2],
    ) -> Snapshot {
        let scenario = plan.schedule.scenario();
        let at = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        let phase = phase_at(plan, at);
        let bounds = scenario.bounds;
        let exceeded = if limits::lagging(&bounds, &self.lag).is_some() {
            Some("events are sent too late")
        } else if limits::unsent(&bounds, self.unsent - self.skipped, self.planned) {
            Some("too many events are not sent")
        } else if bounds.is_busy(finish::cpu_share(&self.cpu_counted)) {
            Some("the generator lacks CPU")
        } else {
            None
        };
        let lag = Summary::of(&self.second.lag).p99;
        let cpu_share = now.cpu.saturating_sub(before.cpu) as f64 / 1e6 / plan.workers as f64;
        let strained = if lag > bounds.lag_p99.us() {
            Some("behind its schedule")
        } else if bounds.is_busy(cpu_share) {
            Some("nearly all of its CPU is used")
        } else if host::share([before.machine, now.machine]) >= limits::SATURATED {
            Some("no core of the machine is free")
        } else {
            None
        };
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
            types: self
                .types
                .iter()
                .map(|(name, (of, _))| (*name, *of))
                .collect(),
            wanted: self.wanted,
            open: self.open,
            connections: self.connections,
            health: Health {
                lag_p99_us: lag,
                cpu_share,
                rss_bytes: host::memory().0,
                open_files: host::open_files(),
                exceeded,
                strained,
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
