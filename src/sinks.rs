//! What a run writes to: each report that is asked for, and what is for people. Files are opened before the
//! run, so that nobody waits for a report which then cannot be written.
//!
//! A sink that fails (a full disk, a closed pipe) must not take the others with it: the run goes on,
//! and the failure is told at the end.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::Path;

use anyhow::Context as _;
use touchstone_output::Style;

use crate::error::Failure;
use crate::reports::{self, Place, Publish, Unwritten, columns, style};

/// Where a renderer writes to.
pub(crate) type Out = Box<dyn Write + Send>;

/// Writes what happens in a run, or its finished report, which is one thing that happens at its end.
pub(crate) type Writer<E> = Box<dyn FnMut(&E) -> io::Result<()> + Send>;

/// How a finished report `R` becomes text.
pub(crate) type Render<R> = fn(&R) -> io::Result<String>;

/// Every sink of a run in which things of the type `E` happen.
pub(crate) struct Sinks<E> {
    all: Vec<Sink<E>>,
    stdout_is_taken: bool,
}

struct Sink<E> {
    /// What it writes, and where.
    what: String,
    writer: Writer<E>,
    /// Moves a finished file to its place, so that a run which fails leaves the last report alone.
    publish: Option<Publish>,
    failed: Option<io::Error>,
}

impl<E> Sinks<E> {
    /// Opens a sink for each `FORMAT=PATH`. `renderer` knows the formats, and `formats` tells them to
    /// people.
    ///
    /// # Errors
    /// An unknown format, or a file that cannot be opened.
    pub(crate) fn of_run<W: FnOnce(Out) -> Writer<E>>(
        asked: &[String],
        formats: &str,
        renderer: impl Fn(&str) -> Option<W>,
    ) -> Result<Self, Failure> {
        let mut sinks = Self {
            all: Vec::new(),
            stdout_is_taken: false,
        };
        for (writer, place) in reports::asked_for(asked, formats, renderer)? {
            match place {
                Place::File(path) => sinks.file("the report", path, writer)?,
                Place::Stdout => {
                    sinks.stdout_is_taken = true;
                    let out = writer(Box::new(io::stdout()));
                    sinks.add("the report to stdout".to_owned(), out);
                }
            }
        }
        Ok(sinks)
    }

    /// Adds a file.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(crate) fn file(
        &mut self,
        kind: &str,
        path: &str,
        writer: impl FnOnce(Out) -> Writer<E>,
    ) -> Result<(), Failure> {
        let what = format!("{kind} to {path}");
        let (out, publish) = reports::open(Path::new(path))
            .with_context(|| format!("cannot write {what}"))
            .map_err(Failure::usage)?;
        self.all.push(Sink {
            what,
            writer: writer(Box::new(out)),
            publish,
            failed: None,
        });
        Ok(())
    }

    /// Adds what people read. It goes to stdout, or to stderr where stdout is taken by a machine's report,
    /// and knows the columns of its terminal if it goes to one.
    pub(crate) fn for_people(&mut self, writer: impl FnOnce(Out, Style, Option<usize>) -> Writer<E>)
    where
        E: 'static,
    {
        if self.stdout_is_taken {
            let err = io::stderr();
            let mut writer = writer(Box::new(io::stderr()), style(&err), columns(&err));
            let lenient = move |event: &E| {
                // Nobody is left to be told when stderr is gone.
                writer(event).ok();
                Ok(())
            };
            self.add("the report to stderr".to_owned(), Box::new(lenient));
        } else {
            let out = io::stdout();
            let writer = writer(
                Box::new(BufWriter::new(io::stdout())),
                style(&out),
                columns(&out),
            );
            self.add("the report to stdout".to_owned(), writer);
        }
    }

    /// Adds what writes to somewhere else; `what` says what and where.
    pub(crate) fn add(&mut self, what: String, writer: Writer<E>) {
        self.all.push(Sink {
            what,
            writer,
            publish: None,
            failed: None,
        });
    }

    /// Writes what happened to each sink that has not failed.
    pub(crate) fn take(&mut self, event: &E) {
        for sink in self.all.iter_mut().filter(|sink| sink.failed.is_none()) {
            sink.failed = (sink.writer)(event).err();
        }
    }

    /// Puts the files in their places and tells what could not be written.
    ///
    /// # Errors
    /// When any report is not complete.
    pub(crate) fn close(self) -> Result<(), Failure> {
        let mut unwritten = Unwritten::default();
        for Sink {
            what,
            writer,
            publish,
            failed,
        } in self.all
        {
            // What it has buffered is written first.
            drop(writer);
            let written = match failed {
                // A reader that has seen enough (`| head`) is no error.
                Some(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
                Some(error) => Err(error),
                None => publish.map_or(Ok(()), Publish::now),
            };
            unwritten.note(what, written);
        }
        unwritten.told()
    }
}

impl<R: 'static> Sinks<R> {
    /// As [`Self::of_run`], for what has nothing to write before its report is finished.
    ///
    /// # Errors
    /// An unknown format, or a file that cannot be opened.
    pub(crate) fn open(
        asked: &[String],
        formats: &str,
        render: impl Fn(&str) -> Option<Render<R>>,
    ) -> Result<Self, Failure> {
        Self::of_run(asked, formats, |format| {
            let render = render(format)?;
            Some(move |out| text(out, render))
        })
    }

    /// Writes every report, and the summary for people.
    ///
    /// # Errors
    /// When any report is not complete.
    pub(crate) fn write(
        mut self,
        report: &R,
        summary: fn(&R, Style, Option<usize>) -> String,
    ) -> Result<(), Failure> {
        self.for_people(|out, style, columns| {
            text(out, move |report: &R| Ok(summary(report, style, columns)))
        });
        self.take(report);
        self.close()
    }
}

/// Writes a text to `out`, all of it.
fn text<R>(mut out: Out, render: impl Fn(&R) -> io::Result<String> + Send + 'static) -> Writer<R> {
    Box::new(move |report| {
        out.write_all(render(report)?.as_bytes())?;
        out.flush()
    })
}
