//! `touchstone load merge`: the reports of all shards become the report of the whole.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use touchstone_loadgen::merge::merge;
use touchstone_loadgen::report::{Report, Verdict};

use crate::args::LoadMergeArguments;
use crate::error::Failure;
use crate::exit::Exit;

use super::sinks;

/// Merges the reports that the arguments name, and ends as the whole run would have ended.
pub(super) fn run(arguments: &LoadMergeArguments) -> Result<Exit, Failure> {
    let reports = arguments
        .files
        .iter()
        .map(|file| read(file))
        .collect::<Result<Vec<_>, _>>()?;
    let sum = merge(reports).map_err(Failure::usage)?;
    sinks::write(sinks::open(&arguments.output.report)?, &sum)?;
    Ok(match sum.verdict() {
        Verdict::Failed => Exit::Unreachable,
        Verdict::Invalid => Exit::Invalid,
        Verdict::Misdelivered | Verdict::Missed => Exit::Objective,
        Verdict::Interrupted => Exit::Interrupted,
        Verdict::Passed => Exit::Passed,
    })
}

fn read(file: &Path) -> Result<(String, Report), Failure> {
    let name = file.display().to_string();
    let text = fs::read_to_string(file)
        .with_context(|| format!("cannot read {name}"))
        .map_err(Failure::usage)?;
    let report = Report::read(&name, &text).map_err(Failure::usage)?;
    Ok((name, report))
}
