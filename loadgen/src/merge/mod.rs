//! Adding reports: the shards of one schedule to the whole, and repetitions of a run to one report
//! with noise bands.
//!
//! Counts and histograms add exactly, so the percentiles of a merged report are those that one
//! generator would have measured. Nothing is estimated.

mod repeats;
mod shards;

use std::collections::BTreeMap;

pub use self::repeats::join;
pub use self::shards::{MergeError, merge};

use crate::report::model::{Audit, EXAMPLES, EventReport, Generator, Histograms, Pair, Report};
use crate::slo::Slo;

/// Adds what adds in the same way for shards and for repetitions.
fn absorb(sum: &mut Report, report: Report) {
    sum.interrupted |= report.interrupted;
    sum.failure = both(sum.failure.take(), report.failure);
    add_audit(&mut sum.audit, report.audit);
    for (name, event) in report.events {
        let into = sum.events.entry(name).or_insert_with(|| EventReport {
            volatile: event.volatile,
            ..EventReport::default()
        });
        into.audit.add(&event.audit);
    }
    for (event, answers) in report.answers {
        add_named(sum.answers.entry(event).or_default(), answers);
    }
    add_named(&mut sum.errors, report.errors);
    sum.connections.add(&report.connections);
    add_generator(&mut sum.generator, report.generator);
    add_histograms(&mut sum.histograms, &report.histograms);
}

fn both(one: Option<String>, other: Option<String>) -> Option<String> {
    match (one, other) {
        (Some(one), Some(other)) if one != other => Some(format!("{one}; {other}")),
        (one, other) => one.or(other),
    }
}

fn add_named(into: &mut BTreeMap<String, u64>, from: BTreeMap<String, u64>) {
    for (name, count) in from {
        *into.entry(name).or_default() += count;
    }
}

fn add_audit(into: &mut Audit, from: Audit) {
    into.counts.add(&from.counts);
    into.volatile.add(&from.volatile);
    into.late_bound_us = into.late_bound_us.max(from.late_bound_us);
    for example in from.examples {
        let same = into
            .examples
            .iter()
            .filter(|one| one.outcome == example.outcome);
        if same.count() < EXAMPLES {
            into.examples.push(example);
        }
    }
}

fn add_generator(into: &mut Generator, from: Generator) {
    into.planned += from.planned;
    into.sent += from.sent;
    into.unsent += from.unsent;
    into.cpu_seconds += from.cpu_seconds;
    // These are of one process each: the sum is that of the one which needed most.
    into.cpu_share = into.cpu_share.max(from.cpu_share);
    into.machine_share = into.machine_share.max(from.machine_share);
    into.max_rss_bytes = into.max_rss_bytes.max(from.max_rss_bytes);
    into.open_files = into.open_files.max(from.open_files);
    into.open_files_limit = into.open_files_limit.min(from.open_files_limit);
    for host in from.hosts {
        if !into.hosts.contains(&host) {
            into.hosts.push(host);
        }
    }
    into.valid &= from.valid;
    into.reason = both(into.reason.take(), from.reason);
}

fn add_pair(into: &mut Pair, from: &Pair) {
    into.latency = into.latency.plus(&from.latency);
    into.naive = into.naive.plus(&from.naive);
}

fn add_histograms(into: &mut Histograms, from: &Histograms) {
    add_pair(&mut into.kinds.fanout, &from.kinds.fanout);
    add_pair(&mut into.kinds.ack, &from.kinds.ack);
    add_pair(&mut into.kinds.rpc, &from.kinds.rpc);
    add_pair(&mut into.kinds.callee, &from.kinds.callee);
    add_pair(&mut into.kinds.connect, &from.kinds.connect);
    for (name, pair) in &from.events {
        add_pair(into.events.entry(name.clone()).or_default(), pair);
    }
    into.lag = into.lag.plus(&from.lag);
}

/// Brings what is made from the rest up to date.
fn finish(report: &mut Report) {
    report.summarize();
    let results = report.slo.iter().map(|slo| {
        // A report from elsewhere may hold an expression that this program cannot evaluate; what it
        // said about its part is kept.
        Slo::parse(&slo.expression).map_or_else(|_| slo.clone(), |slo| slo.evaluate(report))
    });
    report.slo = results.collect();
}
