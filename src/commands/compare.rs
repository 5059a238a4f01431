//! `touchstone compare`: put JSON reports side by side. Nothing is judged anew.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use anyhow::{Context as _, anyhow};
use touchstone_conformance::{Comparison, Recorded};

use crate::args::CompareArguments;
use crate::error::Failure;
use crate::exit::Exit;
use crate::{output, reports};

/// Compares the reports that the arguments name. It fails like a check where a later report has
/// failures that the first one does not have, and is incomplete where a later one could not judge what
/// the first one could.
pub(crate) fn run(arguments: &CompareArguments) -> Result<Exit, Failure> {
    let page = arguments.report.as_deref().map(html_path).transpose()?;
    let recorded = arguments
        .files
        .iter()
        .map(|file| read(file))
        .collect::<Result<_, _>>()?;
    let comparison = Comparison::of(recorded);
    if let Some(path) = page {
        let write = reports::write_file(path, &comparison.html());
        write
            .with_context(|| format!("cannot write the report to {}", path.display()))
            .map_err(
                |error| match error.downcast_ref::<io::Error>().map(io::Error::kind) {
                    Some(ErrorKind::StorageFull) => Failure::expected(Exit::Incomplete, error),
                    _ => Failure::usage(error),
                },
            )?;
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

fn read(file: &Path) -> Result<Recorded, Failure> {
    let name = file.display().to_string();
    let text = fs::read_to_string(file)
        .with_context(|| format!("cannot read {name}"))
        .map_err(Failure::usage)?;
    Recorded::read(&name, &text).map_err(Failure::usage)
}

fn html_path(report: &str) -> Result<&Path, Failure> {
    match report.split_once('=') {
        Some(("html", path)) if !matches!(path, "" | "-") => Ok(Path::new(path)),
        _ => Err(Failure::usage(anyhow!("cannot use the report {report:?}"))
            .hint("a comparison is written to stdout, and with html=PATH to a page")),
    }
}
