//! Where the reports of a run go. Files are opened before the run, so that nobody waits for a report
//! which then cannot be written.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use anyhow::Context as _;
use touchstone_loadgen::report::{self, Report, Style};

use crate::error::Failure;
use crate::reports::{self, Place, Publish, Unwritten};

const FORMATS: &str = "formats are json, html, markdown, csv, svg, hgrm, hlog and pretty; write json=PATH, \
                       or json=- for stdout";

/// How a report becomes text.
type Render = fn(&Report) -> io::Result<String>;

/// Every sink of a run.
pub(super) struct Sinks {
    files: Vec<FileSink>,
    stdout: Option<Render>,
}

struct FileSink {
    path: String,
    render: Render,
    out: File,
    publish: Option<Publish>,
}

impl Sinks {
    /// Opens a sink for each `FORMAT=PATH`. The summary for people goes to stdout, or to stderr where
    /// stdout is taken by a machine's report.
    ///
    /// # Errors
    /// An unknown format, or a file that cannot be opened.
    pub(super) fn open(asked: &[String]) -> Result<Self, Failure> {
        let mut sinks = Self {
            files: Vec::new(),
            stdout: None,
        };
        for (render, place) in reports::asked_for(asked, FORMATS, render)? {
            match place {
                Place::Stdout => sinks.stdout = Some(render),
                Place::File(path) => {
                    let (out, publish) = reports::open(Path::new(path))
                        .with_context(|| format!("cannot write the report to {path}"))
                        .map_err(Failure::usage)?;
                    sinks.files.push(FileSink {
                        path: path.to_owned(),
                        render,
                        out,
                        publish,
                    });
                }
            }
        }
        Ok(sinks)
    }

    /// Writes every report. One that fails does not take the others with it.
    ///
    /// # Errors
    /// When any report is not complete.
    pub(super) fn write(self, report: &Report) -> Result<(), Failure> {
        let mut unwritten = Unwritten::default();
        for file in self.files {
            let path = file.path.clone();
            unwritten.note(&path, file.write(report));
        }
        match self.stdout {
            Some(render) => {
                unwritten.note(
                    "stdout",
                    render(report).and_then(|text| all(io::stdout(), &text)),
                );
                let text = report::summary(report, style(&io::stderr()));
                // Nobody is left to be told when stderr is gone.
                all(io::stderr(), &text).ok();
            }
            None => {
                let text = report::summary(report, style(&io::stdout()));
                unwritten.note("stdout", all(io::stdout(), &text));
            }
        }
        unwritten.told()
    }
}

impl FileSink {
    fn write(mut self, report: &Report) -> io::Result<()> {
        self.out.write_all((self.render)(report)?.as_bytes())?;
        self.publish.map_or(Ok(()), Publish::now)
    }
}

/// Writes all of a text. A reader that has seen enough (`| head`) is no error.
fn all(mut out: impl Write, text: &str) -> io::Result<()> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// What renders a format, or nothing where there is no such format.
fn render(format: &str) -> Option<Render> {
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

/// Whether a stream takes colours.
pub(super) fn style(stream: &impl anstream::stream::RawStream) -> Style {
    match anstream::AutoStream::choice(stream) {
        anstream::ColorChoice::Never => Style::Plain,
        _ => Style::Coloured,
    }
}
