//! How the program ends: the one list of exit codes, which the README repeats as a table.

use std::process::ExitCode;

/// What the caller of the program learns from its end. Scripts rely on the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything that is required passed.
    Passed = 0,
    /// A bug of ours.
    Internal = 1,
    /// Arguments, a file or an address that cannot be used.
    Usage = 2,
    /// The server under test cannot be reached or is not ready to be judged.
    Unreachable = 3,
    /// The selection matches no case.
    NothingSelected = 4,
    /// The server violates a requirement of level MUST.
    Failures = 10,
    /// A baseline has entries that no longer fail, or that match nothing.
    Baseline = 11,
    /// Something could not be executed, or a report could not be written.
    Incomplete = 12,
    /// A load run missed an objective.
    Objective = 20,
    /// The load was not what was planned, so that latencies and rates are of another load.
    Invalid = 21,
    /// Ended by the user before the end; what ran is reported.
    Interrupted = 130,
}

#[cfg(test)]
impl Exit {
    const ALL: [(Self, &str); 11] = [
        (Self::Passed, "everything required passed"),
        (Self::Internal, "internal error, a bug of touchstone"),
        (Self::Usage, "usage or configuration error"),
        (
            Self::Unreachable,
            "server under test unreachable or not ready",
        ),
        (Self::NothingSelected, "nothing selected"),
        (Self::Failures, "conformance failures"),
        (Self::Baseline, "stale or unmatched baseline entry"),
        (
            Self::Incomplete,
            "incomplete run: something could not be executed or written",
        ),
        (Self::Objective, "an SLO was crossed"),
        (
            Self::Invalid,
            "load run invalid: the load was not what was planned",
        ),
        (
            Self::Interrupted,
            "interrupted; a report of what ran is still written",
        ),
    ];
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::Exit;

    #[test]
    fn the_readme_lists_exactly_these_codes() {
        let listed: Vec<String> = include_str!("../README.md")
            .lines()
            .filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit())
            .map(str::to_owned)
            .collect();
        let expected: Vec<String> = Exit::ALL
            .iter()
            .map(|(exit, meaning)| format!("| {} | {meaning} |", *exit as u8))
            .collect();
        assert_eq!(listed, expected);
    }
}
