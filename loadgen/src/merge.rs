//! Adding reports: the shards of one schedule to the whole, and repetitions of a run to one report
//! with noise bands.
//!
//! Counts and histograms add exactly, so the percentiles of a merged report are those that one
//! generator would have measured. Nothing is estimated.

use std::collections::BTreeMap;

use crate::report::model::{
    Audit, EXAMPLES, EventReport, Generator, Histograms, Pair, Phase, Repeat, Report, Second, Shard,
};
use crate::slo::Slo;

/// Why reports cannot be added.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum MergeError {
    /// There is nothing to add.
    #[error("no reports to merge")]
    Nothing,
    /// Two reports are not of the same run.
    #[error(
        "{first} and {second} are not shards of one run: {subject} is {before} in the one and {after} in the other"
    )]
    Differ {
        /// The file of the first report.
        first: String,
        /// The file of the other.
        second: String,
        /// What differs.
        subject: &'static str,
        /// In the first.
        before: String,
        /// In the other.
        after: String,
    },
    /// A part of the schedule is in two reports.
    #[error(
        "shard {part} of {of} is in {first} and again in {second}; its figures would count twice"
    )]
    Overlap {
        /// The part.
        part: u32,
        /// How many there are.
        of: u32,
        /// The file that has it.
        first: String,
        /// The file that has it again.
        second: String,
    },
    /// Parts of the schedule are in no report.
    #[error("no file has shard {parts} of {of}; the sum would not be the whole schedule")]
    Missing {
        /// The parts.
        parts: String,
        /// How many there are.
        of: u32,
    },
    /// A report is already one of several repetitions.
    #[error(
        "{0} is a report of repetitions, which cannot be merged; run the shards without --repeat"
    )]
    Repeated(String),
}

/// Adds the shards of one run; each report has the name of its file, for errors.
///
/// # Errors
/// They are of different runs, or not every shard is there exactly once.
pub fn merge(mut reports: Vec<(String, Report)>) -> Result<Report, MergeError> {
    reports.sort_by_key(|(_, report)| report.shard.parts.first().copied());
    check(&reports)?;
    let mut reports = reports.into_iter();
    let (_, mut sum) = reports.next().ok_or(MergeError::Nothing)?;
    name_reason(&mut sum);
    for (_, mut report) in reports {
        name_reason(&mut report);
        let end = |one: &Report| one.started_at + one.duration_ms;
        let last = end(&sum).max(end(&report));
        sum.started_at = sum.started_at.min(report.started_at);
        sum.duration_ms = last - sum.started_at;
        sum.schedule.digest = combined(&sum.schedule.digest, &report.schedule.digest);
        sum.schedule.accounts += report.schedule.accounts;
        sum.schedule.connections += report.schedule.connections;
        sum.schedule.emits += report.schedule.emits;
        sum.schedule.deliveries += report.schedule.deliveries;
        sum.schedule.duration_ms = sum.schedule.duration_ms.max(report.schedule.duration_ms);
        sum.shard.parts.extend(&report.shard.parts);
        // Shards run at the same time, repetitions do not.
        sum.connections.peak += report.connections.peak;
        sum.generator.workers += report.generator.workers;
        add_phases(&mut sum.phases, &report.phases);
        add_series(&mut sum.series, &report.series);
        add_urls(&mut sum, &report);
        absorb(&mut sum, report);
    }
    sum.shard.parts.sort_unstable();
    finish(&mut sum);
    Ok(sum)
}

