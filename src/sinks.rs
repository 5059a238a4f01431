//! Where the reports of a finished run go. Files are opened before the run, so that nobody waits for a
//! report which then cannot be written.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use anyhow::Context as _;
use touchstone_output::Style;

use crate::error::Failure;
use crate::reports::{self, Place, Publish, Unwritten, columns, style};

/// How a report `R` becomes text.
pub(crate) type Render<R> = fn(&R) -> io::Result<String>;

/// Every sink of a run.
pub(crate) struct Sinks<R> {
    files: Vec<FileSink<R>>,
    stdout: Option<Render<R>>,
}

struct FileSink<R> {
    path: String,
    render: Render<R>,
    out: File,
    publish: Option<Publish>,
}

impl<R> Sinks<R> {
    /// Opens a sink for each `FORMAT=PATH`. `render` knows the formats, and `formats` tells them to
    /// people. The summary for people goes to stdout, or to stderr where stdout is taken by a machine's
    /// report.
    ///
    /// # Errors
    /// An unknown format, or a file that cannot be opened.
    pub(crate) fn open(
        asked: &[String],
        formats: &str,
        render: impl Fn(&str) -> Option<Render<R>>,
    ) -> Result<Self, Failure> {
        let mut sinks = Self {
            files: Vec::new(),
            stdout: None,
        };
        for (render, place) in reports::asked_for(asked, formats, render)? {
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

    /// Writes every report, and the summary for people, which knows the columns of its terminal if it
    /// goes to one. One that fails does not take the others with it.
    ///
    /// # Errors
    /// When any report is not complete.
    pub(crate) fn write(
        self,
        report: &R,
        summary: impl Fn(&R, Style, Option<usize>) -> String,
    ) -> Result<(), Failure> {
        let mut unwritten = Unwritten::default();
        for file in self.files {
            let what = format!("the report to {}", file.path);
            unwritten.note(what, file.write(report));
        }
        match self.stdout {
            Some(render) => {
                unwritten.note(
                    "the report to stdout".to_owned(),
                    render(report).and_then(|text| all(io::stdout(), &text)),
                );
                let text = summary(report, style(&io::stderr()), columns(&io::stderr()));
                // Nobody is left to be told when stderr is gone.
                all(io::stderr(), &text).ok();
            }
            None => {
                let text = summary(report, style(&io::stdout()), columns(&io::stdout()));
                unwritten.note("the report to stdout".to_owned(), all(io::stdout(), &text));
            }
        }
        unwritten.told()
    }
}

impl<R> FileSink<R> {
    fn write(mut self, report: &R) -> io::Result<()> {
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
