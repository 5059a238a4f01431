//! What the reports of `touchstone judge` and `touchstone explore` both say of a violation.

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus};
use touchstone_cases::requirements;
use touchstone_harness::Verdict;
use touchstone_history::{Level, Violation};
use touchstone_output::Style;
use touchstone_output::text::one_line;

/// The formats of both.
pub(super) const FORMATS: &str =
    "formats are json, junit, markdown, html and pretty; write json=PATH, or json=- for stdout";

/// What the ledger says of a requirement.
pub(super) fn requirement_text(id: &str) -> &'static str {
    let found = requirements().find(|requirement| requirement.id == id);
    found.map_or("", |requirement| requirement.text)
}

/// The level and the requirement, in the colour of the level.
pub(super) fn title(style: Style, level: Level, id: &str) -> String {
    let verdict = match level {
        Level::Must => Verdict::Fail,
        Level::Should => Verdict::Warn,
    };
    style.paint(verdict.colour(), format!("{level} {id}"))
}

/// A violation for CI systems. As in the report of `check`, only a MUST fails.
pub(super) fn test_case(violation: &Violation, description: String) -> TestCase {
    let status = if violation.level == Level::Must {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status
            .set_message(one_line(&violation.text))
            .set_description(description);
        status
    } else {
        TestCaseStatus::success()
    };
    TestCase::new(violation.requirement, status)
}