/// Adds repetitions of one run, in their order, and keeps the key figures of each.
///
/// Returns nothing for no reports; a single one is not a repetition and stays as it is.
#[must_use]
pub fn join(reports: Vec<Report>) -> Option<Report> {
    let repeats: Vec<Repeat> = reports.iter().map(repeat).collect();
    let mut reports = reports.into_iter();
    let mut sum = reports.next()?;
    if repeats.len() == 1 {
        return Some(sum);
    }
    for (at, mut report) in reports.enumerate() {
        let offset = (report.started_at - sum.started_at.min(report.started_at)) / 1000;
        let seconds = u32::try_from(offset).unwrap_or(u32::MAX);
        for mut phase in std::mem::take(&mut report.phases) {
            phase.name = format!("{} #{}", phase.name, at + 2);
            phase.start_ms += offset * 1000;
            sum.phases.push(phase);
        }
        for mut second in std::mem::take(&mut report.series) {
            second.second = second.second.saturating_add(seconds);
            sum.series.push(second);
        }
        sum.duration_ms =
            report.started_at + report.duration_ms - sum.started_at.min(report.started_at);
        sum.connections.peak = sum.connections.peak.max(report.connections.peak);
        absorb(&mut sum, report);
    }
    sum.repeats = repeats;
    finish(&mut sum);
    Some(sum)
}

fn repeat(report: &Report) -> Repeat {
    let counted = report.phases.iter().filter(|phase| phase.counted);
    let (delivered, ms) = counted.fold((0, 0), |(delivered, ms), phase| {
        (delivered + phase.delivered, ms + phase.duration_ms)
    });
    Repeat {
        started_at: report.started_at,
        audit: report.audit.counts,
        latency_us: report.latency_us.clone(),
        delivered_per_second: crate::report::model::rate(delivered, ms),
        lag_p99_us: report.generator.lag_p99_us,
        cpu_seconds: report.generator.cpu_seconds,
        max_rss_bytes: report.generator.max_rss_bytes,
        valid: report.generator.valid,
    }
}

/// Everything must be of one schedule, and every part of it there once.
fn check(reports: &[(String, Report)]) -> Result<(), MergeError> {
    let Some((first, head)) = reports.first() else {
        return Err(MergeError::Nothing);
    };
    let mut found: BTreeMap<u32, &str> = BTreeMap::new();
    for (file, report) in reports {
        if !report.repeats.is_empty() {
            return Err(MergeError::Repeated(file.clone()));
        }
        for (subject, of) in IDENTITY {
            let (before, after) = (of(head), of(report));
            if before != after {
                return Err(MergeError::Differ {
                    first: first.clone(),
                    second: file.clone(),
                    subject,
                    before,
                    after,
                });
            }
        }
        for part in &report.shard.parts {
            if let Some(earlier) = found.insert(*part, file) {
                return Err(MergeError::Overlap {
                    part: *part,
                    of: head.shard.of,
                    first: earlier.to_owned(),
                    second: file.clone(),
                });
            }
        }
    }
    let missing: Vec<String> = (1..=head.shard.of)
        .filter(|part| !found.contains_key(part))
        .map(|part| part.to_string())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(MergeError::Missing {
        parts: missing.join(", "),
        of: head.shard.of,
    })
}

/// What the shards of one run have in common.
type Identity = (&'static str, fn(&Report) -> String);
const IDENTITY: [Identity; 7] = [
    ("the version of touchstone", |report| {
        report.touchstone.clone()
    }),
    ("the scenario", |report| report.scenario.name.clone()),
    ("the digest of the scenario", |report| {
        report.scenario.digest.clone()
    }),
    ("the scale", |report| report.scenario.scale.to_string()),
    ("the seed", |report| report.seed.to_string()),
    ("the number of shards", |report| report.shard.of.to_string()),
    ("the set of recipients", |report| {
        let wide = report.target.wide_events.join(", ");
        format!("{:?} {wide}", report.target.recipients).to_lowercase()
    }),
];

/// Exclusive or of two digests, which is how those of accounts combine to that of a schedule.
fn combined(one: &str, other: &str) -> String {
    let digit = |c: char| c.to_digit(16).unwrap_or(0);
    one.chars()
        .zip(other.chars())
        .filter_map(|(one, other)| char::from_digit(digit(one) ^ digit(other), 16))
        .collect()
}

/// A reason that stands beside others says whose it is.
fn name_reason(report: &mut Report) {
    let Shard { of, parts } = &report.shard;
    let Some(part) = parts.first().filter(|_| *of > 1) else {
        return;
    };
    let name = |text: &mut String| *text = format!("shard {part} of {of}: {text}");
    report.failure.iter_mut().for_each(name);
    report.generator.reason.iter_mut().for_each(name);
}

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
    add_pair(&mut into.kinds.connect, &from.kinds.connect);
    for (name, pair) in &from.events {
        add_pair(into.events.entry(name.clone()).or_default(), pair);
    }
    into.lag = into.lag.plus(&from.lag);
}

