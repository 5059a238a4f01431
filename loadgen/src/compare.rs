//! Two or more load reports side by side: of one server over time, or of several servers.
//!
//! Figures of a run vary from run to run. Where a report has repetitions, the range of a figure over
//! them is its noise band, and only figures whose bands do not overlap are said to differ. Without
//! repetitions nothing is said to differ: a single run does not tell noise from change.

use std::fmt::Write as _;

use crate::report::{
    Style, Verdict,
    model::{Counts, Repeat, Report},
    text::{cut, factor, grouped, megabytes, ms, rate},
};

/// Columns of a file name or of a value.
const COLUMN: usize = 22;

/// Why reports cannot be compared.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompareError {
    /// They are of different work.
    #[error(
        "{first} and {second} are not of the same load: {subject} is {before} in the one and {after} in the other"
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
}

/// Reports side by side. The others are held against the first.
#[derive(Debug)]
pub struct Comparison {
    reports: Vec<(String, Report)>,
}

/// The smallest and the largest value of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Band {
    value: f64,
    low: f64,
    high: f64,
}

/// A figure that is compared.
struct Figure {
    name: &'static str,
    /// Of the whole report.
    of: fn(&Report) -> f64,
    /// Of one repetition.
    once: fn(&Repeat) -> f64,
    shown: fn(f64) -> String,
    /// Whether more is better.
    more: bool,
}

const FIGURES: [Figure; 9] = [
    Figure {
        name: "deliveries/s",
        of: |report| {
            let counted = report.phases.iter().filter(|phase| phase.counted);
            let (delivered, ms) = counted.fold((0, 0), |(delivered, ms), phase| {
                (delivered + phase.delivered, ms + phase.duration_ms)
            });
            crate::report::model::rate(delivered, ms)
        },
        once: |repeat| repeat.delivered_per_second,
        shown: rate,
        more: true,
    },
    Figure {
        name: "fanout p50 ms",
        of: |report| report.latency_us.fanout.p50 as f64,
        once: |repeat| repeat.latency_us.fanout.p50 as f64,
        shown: us,
        more: false,
    },
    Figure {
        name: "fanout p99 ms",
        of: |report| report.latency_us.fanout.p99 as f64,
        once: |repeat| repeat.latency_us.fanout.p99 as f64,
        shown: us,
        more: false,
    },
    Figure {
        name: "fanout p99.9 ms",
        of: |report| report.latency_us.fanout.p999 as f64,
        once: |repeat| repeat.latency_us.fanout.p999 as f64,
        shown: us,
        more: false,
    },
    Figure {
        name: "ack p99 ms",
        of: |report| report.latency_us.ack.p99 as f64,
        once: |repeat| repeat.latency_us.ack.p99 as f64,
        shown: us,
        more: false,
    },
    Figure {
        name: "rpc p99 ms",
        of: |report| report.latency_us.rpc.p99 as f64,
        once: |repeat| repeat.latency_us.rpc.p99 as f64,
        shown: us,
        more: false,
    },
    Figure {
        name: "connect p99 ms",
        of: |report| report.latency_us.connect.p99 as f64,
        once: |repeat| repeat.latency_us.connect.p99 as f64,
        shown: us,
        more: false,
    },
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

/// Counts that are exact, so that any difference is one.
type Count = (&'static str, fn(&Counts) -> u64);
const COUNTS: [Count; 5] = [
    ("delivered", |counts| counts.delivered),
    ("lost", |counts| counts.lost),
    ("duplicated", |counts| counts.duplicated),
    ("reordered", |counts| counts.reordered),
    ("misrouted", |counts| counts.misrouted),
];

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

impl Comparison {
    /// Puts reports side by side; each has the name of its file.
    ///
    /// # Errors
    /// They are of different scenarios or scales, so that their figures mean different things.
    pub fn of(reports: Vec<(String, Report)>) -> Result<Self, CompareError> {
        let mut pairs = reports.iter();
        if let Some((first, head)) = pairs.next() {
            for (second, report) in pairs {
                same(first, head, second, report)?;
            }
        }
        Ok(Self { reports })
    }

    /// The worst verdict of the later reports, where it is worse than that of the first.
    #[must_use]
    pub fn worsened(&self) -> Option<Verdict> {
        let mut verdicts = self.reports.iter().map(|(_, report)| report.verdict());
        let first = verdicts.next()?;
        verdicts.filter(|verdict| *verdict < first).min()
    }

    /// The comparison for a person, with a line end behind its last line.
    #[must_use]
    pub fn text(&self, style: Style) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text, style);
        text
    }

    fn write(&self, out: &mut String, style: Style) -> std::fmt::Result {
        for (at, (file, report)) in self.reports.iter().enumerate() {
            let (word, why) = report.conclusion();
            let runs = report.repeats.len().max(1);
            let of = format!(
                "{file}: {} at scale {}, {}, {runs} x, {word}: {why}",
                report.scenario.name,
                factor(report.scenario.scale),
                report.target.name,
            );
            writeln!(out, "{}  {}", style.bold(letter(at)), cut(&of, 110))?;
        }
        let heads: Vec<_> = (0..self.reports.len())
            .map(|at| format!("{:>COLUMN$}", letter(at)))
            .collect();
        writeln!(
            out,
            "\n{}",
            style.bold(format!("{:<16}{}", "", heads.concat()))
        )?;
        for (name, of) in COUNTS {
            self.row(out, name, |report| grouped(of(&report.audit.counts)), "")?;
        }
        for figure in &FIGURES {
            self.figure(out, figure, style)?;
        }
        if self
            .reports
            .iter()
            .any(|(_, report)| report.repeats.is_empty())
        {
            writeln!(
                out,
                "\n{}",
                style.dim("single runs have no noise bands; load --repeat 5 gives them")
            )?;
        }
        Ok(())
    }

    fn row(
        &self,
        out: &mut String,
        name: &str,
        cell: impl Fn(&Report) -> String,
        note: &str,
    ) -> std::fmt::Result {
        let cells: Vec<_> = self
            .reports
            .iter()
            .map(|(_, report)| format!("{:>COLUMN$}", cell(report)))
            .collect();
        let line = format!("{name:<16}{}  {note}", cells.concat());
        writeln!(out, "{}", line.trim_end())
    }

    fn figure(&self, out: &mut String, figure: &Figure, style: Style) -> std::fmt::Result {
        let bands: Vec<_> = self
            .reports
            .iter()
            .map(|(_, report)| figure.band(report))
            .collect();
        if bands.iter().all(|band| band.value == 0.0) {
            return Ok(());
        }
        let cell = |report: &Report| {
            let band = figure.band(report);
            let value = (figure.shown)(band.value);
            if report.repeats.is_empty() {
                value
            } else {
                let (low, high) = ((figure.shown)(band.low), (figure.shown)(band.high));
                format!("{value} ({low}..{high})")
            }
        };
        let note = match bands.as_slice() {
            [first, .., last] => self.note(figure, *first, *last, style),
            _ => String::new(),
        };
        self.row(out, figure.name, cell, &note)
    }

    /// What the last report's figure is against the first one's.
    fn note(&self, figure: &Figure, first: Band, last: Band, style: Style) -> String {
        let change = if first.value > 0.0 {
            format!("{:+.0} %", (last.value / first.value - 1.0) * 100.0)
        } else {
            String::new()
        };
        if self
            .reports
            .iter()
            .any(|(_, report)| report.repeats.is_empty())
        {
            return change;
        }
        let (lower, higher) = (last.high < first.low, last.low > first.high);
        match (lower, higher) {
            (false, false) => format!("{change} {}", style.dim("within noise")),
            (lower, _) if lower != figure.more => format!("{change} {}", style.good("better")),
            _ => format!("{change} {}", style.bad("worse")),
        }
    }
}

