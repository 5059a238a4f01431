//! Writing a trace.

use std::io::{self, BufWriter, Write};

use super::{Header, Record, line::Line};

/// Writes a trace to anything, buffered and without tokens.
#[derive(Debug)]
pub struct Writer<W: Write> {
    out: BufWriter<W>,
}

impl<W: Write> Writer<W> {
    /// Begins a trace with its header.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(out: W, header: &Header) -> io::Result<Self> {
        let mut writer = Self {
            out: BufWriter::new(out),
        };
        writer.line(header)?;
        Ok(writer)
    }

    /// Adds a record.
    ///
    /// # Errors
    /// Those of the output, and arguments that are no JSON.
    pub fn write(&mut self, record: &Record) -> io::Result<()> {
        self.line(&Line::of(record)?)
    }

    /// Writes what is buffered and gives the output back. Without this, what is buffered is
    /// written on drop, and errors are lost.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        self.out
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    /// Those of the output.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Arguments are kept as they were sent, and may hold line breaks between their tokens, where a
    /// space means the same.
    fn line(&mut self, line: &impl serde::Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        for byte in &mut text {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        text.push(b'\n');
        self.out.write_all(&text)
    }
}
