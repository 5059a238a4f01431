//! A value that is only written by those who have seen its latest version (`expectedVersion`).

use crate::builders::Versioned;
use crate::faults::{Fault, Faults};

/// A value and how often it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    value: Option<String>,
    version: u64,
}

impl Cell {
    pub(crate) fn new(value: Option<String>, version: u64) -> Self {
        Self { value, version }
    }

    pub(crate) fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }

    pub(crate) fn version(&self) -> u64 {
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

    /// Whether a writer who expects this version has seen the latest one. Clients may send any
    /// number: what is no version is simply not the current one.
    pub(crate) fn is_current(&self, expected: f64, faults: &Faults) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "versions stay far below 2^53")]
        let current = self.version as f64;
        #[expect(clippy::float_cmp, reason = "a version matches exactly or not at all")]
        let is_same = current == expected;
        is_same
            || faults.on(Fault::StaleAccept)
            || faults.on(Fault::FutureAccept) && expected > current
            || faults.on(Fault::FractionAccept) && expected > current && expected < current + 1.0
            || faults.on(Fault::NegativeAccept) && expected < 0.0
            || faults.on(Fault::TwoWinners) && expected >= current - 1.0 && expected <= current
    }

    /// Counts a change of another cell as one of this, for the fault that has one version for both.
    pub(crate) fn raise(&mut self) {
        self.version += 1;
    }

    /// Writes, whatever the version is. Who calls this has asked [`Cell::is_current`] before.
    pub(crate) fn write(&mut self, value: Option<String>, faults: &Faults) {
        self.value = value;
        self.version += match () {
            () if faults.on(Fault::VersionPlusTwo) => 2,
            () if faults.on(Fault::VersionStuck) => 0,
            () => 1,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expected: f64, is_current: bool) {
        let cell = Cell::new(Some("x".to_owned()), 4);
        assert_eq!(
            cell.is_current(expected, &Faults::default()),
            is_current,
            "{expected}"
        );
    }

    #[test]
    fn only_the_latest_version_is_current() {
        check(4.0, true);
        for other in [3.0, 5.0, -1.0, 4.5, 0.0, f64::NAN, f64::INFINITY] {
            check(other, false);
        }
    }
}
