//! The shards of one schedule, added to the whole of it.

use std::collections::BTreeMap;

use super::{absorb, finish};
use crate::report::model::{Phase, Report, Second, Shard};

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
        if let Some((subject, before, after)) = difference(head, report) {
            return Err(MergeError::Differ {
                first: first.clone(),
                second: file.clone(),
                subject,
                before,
                after,
            });
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

/// What two reports do not have in common, though shards of one run do, with what it is in each.
fn difference(head: &Report, report: &Report) -> Option<(&'static str, String, String)> {
    // A scenario is what it says; its file may have another name on each machine.
    let (one, other) = (&head.scenario, &report.scenario);
    if one.digest != other.digest {
        return Some(("the scenario", one.described(), other.described()));
    }
    IDENTITY
        .iter()
        .map(|(subject, of)| (*subject, of(head), of(report)))
        .find(|(_, before, after)| before != after)
}

/// What else the shards of one run have in common.
type Identity = (&'static str, fn(&Report) -> String);
const IDENTITY: [Identity; 5] = [
    ("the version of touchstone", |report| {
        report.touchstone.clone()
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

/// Phases of one scenario are the same in every shard.
fn add_phases(into: &mut Vec<Phase>, from: &[Phase]) {
    for phase in from {
        let Some(sum) = into.iter_mut().find(|sum| sum.name == phase.name) else {
            into.push(phase.clone());
            continue;
        };
        sum.duration_ms = sum.duration_ms.max(phase.duration_ms);
        sum.planned_ms = sum.planned_ms.max(phase.planned_ms);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::join;
    use crate::report::Verdict;
    use crate::report::model::EXAMPLES;
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
    fn a_shard_that_failed_fails_the_whole() {
        let (first, (name, mut second)) = (part(1, 2), part(2, 2));
        second.failure = Some("the server is gone".to_owned());
        let sum = merge(vec![first, (name, second)]).unwrap();
        assert_eq!(sum.verdict(), Verdict::Failed);
        let expected = ("FAILED", "shard 2 of 2: the server is gone".to_owned());
        assert_eq!(sum.conclusion(), expected);
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
            changed(|report| report.scenario.digest = "0123456789".to_owned()),
            "1.json and 2.json are not shards of one run: the scenario is production (c0ffeec0) in the one and production (01234567) in the other",
        );
        let mut renamed = vec![part(1, 2), part(2, 2)];
        renamed[1].1.scenario.name = "copy.toml".to_owned();
        assert!(merge(renamed).is_ok());
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
            changed(|report| *report = join(vec![report.clone(), report.clone()]).unwrap()),
            "2.json is a report of repetitions, which cannot be merged; run the shards without --repeat",
        );
    }
}
