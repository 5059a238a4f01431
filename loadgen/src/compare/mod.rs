//! Two or more load reports side by side: of one server over time, or of several servers.
//!
//! Figures of a run vary from run to run. Where a report has repetitions, the range of a figure over
//! them is its noise band, and only figures whose bands do not overlap are said to differ. Without
//! repetitions nothing is said to differ: a single run does not tell noise from change. With few of
//! them, bands lie apart by chance often enough to say so.

mod figures;
mod page;
mod text;

use self::figures::{COUNTS, FIGURES, Figure};
use crate::report::{Verdict, model::Report, text::factor};
use touchstone_output::text::grouped;

/// Bands that lie apart by chance more often than this are no finding.
const CHANCE: f64 = 0.05;

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

/// One line of a comparison.
#[derive(Debug)]
struct Row {
    name: &'static str,
    /// One for each report.
    cells: Vec<Cell>,
    /// How much larger the last figure is than the first one, in per cent.
    change: Option<f64>,
    finding: Finding,
}

/// The figure of one report.
#[derive(Debug)]
struct Cell {
    value: String,
    /// Its noise band.
    band: Option<(String, String)>,
}

/// What the last report's figure is against the first one's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    /// Nobody can tell.
    Unknown,
    /// The bands overlap.
    Noise,
    /// Beyond noise.
    Better,
    /// Beyond noise.
    Worse,
    /// The bands lie apart, but those of so few runs often do.
    MaybeBetter,
    /// As above.
    MaybeWorse,
}

impl Finding {
    fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "",
            Self::Noise => "within noise",
            Self::Better => "better",
            Self::Worse => "worse",
            Self::MaybeBetter => "better?",
            Self::MaybeWorse => "worse?",
        }
    }
}

/// The smallest and the largest value of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Band {
    value: f64,
    low: f64,
    high: f64,
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

    /// All figures that any report has.
    fn rows(&self) -> Vec<Row> {
        let counts = COUNTS.iter().map(|(name, of, is_bad)| {
            let all: Vec<u64> = self.each(|report| of(&report.audit.counts));
            let finding = match (all.first(), all.last()) {
                (Some(0), Some(1..)) if *is_bad => Finding::Worse,
                (Some(1..), Some(0)) if *is_bad => Finding::Better,
                _ => Finding::Unknown,
            };
            let cell = |count: u64| Cell {
                value: grouped(count),
                band: None,
            };
            Row {
                name,
                cells: all.into_iter().map(cell).collect(),
                change: None,
                finding,
            }
        });
        let figures = FIGURES.iter().filter_map(|figure| self.figure(figure));
        counts.chain(figures).collect()
    }

    fn figure(&self, figure: &Figure) -> Option<Row> {
        let bands: Vec<Band> = self.each(|report| figure.band(report));
        if bands.iter().all(|band| band.value == 0.0) {
            return None;
        }
        let cells = bands.iter().zip(&self.reports).map(|(band, (_, report))| {
            let is_repeated = !report.repeats.is_empty();
            Cell {
                value: (figure.shown)(band.value),
                band: is_repeated.then(|| ((figure.shown)(band.low), (figure.shown)(band.high))),
            }
        });
        let (change, finding) = match bands.as_slice() {
            [first, .., last] => (
                (first.value > 0.0).then(|| (last.value / first.value - 1.0) * 100.0),
                self.finding(figure, *first, *last),
            ),
            _ => (None, Finding::Unknown),
        };
        Some(Row {
            name: figure.name,
            cells: cells.collect(),
            change,
            finding,
        })
    }

    fn finding(&self, figure: &Figure, first: Band, last: Band) -> Finding {
        if self.is_without_bands() {
            return Finding::Unknown;
        }
        let is_better = match (last.high < first.low, last.low > first.high) {
            (false, false) => return Finding::Noise,
            (lower, _) => lower != figure.more,
        };
        match (is_better, self.chance() > CHANCE) {
            (true, false) => Finding::Better,
            (false, false) => Finding::Worse,
            (true, true) => Finding::MaybeBetter,
            (false, true) => Finding::MaybeWorse,
        }
    }

    /// Whether a report is of a single run, so that nothing can be said to differ.
    fn is_without_bands(&self) -> bool {
        self.reports
            .iter()
            .any(|(_, report)| report.repeats.is_empty())
    }

    /// How often the bands of two servers that are alike lie apart: of all orders that the runs of
    /// both may have, two have the ones all below the others.
    fn chance(&self) -> f64 {
        let runs = self.each(|report| report.repeats.len());
        let (Some(&first), Some(&last)) = (runs.first(), runs.last()) else {
            return 1.0;
        };
        let orders: f64 = (1..=last)
            .map(|at| (first + at) as f64 / at as f64)
            .product();
        (2.0 / orders).min(1.0)
    }

    /// What a reader must know about the findings, if anything.
    fn caution(&self) -> Option<String> {
        if self.is_without_bands() {
            return Some("single runs have no noise bands; load --repeat 5 gives them".to_owned());
        }
        let chance = self.chance();
        (chance > CHANCE).then(|| {
            format!(
                "? ranges of so few runs lie apart by chance for {:.0} of 100 figures; load --repeat 5 makes that 1",
                chance * 100.0
            )
        })
    }

    /// A report in one line.
    fn title(file: &str, report: &Report) -> String {
        let (word, why) = report.conclusion();
        format!(
            "{file}: {} at scale {}, {}, {} x, {word}: {why}",
            report.scenario.name,
            factor(report.scenario.scale),
            report.target.name,
            report.repeats.len().max(1),
        )
    }

    fn each<T>(&self, of: impl Fn(&Report) -> T) -> Vec<T> {
        self.reports.iter().map(|(_, report)| of(report)).collect()
    }
}

