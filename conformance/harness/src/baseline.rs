//! Baselines: failures that are known, each with its reason, so that a run can be green without hiding
//! what is new.
//!
//! A baseline forgives no more than it says: an entry names cases and the requirements that they may
//! break. It cannot rot unseen either: an entry that no longer fails, or that matches nothing, is told
//! and has an exit code of its own. Verdicts are never changed here; a known failure stays a failure.

use globset::{Glob, GlobMatcher};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::{
    case::Registry,
    event::{CaseReport, RunReport, StaleEntry},
    verdict::Verdict,
};

/// The value of `format` in a baseline.
const FORMAT: &str = "touchstone-baseline";

/// The version that is written, and the newest that is read.
const VERSION: u32 = 1;

/// How much of what was found a generated reason repeats, in characters.
const REASON_LENGTH: usize = 160;

/// What stands at the top of a generated file.
const PREAMBLE: &str = "\
# Known failures of `touchstone check --baseline FILE`. They are reported, and do not fail the run.
# An entry forgives the cases that match `case` (an id or a glob) for breaking `requirements`, or for
# whatever they break where that key is missing. Every entry says why in `reason`. An entry that no
# longer fails, or that matches nothing, ends the run with exit code 11, so that it gets removed.
";

/// The entries of all baseline files of a run.
#[derive(Debug, Clone, Default)]
pub struct Baseline {
    entries: Vec<Entry>,
}

/// Why a baseline cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BaselineError {
    /// It is no TOML, or not of this form.
    #[error("{file} is no baseline")]
    Syntax {
        /// The file.
        file: String,
        /// Where and what.
        source: Box<toml::de::Error>,
    },
    /// It is something else, or of a version that this program does not know.
    #[error(
        "{file} has format {format:?} version {version}; this program reads {FORMAT:?} version {VERSION}"
    )]
    Format {
        /// The file.
        file: String,
        /// What it says that it is.
        format: String,
        /// Its version.
        version: u32,
    },
    /// A pattern cannot be read.
    #[error("{file}:{line}: cannot read the pattern {pattern:?}")]
    Pattern {
        /// The file.
        file: String,
        /// The line of the entry.
        line: usize,
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        source: globset::Error,
    },
    /// An entry does not say why.
    #[error("{file}:{line}: the entry for {case:?} gives no reason")]
    Reason {
        /// The file.
        file: String,
        /// The line of the entry.
        line: usize,
        /// What the entry is for.
        case: String,
    },
}

#[derive(Debug, Clone)]
struct Entry {
    file: String,
    line: usize,
    cases: GlobMatcher,
    /// Empty: whatever breaks.
    requirements: Vec<String>,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: String,
    version: u32,
    #[serde(default)]
    known: Vec<Spanned<Known>>,
}

/// What a reader looks at first: another version may have other keys.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    format: String,
    #[serde(default)]
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    case: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    requirements: Vec<String>,
    reason: String,
}

impl Baseline {
    /// Adds the entries of one file, whose text is given.
    ///
    /// # Errors
    /// The text is no baseline; see [`BaselineError`].
    pub fn read(&mut self, file: &str, text: &str) -> Result<(), BaselineError> {
        let syntax = |source| BaselineError::Syntax {
            file: file.into(),
            source: Box::new(source),
        };
        let Head { format, version } = toml::from_str(text).map_err(syntax)?;
        if format != FORMAT || version != VERSION {
            return Err(BaselineError::Format {
                file: file.into(),
                format,
                version,
            });
        }
        let document: Document = toml::from_str(text).map_err(syntax)?;
        debug_assert_eq!(
            (document.format.as_str(), document.version),
            (FORMAT, VERSION)
        );
        for known in document.known {
            let line = 1 + text[..known.span().start].matches('\n').count();
            let Known {
                case,
                requirements,
                reason,
            } = known.into_inner();
            if reason.trim().is_empty() {
                return Err(BaselineError::Reason {
                    file: file.into(),
                    line,
                    case,
                });
            }
            let cases = match Glob::new(&case) {
                Ok(glob) => glob.compile_matcher(),
                Err(source) => {
                    let file = file.into();
                    return Err(BaselineError::Pattern {
                        file,
                        line,
                        pattern: case,
                        source,
                    });
                }
            };
            self.entries.push(Entry {
                file: file.into(),
                line,
                cases,
                requirements,
                reason,
            });
        }
        Ok(())
    }

    /// Marks the failures that are known, and gives the entries that have to go.
    pub fn apply(&self, reports: &mut [CaseReport], registry: Registry) -> Vec<StaleEntry> {
        for report in &mut *reports {
            report.known = self.reason_of(report);
        }
        let stale = |entry: &Entry| {
            Some(StaleEntry {
                file: entry.file.clone(),
                line: entry.line,
                case: entry.pattern().to_owned(),
                why: entry.stale(reports, registry)?,
            })
        };
        self.entries.iter().filter_map(stale).collect()
    }

