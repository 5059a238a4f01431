//! Objectives: CEL expressions over the fields of the report, such as
//! `audit.lost == 0 && latencyUs.fanout.p99 < 80000`.
//!
//! An objective is checked before the run against an empty report, so that a misspelt field is known
//! before anybody waits for it. Nothing here decides what a missed objective means.

mod document;
mod fields;

use std::collections::{BTreeMap, BTreeSet};

use cel::{
    Program, Value,
    common::ast::{Expr, IdedExpr, operators},
};
use serde_json::Value as Json;
use touchstone_output::suggest::closest;

use self::document::{FIELDS, context, document, type_name, with_ones};
use self::fields::{at, collect, shown};
use crate::report::model::{Report, SloResult};

/// Objectives that hold for a run which states none about its deliveries.
pub const DEFAULT: &str = "audit.lost == 0 && audit.duplicated == 0 && audit.reordered == 0 \
                           && audit.misrouted == 0";

/// Operators whose operands are conditions of their own.
const LOGICAL: [&str; 3] = [
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
];

/// Below these, the names depend on the run.
const OPEN: [&str; 3] = ["answers", "errors", "phases"];

/// An objective that can be evaluated.
#[derive(Debug)]
pub struct Slo {
    expression: String,
    program: Program,
    /// The fields that it names.
    fields: BTreeSet<Vec<String>>,
}

/// Why a text is no objective.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SloError {
    /// It is not CEL.
    #[error("cannot read the objective {expression:?}: {problem}")]
    Syntax {
        /// The text.
        expression: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The report has no such field.
    #[error("the objective {expression:?} names {field}, which a report does not have; {}", meant(field, suggestion.as_deref()))]
    Field {
        /// The text.
        expression: String,
        /// The field.
        field: String,
        /// The field that was perhaps meant.
        suggestion: Option<String>,
    },
    /// It says neither true nor false.
    #[error("the objective {expression:?} gives {gives}, not true or false")]
    Type {
        /// The text.
        expression: String,
        /// What it gives.
        gives: String,
    },
    /// It cannot be evaluated.
    #[error("cannot evaluate the objective {expression:?}: {problem}")]
    Evaluation {
        /// The text.
        expression: String,
        /// What is wrong with it.
        problem: String,
    },
}

fn meant(field: &str, suggestion: Option<&str>) -> String {
    match suggestion {
        Some(name) => format!("did you mean {name}?"),
        None if field.contains(['.', '[']) => "load --report json=- shows what there is".to_owned(),
        None => format!("it has {}", FIELDS.join(", ")),
    }
}

/// Whether a text assigns where it should compare.
fn assigns(expression: &str) -> bool {
    let before_and_after = |at: usize| {
        let before = expression[..at].chars().next_back();
        let after = expression[at + 1..].chars().next();
        !before.is_some_and(|c| "=!<>".contains(c)) && after != Some('=')
    };
    expression
        .match_indices('=')
        .any(|(at, _)| before_and_after(at))
}

/// The objectives of a run: those given, each once, and [`DEFAULT`] where none of them says anything
/// about the audit.
///
/// # Errors
/// One of them is none.
pub fn objectives<'a>(given: impl IntoIterator<Item = &'a str>) -> Result<Vec<Slo>, SloError> {
    let mut all: Vec<Slo> = Vec::new();
    for expression in given {
        if !all.iter().any(|slo| slo.expression == expression) {
            all.push(Slo::parse(expression)?);
        }
    }
    let audited = |slo: &Slo| slo.fields.iter().any(|field| field[0] == "audit");
    if !all.iter().any(audited) {
        all.insert(0, Slo::parse(DEFAULT)?);
    }
    Ok(all)
}