fn same(first: &str, head: &Report, second: &str, report: &Report) -> Result<(), CompareError> {
    // What a scenario says is what counts; a file may have been renamed.
    let (subject, of): (_, fn(&Report) -> String) =
        if head.scenario.digest != report.scenario.digest {
            ("the scenario", |report| report.scenario.described())
        } else if head.scenario.scale != report.scenario.scale {
            ("the scale", |report| factor(report.scenario.scale))
        } else {
            return Ok(());
        };
    Err(CompareError::Differ {
        first: first.to_owned(),
        second: second.to_owned(),
        subject,
        before: of(head),
        after: of(report),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::join;
    use crate::report::testing::{broken, packed, sample};
    use touchstone_output::Style;

    /// A report of so many repetitions, slower by so many microseconds each.
    fn repeated(runs: u64, slower: u64) -> Report {
        let runs = (0..runs).map(|at| {
            let mut report = sample();
            report.started_at += at * 10_000;
            report.histograms.kinds.fanout.latency = packed(1_000 + slower + at * 50, 1, 100);
            report.summarize();
            report
        });
        join(runs.collect()).unwrap()
    }

    fn both(a: Report, b: Report) -> Comparison {
        Comparison::of(vec![("a.json".to_owned(), a), ("b.json".to_owned(), b)]).unwrap()
    }

    #[test]
    fn with_noise_bands() {
        insta::assert_snapshot!(both(repeated(5, 0), repeated(5, 900)).text(Style::Plain));
    }

    #[test]
    fn with_few_runs() {
        insta::assert_snapshot!(both(repeated(3, 0), repeated(3, 900)).text(Style::Plain));
    }

    #[test]
    fn without_noise_bands() {
        insta::assert_snapshot!(both(sample(), broken()).text(Style::Plain));
    }

    #[test]
    fn as_a_page() {
        let page = both(repeated(5, 0), repeated(5, 900)).html();
        let (_, body) = page.split_once("<main>").unwrap();
        let (body, _) = body.split_once("<h2>Curves").unwrap();
        insta::assert_snapshot!(body.replace("><", ">\n<"));
        assert_eq!(page.matches("<svg").count(), 2);
        assert!(!page.contains("src=") && !page.contains("href=") && !page.contains("<script"));
    }

    #[test]
    fn foreign_text_is_text() {
        let hostile = "<script>alert(1)</script>\u{1b}[2J";
        let mut report = sample();
        report.target.name = hostile.to_owned();
        report.failure = Some(hostile.to_owned());
        let all = vec![
            (hostile.to_owned(), report.clone()),
            ("b".to_owned(), report),
        ];
        let comparison = Comparison::of(all).unwrap();
        let (page, text) = (comparison.html(), comparison.text(Style::Plain));
        assert!(!page.contains("<script"), "{page}");
        assert!(
            !page.contains('\u{1b}') && !text.contains('\u{1b}'),
            "{text}"
        );
    }

    #[track_caller]
    fn check_band(runs: u64, slower: u64, expected: Finding) {
        let rows = both(repeated(runs, 1_000), repeated(runs, slower)).rows();
        let row = rows.iter().find(|row| row.name == "fanout p50 ms").unwrap();
        assert_eq!(row.finding, expected);
    }

    #[test]
    fn only_what_is_beyond_noise_differs() {
        // The medians of five repetitions span 200 µs.
        check_band(5, 1_000, Finding::Noise);
        check_band(5, 1_190, Finding::Noise);
        check_band(5, 1_300, Finding::Worse);
        check_band(5, 700, Finding::Better);
        check_band(2, 1_300, Finding::MaybeWorse);
        check_band(2, 700, Finding::MaybeBetter);
        check_band(1, 5_000, Finding::Unknown);
    }

    #[track_caller]
    fn check_chance(first: u64, last: u64, expected: f64) {
        let chance = both(repeated(first, 0), repeated(last, 0)).chance();
        assert!((chance - expected).abs() < 1e-9, "{chance}");
    }

    #[test]
    fn few_runs_lie_apart_by_chance() {
        check_chance(2, 2, 2.0 / 6.0);
        check_chance(3, 3, 2.0 / 20.0);
        check_chance(5, 5, 2.0 / 252.0);
        check_chance(2, 10, 2.0 / 66.0);
    }

    #[test]
    fn a_first_loss_is_worse_than_none() {
        let found = |a, b| {
            let rows = both(a, b).rows();
            rows.iter().find(|row| row.name == "lost").unwrap().finding
        };
        assert_eq!(found(sample(), broken()), Finding::Worse);
        assert_eq!(found(broken(), sample()), Finding::Better);
        assert_eq!(found(broken(), broken()), Finding::Unknown);
    }

    #[track_caller]
    fn check_worsened(first: Report, second: Report, expected: Option<Verdict>) {
        assert_eq!(both(first, second).worsened(), expected);
    }

    #[test]
    fn a_worse_verdict_is_told() {
        check_worsened(sample(), sample(), None);
        check_worsened(sample(), broken(), Some(Verdict::Misdelivered));
        check_worsened(broken(), sample(), None);
        check_worsened(broken(), broken(), None);
    }

    #[track_caller]
    fn check_other(change: fn(&mut Report), expected: Option<&str>) {
        let mut other = sample();
        change(&mut other);
        let all = vec![("a".to_owned(), sample()), ("b".to_owned(), other)];
        let error = Comparison::of(all).err().map(|error| error.to_string());
        let expected = expected
            .map(|subject| format!("a and b are not of the same load: {subject} in the other"));
        assert_eq!(error, expected);
    }

    #[test]
    fn other_work_is_not_compared() {
        check_other(
            |report| report.scenario.scale = 1.0,
            Some("the scale is 0.01 in the one and 1"),
        );
        check_other(
            |report| report.scenario.digest = "0123456789".to_owned(),
            Some("the scenario is production (c0ffeec0) in the one and production (01234567)"),
        );
        check_other(|report| report.scenario.name = "copy.toml".to_owned(), None);
        check_other(|report| report.seed += 1, None);
    }
}
