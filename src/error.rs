//! The one place where an error becomes a line on stderr and an exit code.

use std::io::Write as _;

use crate::exit::Exit;

/// Why a command could not do its work, with what a person can do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    error: anyhow::Error,
    hint: Option<String>,
}

impl Failure {
    /// Something that was asked for cannot be used: an argument, a file, an address.
    pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: Exit::Usage,
            error: error.into(),
            hint: None,
        }
    }

    /// An expected failure with an exit code of its own.
    pub(crate) fn expected(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit,
            error: error.into(),
            hint: None,
        }
    }

    /// Adds what a person can do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What went wrong, on one line.
    pub(crate) fn told(&self) -> String {
        format!("{:#}", self.error)
    }

    /// What went wrong and what can be done about it, on one line.
    pub(crate) fn advised(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{}; {hint}", self.told()),
            None => self.told(),
        }
    }

    /// Writes the error to stderr and returns the code to end with.
    pub(crate) fn report(&self) -> Exit {
        let mut stderr = anstream::stderr().lock();
        let style = anstyle::Style::new()
            .bold()
            .fg_color(Some(anstyle::AnsiColor::Red.into()));
        // Nothing is left to tell anyone if stderr is gone.
        writeln!(stderr, "{style}error{style:#}: {}", self.told()).ok();
        if let Some(hint) = &self.hint {
            writeln!(stderr, "hint: {hint}").ok();
        }
        if self.exit == Exit::Internal {
            writeln!(
                stderr,
                "this is a bug of touchstone, please report it with the command"
            )
            .ok();
        }
        self.exit
    }
}

/// What nobody expected is a bug of ours.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self {
            exit: Exit::Internal,
            error,
            hint: None,
        }
    }
}
