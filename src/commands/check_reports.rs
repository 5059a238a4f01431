//! The reports of `touchstone check`: the terminal, files, and a progress line on stderr.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use touchstone_harness::report::{
    BaselineFile, GitHub, Html, JUnit, Json, Markdown, Shows, Terminal,
};
use touchstone_harness::{Baseline, Reporter, RunEvent};

use crate::error::Failure;
use crate::progress::{self, Progress};
use crate::sinks::{Out, Sinks, Writer};

const FORMATS: &str = "formats are json, junit, markdown, html, github and pretty; write json=PATH, or json=- for stdout";

/// Every report of a run.
pub(crate) struct Reports {
    sinks: Sinks<RunEvent>,
    /// Nothing where nobody wants to see it.
    progress: Option<Progress>,
}

impl Reports {
    /// Opens a sink for each `FORMAT=PATH`, and the report for people.
    ///
    /// # Errors
    /// An unknown format, or a file that cannot be opened.
    pub(crate) fn open(asked: &[String], shows: Shows, quiet: bool) -> Result<Self, Failure> {
        let mut sinks = Sinks::of_run(asked, FORMATS, renderer)?;
        sinks.for_people(|out, style, columns| {
            let shows = Shows { columns, ..shows };
            writer(Terminal::new(out, style, shows))
        });
        Ok(Self {
            sinks,
            progress: (!quiet).then(Progress::new),
        })
    }

    /// Also writes what fails to a baseline, which takes over from `known` what still holds.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(crate) fn write_baseline(&mut self, path: &str, known: Baseline) -> Result<(), Failure> {
        let baseline = |out| writer(BaselineFile::new(out, known));
        self.sinks.file("the baseline", path, baseline)
    }

    /// Also writes the wire trace of each case to a folder, which is made where it is missing.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub(crate) fn write_traces(&mut self, folder: &Path) -> Result<(), Failure> {
        let shown = folder.display();
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {shown}"))
            .map_err(Failure::usage)?;
        let traces = writer(Traces {
            folder: folder.to_owned(),
        });
        self.sinks.add(format!("the traces to {shown}"), traces);
        Ok(())
    }

    /// Puts the files in their places and tells what could not be written.
    ///
    /// # Errors
    /// When any report is not complete.
    pub(crate) fn close(self) -> Result<(), Failure> {
        self.sinks.close()
    }
}

impl Reporter for Reports {
    fn event(&mut self, event: &RunEvent) -> io::Result<()> {
        if let Some(progress) = &mut self.progress {
            progress.event(event);
        }
        progress::aside(|| self.sinks.take(event));
        Ok(())
    }
}

fn writer(mut reporter: impl Reporter + 'static) -> Writer<RunEvent> {
    Box::new(move |event| reporter.event(event))
}

/// What renders a format, or nothing where there is no such format.
fn renderer(format: &str) -> Option<fn(Out) -> Writer<RunEvent>> {
    Some(match format {
        "json" => |out| writer(Json::new(out)),
        "junit" => |out| writer(JUnit::new(out)),
        "markdown" => |out| writer(Markdown::new(out)),
        "html" => |out| writer(Html::new(out)),
        "github" => |out| writer(GitHub::new(out)),
        _ => return None,
    })
}

/// Writes the wire trace of each case to a file of its own.
struct Traces {
    folder: PathBuf,
}

impl Reporter for Traces {
    fn event(&mut self, event: &RunEvent) -> io::Result<()> {
        match event {
            RunEvent::CaseFinished(case) => match &case.recording {
                Some(text) => {
                    let file = format!("{}.jsonl", case.id);
                    fs::write(self.folder.join(&file), text)
                        .map_err(|error| io::Error::new(error.kind(), format!("{file}: {error}")))
                }
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}
