//! Reading a trace.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use serde::Deserialize;

use super::{FORMAT, Header, Record, VERSION, line::Line};
use crate::error::excerpt;

/// The longest line that is read: a message of the largest size, and its surroundings.
const MAX_LINE: u64 = 64 << 20;

/// Why a trace cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The file cannot be opened.
    #[error("cannot open the file")]
    Open(#[source] io::Error),
    /// The input failed.
    #[error("cannot read line {line}")]
    Io {
        /// The line, from 1.
        line: usize,
        /// Why.
        source: io::Error,
    },
    /// The first line is no header of this format.
    #[error("not a {FORMAT} file: the first line is {found:?}")]
    NotATrace {
        /// The beginning of the line.
        found: String,
    },
    /// The trace is newer than this program.
    #[error("{FORMAT} version {found} is newer than {VERSION}, the newest that this program reads")]
    NewerVersion {
        /// The trace's version.
        found: u64,
    },
    /// A line is no record.
    #[error("line {line}: {problem}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
}

/// Reads a trace: the header first, then one record after the other. A line that is no record
/// is an error for that line; reading may go on after it.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    header: Header,
    line: usize,
    failed: bool,
}

/// What every version of the format begins with.
#[derive(Deserialize)]
struct AnyHeader {
    format: String,
    version: u64,
}

impl Reader<BufReader<File>> {
    /// Opens a file, and reads its header.
    ///
    /// # Errors
    /// The file cannot be opened or read, or is no trace that this program reads.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        Self::new(BufReader::new(File::open(path).map_err(TraceError::Open)?))
    }
}

impl<R: BufRead> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// The input fails, is no trace, or is a newer one.
    pub fn new(mut input: R) -> Result<Self, TraceError> {
        let first = read_line(&mut input, 1)?.unwrap_or_default();
        let not_a_trace = || TraceError::NotATrace {
            found: excerpt(&first, 60),
        };
        let any: AnyHeader = serde_json::from_str(&first).map_err(|_| not_a_trace())?;
        if any.format != FORMAT {
            return Err(not_a_trace());
        }
        if any.version > u64::from(VERSION) {
            return Err(TraceError::NewerVersion { found: any.version });
        }
        let header = serde_json::from_str(first.trim_end()).map_err(|error| TraceError::Line {
            line: 1,
            problem: without_line(&error),
        })?;
        Ok(Self {
            input,
            header,
            line: 1,
            failed: false,
        })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Record, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.failed {
                return None;
            }
            self.line += 1;
            let text = match read_line(&mut self.input, self.line) {
                Ok(text) => text?,
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            };
            if !text.trim().is_empty() {
                return Some(parse(&text, self.line));
            }
        }
    }
}

fn parse(text: &str, line: usize) -> Result<Record, TraceError> {
    let parsed: Result<Line, _> = serde_json::from_str(text.trim_end());
    let parsed = parsed.map_err(|error| TraceError::Line {
        line,
        problem: without_line(&error),
    })?;
    parsed.into_record().map_err(|key| TraceError::Line {
        line,
        problem: format!("missing {key}"),
    })
}

/// serde_json counts lines from the beginning of its text, which here is always one line.
fn without_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.replace(" at line 1 column ", " at column ")
}

fn read_line(input: &mut impl BufRead, line: usize) -> Result<Option<String>, TraceError> {
    let mut text = String::new();
    let read = Read::take(&mut *input, MAX_LINE)
        .read_line(&mut text)
        .map_err(|source| TraceError::Io { line, source })?;
    if read as u64 >= MAX_LINE {
        let source = io::Error::other(format!("it is longer than {MAX_LINE} bytes"));
        return Err(TraceError::Io { line, source });
    }
    Ok(Some(text).filter(|_| read > 0))
}
