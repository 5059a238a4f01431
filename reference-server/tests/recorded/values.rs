//! Placeholders: what differs between a recording and its replay, and comparison by shape.
//!
//! A placeholder is `<kind>` or `<kind:name>`, alone or inside a longer text. Whatever the client
//! chose is made up at first use and must come back exactly; whatever the server chose is taken at
//! first sight and must stay the same from then on.

use std::collections::{HashMap, HashSet};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ed25519_dalek::{Signer as _, SigningKey};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use touchstone_client::{Clock, Secret};

/// A time below this is no Unix time in milliseconds of our days: it may be in seconds.
const EARLIEST_MS: u64 = 1_600_000_000_000;
/// How much of a value a message shows.
const SHOWN: usize = 300;
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What the placeholders of one replay stand for.
pub(crate) struct Bindings {
    values: HashMap<String, Value>,
    /// Whatever the server chose, by kind: it must not choose the same twice.
    taken: HashSet<(String, String)>,
    keys: HashMap<String, SigningKey>,
    random: StdRng,
    clock: Clock,
}

/// What a placeholder stands for.
enum Kind {
    /// So many characters of base64, made up by the client: a ciphertext.
    Ciphertext(usize),
    /// An id made up by the client.
    ClientId,
    /// The public key of a key pair.
    Key,
    /// What its owner signs.
    Challenge,
    /// The signature over the challenge.
    Signature,
    /// A time; sent as now minus so many milliseconds.
    Time(u64),
    /// A text that the server chose.
    ServerText,
    /// An integer that the server chose.
    ServerInteger,
    /// Any text.
    AnyText,
    /// Any boolean.
    AnyBool,
}

