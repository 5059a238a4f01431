//! Optimistic concurrency: who writes has to know the latest version.

use serde_json::{Value, json};

use super::Context;
use crate::builders::Versioned;
use crate::store::Cell;

/// What becomes of a write.
pub(crate) enum Write {
    /// It takes place, and this is what there is then.
    Next(Versioned),
    /// Its writer has not seen the latest version, which is this.
    Stale(Versioned),
}

impl Context<'_> {
    /// Whether a writer who expects a version has seen the latest one. Clients may send any number:
    /// what is not a version is simply not the current one.
    pub(crate) fn is_current(&self, version: i64, expected: f64) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "versions stay far below 2^53")]
        let current = version as f64;
        #[expect(clippy::float_cmp, reason = "a version matches exactly or not at all")]
        let right = current == expected;
        match &self.config.seams {
            Some(seams) => seams.is_current(current, expected, right),
            None => right,
        }
    }

    pub(crate) fn write(&self, cell: &Cell, value: Option<String>, expected: f64) -> Write {
        let version = i64::try_from(cell.version()).unwrap_or(i64::MAX);
        if !self.is_current(version, expected) {
            return Write::Stale(cell.versioned());
        }
        let right = cell.version() + 1;
        let seams = self.config.seams.as_ref();
        let version = seams.map_or(right, |seams| seams.next_version(cell.version(), right));
        Write::Next(Versioned { value, version })
    }
}

impl Write {
    /// What is answered to an event, with the value under this name.
    pub(super) fn answer(&self, field: &str) -> Value {
        let (result, now) = match self {
            Self::Next(now) => ("success", now),
            Self::Stale(now) => ("version-mismatch", now),
        };
        json!({ "result": result, "version": now.version, field: now.value })
    }
}