impl Figure {
    fn band(&self, report: &Report) -> Band {
        let value = (self.of)(report);
        let each = || report.repeats.iter().map(self.once);
        Band {
            value,
            low: each().fold(value, f64::min),
            high: each().fold(value, f64::max),
        }
    }
}

fn same(first: &str, head: &Report, second: &str, report: &Report) -> Result<(), CompareError> {
    let subjects: [(&'static str, String, String); 2] = [
        ("the scenario", described(head), described(report)),
        (
            "the scale",
            factor(head.scenario.scale),
            factor(report.scenario.scale),
        ),
    ];
    match subjects.into_iter().find(|(_, one, other)| one != other) {
        None => Ok(()),
        Some((subject, before, after)) => Err(CompareError::Differ {
            first: first.to_owned(),
            second: second.to_owned(),
            subject,
            before,
            after,
        }),
    }
}

/// A scenario of the same name may say something else.
fn described(report: &Report) -> String {
    let digest = report.scenario.digest.get(..8).unwrap_or_default();
    format!("{} ({digest})", report.scenario.name)
}

fn letter(at: usize) -> String {
    u8::try_from(at).ok().filter(|at| *at < 26).map_or_else(
        || (at + 1).to_string(),
        |at| char::from(b'A' + at).to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::join;
    use crate::report::testing::{broken, packed, sample};

    /// A report of three repetitions, slower by so many microseconds each.
    fn repeated(slower: u64) -> Report {
        let runs = (0..3).map(|at| {
            let mut report = sample();
            report.started_at += at * 10_000;
            report.histograms.kinds.fanout.latency = packed(1_000 + slower + at * 50, 1, 100);
            report.summarize();
            report
        });
        join(runs.collect()).unwrap()
    }

    fn text(reports: [Report; 2]) -> String {
        let [a, b] = reports;
        let both = vec![("a.json".to_owned(), a), ("b.json".to_owned(), b)];
        Comparison::of(both).unwrap().text(Style::Plain)
    }

    #[test]
    fn with_noise_bands() {
        insta::assert_snapshot!(text([repeated(0), repeated(900)]));
    }

    #[test]
    fn without_noise_bands() {
        insta::assert_snapshot!(text([sample(), broken()]));
    }

    #[track_caller]
    fn check_band(slower: u64, expected: &str) {
        let text = text([repeated(1_000), repeated(slower)]);
        let line = text
            .lines()
            .find(|line| line.starts_with("fanout p50"))
            .unwrap();
        assert!(line.ends_with(expected), "{line}");
    }

    #[test]
    fn only_what_is_beyond_noise_differs() {
        check_band(1_000, "within noise");
        check_band(1_090, "within noise");
        check_band(1_200, "worse");
        check_band(800, "better");
    }

    #[track_caller]
    fn check_worsened(first: Report, second: Report, expected: Option<Verdict>) {
        let both = vec![("a".to_owned(), first), ("b".to_owned(), second)];
        assert_eq!(Comparison::of(both).unwrap().worsened(), expected);
    }

    #[test]
    fn a_worse_verdict_is_told() {
        check_worsened(sample(), sample(), None);
        check_worsened(sample(), broken(), Some(Verdict::Missed));
        check_worsened(broken(), sample(), None);
        check_worsened(broken(), broken(), None);
    }

    #[test]
    fn other_work_is_not_compared() {
        let mut other = sample();
        other.scenario.scale = 1.0;
        let both = vec![("a".to_owned(), sample()), ("b".to_owned(), other)];
        assert_eq!(
            Comparison::of(both).unwrap_err().to_string(),
            "a and b are not of the same load: the scale is 0.01 in the one and 1 in the other"
        );
    }
}
