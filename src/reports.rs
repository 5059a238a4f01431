//! Where the reports of a run go: the terminal, files, and a progress line on stderr.
//!
//! A sink that fails (a full disk, a closed pipe) must not take the others with it: the run goes on,
//! and the failure is told at the end.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use tempfile::NamedTempFile;
use touchstone_harness::report::{
    BaselineFile, GitHub, Html, JUnit, Json, Markdown, Shows, Terminal,
};
use touchstone_harness::{Baseline, Reporter, RunEvent};
use touchstone_output::Style;

use crate::error::Failure;
use crate::exit::Exit;
use crate::logging;
use crate::progress::{self, Progress};
use touchstone_output::suggest::closest;

const FORMATS: &str = "formats are json, junit, markdown, html, github and pretty; write json=PATH, or json=- for stdout";

/// Where a report goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    Stdout,
    File(&'a str),
}

/// Takes each `FORMAT=PATH` apart; `FORMAT` alone means stdout. `renderer` knows the formats, and
/// `formats` tells them to people. `pretty` is what stdout gets anyway.
///
/// # Errors
/// There is no such format, or two reports would be written over each other.
pub(crate) fn asked_for<'a, R>(
    asked: &'a [String],
    formats: &str,
    renderer: impl Fn(&str) -> Option<R>,
) -> Result<Vec<(R, Place<'a>)>, Failure> {
    let mut all = Vec::new();
    let mut taken = BTreeSet::new();
    for text in asked {
        let (format, path) = text.split_once('=').unwrap_or((text, "-"));
        if (format, path) == ("pretty", "-") {
            continue;
        }
        let Some(renderer) = renderer(format).filter(|_| !path.is_empty()) else {
            let known = formats
                .split([',', ' ', ';'])
                .filter(|word| renderer(word).is_some());
            let meant = match closest(format, known) {
                Some(known) if known != format => format!("; did you mean {known}?"),
                _ => String::new(),
            };
            let error = anyhow!("cannot use the report {text:?}{meant}");
            return Err(Failure::usage(error).hint(formats));
        };
        let (place, name, file) = match path {
            "-" => (Place::Stdout, "stdout", Some(PathBuf::from("-"))),
            path => (Place::File(path), path, same_file(Path::new(path))),
        };
        if file.is_some_and(|file| !taken.insert(file)) {
            return Err(Failure::usage(anyhow!(
                "two reports cannot both go to {name}"
            )));
        }
        all.push((renderer, place));
    }
    Ok(all)
}

/// A name that two paths of one file have in common. Devices take as many reports as they get.
fn same_file(path: &Path) -> Option<PathBuf> {
    if path.exists() && !path.is_file() {
        return None;
    }
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
    match (folder, path.file_name()) {
        (Some(folder), Some(name)) => Some(folder.join(name)),
        _ => Some(path),
    }
}

/// The reports that could not be written, in full or at all.
#[derive(Debug, Default)]
pub(crate) struct Unwritten(Vec<(String, io::Error)>);

impl Unwritten {
    /// Remembers what became of a report.
    pub(crate) fn note(&mut self, what: String, written: io::Result<()>) {
        if let Err(error) = written {
            self.0.push((what, error));
        }
    }

    /// All of them in one error.
    ///
    /// # Errors
    /// When there is any.
    pub(crate) fn told(self) -> Result<(), Failure> {
        if self.0.is_empty() {
            return Ok(());
        }
        let each = self
            .0
            .iter()
            .map(|(what, error)| format!("{what}: {error}"));
        let all = each.collect::<Vec<_>>().join("; ");
        let error = anyhow!("cannot write {all}");
        Err(Failure::expected(Exit::Incomplete, error))
    }
}

/// Every sink of a run.
pub(crate) struct Reports {
    sinks: Vec<Sink>,
    /// Nothing where nobody wants to see it.
    progress: Option<Progress>,
}

/// Where a renderer writes to.
type Out = Box<dyn Write + Send>;

struct Sink {
    /// What it writes, and where.
    what: String,
    reporter: Box<dyn Reporter>,
    /// Moves a finished file to its place, so that a run which fails leaves the last report alone.
    publish: Option<Publish>,
    failed: Option<io::Error>,
}

/// A file that is written aside, and not yet in its place.
pub(crate) struct Publish {
    temporary: NamedTempFile,
    path: PathBuf,
}

