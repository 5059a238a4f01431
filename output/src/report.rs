//! Reading JSON reports back, and comparing them: what all reports of touchstone have in common is
//! their beginning, `{"format": "touchstone-…", "version": 1, …}`.
//!
//! This module must not know what any report holds beyond that.

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Why a text is no report of the wanted kind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// It is no JSON, or its keys are not those of a report.
    #[error("{file} is no {wanted} report")]
    Unreadable {
        /// The file.
        file: String,
        /// The format that was asked for.
        wanted: &'static str,
        /// Where and what.
        source: serde_json::Error,
    },
    /// It is something else.
    #[error("{file} is {}, not a {wanted} report", what(format))]
    Format {
        /// The file.
        file: String,
        /// The format that was asked for.
        wanted: &'static str,
        /// What it says that it is.
        format: String,
    },
    /// It is newer than this program.
    #[error("{file} has version {version}; this program reads {wanted} up to version {newest}")]
    Newer {
        /// The file.
        file: String,
        /// The format that was asked for.
        wanted: &'static str,
        /// Its version.
        version: u64,
        /// The newest that can be read.
        newest: u32,
    },
}

fn what(format: &str) -> String {
    if format.is_empty() {
        "something without a format".to_owned()
    } else {
        format!("a {format:?} file")
    }
}

/// Reads a report of the `wanted` format, up to the version `newest`; `file` names it in errors.
///
/// # Errors
/// It is no such report, or a newer one.
pub fn read<T: DeserializeOwned>(
    file: &str,
    text: &str,
    wanted: &'static str,
    newest: u32,
) -> Result<T, ReportError> {
    #[derive(Deserialize)]
    struct Head {
        #[serde(default)]
        format: String,
        #[serde(default)]
        version: u64,
    }
    let unreadable = |source| ReportError::Unreadable {
        file: file.to_owned(),
        wanted,
        source,
    };
    let head: Head = serde_json::from_str(text).map_err(unreadable)?;
    if head.format != wanted {
        return Err(ReportError::Format {
            file: file.to_owned(),
            wanted,
            format: head.format,
        });
    }
    if head.version > u64::from(newest) {
        return Err(ReportError::Newer {
            file: file.to_owned(),
            wanted,
            version: head.version,
            newest,
        });
    }
    serde_json::from_str(text).map_err(unreadable)
}

/// The letter of a report in a comparison: `A` is the first.
pub fn letter(index: usize) -> String {
    match u8::try_from(index) {
        Ok(index) if index < 26 => char::from(b'A' + index).to_string(),
        _ => format!("#{}", index + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::error_chain;

    #[derive(Debug, Deserialize)]
    struct Sample {
        seed: u64,
    }

    fn sample(text: &str) -> Result<Sample, ReportError> {
        read("x.json", text, "touchstone-load", 2)
    }

    #[test]
    fn older_and_current_versions_are_read() {
        for version in [1, 2] {
            let text = format!(r#"{{"format":"touchstone-load","version":{version},"seed":7}}"#);
            assert_eq!(sample(&text).unwrap().seed, 7);
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let error = error_chain(&sample(text).unwrap_err());
        assert!(
            error.starts_with("x.json ") && error.contains(expected),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_report_is_named() {
        check("", "is no touchstone-load report: EOF");
        check("hello", "is no touchstone-load report");
        check("[]", "something without a format");
        check("{}", "something without a format");
        check(
            r#"{"format":"touchstone-check","version":1}"#,
            r#"is a "touchstone-check" file, not a touchstone-load report"#,
        );
        check(r#"{"format":"\u001b[2J"}"#, r#"a "\u{1b}[2J" file"#);
        check(
            r#"{"format":"touchstone-load","version":3}"#,
            "version 3; this program reads touchstone-load up to version 2",
        );
        check(
            r#"{"format":"touchstone-load","version":1}"#,
            "missing field `seed`",
        );
    }
}
