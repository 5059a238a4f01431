//! Which entries are meant: one expression over the fields of an entry.
//!
//! A [`Filter`] is compiled once and asked often. What reads like an expression is one (CEL, the
//! Common Expression Language: `type == "new-message" && size > 4096`); anything else is text to look
//! for, without regard to case. The screen, the headless output and `--until` share this. This module
//! must not keep entries, and must not know where they come from.

mod fields;
mod narrow;
mod words;

use std::sync::{Arc, OnceLock};

use cel::{Context, Env, ExecutionError, Program, Value};
use touchstone_output::suggest::closest;

use self::fields::Fields;
pub(crate) use self::narrow::Clause;
pub(crate) use self::words::{field_at, words_of};
use crate::event::{Direction, Entity, Entry, Kind, Lint, Recipients, Routed, Scope};
use touchstone_fixtures::Level;

/// The characters that make a text an expression. Ids, types and routes have none of them.
const OPERATORS: &[char] = &[
    '=', '<', '>', '!', '&', '|', '(', ')', '[', ']', '"', '\'', '?', '+', '*', '%',
];

/// A field that expressions can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it holds, for people.
    pub about: &'static str,
}

/// Every field, sorted by how often it is wanted.
pub const FIELDS: &[Field] = &[
    field("type", "the event's type, such as \"new-message\""),
    field(
        "kind",
        "update, ephemeral, rpc, call, ack, http, connection, gap or note",
    ),
    field("size", "bytes of the payload"),
    field("seq", "the seq of an update, or null"),
    field("account", "the account's label"),
    field("conn", "the connection's label"),
    field("scope", "user, session, machine or empty"),
    field("session", "the session's id, or null"),
    field("machine", "the machine's id, or null"),
    field("artifact", "the artifact's id, or null"),
    field("method", "the RPC method, or null"),
    field("entity", "the id of whatever it is about, or null"),
    field("body", "the payload; body.message.seq reads inside"),
    field("raw", "the payload as text"),
    field("recipients", "how many connections got it, or null"),
    field("receivers", "the labels of the connections that got it"),
    field("skipped", "the connection that was left out, or null"),
    field("filter", "the recipient filter's type, or null"),
    field("lints", "what looks wrong, such as [\"update.envelope\"]"),
    field("latency", "milliseconds from cause to effect, or null"),
    field("direction", "sent, received or inside"),
    field("number", "the entry's number"),
    field("at", "when, in Unix milliseconds"),
    field("id", "the id of an update, or null"),
    field("ack", "the ack id of a call or an answer, or null"),
    field("link", "the number that entries of one call share, or null"),
];

const fn field(name: &'static str, about: &'static str) -> Field {
    Field { name, about }
}

/// A compiled filter.
#[derive(Debug)]
pub struct Filter {
    text: String,
    test: Test,
}

#[derive(Debug)]
enum Test {
    Everything,
    Contains(String),
    Expression(Program),
}

/// Why a text is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FilterError {
    /// What is wrong, and what might be meant.
    pub message: String,
    /// The character that it is about, from 0, where that is known.
    pub column: Option<usize>,
}

impl Filter {
    /// Compiles a filter. An empty text lets everything pass.
    ///
    /// # Errors
    /// The text looks like an expression and is none, names fields that do not exist, compares what
    /// cannot be compared, or does not end in true or false.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let test = match text.trim() {
            "" => Test::Everything,
            bare if !bare.contains(OPERATORS) => Test::Contains(bare.to_ascii_lowercase()),
            expression => compile(expression)?,
        };
        Ok(Self {
            text: text.trim().to_owned(),
            test,
        })
    }

    /// The text that it was compiled from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it lets everything pass.
    pub fn is_everything(&self) -> bool {
        matches!(self.test, Test::Everything)
    }

    /// Whether `entry` is meant. Where an expression has no value, since the entry lacks what it asks
    /// for, the entry is not meant.
    pub fn matches(&self, entry: &Entry) -> bool {
        match &self.test {
            Test::Everything => true,
            Test::Contains(text) => contains(entry, text),
            Test::Expression(program) => {
                matches!(evaluate(program, entry), Ok(Value::Bool(true)))
            }
        }
    }
}

/// The names of fields that begin as the last word of `text` does, for completion.
pub fn completions(text: &str) -> impl Iterator<Item = &'static Field> {
    let word = text
        .rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .next()
        .unwrap_or_default();
    FIELDS
        .iter()
        .filter(move |field| !word.is_empty() && field.name.starts_with(word))
}

