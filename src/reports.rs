//! Where the reports of a run go: the terminal, files, and a progress line on stderr.
//!
//! A sink that fails (a full disk, a closed pipe) must not take the others with it: the run goes on,
//! and the failure is told at the end.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tempfile::NamedTempFile;
use tokio::time::Instant;
use touchstone_conformance::report::{Json, Style, Terminal};
use touchstone_conformance::{Reporter, RunEvent};

use crate::error::Failure;
use crate::exit::Exit;

const FORMATS: &str = "formats are json and pretty; write json=PATH, json=- or pretty";

/// How often progress is told where no line can be redrawn.
const PLAIN_PROGRESS: Duration = Duration::from_secs(5);

/// Every sink of a run.
pub(crate) struct Reports {
    sinks: Vec<Sink>,
    progress: Progress,
}

struct Sink {
    name: String,
    reporter: Box<dyn Reporter>,
    /// Moves a finished file to its place, so that a run which fails leaves the last report alone.
    publish: Option<Publish>,
    failed: Option<io::Error>,
}

struct Publish {
    temporary: NamedTempFile,
    path: PathBuf,
}

impl Reports {
    /// Opens a sink for each `FORMAT=PATH`. The report for people goes to stdout, or to stderr where
    /// stdout is taken by a machine's.
    ///
    /// # Errors
    /// An unknown format, or a file that cannot be opened.
    pub(crate) fn open(asked: &[String]) -> Result<Self, Failure> {
        let mut sinks = Vec::new();
        let mut stdout_is_taken = false;
        for text in asked {
            match text.split_once('=').unwrap_or((text, "")) {
                ("pretty", "" | "-") => {}
                ("json", "-") if stdout_is_taken => {
                    return Err(Failure::usage(anyhow!("two reports cannot both go to stdout")));
                }
                ("json", "-") => {
                    stdout_is_taken = true;
                    sinks.push(Sink::new("stdout", Box::new(Json::new(io::stdout()))));
                }
                ("json", path) if !path.is_empty() => sinks.push(Sink::json_file(path)?),
                _ => {
                    let error = anyhow!("cannot use the report {text:?}");
                    return Err(Failure::usage(error).hint(FORMATS));
                }
            }
        }
        sinks.push(if stdout_is_taken {
            let style = style(&io::stderr());
            Sink::new("stderr", Box::new(Terminal::new(io::stderr(), style)))
        } else {
            let style = style(&io::stdout());
            Sink::new("stdout", Box::new(Terminal::new(BufWriter::new(io::stdout()), style)))
        });
        Ok(Self { sinks, progress: Progress::new() })
    }

    /// Puts the files in their places and tells what could not be written.
    ///
    /// # Errors
    /// When any report is not complete.
    pub(crate) fn close(self) -> Result<(), Failure> {
        let mut first = None;
        for sink in self.sinks {
            let name = sink.name.clone();
            if let Err(error) = sink.close() {
                first.get_or_insert((name, error));
            }
        }
        let Some((name, error)) = first else { return Ok(()) };
        let error = anyhow::Error::from(error).context(format!("cannot write the report to {name}"));
        Err(Failure::expected(Exit::Incomplete, error))
    }
}

impl Reporter for Reports {
    fn event(&mut self, event: &RunEvent) -> io::Result<()> {
        self.progress.event(event);
        for sink in &mut self.sinks {
            if sink.failed.is_none() {
                sink.failed = sink.reporter.event(event).err();
            }
        }
        Ok(())
    }
}

impl Sink {
    fn new(name: &str, reporter: Box<dyn Reporter>) -> Self {
        Self { name: name.to_owned(), reporter, publish: None, failed: None }
    }

    fn json_file(path: &str) -> Result<Self, Failure> {
        let open = || -> io::Result<Self> {
            let target = Path::new(path);
            // A device or a pipe is written to as it is; it must not be replaced by a file.
            if target.exists() && !target.metadata()?.is_file() {
                let file = File::options().write(true).open(target)?;
                return Ok(Self::new(path, Box::new(Json::new(file))));
            }
            let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
            let temporary = NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
            let reporter = Box::new(Json::new(temporary.reopen()?));
            let publish = Some(Publish { temporary, path: target.to_owned() });
            Ok(Self { publish, ..Self::new(path, reporter) })
        };
        open().with_context(|| format!("cannot write the report to {path}")).map_err(Failure::usage)
    }

    fn close(self) -> io::Result<()> {
        match self.failed {
            // A reader that has seen enough (`| head`) is no error.
            Some(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            Some(error) => return Err(error),
            None => {}
        }
        if let Some(Publish { temporary, path }) = self.publish {
            // Temporary files are private; a report is as readable as any file that is made here.
            readable(temporary.as_file())?;
            temporary.persist(path)?;
        }
        Ok(())
    }
}

fn readable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

fn style(stream: &impl anstream::stream::RawStream) -> Style {
    match anstream::AutoStream::choice(stream) {
        anstream::ColorChoice::Never => Style::Plain,
        _ => Style::Coloured,
    }
}

/// A line on stderr that is no result.
pub(crate) fn notice(text: &str) {
    // Nobody is left to be told when stderr is gone.
    writeln!(anstream::stderr(), "{text}").ok();
}

/// How far the run is: a bar that is redrawn on a terminal, now and then a line elsewhere.
struct Progress {
    bar: Option<ProgressBar>,
    selected: usize,
    finished: usize,
    failed: usize,
    told: Instant,
}

impl Progress {
    fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:24} {pos}/{len} cases{msg}");
            ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr())
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar, selected: 0, finished: 0, failed: 0, told: Instant::now() }
    }

    fn event(&mut self, event: &RunEvent) {
        match event {
            RunEvent::Started { selected, .. } => {
                self.selected = *selected;
                if let Some(bar) = &self.bar {
                    bar.set_length(*selected as u64);
                }
            }
            RunEvent::CaseStarted { id, alone: true } => self.alone(id),
            RunEvent::CaseFinished(report) => {
                self.finished = (self.finished + 1).min(self.selected);
                self.failed += usize::from(report.broken().next().is_some());
                self.show();
            }
            RunEvent::Finished(_) => {
                if let Some(bar) = &self.bar {
                    bar.finish_and_clear();
                }
            }
            RunEvent::Spawned { .. } | RunEvent::CaseStarted { .. } | RunEvent::ServerDied { .. } => {}
        }
    }

    fn alone(&self, id: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!(", alone: {id}"));
        }
    }

    fn show(&mut self) {
        match &self.bar {
            Some(bar) => bar.set_position(self.finished as u64),
            None if self.told.elapsed() >= PLAIN_PROGRESS => {
                self.told = Instant::now();
                notice(&format!(
                    "{} of {} cases, {} with findings",
                    self.finished, self.selected, self.failed
                ));
            }
            None => {}
        }
    }
}