impl Slo {
    /// Reads an expression and checks it against an empty report.
    ///
    /// # Errors
    /// It is not CEL, names a field that no report has, or says neither true nor false.
    pub fn parse(expression: &str) -> Result<Self, SloError> {
        let syntax = |problem: String| SloError::Syntax {
            expression: expression.to_owned(),
            problem,
        };
        if expression.trim().is_empty() {
            return Err(syntax("it is empty".to_owned()));
        }
        let program = Program::compile(expression).map_err(|errors| {
            let first = errors.errors.first();
            syntax(first.map_or_else(String::new, |error| {
                let (line, column) = error.pos;
                let said = error.msg.lines().next().unwrap_or_default();
                let hint = if assigns(expression) {
                    "; two values are compared with =="
                } else {
                    ""
                };
                format!("line {line}, column {column}: {said}{hint}")
            }))
        })?;
        let mut fields = BTreeSet::new();
        collect(program.expression(), &mut Vec::new(), &mut fields);
        let slo = Self {
            expression: expression.to_owned(),
            program,
            fields,
        };
        let template = with_ones(document(&Report::blank()));
        for field in &slo.fields {
            slo.known(field, &template)?;
        }
        slo.says_true_or_false(slo.program.expression(), &context(&template))?;
        Ok(slo)
    }

    /// Logical operators look at their second operand only where they need it, so each operand is
    /// tried by itself.
    fn says_true_or_false(
        &self,
        part: &IdedExpr,
        context: &cel::Context<'_, '_>,
    ) -> Result<(), SloError> {
        if let Expr::Call(call) = &part.expr
            && LOGICAL.contains(&call.func_name.as_str())
        {
            return call
                .args
                .iter()
                .try_for_each(|operand| self.says_true_or_false(operand, context));
        }
        match Value::resolve(part, context) {
            Ok(Value::Bool(_)) => Ok(()),
            Ok(other) => Err(SloError::Type {
                expression: self.expression.clone(),
                gives: type_name(&other).to_owned(),
            }),
            // What depends on the run cannot be evaluated before it.
            Err(_) if self.fields.iter().any(|field| is_open(field)) => Ok(()),
            Err(problem) => Err(SloError::Evaluation {
                expression: self.expression.clone(),
                problem: problem.to_string(),
            }),
        }
    }

    /// The text.
    #[must_use]
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// Whether a report meets the objective. One that cannot be evaluated, since the run had nothing
    /// that it names, is not met, and `error` among the values says why.
    #[must_use]
    pub fn evaluate(&self, report: &Report) -> SloResult {
        let document = document(report);
        let mut value: BTreeMap<String, Json> = self
            .fields
            .iter()
            .filter_map(|field| Some((shown(field), at(&document, field)?.clone())))
            .filter(|(_, value)| !value.is_object() && !value.is_array())
            .collect();
        let ok = match self.program.execute(&context(&document)) {
            Ok(Value::Bool(ok)) => ok,
            Ok(other) => {
                value.insert("error".to_owned(), type_name(&other).into());
                false
            }
            Err(problem) => {
                value.insert("error".to_owned(), problem.to_string().into());
                false
            }
        };
        SloResult {
            expression: self.expression.clone(),
            value,
            ok,
        }
    }

    fn known(&self, field: &[String], template: &Json) -> Result<(), SloError> {
        let mut here = template;
        for (depth, name) in field.iter().enumerate() {
            if depth > 0 && OPEN.contains(&field[0].as_str()) {
                return Ok(());
            }
            let Some(next) = here.get(name) else {
                let names = here.as_object().into_iter().flat_map(|all| all.keys());
                let suggestion = closest(name, names.map(String::as_str)).map(|known| {
                    let mut meant = field[..depth].to_vec();
                    meant.push(known.to_owned());
                    shown(&meant)
                });
                return Err(SloError::Field {
                    expression: self.expression.clone(),
                    field: shown(&field[..=depth]),
                    suggestion,
                });
            };
            here = next;
        }
        Ok(())
    }
}