impl Reports {
    /// Opens a sink for each `FORMAT=PATH`. The report for people goes to stdout, or to stderr where
    /// stdout is taken by a machine's.
    ///
    /// # Errors
    /// An unknown format, or a file that cannot be opened.
    pub(crate) fn open(asked: &[String], shows: Shows, quiet: bool) -> Result<Self, Failure> {
        let mut sinks = Vec::new();
        let mut stdout_is_taken = false;
        for (renderer, place) in asked_for(asked, FORMATS, renderer)? {
            match place {
                Place::File(path) => sinks.push(Sink::file("the report", path, renderer)?),
                Place::Stdout => {
                    stdout_is_taken = true;
                    sinks.push(Sink::new("stdout", renderer(Box::new(io::stdout()))));
                }
            }
        }
        sinks.push(if stdout_is_taken {
            let style = style(&io::stderr());
            let columns = columns(&io::stderr());
            let shows = Shows { columns, ..shows };
            Sink::new(
                "stderr",
                Box::new(Terminal::new(io::stderr(), style, shows)),
            )
        } else {
            let style = style(&io::stdout());
            let columns = columns(&io::stdout());
            let shows = Shows { columns, ..shows };
            let out = BufWriter::new(io::stdout());
            Sink::new("stdout", Box::new(Terminal::new(out, style, shows)))
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
        self.sinks.push(Sink::file("the baseline", path, |out| {
            Box::new(BaselineFile::new(out, known))
        })?);
        Ok(())
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
        let folder = folder.to_owned();
        self.sinks.push(Sink {
            what: format!("the traces to {shown}"),
            ..Sink::new("", Box::new(Traces { folder }))
        });
        Ok(())
    }

    /// Puts the files in their places and tells what could not be written.
    ///
    /// # Errors
    /// When any report is not complete.
    pub(crate) fn close(self) -> Result<(), Failure> {
        let mut unwritten = Unwritten::default();
        for sink in self.sinks {
            let what = sink.what.clone();
            unwritten.note(what, sink.close());
        }
        unwritten.told()
    }
}

impl Reporter for Reports {
    fn event(&mut self, event: &RunEvent) -> io::Result<()> {
        if let Some(progress) = &mut self.progress {
            progress.event(event);
        }
        progress::aside(|| {
            for sink in &mut self.sinks {
                if sink.failed.is_none() {
                    sink.failed = sink.reporter.event(event).err();
                }
            }
        });
        Ok(())
    }
}

impl Sink {
    fn new(place: &str, reporter: Box<dyn Reporter>) -> Self {
        Self {
            what: format!("the report to {place}"),
            reporter,
            publish: None,
            failed: None,
        }
    }

    fn file(
        kind: &str,
        path: &str,
        renderer: impl FnOnce(Out) -> Box<dyn Reporter>,
    ) -> Result<Self, Failure> {
        let what = format!("{kind} to {path}");
        let (out, publish) = open(Path::new(path))
            .with_context(|| format!("cannot write {what}"))
            .map_err(Failure::usage)?;
        Ok(Self {
            what,
            publish,
            ..Self::new(path, renderer(Box::new(out)))
        })
    }

    fn close(self) -> io::Result<()> {
        match self.failed {
            // A reader that has seen enough (`| head`) is no error.
            Some(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            Some(error) => return Err(error),
            None => {}
        }
        self.publish.map_or(Ok(()), Publish::now)
    }
}

impl Publish {
    /// Moves the file to its place.
    ///
    /// # Errors
    /// The place cannot be written to.
    pub(crate) fn now(self) -> io::Result<()> {
        // Temporary files are private; a report is as readable as any file that is made here.
        readable(self.temporary.as_file())?;
        self.temporary.persist(self.path)?;
        Ok(())
    }
}

/// Opens what a report is written to, and what puts it in its place when it is complete.
///
/// # Errors
/// The file cannot be opened, or its folder not be written to.
pub(crate) fn open(target: &Path) -> io::Result<(File, Option<Publish>)> {
    // A device or a pipe is written to as it is; it must not be replaced by a file.
    if target.exists() && !target.metadata()?.is_file() {
        return Ok((File::options().write(true).open(target)?, None));
    }
    let folder = target
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    // Otherwise the error would tell of a temporary file that nobody has asked for.
    folder.metadata()?;
    let temporary = NamedTempFile::new_in(folder)?;
    let out = temporary.reopen()?;
    Ok((
        out,
        Some(Publish {
            temporary,
            path: target.to_owned(),
        }),
    ))
}

/// Writes a finished text to a file, which is complete or not there.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write_file(path: &Path, text: &str) -> io::Result<()> {
    let (mut out, publish) = open(path)?;
    out.write_all(text.as_bytes())?;
    publish.map_or(Ok(()), Publish::now)
}

/// What renders a format, or nothing where there is no such format.
fn renderer(format: &str) -> Option<fn(Out) -> Box<dyn Reporter>> {
    Some(match format {
        "json" => |out| Box::new(Json::new(out)),
        "junit" => |out| Box::new(JUnit::new(out)),
        "markdown" => |out| Box::new(Markdown::new(out)),
        "html" => |out| Box::new(Html::new(out)),
        "github" => |out| Box::new(GitHub::new(out)),
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

fn readable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

/// Whether a stream takes colours.
pub(crate) fn style(stream: &impl anstream::stream::RawStream) -> Style {
    match anstream::AutoStream::choice(stream) {
        anstream::ColorChoice::Never => Style::Plain,
        _ => Style::Coloured,
    }
}

/// How many columns the terminal has that a stream goes to, if it goes to one.
pub(crate) fn columns(stream: &impl IsTerminal) -> Option<usize> {
    let size = stream
        .is_terminal()
        .then(|| crossterm::terminal::size().ok());
    size.flatten().map(|(columns, _)| usize::from(columns))
}

/// A line on stderr that is no result. Nothing is written across a screen: whoever draws it shows
/// what matters while it is there.
pub(crate) fn notice(text: &str) {
    progress::aside(|| {
        let mut stderr = anstream::stderr().lock();
        if logging::is_hushed() {
            return;
        }
        // Nobody is left to be told when stderr is gone.
        writeln!(stderr, "{text}").ok();
    });
}
