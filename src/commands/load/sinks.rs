//! The formats of a load's report.

use std::io;

use touchstone_loadgen::report::{self, Report};

use crate::error::Failure;
use crate::sinks::{Render, Sinks};

const FORMATS: &str = "formats are json, html, markdown, csv, svg, hgrm, hlog and pretty; write json=PATH, \
                       or json=- for stdout";

/// Opens a sink for each `FORMAT=PATH`.
///
/// # Errors
/// An unknown format, or a file that cannot be opened.
pub(super) fn open(asked: &[String]) -> Result<Sinks<Report>, Failure> {
    Sinks::open(asked, FORMATS, render)
}

/// Writes every report, and the summary for people.
///
/// # Errors
/// When any report is not complete.
pub(super) fn write(sinks: Sinks<Report>, report: &Report) -> Result<(), Failure> {
    sinks.write(report, report::summary)
}

/// What renders a format, or nothing where there is no such format.
fn render(format: &str) -> Option<Render<Report>> {
    Some(match format {
        "json" => |report| report.to_json().map_err(io::Error::other),
        "html" => |report| Ok(report::html(report)),
        "markdown" => |report| Ok(report::markdown(report)),
        "csv" => |report| Ok(report::csv(report)),
        "svg" => |report| Ok(report::svg(report)),
        "hgrm" => |report| Ok(report::hgrm(report)),
        "hlog" => report::hlog,
        _ => return None,
    })
}