fn is_open(field: &[String]) -> bool {
    OPEN.contains(&field[0].as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::testing::{broken, sample};

    #[track_caller]
    fn check(expression: &str, report: &Report, ok: bool, value: &Json) {
        let slo = Slo::parse(expression).unwrap_or_else(|error| panic!("{error}"));
        let result = slo.evaluate(report);
        assert_eq!(result.ok, ok, "{expression}: {:?}", result.value);
        assert_eq!(json!(result.value), *value, "{expression}");
    }

    #[test]
    fn values_of_a_report() {
        let (good, bad) = (sample(), broken());
        check("audit.lost == 0", &good, true, &json!({"audit.lost": 0}));
        check("audit.lost == 0", &bad, false, &json!({"audit.lost": 10}));
        check(
            "audit.lost == 0 && latencyUs.fanout.p99 < 80000",
            &good,
            true,
            &json!({"audit.lost": 0, "latencyUs.fanout.p99": good.latency_us.fanout.p99}),
        );
        check(
            "double(audit.delivered) / double(audit.expected) >= 0.999",
            &bad,
            false,
            &json!({"audit.delivered": 2990, "audit.expected": 3000}),
        );
        check(
            r#"events["new-message"].audit.delivered > 1999"#,
            &good,
            true,
            &json!({r#"events["new-message"].audit.delivered"#: 2000}),
        );
        check(
            r#"events["new-feed-post"].audit.expected == 0"#,
            &good,
            true,
            &json!({r#"events["new-feed-post"].audit.expected"#: 0}),
        );
        check(
            "generator.cpuShare < 1",
            &good,
            true,
            &json!({"generator.cpuShare": 0.19}),
        );
        check(
            "phases.all(phase, phase.lost == 0)",
            &good,
            true,
            &json!({}),
        );
        check(
            r#"answers["update-state"].success == 180"#,
            &good,
            true,
            &json!({r#"answers["update-state"].success"#: 180}),
        );
        check("size(errors) == 0", &bad, false, &json!({}));
    }

    #[test]
    fn what_the_run_did_not_have_is_not_met() {
        let slo = Slo::parse(r#"answers["ping"].success > 0"#).unwrap();
        let result = slo.evaluate(&sample());
        assert!(!result.ok);
        assert!(result.value["error"].as_str().unwrap().contains("ping"));
    }

    #[track_caller]
    fn check_refused(expression: &str, expected: &str) {
        let error = Slo::parse(expression).unwrap_err().to_string();
        assert!(error.contains(expected), "{expression}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }

    #[test]
    fn what_is_no_objective_is_known_before_the_run() {
        check_refused("", "it is empty");
        check_refused("audit.lost ==", "line 1, column");
        check_refused("audit.lost = 0", "compared with ==");
        check_refused("audit.lots == 0", "did you mean audit.lost?");
        check_refused(
            "audit.lost == 0 || latencyUs.fanout.p98 < 1",
            "latencyUs.fanout.p9",
        );
        check_refused("latency.fanout.p99 < 1", "did you mean latencyUs?");
        check_refused(
            "velocity < 1",
            "velocity, which a report does not have; it has durationMs, seed",
        );
        check_refused(
            r#"events["new-mesage"].audit.lost == 0"#,
            r#"events["new-message"]"#,
        );
        check_refused("series[0].planned == 0", "series");
        check_refused("audit.lost", "gives a number");
        check_refused("audit", "gives a part of the report");
        check_refused("audit.lost == 0 && seed", "gives a number");
        check_refused("audit.lost == 0 || !(seed == 1 && audit)", "gives a part");
        check_refused("audit.lost < \"many\"", "cannot evaluate");
        check_refused("nonsense(audit.lost)", "cannot evaluate");
    }

    #[track_caller]
    fn check_objectives(given: &[&str], expected: &[&str]) {
        let all = objectives(given.iter().copied()).unwrap();
        let expressions: Vec<_> = all.iter().map(Slo::expression).collect();
        assert_eq!(expressions, expected);
    }

    #[test]
    fn without_any_about_the_audit_nothing_may_be_lost() {
        check_objectives(&[], &[DEFAULT]);
        check_objectives(&["seed > 0"], &[DEFAULT, "seed > 0"]);
        check_objectives(&["audit.lost < 3"], &["audit.lost < 3"]);
    }

    #[test]
    fn what_is_given_twice_counts_once() {
        check_objectives(
            &["audit.lost < 3", "seed > 0", "audit.lost < 3"],
            &["audit.lost < 3", "seed > 0"],
        );
    }
}