fn compile(text: &str) -> Result<Test, FilterError> {
    let program = Program::compile(text).map_err(|errors| unreadable(text, &errors))?;
    let references = program.references();
    // The parser writes a macro's own variables into the same list, marked by an `@`.
    let unknown = references.variables().into_iter().find(|name| {
        !FIELDS.iter().any(|field| field.name == *name)
            && !name.starts_with('@')
            && !is_bound(text, name)
    });
    if let Some(name) = unknown {
        return Err(FilterError {
            message: unknown_field(name),
            column: text.find(name).map(|at| text[..at].chars().count()),
        });
    }
    drop(references);
    if let Some(mistake) = words::mistake(text, program.expression()) {
        return Err(mistake);
    }
    // Tried on an entry that has every field, so that a mistake is told now and not by silence.
    match evaluate(&program, sample()) {
        Ok(Value::Bool(_)) => {}
        // A text in quotes is a text to look for.
        Ok(Value::String(needle)) if program_is_literal(text) => {
            return Ok(Test::Contains(needle.to_ascii_lowercase()));
        }
        Ok(other) => {
            return Err(plain(format!(
                "gives {} and not true or false; compare it with something",
                kind_of(&other)
            )));
        }
        Err(ExecutionError::NoSuchOverload(error)) => {
            return Err(plain(format!(
                "{} cannot be used with {}",
                operator(error.function()),
                error.argument_types().join(" and ")
            )));
        }
        Err(ExecutionError::UndeclaredReference(name)) => {
            return Err(plain(format!("there is no function {name}")));
        }
        // Only the payloads of real entries can tell.
        Err(_) => {}
    }
    Ok(Test::Expression(program))
}

fn plain(message: String) -> FilterError {
    FilterError {
        message,
        column: None,
    }
}

/// Whether a macro such as `lints.exists(lint, …)` brings the name.
fn is_bound(text: &str, name: &str) -> bool {
    ["exists(", "all(", "exists_one(", "map(", "filter("]
        .iter()
        .any(|call| {
            text.match_indices(call).any(|(at, _)| {
                let rest = text[at + call.len()..].trim_start();
                rest.strip_prefix(name)
                    .is_some_and(|rest| rest.trim_start().starts_with(','))
            })
        })
}

fn program_is_literal(text: &str) -> bool {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''));
    quote.is_some_and(|quote| text.len() > 1 && text.ends_with(quote))
}

fn unknown_field(name: &str) -> String {
    match closest(name, FIELDS.iter().map(|field| field.name)) {
        Some(meant) => format!("there is no field {name}; did you mean {meant}?"),
        None => format!("there is no field {name}; text to compare with goes in quotes"),
    }
}

/// The characters of a text, with blanks for what stands in quotes.
fn unquoted(text: &str) -> Vec<char> {
    let mut quote = None;
    let blanked = text.chars().map(|this| {
        match quote {
            Some(open) => quote = Some(open).filter(|&open| open != this),
            None if matches!(this, '"' | '\'') => quote = Some(this),
            None => return this,
        }
        ' '
    });
    blanked.collect()
}

/// The character at which one `=` stands alone, outside of quotes.
fn single_equals(text: &str) -> Option<usize> {
    let characters = unquoted(text);
    let around = |at: Option<usize>| at.and_then(|at| characters.get(at)).copied();
    (0..characters.len()).find(|&at| {
        characters[at] == '='
            && around(Some(at + 1)) != Some('=')
            && !matches!(around(at.checked_sub(1)), Some('=' | '!' | '<' | '>'))
    })
}

/// The first operator that is written as a word, and the character at which it stands.
fn operator_in_words(text: &str) -> Option<(usize, String)> {
    let characters = unquoted(text);
    let mut at = 0;
    for word in characters.split(|c| *c == ' ') {
        let text: String = word.iter().collect();
        if matches!(text.to_ascii_lowercase().as_str(), "and" | "or") {
            return Some((at, text));
        }
        at += word.len() + 1;
    }
    None
}

/// The parser's first complaint, in one line.
fn unreadable(text: &str, errors: &cel::ParseErrors) -> FilterError {
    if let Some(column) = single_equals(text) {
        return FilterError {
            message: "two values are compared with ==".to_owned(),
            column: Some(column),
        };
    }
    if let Some((column, operator)) = operator_in_words(text) {
        return FilterError {
            message: format!("conditions are joined with && and ||, not with {operator:?}"),
            column: Some(column),
        };
    }
    let Some(error) = errors.errors.first() else {
        return plain("is no expression".to_owned());
    };
    let column = usize::try_from(error.pos.1)
        .unwrap_or(0)
        .min(text.chars().count());
    let rest: String = text.chars().skip(column).take(20).collect();
    let message = if rest.is_empty() {
        "ends too early".to_owned()
    } else {
        format!("cannot be read from {rest:?} on")
    };
    FilterError {
        message,
        column: Some(column),
    }
}