    /// Whether all of this failure was expected.
    pub fn knows(&self, report: &CaseReport) -> bool {
        self.reason_of(report).is_some()
    }

    /// Why this failure was expected, if all of it was.
    fn reason_of(&self, report: &CaseReport) -> Option<String> {
        if report.verdict != Verdict::Fail {
            return None;
        }
        let mut reasons: Vec<&str> = Vec::new();
        for broken in failed_requirements(report) {
            let entry = self
                .entries
                .iter()
                .find(|entry| entry.forgives(report, broken))?;
            if !reasons.contains(&entry.reason.as_str()) {
                reasons.push(&entry.reason);
            }
        }
        Some(reasons.join("; "))
    }

    /// The text of a baseline for what `run` found: the entries so far that have not become stale, with
    /// their reasons, and one for each failure that none of them covers.
    pub fn refreshed(&self, run: &RunReport) -> Result<String, toml::ser::Error> {
        #[derive(Serialize)]
        struct File<'a> {
            format: &'a str,
            version: u32,
            known: Vec<Known>,
        }
        let is_stale = |entry: &Entry| {
            run.stale
                .iter()
                .any(|stale| stale.file == entry.file && stale.line == entry.line)
        };
        let kept = self
            .entries
            .iter()
            .filter(|entry| !is_stale(entry))
            .map(|entry| Known {
                case: entry.pattern().to_owned(),
                requirements: entry.requirements.clone(),
                reason: entry.reason.clone(),
            });
        let failed = run
            .cases
            .iter()
            .filter(|case| case.verdict == Verdict::Fail);
        let new = failed.filter(|case| case.known.is_none()).map(|case| {
            let mut requirements: Vec<_> =
                failed_requirements(case).map(ToOwned::to_owned).collect();
            requirements.sort();
            requirements.dedup();
            Known {
                case: case.id.to_owned(),
                requirements,
                reason: as_found(case),
            }
        });
        let known = kept.chain(new).collect();
        let text = toml::to_string(&File {
            format: FORMAT,
            version: VERSION,
            known,
        })?;
        Ok(format!("{PREAMBLE}\n{text}"))
    }
}

impl Entry {
    fn pattern(&self) -> &str {
        self.cases.glob().glob()
    }

    fn covers(&self, requirement: &str) -> bool {
        self.requirements.is_empty() || self.requirements.iter().any(|id| id == requirement)
    }

    fn forgives(&self, report: &CaseReport, requirement: &str) -> bool {
        self.cases.is_match(report.id) && self.covers(requirement)
    }

    /// Why the entry has to go. It stays while any case that it matches was not judged: an entry must not
    /// depend on what was selected, or on a run that was cut short.
    fn stale(&self, reports: &[CaseReport], registry: Registry) -> Option<String> {
        let matched: Vec<_> = registry
            .cases()
            .filter(|case| self.cases.is_match(case.id))
            .collect();
        if matched.is_empty() {
            return Some("it matches no case".into());
        }
        let unknown = self
            .requirements
            .iter()
            .find(|id| !registry.requirements().any(|known| known.id == **id));
        if let Some(id) = unknown {
            return Some(format!("there is no requirement {id}"));
        }
        let judged = matched.iter().all(|case| {
            reports
                .iter()
                .any(|report| report.id == case.id && was_judged(report.verdict))
        });
        let fails = reports.iter().any(|report| {
            report
                .broken()
                .any(|(requirement, _)| self.forgives(report, requirement.id))
        });
        (judged && !fails).then(|| "it no longer fails".into())
    }
}

fn was_judged(verdict: Verdict) -> bool {
    !matches!(verdict, Verdict::Skip | Verdict::Blocked | Verdict::Error)
}

/// The ids of the requirements that make a case fail.
fn failed_requirements(report: &CaseReport) -> impl Iterator<Item = &'static str> {
    report
        .findings
        .iter()
        .filter(|finding| finding.verdict() == Verdict::Fail)
        .map(|finding| finding.requirement.id)
}

