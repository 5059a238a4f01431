//! Writing results to stdout and to files.

use std::io::{ErrorKind, Write as _};

use crate::error::Failure;
use crate::exit::Exit;

/// Prints a finished text to stdout and says that all went well.
///
/// A reader that has seen enough (`touchstone check --list | head`) is no error.
///
/// # Errors
/// When stdout cannot take the text, a full disk behind it for instance.
pub(crate) fn print(text: &str) -> Result<Exit, Failure> {
    let mut stdout = anstream::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Ok(()) => Ok(Exit::Passed),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Exit::Passed),
        Err(error) => {
            let error = anyhow::Error::from(error).context("cannot write to stdout");
            Err(Failure::expected(Exit::Incomplete, error))
        }
    }
}
