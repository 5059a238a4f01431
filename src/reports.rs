//! Where reports go: stdout, and files, which are complete or not there.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use tempfile::NamedTempFile;
use touchstone_output::Style;

use crate::error::Failure;
use crate::exit::Exit;
use crate::logging;
use crate::progress;
use touchstone_output::suggest::closest;

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

/// A file that is written aside, and not yet in its place.
pub(crate) struct Publish {
    temporary: NamedTempFile,
    path: PathBuf,
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
