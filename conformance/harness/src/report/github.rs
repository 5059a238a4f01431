//! GitHub annotations: workflow commands that mark failures on the page of a workflow run.
//!
//! GitHub shows only the first ten errors and warnings of a step, so the worst come first and the counts
//! come as a notice of their own. A runner obeys every line that begins with `::`, so what a server said
//! is escaped as the commands ask for, and nothing else is written.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use super::{Gone, also, by_reason, clean, counts, one_line, plural, to_explain, told_elsewhere};
use crate::{
    event::{CaseReport, Reporter, RunReport},
    verdict::Verdict,
};

/// Writes GitHub annotations to `out` when the run is over.
#[derive(Debug)]
pub struct GitHub<W> {
    out: W,
}

impl<W: Write> GitHub<W> {
    /// Annotations that go to `out`, which has to end up in the log of the step.
    pub fn new(out: W) -> Self {
        Self { out }
    }

    fn annotate(&mut self, kind: &str, properties: &str, message: &str) -> io::Result<()> {
        writeln!(self.out, "::{kind} {properties}::{}", data(message))
    }
}

/// What there is to say about a case on one annotation.
fn told(case: &CaseReport) -> String {
    let mut text = String::new();
    for (finding, mismatch) in case.told() {
        let requirement = finding.requirement;
        let _ = writeln!(
            text,
            "{} {}: {}",
            requirement.level, requirement.id, requirement.text
        );
        let _ = writeln!(text, "expected {}", mismatch.expected);
        let _ = writeln!(text, "got {}", mismatch.actual);
        if let Some(also) = also(finding) {
            let _ = writeln!(text, "{also}");
        }
    }
    for line in told_elsewhere(case) {
        let _ = writeln!(text, "{line}");
    }
    let reasons = case.known.iter().chain(&case.reason).chain(&case.notes);
    for reason in reasons {
        let _ = writeln!(text, "{reason}");
    }
    if let Some(cause) = case.cause() {
        let _ = writeln!(text, "typical cause: {cause}");
    }
    let _ = write!(text, "repeat with: {}", case.reproduce);
    if !case.trace.is_empty() {
        let _ = write!(text, "\nlook at it with: {}", case.look());
    }
    text
}

/// The message of a command: `%` and line ends are escaped by the runner's rules.
fn data(text: &str) -> String {
    clean(text).replace('%', "%25").replace('\n', "%0A")
}

/// The value of a property, which ends at a comma or colon.
fn property(text: &str) -> String {
    one_line(text)
        .replace('%', "%25")
        .replace(':', "%3A")
        .replace(',', "%2C")
}

impl<W: Write + Send> Reporter for GitHub<W> {
    fn finished(&mut self, run: &RunReport) -> io::Result<()> {
        for entry in &run.stale {
            let title = property("stale baseline entry");
            let properties = format!(
                "file={},line={},title={title}",
                property(&entry.file),
                entry.line
            );
            self.annotate(
                "error",
                &properties,
                &format!("{}: {}", entry.case, entry.why),
            )?;
        }
        for case in to_explain(run) {
            let (kind, word) = match case.verdict {
                Verdict::Fail if case.known.is_some() => ("notice", "known failure"),
                Verdict::Warn if case.flaky => ("warning", "flaky"),
                Verdict::Warn => ("warning", "warned"),
                Verdict::Fail => ("error", "failed"),
                _ => ("error", "error"),
            };
            let title = property(&format!("{} {word}", case.id));
            self.annotate(kind, &format!("title={title}"), &told(case))?;
        }
        for (reason, ids) in by_reason(&run.cases, Verdict::Blocked) {
            let title = property(&format!("blocked: {}", plural(ids.len(), "case")));
            let message = format!("{reason}\n{}", ids.join(", "));
            self.annotate("error", &format!("title={title}"), &message)?;
        }
        if let Some(hardly) = run.summary.hardly_judged() {
            self.annotate("error", "title=incomplete", &hardly)?;
        }
        if let Some(gone) = Gone::of(run) {
            let title = property(&gone.headline());
            let mut message = gone.hint();
            if !gone.during.is_empty() {
                message = format!("ran then: {}\n{message}", gone.suspects());
            }
            if let Some(suspect) = gone.suspect() {
                message = format!("{suspect}\n{message}");
            }
            self.annotate("error", &format!("title={title}"), &message)?;
        }
        let title = property(&format!("touchstone: {}", run.target.name));
        self.annotate("notice", &format!("title={title}"), &counts(&run.summary))?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing;

    #[test]
    fn snapshot() {
        insta::assert_snapshot!(testing::render(GitHub::new));
    }

    #[test]
    fn every_line_is_a_command_of_ours() {
        for line in testing::render_hostile(GitHub::new).lines() {
            let kind = line
                .strip_prefix("::")
                .and_then(|rest| rest.split_once(' '));
            let kind = kind.map(|(kind, _)| kind);
            assert!(
                matches!(kind, Some("error" | "warning" | "notice")),
                "{line}"
            );
        }
    }
}