/// The parser's name of an operator as people write it.
fn operator(function: &str) -> String {
    function
        .trim_matches('_')
        .replace("_:", "")
        .replace('_', "")
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Int(_) | Value::UInt(_) | Value::Float(_) => "a number",
        Value::String(_) => "a text",
        Value::Null => "null",
        Value::List(_) => "a list",
        Value::Map(_) => "an object",
        _ => "something else",
    }
}

fn evaluate(program: &Program, entry: &Entry) -> Result<Value, ExecutionError> {
    static STANDARD: OnceLock<Arc<Env>> = OnceLock::new();
    let environment = STANDARD.get_or_init(|| Arc::new(Env::stdlib()));
    let fields = Fields(entry);
    let mut context = Context::with_env(Arc::clone(environment));
    context.set_variable_resolver(&fields);
    program.execute(&context)
}

/// Looks for text in everything that a line of the list shows, and in the payload.
fn contains(entry: &Entry, lowercase: &str) -> bool {
    let entity = entry.entity.as_ref().map_or("", Entity::id);
    [
        &*entry.event,
        entry.kind.as_str(),
        &*entry.account,
        &*entry.conn,
        entity,
        &*entry.raw,
    ]
    .into_iter()
    .any(|text| contains_lowercase(text, lowercase))
        || entry
            .lints
            .iter()
            .any(|lint| contains_lowercase(lint.rule, lowercase))
}

fn contains_lowercase(text: &str, lowercase: &str) -> bool {
    let (text, wanted) = (text.as_bytes(), lowercase.as_bytes());
    let Some(first) = wanted.first() else {
        return true;
    };
    text.len() >= wanted.len()
        && text.windows(wanted.len()).any(|window| {
            window[0].eq_ignore_ascii_case(first) && window.eq_ignore_ascii_case(wanted)
        })
}

/// An entry that has every field, on which new expressions are tried.
fn sample() -> &'static Entry {
    static SAMPLE: OnceLock<Entry> = OnceLock::new();
    SAMPLE.get_or_init(|| Entry {
        number: 1,
        at_ms: 1,
        t_us: 1,
        account: "a1".into(),
        conn: "a1/user".into(),
        scope: Scope::User,
        kind: Kind::Update,
        direction: Direction::Received,
        event: "new-message".into(),
        entity: Some(Entity::Session("s".into())),
        seq: Some(1),
        id: Some("u".into()),
        ack: Some(1),
        size: 2,
        raw: "{}".into(),
        recipients: Recipients::Routed(Box::new(Routed {
            filter: r#"{"type":"user-scoped-only"}"#.into(),
            recipients: vec!["a1/user".into()],
            skipped: Some("a1/user".into()),
            receipts: Vec::new(),
        })),
        latency_us: Some(1),
        link: Some(1),
        lints: vec![Lint {
            rule: "update.envelope",
            level: Some(Level::Must),
            text: String::new(),
        }],
    })
}

#[cfg(test)]
mod tests {
    use cel::context::VariableResolver as _;

    use super::*;
    use crate::event::Receipt;

    /// A message of 5 000 bytes that two of our connections got.
    fn message() -> Entry {
        let mut entry = sample().clone();
        let filling = "x".repeat(4_900);
        entry.raw = format!(
            r#"{{"id":"u7","seq":42,"body":{{"t":"new-message","sid":"s-One","message":{{"seq":7,"content":{{"t":"encrypted","c":"{filling}"}}}}}}}}"#
        )
        .into();
        entry.size = 5_000;
        entry.seq = Some(42);
        entry.entity = Some(Entity::Session("s-One".into()));
        entry.recipients = Recipients::Ours(
            ["a1/user", "a1/s"]
                .map(|conn| Receipt {
                    conn: conn.into(),
                    scope: Scope::User,
                    t_us: 0,
                })
                .into(),
        );
        entry.latency_us = Some(2_500);
        entry.link = None;
        entry.lints.clear();
        entry
    }

    #[track_caller]
    fn check(filter: &str, matches: bool) {
        let compiled = Filter::parse(filter).unwrap_or_else(|error| panic!("{filter}: {error}"));
        assert_eq!(compiled.matches(&message()), matches, "{filter}");
    }

