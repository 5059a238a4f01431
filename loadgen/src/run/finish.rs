//! From what the workers counted to the report.

use std::collections::BTreeMap;
use touchstone_output::text::display_url;

use touchstone_client::provision::ProvisionError;

use super::{
    RunPlan, host,
    limits::Strain,
    probe::Dialect,
    stats::{OfKind, OfSecond, Stats, Times},
};
use crate::{
    report::{
        model::{
            self, Audit, Connections, Counts, EventReport, Generator, Histograms, Kinds, Pair,
            Recipients, Report, Second, Summary,
        },
        packed::{Packed, histogram},
    },
    scenario::EventKind,
    schedule::Schedule,
};

/// What the coordinator saw, besides what the workers counted.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) dialect: Dialect,
    pub(super) started_at: u64,
    pub(super) duration_us: u64,
    /// When the last event could be sent, where that was before the end of the schedule.
    pub(super) ended_us: Option<u64>,
    /// What all programs used of this machine's cores until then; 1 is all of it.
    pub(super) machine_share: f64,
    pub(super) failure: Option<String>,
    pub(super) series: Vec<Second>,
    /// Connections open at the end of each phase that was reached.
    pub(super) phase_connections: Vec<u64>,
    pub(super) peak: u64,
    pub(super) open_files: u64,
    pub(super) open_files_limit: u64,
}

fn pair(times: &Times) -> Pair {
    Pair {
        latency: Packed::of(&times.latency),
        naive: Packed::of(&times.naive),
    }
}

/// Adds what all workers counted to what the first one did.
pub(super) fn total(all: Vec<Stats>, schedule: &Schedule) -> Stats {
    let mut total = Stats::new(schedule);
    for stats in all {
        total.absorb(stats);
    }
    total
}

/// Audit counts of all events, and of volatile heartbeats with the ends of sessions.
pub(super) fn audited(stats: &Stats) -> (Counts, Counts) {
    let (mut counts, mut volatile) = (stats.unknown, Counts::default());
    for (kind, of_kind) in kinds(stats) {
        let sum = if kind.is_presence() {
            &mut volatile
        } else {
            &mut counts
        };
        *sum = plus(*sum, of_kind.counts);
    }
    (counts, volatile)
}

pub(super) fn kinds(stats: &Stats) -> impl Iterator<Item = (EventKind, &OfKind)> {
    let all = EventKind::ALL.into_iter().zip(&stats.kinds);
    all.filter_map(|(kind, of_kind)| Some((kind, of_kind.as_deref()?)))
}

pub(super) fn plus(mut a: Counts, b: Counts) -> Counts {
    a.add(&b);
    a
}

/// Latency of what must be delivered: heartbeats are volatile, and a call is measured as a whole.
fn fanout(stats: &Stats) -> Times {
    let mut sum = Times {
        latency: histogram(),
        naive: histogram(),
    };
    for (kind, of_kind) in kinds(stats) {
        if !kind.is_presence() && kind != EventKind::RpcCall {
            sum.add(&of_kind.times);
        }
    }
    sum
}

/// The report of one second.
pub(super) fn second(number: u32, connections: u64, of: &OfSecond) -> Second {
    Second {
        second: number,
        connections,
        planned: of.planned,
        sent: of.sent,
        delivered: of.delivered,
        latency_us: Summary::of(&of.latency),
        histogram: Packed::of(&of.latency),
    }
}

/// The processor time that workers used while phases counted, in parts of what they could use.
pub(super) fn cpu_share(all: &[Option<[(u64, u64); 2]>]) -> f64 {
    let (mut used, mut there) = (0, 0);
    for [(from, before), (to, after)] in all.iter().flatten() {
        used += after - before;
        there += to - from;
    }
    if there == 0 {
        0.0
    } else {
        used as f64 / there as f64
    }
}

/// The audit and the times of each event by the name under which it is delivered.
fn events(stats: &Stats) -> (BTreeMap<String, EventReport>, BTreeMap<String, Times>) {
    let mut events: BTreeMap<String, EventReport> = BTreeMap::new();
    let mut times: BTreeMap<String, Times> = BTreeMap::new();
    for (kind, of_kind) in kinds(stats) {
        let Some(name) = kind.delivered_as() else {
            continue;
        };
        let event = events.entry(name.to_owned()).or_default();
        event.volatile = kind.is_presence();
        event.audit = plus(event.audit, of_kind.counts);
        match times.get_mut(name) {
            Some(sum) => sum.add(&of_kind.times),
            None => drop(times.insert(name.to_owned(), of_kind.times.clone())),
        }
    }
    (events, times)
}

fn target(plan: &RunPlan, dialect: &Dialect) -> model::Target {
    model::Target {
        name: plan.name.clone(),
        urls: plan.urls.iter().map(display_url).collect(),
        path: plan.options.path.clone(),
        recipients: if dialect.wide.is_empty() {
            Recipients::Narrow
        } else {
            Recipients::Wide
        },
        recipients_basis: dialect.basis,
        wide_events: dialect.names(),
    }
}

