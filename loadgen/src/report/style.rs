//! Colours of text reports, which whoever owns the terminal decides about.

use std::fmt::Display;

use anstyle::{AnsiColor, Style as Ansi};

/// Whether text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// For files, pipes and people who want none.
    Plain,
    /// For terminals.
    Coloured,
}

impl Style {
    fn paint(self, ansi: Ansi, text: impl Display) -> String {
        match self {
            Self::Plain => text.to_string(),
            Self::Coloured => format!("{ansi}{text}{ansi:#}"),
        }
    }

    pub(crate) fn bold(self, text: impl Display) -> String {
        self.paint(Ansi::new().bold(), text)
    }

    pub(crate) fn dim(self, text: impl Display) -> String {
        self.paint(Ansi::new().dimmed(), text)
    }

    pub(crate) fn good(self, text: impl Display) -> String {
        self.paint(AnsiColor::Green.on_default().bold(), text)
    }

    pub(crate) fn bad(self, text: impl Display) -> String {
        self.paint(AnsiColor::Red.on_default().bold(), text)
    }

    /// Bad where there is any, unremarkable otherwise.
    pub(crate) fn bad_if(self, bad: bool, text: impl Display) -> String {
        if bad {
            self.bad(text)
        } else {
            text.to_string()
        }
    }
}