    #[test]
    fn expressions() {
        check(r#"type == "new-message" && size > 4096"#, true);
        check(r#"type == "new-message" && size > 5000"#, false);
        check(r#"kind == "update" || kind == "ephemeral""#, true);
        check(r#"type in ["new-message", "update-session"]"#, true);
        check(r#"session == "s-One""#, true);
        check(r#"machine == "s-One""#, false);
        check(r#"machine == null"#, true);
        check("seq >= 42", true);
        check("seq > 42", false);
        check("body.body.message.seq == 7", true);
        check("body.body.message.seq < 7", false);
        check(r#"body.body.t.startsWith("new-")"#, true);
        check(r#"raw.contains("encrypted")"#, true);
        check(r#"raw.matches("s-[A-Z]")"#, true);
        check("recipients == 2", true);
        check(r#""a1/s" in receivers"#, true);
        check("size(lints) > 0", false);
        check("lints == []", true);
        check(r#"lints.exists(lint, lint == "update.envelope")"#, false);
        check("latency > 2.4 && latency < 2.6", true);
        check(r#"!(type == "new-message")"#, false);
    }

    #[test]
    fn words_of_servers_of_their_own_are_no_mistakes() {
        check(r#"type == "my-own-event""#, false);
        check(r#"type == "GET /v1/sesions""#, false);
        check(r#"type.startsWith("new-mesage")"#, false);
        check(r#"type in ["session-event", "new-message"]"#, true);
        check(r#"scope == """#, false);
        check(r#"account == "upd""#, false);
        check(r#"method == "kind""#, false);
        check(r#"raw.contains("a = b") || size > 1"#, true);
    }

    #[test]
    fn what_an_entry_lacks_does_not_match() {
        check("link > 1", false);
        check("link > 1 || seq == 42", true);
        check("body.nothing.here == 1", false);
        check(r#"skipped == "a""#, false);
    }

    #[test]
    fn bare_words_are_looked_for() {
        check("", true);
        check("new-message", true);
        check("NEW-Message", true);
        check("s-one", true);
        check("update", true);
        check("a1/user", true);
        check("encrypted", true);
        check("delete", false);
        check(r#"'"t":"new-message"'"#, true);
        check(r#""S-ONE""#, true);
    }

    #[test]
    fn mistakes_are_told() {
        let rows = [
            r#"typ == "new-message""#,
            r#"type == new"#,
            r#"type == "new-message"#,
            r#"type = "new-message""#,
            "size >",
            "size > \"5\"",
            "size + 1",
            "shout(type)",
            "lints.exists(lint, lint2 == 1)",
            "(size > 5",
            r#"kind == "upd""#,
            r#"type == "new-mesage""#,
            r#""new-mesage" != type"#,
            r#"size > 3 && type in ["new-message", "update-sesion"]"#,
            r#"scope == "users""#,
            r#"direction == "out""#,
            r#""update.envelop" in lints"#,
            r#"lints.exists(lint, lint == "misroute")"#,
            r#"filter == "machine-scope-only""#,
            r#"kind = "update" && raw == "a = b""#,
            r#"raw == "a and b" and size > 5"#,
        ];
        let told: Vec<_> = rows
            .iter()
            .map(|row| {
                let error = Filter::parse(row).unwrap_err();
                let column = error
                    .column
                    .map_or_else(|| "-".to_owned(), |column| column.to_string());
                format!("{row}\n  {column}: {error}")
            })
            .collect();
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn every_field_has_a_value() {
        let fields = Fields(sample());
        for field in FIELDS {
            let found = fields.resolve(field.name);
            assert!(found.is_some(), "{}", field.name);
            let nothing = found.is_some_and(|value| value.get_type().name() == "null_type");
            assert!(
                !nothing || is_of_another_entity(field.name),
                "{}",
                field.name
            );
        }
        assert!(fields.resolve("nothing").is_none());
    }

    fn is_of_another_entity(name: &str) -> bool {
        matches!(name, "machine" | "artifact" | "method")
    }

    #[test]
    fn names_are_completed() {
        #[track_caller]
        fn check(text: &str, expected: &[&str]) {
            let names: Vec<_> = completions(text).map(|field| field.name).collect();
            assert_eq!(names, expected, "{text}");
        }
        check("se", &["seq", "session"]);
        check("type == \"x\" && la", &["latency"]);
        check("", &[]);
        check("size > 5 && ", &[]);
        check("nope", &[]);
    }
}