impl Bindings {
    /// Nothing bound yet. The client's values come from a fixed seed, its times from `clock`.
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            values: HashMap::new(),
            taken: HashSet::new(),
            keys: HashMap::new(),
            random: StdRng::seed_from_u64(1),
            clock,
        }
    }

    /// What a client sends.
    pub(crate) fn fill(&mut self, template: &Value) -> Result<Value, String> {
        Ok(match template {
            Value::String(text) if is_placeholder(text) => self.give(text)?,
            Value::String(text) => Value::String(self.fill_text(text, str::to_owned)?),
            Value::Array(items) => {
                let filled: Result<_, _> = items.iter().map(|item| self.fill(item)).collect();
                Value::Array(filled?)
            }
            Value::Object(fields) => {
                let filled: Result<_, String> = fields
                    .iter()
                    .map(|(key, value)| Ok((key.clone(), self.fill(value)?)))
                    .collect();
                Value::Object(filled?)
            }
            other => other.clone(),
        })
    }

    /// The path of a request, its placeholders percent-encoded.
    pub(crate) fn fill_path(&mut self, template: &str) -> Result<String, String> {
        self.fill_text(template, percent_encoded)
    }

    /// A token that was received before.
    pub(crate) fn token(&mut self, placeholder: &str) -> Result<Secret, String> {
        let token = self.give(placeholder)?;
        Ok(Secret::new(token.as_str().unwrap_or_default()))
    }

    /// Compares by shape: every recorded key must be there, lists are as long, values are equal
    /// unless a placeholder says otherwise. Further keys are fine.
    pub(crate) fn compare(&mut self, expected: &Value, got: &Value) -> Result<(), String> {
        self.compare_at("", expected, got)
    }

    fn compare_at(&mut self, at: &str, expected: &Value, got: &Value) -> Result<(), String> {
        match (expected, got) {
            (Value::Object(fields), Value::Object(had)) => {
                fields
                    .iter()
                    .try_for_each(|(key, value)| match had.get(key) {
                        Some(got) => self.compare_at(&format!("{at}.{key}"), value, got),
                        None => Err(differs(at, &format!("the key {key}"), got)),
                    })
            }
            (Value::Array(items), Value::Array(had)) if items.len() == had.len() => {
                let mut pairs = items.iter().zip(had).enumerate();
                pairs.try_for_each(|(i, (item, got))| {
                    self.compare_at(&format!("{at}[{i}]"), item, got)
                })
            }
            (Value::String(text), got) if is_placeholder(text) => self.take(at, text, got),
            (Value::String(text), got) if text.contains('<') => {
                let expected = Value::String(self.fill_text(text, str::to_owned)?);
                equal(at, &expected, got)
            }
            (expected, got) => equal(at, expected, got),
        }
    }

    /// What a placeholder stands for where the client sends it.
    fn give(&mut self, placeholder: &str) -> Result<Value, String> {
        let (kind, name) = parse(placeholder)?;
        if let Kind::Time(age) = kind {
            return Ok(json!(self.clock.unix_ms() - age));
        }
        if let Some(value) = self.values.get(placeholder) {
            return Ok(value.clone());
        }
        let value = match kind {
            Kind::Ciphertext(length) => json!(self.text(length)),
            Kind::ClientId => json!(self.id()),
            Kind::Key => json!(BASE64_STANDARD.encode(self.key(name).verifying_key().as_bytes())),
            Kind::Challenge => json!(BASE64_STANDARD.encode(self.random.random::<[u8; 32]>())),
            Kind::Signature => self.sign(name)?,
            Kind::Time(_)
            | Kind::ServerText
            | Kind::ServerInteger
            | Kind::AnyText
            | Kind::AnyBool => return Err(format!("the server has not given {placeholder} yet")),
        };
        self.values.insert(placeholder.to_owned(), value.clone());
        Ok(value)
    }

    /// Compares what the server sent with what a placeholder stands for.
    fn take(&mut self, at: &str, placeholder: &str, got: &Value) -> Result<(), String> {
        let (kind, _) = parse(placeholder)?;
        let right_kind = match kind {
            Kind::Time(_) => got.as_u64().is_some_and(|ms| ms >= EARLIEST_MS),
            Kind::AnyText => got.is_string(),
            Kind::AnyBool => got.is_boolean(),
            Kind::ServerInteger => got.is_i64(),
            _ => got.as_str().is_some_and(|text| !text.is_empty()),
        };
        if !right_kind {
            return Err(differs(at, placeholder, got));
        }
        if matches!(kind, Kind::Time(_) | Kind::AnyText | Kind::AnyBool) {
            return Ok(());
        }
        if let Some(known) = self.values.get(placeholder) {
            if known == got {
                return Ok(());
            }
            return Err(differs(at, &format!("{placeholder} as before"), got));
        }
        if !matches!(kind, Kind::ServerText | Kind::ServerInteger) {
            return Err(format!(
                "{placeholder} is expected here but nobody has sent it"
            ));
        }
        let family = head(placeholder).trim_end_matches(char::is_numeric);
        let new = self.taken.insert((family.to_owned(), got.to_string()));
        if !new && family != "token" {
            return Err(differs(at, &format!("{placeholder} to be a new one"), got));
        }
        self.values.insert(placeholder.to_owned(), got.clone());
        Ok(())
    }

    /// A text with its placeholders replaced, each passed through `encode`.
    fn fill_text(&mut self, text: &str, encode: fn(&str) -> String) -> Result<String, String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, from)) = rest.split_once('<') {
            let (name, after) = from
                .split_once('>')
                .ok_or_else(|| format!("no '>' in {text}"))?;
            let value = self.give(&format!("<{name}>"))?;
            filled.push_str(before);
            filled.push_str(&encode(value.as_str().unwrap_or_default()));
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn key(&mut self, owner: &str) -> &SigningKey {
        let seed = self.random.random::<[u8; 32]>();
        let made = || SigningKey::from_bytes(&seed);
        self.keys.entry(owner.to_owned()).or_insert_with(made)
    }

    /// The signature is over the bytes that the challenge encodes.
    fn sign(&mut self, owner: &str) -> Result<Value, String> {
        let challenge = self.give(&format!("<challenge:{owner}>"))?;
        let bytes = BASE64_STANDARD.decode(challenge.as_str().unwrap_or_default());
        let signature = self
            .key(owner)
            .sign(&bytes.map_err(|error| error.to_string())?);
        Ok(json!(BASE64_STANDARD.encode(signature.to_bytes())))
    }

    fn text(&mut self, length: usize) -> String {
        let random = &mut self.random;
        (0..length)
            .map(|_| char::from(BASE64[random.random_range(0..BASE64.len())]))
            .collect()
    }

    /// A random id in the form of a UUID.
    fn id(&mut self) -> String {
        let digits = format!("{:032x}", self.random.random::<u128>());
        let (a, b, c) = (&digits[..8], &digits[8..12], &digits[12..16]);
        format!("{a}-{b}-{c}-{}-{}", &digits[16..20], &digits[20..])
    }
}

fn is_placeholder(text: &str) -> bool {
    text.starts_with('<') && text.find('>') == Some(text.len() - 1)
}

/// What stands before the colon of a placeholder.
fn head(placeholder: &str) -> &str {
    placeholder[1..placeholder.len() - 1]
        .split(':')
        .next()
        .unwrap_or_default()
}

/// The kind and the name of a placeholder.
fn parse(placeholder: &str) -> Result<(Kind, &str), String> {
    let inner = &placeholder[1..placeholder.len() - 1];
    let name = inner.split_once(':').map_or("", |(_, name)| name);
    let unknown = || format!("unknown placeholder {placeholder}");
    let number = |text: &str| text.parse().map_err(|_| unknown());
    let kind = match head(placeholder) {
        "enc" => {
            let length = number(name.split(':').next().unwrap_or_default())?;
            Kind::Ciphertext(usize::try_from(length).map_err(|_| unknown())?)
        }
        "uuid" | "machine" => Kind::ClientId,
        "key" => Kind::Key,
        "challenge" => Kind::Challenge,
        "signature" => Kind::Signature,
        "ts" => Kind::Time(0),
        "id" | "token" | "session1" | "session2" => Kind::ServerText,
        "seq" => Kind::ServerInteger,
        "string" => Kind::AnyText,
        "bool" => Kind::AnyBool,
        other => Kind::Time(number(other.strip_prefix("ts-").ok_or_else(unknown)?)?),
    };
    Ok((kind, name))
}