/// The reason of a generated entry: what was seen, for the person who replaces it by the cause.
fn as_found(case: &CaseReport) -> String {
    let actual = case
        .broken()
        .next()
        .map_or("", |(_, mismatch)| mismatch.actual.as_str());
    let actual: String = touchstone_output::text::one_line(actual)
        .chars()
        .take(REASON_LENGTH)
        .collect();
    format!("not explained yet; got {actual}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        case::{Case, testing::REGISTRY},
        verdict::Finding,
    };

    fn case() -> &'static Case {
        REGISTRY
            .cases()
            .find(|case| case.requirements.len() == 1 && case.level() == crate::Level::Must)
            .unwrap()
    }

    fn report(case: &'static Case, verdict: Verdict) -> CaseReport {
        let finding = match verdict {
            Verdict::Fail => {
                Finding::broken(case.requirements[0], "one".into(), "two\nlines".into())
            }
            _ => Finding::held(case.requirements[0]),
        };
        CaseReport {
            findings: vec![finding],
            ..crate::report::testing::case(case.id, verdict, case.requirements[0])
        }
    }

    fn baseline(entries: &str) -> Baseline {
        let mut baseline = Baseline::default();
        let head = format!("format = {FORMAT:?}\nversion = {VERSION}\n");
        baseline
            .read("known.toml", &format!("{head}{entries}"))
            .unwrap();
        baseline
    }

    fn entry(case: &str, requirements: &str) -> String {
        format!("[[known]]\ncase = {case:?}\nreason = \"r\"\n{requirements}\n")
    }

    #[track_caller]
    fn check(entries: &str, verdict: Verdict, known: bool, stale: &[&str]) {
        let mut reports = [report(case(), verdict)];
        let found = baseline(entries).apply(&mut reports, REGISTRY);
        assert_eq!(reports[0].known.is_some(), known);
        assert_eq!(reports[0].verdict, verdict, "a baseline changes no verdict");
        let found: Vec<_> = found.iter().map(|stale| stale.why.as_str()).collect();
        assert_eq!(found, stale);
    }

    #[test]
    fn it_forgives_what_it_lists_and_tells_what_is_stale() {
        let id = case().id;
        let requirement = format!("requirements = [{:?}]", case().requirements[0].id);
        let other = REGISTRY
            .requirements()
            .find(|r| !std::ptr::eq(*r, case().requirements[0]))
            .unwrap();
        let other = format!("requirements = [{:?}]", other.id);
        use Verdict::{Blocked, Error, Fail, Pass, Skip};
        check("", Fail, false, &[]);
        check(&entry(id, ""), Fail, true, &[]);
        check(&entry(id, &requirement), Fail, true, &[]);
        check(&entry(id, &other), Fail, false, &["it no longer fails"]);
        check(&entry(id, ""), Pass, false, &["it no longer fails"]);
        for unjudged in [Skip, Blocked, Error] {
            check(&entry(id, ""), unjudged, false, &[]);
        }
        // Only one of all cases ran: what the others do is not known.
        check(&entry("*", ""), Fail, true, &[]);
        check(&entry("*", ""), Pass, false, &[]);
        check(
            &entry("no.such.case", ""),
            Pass,
            false,
            &["it matches no case"],
        );
        check(
            &entry(id, "requirements = [\"no.such\"]"),
            Fail,
            false,
            &["there is no requirement no.such"],
        );
    }

    #[track_caller]
    fn check_error(text: &str, parts: &[&str]) {
        let error = Baseline::default().read("known.toml", text).unwrap_err();
        let told = touchstone_output::text::error_chain(&error);
        for part in parts {
            assert!(told.contains(part), "no {part:?} in {told}");
        }
    }

    #[test]
    fn what_is_no_baseline_is_named_with_its_line() {
        let head = "format = \"touchstone-baseline\"\nversion = 1\n";
        check_error("nonsense", &["known.toml is no baseline", "line 1"]);
        check_error("", &["known.toml has format \"\"", "touchstone-baseline"]);
        check_error(
            "format = \"touchstone-baseline\"\nversion = 2",
            &["version 2", "version 1"],
        );
        check_error(&format!("{head}cases = []"), &["unknown field", "cases"]);
        check_error(
            &format!("{head}{}", entry("a[", "")),
            &["known.toml:3", "a["],
        );
        let silent = "[[known]]\ncase = \"a.b\"\nreason = \" \"";
        check_error(
            &format!("{head}{silent}"),
            &["known.toml:3", "a.b", "no reason"],
        );
    }

    #[test]
    fn a_written_baseline_forgives_what_was_found_and_keeps_reasons() {
        let mut reports = vec![report(case(), Verdict::Fail)];
        let before = baseline(&entry("no.such.case", ""));
        let stale = before.apply(&mut reports, REGISTRY);
        let run = RunReport {
            cases: reports,
            stale,
            ..crate::report::testing::report()
        };
        let text = before.refreshed(&run).unwrap();
        assert!(!text.contains("no.such.case"), "{text}");

        let mut after = Baseline::default();
        after.read("new.toml", &text).unwrap();
        let mut again = vec![report(case(), Verdict::Fail)];
        assert_eq!(after.apply(&mut again, REGISTRY), []);
        assert_eq!(
            again[0].known.as_deref(),
            Some(r"not explained yet; got two\nlines")
        );
        let run = RunReport {
            cases: again,
            ..crate::report::testing::report()
        };
        assert_eq!(
            after.refreshed(&run).unwrap(),
            text,
            "writing again changes nothing"
        );
    }
}
