//! The JSON report, as written and as read back. Its schema is `schema/load-report.schema.json`.

use touchstone_output::report::ReportError;
use touchstone_output::text::json_without_controls;

use super::model::{FORMAT, Report, VERSION};

/// The JSON Schema (2020-12) of the report.
pub const SCHEMA: &str = include_str!("../../schema/load-report.schema.json");

impl Report {
    /// The report as JSON, with a line end behind it.
    ///
    /// It holds no character that a terminal obeys, since people do print reports.
    ///
    /// # Errors
    /// None that a report can cause: its keys are texts and its numbers finite.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let mut text = json_without_controls(&serde_json::to_string_pretty(self)?);
        text.push('\n');
        Ok(text)
    }

    /// Reads the text of a JSON report; `file` names it.
    ///
    /// # Errors
    /// It is no such report, or a newer one.
    pub fn read(file: &str, text: &str) -> Result<Self, ReportError> {
        touchstone_output::report::read(file, text, FORMAT, VERSION)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{broken, sample};
    use super::*;
    use crate::merge::join;

    fn value(report: &Report) -> Value {
        serde_json::from_str(&report.to_json().unwrap()).unwrap()
    }

    #[test]
    fn snapshot() {
        insta::assert_snapshot!(broken().to_json().unwrap());
    }

    #[test]
    fn what_is_written_is_read_back() {
        let repeated = join(vec![sample(), broken()]).unwrap();
        for report in [sample(), broken(), repeated, Report::blank()] {
            let text = report.to_json().unwrap();
            assert_eq!(Report::read("x.json", &text).unwrap(), report);
        }
    }

    #[test]
    fn a_report_holds_no_orders_for_terminals() {
        let text = broken().to_json().unwrap();
        assert!(!text.contains('\u{1b}'), "{text}");
        assert!(text.contains(r"\u001b[31mno"), "{text}");
    }

    #[track_caller]
    fn check_refused(text: &str, expected: &str) {
        let error = Report::read("x.json", text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }

    #[test]
    fn other_files_are_refused() {
        check_refused("hello", "x.json is no touchstone-load report");
        check_refused(
            r#"{"format":"touchstone-check","version":1}"#,
            "touchstone-check",
        );
        check_refused(
            r#"{"format":"touchstone-load","version":2}"#,
            "up to version 1",
        );
        check_refused(
            r#"{"format":"touchstone-load","version":1}"#,
            "x.json is no touchstone-load report",
        );
    }

    /// Forbids what the schema does not name, so that the test sees keys that it lacks.
    fn closed(mut schema: Value) -> Value {
        match &mut schema {
            Value::Object(all) => {
                if all.contains_key("properties") {
                    all.insert("additionalProperties".to_owned(), json!(false));
                }
                for value in all.values_mut() {
                    *value = closed(value.take());
                }
            }
            Value::Array(all) => all.iter_mut().for_each(|one| *one = closed(one.take())),
            _ => {}
        }
        schema
    }

    #[test]
    fn reports_agree_with_their_schema() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        jsonschema::meta::validate(&schema).unwrap();
        let validator = jsonschema::draft202012::new(&closed(schema)).unwrap();
        let repeated = join(vec![broken(), broken()]).unwrap();
        let mut failed = broken();
        failed.failure = Some("the server is gone".to_owned());
        failed.generator.reason = Some("scheduling lag".to_owned());
        for report in [sample(), repeated, failed] {
            let report = value(&report);
            let errors: Vec<_> = validator
                .iter_errors(&report)
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            assert!(errors.is_empty(), "{errors:#?}");
        }
    }

    #[test]
    fn the_schema_misses_nothing_that_readers_rely_on() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let report = value(&sample());
        for key in report.as_object().unwrap().keys() {
            let mut without = report.clone();
            without.as_object_mut().unwrap().remove(key);
            assert!(!validator.is_valid(&without), "{key} is not required");
        }
        for key in report["audit"].as_object().unwrap().keys() {
            let mut without = report.clone();
            without["audit"].as_object_mut().unwrap().remove(key);
            assert!(!validator.is_valid(&without), "audit.{key} is not required");
        }
    }
}