fn equal(at: &str, expected: &Value, got: &Value) -> Result<(), String> {
    if expected == got {
        return Ok(());
    }
    Err(differs(at, &expected.to_string(), got))
}

/// The message for a difference. A token is never shown in full.
fn differs(at: &str, expected: &str, got: &Value) -> String {
    let place = if at.is_empty() { "at the top" } else { at };
    let got = if at.ends_with(".token") {
        shown(&redacted("token", got))
    } else {
        shown(got)
    };
    format!("{place}: expected {expected}, got {got}")
}

/// A value in a message, shortened and without tokens.
pub(crate) fn shown(value: &Value) -> String {
    let text = redacted("", value).to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A value that stands under `key`, without tokens.
fn redacted(key: &str, value: &Value) -> Value {
    match value {
        Value::String(token) if key == "token" => json!(Secret::new(token.as_str()).to_string()),
        Value::Array(items) => items.iter().map(|item| redacted("", item)).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| (key.clone(), redacted(key, value)))
            .collect(),
        other => other.clone(),
    }
}

fn percent_encoded(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    value
        .bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bindings() -> Bindings {
        let mut bindings = Bindings::new(Clock::Fixed(EARLIEST_MS));
        bindings.fill(&json!("<enc:8:sent>")).unwrap();
        bindings.compare(&json!("<id:known>"), &json!("k")).unwrap();
        bindings
    }

    /// `problem` is part of the message, or empty where the two must agree.
    #[track_caller]
    fn check(expected: &Value, got: &Value, problem: &str) {
        match bindings().compare(expected, got) {
            Ok(()) => assert_eq!(problem, "", "{expected} and {got} must differ"),
            Err(message) => assert!(
                !problem.is_empty() && message.contains(problem),
                "{message}"
            ),
        }
    }

    #[test]
    fn compares_by_shape() {
        let sent = bindings().give("<enc:8:sent>").unwrap();
        check(&json!({"a": 1}), &json!({"a": 1, "more": 2}), "");
        check(&json!({"a": 1}), &json!({"b": 1}), "expected the key a");
        check(
            &json!({"a": {"b": 1}}),
            &json!({"a": {"b": 2}}),
            ".a.b: expected 1, got 2",
        );
        check(
            &json!({"a": 1}),
            &json!({"a": "1"}),
            ".a: expected 1, got \"1\"",
        );
        check(&json!({"a": null}), &json!({}), "expected the key a");
        check(&json!([1, 2]), &json!([1]), "expected [1,2], got [1]");
        check(&json!("<ts>"), &json!(EARLIEST_MS), "");
        check(&json!("<ts>"), &json!(EARLIEST_MS / 1000), "expected <ts>");
        check(&json!("<ts>"), &json!("2026"), "expected <ts>");
        check(&json!("<bool>"), &json!(null), "expected <bool>");
        check(&json!("<string>"), &json!(1), "expected <string>");
        check(&json!("<enc:8:sent>"), &sent, "");
        check(
            &json!("<enc:8:sent>"),
            &json!("AAAA"),
            "expected <enc:8:sent> as before",
        );
        check(&json!("<enc:8:other>"), &sent, "nobody has sent it");
        check(&json!("<id:known>"), &json!("k"), "");
        check(
            &json!("<id:known>"),
            &json!("other"),
            "expected <id:known> as before",
        );
        check(
            &json!("<id:new>"),
            &json!("k"),
            "expected <id:new> to be a new one",
        );
        check(&json!("<id:new>"), &json!(""), "expected <id:new>");
        check(
            &json!(["<seq:a>", "<seq:a>"]),
            &json!([1, 2]),
            "[1]: expected <seq:a> as before",
        );
        check(&json!("<nonsense>"), &json!(1), "unknown placeholder");
    }

    #[test]
    fn messages_show_no_token() {
        let got = json!({"token": "abcdefghijklmnopqrstuvwxyz"});
        check(
            &json!({"token": "<id:known>"}),
            &got,
            "as before, got \"abcdef…\"",
        );
        check(&json!([]), &json!([got]), "got [{\"token\":\"abcdef…\"}]");
    }

    #[test]
    fn fills_what_is_sent() {
        let mut bindings = bindings();
        let filled = bindings
            .fill(&json!({"at": "<ts-500>", "of": "<id:known>:bash"}))
            .unwrap();
        assert_eq!(filled, json!({"at": EARLIEST_MS - 500, "of": "k:bash"}));
        bindings.values.insert("<key:a>".to_owned(), json!("a+/="));
        assert_eq!(
            bindings.fill_path("/x?k=<key:a>").unwrap(),
            "/x?k=a%2B%2F%3D"
        );
        assert_eq!(
            bindings.fill_path("/x/<id:other>").unwrap_err(),
            "the server has not given <id:other> yet"
        );
        let sent = bindings
            .fill(&json!(["<enc:8:sent>", "<enc:8:two>", "<uuid:a>"]))
            .unwrap();
        assert_eq!(sent[0].as_str().unwrap().len(), 8);
        assert_ne!(sent[0], sent[1]);
        assert_eq!(sent[2].as_str().unwrap().len(), 36);
    }
}
