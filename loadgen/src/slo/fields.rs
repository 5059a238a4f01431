//! Which fields of the report an expression names. Whether a report has them is not decided here.

use std::collections::BTreeSet;

use cel::common::ast::{EntryExpr, Expr, IdedEntryExpr, IdedExpr, LiteralValue, operators};
use serde_json::Value as Json;

/// `latencyUs.fanout.p99`, `events["new-message"].audit.lost`.
pub(super) fn shown(field: &[String]) -> String {
    let mut text = String::new();
    for name in field {
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !plain {
            text.push_str(&format!("[{name:?}]"));
        } else if text.is_empty() {
            text.push_str(name);
        } else {
            text.push('.');
            text.push_str(name);
        }
    }
    text
}

pub(super) fn at<'a>(document: &'a Json, field: &[String]) -> Option<&'a Json> {
    field.iter().try_fold(document, |here, name| here.get(name))
}

/// The field that an expression spells, unless it is something else or a name that a macro bound.
fn field(expression: &IdedExpr, bound: &[String]) -> Option<Vec<String>> {
    match &expression.expr {
        Expr::Ident(name) => {
            (!name.starts_with('@') && !bound.contains(name)).then(|| vec![name.clone()])
        }
        Expr::Select(select) => {
            let mut path = field(&select.operand, bound)?;
            path.push(select.field.clone());
            Some(path)
        }
        Expr::Call(call) if call.func_name == operators::INDEX => {
            let [of, Some(name)] = [call.args.first(), call.args.get(1)] else {
                return None;
            };
            let (Expr::Literal(LiteralValue::String(name)), Some(of)) = (&name.expr, of) else {
                return None;
            };
            let mut path = field(of, bound)?;
            path.push(name.inner().to_owned());
            Some(path)
        }
        _ => None,
    }
}

/// All fields that an expression names.
pub(super) fn collect(
    expression: &IdedExpr,
    bound: &mut Vec<String>,
    fields: &mut BTreeSet<Vec<String>>,
) {
    if let Some(path) = field(expression, bound) {
        fields.insert(path);
        return;
    }
    match &expression.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
        Expr::Call(call) => {
            for part in call.target.as_deref().into_iter().chain(&call.args) {
                collect(part, bound, fields);
            }
        }
        Expr::Comprehension(over) => {
            collect(&over.iter_range, bound, fields);
            let depth = bound.len();
            bound.push(over.iter_var.clone());
            bound.extend(over.iter_var2.clone());
            bound.push(over.accu_var.clone());
            for part in [
                &over.accu_init,
                &over.loop_cond,
                &over.loop_step,
                &over.result,
            ] {
                collect(part, bound, fields);
            }
            bound.truncate(depth);
        }
        Expr::List(list) => {
            for part in &list.elements {
                collect(part, bound, fields);
            }
        }
        Expr::Map(map) => entries(&map.entries, bound, fields),
        Expr::Struct(made) => entries(&made.entries, bound, fields),
        Expr::Select(select) => collect(&select.operand, bound, fields),
    }
}

fn entries(all: &[IdedEntryExpr], bound: &mut Vec<String>, fields: &mut BTreeSet<Vec<String>>) {
    for entry in all {
        match &entry.expr {
            EntryExpr::StructField(part) => collect(&part.value, bound, fields),
            EntryExpr::MapEntry(part) => {
                collect(&part.key, bound, fields);
                collect(&part.value, bound, fields);
            }
        }
    }
}
