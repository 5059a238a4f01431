//! The words that fields hold, as far as they are known: what an expression compares a field with, and
//! what may be typed between its quotes.
//!
//! A comparison with a word that the field never holds is true for nothing (or for everything), which
//! nobody means. Types are open, since servers send types of their own; there only a word that is all but
//! a known one is a mistake.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};
use touchstone_fixtures::{CLIENT_EVENTS, EPHEMERAL_TYPES, Filter, SERVER_EVENTS, UPDATE_TYPES};
use touchstone_history::REQUIREMENTS;
use touchstone_output::suggest::{closest, likeness};

use super::FilterError;
use crate::event::{HINTS, Kind};

/// Types that the contract does not list: what servers of later generations send, and the monitor's own
/// entries.
const OTHER_TYPES: [&str; 14] = [
    "session-event",
    "delete-machine",
    "update",
    "ephemeral",
    "ack",
    // What a rule of the proxy sees of a CONNECT, before it is answered.
    "connect",
    "connected",
    "refused",
    "failed",
    "lost",
    "closed",
    "gap",
    "note",
    "unanswered",
];

/// How like a known type a word has to be to be that type, mistyped.
const ALL_BUT: f64 = 0.93;

/// The words that a field holds. Nothing for fields that hold anything.
pub(crate) fn words_of(field: &str) -> Option<Vec<&'static str>> {
    Some(match field {
        "type" => UPDATE_TYPES
            .into_iter()
            .chain(EPHEMERAL_TYPES)
            .chain(CLIENT_EVENTS)
            .chain(SERVER_EVENTS)
            .chain(OTHER_TYPES)
            .collect(),
        "kind" => Kind::ALL.iter().map(|kind| kind.as_str()).collect(),
        "scope" => vec!["user", "session", "machine"],
        "direction" => vec!["sent", "received", "inside"],
        "lints" => HINTS
            .into_iter()
            .chain(REQUIREMENTS.iter().map(|one| one.id))
            .collect(),
        "filter" => Filter::ALL.map(Filter::as_str).to_vec(),
        _ => return None,
    })
}

/// The field whose words stand in the quotes that `before` ends with: `kind == "`, `type in ["a", "`.
pub(crate) fn field_at(before: &str) -> Option<&str> {
    let before = before.strip_suffix(['"', '\''])?.trim_end();
    let mut rest = before.strip_suffix(['=', '[', ',', '('])?;
    // What else stands in a list is skipped.
    if before.ends_with(['[', ',']) {
        rest = rest.rsplit_once('[').map_or(rest, |(rest, _)| rest);
        rest = rest.trim_end().strip_suffix("in")?;
    }
    let rest = rest.trim_end_matches(['=', '!', ' ']);
    let rest = rest.strip_suffix(".startsWith").unwrap_or(rest);
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let start = rest.trim_end_matches(is_name).len();
    Some(&rest[start..]).filter(|name| !name.is_empty())
}

/// The first comparison with a word that its field never holds.
pub(super) fn mistake(text: &str, expression: &IdedExpr) -> Option<FilterError> {
    let mut bound = Vec::new();
    let (field, word) = wrong(expression, &mut bound)?;
    let column = text.find(&word).map(|at| text[..at].chars().count());
    let message = told(&field, &word);
    Some(FilterError { message, column })
}

fn told(field: &str, word: &str) -> String {
    let known = words_of(field).unwrap_or_default();
    match (closest(word, known.iter().copied()), field) {
        (Some(near), "type") => format!(
            "no event has the type {word:?}; did you mean {near:?}? \
             One of a server of your own is type.startsWith({word:?})"
        ),
        (Some(near), _) => format!("{field} is never {word:?}; did you mean {near:?}?"),
        (None, "lints") => format!(
            "lints is never {word:?}; it is the id of a requirement that a history can break, or one of {}",
            HINTS.join(", ")
        ),
        (None, _) => format!(
            "{field} is never {word:?}; it is one of {}",
            known.join(", ")
        ),
    }
}

/// Whether a field never holds this word.
fn is_wrong(field: &str, word: &str) -> bool {
    let Some(known) = words_of(field) else {
        return false;
    };
    match field {
        _ if known.contains(&word) => false,
        // Types of HTTP exchanges are routes.
        "type" if word.contains(['/', ' ']) => false,
        "type" => known.iter().any(|known| likeness(word, known) > ALL_BUT),
        "scope" => !word.is_empty(),
        _ => true,
    }
}

/// Names that macros bind, with the fields whose items they are.
type Bound = Vec<(String, String)>;

fn wrong(node: &IdedExpr, bound: &mut Bound) -> Option<(String, String)> {
    match &node.expr {
        Expr::Call(call) => compared(call, bound).or_else(|| {
            let parts = call.target.as_deref().into_iter().chain(&call.args);
            first_wrong(parts, bound)
        }),
        Expr::List(list) => first_wrong(&list.elements, bound),
        Expr::Select(select) => wrong(&select.operand, bound),
        Expr::Comprehension(each) => {
            let range = name(&each.iter_range, bound).map(|field| (each.iter_var.clone(), field));
            bound.extend(range);
            let parts = [
                &each.iter_range,
                &each.loop_cond,
                &each.loop_step,
                &each.result,
            ];
            first_wrong(parts, bound)
        }
        _ => None,
    }
}

fn first_wrong<'e>(
    parts: impl IntoIterator<Item = &'e IdedExpr>,
    bound: &mut Bound,
) -> Option<(String, String)> {
    parts.into_iter().find_map(|part| wrong(part, bound))
}

/// What a call compares, if it compares a field with words.
fn compared(call: &CallExpr, bound: &Bound) -> Option<(String, String)> {
    let [left, right] = call.args.as_slice() else {
        return None;
    };
    let (field, words) = match call.func_name.as_str() {
        operators::EQUALS | operators::NOT_EQUALS => {
            match (name(left, bound), name(right, bound)) {
                (Some(field), _) => (field, vec![word(right)?]),
                (None, field) => (field?, vec![word(left)?]),
            }
        }
        operators::IN => match &right.expr {
            Expr::List(list) => (
                name(left, bound)?,
                list.elements.iter().filter_map(word).collect(),
            ),
            _ => (name(right, bound)?, vec![word(left)?]),
        },
        _ => return None,
    };
    let wrong = words.into_iter().find(|word| is_wrong(&field, word))?;
    Some((field, wrong.to_owned()))
}

/// The field that a name stands for.
fn name(node: &IdedExpr, bound: &Bound) -> Option<String> {
    let Expr::Ident(name) = &node.expr else {
        return None;
    };
    let field = bound.iter().rev().find(|(bound, _)| bound == name);
    Some(field.map_or(name, |(_, field)| field).clone())
}

fn word(node: &IdedExpr) -> Option<&str> {
    match &node.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_at_hand_is_found() {
        #[track_caller]
        fn check(before: &str, expected: Option<&str>) {
            assert_eq!(field_at(before), expected, "{before}");
        }
        check("kind == \"", Some("kind"));
        check("size > 3 && kind != '", Some("kind"));
        check("type in [\"", Some("type"));
        check("type in [\"new-message\", \"", Some("type"));
        check("type.startsWith(\"", Some("type"));
        check("\"", None);
        check("size > 3 && \"", None);
        check("kind == ", None);
    }
}