/// Phases of one scenario are the same in every shard.
fn add_phases(into: &mut Vec<Phase>, from: &[Phase]) {
    for phase in from {
        let Some(sum) = into.iter_mut().find(|sum| sum.name == phase.name) else {
            into.push(phase.clone());
            continue;
        };
        sum.duration_ms = sum.duration_ms.max(phase.duration_ms);
        sum.connections += phase.connections;
        sum.planned += phase.planned;
        sum.sent += phase.sent;
        sum.delivered += phase.delivered;
        sum.lost += phase.lost;
        sum.histogram = sum.histogram.plus(&phase.histogram);
    }
}

fn add_series(into: &mut Vec<Second>, from: &[Second]) {
    for second in from {
        match into.binary_search_by_key(&second.second, |sum| sum.second) {
            Ok(at) => {
                let sum = &mut into[at];
                sum.connections += second.connections;
                sum.planned += second.planned;
                sum.sent += second.sent;
                sum.delivered += second.delivered;
                sum.histogram = sum.histogram.plus(&second.histogram);
            }
            Err(at) => into.insert(at, second.clone()),
        }
    }
}

fn add_urls(sum: &mut Report, report: &Report) {
    for url in &report.target.urls {
        if !sum.target.urls.contains(url) {
            sum.target.urls.push(url.clone());
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{broken, packed, sample};

    /// A part of a run whose figures differ from those of the others.
    fn part(part: u32, of: u32) -> (String, Report) {
        let mut report = sample();
        report.shard = Shard {
            of,
            parts: vec![part],
        };
        report.schedule.digest = format!("{part:x}").repeat(64);
        report.histograms.kinds.fanout.latency = packed(1_000 * u64::from(part), 7, 500);
        report.summarize();
        (format!("{part}.json"), report)
    }

    #[test]
    fn shards_add_exactly() {
        let sum = merge(vec![part(2, 3), part(1, 3), part(3, 3)]).unwrap();
        let single = sample();
        assert!(sum.shard.is_whole());
        assert_eq!(sum.shard.parts, [1, 2, 3]);
        // 1 ^ 2 ^ 3 = 0.
        assert_eq!(sum.schedule.digest, "0".repeat(64));
        assert_eq!(sum.schedule.emits, 3 * single.schedule.emits);
        assert_eq!(
            sum.audit.counts.delivered,
            3 * single.audit.counts.delivered
        );
        assert_eq!(sum.connections.peak, 3 * single.connections.peak);
        assert_eq!(sum.latency_us.fanout.count, 1_500);
        assert_eq!(
            (sum.latency_us.fanout.min, sum.latency_us.fanout.max),
            (1_000, 6_495)
        );
        assert_eq!(sum.latency_us.rpc.count, 3 * single.latency_us.rpc.count);
        assert_eq!(sum.latency_us.rpc.p50, single.latency_us.rpc.p50);
        assert_eq!(sum.series.len(), single.series.len());
        assert_eq!(sum.series[3].delivered, 3 * single.series[3].delivered);
        assert_eq!(sum.phases.len(), single.phases.len());
        assert_eq!(sum.phases[1].sent, 3 * single.phases[1].sent);
        assert_eq!(sum.generator.sent, 3 * single.generator.sent);
    }

    #[test]
    fn the_order_of_files_does_not_matter() {
        let one = merge(vec![part(1, 2), part(2, 2)]).unwrap();
        assert_eq!(one, merge(vec![part(2, 2), part(1, 2)]).unwrap());
    }

    #[test]
    fn objectives_are_of_the_sum_and_reasons_name_their_shard() {
        let (first, (name, mut second)) = (part(1, 2), part(2, 2));
        second.audit.counts.lost = 4;
        second.generator.valid = false;
        second.generator.reason = Some("scheduling lag".to_owned());
        let sum = merge(vec![first, (name, second)]).unwrap();
        assert_eq!(sum.slo[0].value["audit.lost"], 4);
        assert!(!sum.slo[0].ok);
        assert!(!sum.generator.valid);
        assert_eq!(
            sum.generator.reason.as_deref(),
            Some("shard 2 of 2: scheduling lag")
        );
    }

    #[test]
    fn examples_stay_few() {
        let shards = (1..=3).map(|at| {
            let (name, shard) = part(at, 3);
            let mut audit = broken().audit;
            audit.examples = [audit.examples.clone(), audit.examples].concat();
            (name, Report { audit, ..shard })
        });
        let sum = merge(shards.collect()).unwrap();
        assert_eq!(sum.audit.examples.len(), 3 * EXAMPLES);
        assert_eq!(sum.audit.counts.lost, 30);
    }

    #[track_caller]
    fn check_refused(reports: Vec<(String, Report)>, expected: &str) {
        let error = merge(reports).unwrap_err().to_string();
        assert_eq!(error, expected);
    }

    #[test]
    fn what_is_not_one_run_is_refused() {
        let changed = |change: fn(&mut Report)| {
            let (name, mut report) = part(2, 2);
            change(&mut report);
            vec![part(1, 2), (name, report)]
        };
        check_refused(Vec::new(), "no reports to merge");
        check_refused(
            changed(|report| report.seed = 43),
            "1.json and 2.json are not shards of one run: the seed is 42 in the one and 43 in the other",
        );
        check_refused(
            changed(|report| report.scenario.scale = 2.0),
            "1.json and 2.json are not shards of one run: the scale is 0.01 in the one and 2 in the other",
        );
        check_refused(
            vec![part(1, 2), part(2, 3)],
            "1.json and 2.json are not shards of one run: the number of shards is 2 in the one and 3 in the other",
        );
        check_refused(
            vec![part(1, 2), part(2, 2), part(2, 2)],
            "shard 2 of 2 is in 2.json and again in 2.json; its figures would count twice",
        );
        check_refused(
            vec![part(3, 4), part(1, 4)],
            "no file has shard 2, 4 of 4; the sum would not be the whole schedule",
        );
        check_refused(
            changed(|report| report.repeats = vec![repeat(report)]),
            "2.json is a report of repetitions, which cannot be merged; run the shards without --repeat",
        );
    }

    #[test]
    fn repetitions_follow_each_other() {
        let mut second = sample();
        second.started_at += 20_000;
        second.histograms.kinds.fanout.latency = packed(9_000, 1, 10);
        second.summarize();
        let both = join(vec![sample(), second]).unwrap();
        assert_eq!(both.repeats.len(), 2);
        assert_eq!(both.repeats[1].latency_us.fanout.min, 9_000);
        assert_eq!(both.latency_us.fanout.count, 3_010);
        assert_eq!(both.connections.peak, sample().connections.peak);
        assert_eq!(both.schedule, sample().schedule);
        assert_eq!(both.duration_ms, 26_120);
        assert_eq!(both.phases[3].name, "steady #2");
        assert_eq!(both.phases[3].start_ms, 21_000);
        assert_eq!(both.series[6].second, 20);
        assert_eq!(join(vec![sample()]), Some(sample()));
        assert_eq!(join(Vec::new()), None);
    }
}