fn histograms(stats: &Stats, times: &BTreeMap<String, Times>) -> Histograms {
    Histograms {
        kinds: Kinds {
            fanout: pair(&fanout(stats)),
            ack: pair(&stats.ack),
            rpc: pair(&stats.rpc),
            callee: pair(&stats.callee),
            connect: pair(&stats.connect),
        },
        events: times
            .iter()
            .map(|(name, times)| (name.clone(), pair(times)))
            .collect(),
        lag: Packed::of(&stats.lag),
    }
}

/// Makes the report.
pub(super) fn report(plan: &RunPlan, stats: &Stats, cpu_share: f64, seen: Seen) -> Report {
    let schedule = &plan.schedule;
    let scenario = schedule.scenario();
    let (counts, volatile) = audited(stats);
    let (events, times) = events(stats);
    let generator = generator(plan, stats, cpu_share, counts.late, &seen);
    let phases = phases(scenario, stats, &seen);
    let mut report = Report {
        format: model::FORMAT.to_owned(),
        version: model::VERSION,
        touchstone: plan.version.clone(),
        target: target(plan, &seen.dialect),
        started_at: seen.started_at,
        duration_ms: seen.duration_us / 1000,
        seed: schedule.seed(),
        scenario: model::Scenario {
            name: scenario.name.clone(),
            digest: scenario.digest(),
            scale: plan.scale.as_f64(),
        },
        schedule: plan.summary.reported(schedule),
        shard: model::Shard {
            of: schedule.shard().of(),
            parts: vec![schedule.shard().part()],
        },
        interrupted: plan.stop.is_cancelled() && seen.ended_us.is_some(),
        failure: seen.failure,
        audit: Audit {
            counts,
            late_bound_us: scenario.audit.late_after.us(),
            volatile,
            examples: stats.examples.clone(),
        },
        latency_us: Kinds::default(),
        naive_us: Kinds::default(),
        events,
        answers: stats
            .answers
            .iter()
            .map(|(event, counts)| ((*event).to_owned(), counts.clone()))
            .collect(),
        connections: Connections {
            peak: seen.peak,
            ..stats.connections
        },
        errors: stats
            .errors
            .iter()
            .chain(&stats.refusals)
            .map(|(what, count)| (what.clone(), *count))
            .chain(seen.dialect.problem.map(|problem| (problem, 1)))
            .collect(),
        generator,
        slo: Vec::new(),
        phases,
        series: seen.series,
        repeats: Vec::new(),
        histograms: histograms(stats, &times),
    };
    report.summarize();
    report
}

fn generator(plan: &RunPlan, stats: &Stats, cpu_share: f64, late: u64, seen: &Seen) -> Generator {
    let lag_us = Summary::of(&stats.lag);
    let host = host::describe();
    let scenario = plan.schedule.scenario();
    let strain = Strain {
        bounds: scenario.bounds,
        audit: scenario.audit,
        stats,
        late,
        cpu_share,
        machine_share: seen.machine_share,
        cores: host.cores,
    };
    let reason = strain.limit();
    Generator {
        planned: stats.planned,
        sent: stats.sent,
        unsent: stats.unsent,
        lag_p99_us: lag_us.p99,
        lag_us,
        cpu_seconds: stats.cpu as f64 / 1e6,
        cpu_share: thousandths(cpu_share),
        machine_share: thousandths(seen.machine_share),
        workers: u32::try_from(plan.workers).unwrap_or(u32::MAX),
        max_rss_bytes: host::memory().1,
        open_files: seen.open_files,
        open_files_limit: seen.open_files_limit,
        hosts: vec![host],
        valid: reason.is_none(),
        reason,
    }
}

/// To a thousandth, so that reports stay readable.
fn thousandths(share: f64) -> f64 {
    (share * 1000.0).round() / 1000.0
}

fn phases(scenario: &crate::scenario::Scenario, stats: &Stats, seen: &Seen) -> Vec<model::Phase> {
    let connections = &seen.phase_connections;
    let ended_ms = seen.ended_us.map_or(u64::MAX, |us| us / 1000);
    let mut start_ms: u64 = 0;
    let phases = scenario.phases.iter().zip(&stats.phases);
    let mut all = Vec::new();
    for (index, (phase, of_phase)) in phases.enumerate() {
        let planned_ms = phase.duration.us() / 1000;
        all.push(model::Phase {
            name: phase.name.clone(),
            start_ms,
            duration_ms: planned_ms.min(ended_ms.saturating_sub(start_ms)),
            planned_ms,
            counted: phase.counted,
            connections: connections.get(index).copied().unwrap_or_default(),
            planned: of_phase.planned,
            sent: of_phase.sent,
            delivered: of_phase.delivered,
            lost: of_phase.lost,
            planned_per_second: 0.0,
            sent_per_second: 0.0,
            delivered_per_second: 0.0,
            latency_us: Summary::default(),
            histogram: Packed::of(&of_phase.latency),
        });
        start_ms += planned_ms;
    }
    all
}

/// Whether an error of the provisioner is about the server, not about what it was given.
pub(super) fn is_servers(error: &ProvisionError) -> bool {
    matches!(
        error,
        ProvisionError::NoAnswer { .. }
            | ProvisionError::Http { .. }
            | ProvisionError::Unexpected { .. }
            | ProvisionError::Unsupported { .. }
    )
}
