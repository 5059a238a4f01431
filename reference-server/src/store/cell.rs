//! A value that is only written by those who have seen its latest version (`expectedVersion`).

use crate::builders::Versioned;

/// A value and how often it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    value: Option<String>,
    version: u64,
}

impl Cell {
    /// A value that was written so often.
    #[must_use]
    pub fn new(value: Option<String>, version: u64) -> Self {
        Self { value, version }
    }

    /// The value now.
    #[must_use]
    pub fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }

    /// How often it was written.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The value where the interface never has null.
    pub(crate) fn text(&self) -> String {
        self.value.clone().unwrap_or_default()
    }

    /// Value and version, as update bodies carry them.
    pub(crate) fn versioned(&self) -> Versioned {
        Versioned {
            value: self.value.clone(),
            version: self.version,
        }
    }
}
