//! `touchstone compare`: put JSON reports side by side. Nothing is judged anew.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use anyhow::{Context as _, anyhow};
use serde_json::Value;
use touchstone_harness::{Comparison, Recorded};
use touchstone_loadgen::compare::Comparison as LoadComparison;
use touchstone_loadgen::report::{Report, Verdict, model::FORMAT};

use crate::args::CompareArguments;
use crate::error::Failure;
use crate::exit::Exit;
use crate::{output, reports};

/// Compares the reports that the arguments name. It fails like a check where a later report has
/// failures that the first one does not have, and is incomplete where a later one could not judge what
/// the first one could.
pub(crate) fn run(arguments: &CompareArguments) -> Result<Exit, Failure> {
    let page = arguments.report.as_deref().map(html_path).transpose()?;
    let files = arguments
        .files
        .iter()
        .map(|file| read(file))
        .collect::<Result<Vec<_>, _>>()?;
    if files.iter().any(|(_, text)| is_of_load(text)) {
        return loads(&files, page);
    }
    let recorded = files
        .iter()
        .map(|(name, text)| Recorded::read(name, text).map_err(Failure::usage))
        .collect::<Result<_, _>>()?;
    let comparison = Comparison::of(recorded);
    if let Some(path) = page {
        write(path, &comparison.html())?;
    }
    let mut text = Vec::new();
    comparison
        .text(&mut text, reports::style(&io::stdout()))
        .context("cannot write to memory")?;
    output::print(&String::from_utf8_lossy(&text))?;
    Ok(
        match (comparison.newly_failing(), comparison.newly_unjudged()) {
            (0, 0) => Exit::Passed,
            (0, _) => Exit::Incomplete,
            _ => Exit::Failures,
        },
    )
}

/// Compares reports of load. Figures decide nothing here; a run that ended worse than the first one
/// does.
fn loads(files: &[(String, String)], page: Option<&Path>) -> Result<Exit, Failure> {
    let reports = files
        .iter()
        .map(|(name, text)| {
            let report = Report::read(name, text).map_err(Failure::usage)?;
            Ok((name.clone(), report))
        })
        .collect::<Result<_, Failure>>()?;
    let comparison = LoadComparison::of(reports).map_err(Failure::usage)?;
    if let Some(path) = page {
        write(path, &comparison.html())?;
    }
    output::print(&comparison.text(reports::style(&io::stdout())))?;
    Ok(match comparison.worsened() {
        None | Some(Verdict::Passed) => Exit::Passed,
        Some(Verdict::Failed) => Exit::Unreachable,
        Some(Verdict::Invalid) => Exit::Invalid,
        Some(Verdict::Misdelivered | Verdict::Missed) => Exit::Objective,
        Some(Verdict::Interrupted) => Exit::Interrupted,
    })
}

/// Writes the page of a comparison.
fn write(path: &Path, page: &str) -> Result<(), Failure> {
    reports::write_file(path, page)
        .with_context(|| format!("cannot write the report to {}", path.display()))
        .map_err(
            |error| match error.downcast_ref::<io::Error>().map(io::Error::kind) {
                Some(ErrorKind::StorageFull) => Failure::expected(Exit::Incomplete, error),
                _ => Failure::usage(error),
            },
        )
}

/// Whether a file says that it is a report of load. What is no JSON is told by whoever reads it.
fn is_of_load(text: &str) -> bool {
    serde_json::from_str::<Value>(text).is_ok_and(|file| file["format"] == FORMAT)
}

/// The name and the text of a file.
fn read(file: &Path) -> Result<(String, String), Failure> {
    let name = file.display().to_string();
    let text = fs::read_to_string(file)
        .with_context(|| format!("cannot read {name}"))
        .map_err(Failure::usage)?;
    Ok((name, text))
}

fn html_path(report: &str) -> Result<&Path, Failure> {
    match report.split_once('=') {
        Some(("html", path)) if !matches!(path, "" | "-") => Ok(Path::new(path)),
        _ => Err(Failure::usage(anyhow!("cannot use the report {report:?}"))
            .hint("a comparison is written to stdout, and with html=PATH to a page")),
    }
}
